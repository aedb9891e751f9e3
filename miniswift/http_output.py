"""Answers on their way out: start_response, the head, and each kind of body.

    list of blocks     one send, with the head          a filter's page, a small listing
    FileBody           pread and one send, or sendfile  an object
    anything iterable  a send a block                   a stream, chunked when its length is unknown

1. Nothing is sent before the first block of the body is there, so an application that fails until
   then can still be answered for with a 500.
2. What is sent agrees with the Content-Length: more is cut, less closes the connection.
3. HEAD, 204 and 304 have no body and no header that the application did not give.
"""

from __future__ import annotations

import email.utils
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from miniswift.concurrency import pause
from miniswift.http_head import RequestHead
from miniswift.http_input import RequestBody
from miniswift.http_wire import Wire
from miniswift.responses import BODILESS, FileBody, HeaderList, status_line

logger = logging.getLogger(__name__)

SMALL_BODY = 65536  # bytes up to which copying is cheaper than a second system call
TURN = 1 << 20  # bytes of a body that are sent before others get their turn
# Response headers the server has a say in; no other is looked at.
_OWN_HEADERS = frozenset(["content-length", "transfer-encoding", "connection", "date"])

_date = (0, "")


def date_line() -> str:
    """The Date header of now; made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = now, "Date: " + email.utils.formatdate(now, usegmt=True)
    return _date[1]


class ResponseWriter:
    """Sends the answer to one request."""

    __slots__ = (
        "_headers", "_input", "_is_chunked", "_left", "_request", "_status", "_wire", "is_started", "keep_alive"
    )  # fmt: skip

    def __init__(self, wire: Wire, request: RequestHead, body: RequestBody, keep_alive: bool) -> None:
        self._wire = wire
        self._request = request
        self._input = body
        self._status = ""
        self._headers: HeaderList = []
        self._left: int | None = None  # bytes of the announced length that were not sent yet
        self._is_chunked = False
        self.is_started = False
        self.keep_alive = keep_alive  # whether the connection outlives this answer

    def start_response(
        self, status: str, headers: HeaderList, exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """PEP 3333's: take the status and the headers, to be sent with the first block of the body."""
        if exc_info and self.is_started:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._status and not exc_info:
            raise RuntimeError("the application called start_response twice")
        self._status = status
        self._headers = headers
        return self.write

    # --- bodies ---

    def send(self, body: Iterable[bytes]) -> None:
        """Send the whole answer. Raises ClientDisconnected or ClientTimeout, and what the body raises."""
        kind = type(body)
        if kind is list or kind is tuple:
            self._send_whole(b"".join(body))
        elif isinstance(body, FileBody) and self._status:
            self._send_file(body)
        else:
            self._send_blocks(body)

    def write(self, block: bytes) -> None:
        """Send one block of the body; an empty one sends the head."""
        if not self.is_started:
            head = self._make_head(None)
            self._wire.send(head + self._framed(block))
        elif framed := self._framed(block):
            self._wire.send(framed)

    def _send_whole(self, data: bytes) -> None:
        if self.is_started:  # by write()
            self.write(data)
        else:
            head = self._make_head(len(data))
            data = self._framed(data)
            if len(data) <= SMALL_BODY:
                self._wire.send(head + data)
            else:
                self._wire.send(head, more_follows=True)
                self._wire.send(data)
        self._finish()

    def _send_blocks(self, body: Iterable[bytes]) -> None:
        turn = TURN
        for block in body:
            if not block:
                continue
            if self._left == 0 or not self._has_body:
                break
            self.write(block)
            turn -= len(block)
            if turn <= 0:
                pause()
                turn = TURN
        if not self.is_started:
            self._wire.send(self._make_head(0))
        self._finish()

    def _send_file(self, body: FileBody) -> None:
        head = b"" if self.is_started else self._make_head(body.length)
        size = min(body.length, self._left or 0)
        if self._is_chunked or size <= SMALL_BODY or not self._has_body:
            self._send_small_file(head, body)
            return
        self._wire.send(head, more_follows=True)
        fd = body.file.fileno()
        while size:
            sent = self._wire.send_from_file(fd, body.offset + body.sent, size)
            if not sent:  # truncated under us
                break
            body.sent += sent
            size -= sent
            self._left = (self._left or 0) - sent
            if size:
                pause()
        self._finish()

    def _send_small_file(self, head: bytes, body: FileBody) -> None:
        for block in body if self._has_body else ():
            self._wire.send(head + self._framed(block))
            head = b""
        if head:
            self._wire.send(head)
        self._finish()

    def _framed(self, block: bytes) -> bytes:
        """The block as it goes onto the wire; cut at the announced length."""
        if self._is_chunked:
            return b"%x\r\n%b\r\n" % (len(block), block) if block else b""
        if not self._has_body:
            return b""
        if self._left is not None:
            if len(block) > self._left:
                logger.warning("an answer is longer than its Content-Length: cut")
                block = block[: self._left]
            self._left -= len(block)
        return block

    def _finish(self) -> None:
        if self._is_chunked:
            self._wire.send(b"0\r\n\r\n")
        elif self._left and self._has_body:
            logger.warning("an answer is %d bytes shorter than its Content-Length", self._left)
            self.keep_alive = False

    # --- the head ---

    @property
    def _has_body(self) -> bool:
        return self._request.method != "HEAD" and int(self._status[:3]) not in BODILESS

    def _make_head(self, length: int | None) -> bytes:
        """The head as bytes; from here on the answer counts as started. `length` as far as known."""
        if not self._status:
            raise RuntimeError("the application did not call start_response")
        lines = ["HTTP/1.1 " + self._status, date_line()]
        announced = None
        for name, value in self._headers:
            if (lower := name.lower()) in _OWN_HEADERS:
                if lower == "content-length":
                    announced = int(value)
                elif lower == "date":
                    del lines[1]
                    ...
            lines.append(f"{name}: {value}")
        return b""
