"""Making static large objects: every segment is looked at, then the manifest is kept.

The work is a generator: it yields a sign of life now and then, for clients that asked for them, and returns
the answer. What is wrong with segments is told all at once.
"""

from __future__ import annotations

import io
import json
import mimetypes
from collections import defaultdict
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from hashlib import md5
from typing import Any
from urllib.parse import quote

from miniswift.config import is_true
from miniswift.responses import REASONS, Environ, HTTPError, Response, status_line
from miniswift.wsgi import (
    SLO_HOOK,
    TYPE_OVERRIDDEN,
    Request,
    WSGIApp,
    from_wsgi,
    make_subrequest,
    split_path,
    to_wsgi,
)

from .reports import Report, in_parallel
from .segments import handed_on
from .slo_get import ETAG_HEADER, SIZE_HEADER, SOURCE
from .slo_manifest import Segment, Wanted, etag_of, read_written, span_of

_LISTED_ETAG = "X-Object-Sysmeta-Container-Update-Override-Etag"
_TOO_SMALL = "Too small; each segment must be at least 1 byte."

Problem = tuple[str, str]  # (quoted path, what is wrong)
Entry = dict[str, Any]  # of a kept manifest
Work = Generator[None, None, Response]


@dataclass(frozen=True)
class Maker:
    """Makes them."""

    app: WSGIApp  # below the filter
    whole: WSGIApp  # the filter itself: a segment may be a large object
    max_segments: int
    max_size: int  # bytes of a client's manifest
    at_once: int
    beat_s: float

    def read(self, environ: Environ) -> list[Wanted]:
        """The client's manifest. Raises HTTPError."""
        request = Request(environ)
        if environ.get("HTTP_X_COPY_FROM"):
            raise HTTPError(405, "Multipart Manifest PUTs cannot be COPY requests")
        length = request.content_length
        if length is None and not request.is_chunked:
            raise HTTPError(411)
        body = b"" if (length or 0) > self.max_size else _read(request.body_file, self.max_size + 1)
        if (length or len(body)) > self.max_size:
            raise HTTPError(413, f"Manifest File > {self.max_size} bytes")
        try:
            path = from_wsgi(environ["PATH_INFO"])
        except UnicodeDecodeError:
            raise HTTPError(412, "Invalid UTF8 or contains NULL") from None
        wanted = read_written(body, path)
        if sum(each.data is None for each in wanted) > self.max_segments:
            message = f"Number of object-backed segments must be <= {self.max_segments}"
            raise HTTPError(413, message)
        return wanted

    def make(self, environ: Environ, wanted: list[Wanted], report: Report) -> Work:
        """Look at the segments and keep the manifest; problems are put into the report as well."""
        entries: list[Entry] = [each.kept_data if each.data is not None else {} for each in wanted]
        by_path: dict[str, list[Wanted]] = defaultdict(list)
        for each in wanted:
            if each.data is None:
                by_path[each.path].append(each)
        account = split_path(environ["PATH_INFO"], 3, 3, True)

        def look(path: str) -> tuple[str, Response]:
            return path, self._head(environ, f"/{account[0]}/{account[1]}/{to_wsgi(path.lstrip('/'))}")

        for found in in_parallel(look, by_path, self.at_once, self.beat_s):
            if found is None:
                yield
                continue
            path, head = found
            for each in by_path[path]:
                entries[each.index], problems = _entry(each, head, is_last=each.index == len(wanted) - 1)
                report.errors += problems
        hook = environ.get(SLO_HOOK)
        if hook:
            report.errors += hook(entries) or ()
        if report.errors:
            return Response(400)
        return self._keep(environ, entries)

    def _head(self, environ: Environ, path: str) -> Response:
        request = make_subrequest(environ, "HEAD", path, source=SOURCE, headers=handed_on(environ))
        response = request.call(self.whole)
        response.close()
        return response

    def _keep(self, environ: Environ, entries: list[Entry]) -> Response:
        segments = [Segment.of_kept(entry) for entry in entries]
        etag, size = etag_of(segments), sum(each.length for each in segments)
        headers = Request(environ).headers
        given = headers.get("Etag", "").strip('"')
        if given and given != etag:
            return Response(422)
        body = json.dumps(entries).encode()
        own_etag = md5(body, usedforsecurity=False).hexdigest()
        # In front of us an encryption, say, may have said how it is to be listed.
        listed, semicolon, params = headers.get(_LISTED_ETAG, "").partition(";")
        kind = headers.get("Content-Type") or mimetypes.guess_type(environ["PATH_INFO"])[0]
        headers.update(
            {
                ETAG_HEADER: etag,
                SIZE_HEADER: str(size),
                "X-Static-Large-Object": "True",
                "Etag": own_etag,
                _LISTED_ETAG: f"{listed or own_etag}{semicolon}{params}; slo_etag={etag}",
                "Content-Type": f"{kind or 'application/octet-stream'};swift_bytes={size}",
                "Content-Length": str(len(body)),
            }
        )
        headers.pop("Transfer-Encoding", None)
        environ[TYPE_OVERRIDDEN] = True
        environ["wsgi.input"] = io.BytesIO(body)
        response = Request(environ).call(self.app)
        if response.status // 100 == 2:
            response.headers["Etag"] = f'"{etag}"'
        return response


def _read(source: Any, size: int) -> bytes:
    """`size` bytes, or what there is."""
    parts: list[bytes] = []
    while size > 0 and (chunk := source.read(size)):
        parts.append(chunk)
        size -= len(chunk)
    return b"".join(parts)


def _entry(wanted: Wanted, head: Response, *, is_last: bool) -> tuple[Entry, list[Problem]]:
    """What is kept of a segment, and what is wrong with it."""
    name = quote(wanted.path)
    if head.status // 100 != 2:
        return {}, [(name, status_line(head.status))]
    size, etag = int(head.headers.get("Content-Length", 0)), head.headers.get("Etag", "").strip('"')
    entry: Entry = {
        "name": f"/{wanted.path.lstrip('/')}",
        "bytes": size,
        "hash": etag,
        "content_type": head.headers.get("Content-Type", ""),
        "last_modified": _iso(head.headers.get("Last-Modified", "")),
    }
    problems: list[str] = []
    length = size
    if wanted.range:
        span = span_of(wanted.range, size)
        if span is None:
            problems.append("Unsatisfiable Range")
        elif span != (0, size - 1):
            entry["range"] = f"{span[0]}-{span[1]}"
            length = span[1] - span[0] + 1
    if length < 1 and not is_last:
        problems.append(_TOO_SMALL)
    if wanted.size is not None and wanted.size != size:
        problems.append("Size Mismatch")
    if wanted.etag is not None and wanted.etag != etag:
        problems.append("Etag Mismatch")
    if is_true(head.headers.get("X-Static-Large-Object")):
        entry["sub_slo"] = True
    return entry, [(name, problem) for problem in problems]


def _iso(http_date: str) -> str:
    return parsedate_to_datetime(http_date).strftime("%Y-%m-%dT%H:%M:%S.000000") if http_date else ""


def problems_answer(report: Report, content_type: str) -> Response:
    """A 400 that says what is wrong with which segments."""
    return Response(400, {"Content-Type": content_type}, report.render())


def heartbeat(work: Work, report: Report) -> Iterable[bytes]:
    """The body of an answer that shows signs of life until the work is done, and then tells."""
    yield report.beat()
    while True:
        try:
            next(work)
        except StopIteration as done:
            response: Response = done.value
            break
        yield report.beat()
    report.fields["Response Status"] = status_line(response.status)
    page = response.read().decode("utf-8", "replace")
    is_made = response.status // 100 == 2
    report.fields["Response Body"] = page if is_made else REASONS.get(response.status, "")
    if is_made:
        report.fields["Etag"] = response.headers["Etag"]
        report.fields["Last Modified"] = response.headers.get("Last-Modified", "")
    yield report.render()
