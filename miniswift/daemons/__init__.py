"""Daemons: what works on the devices in the background, pass after pass.

1. A pass may be cut off at any moment, by SIGTERM or by SIGKILL, and loses nothing: each daemon's steps
   are atomic, and the next pass finds what was left.
2. One line a pass in the log, and only if there was something to do; a pass that fails is logged with its
   traceback and the daemon goes on.
3. A pass that takes long says from time to time how far it is.

Not here: which daemons there are, and their commands (daemons.commands).
"""

from __future__ import annotations

import abc
import contextlib
import logging
import signal
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

from miniswift import recon_cache
from miniswift.concurrency import Event, GreenPool, Timeout, spawn, trampoline
from miniswift.supervisor import signal_pipe

logger = logging.getLogger(__name__)


class Daemon(abc.ABC):
    """Something that is done again and again. Times in seconds."""

    name: ClassVar[str]
    # A pass that takes long is followed by a pause this many times as long: work in the background
    # stays in the background, however much there is to look through.
    rest_factor: ClassVar[float] = 10.0
    progress_interval_s = 60.0  # between two lines of progress

    def __init__(self, interval_s: float, recon_folder: str = "") -> None:
        self.interval_s = interval_s
        self._recon_folder = recon_folder  # where `stats` are noted; nowhere when empty
        self.is_stopping = False  # a pass under way ends at its next step
        self._next_progress = 0.0

    @abc.abstractmethod
    def run_once(self) -> str:
        """One pass; what was done in a few words, empty if nothing was."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what is held open."""

    def stats(self, took_s: float) -> dict[str, dict[str, object]]:
        """What /recon tells of the last pass: server → names of Swift's and values."""
        return {}

    def progress(self, message: str, *values: object) -> None:
        """Say how far a pass is, unless that was said a moment ago."""
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + self.progress_interval_s
            logger.info(f"%s: {message}", self.name, *values)

    def run_forever(self) -> None:
        """Pass after pass until SIGTERM."""
        run_forever([self])

    def run_logged(self) -> bool:
        """One pass and its line in the log; False if it failed."""
        started = time.monotonic()
        self._next_progress = started + self.progress_interval_s
        try:
            done = self.run_once()
        except Exception:
            logger.exception("a pass of the %s failed", self.name)
            return False
        took_s = time.monotonic() - started
        if done:
            logger.info("%s: %s in %.2f s", self.name, done, took_s)
        if self._recon_folder:
            for server, values in self.stats(took_s).items():
                recon_cache.dump(self._recon_folder, server, values)
        return True

    def _repeat(self, stopped: Event) -> None:
        while not self.is_stopping:
            started = time.monotonic()
            self.run_logged()
            took_s = time.monotonic() - started
            with Timeout(max(self.interval_s, took_s * self.rest_factor), False):
                stopped.wait()


def run_forever(daemons: Sequence[Daemon]) -> None:
    """Pass after pass of each until SIGTERM; passes under way then stop at their next step."""
    with _stopped_by(signal.SIGTERM, daemons) as stopped:
        pool = GreenPool()
        for daemon in daemons:
            pool.spawn_n(daemon._repeat, stopped)
        pool.waitall()


def run_once(daemons: Sequence[Daemon]) -> bool:
    """A pass of each, one after the other, cut short by SIGTERM; False if one failed."""
    with _stopped_by(signal.SIGTERM, daemons):
        done = [daemon.run_logged() for daemon in daemons if not daemon.is_stopping]
    return all(done)


@contextlib.contextmanager
def _stopped_by(number: signal.Signals, daemons: Sequence[Daemon]) -> Iterator[Event]:
    """Tell the daemons to stop when the signal comes, and close them at the end."""
    stopped = Event()
    terminations = signal_pipe(number)

    def watch() -> None:
        trampoline(terminations, read=True)
        for daemon in daemons:
            daemon.is_stopping = True
        stopped.send(None)

    spawn(watch)
    try:
        yield stopped
    finally:
        for daemon in daemons:
            daemon.close()
