"""A real memcached in the pipeline: used while it is there, not missed when it goes."""

from __future__ import annotations

import collections
import getpass
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.cluster import ServeProcess, made_root, set_options
from tests.functional.processes import Program, accepts, free_ports, send, wait_until

THREADS = 6


class Memcached(Program):
    """memcached on a free port of the loopback address."""

    def __init__(self, log: Path) -> None:
        self.port = free_ports()
        address = ["-l", "127.0.0.1", "-p", str(self.port), "-U", "0"]
        super().__init__(["memcached", *address, "-u", getpass.getuser()], log)

    def start(self) -> None:
        super().start()
        self.wait_for(partial(accepts, self.port), 10, "memcached to listen")

    def statistics(self) -> dict[str, int]:
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            sock.sendall(b"stats\r\nquit\r\n")
            lines = sock.makefile("r").read().splitlines()
        words = [line.split(" ") for line in lines if line.startswith("STAT ")]
        return {name: int(value) for _, name, value, *_ in words if value.isdecimal()}


class Traffic:
    """Threads that write, read and list until told to stop, and count every status they see."""

    def __init__(self, auth: tuple[str, str, str]) -> None:
        self.statuses: collections.Counter[int | str] = collections.Counter()
        self._stop = threading.Event()
        self._auth = auth
        self._threads = [threading.Thread(target=self._run, args=[n]) for n in range(THREADS)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        with Client.login(self._auth) as client:
            path = f"/traffic/object-{number}"
            while not self._stop.is_set():
                try:
                    for method in ("PUT", "GET", "HEAD", "DELETE"):
                        body = b"x" if method == "PUT" else None
                        self.statuses[client.request(method, path, body).status] += 1
                    self.statuses[client.get("/traffic").status] += 1
                except OSError as error:
                    self.statuses[repr(error)] += 1

    def go_on(self, requests: int) -> None:
        """Return when so many more requests were answered."""
        goal = self.statuses.total() + requests
        wait_until(lambda: self.statuses.total() >= goal, 60, f"{requests} more requests")


@pytest.fixture
def memcached(tmp_path: Path) -> Iterator[Memcached]:
    with Memcached(tmp_path / "memcached.log") as memcached:
        yield memcached


@pytest.fixture
def process(scratch: Path, memcached: Memcached) -> Iterator[ServeProcess]:
    root = scratch / f"with-{memcached.port}"
    process = made_root(root)
    set_options(
        root / "etc" / "proxy-server.conf", "filter:cache", memcache_servers=f"127.0.0.1:{memcached.port}"
    )
    with process:
        with Client.login(process.auth) as client:
            client.put("/traffic")
        yield process


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_memcached_that_goes_costs_no_request(
    process: ServeProcess, memcached: Memcached, ending: signal.Signals
) -> None:
    with Traffic(process.auth) as traffic:
        traffic.go_on(200)
        assert memcached.statistics()["cmd_set"] > 0
        send(ending, [memcached.pid])
        traffic.go_on(400)
    assert set(traffic.statuses) <= {200, 201, 204}, traffic.statuses


@pytest.mark.slow
def test_memcached_that_no_longer_answers_costs_no_request(
    process: ServeProcess, memcached: Memcached
) -> None:
    with Traffic(process.auth) as traffic:
        traffic.go_on(100)
        send(signal.SIGSTOP, [memcached.pid])
        traffic.go_on(200)
        send(signal.SIGCONT, [memcached.pid])
        traffic.go_on(100)
    assert set(traffic.statuses) <= {200, 201, 204}, traffic.statuses


@pytest.mark.slow
def test_memcached_that_comes_back_is_used_again(process: ServeProcess, memcached: Memcached) -> None:
    with Traffic(process.auth) as traffic:
        traffic.go_on(100)
        memcached.stop()
        traffic.go_on(100)
        memcached.start()
        process.wait_for(lambda: memcached.statistics()["cmd_set"] > 0, 90, "memcached to be used again")
    assert set(traffic.statuses) <= {200, 201, 204}, traffic.statuses
