"""A pace: so many things a second on average, however they come."""

from __future__ import annotations

import time
from collections.abc import Callable

from miniswift.concurrency import pause, sleep

_MOST_SAVED_S = 1.0  # of idleness may be made up for by hurrying


class Pace:
    """Makes its caller wait, and others run meanwhile; `per_second` 0 is no limit."""

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = sleep,
    ) -> None:
        self._per_second = per_second
        self._clock = clock
        self._sleep = sleep
        self._due = clock()  # when the next thing may be done

    def wait(self, amount: float = 1) -> None:
        """Wait until what was asked for before is paid for, and ask for `amount` more."""
        if not self._per_second:
            pause()
            return
        now = self._clock()
        if self._due > now:
            self._sleep(self._due - now)
        else:
            self._due = max(self._due, now - _MOST_SAVED_S)
            pause()
        self._due += amount / self._per_second
