"""A download that goes on from another node when the one it came from fails.

1. What the client has received is never sent again: the next node is asked for the rest by Range.
2. Only the same object may go on: the next node is asked with If-Match, and its answer must agree.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from miniswift.backend import BackendRequest, BrokenAnswer, TransportError
from miniswift.responses import FileBody, Response, close_body
from miniswift.ring import Node

logger = logging.getLogger(__name__)

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/\d+")


class ResumingBody:
    """The body of `response`; `others` asks the remaining nodes with `request`, which it may change."""

    def __init__(
        self, response: Response, request: BackendRequest, others: Iterator[tuple[Node, Response]]
    ) -> None:
        self._body = response.body
        self._etag = response.headers.get("Etag", "")
        self._request = request
        self._others = others
        self._next, self._last = _byte_range(response)

    @staticmethod
    def can_resume(response: Response) -> bool:
        """Only a body that comes from elsewhere can break, and only one range can be continued."""
        if isinstance(response.body, (list, FileBody)) or "Etag" not in response.headers:
            return False
        return response.status == 200 or (
            response.status == 206
            and _CONTENT_RANGE.match(response.headers.get("Content-Range", "")) is not None
        )

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                for chunk in self._body:
                    self._next += len(chunk)
                    yield chunk
                return
            except TransportError as error:
                close_body(self._body)
                if self._next > self._last:
                    return
                self._resume(error)

    def _resume(self, error: TransportError) -> None:
        """Go on with the next node that has the same object; the first one's error if there is none."""
        logger.warning("%s at byte %d of %s: trying another node", error, self._next, self._request.path)
        headers = self._request.headers
        for conditional in ("If-None-Match", "If-Modified-Since", "If-Unmodified-Since"):
            headers.pop(conditional, None)
        headers["Range"] = f"bytes={self._next}-{self._last}"
        headers["If-Match"] = f'"{self._etag.strip(chr(34))}"'
        for _, response in self._others:
            if response.status == 206 and _byte_range(response) == (self._next, self._last):
                self._body = response.body
                return
            response.close()
        raise BrokenAnswer(f"no node could go on after: {error}")

    def close(self) -> None:
        close_body(self._body)


def _byte_range(response: Response) -> tuple[int, int]:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if response.status == 206 and match:
        return int(match[1]), int(match[2])
    return 0, int(response.headers.get("Content-Length", "0")) - 1
