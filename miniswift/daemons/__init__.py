"""Daemons: what works on the devices in the background, pass after pass.

1. A pass may be cut off at any moment, by SIGTERM or by SIGKILL, and loses nothing: each daemon's steps
   are atomic, and the next pass finds what was left.
2. One line a pass in the log, and only if there was something to do; a pass that fails is logged with its
   traceback and the daemon goes on.
"""

from __future__ import annotations

import abc
import logging
import signal
import time
from typing import ClassVar

from miniswift.concurrency import Event, Timeout, spawn, trampoline
from miniswift.supervisor import signal_pipe

logger = logging.getLogger(__name__)


class Daemon(abc.ABC):
    """Something that is done again and again. Times in seconds."""

    name: ClassVar[str]
    # A pass that takes long is followed by a pause this many times as long: work in the background
    # stays in the background, however much there is to look through.
    rest_factor: ClassVar[float] = 10.0

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self.is_stopping = False

    @abc.abstractmethod
    def run_once(self) -> str:
        """One pass; what was done in a few words, empty if nothing was."""

    def run_forever(self) -> None:
        """Pass after pass until SIGTERM; a pass under way then stops at its next step."""
        stopped = Event()
        terminations = signal_pipe(signal.SIGTERM)

        def watch() -> None:
            trampoline(terminations, read=True)
            self.is_stopping = True
            stopped.send(None)

        spawn(watch)
        while not self.is_stopping:
            started = time.monotonic()
            self._run_logged()
            took_s = time.monotonic() - started
            with Timeout(max(self.interval_s, took_s * self.rest_factor), False):
                stopped.wait()

    def _run_logged(self) -> None:
        started = time.monotonic()
        try:
            done = self.run_once()
        except Exception:
            logger.exception("a pass of the %s failed", self.name)
            return
        if done:
            logger.info("%s: %s in %.2f s", self.name, done, time.monotonic() - started)
