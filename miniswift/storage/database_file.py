"""Database files: making one whole, and putting a broken one away.

1. A database that has its name is complete and on disk: it is built under another name in the same
   folder, synced, and renamed under the folder's lock.
2. A database is made once: who comes second is told (`DatabaseExists`). So is who would make one beside
   that of a sharded container, which has another name (`<hash>_<epoch>.db`) and is not served here.
3. A malformed database leaves with its whole folder, pending rows included, for somebody to look at.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import uuid
from collections.abc import Callable

from miniswift.concurrency import in_native_thread
from miniswift.storage import atomic, pending
from miniswift.storage.database_cache import BrokerError, connect

logger = logging.getLogger(__name__)


class DatabaseExists(BrokerError):
    """Raised when somebody else made the database in the meantime."""


def create(path: str, build: Callable[[sqlite3.Connection], None], lock_wait_s: float) -> None:
    """Make the database at `path` of what `build` writes. Raises DatabaseExists or DatabaseBusy."""
    folder = os.path.dirname(path)
    changed = atomic.make_directories(folder, device_of(folder))
    fd, building = tempfile.mkstemp(suffix=".tmp", dir=folder)
    os.close(fd)
    try:
        in_native_thread(_build, building, build)
        with pending.locked(folder, lock_wait_s):
            if any(name.endswith(".db") for name in os.listdir(folder)):
                raise DatabaseExists(path)
            os.rename(building, path)
            in_native_thread(_sync, [folder, *changed])
    except BaseException:
        if os.path.exists(building):
            os.unlink(building)
        raise


def _build(path: str, build: Callable[[sqlite3.Connection], None]) -> None:
    connection = connect(path)
    try:
        # One sync at the end, instead of one for every step.
        connection.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;")
        connection.execute("BEGIN")
        build(connection)
        connection.execute("COMMIT")
    finally:
        connection.close()
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync(folders: list[str]) -> None:
    for folder in folders:
        atomic.fsync_directory(folder)


def device_of(folder: str) -> str:
    """The device of a database's folder: `<device>/<kind>s/<partition>/<suffix>/<hash>`."""
    return folder.rsplit("/", 4)[0]


def quarantine(path: str, reason: str) -> str:
    """Move the folder of a database to `quarantined/` on its device; the new place."""
    folder = os.path.dirname(path)
    kinds, _, _, name = folder.split("/")[-4:]
    away = f"{device_of(folder)}/quarantined/{kinds}/{name}"
    os.makedirs(os.path.dirname(away), exist_ok=True)
    if os.path.exists(away):
        away = f"{away}-{uuid.uuid4().hex}"
    os.rename(folder, away)
    logger.error("%s is quarantined to %s: %s", folder, away, reason)
    return away
