"""What one worker changes, every other knows with the very next request; no memcached, shared memory only."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.cluster import ServeProcess

WORKERS = 4
CONNECTIONS = 32
ROUNDS = 25


@pytest.fixture(scope="module")
def process(scratch: Path) -> Iterator[ServeProcess]:
    with ServeProcess(scratch / "data", workers=WORKERS) as process:
        yield process


@pytest.fixture
def owners(process: ServeProcess) -> Iterator[list[Client]]:
    """The owner, on a connection that stays open for each; they end up on all workers."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Client.login(process.auth))
        clients = [stack.enter_context(first.again()) for _ in range(CONNECTIONS)]
        for client in clients:
            assert client.head().status in (200, 204)
        busy = [pid for pid in process.workers() if connections_of(pid, process.port)]
        assert len(busy) > 1, "all connections are one worker's: this run would prove nothing"
        yield clients


def connections_of(pid: int, port: int) -> int:
    """How many established connections to the local port the process holds."""
    local = f":{port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    established = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(local) and row[3] == "01"}
    held = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed between listing and reading
            held += os.readlink(descriptor) in established
    return held


def test_changed_acl_is_honoured_by_the_next_request_of_any_worker(owners: list[Client]) -> None:
    assert owners[0].put("/shared").status == 201
    assert owners[0].put("/shared/object", b"x").status == 201
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(owner.anonymous()) for owner in owners]
        for number in range(ROUNDS):
            acl, status = (".r:*", 200) if number % 2 == 0 else ("", 401)
            assert random.choice(owners).post("/shared", {"X-Container-Read": acl}).status == 204
            seen = [stranger.get("/shared/object").status for stranger in strangers]
            assert seen == [status] * CONNECTIONS, f"round {number}"


def test_new_and_deleted_container_is_known_to_any_worker_at_once(owners: list[Client]) -> None:
    for number in range(ROUNDS):
        assert random.choice(owners).put("/brief").status == 201, f"round {number}"
        seen = [owner.put("/brief/object", b"x").status for owner in owners]
        assert seen == [201] * CONNECTIONS, f"round {number}"
        assert random.choice(owners).delete("/brief/object").status == 204
        assert random.choice(owners).delete("/brief").status == 204
        seen = [owner.put("/brief/object", b"x").status for owner in owners]
        assert seen == [404] * CONNECTIONS, f"round {number}"


def test_changed_container_metadata_is_seen_by_any_worker(owners: list[Client]) -> None:
    owners[0].put("/described")
    for number in range(ROUNDS):
        random.choice(owners).post("/described", {"X-Container-Meta-Round": str(number)})
        seen = {owner.head("/described").headers["X-Container-Meta-Round"] for owner in owners}
        assert seen == {str(number)}
