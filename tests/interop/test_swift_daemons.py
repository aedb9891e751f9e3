"""Swift's replicators, auditors and updaters do their work on devices that our servers wrote.

Three devices, one replica on each, all served by our processes. Each test damages or withholds something,
lets a daemon make one pass, and looks at the devices.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from miniswift.storage import pickles
from miniswift.timestamp import Timestamp
from tests.functional.client import Client
from tests.interop import disks
from tests.interop.clusters import DEVICES, KINDS, MINISWIFT, RINGS, Backends, Proxy
from tests.interop.daemons import Daemons
from tests.interop.nodes import NodeClient
from tests.interop.teller import wsgi

pytestmark = pytest.mark.slow

CONTENT = b"content of the object " * 100
TEXT = {"Content-Type": "text/plain"}
OBJECTS = [f"o{number}" for number in range(6)] + ["ünï/cöde ☃"]


class Store:
    """The servers, the daemons, and a client whose account has something of everything."""

    def __init__(self, backends: Backends, daemons: Daemons, client: Client) -> None:
        self.backends = backends
        self.daemons = daemons
        self.client = client
        self.account = client.prefix.rpartition("/")[2]

    def device(self, name: str) -> Path:
        return self.backends.devices / name

    def nodes(self, kind: str, *names: str) -> dict[str, NodeClient]:
        """The server of each device, to be asked about a name of the account."""
        part, nodes = self.backends.primaries(kind, self.account, *names)
        return {node.device: NodeClient(node, part, (self.account, *names)) for node in nodes}

    def fill(self) -> None:
        client = self.client
        client.post("", {"X-Account-Meta-Colour": "blue"})
        assert client.put("/c", headers={"X-Container-Meta-Shape": "round"}).status == 201
        assert client.put("/silver", headers={"X-Storage-Policy": "silver"}).status == 201
        for name in OBJECTS:
            for container in ("c", "silver"):
                path = f"/{container}/{quote(name)}"
                assert client.put(path, CONTENT, {**TEXT, "X-Object-Meta-Name": wsgi(name)}).status == 201
        assert client.post("/c/o1", {"X-Object-Meta-Posted": "1", "Content-Type": "new/type"}).status == 202
        assert client.put("/c/o2", b"", TEXT).status == 201
        assert client.delete("/c/o3").status == 204
        self.settle()

    def settle(self) -> None:
        """Have every database merge the rows that wait beside it."""
        for names in ((), ("c",), ("silver",)):
            for node in self.nodes("container" if names else "account", *names).values():
                assert node("GET").status in (200, 204)

    def contents(self, device: str) -> dict[str, Any]:
        path = self.device(device)
        return {
            "objects": disks.objects(path),
            "accounts": disks.databases(path, "account"),
            "containers": disks.databases(path, "container"),
        }


@pytest.fixture(scope="module")
def store(scratch: Path) -> Iterator[Store]:
    with (
        Backends(scratch / "store", RINGS["miniswift"]) as backends,
        Daemons(backends) as daemons,
        Proxy(backends, MINISWIFT) as proxy,
        Client.login(proxy.auth()) as client,
    ):
        store = Store(backends, daemons, client)
        store.fill()
        yield store


def test_replicators_restore_an_emptied_device(store: Store) -> None:
    before = store.contents("d2")
    assert before == store.contents("d1")
    for entry in store.device("d2").iterdir():
        shutil.rmtree(entry)
    for kind in KINDS:
        store.daemons.once(f"{kind}-replicator")
    assert store.contents("d2") == before
    # Our server takes what it was given: it is asked alone.
    assert store.nodes("account")["d2"]("HEAD").headers["X-Account-Meta-Colour"] == "blue"
    listing = store.nodes("container", "c")["d2"]("GET", query="format=json").json()
    assert sorted(row["name"] for row in listing) == sorted(set(OBJECTS) - {"o3"})
    for name in OBJECTS:
        expected = {"o2": (200, b""), "o3": (404, None)}.get(name, (200, CONTENT))
        answer = store.nodes("object", "c", name)["d2"]("GET")
        assert (answer.status, answer.body if answer.status == 200 else None) == expected, name


def test_what_is_alike_is_not_sent_again(store: Store) -> None:
    store.daemons.once("object-replicator")
    assert "Successful rsync" not in store.daemons.once("object-replicator")
    for kind in ("account", "container"):
        printed = store.daemons.once(f"{kind}-replicator")
        counts = {name: int(count) for name, count in re.findall(r"(\w+):(\d+)\b", printed)}
        assert counts.pop("no_change")
        assert not any(counts.values()), printed


def test_our_server_tells_the_hashes_that_swift_computed(store: Store) -> None:
    for name in OBJECTS:
        nodes = store.nodes("object", "c", name).values()
        hashes = [pickles.loads(replace(node, names=())("REPLICATE").body) for node in nodes]
        assert hashes[0]
        assert hashes == [hashes[0]] * len(DEVICES)


def test_rows_and_metadata_that_one_copy_has_reach_the_others(store: Store) -> None:
    now = Timestamp.now()
    row = {"X-Size": "3", "X-Content-Type": "text/plain", "X-Etag": "e" * 32}
    nodes = store.nodes("container", "c")
    assert nodes["d3"].below("on one device")("PUT", now, row).status == 201
    assert nodes["d1"].below("o4")("DELETE", now).status == 204
    assert nodes["d2"]("POST", now, {"X-Container-Meta-Late": "1"}).status == 204
    assert store.nodes("account")["d1"]("POST", now, {"X-Account-Meta-Late": "1"}).status == 204
    store.daemons.once("container-replicator")
    store.daemons.once("account-replicator")
    for node in nodes.values():
        answer = node("GET", query="format=json")
        names = {row["name"] for row in answer.json()}
        assert "on one device" in names
        assert "o4" not in names
        assert answer.headers["X-Container-Meta-Late"] == "1"
    for node in store.nodes("account").values():
        assert node("HEAD").headers["X-Account-Meta-Late"] == "1"


def test_newer_objects_and_tombstones_reach_the_other_devices(store: Store) -> None:
    nodes = {name: store.nodes("object", "c", name) for name in ("o0", "o4", "o5")}
    now = Timestamp.now()
    assert nodes["o0"]["d1"]("PUT", now, TEXT, b"newer").status == 201
    assert nodes["o4"]["d2"]("DELETE", now).status == 204
    assert nodes["o5"]["d3"]("POST", now, {"X-Object-Meta-Late": "1"}).status == 202
    store.daemons.once("object-replicator")
    for device in DEVICES:
        assert nodes["o0"][device]("GET").body == b"newer"
        assert nodes["o4"][device]("GET").status == 404
        assert nodes["o5"][device]("HEAD").headers["X-Object-Meta-Late"] == "1"


def test_the_object_auditor_quarantines_what_was_damaged_and_nothing_else(store: Store) -> None:
    store.daemons.once("object-auditor")
    assert not list(store.backends.devices.glob("*/quarantined/*/*"))
    digest = store.backends.cluster.hash_path(store.account, "silver", "o0")
    (file,) = store.device("d1").glob(f"objects-1/*/*/{digest}/*.data")
    before = disks.objects(store.device("d1"))[str(file.relative_to(store.device("d1")))]
    damage(file)
    store.daemons.once("object-auditor", meets_damage=True)
    assert [path.name for path in store.device("d1").glob("quarantined/objects-1/*")] == [digest]
    assert not list(store.device("d2").glob("quarantined/*/*"))
    assert store.nodes("object", "silver", "o0")["d1"]("GET").status == 404
    store.daemons.once("object-replicator")
    assert disks.objects(store.device("d1"))[str(file.relative_to(store.device("d1")))] == before


@pytest.mark.parametrize("kind", ["account", "container"])
def test_database_auditors_quarantine_what_was_damaged_and_nothing_else(store: Store, kind: str) -> None:
    store.settle()
    store.daemons.once(f"{kind}-auditor")
    assert not list(store.backends.devices.glob(f"*/quarantined/{kind}s/*"))
    before = disks.databases(store.device("d3"), kind)
    names = ("c",) if kind == "container" else ()
    digest = store.backends.cluster.hash_path(store.account, *names)
    (file,) = store.device("d3").glob(f"{kind}s/*/*/{digest}/{digest}.db")
    file.write_bytes(b"this is no database" * 1000)
    store.daemons.once(f"{kind}-auditor", meets_damage=True)
    assert [path.name for path in store.device("d3").glob(f"quarantined/{kind}s/*")] == [digest]
    store.daemons.once(f"{kind}-replicator")
    assert disks.databases(store.device("d3"), kind) == before
    assert store.nodes(kind, *names)["d3"]("HEAD").status == 204


def test_the_object_updater_delivers_what_our_server_could_not(store: Store) -> None:
    now = Timestamp.now()
    part, containers = store.backends.primaries("container", store.account, "c")
    for node, container in zip(store.nodes("object", "c", "pending").values(), containers, strict=True):
        nobody = {
            "X-Container-Partition": str(part),
            "X-Container-Host": "127.0.0.1:9",  # where nobody listens
            "X-Container-Device": container.device,
        }
        assert node("PUT", now, {**TEXT, **nobody}, CONTENT).status == 201
    assert all(disks.async_pendings(store.device(device)) for device in DEVICES)
    store.daemons.once("object-updater")
    assert not any(disks.async_pendings(store.device(device)) for device in DEVICES)
    for node in store.nodes("container", "c").values():
        row = {row["name"]: row for row in node("GET", query="format=json").json()}["pending"]
        assert (row["bytes"], row["hash"]) == (len(CONTENT), hashlib.md5(CONTENT).hexdigest())


def test_the_container_updater_brings_the_totals_to_the_account(store: Store) -> None:
    store.settle()
    counted = {
        name: (int(head["X-Container-Object-Count"]), int(head["X-Container-Bytes-Used"]))
        for name in ("c", "silver")
        for head in [store.nodes("container", name)["d1"]("HEAD").headers]
    }
    store.daemons.once("container-updater")
    for node in store.nodes("account").values():
        listing = node("GET", query="format=json").json()
        assert {row["name"]: (row["count"], row["bytes"]) for row in listing} == counted


def damage(file: Path) -> None:
    """Change a byte, and not the length or the times."""
    status = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"X")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
