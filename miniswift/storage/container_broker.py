"""Container databases: the objects of a container, and what the container says of itself.

`container_info` holds the container's own row and `policy_stat` counts objects and bytes per storage
policy, kept by triggers; the view `container_stat` is both for the container's own policy.

1. A container is deleted when its delete stamp is above its put stamp and its own policy has no objects.
2. An object row may be of another policy than its container's; it is kept apart and not counted.
3. Statistics are reported to the account when `reported_*` and the present values differ.

Not here: sharding. The table of shard ranges is made, for daemons that look there, and stays empty.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from miniswift.storage import listing
from miniswift.storage.broker import DatabaseBroker, Info, number_of
from miniswift.storage.database_cache import BrokerError
from miniswift.storage.metadata import Metadata, MetadataLimits
from miniswift.storage.object_rows import ObjectRow, merged
from miniswift.timestamp import Timestamp


class NotEmpty(BrokerError):
    """Raised when a container that has objects is to be deleted."""


class NewerExists(BrokerError):
    """Raised when the container was put or deleted at the same time or later."""


class OtherPolicy(BrokerError):
    """Raised when a container exists with another storage policy than the one asked for."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index  # of the container


_OWN_COLUMNS = {
    "account": "TEXT",
    "container": "TEXT",
    "created_at": "TEXT",
    "put_timestamp": "TEXT DEFAULT '0'",
    "delete_timestamp": "TEXT DEFAULT '0'",
    "reported_put_timestamp": "TEXT DEFAULT '0'",
    "reported_delete_timestamp": "TEXT DEFAULT '0'",
    "reported_object_count": "INTEGER DEFAULT 0",
    "reported_bytes_used": "INTEGER DEFAULT 0",
    "hash": f"TEXT DEFAULT '{'0' * 32}'",
    "id": "TEXT",
    "status": "TEXT DEFAULT ''",
    "status_changed_at": "TEXT DEFAULT '0'",
    "metadata": "TEXT DEFAULT ''",
    "x_container_sync_point1": "INTEGER DEFAULT -1",
    "x_container_sync_point2": "INTEGER DEFAULT -1",
    "storage_policy_index": "INTEGER DEFAULT 0",
    "reconciler_sync_point": "INTEGER DEFAULT -1",
}


SCHEMA = (
    "CREATE TABLE object (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, created_at TEXT,"
    " size INTEGER, content_type TEXT, etag TEXT, deleted INTEGER DEFAULT 0,"
    " storage_policy_index INTEGER DEFAULT 0)",
    "CREATE INDEX ix_object_deleted_name ON object (deleted, name)",
    "CREATE TRIGGER object_update BEFORE UPDATE ON object BEGIN"
    " SELECT RAISE(FAIL, 'UPDATE not allowed; DELETE and INSERT'); END",
    "CREATE TABLE policy_stat (storage_policy_index INTEGER PRIMARY KEY,"
    " object_count INTEGER DEFAULT 0, bytes_used INTEGER DEFAULT 0)",
    f"CREATE TABLE container_info ({', '.join(f'{name} {kind}' for name, kind in _OWN_COLUMNS.items())})",
    "CREATE TRIGGER object_insert_policy_stat AFTER INSERT ON object BEGIN"
    " INSERT OR IGNORE INTO policy_stat (storage_policy_index) VALUES (new.storage_policy_index);"
    " UPDATE policy_stat SET object_count = object_count + (1 - new.deleted),"
    " bytes_used = bytes_used + new.size WHERE storage_policy_index = new.storage_policy_index;"
    " UPDATE container_info SET hash = chexor(hash, new.name, new.created_at); END",
    "CREATE TRIGGER object_delete_policy_stat AFTER DELETE ON object BEGIN"
    " UPDATE policy_stat SET object_count = object_count - (1 - old.deleted),"
    " bytes_used = bytes_used - old.size WHERE storage_policy_index = old.storage_policy_index;"
    " UPDATE container_info SET hash = chexor(hash, old.name, old.created_at); END",
    f"CREATE VIEW container_stat AS SELECT {', '.join(f'own.{name}' for name in _OWN_COLUMNS)},"
    " coalesce(counted.object_count, 0) AS object_count, coalesce(counted.bytes_used, 0) AS bytes_used"
    " FROM container_info own LEFT JOIN policy_stat counted"
    " ON own.storage_policy_index = counted.storage_policy_index",
    "CREATE TRIGGER container_stat_update INSTEAD OF UPDATE ON container_stat BEGIN"
    f" UPDATE container_info SET {', '.join(f'{name} = new.{name}' for name in _OWN_COLUMNS)}; END",
    "CREATE TABLE shard_range (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, timestamp TEXT,"
    " lower TEXT, upper TEXT, object_count INTEGER DEFAULT 0, bytes_used INTEGER DEFAULT 0,"
    " meta_timestamp TEXT, deleted INTEGER DEFAULT 0, state INTEGER, state_timestamp TEXT, epoch TEXT,"
    " reported INTEGER DEFAULT 0, tombstones INTEGER DEFAULT -1)",
    "CREATE TRIGGER shard_range_update BEFORE UPDATE ON shard_range BEGIN"
    " SELECT RAISE(FAIL, 'UPDATE not allowed; DELETE and INSERT'); END",
)


class ContainerBroker(DatabaseBroker[ObjectRow]):
    """One container's database."""

    kind: ClassVar[str] = "container"
    info_columns: ClassVar[tuple[str, ...]] = (*_OWN_COLUMNS, "object_count", "bytes_used")
    rows_table: ClassVar[str] = "object"
    deleted_at: ClassVar[str] = "created_at"
    row_columns: ClassVar[tuple[str, ...]] = ObjectRow._fields[:7]
    stat_table: ClassVar[str] = "container_info"
    schema: ClassVar[tuple[str, ...]] = SCHEMA
    kept_at_deletion: ClassVar[frozenset[str]] = frozenset(
        f"x-container-sysmeta-{name}" for name in ("shard-quoted-root", "shard-root", "sharding")
    )

    @staticmethod
    def make_row(values: Sequence[Any]) -> ObjectRow:
        return ObjectRow.checked(values)

    @staticmethod
    def row_of_json(item: Any) -> ObjectRow:
        return ObjectRow.of_json(item)

    @staticmethod
    def is_deleted_info(info: Mapping[str, Any]) -> bool:
        return not int(info["object_count"] or 0) and number_of(info["delete_timestamp"]) > number_of(
            info["put_timestamp"]
        )

    # --- the container ------------------------------------------------------------------------------

    def initialize(
        self, account: str, container: str, timestamp: Timestamp, policy_index: int, metadata: Metadata
    ) -> None:
        """Make the database of a container put at `timestamp`. Raises DatabaseExists."""

        def build(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO policy_stat (storage_policy_index) VALUES (?)", (policy_index,))
            put_at = timestamp.internal
            connection.execute(
                "INSERT INTO container_info (account, container, created_at, id, put_timestamp,"
                " status_changed_at, storage_policy_index, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (account, container, Timestamp.now().internal, self.new_id(), put_at, put_at, policy_index,
                 json.dumps(metadata) if metadata else ""),
            )  # fmt: skip

        self.create(build)

    def put(
        self,
        timestamp: Timestamp,
        metadata: Metadata,
        limits: MetadataLimits,
        *,
        policy_index: int,
        is_policy_required: bool,
    ) -> bool:
        """Put an existing container again; True if it was deleted and lives now.

        Raises OtherPolicy when a living container is not of the required policy, NewerExists when it
        was deleted later than `timestamp`, and MetadataRefused.
        """
        self.merge_pending()

        def change(connection: sqlite3.Connection) -> bool:
            info = self.load_info(connection)
            was_deleted = self.is_deleted_info(info)
            if was_deleted:
                self._revive(connection, info, timestamp, policy_index)
            elif is_policy_required and policy_index != info["storage_policy_index"]:
                raise OtherPolicy(info["storage_policy_index"])
            self._merge_own(connection, timestamp, metadata, limits)
            return was_deleted

        return self.write(change)

    def _revive(
        self, connection: sqlite3.Connection, info: Info, timestamp: Timestamp, policy_index: int
    ) -> None:
        if timestamp <= number_of(info["delete_timestamp"]):
            raise NewerExists(info["delete_timestamp"])
        # Only now can a container change its policy: it has no objects.
        connection.execute(
            "INSERT OR IGNORE INTO policy_stat (storage_policy_index) VALUES (?)", (policy_index,)
        )
        connection.execute(
            "UPDATE container_info SET storage_policy_index = ?, status = '',"
            " status_changed_at = max(?, status_changed_at)",
            (policy_index, timestamp.internal),
        )

    def post(self, timestamp: Timestamp | None, metadata: Metadata, limits: MetadataLimits) -> None:
        """Change metadata, and the put stamp unless `timestamp` is None. Raises MetadataRefused."""
        self.write(lambda connection: self._merge_own(connection, timestamp, metadata, limits))

    def _merge_own(
        self,
        connection: sqlite3.Connection,
        timestamp: Timestamp | None,
        metadata: Metadata,
        limits: MetadataLimits,
    ) -> None:
        if timestamp is not None:
            at = timestamp.internal
            connection.execute(
                "UPDATE container_info SET put_timestamp = ? WHERE put_timestamp < ?", (at, at)
            )
        if "X-Container-Sync-To" in metadata:
            self._restart_sync(connection, metadata["X-Container-Sync-To"][0])
        self.merge_metadata(connection, metadata, limits)

    def _restart_sync(self, connection: sqlite3.Connection, sync_to: str) -> None:
        if self.stored_metadata(connection).get("X-Container-Sync-To", ("", ""))[0] != sync_to:
            connection.execute(
                "UPDATE container_info SET x_container_sync_point1 = -1, x_container_sync_point2 = -1"
            )

    def delete(self, timestamp: Timestamp) -> bool:
        """Delete the container; False if it was deleted already. Raises NotEmpty or NewerExists."""
        self.merge_pending()

        def change(connection: sqlite3.Connection) -> bool:
            if connection.execute("SELECT max(object_count) FROM policy_stat").fetchone()[0]:
                raise NotEmpty(self.db_file)
            info = self.load_info(connection)
            put_at = number_of(info["put_timestamp"])
            if timestamp <= put_at:
                raise NewerExists(info["put_timestamp"])
            self.mark_deleted(connection, timestamp)
            return bool(put_at) and not self.is_deleted_info(info)

        return self.write(change)

    def reported(self, put_timestamp: str, delete_timestamp: str, object_count: int, bytes_used: int) -> None:
        """Note what the account servers have been told."""
        self.write(
            lambda connection: connection.execute(
                "UPDATE container_info SET reported_put_timestamp = ?, reported_delete_timestamp = ?,"
                " reported_object_count = ?, reported_bytes_used = ?",
                (put_timestamp, delete_timestamp, object_count, bytes_used),
            )
        )

    def set_policy(self, policy_index: int, timestamp: Timestamp) -> None:
        """Take over the policy that a replica has."""

        def change(connection: sqlite3.Connection) -> None:
            info = self.load_info(connection)
            connection.execute(
                "INSERT OR IGNORE INTO policy_stat (storage_policy_index) VALUES (?)", (policy_index,)
            )
            connection.execute(
                "UPDATE container_info SET storage_policy_index = ?, status_changed_at = ?",
                (policy_index, max(timestamp.internal, info["status_changed_at"])),
            )

        self.write(change)

    # --- objects ------------------------------------------------------------------------------------

    def merge_row(self, connection: sqlite3.Connection, row: ObjectRow) -> None:
        found = connection.execute(
            "SELECT ROWID, name, created_at, size, content_type, etag, deleted, storage_policy_index"
            " FROM object WHERE deleted IN (0, 1) AND name = ? AND storage_policy_index = ?",
            (row.name, row.storage_policy_index),
        ).fetchone()
        stored = merged(row, ObjectRow(*found[1:]) if found else None)
        if stored is None:
            return
        if found:
            connection.execute("DELETE FROM object WHERE ROWID = ?", found[:1])
        connection.execute(
            "INSERT INTO object (name, created_at, size, content_type, etag, deleted, storage_policy_index)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            stored[:7],
        )

    def list_objects(self, query: listing.Query, policy_index: int) -> listing.Entries:
        """Rows of (name, encoded times, size, content type, etag), and folders, of one policy."""

        def entries(connection: sqlite3.Connection) -> listing.Entries:
            def select(span: listing.Span, limit: int) -> sqlite3.Cursor:
                conditions, arguments = span.conditions()
                return connection.execute(
                    "SELECT name, created_at, size, content_type, etag FROM object"
                    f" WHERE deleted = 0 AND storage_policy_index = ?{conditions}"
                    f" ORDER BY {span.order} LIMIT ?",
                    (policy_index, *arguments, limit),
                )

            return listing.entries_of(query, select)

        return self.read(entries)
