"""A pace: so many things a second on average, however they come."""

from __future__ import annotations

import time
from collections.abc import Callable

from miniswift.concurrency import pause, sleep


class Pace:
    """Makes its caller wait, and others run meanwhile, or tells it no; `per_second` 0 is no limit.

    Idleness of up to `buffer_s` seconds may be made up for by hurrying.
    """

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = sleep,
        buffer_s: float = 1.0,
    ) -> None:
        self.per_second = per_second
        self.buffer_s = buffer_s
        self._clock = clock
        self._sleep = sleep
        self._due = clock()  # when the next thing may be done

    def wait(self, amount: float = 1) -> None:
        """Wait until what was asked for before is paid for, and ask for `amount` more."""
        ahead_s = self._ahead_s()
        if ahead_s > 0:
            self._sleep(ahead_s)
        else:
            pause()
        self._take(amount)

    def allows(self, amount: float = 1) -> bool:
        """Whether `amount` may be done now; if so, it counts as done."""
        if self._ahead_s() > 0:
            return False
        self._take(amount)
        return True

    def _ahead_s(self) -> float:
        """How many seconds too early the next thing would be."""
        if not self.per_second:
            return 0
        now = self._clock()
        self._due = max(self._due, now - self.buffer_s)
        return self._due - now

    def _take(self, amount: float) -> None:
        if self.per_second:
            self._due += amount / self.per_second
