"""Databases: what account and container databases share.

`<device>/<accounts|containers>/<partition>/<suffix>/<hash>/<hash>.db`, its `.pending` rows and `.lock`.
A broker is made per request and costs nothing: open handles live in the `DatabaseCache` it is given.

1. Who reads sees every row acknowledged before: pending rows are merged first. Only a broker with
   `stale_after_s` gives up waiting for their lock and reads without them.
2. A change is one transaction, committed and synced in a native thread; what raises changes nothing.
3. A locked database is waited for between green threads, for `wait_s` at most, then DatabaseBusy.
4. A malformed database is quarantined and the request that found it fails; the next one finds nothing.

Not here: rows and listings (account_broker, container_broker), replication (database_replication).
"""

from __future__ import annotations

import abc
import functools
import json
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from miniswift.concurrency import in_native_thread, sleep
from miniswift.storage import database_file, pending
from miniswift.storage.database_cache import (
    BrokerError,
    DatabaseBusy,
    DatabaseCache,
    DatabaseMissing,
    DeviceFailed,
)
from miniswift.storage.metadata import Metadata, MetadataLimits
from miniswift.timestamp import Timestamp

logger = logging.getLogger(__name__)

T = TypeVar("T")
Row = TypeVar("Row", bound="tuple[Any, ...]")

_RECLAIMED_AT_ONCE = 1000  # rows: a moment for those who wait for the database
Info = dict[str, Any]


class DatabaseMalformed(BrokerError):
    """Raised when the file is no sound database; one in a folder of its own has been put away."""


SYNC_TABLES = tuple(
    statement
    for table in ("outgoing_sync", "incoming_sync")
    for statement in (
        f"CREATE TABLE {table} (remote_id TEXT UNIQUE, sync_point INTEGER, updated_at TEXT DEFAULT 0)",
        *(
            f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table} BEGIN"
            f" UPDATE {table} SET updated_at = STRFTIME('%s', 'NOW') WHERE ROWID = new.ROWID; END"
            for event in ("insert", "update")
        ),
    )
)


class DatabaseBroker(abc.ABC, Generic[Row]):
    """One database, there or not."""

    kind: ClassVar[str]  # "account" or "container"
    rows_table: ClassVar[str]  # what it lists
    info_columns: ClassVar[tuple[str, ...]]  # of the table or view `<kind>_stat`
    row_columns: ClassVar[tuple[str, ...]]  # of that table, in the order of pending tuples
    stat_table: ClassVar[str]  # the one row about itself
    schema: ClassVar[tuple[str, ...]]
    deleted_at: ClassVar[str]  # the column of `rows_table` that says when a deleted row was deleted
    kept_at_deletion: ClassVar[frozenset[str]] = frozenset()  # metadata names, lower case

    def __init__(
        self,
        db_file: str,
        databases: DatabaseCache,
        *,
        wait_s: float = 10.0,
        stale_after_s: float | None = None,
    ) -> None:
        self.db_file = db_file
        self.folder = os.path.dirname(db_file)
        self.pending_file = db_file + ".pending"
        self._databases = databases
        self._wait_s = wait_s
        self._stale_after_s = stale_after_s

    # --- what a kind of database adds ---------------------------------------------------------------

    @staticmethod
    @abc.abstractmethod
    def make_row(values: Sequence[Any]) -> Row:
        """A row from a pending tuple. Raises ValueError when it is none."""

    @staticmethod
    @abc.abstractmethod
    def row_of_json(item: Any) -> Row:
        """A row from the JSON of a peer. Raises ValueError when it is none."""

    @abc.abstractmethod
    def merge_row(self, connection: sqlite3.Connection, row: Row) -> None:
        """Put `row` in its table unless what is there is newer."""

    @staticmethod
    @abc.abstractmethod
    def is_deleted_info(info: Mapping[str, Any]) -> bool:
        """Whether a database with this information counts as deleted."""

    # --- reading and writing ------------------------------------------------------------------------

    def exists(self) -> bool:
        return os.path.exists(self.db_file)

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What `query` finds, pending rows included. Raises the BrokerErrors."""
        self.merge_pending()
        return self.read_merged(query)

    def read_merged(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """As `read`, without the rows that are pending. Raises the BrokerErrors."""
        return self._attempt(query)

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` as one transaction; it may be run again. Raises the BrokerErrors and its own."""

        def attempt(connection: sqlite3.Connection) -> T:
            result: T = in_native_thread(_transaction, connection, change)
            return result

        return self._attempt(attempt)

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        deadline = time.monotonic() + self._wait_s
        pause_s = 0.001
        while True:
            try:
                with self._databases.open(self.db_file) as connection:
                    return work(connection)
            except sqlite3.DatabaseError as error:
                if "locked" not in str(error):
                    self._fail(error)
                if time.monotonic() > deadline:
                    raise DatabaseBusy(f"{self.db_file} was locked for {self._wait_s} s") from None
            sleep(pause_s)
            pause_s = min(pause_s * 2, 0.05)

    def _fail(self, error: sqlite3.DatabaseError) -> NoReturn:
        text = str(error)
        malformed = ("malformed", "not a database", f"no such table: {self.kind}_")
        if any(sign in text for sign in malformed):
            self._quarantine(text)
        if isinstance(error, sqlite3.OperationalError) and any(
            sign in text for sign in ("disk I/O error", "disk is full", "readonly", "unable to open")
        ):
            raise DeviceFailed(f"{self.db_file}: {text}") from error
        raise error

    def _quarantine(self, reason: str) -> NoReturn:
        self._databases.forget(self.db_file)
        if self.db_file == f"{self.folder}/{os.path.basename(self.folder)}.db":
            database_file.quarantine(self.db_file, reason)
        raise DatabaseMalformed(f"{self.db_file}: {reason}")

    # --- rows ---------------------------------------------------------------------------------------

    def put_row(self, row: Row) -> None:
        """Acknowledge a row: it is in the pending file, or merged. Raises DatabaseMissing."""
        if not os.path.exists(self.db_file):
            raise DatabaseMissing(self.db_file)
        with pending.locked(self.folder, self._wait_s):
            if not pending.append(self.pending_file, tuple(row)):
                self.merge_pending_locked([self.make_row(row)])

    def merge_pending(self) -> None:
        """Bring the pending rows into the database. Raises DatabaseBusy unless stale reads are fine."""
        # Nothing acknowledged is missed: a writer's row is in the file before its answer, and the
        # file is emptied only after the rows were committed.
        if not pending.size(self.pending_file):
            return
        try:
            wait_s = self._wait_s if self._stale_after_s is None else self._stale_after_s
            with pending.locked(self.folder, wait_s):
                self.merge_pending_locked([])
        except DatabaseBusy:
            if self._stale_after_s is None:
                raise

    def merge_pending_locked(self, more: list[Row]) -> None:
        """Merge the pending rows and `more`, with the folder's lock held."""
        rows = pending.load(self.pending_file, self.make_row)
        self.merge_rows(rows + more)
        if pending.size(self.pending_file):
            pending.clear(self.pending_file)

    def merge_rows(self, rows: list[Row]) -> None:
        """Merge rows in one transaction; any order and repetition of merges gives the same rows."""

        def change(connection: sqlite3.Connection) -> None:
            for row in rows:
                self.merge_row(connection, row)

        if rows:
            self.write(change)

    # --- upkeep -------------------------------------------------------------------------------------

    def check(self) -> None:
        """Have SQLite look at all of it, in a native thread. Raises DatabaseMalformed, and quarantines it."""

        def look(connection: sqlite3.Connection) -> str:
            verdict: str = in_native_thread(connection.execute("PRAGMA quick_check(1)").fetchone)[0]
            self.load_info(connection)
            return verdict

        verdict = self.read(look)
        if verdict != "ok":
            self._quarantine(verdict)

    def reclaim(self, before: Timestamp) -> int:
        """Forget the rows of what was deleted before that time; how many they were."""
        which = f"SELECT ROWID FROM {self.rows_table} WHERE deleted = 1 AND {self.deleted_at} < ? LIMIT ?"
        bounds = (before.internal, _RECLAIMED_AT_ONCE)

        def forget(connection: sqlite3.Connection) -> int:
            statement = f"DELETE FROM {self.rows_table} WHERE ROWID IN ({which})"
            return connection.execute(statement, bounds).rowcount

        forgotten = 0
        while self.read(lambda connection: connection.execute(which, bounds).fetchone()):
            forgotten += self.write(forget)
        return forgotten

    # --- the row about itself -----------------------------------------------------------------------

    def create(self, build: Callable[[sqlite3.Connection], None]) -> None:
        """Make the database; `build` fills its tables. Raises DatabaseExists."""

        def build_all(connection: sqlite3.Connection) -> None:
            for statement in SYNC_TABLES + self.schema:
                connection.execute(statement)
            build(connection)

        database_file.create(self.db_file, build_all, self._wait_s)

    def new_id(self) -> str:
        """The name of this copy of the database among its replicas."""
        return f"{uuid.uuid4()}-{os.path.basename(database_file.device_of(self.folder))}"

    def load_info(self, connection: sqlite3.Connection) -> Info:
        """The columns about the database. Quarantines one that has lost them."""
        row = connection.execute(f"SELECT {', '.join(self.info_columns)} FROM {self.kind}_stat").fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"malformed: {self.kind}_stat has no row")
        return dict(zip(self.info_columns, row, strict=True))

    def get_info(self) -> Info:
        """The columns about the database, `metadata` as raw JSON among them."""
        return self.read(self.load_info)

    def is_deleted(self) -> bool:
        """Whether it counts as deleted, or is not there."""
        try:
            info = self.read_merged(self.load_info)
            if info["delete_timestamp"] > info["put_timestamp"]:
                info = self.get_info()  # rows decide, so pending ones count
            return self.is_deleted_info(info)
        except DatabaseMissing:
            return True

    def stored_metadata(self, connection: sqlite3.Connection) -> Metadata:
        """Every item, blanked ones too."""
        row = connection.execute(f"SELECT metadata FROM {self.stat_table}").fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"malformed: {self.stat_table} has no row")
        return load_metadata(row[0])

    def update_metadata(self, updates: Metadata, limits: MetadataLimits | None = None) -> None:
        """Keep the newer of old and new of every item. Raises MetadataRefused beyond `limits`."""
        self.write(lambda connection: self.merge_metadata(connection, updates, limits))

    def merge_metadata(
        self, connection: sqlite3.Connection, updates: Metadata, limits: MetadataLimits | None = None
    ) -> None:
        """`update_metadata` inside a transaction."""
        stored = self.stored_metadata(connection)
        newer = {
            name: item for name, item in updates.items() if name not in stored or item[1] > stored[name][1]
        }
        if not newer:
            return
        stored.update(newer)
        if limits is not None:
            limits.check(stored)
        connection.execute(f"UPDATE {self.stat_table} SET metadata = ?", (json.dumps(stored),))

    def mark_deleted(self, connection: sqlite3.Connection, timestamp: Timestamp) -> None:
        """Blank the metadata and set the marks of deletion, where they are older than `timestamp`."""
        at = timestamp.internal
        stored = self.stored_metadata(connection)
        blanked = {name: ("", at) for name in stored if name.lower() not in self.kept_at_deletion}
        self.merge_metadata(connection, blanked)
        connection.execute(
            f"UPDATE {self.stat_table} SET delete_timestamp = ?, status = 'DELETED', status_changed_at = ?"
            " WHERE delete_timestamp < ?",
            (at, at, at),
        )


def _transaction(connection: sqlite3.Connection, change: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = change(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def load_metadata(text: str | None) -> Metadata:
    """The stored items, blanked ones too. Raises sqlite3.DatabaseError for text that is no such thing."""
    try:
        return {name: (value, at) for name, (value, at) in json.loads(text or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        raise sqlite3.DatabaseError("malformed metadata") from None


@functools.lru_cache(maxsize=4096)
def number_of(timestamp: str | None) -> Timestamp:
    """A stored timestamp for comparing as a number; the default `0` of a column is zero."""
    return Timestamp.parse(timestamp or "0")
