"""A server on loopback and clients that speak to it in bytes, all in this process on green sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from miniswift import concurrency
from miniswift.concurrency import socket, spawn
from miniswift.responses import Environ, StartResponse
from miniswift.server import Server, ServerSettings
from miniswift.supervisor import bind_listener
from miniswift.wsgi import WSGIApp

PATIENCE_S = 10


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection. Use as a context manager."""

    def __init__(self, port: int, wrap: Callable[[Any], Any] = lambda sock: sock) -> None:
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = wrap(sock)
        self.received = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *pieces: bytes) -> Client:
        """Send the pieces, each in a segment of its own that the server sees first."""
        for piece in pieces:
            self.sock.sendall(piece)
            concurrency.sleep(0)
        return self

    def finish_sending(self) -> Client:
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def receive_head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self.received:
            self._receive_more()
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        line, *lines = head.decode("latin-1").split("\r\n")
        return int(line.split(" ", 2)[1]), dict(line.split(": ", 1) for line in lines)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer, an interim one included."""
        status, headers = self.receive_head()
        if method == "HEAD" or status < 200 or status in (204, 304):
            return Answer(status, headers, b"")
        if headers.get("Transfer-Encoding") == "chunked":
            return Answer(status, headers, self._receive_chunks())
        if "Content-Length" in headers:
            return Answer(status, headers, self.receive(int(headers["Content-Length"])))
        return Answer(status, headers, self.rest())

    def receive(self, size: int) -> bytes:
        while len(self.received) < size:
            self._receive_more()
        taken, self.received = self.received[:size], self.received[size:]
        return taken

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        try:
            while True:
                self._receive_more()
        except EOFError:
            taken, self.received = self.received, b""
            return taken

    def _receive_chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self.received:
                self._receive_more()
            line, self.received = self.received.split(b"\r\n", 1)
            body += self.receive(int(line, 16))
            assert self.receive(2) == b"\r\n"
            if line == b"0":
                return body

    def _receive_more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            raise AssertionError(f"the connection was reset after {self.received[-200:]!r}") from None
        if not data:
            raise EOFError(self.received)
        self.received += data


class Running:
    """A server under test, on a free port."""

    def __init__(self, app: WSGIApp, settings: ServerSettings) -> None:
        self.listener = bind_listener("127.0.0.1", 0)
        self.port: int = self.listener.getsockname()[1]
        self.server = Server(app, settings)
        self.thread = spawn(self.server.serve, self.listener)

    def client(self, wrap: Callable[[Any], Any] = lambda sock: sock) -> Client:
        return Client(self.port, wrap)

    def ask(self, *pieces: bytes) -> Answer:
        """The first answer on a connection of its own."""
        with self.client() as client:
            return client.send(*pieces).answer()

    def stop(self, grace_s: float = 0) -> None:
        self.server.stop(grace_s)
        self.thread.wait()
        self.listener.close()


@contextmanager
def running(app: WSGIApp, **settings: Any) -> Iterator[Running]:
    server = Running(app, ServerSettings(**settings))
    try:
        yield server
    finally:
        server.stop()


class Recorder:
    """An application that reads the body, remembers the request and answers with what it was sent."""

    def __init__(self) -> None:
        self.environs: list[Environ] = []
        self.bodies: list[bytes] = []

    def __call__(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"].read()
        self.environs.append(environ)
        self.bodies.append(body)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode("latin-1"), b" ", body]

    @property
    def paths(self) -> list[str]:
        return [environ["PATH_INFO"] for environ in self.environs]


def until(condition: Callable[[], object]) -> None:
    """Give others turns until the condition holds."""
    with concurrency.time_limit(PATIENCE_S, AssertionError("it never happened")):
        while not condition():
            concurrency.sleep(0.001)
