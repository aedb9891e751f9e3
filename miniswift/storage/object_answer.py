"""Answers to GET and HEAD of an object: headers from its metadata, conditions, ranges, bodies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from miniswift import conditions
from miniswift.responses import Environ, Headers, Response
from miniswift.storage.diskfile import WHOLE_READ_SIZE
from miniswift.storage.object_metadata import KeptHeaders
from miniswift.storage.object_reader import Reader

if TYPE_CHECKING:
    from miniswift.storage.object_server import ObjectSettings

_COPIED_RANGE = 65536  # bytes; a range up to this is read at once, a longer one sent from the file


class ObjectAnswers:
    """Makes answers from open objects, and closes them or lets the body do it."""

    def __init__(self, settings: ObjectSettings, kept: KeptHeaders) -> None:
        self._settings = settings
        self._kept = kept

    def head(self, reader: Reader, environ: Environ) -> Response:
        reader.close()
        headers = self._headers(reader)
        refused = self._refused(reader, environ, headers)
        return refused or Response(200, headers, [])

    def get(self, reader: Reader, environ: Environ) -> Response:
        """Raises Quarantined when the object turns out to be damaged."""
        try:
            headers = self._headers(reader)
            response = self._refused(reader, environ, headers)
            if response is None:
                response = self._found(reader, environ, headers)
        except BaseException:
            reader.close()
            raise
        return response

    def _headers(self, reader: Reader) -> Headers:
        metadata, timestamp = reader.metadata, reader.timestamp
        data_time = reader.data_timestamp.internal
        return Headers(
            {
                "Content-Type": metadata.get("Content-Type", "application/octet-stream"),
                **self._kept.shown(metadata),
                "Etag": f'"{reader.etag}"',
                "Last-Modified": timestamp.http_date,
                "X-Timestamp": timestamp.normal,
                "X-Backend-Timestamp": timestamp.internal,
                "X-Backend-Data-Timestamp": data_time,
                "X-Backend-Durable-Timestamp": data_time,
                "Content-Length": str(reader.size),
            }
        )

    def _refused(self, reader: Reader, environ: Environ, headers: Headers) -> Response | None:
        """The answer when a condition does not hold."""
        if not _CONDITIONS.isdisjoint(environ):
            etag = _conditional_etag(reader, environ)
            status = conditions.refusal(environ, etag, reader.timestamp.ceiling)
            if status is not None:
                reader.close()
                if status == 304:
                    del headers["Content-Length"]  # it would be that of the object, not of this answer
                    return Response(304, headers, [])
                headers["Content-Type"] = "text/html; charset=UTF-8"  # that of errors, not the object's
                return Response(status, headers, b"")
        return None

    def _found(self, reader: Reader, environ: Environ, headers: Headers) -> Response:
        if "HTTP_RANGE" in environ and not _ignores_range(reader, environ):
            etag = _conditional_etag(reader, environ)
            ranges = conditions.ranges_asked(environ, reader.size, etag, reader.timestamp.ceiling)
            if ranges is not None:
                return self._partial(reader, ranges, environ, headers)
        body: Iterable[bytes]
        if reader.size <= WHOLE_READ_SIZE:
            body = [reader.read_whole()] if reader.size else self._nothing(reader)
        else:
            body = self._file_body(reader, 0, reader.size, environ)
        return Response(200, headers, body)

    def _nothing(self, reader: Reader) -> list[bytes]:
        reader.close()
        return []

    def _file_body(self, reader: Reader, offset: int, length: int, environ: Environ) -> Iterable[bytes]:
        settings = self._settings
        is_private = "HTTP_X_AUTH_TOKEN" in environ or "HTTP_X_STORAGE_TOKEN" in environ
        keep_cache = reader.size <= settings.keep_cache_size and (
            settings.keep_cache_private or not is_private
        )
        return reader.body(offset, length, settings.disk_chunk_size, keep_cache=keep_cache)

    def _partial(
        self, reader: Reader, ranges: conditions.Ranges, environ: Environ, headers: Headers
    ) -> Response:
        size = reader.size
        if not ranges:
            reader.close()
            headers["Content-Range"] = f"bytes */{size}"
            del headers["Content-Type"]  # that of the page which says so takes its place
            return Response(416, headers)
        if len(ranges) > 1:
            parts = conditions.MultipartBody(
                ranges, size, headers["Content-Type"], reader.read_at, reader.close,
                self._settings.disk_chunk_size,
            )  # fmt: skip
            headers["Content-Type"] = f"multipart/byteranges;boundary={parts.boundary}"
            headers["Content-Length"] = str(parts.length)
            return Response(206, headers, parts)
        ((start, end),) = ranges
        headers["Content-Range"] = conditions.content_range(start, end, size)
        headers["Content-Length"] = str(end - start)
        if end - start <= _COPIED_RANGE:
            body: Iterable[bytes] = [reader.read_at(start, end - start)]
            reader.close()
        else:
            body = self._file_body(reader, start, end - start, environ)
        return Response(206, headers, body)


_CONDITIONS = frozenset(
    {
        "HTTP_IF_MATCH",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_UNMODIFIED_SINCE",
    }
)


def _conditional_etag(reader: Reader, environ: Environ) -> str:
    """The ETag that the client knows the object by: a filter may have stored another one."""
    for name in _names(environ, "HTTP_X_BACKEND_ETAG_IS_AT"):
        for key, value in reader.metadata.items():
            if key.lower() == name:
                return value
    return reader.etag


def _ignores_range(reader: Reader, environ: Environ) -> bool:
    """Whether the whole object is wanted: it is a manifest, and the range one of what it stands for."""
    names = _names(environ, "HTTP_X_BACKEND_IGNORE_RANGE_IF_METADATA_PRESENT")
    return bool(names) and any(key.lower() in names for key in reader.metadata)


def _names(environ: Environ, key: str) -> list[str]:
    header = environ.get(key)
    return [name.strip().lower() for name in header.split(",")] if header else []
