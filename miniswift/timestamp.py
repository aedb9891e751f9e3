"""Swift's timestamps: the order of every write.

A timestamp is a number of seconds with five decimals and an optional integer offset. Its forms:

normal      `1700000000.12345`                      what clients see
internal    `1700000000.12345_0000000000000001`     file names, X-Backend-Timestamp; offset only if not 0
short       `1700000000.12345_1f`                   the internal form without the zeros

1. The string order of the internal form is the order in time.
2. Arithmetic is on whole units of 10 microseconds, so no two forms of one instant ever differ.

Not here: choosing the newest file (diskfile) or row (broker).
"""

from __future__ import annotations

import functools
import time
from email.utils import formatdate
from typing import NamedTuple

from miniswift.errors import TimestampError

UNITS_PER_SECOND = 100_000
MAX_UNITS = 10_000_000_000 * UNITS_PER_SECOND
MAX_OFFSET = 16**16


class Timestamp(NamedTuple):
    """An instant in units of 10 microseconds, and an offset that sorts within it."""

    units: int
    offset: int = 0

    @classmethod
    def now(cls) -> Timestamp:
        return cls(time.time_ns() // 10_000)

    @classmethod
    def at(cls, seconds: float) -> Timestamp:
        return cls(_checked_units(round(seconds * UNITS_PER_SECOND)))

    @classmethod
    def parse(cls, text: str) -> Timestamp:
        """Read any of the forms, or a plain number of seconds. Raises TimestampError."""
        digits = text[:10] + text[11:]
        if len(text) == 16 and text[10] == "." and digits.isdecimal():
            return cls(int(digits))  # the normal form, which nearly all are in
        stamp, separator, offset = text.partition("_")
        try:
            whole, _, fraction = stamp.strip().partition(".")
            if whole.isdecimal() and (fraction.isdecimal() or not fraction) and len(fraction) <= 5:
                units = int(whole) * UNITS_PER_SECOND + int(fraction.ljust(5, "0"))
            else:
                units = round(float(stamp) * UNITS_PER_SECOND)
            if separator and not offset.isalnum():
                raise ValueError("offset")
            offset_value = int(offset, 16) if separator else 0
        except (ValueError, OverflowError):
            raise TimestampError(f"{text!r} is not a timestamp") from None
        if not offset_value < MAX_OFFSET:
            raise TimestampError(f"{text!r} has an offset out of range")
        return cls(_checked_units(units), offset_value)

    @property
    def normal(self) -> str:
        digits = f"{self.units:015d}"
        return f"{digits[:-5]}.{digits[-5:]}"

    @property
    def internal(self) -> str:
        return f"{self.normal}_{self.offset:016x}" if self.offset else self.normal

    @property
    def short(self) -> str:
        return f"{self.normal}_{self.offset:x}" if self.offset else self.normal

    @property
    def inverted(self) -> Timestamp:
        """The instant counted back from the end of the range: newest first in a listing."""
        return Timestamp(MAX_UNITS - 1 - self.units)

    @property
    def seconds(self) -> float:
        return self.units / UNITS_PER_SECOND

    @property
    def iso(self) -> str:
        """UTC with microseconds and no zone, as listings show it."""
        seconds, units = divmod(self.units, UNITS_PER_SECOND)
        return f"{iso_second(seconds)}.{units:05d}0"

    @property
    def ceiling(self) -> int:
        """The next whole second, which is what Last-Modified shows."""
        return -(-self.units // UNITS_PER_SECOND)

    @property
    def http_date(self) -> str:
        """The ceiling as an HTTP-date (RFC 9110 5.6.7)."""
        return http_date(self.ceiling)

    def __str__(self) -> str:
        return self.internal

    def __bool__(self) -> bool:
        return bool(self.units or self.offset)


ZERO = Timestamp(0)


@functools.lru_cache(maxsize=4096)
def http_date(seconds: int) -> str:
    """A Unix time as an HTTP-date (RFC 9110 5.6.7)."""
    return formatdate(seconds, usegmt=True)


@functools.lru_cache(maxsize=4096)
def iso_second(seconds: int) -> str:
    """A Unix time as an ISO 8601 time without a zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _checked_units(units: int) -> int:
    if not 0 <= units < MAX_UNITS:
        raise TimestampError(f"{units / UNITS_PER_SECOND} seconds is out of the range of timestamps")
    return units


# --- the encoded triple: one string for the data, content-type and metadata times of a row -------


class RowTimes(NamedTuple):
    """When a row's data, its content type and its metadata were written."""

    data: Timestamp
    content_type: Timestamp
    meta: Timestamp

    @classmethod
    def parse(cls, text: str) -> RowTimes:
        """Read `t1[(+|-)hex[(+|-)hex]]`, the differences in units. Raises TimestampError."""
        if "+" not in text and "-" not in text:
            only = Timestamp.parse(text)
            return cls(only, only, only)
        base, deltas = _split_deltas(text)
        data = Timestamp.parse(base)
        content_type = Timestamp(_checked_units(data.units + deltas[0]))
        meta = content_type
        if len(deltas) == 2:
            meta = Timestamp(_checked_units(content_type.units + deltas[1]))
        # A delta of zero means the same instant, whose offset the first stamp carries.
        content_type = data if content_type.units == data.units else content_type
        meta = content_type if meta.units == content_type.units else meta
        return cls(data, content_type, meta)

    @property
    def encoded(self) -> str:
        """The text that `parse` reads. Both differences or none: replicas hash this text."""
        to_content_type = self.content_type.units - self.data.units
        to_meta = self.meta.units - self.content_type.units
        if not to_content_type and not to_meta:
            return self.data.short
        return f"{self.data.short}{to_content_type:+x}{to_meta:+x}"

    @property
    def newest(self) -> Timestamp:
        return max(self.data, self.content_type, self.meta)


def _split_deltas(text: str) -> tuple[str, list[int]]:
    for index, char in enumerate(text):
        if char in "+-":
            base, rest = text[:index], text[index:]
            break
    parts = rest.replace("+", " +").replace("-", " -").split()
    try:
        deltas = [int(part, 16) for part in parts]
    except ValueError:
        deltas = []
    if not 1 <= len(deltas) <= 2:
        raise TimestampError(f"{text!r} is not an encoded timestamp")
    return base, deltas
