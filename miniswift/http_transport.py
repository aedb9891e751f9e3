"""HTTP to storage servers: keep-alive connections, one request at a time on each.

A connection is taken from the pool of its (ip, port) or made, asked, and given back once its answer
has been read to the end. The answer is parsed by llhttp (httptools), as requests are in the server.

1. A kept connection that the other side closed meanwhile is replaced by a new one, once, and only
   while nothing of the answer has come and nothing of the body was read.
2. With a body the request says `Expect: 100-continue`; the body is read only after the 100.
3. A connection whose answer was not read to its end is closed, never given back.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import Any

import httptools

from miniswift.backend import BackendRequest, BrokenAnswer, ConnectFailed, TimedOut
from miniswift.concurrency import socket
from miniswift.responses import BODILESS, Headers, Response
from miniswift.ring import Node
from miniswift.wsgi import quote_path

logger = logging.getLogger(__name__)

CHUNK = 65536
MAX_IDLE_PER_SERVER = 64


class HTTPTransport:
    """Sends requests over HTTP/1.1. Timeouts in seconds: to connect, and for each wait after that."""

    def __init__(self, conn_timeout: float = 0.5, node_timeout: float = 10.0) -> None:
        self.conn_timeout = conn_timeout
        self.node_timeout = node_timeout
        self._idle: dict[tuple[str, int], deque[_Connection]] = {}

    def __repr__(self) -> str:
        idle = ", ".join(f"{ip}:{port}: {len(kept)}" for (ip, port), kept in self._idle.items())
        return f"<HTTPTransport [idle {idle or 'none'}]>"

    def close(self) -> None:
        """Close the idle connections."""
        for kept in self._idle.values():
            while kept:
                kept.pop().close()

    def send(self, node: Node, request: BackendRequest) -> Response:
        connection = self._take(node)
        while True:
            try:
                return self._exchange(connection, node, request)
            except _Stale:
                connection.close()
                connection = self._connect(node)
            except BaseException:
                connection.close()
                raise

    def _exchange(self, connection: _Connection, node: Node, request: BackendRequest) -> Response:
        connection.start(node, request)
        if request.body is not None and connection.wait_for_continue():
            connection.send_body(request)
        status, headers = connection.read_head()
        if not connection.has_body:
            self._give_back(connection)
            return Response(status, headers, [])
        return Response(status, headers, _Body(connection, self))

    def _take(self, node: Node) -> _Connection:
        idle = self._idle.get((node.ip, node.port))
        return idle.pop() if idle else self._connect(node)

    def _connect(self, node: Node) -> _Connection:
        where = f"{node.ip}:{node.port}"
        family = socket.AF_INET6 if ":" in node.ip else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.conn_timeout)
            sock.connect((node.ip, node.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError:
            sock.close()
            raise ConnectFailed(f"{where} did not accept within {self.conn_timeout} s") from None
        except OSError as error:
            sock.close()
            raise ConnectFailed(f"{where}: {error.strerror or error}") from None
        sock.settimeout(self.node_timeout)
        return _Connection(sock, (node.ip, node.port))

    def _give_back(self, connection: _Connection) -> None:
        if not connection.can_be_kept:
            connection.close()
            return
        idle = self._idle.setdefault(connection.address, deque())
        idle.append(connection)
        if len(idle) > MAX_IDLE_PER_SERVER:
            idle.popleft().close()


class _Stale(Exception):
    """Raised when a kept connection turns out to be closed before anything was answered."""


class _Connection:
    """A socket, a parser, and the answer that is being read."""

    def __init__(self, sock: Any, address: tuple[str, int]) -> None:
        self.address = address
        self._sock = sock
        self._uses = 0

    def close(self) -> None:
        self._sock.close()

    # --- asking ---

    def start(self, node: Node, request: BackendRequest) -> None:
        """Send the head of the request and make ready for its answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._method = request.method
        self._uses += 1
        self._anything_received = False
        self._continued = False
        self._reset_answer()
        self._send(_head(node, request))

    def wait_for_continue(self) -> bool:
        """True when the node wants the body; False when it answered without."""
        while not (self._continued or self._head_complete):
            self._receive()
        return not self._head_complete

    def send_body(self, request: BackendRequest) -> None:
        """Send the body to its end. A node that answers early stops the sending, not the answer."""
        body, remaining = request.body, request.content_length
        assert body is not None
        try:
            if remaining is None:
                while chunk := body.read(CHUNK):
                    self._sock.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self._sock.sendall(b"0\r\n\r\n")
                return
            while remaining and (chunk := body.read(min(CHUNK, remaining))):
                remaining -= len(chunk)
                self._sock.sendall(chunk)
        except TimeoutError:
            raise TimedOut(f"{self._where} stopped taking the body") from None
        except (BrokenPipeError, ConnectionResetError):
            # The node may have refused and closed; its answer, if any, is what counts.
            self.keep_alive = False
        if remaining:
            self.keep_alive = False

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise TimedOut(f"{self._where} stopped taking the request") from None
        except OSError as error:
            self._raise_if_stale()
            raise BrokenAnswer(f"{self._where}: {error.strerror or error}") from None

    # --- the answer ---

    def read_head(self) -> tuple[int, Headers]:
        while not self._head_complete:
            self._receive()
        return self._status, self._headers

    def read_block(self) -> bytes:
        """More of the body, `b""` at its end."""
        while not self._blocks:
            if self._complete:
                return b""
            self._receive()
        return self._blocks.popleft()

    @property
    def has_body(self) -> bool:
        return not self._complete or bool(self._blocks)

    @property
    def can_be_kept(self) -> bool:
        return self.keep_alive and self._complete and not self._blocks

    @property
    def _where(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def _reset_answer(self) -> None:
        self._headers = Headers()
        self._blocks: deque[bytes] = deque()
        self._head_complete = False
        self._complete = False
        self.keep_alive = True

    def _receive(self) -> None:
        try:
            data = self._sock.recv(CHUNK)
        except TimeoutError:
            raise TimedOut(f"{self._where} did not answer in time") from None
        except OSError as error:
            self._raise_if_stale()
            raise BrokenAnswer(f"{self._where}: {error.strerror or error}") from None
        if not data:
            self._at_end_of_stream()
            return
        self._anything_received = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise BrokenAnswer(f"{self._where} sent no HTTP: {error}") from None

    def _at_end_of_stream(self) -> None:
        self._raise_if_stale()
        lengthless = "Content-Length" not in self._headers and "Transfer-Encoding" not in self._headers
        if not (self._head_complete and lengthless):
            raise BrokenAnswer(f"{self._where} closed the connection in its answer")
        self._complete = True  # a body that ends with the connection (RFC 9112 6.3)
        self.keep_alive = False

    def _raise_if_stale(self) -> None:
        if self._uses > 1 and not self._anything_received:
            raise _Stale

    # --- called by the parser ---

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status == 100:
            return
        self._head_complete = True
        self.keep_alive = self._parser.should_keep_alive()
        # The parser does not know what was asked: to it a HEAD's answer still lacks its body.
        if self._method == "HEAD" or self._status in BODILESS:
            self._complete = True

    def on_body(self, body: bytes) -> None:
        self._blocks.append(body)

    def on_message_complete(self) -> None:
        if self._status == 100:
            self._continued = True
            self._reset_answer()
        else:
            self._complete = True


class _Body:
    """The body of an answer; its connection goes back to the pool at the end."""

    def __init__(self, connection: _Connection, transport: HTTPTransport) -> None:
        self._connection: _Connection | None = connection
        self._transport = transport

    def __iter__(self) -> Iterator[bytes]:
        while self._connection is not None:
            block = self._connection.read_block()
            if not block:
                connection, self._connection = self._connection, None
                self._transport._give_back(connection)
                return
            yield block

    def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            if connection.can_be_kept:
                self._transport._give_back(connection)
            else:
                connection.close()


def _head(node: Node, request: BackendRequest) -> bytes:
    path = quote_path(f"/{node.device}/{request.part}{request.path}")
    target = f"{path}?{request.query}" if request.query else path
    lines = [f"{request.method} {target} HTTP/1.1"]
    headers = request.headers.copy()
    headers["Host"] = f"{node.ip}:{node.port}"
    if request.body is not None:
        headers["Expect"] = "100-continue"
        if request.content_length is None:
            headers["Transfer-Encoding"] = "chunked"
            headers.pop("Content-Length", None)
        else:
            headers["Content-Length"] = str(request.content_length)
            headers.pop("Transfer-Encoding", None)
    elif request.method in ("PUT", "POST"):
        headers["Content-Length"] = "0"
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
