"""Replication of databases: what a peer's replicator asks of the copy here (REPLICATE).

A peer first compares (`sync`), then sends rows (`merge_items`) and how far it knows others' rows
(`merge_syncs`), or the whole file by rsync to `<device>/tmp/`, which then becomes the copy here
(`complete_rsync`) or is merged with it (`rsync_then_merge`).

1. `incoming_sync` holds, by a peer's id, the highest ROWID of its rows that are here.
2. A file that came by rsync gets an id of its own before it gets the database's name.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from miniswift.concurrency import pause
from miniswift.errors import TimestampError
from miniswift.responses import Headers, HTTPError, Response
from miniswift.storage import atomic, pending
from miniswift.storage.broker import DatabaseBroker, Info, load_metadata, number_of
from miniswift.storage.database_cache import DatabaseCache
from miniswift.storage.metadata import Metadata
from miniswift.timestamp import Timestamp

logger = logging.getLogger(__name__)

B = TypeVar("B", bound="DatabaseBroker[Any]")

PAGE = 1000  # rows merged at a time
LOCK_WAIT_S = 10.0
STAMPS = ("created_at", "put_timestamp", "delete_timestamp")


class DatabaseReplication(Generic[B]):
    """The calls on one database: JSON lists of a name and its arguments."""

    broker_class: ClassVar[type[DatabaseBroker[Any]]]

    def __init__(self, device: str, db_file: str, databases: DatabaseCache) -> None:
        self._device = device
        self._db_file = db_file
        self._databases = databases
        self.broker = self._broker_of(db_file)
        self._calls: dict[str, Callable[..., Response]] = {
            "sync": self.sync,
            "merge_syncs": self.merge_syncs,
            "merge_items": self.merge_items,
        }
        self._file_calls: dict[str, Callable[..., Response]] = {
            "complete_rsync": self.complete_rsync,
            "rsync_then_merge": self.rsync_then_merge,
        }

    def _broker_of(self, path: str) -> B:
        broker: Any = self.broker_class(path, self._databases)
        return broker  # type: ignore[no-any-return]

    def call(self, arguments: Any) -> Response:
        """Answer one call. Raises 400 for what is none."""
        if not isinstance(arguments, list) or not arguments or not isinstance(arguments[0], str):
            raise HTTPError(400, "Invalid object type")
        name, *rest = arguments
        call = self._file_calls.get(name)
        if call is None:
            # The peer may send the file next: it goes to this folder.
            os.makedirs(f"{self._device}/tmp", exist_ok=True)
            call = self._calls.get(name)
            if call is not None and not self.broker.exists():
                return Response(404)
        if call is None:
            raise HTTPError(400, f"There is no call {name!r}")
        try:
            return call(*rest)
        except (TypeError, ValueError, KeyError, TimestampError) as error:
            raise HTTPError(400, f"Invalid arguments of {name}: {error}") from None

    # --- comparing ----------------------------------------------------------------------------------

    def sync(
        self,
        point: Any,
        hash_: Any,
        id_: Any,
        created_at: Any,
        put_timestamp: Any,
        delete_timestamp: Any,
        metadata: Any,
        *of_container: Any,
    ) -> Response:
        """Take over the peer's metadata and stamps; answer how this copy stands."""
        texts = (hash_, id_, created_at, put_timestamp, delete_timestamp)
        if not isinstance(point, int) or not all(isinstance(text, str) for text in texts):
            raise ValueError("a point is a number, all else is text")
        remote: Info = {
            "created_at": created_at,
            "put_timestamp": put_timestamp,
            "delete_timestamp": delete_timestamp,
        }
        for stamp in STAMPS:
            number_of(remote[stamp])
        items = _metadata(metadata)
        self.take_over(remote, *of_container)
        info = self.replication_info()
        if items:
            self.broker.update_metadata(items)
        if any(info[stamp] != remote[stamp] for stamp in STAMPS):
            self._merge_stamps(remote)
        info["point"] = self.broker.read(lambda connection: _incoming_point(connection, id_))
        if info["hash"] == hash_ and info["point"] < point:
            self._merge_points([(id_, point)])
            info["point"] = point
        return Response(200, Headers([("Content-Type", "application/json")]), json.dumps(info).encode())

    def take_over(self, remote: Info, *of_container: Any) -> None:
        """What a kind of database takes over before it is compared."""

    def replication_info(self) -> Info:
        """What a peer compares with its own."""

        def query(connection: sqlite3.Connection) -> Info:
            info = self.broker.load_info(connection)
            info["count"] = info.pop(f"{self.broker.rows_table}_count")
            info["max_row"] = max_row(connection, self.broker.rows_table)
            return info

        return self.broker.read(query)

    def _merge_stamps(self, remote: Info) -> None:
        def change(connection: sqlite3.Connection) -> None:
            before = self.broker.is_deleted_info(self.broker.load_info(connection))
            connection.execute(
                f"UPDATE {self.broker.stat_table} SET created_at = min(?, created_at),"
                " put_timestamp = max(?, put_timestamp), delete_timestamp = max(?, delete_timestamp)",
                tuple(remote[stamp] for stamp in STAMPS),
            )
            info = self.broker.load_info(connection)
            if before != self.broker.is_deleted_info(info):
                changed_at = max(Timestamp.now().internal, info["status_changed_at"])
                connection.execute(
                    f"UPDATE {self.broker.stat_table} SET status_changed_at = ?", (changed_at,)
                )

        self.broker.write(change)

    # --- rows ---------------------------------------------------------------------------------------

    def merge_syncs(self, points: list[dict[str, Any]]) -> Response:
        self._merge_points([(str(point["remote_id"]), int(point["sync_point"])) for point in points])
        return Response(202)

    def _merge_points(self, points: list[tuple[str, int]]) -> None:
        self.broker.write(lambda connection: _merge_points(connection, points))

    def merge_items(self, items: list[dict[str, Any]], source: str | None = None) -> Response:
        """Merge a peer's rows, sent in the order of their ROWIDs there and without gaps."""
        row_of = self.broker_class.row_of_json
        rows = [row_of(item) for item in items]
        last = int(items[-1]["ROWID"]) if source and items else None

        def change(connection: sqlite3.Connection) -> None:
            for row in rows:
                self.broker.merge_row(connection, row)
            if source and last is not None:
                _merge_points(connection, [(str(source), last)])

        self.broker.write(change)
        return Response(202)

    # --- whole files ----------------------------------------------------------------------------------

    def complete_rsync(self, name: str, db_name: str | None = None) -> Response:
        """Make the file that came the database. 404 when there is one already, or no file."""
        db_file = self._db_file
        if db_name is not None and db_name != os.path.basename(db_file):
            raise ValueError("sharded databases are not served here")
        received = self._received(name)
        if os.path.exists(db_file) or not os.path.exists(received):
            return Response(404)
        self._take_new_id(self._broker_of(received), name)
        folder = os.path.dirname(db_file)
        changed = atomic.make_directories(folder, self._device)
        self._put_in_place(received, [folder, *changed])
        return Response(204)

    def rsync_then_merge(self, name: str) -> Response:
        """Merge the database into the file that came, which replaces it."""
        received = self._received(name)
        if not (self.broker.exists() and os.path.exists(received)):
            return Response(404)
        new = self._broker_of(received)
        point = self._merge_into(new, -1)
        # Rows that came meanwhile; who acknowledges more now waits, and merges into the new file.
        with pending.locked(self.broker.folder, LOCK_WAIT_S):
            self.broker.merge_pending_locked([])
            self._merge_into(new, point)
            points, info = self.broker.read_merged(
                lambda connection: (_incoming_points(connection), self.broker.load_info(connection))
            )
            new.write(lambda connection: _merge_points(connection, points))
            self._take_new_id(new, name)
            new.update_metadata(load_metadata(info["metadata"]))
            self._put_in_place(received, [self.broker.folder])
        return Response(204)

    def _merge_into(self, new: B, point: int) -> int:
        """Merge the database's rows behind `point` into `new`; the last ROWID."""
        while rows := self._rows_behind(point):
            point = rows[-1][0]
            new.merge_rows([new.make_row(row[1:]) for row in rows])
            pause()
        return point

    def _received(self, name: Any) -> str:
        if not isinstance(name, str) or "/" in name or "\0" in name or name in ("", ".", ".."):
            raise ValueError("a file in tmp is named by its bare name")
        return f"{self._device}/tmp/{name}"

    def _put_in_place(self, received: str, folders: list[str]) -> None:
        self._databases.forget(received)
        os.rename(received, self._db_file)
        for folder in folders:
            atomic.fsync_directory(folder)

    def _rows_behind(self, point: int) -> list[tuple[Any, ...]]:
        columns = ", ".join(self.broker_class.row_columns)
        return self.broker.read_merged(
            lambda connection: connection.execute(
                f"SELECT ROWID, {columns} FROM {self.broker.rows_table} WHERE ROWID > ?"
                " ORDER BY ROWID LIMIT ?",
                (point, PAGE),
            ).fetchall()
        )

    def _take_new_id(self, broker: B, remote_id: str) -> None:
        new_id = self.broker.new_id()

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(f"UPDATE {broker.stat_table} SET id = ?", (new_id,))
            _merge_points(connection, [(remote_id, max_row(connection, broker.rows_table))])
            self.forget_reports(connection)

        broker.write(change)

    def forget_reports(self, connection: sqlite3.Connection) -> None:
        """What a kind of database forgets that its former self has told others."""


def _metadata(text: str | None) -> Metadata:
    """A peer's metadata. Raises ValueError when it is none."""
    items = json.loads(text or "{}")
    if not isinstance(items, dict):
        raise ValueError("metadata is no object")
    metadata = {name: (value, at) for name, (value, at) in items.items()}
    if not all(isinstance(text, str) for item in metadata.values() for text in item):
        raise ValueError("a metadata item is no pair of texts")
    return metadata


def max_row(connection: sqlite3.Connection, table: str) -> int:
    """The highest ROWID a table ever gave out, -1 when none."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return found[0] if found else -1


def _incoming_points(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    return connection.execute("SELECT remote_id, sync_point FROM incoming_sync").fetchall()


def _incoming_point(connection: sqlite3.Connection, remote_id: str) -> int:
    found = connection.execute(
        "SELECT sync_point FROM incoming_sync WHERE remote_id = ?", (remote_id,)
    ).fetchone()
    return found[0] if found else -1


def _merge_points(connection: sqlite3.Connection, points: list[tuple[str, int]]) -> None:
    for remote_id, point in points:
        connection.execute(
            "INSERT INTO incoming_sync (remote_id, sync_point) VALUES (?, ?)"
            " ON CONFLICT (remote_id) DO UPDATE SET sync_point = max(sync_point, excluded.sync_point)",
            (remote_id, point),
        )
