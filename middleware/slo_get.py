"""Reading static large objects: their segments as one object, in ranges or part by part.

1. A segment that is not what the manifest says (size, ETag) ends the answer: a 409 if it is the first.
2. Manifests within manifests are read when their turn comes, at most MAX_DEPTH deep.
3. What the object server kept of the whole (size, ETag) answers HEADs and conditions; the manifest is read
   only if it is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from miniswift import conditions
from miniswift.responses import Environ, Headers, HTTPError, Response
from miniswift.timestamp import Timestamp
from miniswift.wsgi import WSGIApp, make_subrequest, split_path, to_wsgi

from .segments import Piece, SegmentedBody, SegmentError, handed_on, paced
from .slo_manifest import Segment, etag_of, read_kept

SOURCE = "SLO"
ETAG_HEADER = "X-Object-Sysmeta-Slo-Etag"
SIZE_HEADER = "X-Object-Sysmeta-Slo-Size"
MAX_DEPTH = 10
_BLOCK = 65536  # bytes of a part of several ranges at a time


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast segments are fetched."""

    free: int  # small segments that are not held back
    rate: float  # small ones a second after those; 0 is no limit
    small: int  # bytes: a segment of less is small
    max_time_s: float


@dataclasses.dataclass
class LargeObject:
    """One on its way to a client."""

    app: WSGIApp
    environ: Environ
    headers: Headers  # of the manifest
    pace: Pace
    part_number: int | None = None

    def answer(self, manifest: bytes | None) -> Response:
        """The whole's answer in place of the manifest's, which was a 200; None if its body is not needed.

        Raises HTTPError.
        """
        headers = self.headers
        segments = None if manifest is None else read_kept(manifest)
        size, etag = kept_size(headers), headers.get(ETAG_HEADER)
        if segments is not None and (size is None or not etag):  # from before these were kept
            size, etag = sum(each.length for each in segments), etag_of(segments)
        assert size is not None
        headers["X-Manifest-Etag"] = headers.get("Etag", "")
        headers["Etag"] = f'"{etag}"'
        headers["Content-Length"] = str(size)
        headers.pop("Content-Range", None)
        last_modified = Timestamp.parse(headers.get("X-Timestamp", "0")).ceiling
        refused = conditions.refusal(self.environ, self._known_as(), last_modified)
        if refused is not None:
            return refusal(headers, refused)
        is_head = self.environ["REQUEST_METHOD"] == "HEAD"
        if self.part_number is not None and segments is not None:
            return self._part(segments, size, is_head)
        if is_head or segments is None:
            return Response(200, headers, [])
        ranges = conditions.ranges_asked(self.environ, size, self._known_as(), last_modified)
        return self._ranges(segments, size, ranges)

    def _known_as(self) -> str:
        """The ETag that the client means: a filter in front may have given it another one."""
        for name in self.environ.get("HTTP_X_BACKEND_ETAG_IS_AT", "").split(","):
            if self.headers.get(name.strip()):
                return self.headers[name.strip()]
        return self.headers["Etag"]

    def _part(self, segments: list[Segment], size: int, is_head: bool) -> Response:
        assert self.part_number is not None
        self.headers["X-Parts-Count"] = str(len(segments))
        if self.part_number > len(segments):
            return self._unsatisfiable(
                size, "" if is_head else "The requested part number is not satisfiable"
            )
        start = sum(each.length for each in segments[: self.part_number - 1])
        end = start + segments[self.part_number - 1].length
        if not is_head:
            return self._ranges(segments, size, [(start, end)])
        self.headers["Content-Range"] = conditions.content_range(start, end, size)
        self.headers["Content-Length"] = str(end - start)
        return Response(206, self.headers, [])

    def _unsatisfiable(self, size: int, message: str | None = None) -> Response:
        self.headers["Content-Range"] = f"bytes */{size}"
        del self.headers["Content-Type"]
        self.headers.pop("Content-Length", None)
        return Response(416, self.headers, message)

    def _ranges(self, segments: list[Segment], size: int, ranges: conditions.Ranges | None) -> Response:
        headers = self.headers
        if ranges is None:
            return Response(200, headers, self._body(segments, 0, size))
        if not ranges:
            return self._unsatisfiable(size)
        if len(ranges) == 1:
            ((start, end),) = ranges
            headers["Content-Range"] = conditions.content_range(start, end, size)
            headers["Content-Length"] = str(end - start)
            return Response(206, headers, self._body(segments, start, end))
        reader = _Reader(lambda start, end: self._body(segments, start, end), dict(ranges))
        parts = conditions.MultipartBody(
            ranges, size, headers.get("Content-Type", ""), reader.read_at, reader.close, _BLOCK
        )
        headers["Content-Type"] = f"multipart/byteranges;boundary={parts.boundary}"
        headers["Content-Length"] = str(parts.length)
        return Response(206, headers, parts)

    # --- bodies ----------------------------------------------------------------------------------

    def _body(self, segments: list[Segment], start: int, end: int) -> SegmentedBody:
        """The bytes from `start` to before `end`. Raises a 409 when the first segment cannot be had."""
        pace = self.pace
        pieces = paced(
            self._pieces(segments, start, end, 1),
            pace.free,
            pace.rate,
            is_held_back=lambda piece: (piece.length or pace.small) < pace.small,
        )
        body = SegmentedBody(self.app, self.environ, pieces, source=SOURCE, max_time_s=pace.max_time_s)
        try:
            body.start()
        except SegmentError:
            raise HTTPError(409) from None
        return body

    def _pieces(self, segments: Iterable[Segment], start: int, end: int, depth: int) -> Iterator[Piece]:
        """What to fetch. Raises SegmentError for a manifest within that cannot be read."""
        position = 0  # of the segment, in what `segments` make together
        for segment in segments:
            first, after = max(start - position, 0), min(end - position, segment.length)
            position += segment.length
            if first >= after:
                if position >= end:
                    return
                continue
            if segment.data is not None:
                yield Piece("", data=segment.data[first:after])
                continue
            offset = segment.span[0] if segment.span else 0
            if segment.is_manifest:
                inner = self._within(segment, depth)
                yield from self._pieces(inner, offset + first, offset + after, depth + 1)
                continue
            is_whole = after - first == segment.size
            yield Piece(
                self._path(segment),
                offset + first,
                None if is_whole else offset + after - 1,
                etag=segment.etag,
                length=after - first,
            )

    def _within(self, segment: Segment, depth: int) -> list[Segment]:
        if depth >= MAX_DEPTH:
            raise SegmentError(f"{self.environ['PATH_INFO']}: manifests are nested too deeply")
        path = self._path(segment)
        headers, query = handed_on(self.environ), "multipart-manifest=get"
        request = make_subrequest(self.environ, "GET", path, source=SOURCE, query=query, headers=headers)
        response = request.call(self.app)
        body = response.read()
        if response.status // 100 != 2:
            raise SegmentError(f"{path}: status {response.status}")
        try:
            return read_kept(body)
        except HTTPError:
            raise SegmentError(f"{path}: it is no manifest") from None

    def _path(self, segment: Segment) -> str:
        version, account, _ = split_path(self.environ["PATH_INFO"], 2, 3, True)
        return f"/{version}/{account}/{to_wsgi(segment.name.lstrip('/'))}"


class _Reader:
    """Bytes at offsets of several ranges, each read from its start to its end."""

    def __init__(self, open_range: object, ends: dict[int, int]) -> None:
        self._open = open_range
        self._ends = ends  # start of a range → its end
        self._body: SegmentedBody | None = None
        self._blocks: Iterator[bytes] = iter(())
        self._held = b""

    def read_at(self, start: int, length: int) -> bytes:
        if start in self._ends:
            self.close()
            self._body = self._open(start, self._ends.pop(start))  # type: ignore[operator]
            self._blocks, self._held = iter(self._body or ()), b""
        if not self._held:
            self._held = next(self._blocks, b"")
        block, self._held = self._held[:length], self._held[length:]
        return block

    def close(self) -> None:
        if self._body is not None:
            self._body.close()


def kept_size(headers: Headers) -> int | None:
    """The size of the whole, in bytes, if the object server kept it."""
    size = headers.get(SIZE_HEADER, "")
    return int(size) if size.isdecimal() else None


def refusal(headers: Headers, status: int) -> Response:
    """A 304 or 412 about the whole."""
    if status == 304:
        headers.pop("Content-Length", None)
        return Response(304, headers, [])
    headers["Content-Type"] = "text/html; charset=UTF-8"  # that of errors, not the object's
    return Response(status, headers, b"")
