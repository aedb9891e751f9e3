"""The memory of a server's processes, and what uses it: connections, uploads, downloads, many requests.

    RSS   everything that is in memory, what is shared with others included
    PSS   the same, with a page shared by n processes counted as an n-th of it
    USS   what is the process's alone: what would be free without it

Workers are forked from one master, so RSS counts what they share in each of them. A figure is that of the
child with the most, which is a worker: the master only watches.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks import load
from benchmarks.cpu import spent_s
from benchmarks.load import Load, LoadError
from tests.functional.client import Client
from tests.functional.cluster import ServeProcess

SAMPLE_S = 0.2
SETTLE_S = 3.0
IDLE_S = 10.0
PROBES = 500
_FIELDS = {"Rss": "rss", "Pss": "pss", "Private_Clean": "uss", "Private_Dirty": "uss"}


@dataclass(frozen=True)
class Memory:
    """In MiB."""

    rss: float = 0.0
    pss: float = 0.0
    uss: float = 0.0

    @classmethod
    def of(cls, pid: int) -> Memory:
        """That of a process now; nothing when it is gone."""
        kib = dict.fromkeys(("rss", "pss", "uss"), 0)
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                for line in file:
                    name, _, value = line.partition(":")
                    if name in _FIELDS:
                        kib[_FIELDS[name]] += int(value.split()[0])
        except (FileNotFoundError, ProcessLookupError):
            return cls()
        return cls(**{name: round(value / 1024, 1) for name, value in kib.items()})

    @classmethod
    def greatest(cls, memories: Iterable[Memory]) -> Memory:
        """The greatest of each of the three."""
        each = list(memories)
        return cls(max(m.rss for m in each), max(m.pss for m in each), max(m.uss for m in each))

    def __str__(self) -> str:
        return f"RSS {self.rss:.0f}, PSS {self.pss:.0f}, USS {self.uss:.0f} MiB"


Figures = dict[str, "Memory | float"]


def greatest_of(process: ServeProcess) -> Memory:
    return Memory.greatest(map(Memory.of, process.workers()))


class Sampler:
    """The greatest memory that any child of a server has while the block runs."""

    def __init__(self, process: ServeProcess) -> None:
        self._pids = process.workers()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.peak = Memory()

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            self.peak = Memory.greatest([self.peak, *map(Memory.of, self._pids)])
            if self._has_ended.wait(SAMPLE_S):
                return


class Requests:
    """A logged-in client's requests, to a container of its own."""

    def __init__(self, process: ServeProcess) -> None:
        self.address = process.address
        with Client.login(process.auth) as client:
            self.container = f"{client.prefix}/memory"
            self._token = client.headers
            client.put("/memory")

    def to_objects(self, method: str, count: int, expected: int, connections: int, body: bytes = b"") -> Load:
        paths = [f"{self.container}/object-{number}" for number in range(count)]
        return Load(self.address, method, paths, self._token, expected, body, connections)

    def to_container(self, count: int) -> Load:
        return Load(self.address, "HEAD", [self.container] * count, self._token, 204)


def measure_transfers(process: ServeProcess, connections: int, size: int) -> Figures:
    """As many uploads of `size` bytes at once as there are connections, then as many downloads."""
    requests, body = Requests(process), os.urandom(size)
    figures: Figures = {"before": greatest_of(process)}
    for name, what in (
        ("uploads", requests.to_objects("PUT", connections, 201, connections, body)),
        ("downloads", requests.to_objects("GET", connections, 200, connections)),
    ):
        before = spent_s(process.pids())
        with Sampler(process) as sampler:
            outcome = load.run(what)
        figures[name] = sampler.peak
        figures[f"{name}: seconds"] = round(outcome.wall_s, 1)
        figures[f"{name}: server CPU ms each"] = round(
            1000 * (spent_s(process.pids()) - before) / connections, 1
        )
    time.sleep(SETTLE_S)
    figures["after"] = greatest_of(process)
    return figures


def measure_idle(process: ServeProcess, connections: int) -> Figures:
    """Connections that made one request each and stay open: memory, CPU, and how others are served."""
    requests = Requests(process)
    head = requests.to_container(1).request_head(requests.container)
    figures: Figures = {"before": greatest_of(process)}
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(requests.address)) for _ in range(connections)]
        _ask_all(idle, head)
        figures["with them"] = greatest_of(process)
        time.sleep(SETTLE_S)
        before = spent_s(process.pids())
        time.sleep(IDLE_S)
        figures["CPU ms a second"] = round(1000 * (spent_s(process.pids()) - before) / IDLE_S, 1)
        outcome = load.run(requests.to_container(PROBES))
        figures["HEAD p50 ms"] = round(outcome.percentile_ms(50), 2)
        figures["HEAD p99 ms"] = round(outcome.percentile_ms(99), 2)
        started = time.perf_counter()
        _ask_all(idle, head)
        figures["one more request on each, seconds"] = round(time.perf_counter() - started, 2)
    return figures


def _ask_all(connections: Sequence[socket.socket], head: bytes) -> None:
    """A HEAD on each. Raises LoadError when one was closed, or answers something else."""
    for connection in connections:
        connection.sendall(head)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            received = connection.recv(65536)
            answer += received
            if not received or not answer.startswith(b"HTTP/1.1 204"[: len(answer)]):
                raise LoadError(f"an idle connection got {answer[:200]!r}")


def measure_creep(process: ServeProcess, rounds: int, count: int) -> Figures:
    """Rounds of `count` PUTs, GETs, HEADs and DELETEs of small objects: the memory after each."""
    requests = Requests(process)
    figures: Figures = {"before": greatest_of(process)}
    for number in range(1, rounds + 1):
        for method, expected, body in (
            ("PUT", 201, b"x" * 1024),
            ("GET", 200, b""),
            ("HEAD", 200, b""),
            ("DELETE", 204, b""),
        ):
            load.run(requests.to_objects(method, count // 4, expected, 16, body))
        figures[f"after {number * count} requests"] = greatest_of(process)
    return figures
