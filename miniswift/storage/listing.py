"""Listings: names in order, folded at a delimiter, whatever the table.

A table answers one question: the undeleted rows of a `Span` of names, in order. The rest is here.

1. The cost of a page is that of its entries: what a folder (`a/` of `a/b`, `a/c`, …) hides is never
   read, the search goes on behind it.
2. Names are ordered by code points, which is the order of their UTF-8 bytes and SQLite's.
3. An entry is a row, whose first field is its name, or the text of a folder.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

Row = tuple[Any, ...]
Entries = list[Row | str]


class Span(NamedTuple):
    """A part of the names in order; an empty `low` and a `high` of None are no bounds."""

    low: str
    has_low: bool  # whether `low` itself belongs to it
    high: str | None
    has_high: bool
    is_reversed: bool

    def behind(self, name: str, *, has_name: bool = False) -> Span:
        """What follows `name` in the span's direction."""
        if self.is_reversed:
            return self._replace(high=name, has_high=has_name)
        return self._replace(low=name, has_low=has_name)

    def conditions(self) -> tuple[str, list[str]]:
        """The span as SQL (each part begins with AND) and its arguments."""
        sql, arguments = "", []
        if self.low:
            sql += f" AND name >{'=' * self.has_low} ?"
            arguments.append(self.low)
        if self.high is not None:
            sql += f" AND name <{'=' * self.has_high} ?"
            arguments.append(self.high)
        return sql, arguments

    @property
    def order(self) -> str:
        return "name DESC" if self.is_reversed else "name"


@dataclass(frozen=True, slots=True)
class Query:
    """What a client asks of a listing; markers and bounds are exclusive, in the client's direction."""

    limit: int
    marker: str = ""
    end_marker: str = ""
    prefix: str = ""
    delimiter: str = ""  # any number of characters; none: do not fold
    path: str | None = None  # the old way to list one folder, without those in it
    is_reversed: bool = False
    with_reserved: bool = False  # names that begin with NUL

    def span(self, prefix: str) -> Span:
        """The names that can be in the answer."""
        low, high = (self.marker, self.end_marker) if not self.is_reversed else (self.end_marker, self.marker)
        span = Span(low, False, high or None, False, self.is_reversed)
        if prefix:
            behind_prefix = successor(prefix)
            if not low or low < prefix:
                span = span._replace(low=prefix, has_low=True)
            if behind_prefix is not None and (not high or behind_prefix < high):
                span = span._replace(high=behind_prefix)
        if not self.with_reserved and span.low < "\x01":
            span = span._replace(low="\x01", has_low=True)
        return span


def entries_of(query: Query, select: Callable[[Span, int], sqlite3.Cursor]) -> Entries:
    """The entries that answer `query`; `select(span, limit)` finds rows."""
    prefix, delimiter = query.prefix, query.delimiter
    if query.path is not None:
        prefix, delimiter = query.path.rstrip("/") + "/" if query.path else "", "/"
    span = query.span(prefix)
    if query.path is not None and span.low == prefix:
        span = span._replace(has_low=False)  # a folder is not in itself
    if query.limit <= 0:
        return []
    if not delimiter:
        return list(select(span, query.limit))
    return _folded(query, span, prefix, delimiter, select)


def _folded(
    query: Query, span: Span, prefix: str, delimiter: str, select: Callable[[Span, int], sqlite3.Cursor]
) -> Entries:
    # A client that goes on from a folder it was shown does not want it again.
    shown = query.end_marker if query.is_reversed else query.marker
    entries: Entries = []
    rest: Span | None = span
    while rest is not None and (wanted := query.limit - len(entries)) > 0:
        cursor = select(rest, wanted)
        rest_behind: Span | None = None
        for row in cursor:
            name: str = row[0]
            end = name.find(delimiter, len(prefix))
            folder = name[: end + len(delimiter)] if end >= 0 else ""
            if not folder or (query.path is not None and folder == name):
                entries.append(row)
            else:
                if query.path is None and folder != shown:
                    entries.append(folder)
                rest_behind = _behind_folder(rest, folder, has_folder=query.path is not None)
                break
        cursor.close()
        rest = rest_behind
    return entries


def _behind_folder(span: Span, folder: str, *, has_folder: bool) -> Span | None:
    """The names behind all that begin with `folder`; backwards `folder` itself is one, if it counts."""
    if span.is_reversed:
        return span.behind(folder, has_name=has_folder)
    following = successor(folder)
    return None if following is None else span.behind(following, has_name=True)


_LAST = "\U0010ffff"


def successor(text: str) -> str | None:
    """The least name greater than all that begin with `text`; None if there is none."""
    text = text.rstrip(_LAST)
    if not text:
        return None
    following = ord(text[-1]) + 1
    if following == 0xD800:  # surrogates are no characters of names
        following = 0xE000
    return text[:-1] + chr(following)
