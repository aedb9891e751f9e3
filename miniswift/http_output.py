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


def plain_answer(status: int, reason: str) -> bytes:
    """The whole answer to a request that never reached the application; its connection closes after it."""
    body = reason.encode()
    return (
        f"HTTP/1.1 {status_line(status)}\r\n{date_line()}\r\nContent-Type: text/plain; charset=UTF-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


class ResponseWriter:
    """Sends the answer to one request."""

    __slots__ = (
        "_has_body", "_headers", "_input", "_is_chunked", "_left", "_request", "_status", "_wire",
        "is_started", "keep_alive",
    )  # fmt: skip

    def __init__(self, wire: Wire, request: RequestHead, body: RequestBody) -> None:
        self._wire = wire
        self._request = request
        self._input = body
        self._status = ""
        self._headers: HeaderList = []
        # Known once the head is made:
        self._has_body = True
        self._is_chunked = False
        self._left: int | None = None  # bytes of the announced length that are still to be sent
        self.is_started = False
        self.keep_alive = request.keep_alive  # whether the connection outlives this answer

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

    def send(self, body: Iterable[bytes]) -> None:
        """Send the whole answer. Raises ClientDisconnected or ClientTimeout, and what the body raises."""
        kind = type(body)
        if kind is list or kind is tuple:
            self._send_whole(b"".join(body))
        elif isinstance(body, FileBody) and not self.is_started:
            self._send_file(body)
        else:
            self._send_blocks(body)
        if self._is_chunked:
            self._wire.send(b"0\r\n\r\n")
        elif self._left:
            logger.warning("an answer is %d bytes shorter than its Content-Length", self._left)
            self.keep_alive = False

    def answer_instead(self, status: int, reason: str) -> None:
        """Answer for an application that failed. If its answer has begun, only the connection ends."""
        self.keep_alive = False
        if not self.is_started:
            self._status = status_line(status)
            self._headers = [("Content-Type", "text/plain; charset=UTF-8")]
            self._send_whole(reason.encode())

    # --- bodies ---

    def write(self, block: bytes) -> None:
        """Send one block of the body, after the head if that was not sent."""
        head = b"" if self.is_started else self._make_head(None)
        if data := head + self._framed(block):
            self._wire.send(data)

    def _send_whole(self, data: bytes) -> None:
        head = b"" if self.is_started else self._make_head(len(data))
        data = self._framed(data)
        if head and len(data) > SMALL_BODY:
            self._wire.send(head, more_follows=True)
            self._wire.send(data)
        elif head or data:
            self._wire.send(head + data)

    def _send_blocks(self, body: Iterable[bytes]) -> None:
        turn = TURN
        for block in body:
            if not block:
                continue
            if not self.is_started:
                self._wire.send(self._make_head(None) + self._framed(block))
            elif self._has_body and self._left != 0:
                self._wire.send(self._framed(block))
            else:  # no body is wanted, or this is more than was announced
                break
            turn -= len(block)
            if turn <= 0:
                turn = TURN
                pause()
        if not self.is_started:
            self._wire.send(self._make_head(0))

    def _send_file(self, body: FileBody) -> None:
        head = self._make_head(body.length)
        if not self._has_body or body.length <= SMALL_BODY:
            self._wire.send(head + self._framed(b"".join(body) if self._has_body else b""))
            return
        self._wire.send(head, more_follows=True)
        fd = body.file.fileno()
        while size := min(self._left or 0, body.length - body.sent):
            sent = self._wire.send_from_file(fd, body.offset + body.sent, size)
            if not sent:  # truncated under us
                return
            body.sent += sent
            self._left = (self._left or 0) - sent
            pause()

    def _framed(self, block: bytes) -> bytes:
        """The block as it goes onto the wire; cut at the announced length."""
        if not self._has_body:
            return b""
        if self._is_chunked:
            return b"%x\r\n%b\r\n" % (len(block), block) if block else b""
        if self._left is not None:
            if len(block) > self._left:
                logger.warning("an answer is longer than its Content-Length: cut")
                block = block[: self._left]
            self._left -= len(block)
        return block

    # --- the head ---

    def _make_head(self, length: int | None) -> bytes:
        """The head, after which the answer has begun. `length` is that of the body where it is known."""
        if not self._status:
            raise RuntimeError("the application did not call start_response")
        lines = ["HTTP/1.1 " + self._status]
        announced = self._add_headers(lines)
        self._has_body = self._request.method != "HEAD" and int(self._status[:3]) not in BODILESS
        if self._has_body:
            self._frame_body(lines, length if announced is None else announced, announced is not None)
        if not (self.keep_alive and self._wire.may_be_kept and self._input.may_be_drained):
            self.keep_alive = False
            lines.append("Connection: close")
        elif self._request.asks_to_stay:
            lines.append("Connection: keep-alive")
        text = "\r\n".join(lines)
        if not text.count("\n") == text.count("\r") == len(lines) - 1:
            raise ValueError("a response header has a line break in it")
        head = text.encode("latin-1") + b"\r\n\r\n"
        self.is_started = True
        self._input.forbid_continue()
        return head

    def _add_headers(self, lines: list[str]) -> int | None:
        """Add the application's headers, and a date; the length that they announce."""
        announced = None
        date = date_line()
        for name, value in self._headers:
            lower = name.lower()
            if lower in _OWN_HEADERS:
                if lower == "content-length":
                    announced = int(value)
                elif lower == "date":
                    date = ""
                else:  # how the body and the connection end is for the server to say
                    if "close" in value.lower():
                        self.keep_alive = False
                    continue
            lines.append(f"{name}: {value}")
        if date:
            lines.append(date)
        return announced

    def _frame_body(self, lines: list[str], length: int | None, is_announced: bool) -> None:
        self._left = length
        self._is_chunked = length is None and self._request.is_http11
        if self._is_chunked:
            lines.append("Transfer-Encoding: chunked")
        elif length is None:  # the end of the connection is the end of the body
            self.keep_alive = False
        elif not is_announced:
            lines.append(f"Content-Length: {length}")
