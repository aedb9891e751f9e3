"""Open SQLite databases: the handles one process keeps.

Opening a database costs more than most queries on it, so handles are kept open, and the least
recently used ones are closed when there are too many.

1. A handle is used by one green thread at a time; two that want one database get two handles.
2. A handle is of the file that bears the name now: one that a replicator replaced, or that went to
   quarantine, is told by its inode. (The handle itself keeps the old inode from being given out again.)
3. A child opens its own: a handle from before a fork is neither used nor closed, since closing would
   drop or roll back what its parent holds.
4. SQLite never waits on the thread that runs the green threads: a locked database fails at once, and
   `broker` waits.

Not here: transactions and retries (broker), making and quarantining files (database_file).
"""

from __future__ import annotations

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5
from urllib.parse import quote

from miniswift.errors import MiniswiftError

MAX_IDLE = 100  # handles; each holds a descriptor and at most 2 MB of pages


class BrokerError(MiniswiftError):
    """Raised when an account's or container's database cannot do what was asked."""


class DatabaseMissing(BrokerError):
    """Raised when there is no database at the path."""


class DatabaseBusy(BrokerError):
    """Raised when somebody else held a lock for longer than the caller waits."""


class DeviceFailed(BrokerError):
    """Raised when the device cannot be read or written: full, read-only or broken."""


@dataclass(frozen=True, slots=True)
class _Handle:
    connection: sqlite3.Connection
    identity: tuple[int, int]  # device and inode of the file


class DatabaseCache:
    """The idle handles of this process, by path, and how to get one more."""

    def __init__(self, max_idle: int = MAX_IDLE) -> None:
        self._max_idle = max_idle
        self._forget_all()

    def _forget_all(self) -> None:
        self._pid = os.getpid()
        self._idle: OrderedDict[str, list[_Handle]] = OrderedDict()
        self._idle_count = 0

    @contextmanager
    def open(self, path: str) -> Iterator[sqlite3.Connection]:
        """A connection to the database at `path`, the caller's own in the block.

        Raises DatabaseMissing. The block may raise an OperationalError or a BrokerError once its
        transaction is over. A timeout may come at any moment, while a native thread is still at work
        on the handle, which is then left to the thread and the garbage collector.
        """
        handle = self._take(path)
        try:
            yield handle.connection
        except (sqlite3.OperationalError, BrokerError):
            self._put_back(path, handle)
            raise
        except sqlite3.DatabaseError:
            handle.connection.close()
            raise
        self._put_back(path, handle)

    def forget(self, path: str) -> None:
        """Close the idle handles of a database that is being moved away."""
        handles = self._idle.pop(path, [])
        self._idle_count -= len(handles)
        for handle in handles:
            handle.connection.close()

    def close(self) -> None:
        """Close every idle handle."""
        for path in list(self._idle):
            self.forget(path)

    def _take(self, path: str) -> _Handle:
        if self._pid != os.getpid():
            _FROM_PARENTS.append(self._idle)
            self._forget_all()
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise DatabaseMissing(path) from None
        identity = (status.st_dev, status.st_ino)
        idle = self._idle.get(path)
        while idle:
            handle = idle.pop()
            self._idle_count -= 1
            if handle.identity == identity:
                return handle
            handle.connection.close()
        return _Handle(connect(path), identity)

    def _put_back(self, path: str, handle: _Handle) -> None:
        self._idle.setdefault(path, []).append(handle)
        self._idle.move_to_end(path)
        self._idle_count += 1
        while self._idle_count > self._max_idle:
            self.forget(next(iter(self._idle)))


# Kept from the garbage collector, which would close them (see 3).
_FROM_PARENTS: list[OrderedDict[str, list[_Handle]]] = []


def connect(path: str, mode: str = "rw") -> sqlite3.Connection:
    """Open a database as Swift's daemons expect it to be used. `rw` never creates a file."""
    connection = sqlite3.connect(
        f"file:{quote(path)}?mode={mode}",
        uri=True,
        timeout=0,
        isolation_level=None,  # transactions are begun and ended by name
        check_same_thread=False,  # a commit's fsync runs in a native thread
    )
    try:
        # Swift's triggers keep a hash of the rows by calling this.
        connection.create_function("chexor", 3, chexor, deterministic=True)
        for setting in ("synchronous = NORMAL", "temp_store = MEMORY", "journal_mode = DELETE"):
            connection.execute(f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    return connection


def chexor(old: str, name: str, text: str) -> str:
    """The hash `old` of a set of rows (32 hex digits) with one row added, or removed again."""
    digest = md5(f"{name}-{text}".encode(), usedforsecurity=False).digest()
    return f"{int(old, 16) ^ int.from_bytes(digest, 'big'):032x}"
