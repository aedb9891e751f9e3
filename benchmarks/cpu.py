"""The CPU time of a server: all its processes, user and kernel, ended children included.

1. The kernel counts in clock ticks (usually 10 ms a process): measure over seconds, not over a request.
2. What a server puts off (databases merged later, updates in the background) belongs to the requests that
   caused it: the measurement goes on for AFTER_S.
3. What a server burns without any request belongs to none: it is measured first and taken off.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from tests.functional.processes import stat_fields

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
UTIME, CSTIME = 11, 14  # utime, stime, cutime, cstime: fields 14 to 17 of proc(5)

IDLE_S = 3.0
AFTER_S = 1.0


def spent_s(pids: list[int]) -> float:
    """CPU seconds spent by these processes and by those of their children that have ended."""
    ticks = sum(int(field) for pid in pids for field in stat_fields(pid)[UTIME : CSTIME + 1])
    return ticks / TICKS_PER_S


class Meter:
    """Measures the processes that `pids` names at the time."""

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids
        time.sleep(AFTER_S)  # let the start end
        before = spent_s(pids())
        time.sleep(IDLE_S)
        self.idle_rate = (spent_s(pids()) - before) / IDLE_S  # CPU seconds per second

    def start(self) -> None:
        time.sleep(AFTER_S)
        self._before = spent_s(self._pids())

    def stop(self) -> float:
        """CPU seconds since start, with what was put off, without what idleness costs."""
        time.sleep(AFTER_S)
        return max(0.0, spent_s(self._pids()) - self._before - AFTER_S * self.idle_rate)
