"""Logins: passwords checked slowly, a few at a time, and not for ever.

A check costs tens of milliseconds of a core (passwords), so
- a password that was right a moment ago is remembered, under a hash keyed with a secret of this
  process, for a minute: programs that log in for every command do not pay each time;
- only a few checks run at a time, the rest wait in line, and a line that is too long is refused.

1. Passwords are never kept. What is remembered dies with the password hash it was right for.
2. After so many failures of one user from one address within the window, all further attempts are
   refused unchecked until the window ends. The counts are in the token database: all workers share them.
3. An unknown user costs the same time as a wrong password, and answers the same.

The address is the connection's: behind a reverse proxy that is the proxy's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable

from miniswift.concurrency import Semaphore, in_native_thread
from miniswift.identity import passwords
from miniswift.identity.database import Database
from miniswift.identity.faults import TooManyRequests, Unavailable

SCHEMA = (
    """
CREATE TABLE failed_logins (
    who BLOB PRIMARY KEY,           -- hash of user and address
    failures INTEGER NOT NULL,
    window_ends INTEGER NOT NULL    -- Unix seconds
) WITHOUT ROWID
""",
)

_AT_A_TIME = 2  # checks that run at once in this process: each takes a core and 16 MiB
_MAX_WAITING = 100  # about three seconds of checks
_REMEMBERED_S = 60
_MAX_REMEMBERED = 1024

# What an unknown user's password is checked against: the cost of a real check, never right.
_NOBODY = passwords.impossible_hash()


class Logins:
    """Checks passwords."""

    def __init__(
        self,
        database: Database,
        max_failures: int,
        window_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._max_failures = max_failures
        self._window_s = window_s
        self._clock = clock
        self._gate = Semaphore(_AT_A_TIME)
        self._waiting = 0
        self._key = os.urandom(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()  # keyed hash → forget after

    def check(self, who: str, address: str, password: str, hashed: str | None) -> bool:
        """Whether the password of `who` (any text that stands for the user) is right.

        `hashed` is None for a user who does not exist. Raises TooManyRequests and Unavailable.
        """
        memory = self._keyed_hash(password, hashed or _NOBODY)
        if self._remembers(memory):
            return True
        if self._waiting >= _MAX_WAITING:
            raise Unavailable("Too many logins at once; try again.")
        self._waiting += 1
        try:
            with self._gate:
                # Another request may have had the same password checked while this one waited.
                return self._remembers(memory) or self._check(who, address, password, hashed, memory)
        finally:
            self._waiting -= 1

    def _check(self, who: str, address: str, password: str, hashed: str | None, memory: bytes) -> bool:
        key = hashlib.sha256(f"{address}\0{who}".encode()).digest()
        failures = self._recent_failures(key)
        is_right = in_native_thread(passwords.verify, password, hashed or _NOBODY) and hashed is not None
        if is_right:
            self._remember(memory)
            if failures:
                self._database.write(("DELETE FROM failed_logins WHERE who = ?", (key,)))
        else:
            self._count_failure(key)
        return is_right

    def _recent_failures(self, key: bytes) -> int:
        now = int(self._clock())
        rows = self._database.read("SELECT failures, window_ends FROM failed_logins WHERE who = ?", key)
        if not rows or rows[0][1] <= now:
            return 0
        failures, window_ends = rows[0]
        if failures >= self._max_failures:
            raise TooManyRequests(window_ends - now)
        return int(failures)

    def _count_failure(self, key: bytes) -> None:
        now = int(self._clock())
        self._database.write(
            ("DELETE FROM failed_logins WHERE window_ends <= ?", (now,)),
            (
                "INSERT INTO failed_logins (who, failures, window_ends) VALUES (?, 1, ?)"
                " ON CONFLICT (who) DO UPDATE SET failures = failures + 1",
                (key, now + self._window_s),
            ),
        )

    def _keyed_hash(self, password: str, hashed: str) -> bytes:
        return hmac.digest(self._key, f"{hashed}\0{password}".encode(), "sha256")

    def _remembers(self, memory: bytes) -> bool:
        forget_after = self._remembered.get(memory)
        return forget_after is not None and self._clock() < forget_after

    def _remember(self, memory: bytes) -> None:
        self._remembered[memory] = self._clock() + _REMEMBERED_S
        self._remembered.move_to_end(memory)
        if len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)
