"""A lean HTTP load: one thread, non-blocking keep-alive connections, one request at a time on each.

1. It costs the machine as little as Python allows, so that on a small machine the servers get the cores.
2. A request's latency runs from the first byte sent to the last byte received.
3. An answer other than the expected one ends the load: a fast error is no figure.

Not here: chunked answers; neither server sends them to these requests.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

READ_SIZE = 1 << 20
STALLED_S = 120.0


class LoadError(Exception):
    """Raised when a server answers otherwise than expected, or not at all."""


@dataclass(frozen=True)
class Load:
    """What to send: one request per path, over so many connections."""

    address: tuple[str, int]
    method: str
    paths: Sequence[str]
    headers: dict[str, str]
    expected: int
    body: bytes = b""
    connections: int = 1

    def request_head(self, path: str) -> bytes:
        host, port = self.address
        lines = [f"{self.method} {path} HTTP/1.1", f"Host: {host}:{port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass
class Outcome:
    """What a load took on the client's side."""

    wall_s: float = 0.0
    received_bytes: int = 0
    latencies_s: list[float] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take in what another load took, one after this."""
        self.wall_s += other.wall_s
        self.received_bytes += other.received_bytes
        self.latencies_s += other.latencies_s

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies_s) / self.wall_s

    def percentile_ms(self, percent: float) -> float:
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def run(load: Load) -> Outcome:
    """Send the whole load. Raises LoadError."""
    outcome = Outcome()
    paths = iter(load.paths)
    started = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        connections = [_Connection(load, selector, outcome) for _ in range(load.connections)]
        try:
            busy = sum(connection.send_next(paths) for connection in connections)
            while busy:
                ready = selector.select(STALLED_S)
                if not ready:
                    raise LoadError(f"{load.method}: no byte for {STALLED_S:.0f} s")
                for key, _ in ready:
                    if key.data.advance():
                        busy -= not key.data.send_next(paths)
        finally:
            for connection in connections:
                connection.close()
    outcome.wall_s = time.perf_counter() - started
    return outcome


class _Connection:
    """One keep-alive connection: what is still to be sent, then what is still to be received."""

    def __init__(self, load: Load, selector: selectors.BaseSelector, outcome: Outcome) -> None:
        self._load = load
        self._selector = selector
        self._outcome = outcome
        self._buffer = bytearray(READ_SIZE)
        self._sock = self._connect()

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(self._load.address, STALLED_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, self)
        return sock

    def close(self) -> None:
        self._sock.close()

    def send_next(self, paths: Iterator[str]) -> bool:
        """Begin the next request; False when none is left."""
        path = next(paths, None)
        if path is None:
            return False
        head = self._load.request_head(path)
        self._head = b""
        self._body_left = -1  # unknown until the head is here
        self._started = time.perf_counter()
        body = memoryview(self._load.body)
        # Small requests leave in one segment, as any client's do; big ones are not copied.
        self._unsent = [memoryview(head), body] if len(body) > 65536 else [memoryview(head + body)]
        if not self._send():
            self._selector.modify(self._sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self)
        return True

    def advance(self) -> bool:
        """Do what the socket is ready for; True when the answer is complete."""
        if self._unsent and self._send():
            self._selector.modify(self._sock, selectors.EVENT_READ, self)
        return self._receive()

    def _send(self) -> bool:
        """Send what the socket takes; True when nothing is left to send."""
        while self._unsent:
            view = self._unsent[0]
            try:
                sent = self._sock.send(view)
            except BlockingIOError:
                return False
            if sent == len(view):
                del self._unsent[0]
            else:
                self._unsent[0] = view[sent:]
        return True

    def _receive(self) -> bool:
        while True:
            try:
                size = self._sock.recv_into(self._buffer)
            except BlockingIOError:
                return False
            if not size:
                raise LoadError(f"{self._load.method}: the server closed the connection in mid-answer")
            if self._body_left < 0:
                size = self._receive_head(size)
                if self._body_left < 0:
                    continue
            self._body_left -= size
            self._outcome.received_bytes += size
            if not self._body_left:
                self._outcome.latencies_s.append(time.perf_counter() - self._started)
                return True

    def _receive_head(self, size: int) -> int:
        """Add to the head what came; how many of its bytes belong to the body already."""
        self._head += self._buffer[:size]
        head, found, rest = self._head.partition(b"\r\n\r\n")
        if not found:
            return 0
        status = int(head[9:12])
        if status != self._load.expected or self._unsent:
            raise LoadError(
                f"{self._load.method}: expected {self._load.expected}, got {(head + rest)[:500]!r}"
            )
        self._body_left = 0 if self._load.method == "HEAD" or status == 204 else _content_length(head)
        return len(rest)


def _content_length(head: bytes) -> int:
    head = head.lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise LoadError(f"an answer without Content-Length: {head[:500]!r}")
    return int(head[at + 17 :].partition(b"\r\n")[0])
