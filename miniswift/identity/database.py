"""The token database: one SQLite file shared by all worker processes of the machine.

1. A file of another version of this program is begun anew: whoever held a token logs in again.
2. Nothing is opened before it is needed, and nothing opened before a fork is used after it.
3. A write is durable when it returns: a revoked token stays revoked through a power loss.
4. Writes run in a native thread, each on a connection of its own, so a slow disk stalls one login
   and not the worker.

Not here: the tables' meaning (tokens, logins).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from miniswift.concurrency import in_native_thread
from miniswift.errors import MiniswiftError

Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]

_VERSION = 2  # of the tables, kept in the file
_BUSY_TIMEOUT_S = 5.0  # how long a writer waits for another process's

# Connections from before a fork. SQLite must not close them here: that would touch the parent's locks.
_inherited: list[sqlite3.Connection] = []


class DatabaseError(MiniswiftError):
    """Raised when the token database cannot be read or written."""


class Database:
    """A SQLite file that makes itself and its tables."""

    def __init__(self, path: str, *schemas: Sequence[str]) -> None:
        """`schemas` are SQL statements that make the tables."""
        self.path = path
        self._schema = [statement for schema in schemas for statement in schema]
        self._reader: sqlite3.Connection | None = None
        self._reader_key = (0, 0)  # (process, inode) that the reader was opened for

    def prepare(self) -> None:
        """Make the file and its tables now, to fail early. Raises DatabaseError."""
        with _database_errors(self.path):
            self._connect().close()

    def read(self, sql: str, *values: Any) -> list[Row]:
        with _database_errors(self.path):
            return self._readable().execute(sql, values).fetchall()

    def write(self, *statements: Statement) -> None:
        """Run statements in one transaction."""
        in_native_thread(self._write, statements)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _write(self, statements: Sequence[Statement]) -> None:
        with _database_errors(self.path), contextlib.closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for sql, values in statements:
                connection.execute(sql, values)
            connection.execute("COMMIT")

    def _readable(self) -> sqlite3.Connection:
        try:
            key = (os.getpid(), os.stat(self.path).st_ino)
        except FileNotFoundError:
            key = (0, 0)  # somebody removed it: an empty one takes its place
        if self._reader is not None and self._reader_key == key:
            return self._reader
        if self._reader is not None and self._reader_key[0] != os.getpid():
            _inherited.append(self._reader)
        else:
            self.close()
        self._reader = self._connect()
        self._reader_key = (os.getpid(), os.stat(self.path).st_ino)
        return self._reader

    def _connect(self) -> sqlite3.Connection:
        # SQLite would make the file readable by everybody; its -wal and -shm files take its mode.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if _version_of(connection) != _VERSION:
                self._make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        if _version_of(connection) != _VERSION:  # nobody else was faster
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            drops = [f"DROP TABLE {name}" for (name,) in tables]
            for statement in [*drops, *self._schema, f"PRAGMA user_version = {_VERSION}"]:
                connection.execute(statement)
        connection.execute("COMMIT")


def _version_of(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


@contextlib.contextmanager
def _database_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise DatabaseError(f"{path}: {error}") from error
