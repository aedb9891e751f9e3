"""The expirer, over a whole store in this process: what has expired goes, and nothing else."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from miniswift.daemons.expirer import Expirer, ExpirerSettings, Task, in_turns, read_delays
from miniswift.daemons.updater import Updater, UpdaterSettings
from miniswift.errors import ConfigError
from miniswift.storage import expiring
from miniswift.timestamp import Timestamp
from tests.conformance.roots import scratch_root
from tests.unit.proxy.conftest import Store

SOON = 100  # seconds from now on


class Bed:
    """A store, and an expirer that lives some time later."""

    def __init__(self, root, replicas=3):
        self.store = Store(root, devices=replicas, replicas=replicas)
        self.now = int(time.time())
        for path in ("/v1/AUTH_a", "/v1/AUTH_a/c", "/v1/AUTH_a/d"):
            self.store.request("PUT", path)

    def put(self, name, delete_in=SOON, container="c"):
        headers = {"X-Delete-At": str(self.now + delete_in)} if delete_in else {}
        assert self.store.request("PUT", f"/v1/AUTH_a/{container}/{name}", headers, b"body").status == 201

    def expire(self, later=SOON, delays=None, **options):
        """What a pass that many seconds from now says; by then the updater has been there."""
        self.update()
        settings = ExpirerSettings.from_conf({"tasks_per_second": "0", **options})
        expirer = Expirer(
            settings, self.store.cluster, self.store.transport, delays, clock=lambda: self.now + later
        )
        return expirer.run_once()

    def update(self):
        conf = {"devices": str(self.store.devices), "mount_check": "false"}
        settings = UpdaterSettings.from_conf(conf)
        with contextlib.closing(Updater(settings, self.store.cluster, self.store.transport)) as updater:
            updater.run_once()

    def queue_row(self, name, content_type="text/plain"):
        container = expiring.queue_container(self.now, "0")
        for path in (container, f"{container}/{name}"):
            headers = {"Content-Type": content_type}
            assert self.store.request("PUT", f"/v1/.expiring_objects/{path}", headers).status == 201

    def names(self, container="c", account="AUTH_a"):
        listing = self.store.request("GET", f"/v1/{account}/{container}?format=json").read()
        return [row["name"] for row in json.loads(listing)]

    def queue(self):
        containers = json.loads(self.store.request("GET", "/v1/.expiring_objects?format=json").read() or "[]")
        return [
            (row["name"], name) for row in containers for name in self.names(row["name"], ".expiring_objects")
        ]

    def data_files(self):
        return list(self.store.devices.rglob("*.data"))


@pytest.fixture
def bed(tmp_path):
    return Bed(tmp_path)


def test_what_has_expired_is_gone_from_disk_listing_and_queue(bed):
    bed.put("gone")
    bed.put("stays", 0)
    assert bed.expire() == "1 objects expired"
    assert bed.names() == ["stays"]
    assert len(bed.data_files()) == 3
    assert bed.queue() == []
    assert bed.store.request("GET", "/v1/AUTH_a/c/gone").status == 404


def test_what_expires_later_is_left_alone(bed):
    bed.put("later")
    assert bed.expire(SOON - 1) == ""
    assert bed.names() == ["later"]
    assert len(bed.queue()) == 1


def test_an_object_that_got_another_time_is_kept_until_then(bed):
    bed.put("o")
    later = {"X-Delete-At": str(bed.now + 2 * SOON)}
    assert bed.store.request("POST", "/v1/AUTH_a/c/o", later).status == 202
    assert bed.expire() == ""
    assert bed.names() == ["o"]
    assert bed.expire(2 * SOON) == "1 objects expired"
    assert bed.names() == []


def test_an_object_that_expires_no_more_is_kept(bed):
    bed.put("o")
    bed.put("o", 0)
    bed.expire()
    assert bed.names() == ["o"]


def test_a_row_whose_object_is_not_there_is_given_up_after_the_reclaim_age(bed):
    bed.put("o", 0)
    bed.queue_row(expiring.queue_name(bed.now + SOON, "AUTH_a", "c", "o"))
    assert bed.expire(reclaim_age="1000") == "1 could not be removed"
    assert bed.expire(SOON + 1000, reclaim_age="1000") == "1 objects expired"
    assert bed.queue() == []
    assert bed.names() == ["o"]


def test_containers_of_the_queue_whose_day_is_over_are_removed_once_empty(bed):
    bed.put("o")
    bed.expire()
    assert len(json.loads(bed.store.request("GET", "/v1/.expiring_objects?format=json").read())) == 1
    bed.expire(2 * 86400)
    bed.update()
    assert json.loads(bed.store.request("GET", "/v1/.expiring_objects?format=json").read()) == []


def test_two_expirers_share_the_work(bed):
    for number in range(20):
        bed.put(f"o{number}")
    said = [bed.expire(processes="2", process=str(process)) for process in range(2)]
    done = [int(text.split()[0]) for text in said]
    assert sum(done) == 20
    assert all(0 < number < 20 for number in done)


def test_deletion_is_delayed_where_the_options_say_so(bed):
    bed.put("o")
    bed.put("o", container="d")
    delays = read_delays({"delay_reaping_AUTH_a": "50", "delay_reaping_AUTH_a/d": "10", "interval": "1"})
    assert bed.expire(SOON + 10, delays) == "1 objects expired"
    assert (bed.names("c"), bed.names("d")) == (["o"], [])
    assert bed.expire(SOON + 50, delays) == "1 objects expired"


@pytest.mark.parametrize("name", ["delay_reaping_", "delay_reaping_a/b/c", "delay_reaping_/c"])
def test_an_option_that_names_no_container_is_refused(name):
    with pytest.raises(ConfigError, match=name):
        read_delays({name: "1"})


def test_a_process_beyond_the_processes_is_refused(bed):
    with pytest.raises(ConfigError, match="process"):
        bed.expire(processes="2", process="2")


def test_a_row_that_names_no_object_is_reported_and_left(bed, caplog):
    bed.queue_row("0000000001")
    assert bed.expire() == ""
    assert "'0000000001' names no object and its time" in caplog.text


def test_rows_of_objects_that_were_to_be_deleted_later_are_plain_deletions(bed):
    bed.put("o", 0)
    row = expiring.queue_name(bed.now + 1, "AUTH_a", "c", "o")
    task = Task.of("0", {"name": row, "content_type": expiring.ASYNC_TYPE})
    assert (task.target, task.is_async) == (("AUTH_a", "c", "o"), True)
    bed.queue_row(row, expiring.ASYNC_TYPE)
    assert bed.expire() == "1 objects expired"
    assert bed.names() == []


def test_containers_take_turns():
    tasks = [
        Task("0", str(number), Timestamp.at(1), ("a", container, str(number)), False)
        for container in "xy"
        for number in range(3)
    ]
    order = [task.target[1] for task in in_turns(tasks, 100)]
    assert order == ["x", "y"] * 3
    assert "".join(task.target[1] for task in in_turns(tasks, 2)) == "xxxyyy"


@pytest.mark.slow
def test_ten_thousand_objects_that_expire_at_once():
    with scratch_root(None) as root:
        bed = Bed(root, replicas=1)
        for number in range(10_000):
            bed.put(f"{number:05d}", container="d" if number % 2 else "c")
        assert bed.expire(concurrency="8") == "10000 objects expired"
        assert (bed.names("c"), bed.names("d"), bed.queue(), bed.data_files()) == ([], [], [], [])
