"""SIGKILL to every process in mid-upload: what was acknowledged is there afterwards, whole and listed.

A write is acknowledged when most replicas have it. The crash may leave a replica of the listing without a
row until a replicator has run, so with three replicas a listing that lacks something is asked for again.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from miniswift.cluster import Cluster
from miniswift.storage.check import check_devices
from tests.functional.client import Client
from tests.functional.cluster import ServeProcess
from tests.functional.processes import wait_until
from tests.functional.trees import copy_standard_library, files_of

UPLOADERS = 8
CRASHES = 2
ACKNOWLEDGED_BEFORE_CRASH = 250
UPDATED_S = 10  # an idle machine needs 5


class Uploader(threading.Thread):
    """Uploads its share of a tree round after round and remembers what may and must be stored.

    `possible` holds for each name the digests of contents that a reader may find: after an
    acknowledgement that content alone, during a PUT the earlier one as well.
    """

    def __init__(self, auth: tuple[str, str, str], tree: Path, names: list[Path], known: Uploader | None):
        super().__init__()
        self._client = Client.login(auth)
        self._tree = tree
        self._names = names
        self.round: int = known.round + 1 if known else 0
        self.acknowledged: set[Path] = set(known.acknowledged) if known else set()
        self.possible: dict[Path, set[str]] = dict(known.possible) if known else {}
        self.count = 0

    def run(self) -> None:
        with self._client, contextlib.suppress(OSError, http.client.HTTPException):
            for turn in itertools.count():
                for name in self._names:
                    self._put(name, b"%d %d\n" % (self.round, turn) + (self._tree / name).read_bytes())

    def _put(self, name: Path, content: bytes) -> None:
        digest = hashlib.md5(content).hexdigest()
        self.possible.setdefault(name, set()).add(digest)
        answer = self._client.put(f"/tree/{quote(str(name))}", content)
        if answer.status == 201:
            self.possible[name] = {digest}
            self.acknowledged.add(name)
            self.count += 1


def crash_in_mid_upload(process: ServeProcess, tree: Path, earlier: list[Uploader]) -> list[Uploader]:
    names = files_of(tree)
    uploaders = [
        Uploader(process.auth, tree, names[number::UPLOADERS], earlier[number] if earlier else None)
        for number in range(UPLOADERS)
    ]
    for uploader in uploaders:
        uploader.start()
    try:
        process.wait_for(
            lambda: sum(each.count for each in uploaders) >= ACKNOWLEDGED_BEFORE_CRASH, 60, "the uploads"
        )
    finally:
        process.kill_9()
        for uploader in uploaders:
            uploader.join()
    return uploaders


def check_objects(client: Client, uploaders: list[Uploader]) -> None:
    acknowledged = set().union(*(each.acknowledged for each in uploaders))
    possible = {name: digests for each in uploaders for name, digests in each.possible.items()}

    def rows() -> dict[Path, str]:
        return {Path(row["name"]): row["hash"] for row in client.listing("/tree")}

    wait_until(lambda: acknowledged <= rows().keys(), UPDATED_S, "what was acknowledged to be listed")
    for name, row in (dict.fromkeys(acknowledged, "") | rows()).items():
        answer = client.get(f"/tree/{quote(str(name))}")
        assert answer.status == 200, f"{name}: {answer.status}"
        digest = hashlib.md5(answer.body).hexdigest()
        assert digest in possible[name], f"{name} holds what was never sent, or older than acknowledged"
        assert answer.headers["Etag"] == digest
        # The crash may have come between a content and its row, so long as neither was acknowledged.
        assert row in possible[name] | {""}, f"the row of {name}"


def check_totals(client: Client) -> None:
    """The account's totals come to agree with the listing."""

    def listed() -> tuple[str, str]:
        rows = client.listing("/tree")
        return str(len(rows)), str(sum(row["bytes"] for row in rows))

    def totals() -> tuple[str | None, str | None]:
        headers = client.head().headers
        return headers["X-Account-Object-Count"], headers["X-Account-Bytes-Used"]

    wait_until(lambda: totals() == listed(), UPDATED_S, "the account's totals to agree with the listing")


def check_disks(root: Path) -> None:
    """Nothing on the devices contradicts what ARCHITECTURE.md promises of them."""
    assert list((root / "devices").rglob("*.db"))
    assert check_devices(root / "devices", Cluster.load(root / "etc"), after_crash=True) == []


@pytest.fixture(scope="module")
def tree(scratch: Path) -> Path:
    return copy_standard_library(scratch / "library", ("json", "email", "asyncio", "encodings"))


@pytest.fixture(params=[(1, 1), (3, 3)], ids=["one device", "three devices and replicas"])
def process(request: pytest.FixtureRequest, scratch: Path) -> Iterator[ServeProcess]:
    devices, replicas = request.param
    with ServeProcess(scratch / f"on-{devices}", devices=devices, replicas=replicas) as process:
        yield process


@pytest.mark.slow
def test_acknowledged_objects_survive_kill_9_of_every_process(process: ServeProcess, tree: Path) -> None:
    uploaders: list[Uploader] = []
    with Client.login(process.auth) as client:
        assert client.put("/tree").status == 201
    for _ in range(CRASHES):
        uploaders = crash_in_mid_upload(process, tree, uploaders)
        process.start()
        with Client.login(process.auth) as client:
            check_objects(client, uploaders)
            check_totals(client)
    process.stop()
    check_disks(process.root)
