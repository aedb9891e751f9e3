"""Swift's tools look into what `miniswift serve` wrote, and its ring builder makes the ring we serve."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.cluster import SeparateServers, ServeProcess, made_root
from tests.functional.processes import wait_until
from tests.interop.conftest import SwiftTools

CONTENT = b"content of the object"
ETAG = hashlib.md5(CONTENT).hexdigest()
CONTAINER, OBJECT = "bücher", "ein/ünïcöde-name"
CONTAINER_URL, OBJECT_URL = "/b%C3%BCcher", "/b%C3%BCcher/ein/%C3%BCn%C3%AFc%C3%B6de-name"


@dataclass(frozen=True)
class Stopped:
    """A root after something was stored and everything was stopped."""

    root: Path
    account: str

    @property
    def etc(self) -> str:
        return str(self.root / "etc")

    def one(self, pattern: str) -> Path:
        """The one file of that name on the devices."""
        (found,) = self.root.glob(f"devices/*/{pattern}")
        return found


@pytest.fixture(scope="module")
def stopped(scratch: Path) -> Stopped:
    with ServeProcess(scratch / "data") as process, Client.login(process.auth) as client:
        account = client.prefix.rpartition("/")[2]
        client.post("", {"X-Account-Meta-Colour": "blue"})
        assert client.put(CONTAINER_URL, headers={"X-Container-Meta-Shelf": "third"}).status == 201
        headers = {"Content-Type": "text/plain", "X-Object-Meta-Pages": "117"}
        assert client.put(OBJECT_URL, CONTENT, headers).status == 201
        assert client.put(f"{CONTAINER_URL}/deleted", b"x").status == 201
        assert client.delete(f"{CONTAINER_URL}/deleted").status == 204
        wait_until(lambda: client.head().headers["X-Account-Object-Count"] == "1", 15, "the account's total")
    return Stopped(process.root, account)


def fields(printed: str) -> dict[str, str]:
    """The `Name: value` lines of a report."""
    pairs = (line.strip().partition(": ") for line in printed.splitlines())
    return {name: value for name, colon, value in pairs if colon}


def test_object_info_prints_the_object_and_finds_it_whole(stopped: Stopped, swift_tools: SwiftTools) -> None:
    data = stopped.one("objects/*/*/*/*.data")
    printed = swift_tools("swift-object-info", "-d", stopped.etc, data)
    seen = fields(printed)
    assert seen["Path"] == f"/{stopped.account}/{CONTAINER}/{OBJECT}"
    assert seen["Content-Type"] == "text/plain"
    assert seen["X-Object-Meta-Pages"] == "117"
    assert f"{ETAG} (valid)" in printed
    assert f"{len(CONTENT)} (valid)" in printed
    # The tool computes the object's place from ring and name: it must be where we put it.
    assert str(data.parent.relative_to(stopped.root / "devices")) in printed


def test_container_info_prints_counts_and_metadata(stopped: Stopped, swift_tools: SwiftTools) -> None:
    database = stopped.one("containers/*/*/*/*.db")
    seen = fields(swift_tools("swift-container-info", "-d", stopped.etc, database))
    assert (seen["Account"], seen["Container"]) == (stopped.account, CONTAINER)
    assert (seen["Object Count"], seen["Bytes Used"]) == ("1", str(len(CONTENT)))
    assert seen["X-Container-Meta-Shelf"] == "third"


def test_account_info_prints_counts_and_metadata(stopped: Stopped, swift_tools: SwiftTools) -> None:
    database = stopped.one("accounts/*/*/*/*.db")
    seen = fields(swift_tools("swift-account-info", "-d", stopped.etc, database))
    assert seen["Account"] == stopped.account
    assert (seen["Container Count"], seen["Object Count"]) == ("1", "1")
    assert seen["Bytes Used"] == str(len(CONTENT))
    assert seen["X-Account-Meta-Colour"] == "blue"


def test_swift_reads_our_rings(stopped: Stopped, swift_tools: SwiftTools) -> None:
    for kind, names in {"account": ("a",), "container": ("a", "c"), "object": ("a", "c", "o")}.items():
        found = swift_tools("swift-get-nodes", "-d", stopped.etc, f"{stopped.etc}/{kind}.ring.gz", *names)
        assert devices_in(found) == {"d1"}


@pytest.fixture(scope="module", params=["1", "2"], ids=["format 1", "format 2"])
def ringed(request: pytest.FixtureRequest, scratch: Path, swift_tools: SwiftTools) -> Stopped:
    """Objects stored over rings that Swift's builder made: three replicas, four devices of unlike weight."""
    version = request.param
    process = made_root(scratch / f"ringed-{version}", devices=4, replicas=3)
    for offset, kind in enumerate(SeparateServers.KINDS[:3]):
        builder = process.root / f"{kind}.builder"
        swift_tools("swift-ring-builder", builder, "create", "8", "3", "1")
        devices: list[str] = []
        for number in range(1, 5):
            place = f"r1z{number}-127.0.0.1:{process.storage_port + offset}/d{number}"
            devices += [place, str(20 + 2 * number)]
        swift_tools("swift-ring-builder", builder, "add", *devices)
        swift_tools("swift-ring-builder", builder, "rebalance", f"--format-version={version}")
        (process.root / f"{kind}.ring.gz").replace(process.root / "etc" / f"{kind}.ring.gz")
    with process, Client.login(process.auth) as client:
        assert client.put("/ringed").status == 201
        for number in range(20):
            assert client.put(f"/ringed/{number}", CONTENT).status == 201
            assert client.get(f"/ringed/{number}").body == CONTENT
        return Stopped(process.root, client.prefix.rpartition("/")[2])


def test_objects_lie_where_a_ring_of_swifts_builder_says(ringed: Stopped, swift_tools: SwiftTools) -> None:
    for number in range(0, 20, 4):
        names = (ringed.account, "ringed", str(number))
        found = swift_tools("swift-get-nodes", "-d", ringed.etc, f"{ringed.etc}/object.ring.gz", *names)
        (digest,) = re.findall(r"^Hash\s+([0-9a-f]{32})$", found, re.MULTILINE)
        (partition,) = re.findall(r"^Partition\s+(\d+)$", found, re.MULTILINE)
        files = ringed.root.glob(f"devices/*/objects/{partition}/{digest[-3:]}/{digest}/*.data")
        assert {file.relative_to(ringed.root / "devices").parts[0] for file in files} == devices_in(found)


def devices_in(found: str) -> set[str]:
    """The primary devices that swift-get-nodes names."""
    return set(re.findall(r"^Server:Port Device\s+127\.0\.0\.1:\d+ (\w+)$", found, re.MULTILINE))
