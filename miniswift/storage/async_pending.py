"""Container updates that could not be delivered, kept on the object's device until they can.

    <device>/async_pending[-N]/<suffix>/<hash>-<timestamp>

holds a pickled dict that Swift's object-updater delivers as well as ours.

1. A file is complete and durable when its name appears; rewriting it is atomic.
2. The newest file of a hash holds all that older ones say.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from miniswift.cluster import Cluster, Policy
from miniswift.errors import MiniswiftError, TimestampError
from miniswift.responses import Headers
from miniswift.storage import pickles
from miniswift.storage.atomic import replace_file
from miniswift.timestamp import Timestamp

logger = logging.getLogger(__name__)


class BadUpdate(MiniswiftError):
    """Raised when a file does not hold an update."""


@dataclass(slots=True)
class AsyncUpdate:
    """What to tell the servers of a container about one of its objects."""

    op: str  # "PUT" or "DELETE"
    account: str
    container: str
    obj: str
    headers: Headers
    db_state: str | None = None  # of the container's database, as the proxy knew it
    container_path: str | None = None  # account/container of the shard that wants it instead
    successes: list[int] = field(default_factory=list)  # ids of the devices that have it
    redirect_history: list[str] = field(default_factory=list)

    @property
    def timestamp(self) -> Timestamp:
        """Raises BadUpdate."""
        text = self.headers.get("X-Meta-Timestamp") or self.headers.get("X-Timestamp", "")
        try:
            return Timestamp.parse(text)
        except TimestampError:
            raise BadUpdate(f"{text!r} is not the time of an update") from None

    @property
    def path(self) -> str:
        """The path of the object's row: /account/container/object, text."""
        return f"/{self.container_path or f'{self.account}/{self.container}'}/{self.obj}"

    @classmethod
    def from_pickle(cls, data: bytes) -> AsyncUpdate:
        """Read what a file holds. Raises BadUpdate."""
        try:
            stored = pickles.loads(data)
        except pickles.UnsafePickle as error:
            raise BadUpdate(str(error)) from None
        if not isinstance(stored, dict):
            raise BadUpdate(f"it is a {type(stored).__name__}")
        account, container, obj = (_text(stored.get(key)) for key in ("account", "container", "obj"))
        headers = stored.get("headers")
        if stored.get("op") not in ("PUT", "DELETE") or not (account and container and obj):
            raise BadUpdate("it does not say what to do with which object")
        if not isinstance(headers, dict) or not all(isinstance(name, str) for name in headers):
            raise BadUpdate("its headers are not headers")
        return cls(
            stored["op"],
            account,
            container,
            obj,
            Headers((name, str(value)) for name, value in headers.items()),
            _text(stored.get("db_state")),
            _text(stored.get("container_path")),
            _list_of(int, stored.get("successes")),
            _list_of(str, stored.get("redirect_history")),
        )

    def to_pickle(self) -> bytes:
        stored: dict[str, Any] = {
            "op": self.op,
            "account": self.account,
            "container": self.container,
            "obj": self.obj,
            "headers": dict(self.headers),
            "db_state": self.db_state,
        }
        for key in ("container_path", "successes", "redirect_history"):
            if getattr(self, key):
                stored[key] = getattr(self, key)
        return pickles.dumps(stored)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _list_of(kind: type, value: Any) -> list[Any]:
    return [item for item in value if type(item) is kind] if isinstance(value, list) else []


def save(device: str, policy: Policy, cluster: Cluster, update: AsyncUpdate) -> str:
    """Keep an update on a device (a path); return where. Raises BadUpdate and OSError."""
    digest = cluster.hash_path(update.account, update.container, update.obj)
    folder = f"{device}/async_pending{policy.suffix}/{digest[-3:]}"
    path = f"{folder}/{digest}-{update.timestamp.internal}"
    replace_file(path, update.to_pickle(), f"{device}/tmp{policy.suffix}", device)
    return path


def newest_files(folder: str) -> Iterator[tuple[str, list[str]]]:
    """(newest file, older files) for each object with updates in `async_pending[-N]` (paths)."""
    for suffix in _listed(folder):
        by_hash: dict[str, list[str]] = {}
        for name in sorted(_listed(f"{folder}/{suffix}"), reverse=True):
            digest, dash, _ = name.partition("-")
            if dash and len(digest) == 32:
                by_hash.setdefault(digest, []).append(f"{folder}/{suffix}/{name}")
            else:
                logger.warning("file %s/%s/%s is not named like an update", folder, suffix, name)
        for newest, *older in by_hash.values():
            yield newest, older


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []  # gone since, or nothing of ours
