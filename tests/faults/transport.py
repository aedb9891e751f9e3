"""A transport that fails on purpose, around any other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from miniswift.backend import (
    BackendRequest,
    BrokenAnswer,
    ConnectFailed,
    Readable,
    TimedOut,
    Transport,
)
from miniswift.concurrency import sleep
from miniswift.responses import Response
from miniswift.ring import Node

NODE_TIMEOUT_S = 0.02  # after which HTTPTransport, too, would give a node up

Place = tuple[int, str]  # the port and the device of a node
Fault = Callable[[Transport, Node, BackendRequest], Response]


class FaultyTransport:
    """Sends by `inner`; to the nodes in `places` what `fault` makes of it."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.fault: Fault | None = None
        self.places: Collection[Place] = ()
        self.asked: list[Place] = []

    def send(self, node: Node, request: BackendRequest) -> Response:
        place = (node.port, node.device)
        self.asked.append(place)
        if self.fault is None or place not in self.places:
            return self._inner.send(node, request)
        return self.fault(self._inner, node, request)


def down(_inner: Transport, node: Node, _request: BackendRequest) -> Response:
    """Nobody listens."""
    raise ConnectFailed(f"{node.device} is down")


def stalled(_inner: Transport, node: Node, _request: BackendRequest) -> Response:
    """It accepts connections and never answers."""
    sleep(NODE_TIMEOUT_S)
    raise TimedOut(f"{node.device} does not answer")


def stops_reading(inner: Transport, node: Node, request: BackendRequest) -> Response:
    """It begins to take an upload, and stalls; other requests it answers."""
    if request.body is None:
        return inner.send(node, request)
    request.body.read(1)
    sleep(NODE_TIMEOUT_S)
    raise TimedOut(f"{node.device} stopped taking the body")


def says_507(_inner: Transport, _node: Node, _request: BackendRequest) -> Response:
    """Its device is full, or not mounted."""
    return Response(507)


def says_503(_inner: Transport, _node: Node, _request: BackendRequest) -> Response:
    return Response(503)


def breaks_off(inner: Transport, node: Node, request: BackendRequest) -> Response:
    """It closes the connection in mid-body, be it the request's or the answer's; or before its answer."""
    if request.body is not None:
        request.body.read(1)
        raise BrokenAnswer(f"{node.device} closed the connection")
    response = inner.send(node, request)
    if request.method != "GET" or not 200 <= response.status < 300:
        response.close()
        raise BrokenAnswer(f"{node.device} closed the connection")
    content = response.read()
    response.body = _first_half(content, f"{node.device} closed the connection in its answer")
    return response


def stalls_in_its_answer(inner: Transport, node: Node, request: BackendRequest) -> Response:
    """It sends half of a GET's body and then nothing."""
    response = inner.send(node, request)
    if request.method == "GET" and 200 <= response.status < 300:
        content = response.read()
        response.body = _first_half(content, f"{node.device} sends no more", pause_s=NODE_TIMEOUT_S)
    return response


def garbles_uploads(inner: Transport, node: Node, request: BackendRequest) -> Response:
    """It stores something else than it was sent."""
    if request.body is not None:
        request.body = _Garbled(request.body)
    return inner.send(node, request)


def _first_half(content: bytes, then: str, pause_s: float = 0) -> Iterator[bytes]:
    yield content[: len(content) // 2]
    sleep(pause_s)
    raise BrokenAnswer(then)


class _Garbled:
    """A body with its first byte changed."""

    def __init__(self, body: Readable) -> None:
        self._body = body
        self._is_first = True

    def read(self, size: int = -1, /) -> bytes:
        block = self._body.read(size)
        if block and self._is_first:
            block = bytes([block[0] ^ 0xFF]) + block[1:]
            self._is_first = False
        return block
