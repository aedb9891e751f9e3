"""What account and container databases share, tried on containers."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miniswift.concurrency import GreenPool, sleep
from miniswift.storage import pending
from miniswift.storage.broker import DatabaseMalformed
from miniswift.storage.container_broker import ContainerBroker
from miniswift.storage.database_cache import (
    DatabaseBusy,
    DatabaseCache,
    DatabaseMissing,
    DeviceFailed,
    chexor,
)
from miniswift.storage.database_file import DatabaseExists
from miniswift.storage.listing import Query
from miniswift.storage.metadata import MetadataLimits, MetadataRefused
from miniswift.storage.object_rows import ObjectRow
from miniswift.timestamp import Timestamp
from tests.unit.storage.databases import LIMITS, at, container_broker


@pytest.fixture
def databases() -> Iterator[DatabaseCache]:
    cache = DatabaseCache()
    yield cache
    cache.close()


@pytest.fixture
def broker(tmp_path: Path, databases: DatabaseCache) -> ContainerBroker:
    return container_broker(tmp_path, databases)


def row(name: str, seconds: float = 1, **fields: Any) -> ObjectRow:
    return ObjectRow(name, at(seconds), 5, "text/plain", "e", 0)._replace(**fields)


def names(broker: ContainerBroker) -> list[str]:
    return [entry[0] for entry in broker.list_objects(Query(10_000), 0)]


# --- making -------------------------------------------------------------------------------------------


def test_chexor_is_swifts() -> None:
    assert chexor("0" * 32, "o", "1700000000.12345") == "d36170d2cf28db30faa721110e44ed7b"
    assert chexor("d36170d2cf28db30faa721110e44ed7b", "o", "1700000000.12345") == "0" * 32


def test_database_is_made_once(broker: ContainerBroker) -> None:
    with pytest.raises(DatabaseExists):
        broker.initialize("a", "c", Timestamp.parse(at(9)), 1, {})

    assert broker.get_info()["put_timestamp"] == at(0)
    assert sorted(os.listdir(broker.folder)) == [".lock", os.path.basename(broker.db_file)]


def test_leftover_of_a_killed_maker_is_no_obstacle(tmp_path: Path, databases: DatabaseCache) -> None:
    folder = tmp_path / "sda/containers/2/abc" / ("c" * 32)
    folder.mkdir(parents=True)
    (folder / "abcdefgh.tmp").write_bytes(b"SQLite format 3\0 and no more")

    assert container_broker(tmp_path, databases).get_info()["container"] == "c"


def test_database_that_cannot_be_built_leaves_nothing(tmp_path: Path, databases: DatabaseCache) -> None:
    (tmp_path / "sda").mkdir()
    broker = ContainerBroker(f"{tmp_path}/sda/containers/2/abc/x/x.db", databases)

    with pytest.raises(sqlite3.OperationalError):
        broker.create(lambda connection: connection.execute("INSERT INTO nothing VALUES (1)"))

    assert os.listdir(broker.folder) == []


def test_sharded_container_is_left_alone(broker: ContainerBroker) -> None:
    os.rename(broker.db_file, broker.db_file.replace(".db", "_1700000000.00000.db"))

    with pytest.raises(DatabaseExists):
        broker.initialize("a", "c", Timestamp.parse(at(9)), 1, {})

    assert not broker.exists()


# --- pending rows -------------------------------------------------------------------------------------


def test_acknowledged_row_is_pending_until_somebody_reads(broker: ContainerBroker) -> None:
    broker.put_row(row("o"))
    waiting = pending.size(broker.pending_file)

    assert waiting > 0
    assert names(broker) == ["o"]
    assert pending.size(broker.pending_file) == 0


def test_row_of_a_missing_database_is_refused(tmp_path: Path, databases: DatabaseCache) -> None:
    with pytest.raises(DatabaseMissing):
        ContainerBroker(f"{tmp_path}/none/none.db", databases).put_row(row("o"))


def test_writer_merges_when_too_much_is_pending(broker: ContainerBroker) -> None:
    many = 0
    while pending.size(broker.pending_file) <= pending.MAX_SIZE:
        broker.put_row(row(f"o{many:04}", content_type="x" * 1000))
        many += 1

    broker.put_row(row("last"))

    assert pending.size(broker.pending_file) == 0
    assert len(names(broker)) == many + 1


@pytest.mark.parametrize(
    "broken",
    [
        b":gAIo",  # cut off
        b":!!!!",
        b":",
        b":gAJdcQAu",  # a list
        b":gAJjb3MKc3lzdGVtCnEAVQRldmlscQGFcQJScQMu",  # a call of os.system
    ],
)
def test_broken_entry_costs_only_itself(
    broker: ContainerBroker, caplog: pytest.LogCaptureFixture, broken: bytes
) -> None:
    broker.put_row(row("before"))
    with open(broker.pending_file, "ab") as file:
        file.write(broken)
    broker.put_row(row("behind"))

    with caplog.at_level(logging.ERROR):
        assert names(broker) == ["before", "behind"]

    assert ("is skipped" in caplog.text) == (broken != b":")
    assert pending.size(broker.pending_file) == 0


def test_entry_cut_short_by_a_full_disk_is_taken_back(
    broker: ContainerBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.put_row(row("before"))
    size = pending.size(broker.pending_file)
    write = os.write

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
        with pytest.raises(DeviceFailed):
            broker.put_row(row("lost"))

    assert pending.size(broker.pending_file) == size
    assert names(broker) == ["before"]


def test_merging_twice_changes_nothing(broker: ContainerBroker) -> None:
    broker.put_row(row("o"))
    content = Path(broker.pending_file).read_bytes()
    info = broker.get_info()

    Path(broker.pending_file).write_bytes(content)  # as after a crash between commit and clearing

    assert broker.get_info() == info


def test_reader_waits_for_the_lock_and_others_run_meanwhile(broker: ContainerBroker) -> None:
    broker.put_row(row("o"))
    ticks: list[int] = []
    pool = GreenPool()

    def hold() -> None:
        with pending.locked(broker.folder, 1):
            for tick in range(5):
                ticks.append(tick)
                sleep(0.001)

    pool.spawn(hold)
    sleep(0)
    assert names(broker) == ["o"]
    assert ticks == list(range(5))
    pool.waitall()


def test_lock_of_another_process_is_waited_for_only_so_long(
    broker: ContainerBroker, databases: DatabaseCache
) -> None:
    broker.put_row(row("o"))
    strict = ContainerBroker(broker.db_file, databases, wait_s=0.01)
    lenient = ContainerBroker(broker.db_file, databases, stale_after_s=0.01)
    fd = os.open(f"{broker.folder}/.lock", os.O_WRONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)

    with pytest.raises(DatabaseBusy):
        names(strict)
    assert names(lenient) == []
    with pytest.raises(DatabaseBusy):
        strict.put_row(row("p"))

    os.close(fd)
    assert names(lenient) == ["o"]


def test_database_locked_by_another_process_is_busy(
    broker: ContainerBroker, databases: DatabaseCache
) -> None:
    other = sqlite3.connect(broker.db_file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    impatient = ContainerBroker(broker.db_file, databases, wait_s=0.01)

    with pytest.raises(DatabaseBusy):
        impatient.get_info()
    with pytest.raises(DatabaseBusy):
        impatient.post(Timestamp.parse(at(1)), {}, LIMITS)

    other.close()
    assert impatient.get_info()["container"] == "c"


# --- several processes --------------------------------------------------------------------------------

APPEND = """
import sys
from miniswift.storage.container_broker import ContainerBroker
from miniswift.storage.database_cache import DatabaseCache
from miniswift.storage.object_rows import ObjectRow

broker = ContainerBroker(sys.argv[1], DatabaseCache())
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    broker.put_row(ObjectRow(f"o{number:05}", "1700000000.00000", 5, "text/plain", "e", 0))
"""

FORK = """
import os, sys
from miniswift.concurrency import restart_hub_after_fork
from miniswift.storage.container_broker import ContainerBroker
from miniswift.storage.database_cache import DatabaseCache
from miniswift.storage.object_rows import ObjectRow

broker = ContainerBroker(sys.argv[1], DatabaseCache())
broker.put_row(ObjectRow("parent", "1700000000.00000", 5, "text/plain", "e", 0))
broker.get_info()
with broker._databases.open(broker.db_file) as connection:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE container_info SET status = 'half'")
    child = os.fork()
    if not child:
        restart_hub_after_fork()
        broker.put_row(ObjectRow("child", "1700000000.00000", 5, "text/plain", "e", 0))
        os._exit(0 if ContainerBroker(sys.argv[1], broker._databases, wait_s=0.01, stale_after_s=0.01)
                 .get_info()["status"] == "" else 1)
    status = os.waitpid(child, 0)[1]
    connection.execute("ROLLBACK")
sys.exit(status or broker.get_info()["object_count"] - 2)
"""


def _start(program: str, *arguments: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)])


def test_processes_that_append_while_others_read_lose_nothing(broker: ContainerBroker) -> None:
    processes = [_start(APPEND, broker.db_file, n * 1000, n * 1000 + 300) for n in range(3)]
    seen = 0
    while any(process.poll() is None for process in processes):
        count = broker.get_info()["object_count"]
        assert count >= seen
        seen = count

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert names(broker) == [f"o{n * 1000 + number:05}" for n in range(3) for number in range(300)]
    assert broker.get_info()["object_count"] == 900


def test_child_uses_no_handle_of_its_parent(broker: ContainerBroker) -> None:
    assert _start(FORK, broker.db_file).wait() == 0
    assert names(broker) == ["child", "parent"]
    assert broker.get_info()["status"] == ""


# --- handles ------------------------------------------------------------------------------------------


def test_replaced_database_is_noticed(tmp_path: Path, databases: DatabaseCache) -> None:
    broker = container_broker(tmp_path, databases, "c")
    other = container_broker(tmp_path, databases, "d")
    assert broker.get_info()["container"] == "c"

    os.rename(other.db_file, broker.db_file)

    assert broker.get_info()["container"] == "d"


def test_removed_database_is_noticed(broker: ContainerBroker) -> None:
    broker.get_info()
    os.unlink(broker.db_file)

    with pytest.raises(DatabaseMissing):
        broker.get_info()
    assert broker.is_deleted()


def test_handles_are_limited(tmp_path: Path) -> None:
    databases = DatabaseCache(max_idle=2)
    brokers = [container_broker(tmp_path, databases, name) for name in "abcde"]
    before = len(os.listdir("/proc/self/fd"))

    for broker in brokers * 2:
        broker.get_info()

    assert len(os.listdir("/proc/self/fd")) - before <= 2
    databases.close()


def test_green_threads_at_one_database_do_not_share_a_handle(broker: ContainerBroker) -> None:
    pool = GreenPool()

    def write(number: int) -> None:
        broker.update_metadata({f"X-Container-Meta-{number}": ("v", at(1))})
        broker.put_row(row(f"o{number}"))
        broker.get_info()

    for number in range(8):
        pool.spawn(write, number)
    pool.waitall()

    assert broker.get_info()["object_count"] == 8
    assert broker.get_info()["metadata"].count("X-Container-Meta-") == 8


# --- malformed databases ------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["text", "page", "no_tables", "no_row", "metadata"])
def test_malformed_database_is_quarantined(
    tmp_path: Path, databases: DatabaseCache, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = container_broker(tmp_path, databases)
    broker.merge_rows([row(f"o{number}") for number in range(500)])
    databases.close()
    path = Path(broker.db_file)
    if damage == "text":
        path.write_bytes(b"this was a database once" * 1000)
    elif damage == "page":
        content = path.read_bytes()
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    elif damage == "no_tables":
        path.write_bytes(b"")
    else:
        other = sqlite3.connect(path)
        change = {
            "no_row": "DELETE FROM container_info",
            "metadata": "UPDATE container_info SET metadata='['",
        }
        other.execute(change[damage])
        other.commit()
        other.close()

    with pytest.raises(DatabaseMalformed), caplog.at_level(logging.ERROR):
        broker.post(Timestamp.parse(at(2)), {"X-Container-Meta-A": ("v", at(1))}, LIMITS)

    assert not os.path.exists(broker.folder)
    assert (tmp_path / "sda/quarantined/containers" / ("c" * 32) / path.name).exists()
    assert "quarantined" in caplog.text
    with pytest.raises(DatabaseMissing):
        broker.get_info()


def test_second_quarantine_of_a_name_keeps_the_first(tmp_path: Path, databases: DatabaseCache) -> None:
    for _ in range(2):
        broker = container_broker(tmp_path, databases)
        Path(broker.db_file).write_bytes(b"no database" * 1000)
        with pytest.raises(DatabaseMalformed):
            broker.get_info()

    put_away = sorted(os.listdir(tmp_path / "sda/quarantined/containers"))
    assert len(put_away) == 2
    assert put_away[0] == "c" * 32
    assert put_away[1].startswith("c" * 32 + "-")


# --- metadata -----------------------------------------------------------------------------------------


def test_newer_value_of_an_item_stands(broker: ContainerBroker) -> None:
    broker.update_metadata({"X-Container-Meta-A": ("two", at(2)), "X-Container-Meta-B": ("b", at(2))})
    broker.update_metadata({"X-Container-Meta-A": ("one", at(1)), "X-Container-Meta-B": ("", at(3))})

    assert broker.get_info()["metadata"] == (
        f'{{"X-Container-Meta-A": ["two", "{at(2)}"], "X-Container-Meta-B": ["", "{at(3)}"]}}'
    )


@pytest.mark.parametrize(
    ("limits", "problem"),
    [(MetadataLimits(1, 4096), "Too many"), (MetadataLimits(90, 7), "too large")],
)
def test_limits_hold_for_all_metadata_together(
    broker: ContainerBroker, limits: MetadataLimits, problem: str
) -> None:
    broker.update_metadata({"X-Container-Meta-A": ("123", at(1))}, limits)
    broker.update_metadata({"X-Container-Sysmeta-A": ("x" * 99, at(1))}, limits)

    with pytest.raises(MetadataRefused, match=problem):
        broker.update_metadata({"X-Container-Meta-B": ("☃", at(2))}, limits)

    assert "Meta-B" not in broker.get_info()["metadata"]
    broker.update_metadata({"X-Container-Meta-A": ("", at(3)), "X-Container-Meta-B": ("☃", at(3))}, limits)


def test_change_that_fails_changes_nothing(broker: ContainerBroker) -> None:
    def change(connection: sqlite3.Connection) -> None:
        broker.merge_row(connection, row("o"))
        raise MetadataRefused("no")

    with pytest.raises(MetadataRefused):
        broker.write(change)

    assert names(broker) == []
    assert broker.get_info()["object_count"] == 0
