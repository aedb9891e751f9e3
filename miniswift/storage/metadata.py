"""Metadata of accounts and containers: between headers, the database and headers again.

A database keeps one JSON object, header name → [value, internal timestamp of the write]. Names and
values are text; headers carry their UTF-8.

1. An item is removed by writing an empty value, which stays as a mark of its time.
2. Limits hold for all items that stand after a change, not for the change alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from miniswift.cluster import Constraints
from miniswift.responses import Environ, Headers
from miniswift.storage.database_cache import BrokerError
from miniswift.timestamp import Timestamp
from miniswift.wsgi import environ_key, from_wsgi, header_name, to_wsgi

Metadata = dict[str, tuple[str, str]]  # header name → (value, internal timestamp)


class MetadataRefused(BrokerError):
    """Raised when metadata is not text, or more than a resource may have."""


@dataclass(frozen=True, slots=True)
class MetadataLimits:
    """How much user metadata one account or container may have."""

    count: int
    overall_size: int  # bytes of names without their prefix, and values

    @classmethod
    def of(cls, constraints: Constraints) -> MetadataLimits:
        return cls(constraints.max_meta_count, constraints.max_meta_overall_size)

    def check(self, metadata: Metadata) -> None:
        """Raise MetadataRefused when the user's items are too many or too large."""
        count = size = 0
        for name, (value, _) in metadata.items():
            _, is_user_meta, bare_name = name.lower().partition("-meta-")
            if value and is_user_meta and name.lower().startswith(("x-account-meta-", "x-container-meta-")):
                count += 1
                size += len(bare_name.encode()) + len(value.encode())
        if count > self.count:
            raise MetadataRefused(f"Too many metadata items; max {self.count}")
        if size > self.overall_size:
            raise MetadataRefused(f"Total metadata too large; max {self.overall_size}")


class MetadataHeaders:
    """Which headers of an account or container are stored."""

    def __init__(self, kind: str, also: Iterable[str] = ()) -> None:
        self._start = environ_key(f"X-{kind}-")
        self._prefixes = (environ_key(f"X-{kind}-Meta-"), environ_key(f"X-{kind}-Sysmeta-"))
        self._also = frozenset(environ_key(name) for name in also)

    def of_request(self, environ: Environ, timestamp: Timestamp) -> Metadata:
        """What a request says of them. Raises MetadataRefused for what is not UTF-8."""
        at = timestamp.internal
        try:
            return {
                from_wsgi(header_name(key) or key): (from_wsgi(value), at)
                for key, value in environ.items()
                if key.startswith(self._start) and self._is_stored(key)
            }
        except UnicodeDecodeError:
            raise MetadataRefused("Metadata must be valid UTF-8") from None

    def _is_stored(self, key: str) -> bool:
        return key in self._also or (key.startswith(self._prefixes) and key not in self._prefixes)


def add_to_headers(headers: Headers, metadata: Metadata) -> None:
    """Put the items that stand into an answer's headers."""
    for name, (value, _) in metadata.items():
        if value:
            headers[to_wsgi(name)] = to_wsgi(value)
