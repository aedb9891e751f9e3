"""Three machines of which some are killed, frozen, full or unmounted, seen through a proxy over HTTP.

What each combination of fault and request answers is tried in `tests/unit/proxy/test_faults.py`; here the
faults are real.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.machines import CONN_TIMEOUT_S, NODE_TIMEOUT_S, Machine, Machines
from tests.functional.mounts import CannotMount, mounted
from tests.functional.processes import wait_until

OLD, NEW = b"old " * 5000, b"new " * 7000
NEWEST = {"X-Newest": "true"}
SLACK_S = 3.0  # for a busy machine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machines(scratch: Path) -> Iterator[Machines]:
    with Machines(scratch / "machines") as machines:
        yield machines


@pytest.fixture
def client(machines: Machines) -> Iterator[Client]:
    with machines.client() as client:
        assert client.put("/c").status in (201, 202)
        for name in ("get", "post", "delete", "again"):
            assert client.put(f"/c/{name}", OLD, {"X-Object-Meta-Set": "old"}).status == 201
        yield client


@contextlib.contextmanager
def killed(*failing: Machine) -> Iterator[None]:
    for machine in failing:
        machine.kill_9()
    try:
        yield
    finally:
        for machine in failing:
            machine.start()
        for machine in failing:
            machine.wait()


@contextlib.contextmanager
def frozen(*failing: Machine) -> Iterator[None]:
    for machine in failing:
        machine.freeze()
    try:
        yield
    finally:
        for machine in failing:
            machine.thaw()


def answers_to_writes(client: Client) -> dict[str, int]:
    meta = {"X-Object-Meta-Set": "new"}
    return {
        "PUT": client.put("/c/put", NEW, meta).status,
        "PUT again": client.put("/c/again", NEW, meta).status,
        "POST": client.post("/c/post", meta).status,
        "DELETE": client.delete("/c/delete").status,
        "container POST": client.post("/c", {"X-Container-Meta-Set": "new"}).status,
    }


DONE = {"PUT": 201, "PUT again": 201, "POST": 202, "DELETE": 204, "container POST": 204}


def check_reads(client: Client) -> None:
    for _ in range(4):
        assert client.get("/c/get").body == OLD
    assert client.get("/c/get", {"Range": "bytes=3-9999"}).body == OLD[3:10000]
    assert client.head("/c/get").status == 200
    assert client.head("/c").status == 204
    assert "get" in [row["name"] for row in client.listing("/c")]


def check_done(client: Client) -> None:
    for name in ("put", "again"):
        assert client.get(f"/c/{name}", NEWEST).body == NEW
    posted = client.get("/c/post", NEWEST)
    assert (posted.body, posted.headers["X-Object-Meta-Set"]) == (OLD, "new")
    assert client.get("/c/delete", NEWEST).status == 404


Stop = Callable[..., contextlib.AbstractContextManager[None]]


@pytest.mark.parametrize("stop", [killed, frozen])
def test_one_machine_less_is_not_noticed(machines: Machines, client: Client, stop: Stop) -> None:
    started = time.monotonic()
    with stop(machines.machines[0]):
        assert answers_to_writes(client) == DONE
        check_reads(client)
    requests = 15
    assert time.monotonic() - started < requests * (CONN_TIMEOUT_S + NODE_TIMEOUT_S) + SLACK_S
    check_done(client)
    assert machines.problems() == []


@pytest.mark.parametrize("stop", [killed, frozen])
def test_with_one_machine_left_reads_go_on_and_writes_are_refused(
    machines: Machines, client: Client, stop: Stop
) -> None:
    with stop(*machines.machines[1:]):
        assert set(answers_to_writes(client).values()) == {503}
        check_reads(client)
    # Nothing was acknowledged, so either state will do; but it must be one of the two.
    for name in ("again", "post"):
        assert client.get(f"/c/{name}", NEWEST).body in (OLD, NEW)
    assert client.get("/c/put", NEWEST).status in (200, 404)
    assert answers_to_writes(client)["PUT"] == 201
    assert machines.problems() == []


def test_a_download_outlives_two_machines(machines: Machines, client: Client) -> None:
    content = random.Random(1).randbytes(48 * 1024 * 1024)
    assert client.put("/c/large", content).status == 201
    request = urllib.request.Request(f"{client.url}/c/large", headers=client.headers)
    digest = hashlib.md5()
    with urllib.request.urlopen(request, timeout=60) as response:
        digest.update(response.read(1 << 20))
        with killed(machines.machines[0]):
            digest.update(response.read(20 << 20))
            with killed(machines.machines[1]):
                digest.update(response.read())
    assert digest.digest() == hashlib.md5(content).digest()


def test_rows_wait_for_their_containers_and_are_delivered(machines: Machines, client: Client) -> None:
    for machine in machines.machines:
        machine.kill_9("container")
    try:
        names = [f"waits-{number}" for number in range(5)]
        for name in names:  # the proxy knows the container still
            assert client.put(f"/c/{name}", OLD).status == 201
        assert list(machines.root.glob("m*/devices/*/async_pending/*/*"))
    finally:
        for machine in machines.machines:
            machine.start("container")
        for machine in machines.machines:
            machine.wait()
    for machine in machines.machines:
        machine.run_updater()
    assert not list(machines.root.glob("m*/devices/*/async_pending/*/*"))
    for _ in range(6):  # every replica has them
        assert set(names) <= {row["name"] for row in client.listing("/c")}


@contextlib.contextmanager
def own_devices(root: Path) -> Iterator[tuple[Machines, list[Path]]]:
    """Machines whose devices are file systems of their own, 24 MiB each. Raises CannotMount."""
    with contextlib.ExitStack() as stack:
        machines = Machines(root, mount_check=True)
        for machine in machines.machines:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", machine.device], check=True)
            stack.callback(subprocess.run, ["umount", machine.device], check=False)
        yield stack.enter_context(machines), [machine.device for machine in machines.machines]


def fill(device: Path) -> None:
    """Leave no block free."""
    with contextlib.suppress(OSError), (device / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def unmounted(device: Path) -> bool:
    return not subprocess.run(["umount", device], capture_output=True, check=False).returncode


def may_mount() -> bool:
    try:
        with mounted("tmpfs"):
            return os.geteuid() == 0
    except CannotMount:
        return False


if may_mount():  # nobody but root can have a device that is full, or not mounted, for real

    def test_full_and_unmounted_devices_take_nothing_and_lose_nothing(tmp_path: Path) -> None:
        with own_devices(tmp_path / "m") as (machines, devices), machines.client() as client:
            assert client.put("/c").status == 201
            assert client.put("/c/get", OLD).status == 201
            # One full device: as if nothing was, and nothing half-written on it.
            fill(devices[0])
            assert client.put("/c/one", NEW).status == 201
            assert client.get("/c/one").body == NEW
            assert not [path for path in devices[0].rglob("*.data") if path.stat().st_size == len(NEW)]
            # Two full devices: no quorum.
            fill(devices[1])
            assert client.put("/c/two", NEW).status == 503
            assert client.get("/c/get").body == OLD
            for device in devices[:2]:
                (device / "fill").unlink()
            assert client.put("/c/two", NEW).status == 201
            # A device that is not mounted any more.
            machines.machines[2].kill_9()
            wait_until(lambda: unmounted(devices[2]), 10, "what was killed to let go of its device")
            machines.machines[2].start()
            machines.machines[2].wait()
            assert client.put("/c/three", NEW).status == 201
            assert client.get("/c/three").body == NEW
            assert client.get("/c/two").body == NEW
            assert list(devices[2].iterdir()) == []  # nothing under the mount point
            log = machines.machines[2].servers["object"]
            log.wait_for(lambda: "not mounted" in log.printed(), 5, "the log to tell")
