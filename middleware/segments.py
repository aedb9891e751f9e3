"""The body of a large object: segments, fetched one after another while they are being sent.

Who makes one (dlo) says which bytes of which objects are wanted; each is asked for by a subrequest of the
client's own, so whoever may not read a segment does not get it through a manifest either.

1. The first block is fetched before the answer begins: what is wrong with the first segment has a status.
2. Later, what is wrong ends the connection: a client must not take a part for the whole.
3. A segment is fetched when its turn comes; nothing is held but the block that is being sent.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator

from miniswift.concurrency import sleep
from miniswift.errors import MiniswiftError
from miniswift.responses import Environ, HTTPError, Response
from miniswift.wsgi import WSGIApp, environ_key, make_subrequest

logger = logging.getLogger(__name__)

# What of the client's request goes with the request for a segment.
_HANDED_ON = ("X-Auth-Token", "X-Open-Expired")


def handed_on(environ: Environ) -> dict[str, str]:
    """The headers of the client's request that go with requests for its segments."""
    return {name: environ[environ_key(name)] for name in _HANDED_ON if environ_key(name) in environ}


class SegmentError(MiniswiftError):
    """Raised when a segment is missing, refused, too short, or late."""


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of an object: from `first` to `last`, both included, or to the end."""

    path: str  # WSGI string, unquoted
    first: int = 0
    last: int | None = None
    etag: str = ""  # that the object must have, if it is known
    length: int | None = None  # bytes that must come, if that is known
    data: bytes | None = None  # what the bytes are: nothing is fetched then

    @property
    def range(self) -> str | None:
        if not self.first and self.last is None:
            return None
        return f"bytes={self.first}-{'' if self.last is None else self.last}"


def paced(
    pieces: Iterable[Piece],
    free: int,
    rate: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], object] = sleep,
    *,
    is_held_back: Callable[[Piece], bool] = lambda _piece: True,
) -> Iterator[Piece]:
    """The pieces: `free` ones at once, then `rate` a second of those that are held back; 0 is no limit."""
    next_at = 0.0
    number = 0
    for piece in pieces:
        if not is_held_back(piece):
            yield piece
            continue
        number += 1
        if rate and number > free:
            wait_s = next_at - clock()
            if wait_s > 0:
                pause(wait_s)
            next_at = clock() + 1 / rate
        yield piece


class SegmentedBody:
    """The bytes of the pieces. A WSGI body; `start` comes before it is iterated."""

    def __init__(
        self,
        app: WSGIApp,
        environ: Environ,
        pieces: Iterator[Piece],
        *,
        source: str,
        max_time_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._environ = environ
        self._pieces = pieces
        self._source = source
        self._clock = clock
        self._deadline = clock() + max_time_s
        self._segment: Response | None = None
        self._ahead = b""
        self._blocks = self._read()

    def start(self) -> None:
        """Fetch the first block. Raises SegmentError, or a 503 when the segment could not be read."""
        self._ahead = next(self._blocks, b"")

    def __iter__(self) -> Iterator[bytes]:
        if self._ahead:
            yield self._ahead
        yield from self._blocks

    def close(self) -> None:
        self._blocks.close()
        if self._segment is not None:
            self._segment.close()

    def _read(self) -> Generator[bytes, None, None]:
        for piece in self._pieces:
            if piece.data is not None:
                yield piece.data
                continue
            self._segment = segment = self._fetch(piece)
            left = int(segment.headers.get("Content-Length", 0))
            for block in segment.body:
                left -= len(block)
                yield block
                if self._clock() > self._deadline:
                    raise SegmentError(f"{piece.path}: the answer has taken longer than max_get_time")
            segment.close()
            if left:
                raise SegmentError(f"{piece.path}: {left} bytes are missing")

    def _fetch(self, piece: Piece) -> Response:
        headers = handed_on(self._environ)
        if piece.range:
            headers["Range"] = piece.range
        # As it is: a segment that is a manifest itself is not followed.
        query = "multipart-manifest=get"
        request = make_subrequest(
            self._environ, "GET", piece.path, source=self._source, query=query, headers=headers
        )
        response = request.call(self._app)
        if response.status // 100 == 2 and _is_as_expected(response, piece):
            return response
        response.close()
        if response.status // 100 == 2:
            logger.error("segment %s of %s has changed", piece.path, self._environ["PATH_INFO"])
            raise SegmentError(f"{piece.path}: it has changed")
        logger.error("segment %s of %s: status %d", piece.path, self._environ["PATH_INFO"], response.status)
        if response.status >= 500:
            raise HTTPError(503)
        raise SegmentError(f"{piece.path}: status {response.status}")


def _is_as_expected(response: Response, piece: Piece) -> bool:
    """Whether an answer can be of what the piece was made of."""
    if piece.etag and response.headers.get("Etag", "").strip('"') != piece.etag:
        return False
    return piece.length is None or response.headers.get("Content-Length") == str(piece.length)
