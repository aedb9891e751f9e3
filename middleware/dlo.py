"""Dynamic large objects: a manifest stands for all objects whose names begin as it says.

    PUT /v1/a/c/big   X-Object-Manifest: segments/big/       an object, usually empty: the manifest
    GET /v1/a/c/big                                          segments/big/1, segments/big/2, … as one

1. Segments are listed and read with the client's own rights.
2. Length and ETag (the MD5 of the segments' ETags in a row) are those of the whole as far as one page of
   a listing tells; of more segments than that the answer has neither.
3. A range is answered when it is one; a request for several gets the whole.
4. With `?multipart-manifest=get` the manifest itself is the answer.

Not here: fetching and sending segments (segments).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from hashlib import md5
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from miniswift import conditions, info
from miniswift.config import Settings, count, option, seconds
from miniswift.responses import (
    Environ,
    Headers,
    HTTPError,
    Response,
    StartResponse,
    close_body,
)
from miniswift.timestamp import Timestamp
from miniswift.wsgi import Request, WSGIApp, make_subrequest, split_path, to_wsgi

from .segments import Piece, SegmentedBody, SegmentError, handed_on, paced
from .stand_ins import Answer, ignore_range_of, is_object

MANIFEST = "X-Object-Manifest"
_MANIFEST_KEY = "HTTP_X_OBJECT_MANIFEST"
_SOURCE = "DLO"

Listing = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class DloSettings(Settings):
    """The options of [filter:dlo]."""

    rate_limit_after_segment: int = option(count, "10", "segments of one answer that are not held back")
    rate_limit_segments_per_sec: int = option(count, "1", "segments a second after those; 0 is no limit")
    max_get_time: float = option(seconds, "86400", "seconds that an answer may take")


class Dlo:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: DloSettings | None = None) -> None:
        self._app = app
        self._settings = settings or DloSettings()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        try:
            if method in ("GET", "HEAD") and is_object(environ["PATH_INFO"]):
                return self._get(environ, start_response)
            if method == "PUT" and _MANIFEST_KEY in environ and is_object(environ["PATH_INFO"]):
                _check_manifest(environ[_MANIFEST_KEY])
        except HTTPError as error:
            return error.response(environ, start_response)
        return self._app(environ, start_response)

    def _get(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a GET or HEAD of an object. Raises HTTPError before the answer is started."""
        if _asks_for_manifest(environ):
            return self._app(environ, start_response)
        ignore_range_of(environ, MANIFEST)
        answer = Answer(MANIFEST, start_response, lambda value: "/" in unquote(value))
        body = answer.of(self._app, environ)
        # Conditions that do not hold for the manifest may hold for what it stands for, and the other way.
        if answer.value is None:
            return body
        close_body(body)
        container, _, prefix = unquote(answer.value, "latin-1").partition("/")
        segments = _Segments(self._app, environ, container, prefix)
        headers = Headers.of_list(answer.headers) if answer.status == 200 else self._headers(environ)
        return self._whole(environ, headers, segments)(environ, start_response)

    def _headers(self, environ: Environ) -> Headers:
        """The manifest's headers, whatever the client's conditions are."""
        asked = {key: value for key, value in environ.items() if not key.startswith("HTTP_IF_")}
        response = Request({**asked, "REQUEST_METHOD": "HEAD"}).call(self._app)
        response.close()
        if response.status != 200:  # it went away since
            raise HTTPError(response.status)
        return response.headers

    def _whole(self, environ: Environ, headers: Headers, segments: _Segments) -> Response:
        """The answer for all segments together, with the manifest's headers."""
        del headers["Content-Length"]
        if segments.are_complete:
            headers["Etag"] = f'"{segments.etag}"'
        etag = headers.get("Etag", "")
        last_modified = Timestamp.parse(headers.get("X-Timestamp", "0")).ceiling
        refused = conditions.refusal(environ, etag, last_modified)
        if refused == 304:
            return Response(304, headers, [])
        if refused is not None:
            headers["Content-Type"] = "text/html; charset=UTF-8"  # that of errors, not the object's
            return Response(refused, headers, b"")
        wanted = self._range(environ, segments, etag, last_modified)
        if wanted is not None:
            first, end = wanted
            headers["Content-Range"] = conditions.content_range(first, end, segments.size)
            headers["Content-Length"] = str(end - first)
            return Response(206, headers, self._body(environ, segments, first, end))
        if segments.are_complete:
            headers["Content-Length"] = str(segments.size)
        if environ["REQUEST_METHOD"] == "HEAD":
            return Response(200, headers, [])
        return Response(200, headers, self._body(environ, segments, 0, None))

    def _range(
        self, environ: Environ, segments: _Segments, etag: str, last_modified: int
    ) -> tuple[int, int] | None:
        """The one range to send, its end excluded; None for the whole. Raises 416."""
        asked = conditions.parse_range(environ.get("HTTP_RANGE", ""))
        if environ["REQUEST_METHOD"] != "GET" or asked is None or len(asked) != 1:
            return None
        ((first, last),) = asked
        if not segments.are_complete and (first is None or last is None or last >= segments.size):
            return None  # whether it can be satisfied is not known, and finding out could take long
        ranges = conditions.ranges_asked(environ, segments.size, etag, last_modified)
        if ranges is None:
            return None
        if not ranges:
            whole = {"Content-Range": f"bytes */{segments.size}"} if segments.are_complete else {}
            raise HTTPError(416, headers={"Accept-Ranges": "bytes", **whole})
        return ranges[0]

    def _body(self, environ: Environ, segments: _Segments, first: int, end: int | None) -> SegmentedBody:
        """The bytes from `first` to before `end`. Raises 409 when the first segment cannot be had."""
        settings = self._settings
        pieces = paced(
            segments.pieces(first, end),
            settings.rate_limit_after_segment,
            settings.rate_limit_segments_per_sec,
        )
        body = SegmentedBody(self._app, environ, pieces, source=_SOURCE, max_time_s=settings.max_get_time)
        try:
            body.start()
        except SegmentError:
            raise HTTPError(409) from None
        return body


class _Segments:
    """The objects that a manifest stands for; the first page of them is listed at once."""

    def __init__(self, app: WSGIApp, environ: Environ, container: str, prefix: str) -> None:
        """Names are WSGI strings. Raises HTTPError when the container cannot be listed."""
        version, account, _ = split_path(environ["PATH_INFO"], 2, 3, True)
        self._app = app
        self._environ = environ
        self._path = f"/{version}/{account}/{container}"
        self._prefix = prefix
        self._page_size = int(info.get_swift_info()["swift"]["container_listing_limit"])
        self._first_page = self._list("")
        self.are_complete = len(self._first_page) < self._page_size
        self.size = sum(row["bytes"] for row in self._first_page)  # bytes, of the first page

    @property
    def etag(self) -> str:
        """The MD5 of the ETags of the first page."""
        etags = "".join(row["hash"].strip('"') for row in self._first_page)
        return md5(etags.encode("utf-8"), usedforsecurity=False).hexdigest()

    def pieces(self, first: int, end: int | None) -> Iterator[Piece]:
        """What to fetch for the bytes from `first` to before `end`, or all that follow."""
        start = 0  # of the segment, in the whole
        page = self._first_page
        while True:
            for row in page:
                size = int(row["bytes"])
                if end is not None and start >= end:
                    return
                if start + size > first:
                    last = end - start - 1 if end is not None and end < start + size else None
                    yield Piece(f"{self._path}/{to_wsgi(row['name'])}", max(0, first - start), last)
                start += size
            if len(page) < self._page_size:
                return
            page = self._list(to_wsgi(page[-1]["name"]))

    def _list(self, marker: str) -> Listing:
        """A page of the listing. Raises HTTPError with what the container answers instead."""
        query = f"format=json&prefix={_quoted(self._prefix)}"
        if marker:
            query += f"&marker={_quoted(marker)}"
        headers = handed_on(self._environ)
        request = make_subrequest(
            self._environ, "GET", self._path, source=_SOURCE, query=query, headers=headers
        )
        response = request.call(self._app)
        body = response.read()
        if response.status // 100 != 2:
            raise HTTPError(response.status, body, response.headers)
        listing: Listing = json.loads(body) if body else []
        return listing


def _asks_for_manifest(environ: Environ) -> bool:
    query = environ.get("QUERY_STRING")
    return bool(query) and dict(parse_qsl(query, keep_blank_values=True)).get("multipart-manifest") == "get"


def _check_manifest(value: str) -> None:
    """Raise 400 for an X-Object-Manifest that names nothing."""
    container, _, prefix = value.partition("/")
    if not container or not prefix or prefix.startswith("/") or "?" in value or "&" in value:
        raise HTTPError(400, f"{MANIFEST} must be in the format container/prefix")


def _quoted(wsgi_string: str) -> str:
    return quote(wsgi_string.encode("latin-1"), safe="")


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], Dlo]:
    settings = DloSettings.from_conf({**global_conf, **local_conf}, local_conf)
    return lambda app: Dlo(app, settings)
