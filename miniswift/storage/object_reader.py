"""An object that was opened: its metadata, and its bytes.

1. `metadata` is what the object has now: what the last POST set, over it what only a PUT can set.
2. The descriptor belongs to the reader until `body` hands it on; `close` is safe at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import md5

from miniswift.concurrency import in_native_thread
from miniswift.responses import FileBody
from miniswift.storage.disk_errors import DiskFileError, from_os_error
from miniswift.storage.xattrs import Metadata
from miniswift.timestamp import Timestamp

_INLINE_MD5_SIZE = 256 * 1024  # bytes; more than 0.3 ms of hashing is done in a native thread


class Reader:
    """An open object."""

    __slots__ = (
        "_fd",
        "_quarantine",
        "data_metadata",
        "data_timestamp",
        "meta_metadata",
        "metadata",
        "size",
        "timestamp",
    )

    def __init__(
        self,
        fd: int,
        size: int,
        metadata: Metadata,
        data_metadata: Metadata,
        meta_metadata: Metadata | None,
        quarantine: Callable[[str], DiskFileError],
    ) -> None:
        """Raises KeyError and TimestampError for metadata that lack what every object has."""
        self._fd = fd
        self.size = size  # bytes
        self.metadata = metadata
        self.data_metadata = data_metadata  # what the PUT stored
        self.meta_metadata = meta_metadata  # what the last POST stored, if there was one
        self._quarantine = quarantine
        self.data_timestamp = Timestamp.parse(data_metadata["X-Timestamp"])
        self.timestamp = (  # of the newest PUT or POST
            Timestamp.parse(metadata["X-Timestamp"]) if meta_metadata else self.data_timestamp
        )

    @property
    def etag(self) -> str:
        return self.metadata["ETag"]

    @property
    def content_type_timestamp(self) -> Timestamp:
        stamp = self.metadata.get("Content-Type-Timestamp")
        return Timestamp.parse(stamp) if stamp else self.data_timestamp

    def read_whole(self) -> bytes:
        """All bytes, compared with the ETag. Raises Quarantined. Closes the reader."""
        try:
            body = self.read_at(0, self.size)
        finally:
            self.close()
        computed = _md5(body) if self.size <= _INLINE_MD5_SIZE else in_native_thread(_md5, body)
        if computed != self.etag:
            raise self._quarantine(f"its MD5 is {computed} and its ETag {self.etag}")
        return body

    def verify(self, chunk_size: int, on_chunk: Callable[[int], None]) -> None:
        """Compare all bytes with the ETag, telling `on_chunk` how many were read. Raises Quarantined."""
        digest = md5(usedforsecurity=False)
        offset = 0
        while chunk := self.read_at(offset, chunk_size):
            digest.update(chunk)
            offset += len(chunk)
            on_chunk(len(chunk))
        if digest.hexdigest() != self.etag:
            raise self._quarantine(f"its MD5 is {digest.hexdigest()} and its ETag {self.etag}")

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer at the end."""
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise from_os_error(error) from error

    def body(self, offset: int, length: int, block_size: int, *, keep_cache: bool) -> FileBody:
        """The bytes as a response body, which owns the descriptor from now on."""
        file = os.fdopen(self._fd, "rb", buffering=0)
        self._fd = -1
        kind = FileBody if keep_cache else _PassingBody
        return kind(file, block_size, offset, length)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _PassingBody(FileBody):
    """A file whose pages need not stay in memory once they are sent."""

    __slots__ = ()

    def close(self) -> None:
        if not self.file.closed:
            os.posix_fadvise(self.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        super().close()


def _md5(body: bytes) -> str:
    return md5(body, usedforsecurity=False).hexdigest()
