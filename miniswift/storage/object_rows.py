"""Object rows: what a container says of an object, and which of two sayings holds.

An object's data, content type and metadata are written at different times; a row keeps the three as
one encoded text (`timestamp.RowTimes`), and two rows of one name are merged part by part.

1. The newer data time brings size, etag, deletion and `swift_bytes`; the newer content-type time the
   content type; the newest metadata time stands. Equal times change nothing.
2. Merging is commutative and idempotent, so replicas agree whatever the order they hear in.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from miniswift.errors import TimestampError
from miniswift.timestamp import RowTimes, Timestamp


class ObjectRow(NamedTuple):
    """A row, its fields in the order of pending tuples. A stored one has all its times in created_at."""

    name: str
    created_at: str  # encoded times
    size: int
    content_type: str
    etag: str
    deleted: int
    storage_policy_index: int = 0
    ctype_timestamp: str | None = None
    meta_timestamp: str | None = None

    @classmethod
    def deletion(cls, name: str, timestamp: str, policy_index: int) -> ObjectRow:
        return cls(name, timestamp, 0, "application/deleted", "noetag", 1, policy_index)

    @classmethod
    def checked(cls, values: Sequence[Any]) -> ObjectRow:
        """A row of values from a file or the network. Raises ValueError when they are none."""
        if not 6 <= len(values) <= 9:
            raise ValueError(f"a row of {len(values)} values")
        row = cls(*values)
        check_name(row.name)
        if not all(isinstance(text, str) for text in values[3:5]):
            raise ValueError("a content type or etag is no text")
        _times_of(row)
        return row._replace(
            size=whole_number(row.size),
            deleted=int(bool(whole_number(row.deleted))),
            storage_policy_index=whole_number(row.storage_policy_index),
        )

    @classmethod
    def of_json(cls, item: Any) -> ObjectRow:
        """A row of a JSON object with these names. Raises ValueError."""
        if not isinstance(item, dict):
            raise ValueError("a row is no object")
        try:
            required = [item[field] for field in cls._fields[:6]]
        except KeyError as error:
            raise ValueError(f"a row without {error}") from None
        optional = (
            item.get("storage_policy_index", 0),
            item.get("ctype_timestamp"),
            item.get("meta_timestamp"),
        )
        return cls.checked([*required, *optional])


def check_name(value: Any) -> None:
    """Raise ValueError unless it is text, some, that SQLite can store: no lone surrogates."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    value.encode()


def whole_number(value: Any) -> int:
    """A number a peer may have written as text. Raises ValueError; SQLite has 64 bits."""
    number = value if isinstance(value, int) else int(value) if isinstance(value, str) else None
    if number is None or not -(2**63) <= number < 2**63:
        raise ValueError(f"{value!r} is no whole number")
    return number


def _times_of(row: ObjectRow) -> RowTimes:
    try:
        times = RowTimes.parse(row.created_at)
        content_type, meta = times.content_type, times.meta
        if row.ctype_timestamp:
            content_type = meta = Timestamp.parse(row.ctype_timestamp)
        if row.meta_timestamp:
            meta = Timestamp.parse(row.meta_timestamp)
    except (TimestampError, AttributeError, TypeError):
        raise ValueError("a time is malformed") from None
    return RowTimes(times.data, content_type, meta)


def merged(row: ObjectRow, existing: ObjectRow | None) -> ObjectRow | None:
    """The row to store in place of `existing`, a stored one; None when nothing in `row` is newer."""
    new = _times_of(row)
    if existing is None:
        return row._replace(created_at=new.encoded)
    old = RowTimes.parse(existing.created_at)
    if old.data >= new.data and old.content_type >= new.content_type and old.meta >= new.meta:
        return None
    data = row if new.data > old.data else existing
    content_type, _ = split_swift_bytes(
        (row if new.content_type > old.content_type else existing).content_type
    )
    _, swift_bytes = split_swift_bytes(data.content_type)
    if swift_bytes is not None:
        content_type = f"{content_type};swift_bytes={swift_bytes}"
    times = RowTimes(
        max(new.data, old.data), max(new.content_type, old.content_type), max(new.meta, old.meta)
    )
    return data._replace(created_at=times.encoded, content_type=content_type)


_PARAMETER = re.compile(r';\s*([^\s;="]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*))?')


@functools.lru_cache(maxsize=1024)
def split_swift_bytes(content_type: str) -> tuple[str, str | None]:
    """A content type, blanks around its parameters gone, and the value of its `swift_bytes` if any.

    The parameter carries the size of what a manifest stands for, and is never shown to clients.
    """
    if ";" not in content_type:
        return content_type, None
    bare, separator, parameters = content_type.partition(";")
    swift_bytes = None
    for name, value in _PARAMETER.findall(separator + parameters):
        if name == "swift_bytes":
            swift_bytes = value
        else:
            bare += f";{name}={value}"
    return bare, swift_bytes
