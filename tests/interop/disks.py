"""What is on a device, in a form that two devices can be compared by."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Any

from miniswift.storage import pickles, xattrs

# Columns that hold the moment a database was made, or its own name.
_OWN_COLUMNS = frozenset({"created_at", "id", "status_changed_at", "ROWID", "hash"})
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
    """Every database of a kind ("account" or "container"), by its path: tables with their rows."""
    return {str(file.relative_to(device)): _tables(file) for file in device.glob(f"{kind}s/*/*/*/*.db")}


def schemas(device: Path, kind: str) -> set[tuple[str, str, str]]:
    """Type, name and definition of what the databases of a kind are made of; white space does not count."""
    found = set()
    for file in device.glob(f"{kind}s/*/*/*/*.db"):
        with contextlib.closing(sqlite3.connect(file)) as connection:
            for type_, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
                found.add((type_, name, re.sub(r"[\s;]+", "", sql or "").lower()))
    return found


def _tables(file: Path) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: sorted(_row(row) for row in connection.execute(f"SELECT * FROM {name}"))  # noqa: S608
            for name in names
            if name not in _SYNC_TABLES
        }


def _row(row: sqlite3.Row) -> list[tuple[str, str]]:
    own = _OWN_COLUMNS if "id" in row.keys() else frozenset({"ROWID"})  # noqa: SIM118
    return [(name, str(row[name])) for name in row.keys() if name not in own]  # noqa: SIM118
