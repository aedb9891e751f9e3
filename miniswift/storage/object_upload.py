"""The request side of an object PUT: what its headers promise, and its body."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from miniswift import conditions
from miniswift.cluster import Constraints
from miniswift.concurrency import pause
from miniswift.errors import BadRequestBody, ClientDisconnected, ClientTimeout
from miniswift.responses import Headers, HTTPError
from miniswift.storage.multiphase import put_body
from miniswift.storage.object_metadata import KeptHeaders
from miniswift.storage.object_writer import Writer
from miniswift.storage.xattrs import Metadata
from miniswift.timestamp import Timestamp
from miniswift.wsgi import Request, from_wsgi

if TYPE_CHECKING:
    from miniswift.storage.object_server import ObjectSettings

_PAUSE_EVERY = 256 * 1024  # bytes; half a millisecond of hashing and writing


class Upload:
    """A PUT whose headers were found good. Its constructor raises 400, 411 and 413."""

    def __init__(
        self,
        request: Request,
        timestamp: Timestamp,
        delete_at: int,
        settings: ObjectSettings,
        limits: Constraints,
        kept: KeptHeaders,
    ) -> None:
        self.timestamp = timestamp
        self.delete_at = delete_at  # Unix time, 0 for never
        self.footers = Headers()
        self._environ = environ = request.environ
        self._settings = settings
        self._kept = kept
        self._max_size = limits.max_file_size
        self._length = _length(request, limits.max_file_size)
        self.announced_size = self._length if self._length is not None else _announced(request)
        self._content_type = environ.get("CONTENT_TYPE") or ""
        if not self._content_type:
            raise HTTPError(400, "No content type")
        check_content_type(self._content_type)
        kept.check(environ)
        self._read = request.body_file.read
        self._deadline = time.monotonic() + settings.max_upload_time

    def check_conditions(self, etag: str) -> None:
        """Raise 412 if the request must not replace an object with this ETag."""
        header = self._environ.get("HTTP_IF_NONE_MATCH")
        if header is not None and conditions.matches(header, etag):
            raise HTTPError(412)

    def receive(self, writer: Writer) -> Metadata:
        """Write the body; return the metadata to store with it.

        Raises ClientDisconnected for a short body, 408, 413, and 422 when it is not what was promised.
        """
        self.body = put_body(self._environ, self._read_block)
        chunk_size = self._settings.network_chunk_size
        pause_at = _PAUSE_EVERY
        while self._length is None or writer.size < self._length:
            left = chunk_size if self._length is None else min(chunk_size, self._length - writer.size)
            chunk = self.body.read(left)
            if not chunk:
                break
            if writer.size + len(chunk) > self._max_size:
                raise HTTPError(413)
            writer.write(chunk)
            if writer.size >= pause_at:
                # A sender that is never late would not let anybody else run.
                pause()
                pause_at = writer.size + _PAUSE_EVERY
        if self.announced_size is not None and writer.size != self.announced_size:
            raise ClientDisconnected(f"{writer.size} of {self.announced_size} bytes came")
        etag = writer.etag()
        metadata = {
            "X-Timestamp": self.timestamp.internal,
            "Content-Type": self._content_type,
            "Content-Length": str(writer.size),
            "ETag": etag,
            **self._kept.of_put(self._environ),
        }
        if self.delete_at:
            metadata["X-Delete-At"] = str(self.delete_at)
        self.footers = self.body.footers()
        metadata.update(self._kept.of_footers(self.footers))
        promised = self.footers.get("Etag") or self._environ.get("HTTP_ETAG", "")
        promised = promised.strip().strip('"')
        if promised and promised.lower() != etag:
            raise HTTPError(422)
        return metadata

    def _read_block(self, size: int) -> bytes:
        if time.monotonic() > self._deadline:
            raise ClientTimeout(f"the upload took more than {self._settings.max_upload_time} s")
        try:
            block: bytes = self._read(size)
        except (ClientDisconnected, ClientTimeout, BadRequestBody):
            raise
        except (OSError, ValueError) as error:  # how other servers say that the sender is gone
            raise ClientDisconnected(str(error)) from None
        return block


def _length(request: Request, limit: int) -> int | None:
    """The length of the body in bytes, None when it is chunked. Raises 400, 411 and 413."""
    length = request.content_length
    if length is None and not request.is_chunked:
        raise HTTPError(411, "Missing Content-Length header.")
    if length is not None and length > limit:
        raise HTTPError(413, "Your request is too large.")
    return length


def _announced(request: Request) -> int | None:
    """The size of the object in bytes when the body holds more than it. Raises 400."""
    header = request.environ.get("HTTP_X_BACKEND_OBJ_CONTENT_LENGTH")
    if header is None:
        return None
    if not (header.isascii() and header.isdigit()):
        raise HTTPError(400, "Invalid X-Backend-Obj-Content-Length")
    return int(header)


def check_content_type(header: str) -> None:
    """Raise 400 for a content type that no listing could show."""
    try:
        from_wsgi(header)
    except UnicodeDecodeError:
        raise HTTPError(400, "Invalid Content-Type") from None
