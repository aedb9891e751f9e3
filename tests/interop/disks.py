"""What is on a device, in a form that two devices can be compared by."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from miniswift.storage import pickles, xattrs

# What a copy of a database has for itself: when it was made, its name, how far daemons came with it.
_OWN_COLUMNS = frozenset({"created_at", "hash", "id", "reconciler_sync_point", "ROWID", "status_changed_at"})
_SYNC_TABLES = frozenset({"incoming_sync", "outgoing_sync", "sqlite_sequence"})


def objects(device: Path) -> dict[str, Any]:
    """Every file of every policy's objects, by its path: the metadata and the bytes."""
    return {
        str(file.relative_to(device)): (xattrs.read(str(file)), file.read_bytes())
        for file in device.glob("objects*/*/*/*/*")
        if file.is_file()
    }


def hashes(device: Path) -> dict[str, Any]:
    """hashes.pkl and hashes.invalid of every partition; of the former not when it was written."""
    found: dict[str, Any] = {}
    for file in device.glob("objects*/*/hashes.pkl"):
        content = pickles.loads(file.read_bytes())
        del content["updated"]
        found[str(file.relative_to(device))] = content
    for file in device.glob("objects*/*/hashes.invalid"):
        found[str(file.relative_to(device))] = sorted(file.read_text().split())
    return found


def async_pendings(device: Path) -> dict[str, Any]:
    """Every update that waits, by its path."""
    found = {}
    for file in device.glob("async_pending*/*/*"):
        update = dict(pickles.loads(file.read_bytes()))
        update["headers"] = {
            name: value for name, value in update["headers"].items() if name not in ("User-Agent", "Referer")
        }
        found[str(file.relative_to(device))] = update
    return found


def databases(device: Path, kind: str) -> dict[str, Any]:
    """Every database of a kind ("account" or "container"), by its path: tables with their rows.

    What a copy has for itself alone is left out.
    """
    files = sorted(device.glob(f"{kind}s/*/*/*/*.db"))
    return {str(file.relative_to(device)): _tables(file) for file in files}


def schemas(device: Path, kind: str) -> set[Any]:
    """What the databases of a kind are made of: tables with their columns; all else by name."""
    found: set[Any] = set()
    for file in device.glob(f"{kind}s/*/*/*/*.db"):
        with contextlib.closing(sqlite3.connect(file)) as connection:
            for type_, name in connection.execute("SELECT type, name FROM sqlite_master").fetchall():
                # Of a column: its name, type, whether it may be NULL, default, and place in the primary key.
                columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
                found.add((type_, name, frozenset(tuple(column[1:]) for column in columns)))
    return found


def _tables(file: Path) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        names = [row[0] for row in connection.execute(query)]
        return {
            name: sorted(_row(row) for row in connection.execute(f"SELECT * FROM {name}"))
            for name in names
            if name not in _SYNC_TABLES
        }


def _row(row: sqlite3.Row) -> list[tuple[str, str]]:
    own = _OWN_COLUMNS if "id" in row.keys() else frozenset({"ROWID"})  # noqa: SIM118
    return sorted((name, str(row[name])) for name in row.keys() if name not in own)  # noqa: SIM118
