"""Account databases: the containers of an account and their totals.

`account_stat` holds the account's own row with the totals, `policy_stat` the same per storage policy;
triggers keep both as container rows come and go.

1. A container's row keeps the newest put and delete stamps that were reported, with the counts of the
   last report; it is deleted when its delete stamp is above its put stamp and it has no objects.
2. An account whose status is DELETED is deleted whatever it still holds; the reaper empties it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from miniswift.errors import TimestampError
from miniswift.storage import listing
from miniswift.storage.broker import DatabaseBroker, number_of
from miniswift.storage.metadata import Metadata, MetadataLimits
from miniswift.storage.object_rows import check_name, whole_number
from miniswift.timestamp import Timestamp


class ContainerRow(NamedTuple):
    """What a container reported, its fields in the order of pending tuples; None: nothing about that."""

    name: str
    put_timestamp: str | None
    delete_timestamp: str | None
    object_count: int | None
    bytes_used: int | None
    deleted: int = 0  # see marked()
    storage_policy_index: int = 0

    @classmethod
    def checked(cls, values: Sequence[Any]) -> ContainerRow:
        """A row of values from a file or the network. Raises ValueError when they are none."""
        if not 6 <= len(values) <= 7:
            raise ValueError(f"a row of {len(values)} values")
        row = cls(*values)
        check_name(row.name)
        for stamp in (row.put_timestamp, row.delete_timestamp):
            if stamp is not None:
                _check_stamp(stamp)
        return row._replace(
            object_count=None if row.object_count is None else whole_number(row.object_count),
            bytes_used=None if row.bytes_used is None else whole_number(row.bytes_used),
            storage_policy_index=whole_number(row.storage_policy_index),
        ).marked()

    @classmethod
    def of_json(cls, item: Any) -> ContainerRow:
        """A row of a JSON object with these names. Raises ValueError."""
        if not isinstance(item, dict) or "name" not in item:
            raise ValueError("a row is no object with a name")
        return cls.checked([*map(item.get, cls._fields[:6]), item.get("storage_policy_index", 0)])

    def marked(self) -> ContainerRow:
        """The row with `deleted` as its stamps and count say."""
        is_deleted = not self.object_count and number_of(self.delete_timestamp) > number_of(
            self.put_timestamp
        )
        return self._replace(deleted=int(is_deleted))


def _check_stamp(stamp: Any) -> None:
    try:
        Timestamp.parse(stamp)
    except (TimestampError, TypeError):
        raise ValueError(f"{stamp!r} is no timestamp") from None


# What the row triggers do to the totals: (event, the row's name there, sign).
_EVENTS = (("insert", "new", "+"), ("delete", "old", "-"))

_TOTALS = (
    "container_count = container_count {sign} (1 - {row}.deleted),"
    " object_count = object_count {sign} {row}.object_count,"
    " bytes_used = bytes_used {sign} {row}.bytes_used"
)
_HASHED = (
    "{row}.put_timestamp || '-' || {row}.delete_timestamp || '-' || {row}.object_count"
    " || '-' || {row}.bytes_used"
)
_POLICY_ROW = " INSERT OR IGNORE INTO policy_stat (storage_policy_index) VALUES (new.storage_policy_index);"

_OWN_COLUMNS = {
    "account": "TEXT",
    "created_at": "TEXT",
    "put_timestamp": "TEXT DEFAULT '0'",
    "delete_timestamp": "TEXT DEFAULT '0'",
    "container_count": "INTEGER",
    "object_count": "INTEGER DEFAULT 0",
    "bytes_used": "INTEGER DEFAULT 0",
    "hash": f"TEXT DEFAULT '{'0' * 32}'",
    "id": "TEXT",
    "status": "TEXT DEFAULT ''",
    "status_changed_at": "TEXT DEFAULT '0'",
    "metadata": "TEXT DEFAULT ''",
}

SCHEMA = (
    "CREATE TABLE container (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, put_timestamp TEXT,"
    " delete_timestamp TEXT, object_count INTEGER, bytes_used INTEGER, deleted INTEGER DEFAULT 0,"
    " storage_policy_index INTEGER DEFAULT 0)",
    "CREATE INDEX ix_container_deleted_name ON container (deleted, name)",
    f"CREATE TABLE account_stat ({', '.join(f'{name} {kind}' for name, kind in _OWN_COLUMNS.items())})",
    "CREATE TABLE policy_stat (storage_policy_index INTEGER PRIMARY KEY, container_count INTEGER DEFAULT 0,"
    " object_count INTEGER DEFAULT 0, bytes_used INTEGER DEFAULT 0)",
    "CREATE TRIGGER container_update BEFORE UPDATE ON container BEGIN"
    " SELECT RAISE(FAIL, 'UPDATE not allowed; DELETE and INSERT'); END",
    *(
        f"CREATE TRIGGER container_{event} AFTER {event} ON container BEGIN"
        f" UPDATE account_stat SET {_TOTALS.format(row=row, sign=sign)},"
        f" hash = chexor(hash, {row}.name, {_HASHED.format(row=row)}); END"
        for event, row, sign in _EVENTS
    ),
    *(
        f"CREATE TRIGGER container_{event}_ps AFTER {event} ON container BEGIN"
        f"{_POLICY_ROW if event == 'insert' else ''}"
        f" UPDATE policy_stat SET {_TOTALS.format(row=row, sign=sign)}"
        f" WHERE storage_policy_index = {row}.storage_policy_index; END"
        for event, row, sign in _EVENTS
    ),
)


class AccountBroker(DatabaseBroker[ContainerRow]):
    """One account's database."""

    kind: ClassVar[str] = "account"
    info_columns: ClassVar[tuple[str, ...]] = tuple(_OWN_COLUMNS)
    rows_table: ClassVar[str] = "container"
    deleted_at: ClassVar[str] = "delete_timestamp"
    row_columns: ClassVar[tuple[str, ...]] = ContainerRow._fields[:7]
    stat_table: ClassVar[str] = "account_stat"
    schema: ClassVar[tuple[str, ...]] = SCHEMA

    @staticmethod
    def make_row(values: Sequence[Any]) -> ContainerRow:
        return ContainerRow.checked(values)

    @staticmethod
    def row_of_json(item: Any) -> ContainerRow:
        return ContainerRow.of_json(item)

    @staticmethod
    def is_deleted_info(info: Mapping[str, Any]) -> bool:
        return info["status"] == "DELETED" or (
            not int(info["container_count"] or 0)
            and number_of(info["delete_timestamp"]) > number_of(info["put_timestamp"])
        )

    @staticmethod
    def is_marked_deleted(info: Mapping[str, Any]) -> bool:
        """Whether somebody deleted it, whatever it still holds."""
        return bool(info["status"] == "DELETED" or info["delete_timestamp"] > info["put_timestamp"])

    # --- the account --------------------------------------------------------------------------------

    def initialize(self, account: str, timestamp: Timestamp, metadata: Metadata) -> None:
        """Make the database of an account put at `timestamp`. Raises DatabaseExists."""

        def build(connection: sqlite3.Connection) -> None:
            put_at = timestamp.internal
            connection.execute(
                "INSERT INTO account_stat (account, created_at, id, put_timestamp, status_changed_at,"
                " container_count, metadata) VALUES (?, ?, ?, ?, ?, 0, ?)",
                (account, Timestamp.now().internal, self.new_id(), put_at, put_at,
                 json.dumps(metadata) if metadata else ""),
            )  # fmt: skip

        self.create(build)

    def put(self, timestamp: Timestamp, metadata: Metadata, limits: MetadataLimits) -> bool:
        """Put an existing account again; False, and nothing done, when it is marked deleted.

        Raises MetadataRefused.
        """

        def change(connection: sqlite3.Connection) -> bool:
            if self.is_marked_deleted(self.load_info(connection)):
                return False
            at = timestamp.internal
            connection.execute("UPDATE account_stat SET put_timestamp = ? WHERE put_timestamp < ?", (at, at))
            self.merge_metadata(connection, metadata, limits)
            return True

        return self.write(change)

    def delete(self, timestamp: Timestamp) -> None:
        """Mark the account deleted, containers or not."""
        self.write(lambda connection: self.mark_deleted(connection, timestamp))

    def get_policy_stats(self) -> list[tuple[int, int, int, int]]:
        """(policy index, containers, objects, bytes) of every policy that a container had."""

        def query(connection: sqlite3.Connection) -> list[tuple[int, int, int, int]]:
            return connection.execute(
                "SELECT storage_policy_index, container_count, object_count, bytes_used FROM policy_stat"
            ).fetchall()

        return self.read(query)

    # --- containers ---------------------------------------------------------------------------------

    def merge_row(self, connection: sqlite3.Connection, row: ContainerRow) -> None:
        # A name has one row, whatever its policy.
        found = connection.execute(
            "SELECT ROWID, name, put_timestamp, delete_timestamp, object_count, bytes_used"
            " FROM container WHERE deleted IN (0, 1) AND name = ?",
            (row.name,),
        ).fetchone()
        stored = merged(row, ContainerRow(*found[1:]) if found else None)
        if found:
            connection.execute("DELETE FROM container WHERE ROWID = ?", found[:1])
        connection.execute(
            "INSERT INTO container (name, put_timestamp, delete_timestamp, object_count, bytes_used, deleted,"
            " storage_policy_index) VALUES (?, ?, ?, ?, ?, ?, ?)",
            stored,
        )

    def list_containers(self, query: listing.Query) -> listing.Entries:
        """Rows of (name, objects, bytes, put timestamp, policy index), and folders."""

        def entries(connection: sqlite3.Connection) -> listing.Entries:
            def select(span: listing.Span, limit: int) -> sqlite3.Cursor:
                conditions, arguments = span.conditions()
                return connection.execute(
                    "SELECT name, object_count, bytes_used, put_timestamp, storage_policy_index"
                    f" FROM container WHERE deleted = 0{conditions} ORDER BY {span.order} LIMIT ?",
                    (*arguments, limit),
                )

            return listing.entries_of(query, select)

        return self.read(entries)


def merged(row: ContainerRow, existing: ContainerRow | None) -> ContainerRow:
    """The row to store: the newest stamps of both, the counts of the later report."""
    put_at, delete_at = row.put_timestamp, row.delete_timestamp
    objects, size = row.object_count, row.bytes_used
    if existing is not None:
        put_at = _newest(put_at, existing.put_timestamp)
        delete_at = _newest(delete_at, existing.delete_timestamp)
        objects = existing.object_count if objects is None else objects
        size = existing.bytes_used if size is None else size
    return ContainerRow(
        row.name,
        put_at or "0",
        delete_at or "0",
        objects or 0,
        size or 0,
        storage_policy_index=row.storage_policy_index,
    ).marked()


def _newest(reported: str | None, stored: str | None) -> str | None:
    # Of equal ones the reported stands, spelled as it came: replicas hash the text.
    return stored if reported is None or number_of(stored) > number_of(reported) else reported
