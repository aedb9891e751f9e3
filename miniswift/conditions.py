"""Conditional requests and ranges (RFC 9110, sections 13 and 14).

Hostile Range headers cost nothing: what asks for many, overlapping or unordered parts is refused with
416 by the same limits that Swift has (RFC 9110 14.2 leaves that to the server).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

from miniswift.responses import Environ

MAX_RANGES = 50
MAX_OVERLAPS = 2  # pairs of ranges
MAX_UNORDERED_RANGES = 8
_BEYOND_EVERY_FILE = 10**20  # bytes

Ranges = list[tuple[int, int]]  # half-open: (first byte, byte after the last)


def refusal(environ: Environ, etag: str, last_modified: int) -> int | None:
    """304 or 412 when the conditions of a GET or HEAD do not hold.

    As in Swift each of them counts, in this order, while RFC 9110 13.2.2 ignores dates where there are tags.
    `last_modified` in seconds. Dates that are no dates are ignored.
    """
    if_none_match = environ.get("HTTP_IF_NONE_MATCH")
    if if_none_match is not None and matches(if_none_match, etag):
        return 304
    if_match = environ.get("HTTP_IF_MATCH")
    if if_match is not None and not matches(if_match, etag, weakly=False):
        return 412
    date = _date(environ.get("HTTP_IF_MODIFIED_SINCE"))
    if date is not None and last_modified <= date:
        return 304
    date = _date(environ.get("HTTP_IF_UNMODIFIED_SINCE"))
    if date is not None and last_modified > date:
        return 412
    return None


def matches(header: str, etag: str, *, weakly: bool = True) -> bool:
    """Whether an If-Match or If-None-Match header names `etag`; quotes are optional, as in Swift."""
    plain = _unquoted(etag)
    for tag in map(str.strip, header.split(",")):
        if tag.startswith("W/"):
            if not weakly:
                continue
            tag = tag[2:]
        if tag == "*" or (tag and _unquoted(tag) == plain):
            return True
    return False


def _unquoted(tag: str) -> str:
    return tag[1:-1] if len(tag) > 1 and tag[0] == tag[-1] == '"' else tag


def _date(header: str | None) -> float | None:
    if not header:
        return None
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


# --- ranges -----------------------------------------------------------------------------------------


def ranges_asked(environ: Environ, size: int, etag: str, last_modified: int) -> Ranges | None:
    """The ranges to send of `size` bytes; None for all of them; empty when none can be sent (416)."""
    header = environ.get("HTTP_RANGE")
    if header is None or not _if_range_holds(environ.get("HTTP_IF_RANGE"), etag, last_modified):
        return None
    asked = parse_range(header)
    if asked is None:
        return None
    found = [part for part in (_within(first, last, size) for first, last in asked) if part is not None]
    if not size and any(first is None and last for first, last in asked):
        return None  # "the last bytes" of nothing are all of it, and a 206 could not name them
    return [] if _are_egregious(found) else found


def _if_range_holds(header: str | None, etag: str, last_modified: int) -> bool:
    if header is None:
        return True
    date = _date(header)
    return date == last_modified if date is not None else matches(header, etag, weakly=False)


def parse_range(header: str) -> list[tuple[int | None, int | None]] | None:
    """(first, last) of each range as sent; None for a header that must be ignored (RFC 9110 14.2)."""
    unit, _, specs = header.replace(" ", "").partition("=")
    if unit.lower() != "bytes":
        return None
    ranges: list[tuple[int | None, int | None]] = []
    for spec in specs.split(","):
        first, dash, last = spec.partition("-")
        if not dash or not (first or last) or not _is_number(first) or not _is_number(last):
            return None
        start, end = _number(first), _number(last)
        if start is not None and end is not None and end < start:
            return None
        ranges.append((start, end))
    return ranges


def _is_number(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit())


def _number(text: str) -> int | None:
    if not text:
        return None
    return int(text) if len(text) < 20 else _BEYOND_EVERY_FILE  # int() of very many digits is an error


def _within(first: int | None, last: int | None, size: int) -> tuple[int, int] | None:
    if first is None:
        assert last is not None
        return (max(0, size - last), size) if last and size else None
    if first >= size:
        return None
    return (first, size if last is None else min(last + 1, size))


def _are_egregious(ranges: Ranges) -> bool:
    if len(ranges) < 2:
        return False
    if len(ranges) > MAX_RANGES:
        return True
    overlaps = sum(
        one[0] < other[1] and other[0] < one[1] for one, other in itertools.combinations(ranges, 2)
    )
    is_ordered = all(one[0] <= other[0] for one, other in itertools.pairwise(ranges))
    return overlaps > MAX_OVERLAPS or (not is_ordered and len(ranges) >= MAX_UNORDERED_RANGES)


class MultipartBody:
    """The body of an answer with several ranges, multipart/byteranges (RFC 9110 14.6)."""

    def __init__(
        self,
        ranges: Ranges,
        size: int,
        content_type: str,
        read_at: Callable[[int, int], bytes],
        close: Callable[[], None],
        block_size: int,
    ) -> None:
        self.boundary = os.urandom(16).hex()
        self._read_at = read_at
        self._block_size = block_size
        self.close = close
        self._parts = [
            (f"--{self.boundary}\r\nContent-Type: {content_type}\r\n"
             f"Content-Range: {content_range(start, end, size)}\r\n\r\n".encode("latin-1"), start, end)
            for start, end in ranges
        ]  # fmt: skip
        self._end = f"--{self.boundary}--".encode("ascii")

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return len(self._end) + sum(len(head) + end - start + 2 for head, start, end in self._parts)

    def __iter__(self) -> Iterator[bytes]:
        for head, start, end in self._parts:
            yield head
            while start < end:
                block = self._read_at(start, min(self._block_size, end - start))
                if not block:
                    return  # truncated under us: the server sees a short body and drops the connection
                yield block
                start += len(block)
            yield b"\r\n"
        yield self._end


def content_range(start: int, end: int, size: int) -> str:
    return f"bytes {start}-{end - 1}/{size}"
