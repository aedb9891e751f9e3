"""Requests that no honest client sends: each gets its answer, and the next client never notices.

Behind every malformed request stands a well-formed one on the same connection. Were it answered, somebody
could hide requests from a proxy in front of us (smuggling), so a refusal ends the connection.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.cluster import ServeProcess, is_healthy, made_root, set_options

TIMEOUT_S = 1  # of the server, for the rest of a request
PATIENCE_S = 20  # of the test, for an answer or a closed connection
FOLLOWING = b"GET /healthcheck HTTP/1.1\r\nHost: following\r\n\r\n"


@pytest.fixture(scope="module")
def process(scratch: Path) -> Iterator[ServeProcess]:
    process = made_root(scratch / "data")
    timeouts = dict.fromkeys(("client_timeout", "header_timeout", "keepalive_timeout"), str(TIMEOUT_S))
    set_options(process.root / "etc" / "proxy-server.conf", "DEFAULT", **timeouts)
    with process:
        yield process


@pytest.fixture(scope="module")
def owner(process: ServeProcess) -> Iterator[Client]:
    with Client.login(process.auth) as client:
        assert client.put("/c").status == 201
        yield client


@pytest.fixture(autouse=True)
def still_serves(process: ServeProcess) -> Iterator[None]:
    """No test leaves the server unable to serve, nor one of its workers dead."""
    workers = process.workers()
    yield
    assert is_healthy(process.address)
    assert set(workers) <= set(process.workers())


def everything(sock: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):  # it closed with bytes of ours unread
        while block := sock.recv(65536):
            received += block
    return received


def statuses(received: bytes) -> list[int]:
    """The statuses of the answers in it; no body here holds a status line."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


@pytest.fixture
def send(process: ServeProcess) -> Callable[[bytes], list[int]]:
    """Sends bytes on a new connection; the statuses that came before the server closed it."""

    def send(data: bytes) -> list[int]:
        with socket.create_connection(process.address, PATIENCE_S) as sock:
            with contextlib.suppress(ConnectionError):  # refused before all was sent
                sock.sendall(data)
            return statuses(everything(sock))

    return send


HEADS = {
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a method that is no token": b"GE T / HTTP/1.1\r\nHost: a\r\n",
    "no version": b"GET /healthcheck\r\nHost: a\r\n",
    "an unknown version": b"GET /healthcheck HTTP/3.7\r\nHost: a\r\n",
    "no Host": b"GET /healthcheck HTTP/1.1\r\n",
    "two Hosts": b"GET /healthcheck HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
    "length and chunks": (
        b"PUT /v1/a/c/o HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
    ),
    "two lengths": b"PUT /v1/a/c/o HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n",
    "a list of lengths": b"PUT /v1/a/c/o HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n",
    "a negative length": b"PUT /v1/a/c/o HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n",
    "a signed length": b"PUT /v1/a/c/o HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n",
    "a hexadecimal length": b"PUT /v1/a/c/o HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n",
    "an endless length": b"PUT /v1/a/c/o HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 40 + b"\r\n",
    "an unknown coding": b"PUT /v1/a/c/o HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n",
    "chunks that are not last": b"PUT /v1/a/c/o HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n",
    "a space before the colon": b"GET /healthcheck HTTP/1.1\r\nHost : a\r\n",
    "a folded header": b"GET /healthcheck HTTP/1.1\r\nHost: a\r\nX-Folded: one\r\n two\r\n",
    "a header without colon": b"GET /healthcheck HTTP/1.1\r\nHost: a\r\nnonsense\r\n",
    "a header without name": b"GET /healthcheck HTTP/1.1\r\nHost: a\r\n: value\r\n",
    "a name with a control character": b"GET /healthcheck HTTP/1.1\r\nHost: a\r\nX-\x01Name: value\r\n",
    "a value with a null byte": b"GET /healthcheck HTTP/1.1\r\nHost: a\r\nX-Name: val\x00ue\r\n",
    "a value with a bare CR": b"GET /healthcheck HTTP/1.1\r\nHost: a\r\nX-Name: val\rue\r\n",
    "a bare LF": b"GET /healthcheck HTTP/1.1\nHost: a\r\n",
}


OTHER_THAN_400 = {"an unknown version": 505, "an unknown coding": 501, "chunks that are not last": 501}


@pytest.mark.parametrize("kind", HEADS)
def test_malformed_head_is_refused_and_ends_the_connection(
    send: Callable[[bytes], list[int]], kind: str
) -> None:
    assert send(HEADS[kind] + b"\r\n" + FOLLOWING) == [OTHER_THAN_400.get(kind, 400)]


BODIES = {
    "a size that is no number": b"zz\r\nab\r\n0\r\n\r\n",
    "a negative size": b"-2\r\nab\r\n0\r\n\r\n",
    "a signed size": b"+2\r\nab\r\n0\r\n\r\n",
    "a size with 0x": b"0x2\r\nab\r\n0\r\n\r\n",
    "an endless size": b"f" * 40 + b"\r\nab\r\n0\r\n\r\n",
    "an empty size": b"\r\nab\r\n0\r\n\r\n",
    "a size followed by something odd": b"2 x\r\nab\r\n0\r\n\r\n",
    "a chunk longer than its size": b"2\r\nabc\r\n0\r\n\r\n",
    "a chunk that ends with a bare LF": b"2\nab\n0\n\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_malformed_chunk_is_refused_and_stores_nothing(
    send: Callable[[bytes], list[int]], owner: Client, body: bytes
) -> None:
    head = (
        f"PUT {owner.prefix}/c/malformed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        f"X-Auth-Token: {owner.headers['X-Auth-Token']}\r\n\r\n"
    )
    assert send(head.encode() + body + FOLLOWING) == [400]
    assert owner.get("/c/malformed").status == 404


OVERSIZED = {
    "request line": (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "header line": (b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 20000 + b"\r\n\r\n", 431),
    "header count": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n", 431),
    "head without end": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 200000, 431),
}


@pytest.mark.parametrize(("head", "status"), OVERSIZED.values(), ids=OVERSIZED)
def test_oversized_head_is_refused_and_ends_the_connection(
    send: Callable[[bytes], list[int]], head: bytes, status: int
) -> None:
    assert send(head + FOLLOWING) == [status]


def test_object_above_the_limit_is_refused_before_it_is_sent(process: ServeProcess, owner: Client) -> None:
    with socket.create_connection(process.address, PATIENCE_S) as sock:
        head = (
            f"PUT {owner.prefix}/c/huge HTTP/1.1\r\nHost: a\r\nContent-Length: {6 << 30}\r\n"
            f"X-Auth-Token: {owner.headers['X-Auth-Token']}\r\nConnection: close\r\n\r\n"
        )
        sock.sendall(head.encode())
        assert statuses(everything(sock)) == [413]


SLOW = {
    "nothing": b"",
    "half a request line": b"GET /health",
    "half a head": b"GET /healthcheck HTTP/1.1\r\nHost: a\r\nX-",
}


@pytest.mark.slow
@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_head_that_does_not_come_ends_the_connection(send: Callable[[bytes], list[int]], data: bytes) -> None:
    assert send(data) in ([], [408])


@pytest.mark.slow
def test_body_that_does_not_come_is_answered_408(process: ServeProcess, owner: Client) -> None:
    head = (
        f"PUT {owner.prefix}/c/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
        f"X-Auth-Token: {owner.headers['X-Auth-Token']}\r\n\r\n"
    )
    with socket.create_connection(process.address, PATIENCE_S) as sock:
        sock.sendall(head.encode() + b"only the beginning")
        assert statuses(everything(sock)) == [408]
    assert owner.get("/c/slow").status == 404


@pytest.mark.slow
def test_client_that_leaves_in_mid_body_stores_nothing(process: ServeProcess, owner: Client) -> None:
    head = (
        f"PUT {owner.prefix}/c/gone HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
        f"X-Auth-Token: {owner.headers['X-Auth-Token']}\r\n\r\n"
    )
    with socket.create_connection(process.address, PATIENCE_S) as sock:
        sock.sendall(head.encode() + b"only the beginning")
        sock.shutdown(socket.SHUT_WR)
        everything(sock)
    assert owner.get("/c/gone").status == 404
    assert [row["name"] for row in owner.listing("/c", "&prefix=gone")] == []


@pytest.mark.slow
def test_many_slow_clients_hold_nobody_else_up(process: ServeProcess, owner: Client) -> None:
    """Each drips a byte now and then, so no timeout for silence ends it."""
    finished = threading.Event()
    with contextlib.ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(process.address, PATIENCE_S)) for _ in range(200)
        ]

        def drip() -> None:
            while not finished.wait(0.2):
                for sock in slow:
                    with contextlib.suppress(OSError):
                        sock.send(b"X")

        for sock in slow:
            sock.sendall(b"GET /healthcheck HTTP/1.1\r\n")
        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            for number in range(100):
                assert owner.put(f"/c/{number}", b"x").status == 201
            # The limit is on the whole head, not on the silence between two of its bytes.
            assert all(statuses(everything(sock)) in ([], [408]) for sock in slow)
        finally:
            finished.set()
            dripping.join()
