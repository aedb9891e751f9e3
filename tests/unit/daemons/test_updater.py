"""Late updates: async pendings to containers, totals to accounts."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from hashlib import md5

import pytest

from miniswift.backend import ConnectFailed
from miniswift.cluster import Cluster
from miniswift.daemons.updater import Updater, UpdaterSettings
from miniswift.responses import Headers, Response
from miniswift.ring import Node
from miniswift.storage import StorageSettings, async_pending
from miniswift.storage.account_server import AccountServer
from miniswift.storage.async_pending import AsyncUpdate
from miniswift.storage.check import check_device
from miniswift.storage.container_server import ContainerServer, ContainerSettings
from miniswift.timestamp import Timestamp
from miniswift.transport import LocalTransport
from miniswift.wsgi import Request

CONTAINER_PORT, ACCOUNT_PORT = 6201, 6202
DEVICES = ("d0", "d1", "d2")


class OnePartition:
    """A ring of one partition, on every device of one server."""

    part_count = 1
    replica_count = len(DEVICES)

    def __init__(self, port):
        self.nodes = [Node("127.0.0.1", port, device, id=number) for number, device in enumerate(DEVICES)]

    def part_of(self, _digest):
        return 0

    def primaries(self, _part):
        return self.nodes


class OneMachine(Cluster):
    """A cluster whose rings are made up."""

    def ring(self, kind, policy=None):
        return OnePartition(CONTAINER_PORT if kind == "container" else ACCOUNT_PORT)


class Servers:
    """Real account and container servers, of which some devices may be out of reach."""

    def __init__(self, inner):
        self.inner = inner
        self.out_of_reach = set()  # (port, device)
        self.redirects = {}  # path → location
        self.sent = []  # (port, device, method, path)
        self.headers = []
        self.before_answer = lambda: None

    def send(self, node, request):
        self.sent.append((node.port, node.device, request.method, request.path))
        self.headers.append(request.headers)
        self.before_answer()
        if (node.port, node.device) in self.out_of_reach:
            raise ConnectFailed("refused")
        location = self.redirects.get(request.path)
        if location and request.headers.get("X-Backend-Accept-Redirect") == "true":
            return Response(301, {"Location": location, "X-Backend-Location-Is-Quoted": "true"})
        return self.inner.send(node, request)


class Machine:
    """Three devices, the servers on them, and an updater."""

    def __init__(self, root):
        self.root = root / "devices"
        for device in DEVICES:
            (self.root / device).mkdir(parents=True)
        self.cluster = OneMachine(root, hash_suffix="changeme")
        conf = {"devices": str(self.root), "mount_check": "false", "fallocate_reserve": "0"}
        local = LocalTransport({})
        self.containers = ContainerServer(ContainerSettings.from_conf(conf), self.cluster, local)
        self.accounts = AccountServer(StorageSettings.from_conf(conf), self.cluster, local)
        local.apps[("127.0.0.1", CONTAINER_PORT)] = self.containers
        local.apps[("127.0.0.1", ACCOUNT_PORT)] = self.accounts
        self.servers = Servers(local)
        self.updater = Updater(UpdaterSettings.from_conf(conf), self.cluster, self.servers)
        self.now = Timestamp.now()

    def close(self):
        self.containers.close()
        self.accounts.close()
        self.updater.close()

    def time(self, seconds=0):
        return Timestamp(self.now.units + round(seconds * 100_000)).internal

    def put_account_and_container(self, name="c"):
        for device in DEVICES:
            self._put(self.accounts, f"/{device}/0/a", {})
            self._put(self.containers, f"/{device}/0/a/{name}", {"X-Backend-Storage-Policy-Index": "0"})

    def put_row(self, device, name, size=5, at=1):
        row = {"X-Size": str(size), "X-Content-Type": "a/b", "X-Etag": md5().hexdigest()}
        self._put(self.containers, f"/{device}/0/a/c/{name}", row, at)

    def _put(self, app, path, headers, at=0):
        response = Request.blank(path, "PUT", {"X-Timestamp": self.time(at), **headers}).call(app)
        assert response.status in (201, 202), response.read()

    def save(self, op="PUT", obj="o", at=1, device="d0", **headers):
        row = {"X-Timestamp": self.time(at)}
        if op == "PUT":
            row |= {"X-Size": "5", "X-Content-Type": "a/b", "X-Etag": "x"}
        row |= {name.replace("_", "-"): value for name, value in headers.items()}
        update = AsyncUpdate(op, "a", "c", obj, Headers(row))
        policy = self.cluster.policies.default
        return async_pending.save(str(self.root / device), policy, self.cluster, update)

    def listing(self, device):
        response = Request.blank(f"/{device}/0/a/c?format=json").call(self.containers)
        body = response.read()
        return [row["name"] for row in json.loads(body)] if response.status == 200 else response.status

    def account_totals(self, device):
        headers = Request.blank(f"/{device}/0/a", "HEAD").call(self.accounts).headers
        return tuple(
            int(headers[f"X-Account-{what}"]) for what in ("Container-Count", "Object-Count", "Bytes-Used")
        )

    def databases(self):
        """The containers' databases on all devices."""
        return sorted(self.root.glob("*/containers/*/*/*/*.db"))

    def pendings(self):
        return [name for _, _, names in os.walk(self.root / "d0" / "async_pending") for name in names]


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path)
    yield machine
    machine.close()
    for device in DEVICES:
        assert check_device(machine.root / device, machine.cluster) == []


# --- async pendings ------------------------------------------------------------------------------------


def test_an_update_is_delivered_to_every_primary_and_removed(machine):
    machine.put_account_and_container()
    machine.save()
    assert machine.updater.run_once() == "1 updates delivered"
    assert [machine.listing(device) for device in DEVICES] == [["o"]] * 3
    assert machine.pendings() == []


def test_a_delete_is_delivered(machine):
    machine.put_account_and_container()
    for device in DEVICES:
        machine.put_row(device, "o", at=1)
    machine.save("DELETE", at=2)
    machine.updater.run_once()
    assert [machine.listing(device) for device in DEVICES] == [[]] * 3


def test_an_update_waits_for_the_last_primary_and_asks_nobody_twice(machine):
    machine.put_account_and_container()
    machine.save()
    machine.servers.out_of_reach = {(CONTAINER_PORT, "d1")}
    assert machine.updater.run_once() == "1 not yet"
    assert len(machine.pendings()) == 1
    machine.servers.out_of_reach = set()
    machine.servers.sent.clear()
    machine.updater.run_once()
    asked = [device for port, device, _, path in machine.servers.sent if path == "/a/c/o"]
    assert asked == ["d1"]
    assert machine.listing("d1") == ["o"]
    assert machine.pendings() == []


def test_only_the_newest_update_of_an_object_is_sent(machine):
    machine.put_account_and_container()
    machine.save(at=1)
    machine.save("DELETE", at=3)
    machine.save(at=2)
    machine.updater.run_once()
    sent = {(method, path) for port, _, method, path in machine.servers.sent if port == CONTAINER_PORT}
    assert sent == {("DELETE", "/a/c/o")}
    assert machine.pendings() == []


def test_a_redirect_is_followed(machine):
    machine.put_account_and_container()
    machine.servers.redirects["/a/c/o"] = "/a/sh%20ard/o"
    machine.save()
    machine.updater.run_once()
    assert "/a/sh ard/o" in {path for _, _, _, path in machine.servers.sent}
    (name,) = machine.pendings()
    path = machine.root / "d0" / "async_pending" / name[29:32] / name
    assert AsyncUpdate.from_pickle(path.read_bytes()).container_path == "a/sh ard"


def test_redirects_in_a_circle_lead_home(machine):
    machine.put_account_and_container()
    machine.servers.redirects = {"/a/c/o": "/a/x/o", "/a/x/o": "/a/c/o"}
    machine.save()
    for _ in range(3):
        machine.updater.run_once()
    assert len(machine.pendings()) == 1
    machine.servers.redirects = {}  # sharding is over
    for _ in range(3):
        machine.updater.run_once()
    assert machine.pendings() == []
    assert machine.listing("d0") == ["o"]


@pytest.mark.parametrize("location", ["", "/a", "/a//o", "%2F"])
def test_a_redirect_to_nowhere_is_a_failure(machine, location, caplog):
    machine.servers.redirects["/a/c/o"] = location or " "
    machine.save()
    assert machine.updater.run_once() == "1 not yet"
    assert "no account/container" in caplog.text


def test_a_shard_out_of_reach_is_asked_once_a_pass(machine):
    machine.servers.redirects["/a/c/o"] = "/a/x/o"
    machine.servers.out_of_reach = {(CONTAINER_PORT, device) for device in DEVICES[1:]}
    machine.save()
    machine.updater.run_once()
    machine.servers.sent.clear()
    machine.updater.run_once()
    assert len(machine.servers.sent) == len(DEVICES)


def test_the_policy_is_that_of_the_folder_unless_the_update_says(machine):
    machine.save(obj="o")
    machine.save(obj="p", X_Backend_Storage_Policy_Index="1")
    machine.updater.run_once()
    assert {headers["X-Backend-Storage-Policy-Index"] for headers in machine.servers.headers} == {"0", "1"}


def test_an_update_saved_while_its_forerunner_is_sent_is_not_lost(machine):
    machine.put_account_and_container()
    machine.save(X_Size="1")
    machine.servers.before_answer = lambda: machine.save(X_Size="2")
    machine.updater.run_once()
    assert len(machine.pendings()) == 1


def test_an_update_that_waits_is_not_rewritten_for_nothing(machine):
    path = machine.save()
    inode = os.stat(path).st_ino
    machine.updater.run_once()
    assert os.stat(path).st_ino == inode


def test_an_older_update_stands_in_for_a_newer_one_that_is_none(machine):
    machine.put_account_and_container()
    machine.save(at=1)
    newer = machine.save(at=2)
    with open(newer, "wb") as file:
        file.write(b"junk")
    assert machine.updater.run_once() == "1 updates delivered"
    assert machine.listing("d0") == ["o"]
    assert os.listdir(machine.root / "d0" / "quarantined" / "objects") == [os.path.basename(newer)]


def test_a_pass_stops_when_it_is_told_to(machine):
    machine.put_account_and_container()
    machine.save()
    machine.updater.is_stopping = True
    assert machine.updater.run_once() == ""
    assert machine.servers.sent == []


def test_a_device_that_is_not_mounted_is_left_alone_and_named_once(machine, caplog):
    conf = {"devices": str(machine.root), "mount_check": "true"}
    machine.save()
    updater = Updater(UpdaterSettings.from_conf(conf), machine.cluster, machine.servers)
    for _ in range(2):
        assert updater.run_once() == ""
    assert len(machine.pendings()) == 1
    assert [record.getMessage().split()[1] for record in caplog.records] == [
        str(machine.root / device) for device in DEVICES
    ]


def test_devices_that_are_not_there_are_no_work(machine):
    conf = {"devices": str(machine.root / "none"), "mount_check": "false"}
    assert Updater(UpdaterSettings.from_conf(conf), machine.cluster, machine.servers).run_once() == ""


def test_a_device_that_cannot_be_read_does_not_stop_the_others(machine, caplog):
    machine.put_account_and_container()
    machine.save(device="d1")
    loop = machine.root / "d0" / "async_pending"
    loop.symlink_to(loop)
    assert machine.updater.run_once() == "1 updates delivered"
    assert f"device {machine.root / 'd0'} cannot be used" in caplog.text
    loop.unlink()


def test_what_is_no_update_is_put_aside_and_does_not_stop_the_others(machine):
    machine.put_account_and_container()
    machine.save()
    name = f"{'0' * 29}abc-{machine.time()}"
    (machine.root / "d0" / "async_pending" / "abc").mkdir()
    (machine.root / "d0" / "async_pending" / "abc" / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    machine.updater.run_once()
    assert machine.pendings() == []
    assert os.listdir(machine.root / "d0" / "quarantined" / "objects") == [name]


def test_updates_of_every_device_are_delivered(machine):
    machine.put_account_and_container()
    for device in DEVICES:
        machine.save(obj=f"of-{device}", device=device)
    machine.updater.run_once()
    assert machine.listing("d0") == ["of-d0", "of-d1", "of-d2"]


# --- totals ----------------------------------------------------------------------------------------------


def test_an_account_is_told_what_its_containers_hold(machine):
    machine.put_account_and_container()
    for device in DEVICES:
        machine.put_row(device, "o", size=7)
    machine.updater.run_once()
    assert [machine.account_totals(device) for device in DEVICES] == [(1, 1, 7)] * 3


def test_an_account_that_knows_is_left_in_peace(machine):
    machine.put_account_and_container()
    machine.put_row("d0", "o")
    for _ in range(3):
        machine.updater.run_once()
    machine.servers.sent.clear()
    machine.updater.run_once()
    assert machine.servers.sent == []


def test_a_change_after_a_report_is_reported(machine):
    machine.put_account_and_container()
    for number in range(3):
        for device in DEVICES:
            machine.put_row(device, f"o{number}", size=1, at=number + 1)
        machine.updater.run_once()
        assert machine.account_totals("d0") == (1, number + 1, number + 1)


def test_an_account_out_of_reach_is_told_later(machine):
    machine.put_account_and_container()
    for device in DEVICES:
        machine.put_row(device, "o", size=7)
    machine.servers.out_of_reach = {(ACCOUNT_PORT, device) for device in DEVICES}
    machine.updater.run_once()
    assert machine.account_totals("d0") == (0, 0, 0)
    machine.servers.out_of_reach = set()
    machine.updater.run_once()
    assert machine.account_totals("d0") == (1, 1, 7)


def test_a_deleted_container_is_no_longer_counted(machine):
    machine.put_account_and_container()
    machine.updater.run_once()
    assert machine.account_totals("d0") == (1, 0, 0)
    for device in DEVICES:
        headers = {"X-Timestamp": machine.time(5)}
        assert Request.blank(f"/{device}/0/a/c", "DELETE", headers).call(machine.containers).status == 204
    machine.updater.run_once()
    assert machine.account_totals("d0") == (0, 0, 0)


def test_what_an_update_brings_reaches_the_account_with_the_next_pass(machine):
    machine.put_account_and_container()
    machine.save()
    machine.updater.run_once()
    machine.updater.run_once()
    assert machine.account_totals("d0") == (1, 1, 5)


def settle(machine):
    """Let the databases have been changed some time ago, and be known to be in order."""
    for _ in range(3):
        machine.updater.run_once()
        for path in machine.databases():
            os.utime(path, (1_700_000_000, 1_700_000_000))
    machine.updater.run_once()


def scribble(path):
    """Damage a database that nobody would notice who does not open it."""
    times = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"not SQLite")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_database_that_has_not_changed_is_not_opened(machine):
    machine.put_account_and_container()
    settle(machine)
    machine.updater.close()
    intact = [path.read_bytes() for path in machine.databases()]
    for path in machine.databases():
        scribble(path)
    machine.updater.run_once()
    for path, content in zip(machine.databases(), intact, strict=True):
        path.write_bytes(content)


def test_a_row_that_waits_beside_a_database_is_a_change(machine):
    machine.put_account_and_container()
    settle(machine)
    for device in DEVICES:
        machine.put_row(device, "o", size=7)
    machine.updater.run_once()
    assert machine.account_totals("d0") == (1, 1, 7)


def test_a_database_that_changed_a_moment_ago_is_looked_at_again(machine):
    machine.put_account_and_container()
    for device in DEVICES:
        machine.put_row(device, "o1", size=1)
    for _ in range(3):
        machine.updater.run_once()
    # The next change comes in the same tick of the file system's clock.
    files = [name for path in machine.databases() for name in (path, f"{path}.pending")]
    times = [os.stat(name).st_mtime_ns for name in files]
    for device in DEVICES:
        machine.put_row(device, "o2", size=1)
        Request.blank(f"/{device}/0/a/c").call(machine.containers).read()  # merges it
    for name, time in zip(files, times, strict=True):
        os.utime(name, ns=(time, time))
    machine.updater.run_once()
    assert machine.account_totals("d0") == (1, 2, 2)


def test_a_malformed_database_does_not_stop_the_others(machine):
    machine.put_account_and_container("b")
    broken = machine.databases()
    for path in broken:
        path.write_bytes(b"not SQLite" * 1000)
    machine.put_account_and_container("c")
    machine.updater.run_once()
    assert not any(path.exists() for path in broken)
    assert machine.account_totals("d0")[0] == 1


def test_a_container_that_was_never_put_is_not_reported(machine):
    machine.put_account_and_container()
    for device in DEVICES:
        machine.put_row(device, "o")
    for path in machine.databases():
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE container_info SET put_timestamp = '0'")
            database.commit()
    machine.updater.run_once()
    assert machine.servers.sent == []


def test_an_account_out_of_reach_is_tried_once_a_pass(machine):
    for name in ("b", "c", "d"):
        machine.put_account_and_container(name)
    machine.servers.out_of_reach = {(ACCOUNT_PORT, device) for device in DEVICES}
    machine.updater.run_once()
    assert len(machine.servers.sent) == len(DEVICES) ** 2


@pytest.mark.parametrize(("lost", "is_told"), [(["d2"], True), (["d1", "d2"], False)])
def test_an_account_counts_as_told_when_most_of_its_replicas_are(machine, lost, is_told):
    machine.put_account_and_container()
    machine.servers.out_of_reach = {(ACCOUNT_PORT, device) for device in lost}
    machine.updater.run_once()
    machine.servers.sent.clear()
    machine.updater.run_once()
    assert (machine.servers.sent == []) is is_told
