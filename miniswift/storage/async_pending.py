"""Container updates that could not be delivered, kept on the object's device until they can.

    <device>/async_pending[-N]/<suffix>/<hash>-<timestamp>

holds a pickled dict that Swift's object-updater delivers as well as ours.

1. A file is complete and durable when its name appears; rewriting it is atomic.
2. The newest file of a hash holds all that older ones say.
3. Who has delivered an update removes or rewrites the file that he read, not one that has taken its name.
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
from miniswift.storage.atomic import make_directories, replace_file
from miniswift.storage.object_metadata import is_header
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

    def redirect(self, container_path: str) -> None:
        """Send it there from now on; back to the root when it has been there before."""
        self.successes.clear()
        if container_path in self.redirect_history:
            self.container_path = None
            self.redirect_history.clear()
        else:
            self.container_path = container_path
            self.redirect_history.append(container_path)

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
        if stored.get("op") not in ("PUT", "DELETE") or not (account and container and obj):
            raise BadUpdate("it does not say what to do with which object")
        path = _text(stored.get("container_path"))
        if path is not None and not is_container_path(path):
            raise BadUpdate(f"{path!r} is not account/container")
        return cls(
            stored["op"],
            account,
            container,
            obj,
            _headers(stored.get("headers")),
            _text(stored.get("db_state")),
            path,
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


def is_container_path(path: str) -> bool:
    """Whether it is account/container."""
    account, _, container = path.partition("/")
    return bool(account and container) and "/" not in container


def _headers(stored: Any) -> Headers:
    if not isinstance(stored, dict) or not all(isinstance(name, str) for name in stored):
        raise BadUpdate("its headers are not headers")
    pairs = [(name, str(value)) for name, value in stored.items()]
    if not all(is_header(name, value) for name, value in pairs):
        raise BadUpdate("its headers could not be sent")
    return Headers(pairs)


def _text(value: Any) -> str | None:
    """A text, None for what is none or empty. Raises BadUpdate for one that has no UTF-8."""
    if not isinstance(value, str) or not value:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadUpdate(f"{value!r} is not Unicode") from None
    return value


def _list_of(kind: type, value: Any) -> list[Any]:
    return [item for item in value if type(item) is kind] if isinstance(value, list) else []


def save(device: str, policy: Policy, cluster: Cluster, update: AsyncUpdate) -> str:
    """Keep an update on a device (a path); return where. Raises BadUpdate and OSError."""
    digest = cluster.hash_path(update.account, update.container, update.obj)
    folder = f"{device}/async_pending{policy.suffix}/{digest[-3:]}"
    path = f"{folder}/{digest}-{update.timestamp.internal}"
    replace_file(path, update.to_pickle(), f"{device}/tmp{policy.suffix}", device)
    return path


class PendingFile:
    """An update as it was read from a device."""

    def __init__(self, device: str, policy: Policy, path: str) -> None:
        """Raises BadUpdate and OSError."""
        self.path = path
        self._device = device
        self._policy = policy
        with open(path, "rb") as file:
            self._inode = os.fstat(file.fileno()).st_ino
            self.update = AsyncUpdate.from_pickle(file.read())
        self._known = self._progress()

    def _progress(self) -> tuple[str | None, list[int], list[str]]:
        return self.update.container_path, [*self.update.successes], [*self.update.redirect_history]

    def save_progress(self) -> None:
        """Write down who has accepted and where the update goes, if that is news. Raises OSError."""
        if self._progress() != self._known and self._is_there():
            temporary = f"{self._device}/tmp{self._policy.suffix}"
            replace_file(self.path, self.update.to_pickle(), temporary, self._device)

    def remove(self) -> None:
        """Remove the file, and its directory if it is empty then. Raises OSError."""
        if self._is_there():
            os.unlink(self.path)
            try:
                os.rmdir(os.path.dirname(self.path))
            except OSError:
                pass  # there are others

    def _is_there(self) -> bool:
        try:
            return os.stat(self.path).st_ino == self._inode
        except FileNotFoundError:
            return False  # another updater, or a newer update of the same object


def put_aside(device: str, policy: Policy, path: str) -> str:
    """Move a file that is no update to where Swift puts such files; return its new path."""
    kept = f"{device}/quarantined/objects{policy.suffix}/{os.path.basename(path)}"
    make_directories(os.path.dirname(kept), device)
    os.replace(path, kept)
    return kept


def files_by_object(folder: str) -> Iterator[list[str]]:
    """The files (paths) in `async_pending[-N]`, object by object, the newest first."""
    for suffix in _listed(folder):
        by_hash: dict[str, list[str]] = {}
        for name in sorted(_listed(f"{folder}/{suffix}"), reverse=True):
            if is_file_name(name):
                by_hash.setdefault(name[:32], []).append(f"{folder}/{suffix}/{name}")
            else:
                logger.warning("file %s/%s/%s is not named like an update", folder, suffix, name)
        yield from by_hash.values()


def is_file_name(name: str) -> bool:
    """Whether it is <hash>-<timestamp>."""
    digest, _, stamp = name.partition("-")
    try:
        return len(digest) == 32 and Timestamp.parse(stamp).internal == stamp
    except TimestampError:
        return False


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []  # gone since, or nothing of ours
