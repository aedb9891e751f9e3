"""PUTs whose body is a MIME document: the object, then its footers, then the word to commit.

A proxy sends so what it knows only at the end (an ETag of the plaintext, say). It asks for it in
headers; the answer `100 Continue` says that it was understood; a second one says that the whole
object has come, and the word to commit follows. Without it nothing is stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import md5
from typing import Any, Protocol

from miniswift.config import is_true
from miniswift.errors import ClientDisconnected
from miniswift.responses import Environ, Headers, HTTPError
from miniswift.storage.object_metadata import is_header

_MAX_HEAD_SIZE = 8192  # bytes of a part's headers
_MAX_FOOTERS_SIZE = 1 << 20  # bytes
_BLOCK_SIZE = 65536  # bytes


class PutBody(Protocol):
    """What the body of a PUT is read through."""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the object, `b""` at its end."""

    def footers(self) -> Headers:
        """The metadata that follow the object. To be asked once, when the object was read."""

    def confirm(self) -> None:
        """Tell the sender that the object has come, and wait for its word to store it."""


class PlainBody:
    """The body is the object."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read

    def footers(self) -> Headers:
        return Headers()

    def confirm(self) -> None:
        pass


class MultiphaseBody:
    """The body is a MIME document."""

    def __init__(self, environ: Environ, read: Callable[[int], bytes]) -> None:
        """Announce what we understand, and read up to the object. Raises 400."""
        self._input = environ["wsgi.input"]
        self._has_footers = _is_set(environ, "HTTP_X_BACKEND_OBJ_METADATA_FOOTER")
        self._has_commit = _is_set(environ, "HTTP_X_BACKEND_OBJ_MULTIPHASE_COMMIT")
        boundary = environ.get("HTTP_X_BACKEND_OBJ_MULTIPART_MIME_BOUNDARY", "")
        if not boundary:
            raise HTTPError(400, "no MIME boundary")
        self._announce()
        self._parts = MimeParts(read, boundary.encode("latin-1"))
        if self._parts.next_part() is None:
            raise HTTPError(400, "couldn't find object MIME doc")
        self.read = self._parts.read

    def _announce(self) -> None:
        headers = []
        if self._has_commit:
            headers.append(("X-Obj-Multiphase-Commit", "yes"))
        if self._has_footers:
            headers.append(("X-Obj-Metadata-Footer", "yes"))
        # In process there is no 100 Continue, and the caller knows what we understand.
        announce = getattr(self._input, "set_hundred_continue_response_headers", None)
        if announce is not None:
            announce(headers)

    def footers(self) -> Headers:
        """Raises 400 and 422 for footers that are missing, malformed or damaged."""
        if not self._has_footers:
            return Headers()
        head = self._parts.next_part()
        if head is None:
            raise HTTPError(400, "couldn't find footer MIME doc")
        document = self._parts.read_all(_MAX_FOOTERS_SIZE)
        digest = head.get("Content-MD5")
        if not digest:
            raise HTTPError(400, "no Content-MD5 in footer")
        if digest != md5(document, usedforsecurity=False).hexdigest():
            raise HTTPError(422, "footer MD5 mismatch")
        return _parse_footers(document)

    def confirm(self) -> None:
        """Raises 400 when something else than the word to commit comes."""
        if self._has_commit:
            proceed = getattr(self._input, "send_hundred_continue_response", None)
            if proceed is not None:
                proceed()
            head = self._parts.next_part()
            if head is None or head.get("X-Document") != "put commit":
                raise HTTPError(400, "couldn't find PUT commit MIME doc")
        while self._parts.next_part() is not None:  # the connection is used again
            pass


def put_body(environ: Environ, read: Callable[[int], bytes]) -> PutBody:
    """How the body of this PUT is to be read; `read(size)` reads it raw."""
    if _is_set(environ, "HTTP_X_BACKEND_OBJ_METADATA_FOOTER") or _is_set(
        environ, "HTTP_X_BACKEND_OBJ_MULTIPHASE_COMMIT"
    ):
        return MultiphaseBody(environ, read)
    return PlainBody(read)


def _is_set(environ: Environ, key: str) -> bool:
    return key in environ and is_true(environ[key])


def _parse_footers(document: bytes) -> Headers:
    try:
        footers: Any = json.loads(document)
    except (ValueError, RecursionError):
        footers = None
    if not isinstance(footers, dict):
        raise HTTPError(400, "invalid JSON for footer doc")
    if not all(is_header(name, str(value)) for name, value in footers.items()):
        raise HTTPError(400, "a footer could not be sent as a header")
    return Headers((name, str(value)) for name, value in footers.items())


class MimeParts:
    """A MIME multipart document read part by part (RFC 2046 5.1.1)."""

    def __init__(self, read: Callable[[int], bytes], boundary: bytes) -> None:
        self._read = read
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # the first delimiter has no line before it

    def next_part(self) -> Headers | None:
        """Skip to the next part and return its headers; None after the last one. Raises 400."""
        while self.read(_BLOCK_SIZE):
            pass
        self._buffer = self._buffer[len(self._delimiter) :]
        if self._take(2) == b"--":
            # What follows the end means nothing.
            self._buffer = self._delimiter + b"--"
            return None
        return self._head()

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _head(self) -> Headers:
        headers = Headers()
        # The line end after the delimiter was taken; the head ends with an empty line.
        self._buffer = b"\r\n" + self._buffer
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD_SIZE:
                raise HTTPError(400, "the headers of a MIME doc are too long")
            self._fill()
        head = self._buffer[:end].decode("latin-1")
        self._buffer = self._buffer[end + 4 :]
        for line in head.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            headers[name.strip()] = value.strip()
        # A part may be empty: then the delimiter follows the head without a line of its own.
        return headers

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of this part, `b""` at its end. Raises ClientDisconnected."""
        while True:
            end = self._buffer.find(self._delimiter)
            if end < 0:
                # The last bytes may be the start of a delimiter.
                end = len(self._buffer) - len(self._delimiter) + 1
            elif end == 0:
                return b""
            if end > 0:
                end = min(end, size)
                taken, self._buffer = self._buffer[:end], self._buffer[end:]
                return taken
            self._fill()

    def read_all(self, limit: int) -> bytes:
        """The rest of this part. Raises 400 if it is longer than `limit` bytes."""
        blocks: list[bytes] = []
        size = 0
        while block := self.read(_BLOCK_SIZE):
            blocks.append(block)
            size += len(block)
            if size > limit:
                raise HTTPError(400, "a MIME doc is too long")
        return b"".join(blocks)

    def _fill(self) -> None:
        block = self._read(_BLOCK_SIZE)
        if not block:
            raise ClientDisconnected("the body ends within a MIME document")
        self._buffer += block
