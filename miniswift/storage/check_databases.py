"""What can be wrong with the account and container databases on a device.

1. A database is whole, as SQLite sees it, and has its tables.
2. It lies where the name in it belongs.
3. What it counts is what it holds.
4. Every row that waits beside it can be read (S5).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from miniswift.cluster import Cluster
from miniswift.storage import pending
from miniswift.storage.account_broker import AccountBroker
from miniswift.storage.check_objects import listed
from miniswift.storage.container_broker import ContainerBroker
from miniswift.storage.database_cache import connect

_MAKE_ROW: dict[str, Callable[[Sequence[Any]], Any]] = {
    "account": AccountBroker.make_row,
    "container": ContainerBroker.make_row,
}
_BUSY_MS = 5000
_COUNTS = {
    # What the database says, and what its rows say.
    "account": (
        "SELECT container_count, object_count, bytes_used FROM account_stat",
        "SELECT coalesce(sum(1 - deleted), 0), coalesce(sum(object_count), 0), coalesce(sum(bytes_used), 0)"
        " FROM container",
    ),
    "container": (
        "SELECT storage_policy_index, object_count, bytes_used FROM policy_stat"
        " WHERE object_count OR bytes_used ORDER BY 1",
        "SELECT storage_policy_index, sum(1 - deleted), sum(size) FROM object"
        " GROUP BY 1 HAVING sum(1 - deleted) OR sum(size) ORDER BY 1",
    ),
}
_NAMES = {
    "account": "SELECT account, NULL FROM account_stat",
    "container": "SELECT account, container FROM container_info",
}


def database_problems(databases: str, kind: str, cluster: Cluster, after_crash: bool) -> Iterator[str]:
    """The violations below a device's `accounts` or `containers`. Raises OSError."""
    for part in listed(databases):
        for suffix in listed(f"{databases}/{part}"):
            for name in listed(f"{databases}/{part}/{suffix}"):
                folder = f"{databases}/{part}/{suffix}/{name}"
                if suffix != name[-3:]:
                    yield f"{folder}: lies in the wrong suffix"
                yield from _folder_problems(folder, kind, cluster, after_crash)


def _folder_problems(folder: str, kind: str, cluster: Cluster, after_crash: bool) -> Iterator[str]:
    names = listed(folder)
    left = [name for name in names if name.endswith((".tmp", "-journal"))]
    if left and not after_crash:
        yield f"{folder}: temporary files were left: {left}"
    found = [name for name in names if name.endswith(".db")]
    if not found and not after_crash:
        yield f"{folder}: holds no database"
    for name in found:
        try:
            yield from _contradictions(f"{folder}/{name}", kind, cluster)
        except sqlite3.DatabaseError as error:
            yield f"{folder}/{name}: {error}"
        yield from _pending_problems(f"{folder}/{name}.pending", kind)


def open_to_look(path: str) -> sqlite3.Connection:
    """A connection that changes nothing, but rolls back what a crash left. Raises sqlite3.DatabaseError."""
    connection = connect(path, "rw" if os.path.exists(f"{path}-journal") else "ro")
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    return connection


def _contradictions(path: str, kind: str, cluster: Cluster) -> Iterator[str]:
    with closing(open_to_look(path)) as connection:
        findings = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        if findings != ["ok"]:
            yield f"{path}: {'; '.join(map(str, findings))}"
            return
        names = connection.execute(_NAMES[kind]).fetchone()
        digest = cluster.hash_path(*names) if names else ""
        # That of a sharded container is named <hash>_<epoch>.db.
        if os.path.basename(path)[:-3].partition("_")[0] != digest or path.split("/")[-2] != digest:
            yield f"{path}: is of {names}, which does not belong there"
        says, holds = (connection.execute(query).fetchall() for query in _COUNTS[kind])
        if says != holds:
            yield f"{path}: counts {says} and holds {holds}"


def _pending_problems(path: str, kind: str) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            entries = [entry for entry in file.read().split(b":") if entry]
    except FileNotFoundError:
        return
    unread = len(entries) - len(pending.load(path, _MAKE_ROW[kind]))
    if unread > 0:  # fewer than none: more came meanwhile
        yield f"{path}: {unread} of {len(entries)} rows cannot be read (S5)"
