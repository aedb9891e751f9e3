"""The auditors, over a whole store in this process: they find what is damaged, and nothing else."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from pathlib import Path

import pytest

from miniswift.daemons.auditor import AuditorSettings, ObjectAuditor
from miniswift.daemons.database_auditor import DatabaseAuditor, DatabaseAuditorSettings
from miniswift.pace import Pace
from miniswift.storage import xattrs
from miniswift.storage.account_broker import AccountBroker
from miniswift.storage.container_broker import ContainerBroker
from tests.unit.proxy.conftest import Store

FAST = {"files_per_second": "0", "bytes_per_second": "0", "zero_byte_files_per_second": "1000000"}
BODY = b"what was stored"


class Bed:
    """A store with a container of each policy, and auditors."""

    def __init__(self, root, replicas=1):
        self.store = Store(root, devices=replicas, replicas=replicas)
        self.conf = {"devices": str(self.store.devices), "mount_check": "false"}
        for container, policy in (("c", "gold"), ("s", "silver")):
            self.store.request("PUT", f"/v1/AUTH_a/{container}", {"X-Storage-Policy": policy})

    def put(self, path, body=BODY):
        assert self.store.request("PUT", f"/v1/AUTH_a/{path}", {}, body).status == 201

    def files(self, extension="data", device="d0"):
        return sorted((self.store.devices / device).glob(f"objects*/*/*/*/*.{extension}"))

    def audit(self, reads_content=True, later=0.0, **options):
        settings = AuditorSettings.from_conf({**self.conf, **FAST, **options})
        self.auditor = ObjectAuditor(
            settings, self.store.cluster, reads_content=reads_content, clock=lambda: time.time() + later
        )
        said = self.auditor.run_once()
        return self.auditor.counts["passed"], self.auditor.counts["quarantined"], said

    def audit_databases(self, broker, later=0.0):
        settings = DatabaseAuditorSettings.from_conf(self.conf)
        auditor = DatabaseAuditor(settings, broker, 0, clock=lambda: time.time() + later)
        try:
            return auditor.run_once(), auditor.passed
        finally:
            auditor.close()

    def quarantined(self):
        return sorted(
            path.relative_to(self.store.devices) for path in self.store.devices.glob("*/quarantined/*/*")
        )


@pytest.fixture
def bed(tmp_path):
    return Bed(tmp_path)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def test_objects_that_are_well_are_left_alone(bed):
    bed.put("c/o")
    bed.put("s/o")
    bed.put("c/empty", b"")
    assert bed.audit() == (3, 0, "")
    assert bed.auditor.counts["bytes"] == 2 * len(BODY)


@pytest.mark.parametrize("container", ["c", "s"])
def test_a_flipped_byte_is_found_where_contents_are_read(bed, container):
    bed.put(f"{container}/o")
    bed.put(f"{container}/well")
    (damaged,) = [file for file in bed.files() if xattrs.read(str(file))["name"].endswith("/o")]
    flip_a_byte(damaged)
    assert bed.audit(reads_content=False)[:2] == (2, 0)
    passed, quarantined, said = bed.audit()
    assert (passed, quarantined) == (1, 1)
    assert said == "1 objects are well, 1 were quarantined, 0 could not be read"
    suffix = "-1" if container == "s" else ""
    assert bed.quarantined() == [Path("d0/quarantined", f"objects{suffix}", damaged.parent.name)]
    assert bed.store.request("GET", f"/v1/AUTH_a/{container}/o").status == 404
    assert bed.store.request("GET", f"/v1/AUTH_a/{container}/well").status == 200


def truncate(file):
    os.truncate(file, 0)


def lose_attributes(file):
    for name in os.listxattr(file):
        os.removexattr(file, name)


def misplace(file):
    metadata = xattrs.read(str(file))
    with open(file, "r+b") as opened:
        xattrs.write(opened.fileno(), {**metadata, "name": "/AUTH_a/c/another"})


def garble_time(file):
    metadata = xattrs.read(str(file))
    with open(file, "r+b") as opened:
        xattrs.write(opened.fileno(), {**metadata, "X-Timestamp": "yesterday"})


@pytest.mark.parametrize("damage", [truncate, lose_attributes, misplace, garble_time])
def test_what_can_be_seen_without_reading_is_found_by_the_fast_pass(bed, damage):
    bed.put("c/o")
    damage(bed.files()[0])
    assert bed.audit(reads_content=False)[:2] == (0, 1)
    assert bed.files() == []


def test_twenty_of_a_thousand_are_found_and_reads_are_right_all_along(tmp_path):
    bed = Bed(tmp_path, replicas=3)
    for number in range(1000):
        bed.put(f"c/{number}", b"%d" % number * 10)
    damaged = random.Random(1).sample(bed.files(device="d1"), 20)
    for file in damaged:
        flip_a_byte(file)

    def reads_are_right():
        for number in range(0, 1000, 7):
            assert bed.store.request("GET", f"/v1/AUTH_a/c/{number}").read() == b"%d" % number * 10

    # Reads would find some of them first: what is quarantined by then is what they found.
    passed, quarantined, _ = bed.audit()
    assert (passed, quarantined) == (2980, 20)
    assert [path.name for path in bed.quarantined()] == sorted(file.parent.name for file in damaged)
    reads_are_right()
    assert bed.audit()[:2] == (2980, 0)


def test_reads_are_right_before_the_auditor_comes(tmp_path):
    bed = Bed(tmp_path, replicas=3)
    bed.put("c/o")
    flip_a_byte(bed.files(device="d1")[0])
    for _ in range(30):
        assert bed.store.request("GET", "/v1/AUTH_a/c/o").read() == BODY


def test_what_has_expired_is_well(bed):
    headers = {"X-Delete-At": str(int(time.time()) + 100)}
    assert bed.store.request("PUT", "/v1/AUTH_a/c/o", headers, BODY).status == 201
    assert bed.audit(later=200) == (1, 0, "")


def test_tombstones_go_when_their_reclaim_age_is_over(bed):
    bed.put("c/o")
    bed.store.request("DELETE", "/v1/AUTH_a/c/o")
    assert bed.audit(later=1000) == (0, 0, "")
    assert len(bed.files("ts")) == 1
    bed.audit(later=2000, reclaim_age="1500")
    assert bed.files("ts") == []
    assert list((bed.store.devices / "d0/objects").glob("*/*/")) == []  # no empty suffix is left


def test_a_file_that_rsync_left_goes_after_its_time(bed):
    bed.put("c/o")
    left = bed.files()[0].with_name(f".{bed.files()[0].name}.Xy12ab")
    left.touch()
    bed.audit()
    assert left.exists()
    bed.audit(later=90000)
    assert not left.exists()
    assert bed.store.request("GET", "/v1/AUTH_a/c/o").status == 200


def test_sizes_are_counted(bed, caplog):
    caplog.set_level("INFO")
    bed.put("c/small", b"1")
    bed.put("c/large", b"1" * 100)
    bed.audit(object_size_stats="10, 50")
    assert bed.auditor.sizes == {"10": 1, "larger": 1}
    assert "objects by size" in caplog.text


def test_a_pass_stops_when_it_is_told_to(bed):
    bed.put("c/o")
    settings = AuditorSettings.from_conf({**bed.conf, **FAST})
    auditor = ObjectAuditor(settings, bed.store.cluster)
    auditor.is_stopping = True
    auditor.run_once()
    assert auditor.counts["passed"] == 0


# --- databases ---------------------------------------------------------------------------------------


def test_databases_that_are_well_are_left_alone(bed):
    assert bed.audit_databases(ContainerBroker) == ("", 2)
    assert bed.audit_databases(AccountBroker) == ("", 1)


def test_a_damaged_database_is_quarantined(bed):
    for number in range(200):
        bed.put(f"c/{number:0100}", b"")
    assert bed.store.request("GET", "/v1/AUTH_a/c").read().count(b'"name"') == 200  # rows are merged
    damaged = max(bed.store.devices.glob("d0/containers/*/*/*/*.db"), key=lambda path: path.stat().st_size)
    content = damaged.read_bytes()
    half = len(content) // 2
    damaged.write_bytes(content[:half] + os.urandom(4096) + content[half + 4096 :])
    said, passed = bed.audit_databases(ContainerBroker)
    assert (said, passed) == ("1 containers are well, 1 failed", 1)
    assert bed.quarantined() == [Path("d0/quarantined/containers", damaged.parent.name)]


def test_rows_of_deleted_objects_go_when_their_reclaim_age_is_over(bed):
    bed.put("c/kept")
    bed.put("c/gone")
    bed.store.request("DELETE", "/v1/AUTH_a/c/gone")
    bed.audit_databases(ContainerBroker)
    assert deleted_rows(bed) == [("gone",)]
    bed.audit_databases(ContainerBroker, later=604801)
    assert deleted_rows(bed) == []
    assert b'"kept"' in bed.store.request("GET", "/v1/AUTH_a/c").read()


def deleted_rows(bed):
    rows = []
    for path in bed.store.devices.glob("d0/containers/*/*/*/*.db"):
        with sqlite3.connect(path) as connection:
            rows += connection.execute("SELECT name FROM object WHERE deleted = 1").fetchall()
        connection.close()
    return rows


# --- pace --------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_a_pace_is_kept_on_average():
    clock = Clock()
    pace = Pace(10, clock, clock.sleep)
    for _ in range(100):
        pace.wait()
        clock.now += 0.03  # what the work takes
    assert clock.now - 100 == pytest.approx(10, abs=0.2)


def test_idleness_is_made_up_for_by_a_second_at_most():
    clock = Clock()
    pace = Pace(10, clock, clock.sleep)
    clock.now += 1000
    for _ in range(100):
        pace.wait()
    assert clock.now - 1100 == pytest.approx(9, abs=0.2)


def test_large_amounts_are_waited_for_afterwards():
    clock = Clock()
    pace = Pace(10, clock, clock.sleep)
    pace.wait(50)
    assert clock.now == 100
    pace.wait()
    assert clock.now == 105
