"""Programs under test as processes: started, watched, stopped and killed by their own ids.

1. Whatever `Program` starts ends with it: `stop` and `kill_9` return when no process of its tree is left.
2. Nothing waits by the clock: `wait_until` asks a condition again and again, and gives up aloud.
3. Ports come from below the kernel's ephemeral range, so no client's connection takes one that was found
   free before the server binds it.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self  # typing.Self is Python 3.11's

T = TypeVar("T")

POLL_S = 0.02
PORTS = range(20000, 32000)


class NeverHappened(AssertionError):
    """Raised when a condition did not come true in its time."""


def wait_until(condition: Callable[[], T], timeout_s: float = 20, what: str = "the condition") -> T:
    """Return the first true answer of `condition`. Raises NeverHappened after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise NeverHappened(f"waited {timeout_s} s for {what}")
        time.sleep(POLL_S)
    return answer


def free_ports(count: int = 1) -> int:
    """The first of `count` consecutive TCP ports of the loopback address that nobody listens on."""
    while True:
        first = random.choice(PORTS)
        if all(is_free(port) for port in range(first, first + count)):
            return first


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether somebody answers on the port."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state (field 3 of proc(5)) on; empty when it is gone."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The name before it stands in parentheses and may itself hold spaces and parentheses.
    return line.rpartition(")")[2].split()


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than a zombie that waits for its parent."""
    return (stat_fields(pid) or "Z")[0] not in ("Z", "X")


def process_tree(root: int) -> list[int]:
    """`root` and all its living descendants, parents before children."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (fields := stat_fields(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    tree = [root]
    for pid in tree:  # grows while we walk it
        tree += children.get(pid, [])
    return tree


def kill_tree(root: int) -> list[int]:
    """SIGKILL to `root` and all its descendants, which are returned."""
    send(signal.SIGSTOP, [root])  # so that it starts no new one while we look
    tree = process_tree(root)
    send(signal.SIGKILL, tree)
    return tree


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class Program:
    """A child process with its own descendants and a log file that takes what it prints."""

    running: ClassVar[set[Program]] = set()  # those whose logs may tell why a test failed

    def __init__(self, command: Sequence[str | Path], log: Path, environ: dict[str, str] | None = None):
        self.command = [str(word) for word in command]
        self.log = log
        self.environ = environ
        self._child: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{' '.join(self.command)}>"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self} was not started"
        return self._child.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environ
            )
        self.running.add(self)

    def pids(self) -> list[int]:
        """Its processes, itself first."""
        return process_tree(self.pid)

    def workers(self) -> list[int]:
        """Its processes but the first."""
        return self.pids()[1:]

    def is_alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def wait_for(self, condition: Callable[[], T], timeout_s: float, what: str) -> T:
        """As wait_until, but a program that ends meanwhile ends the wait, and the log tells why."""

        def alive_and_met() -> T:
            if not self.is_alive():
                raise NeverHappened(f"{self} ended while waiting for {what}:\n{self.printed()[-4000:]}")
            return condition()

        try:
            return wait_until(alive_and_met, timeout_s, what)
        except NeverHappened as error:
            raise NeverHappened(f"{error}\n{self} printed:\n{self.printed()[-4000:]}") from None

    def printed(self) -> str:
        """What it wrote to standard output and error, in all its starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, timeout_s: float = 30) -> int | None:
        """SIGTERM, wait for the whole tree, SIGKILL what outlives the wait; the exit status."""
        if self._child is None:
            return None
        tree = self.pids() if self.is_alive() else [self._child.pid]
        self._child.terminate()
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        self._end(tree)
        return self._child.returncode

    def wait(self, timeout_s: float = 30) -> int:
        """Its exit status, once it has ended by itself or by a signal already sent."""
        assert self._child is not None
        return self._child.wait(timeout_s)

    def kill_9(self) -> None:
        """SIGKILL to every process of it, at once."""
        self._end(kill_tree(self.pid))

    def _end(self, tree: list[int]) -> None:
        assert self._child is not None
        left = [pid for pid in tree if is_running(pid)]
        send(signal.SIGKILL, left)
        self._child.wait()
        self.running.discard(self)
        wait_until(lambda: not any(map(is_running, tree)), 20, f"the processes {tree} to end")
