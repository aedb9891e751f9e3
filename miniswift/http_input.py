"""Request bodies: what an application finds as `wsgi.input`.

1. A body never reads past its own end: what follows on the connection is the next request.
2. `100 Continue` is sent when the application first reads, unless its answer has begun by then; an
   application that refuses without reading thus never asks for the body.
3. After an error the body is broken for good, and its connection is closed after the answer.

Chunk extensions are accepted when they are short and made of token characters, `;` and `=`; they and
trailers are dropped. Anything else out of place between chunks is a BadRequestBody.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from miniswift.errors import BadRequestBody, ClientDisconnected, ClientTimeout
from miniswift.http_head import CRLF, LINE_BYTES, TOKEN, Refused, RequestHead, header_key
from miniswift.http_wire import BLOCK, Wire
from miniswift.responses import HeaderList

DRAIN_LIMIT = 65536  # bytes of an unread body that are read to keep its connection
_HEX_DIGITS = b"0123456789abcdefABCDEF"
_EXTENSION = "".join(TOKEN).encode() + b";="
MAX_SIZE_DIGITS = 16
MAX_CHUNK_LINE = 256
MAX_TRAILER_LINE = 8192
MAX_TRAILERS = 64


class RequestBody:
    """The body of a request with a Content-Length, or with none and then empty."""

    __slots__ = (
        "_ahead",
        "_continue_headers",
        "_left",
        "_may_continue",
        "_wire",
        "is_broken",
        "owes_continue",
    )

    def __init__(self, wire: Wire, head: RequestHead) -> None:
        self._wire = wire
        self._left = head.length  # bytes still to come (of the chunk, when chunked)
        self._ahead = b""  # read by readline beyond its line
        self._continue_headers: HeaderList = []
        self._may_continue = head.is_http11
        self.owes_continue = head.expects_continue
        self.is_broken = False

    # --- reading ---

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer only at the end; all when negative.

        Raises ClientDisconnected, ClientTimeout or BadRequestBody; so do all ways of reading.
        """
        if size is None or size < 0:
            size = sys.maxsize
        block = self._some(size)
        if not block or len(block) == size:
            return block
        blocks = [block]
        size -= len(block)
        while size and (block := self._some(size)):
            blocks.append(block)
            size -= len(block)
        return b"".join(blocks)

    def readline(self, size: int | None = -1) -> bytes:
        """Up to and with the next LF, at most `size` bytes when not negative."""
        if size is None or size < 0:
            size = sys.maxsize
        blocks = []
        while size and (block := self._some(size)):
            end = block.find(b"\n") + 1
            if end:
                self._ahead = block[end:] + self._ahead
                blocks.append(block[:end])
                break
            blocks.append(block)
            size -= len(block)
        return b"".join(blocks)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """All lines, or those that begin in the next `hint` bytes."""
        lines: list[bytes] = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _some(self, size: int) -> bytes:
        """At least one and at most `size` bytes; b"" at the end, and for a size of 0."""
        if self.is_broken:
            raise BadRequestBody("The rest of this body cannot be read.")
        if self.owes_continue:
            self.send_hundred_continue_response()
        if self._ahead:
            block, self._ahead = self._ahead[:size], self._ahead[size:]
            return block
        return self._from_wire(size)

    def _from_wire(self, size: int) -> bytes:
        size = min(size, self._left)
        if not size:
            return b""
        block = self._receive(size)
        self._left -= len(block)
        return block

    def _receive(self, size: int) -> bytes:
        try:
            block = self._wire.take(size)
        except ClientTimeout:
            self.is_broken = True
            raise
        if not block:
            self.is_broken = True
            raise ClientDisconnected("the client closed the connection before the end of the body")
        return block

    # --- 100 Continue ---

    def set_hundred_continue_response_headers(
        self, headers: HeaderList, capitalize_response_headers: bool = True
    ) -> None:
        """Headers for the next `100 Continue`, and all after it."""
        self._continue_headers = [
            (name.title() if capitalize_response_headers else name, value) for name, value in headers
        ]

    def send_hundred_continue_response(self) -> None:
        """Ask the client to go on. More than once in a conversation of several phases."""
        self.owes_continue = False
        if not self._may_continue:
            return
        lines = ["HTTP/1.1 100 Continue"]
        lines += [f"{name}: {value}" for name, value in self._continue_headers]
        self._wire.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def forbid_continue(self) -> None:
        """Called when the answer begins: a 100 in the middle of it would be part of its body."""
        self._may_continue = False

    # --- what is left of it, for the server ---

    @property
    def is_complete(self) -> bool:
        """Whether the next byte on the wire belongs to the next request."""
        return not self._left and not self.is_broken

    @property
    def may_be_drained(self) -> bool:
        """Whether, as far as can be known, `drain` will bring the wire to the next request."""
        if self.is_broken:
            return False
        # Without its 100 a client may send the body or not, so there is no telling what follows.
        return self.is_complete or not (self.owes_continue or self._left > DRAIN_LIMIT)

    def drain(self) -> bool:
        """Read what is left if it is little. False when the connection cannot be used again."""
        if self.is_complete:
            return True
        self._ahead = b""
        limit = DRAIN_LIMIT
        try:
            while self.may_be_drained and limit > 0:
                block = self._from_wire(limit)
                if not block:
                    return self.is_complete
                limit -= len(block)
        except (BadRequestBody, ClientDisconnected, ClientTimeout):
            return False
        return False


class ChunkedBody(RequestBody):
    """The body of a request with `Transfer-Encoding: chunked` (RFC 9112 7.1)."""

    __slots__ = ("_is_at_end", "_is_inside")

    def __init__(self, wire: Wire, head: RequestHead) -> None:
        super().__init__(wire, head)
        self._is_inside = False  # of a chunk whose closing CR LF was not read yet
        self._is_at_end = False

    def send_hundred_continue_response(self) -> None:
        """Ask the client to go on; after the last chunk, with a second sequence of chunks.

        Swift's proxy ends the object's data with a last chunk, waits for this, and sends its commit as
        another sequence (its "multi-phase" PUT).
        """
        super().send_hundred_continue_response()
        self._is_at_end = False

    @property
    def is_complete(self) -> bool:
        return self._is_at_end and not self.is_broken

    def _from_wire(self, size: int) -> bytes:
        if not size or self._is_at_end:
            return b""
        if not self._left:
            self._left = self._next_chunk()
            if not self._left:
                self._read_trailers()
                self._is_at_end = True
                return b""
        return super()._from_wire(size)

    def _next_chunk(self) -> int:
        """Read what stands before the next chunk's data: its size, 0 for the last."""
        if self._is_inside and self._line(0):
            raise self._malformed("A chunk is longer than it says.")
        digits, semicolon, extension = self._line(MAX_CHUNK_LINE).partition(b";")
        if not digits or len(digits) > MAX_SIZE_DIGITS or digits.translate(None, _HEX_DIGITS):
            raise self._malformed("The size of a chunk is not a hexadecimal number.")
        if semicolon and (not extension or extension.translate(None, _EXTENSION)):
            raise self._malformed("A chunk has an extension that cannot be read.")
        size = int(digits, 16)
        self._is_inside = size > 0
        return size

    def _read_trailers(self) -> None:
        for _ in range(MAX_TRAILERS):
            line = self._line(MAX_TRAILER_LINE)
            if not line:
                return
            name, colon, _ = line.partition(b":")
            try:
                header_key(name.decode("latin-1"))
            except Refused as refusal:
                raise self._malformed(refusal.reason) from None
            if not colon or line.translate(None, LINE_BYTES):
                raise self._malformed("A header after the last chunk cannot be read.")
        raise self._malformed(f"More than {MAX_TRAILERS} headers follow the last chunk.")

    def _line(self, limit: int) -> bytes:
        """The next line, without its CR LF."""
        wire = self._wire
        while (end := wire.buffer.find(b"\n")) < 0 and len(wire.buffer) <= limit + 1:
            start, wire.buffer = wire.buffer, b""
            wire.buffer = start + self._receive(BLOCK)
        line = wire.buffer[: end + 1]
        if not line.endswith(CRLF) or len(line) > limit + 2:
            raise self._malformed("A line between chunks does not end in CR LF, or is too long.")
        wire.buffer = wire.buffer[end + 1 :]
        return line[:-2]

    def _malformed(self, problem: str) -> BadRequestBody:
        self.is_broken = True
        return BadRequestBody(problem)
