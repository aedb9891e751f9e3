"""Rows acknowledged but not yet merged: the `.pending` file beside a database, and the lock of both.

Each row is appended as `:` and the base64 of a pickled tuple. Whoever reads the database next merges
them first, in one transaction, and empties the file; so does a writer who finds it too long.

1. Who appends to, merges or empties the file holds the flock of `.lock` in its folder, as real
   Swift's daemons do.
2. A row that `append` returned from is in the file for every process, and outlives a killed one. It is
   not forced to disk: after a power cut the replicas' copies, or an object's auditor, bring it back.
3. An entry that cannot be read costs itself only: it is skipped with a log line.

Not here: what the tuples mean (account_broker, container_broker).
"""

from __future__ import annotations

import binascii
import errno
import fcntl
import logging
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from miniswift.concurrency import sleep
from miniswift.storage import pickles
from miniswift.storage.database_cache import DatabaseBusy, DatabaseMissing, DeviceFailed

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_SIZE = 131_072  # bytes of pending rows beyond which a writer merges them itself


@contextmanager
def locked(folder: str, wait_s: float) -> Iterator[None]:
    """Hold the lock of a database's folder. Raises DatabaseBusy after `wait_s`, or DatabaseMissing.

    Other green threads run while this one waits. The descriptor is never shared: locks of one open
    file do not exclude each other.
    """
    try:
        fd = os.open(f"{folder}/.lock", os.O_WRONLY | os.O_CREAT, 0o644)
    except (FileNotFoundError, NotADirectoryError):
        raise DatabaseMissing(folder) from None
    try:
        _wait_for(fd, folder, wait_s)
        yield
    finally:
        os.close(fd)


def _wait_for(fd: int, folder: str, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    pause_s = 0.0005
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DatabaseBusy(f"{folder} was locked for {wait_s} s") from None
        sleep(pause_s)
        pause_s = min(pause_s * 2, 0.01)


def size(path: str) -> int:
    """Bytes waiting; 0 when there is no file."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def append(path: str, row: tuple[Any, ...]) -> bool:
    """Add a row to the file; False, and nothing done, when it is too long already. Needs the lock."""
    entry = b":" + b64encode(pickles.dumps(row))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        length = os.fstat(fd).st_size
        if length > MAX_SIZE:
            return False
        if os.write(fd, entry) != len(entry):
            os.ftruncate(fd, length)
            raise DeviceFailed(f"{path}: {os.strerror(errno.ENOSPC)}")
    finally:
        os.close(fd)
    return True


def load(path: str, make_row: Callable[[tuple[Any, ...]], T]) -> list[T]:
    """The rows in the file, oldest first; `make_row` raises ValueError for what is none."""
    rows = []
    try:
        with open(path, "rb") as file:
            entries = file.read().split(b":")
    except FileNotFoundError:
        return []
    for entry in filter(None, entries):
        try:
            value = pickles.loads(b64decode(entry, validate=True))
            if not isinstance(value, tuple):
                raise ValueError("not a tuple")
            rows.append(make_row(value))
        except (ValueError, binascii.Error) as error:
            logger.error("%s: entry %.80r is skipped: %s", path, entry, error)
    return rows


def clear(path: str) -> None:
    """Empty the file after its rows were committed. Needs the lock since before they were loaded."""
    os.truncate(path, 0)
