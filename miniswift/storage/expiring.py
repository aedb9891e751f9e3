"""The queue of objects that expire: rows in hidden containers, one for each object's X-Delete-At.

The account is `.expiring_objects`. A container holds a day; of the hundred containers that a day is
spread over an object's hash picks one. Swift's object-expirer, and ours, work through the rows.
"""

from __future__ import annotations

ACCOUNT = ".expiring_objects"
CONTENT_TYPE = "text/plain"
ASYNC_TYPE = "application/async-deleted"  # of a row that asks for a plain DELETE
EMPTY_ETAG = "d41d8cd98f00b204e9800998ecf8427e"
_DAY_S = 86400
_CONTAINERS_A_DAY = 100
_LAST = 9_999_999_999  # seconds: ten digits sort as text


def queue_time(seconds: int) -> str:
    """A Unix time as the queue's names have it."""
    return f"{min(max(seconds, 0), _LAST):010d}"


def queue_container(delete_at: int, digest: str) -> str:
    """The container for an object with this hash (hex) that expires at `delete_at` (Unix time)."""
    return queue_time(delete_at // _DAY_S * _DAY_S - int(digest, 16) % _CONTAINERS_A_DAY)


def is_over(container: str, now: float) -> bool:
    """Whether the day of a queue container is over, so that nothing is added any more."""
    return container.isdecimal() and int(container) + _DAY_S + _CONTAINERS_A_DAY < now


def queue_name(delete_at: int, account: str, container: str, obj: str) -> str:
    """The name of the row."""
    return f"{queue_time(delete_at)}-{account}/{container}/{obj}"
