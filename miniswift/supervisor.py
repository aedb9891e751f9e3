"""Processes: a master that only forks and watches, and the workers that serve.

    master ── worker 1 ┐
           ├─ worker 2 ┴─ all accept from the sockets the master bound
           └─ a daemon

1. A child that dies is started again; one that keeps dying at once, with growing pauses.
2. SIGTERM (or SIGINT) to the master is SIGTERM to the children, which finish what they serve; after
   `grace_s` it is SIGKILL. The master ends last, with status 0.
3. No child outlives its master, not even one killed by SIGKILL (prctl(2), PR_SET_PDEATHSIG).
4. The master runs no event loop and no handler: all its signals are blocked and taken one by one from
   sigtimedwait(2), so nothing interrupts it anywhere else.

A child tells that it is ready by SIGRTMIN to the master: real-time signals queue, each with its sender.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import NoReturn

from miniswift.concurrency import (
    GreenPool,
    NativeSocket,
    fork,
    native_sleep,
    restart_hub_after_fork,
    spawn,
    trampoline,
)
from miniswift.errors import ConfigError, MiniswiftError
from miniswift.process_limits import prepare_process
from miniswift.server import Server, ServerSettings
from miniswift.wsgi import WSGIApp

logger = logging.getLogger(__name__)

READY = signal.SIGRTMIN
_STOPPING = (signal.SIGTERM, signal.SIGINT)
_TAKEN = {signal.SIGCHLD, READY, *_STOPPING}
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)

_BIND_PROBLEMS = {
    errno.EADDRINUSE: "is taken by another program: stop that one, or choose another port",
    errno.EACCES: "may only be bound by root: choose a port from 1024 on",
    errno.EADDRNOTAVAIL: "is not an address of this machine",
}


def bind_listener(ip: str, port: int, backlog: int = 4096, timeout_s: float = 0) -> socket.socket:
    """A listening TCP socket, IPv6 if `ip` has a colon. Port 0 takes any free one.

    Tries for `timeout_s` while the port is taken. Raises ConfigError.
    """
    deadline = monotonic() + timeout_s
    while True:
        listener = NativeSocket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
        try:
            # A port whose last connections are still in TIME_WAIT is free for us.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((ip, port))
            listener.listen(backlog)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or monotonic() >= deadline:
                where = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
                problem = _BIND_PROBLEMS.get(error.errno or 0, f"cannot be bound: {error.strerror or error}")
                raise ConfigError(f"{where} {problem}") from None
            native_sleep(0.1)
        else:
            return listener  # type: ignore[no-any-return]


# --- the master ------------------------------------------------------------------------------------


@dataclasses.dataclass
class Child:
    """A process to be kept running. `main` runs in it; when it returns, the process ends with status 0."""

    name: str
    main: Callable[[], None]
    announces_ready: bool = True  # calls `announce_ready`, as serve_forever does
    # The supervisor's:
    pid: int = dataclasses.field(default=0, init=False)  # 0 while it is not running
    is_ready: bool = dataclasses.field(default=False, init=False)
    started: float = dataclasses.field(default=0.0, init=False)
    early_deaths: int = dataclasses.field(default=0, init=False)  # in a row
    start_at: float = dataclasses.field(default=0.0, init=False)


@dataclasses.dataclass
class Supervisor:
    """Keeps children running until it is told to stop. Times in seconds."""

    on_ready: Callable[[], object] | None = None  # called once, when all children have said so
    listeners: Sequence[socket.socket] = ()  # that take no new connection once it is told to stop
    grace_s: float = 30.0  # that children have to end after SIGTERM
    early_s: float = 5.0  # a life shorter than this counts as dying at once
    first_pause_s: float = 0.5  # before the second restart in a row, doubled for each further one
    longest_pause_s: float = 30.0

    def run(self, children: Sequence[Child]) -> int:
        """Start the children and watch them until SIGTERM or SIGINT; the exit status, 0."""
        prepare_process()
        # What is loaded by now stays: no collection in a child need look at it, which is 5 % of a small
        # request's time, or write to it, which would end the sharing of its memory.
        gc.collect()
        gc.freeze()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN)
        try:
            self._watch(children)
            self._end(children)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return 0

    def _watch(self, children: Sequence[Child]) -> None:
        """Return when told to stop."""
        while True:
            for child in children:
                if not child.pid and child.start_at <= monotonic():
                    _start(child)
            self._tell_when_ready(children)
            waiting = [child.start_at for child in children if not child.pid]
            event = _next_signal(min(waiting) if waiting else None)
            if event is None:
                continue
            if event.si_signo in _STOPPING:
                return
            if event.si_signo == READY:
                _note_ready(event.si_pid, children)
            else:
                for child, status in _reap(children):
                    self._plan_restart(child, status)

    def _tell_when_ready(self, children: Sequence[Child]) -> None:
        if self.on_ready and all(child.is_ready or not child.announces_ready for child in children):
            on_ready, self.on_ready = self.on_ready, None
            on_ready()

    def _plan_restart(self, child: Child, status: int) -> None:
        now = monotonic()
        if now - child.started >= self.early_s:
            child.early_deaths = 0
        else:
            child.early_deaths += 1
        pause_s = 0.0
        if child.early_deaths > 1:
            pause_s = min(self.first_pause_s * 2 ** (child.early_deaths - 2), self.longest_pause_s)
        child.start_at = now + pause_s
        logger.error("%s ended (%s); it is started again in %g s", child.name, _cause(status), pause_s)

    def _end(self, children: Sequence[Child]) -> None:
        """SIGTERM to all, and after `grace_s`, or when told to stop once more, SIGKILL."""
        logger.info("stopping")
        for listener in self.listeners:
            # The socket is one for all processes: what is shut down here is so in the children.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
        _send(signal.SIGTERM, children)
        deadline = monotonic() + self.grace_s
        while any(child.pid for child in children):
            event = _next_signal(deadline)
            if event is None or event.si_signo in _STOPPING:
                left = ", ".join(child.name for child in children if child.pid)
                logger.warning("killed before the end of what they were doing: %s", left)
                _send(signal.SIGKILL, children)
                deadline = monotonic() + self.grace_s
            _reap(children)


def _start(child: Child) -> None:
    sys.stdout.flush()  # or the child would print what is waiting there once more
    sys.stderr.flush()
    master = os.getpid()
    try:
        child.pid = fork()
    except OSError as error:
        logger.error("%s cannot be started: %s", child.name, error.strerror)
        child.start_at = monotonic() + 1
        return
    if not child.pid:
        _run_child(child, master)
    child.started = monotonic()
    child.is_ready = False


def _note_ready(pid: int, children: Sequence[Child]) -> None:
    for child in children:
        if child.pid == pid:
            child.is_ready = True


def _reap(children: Sequence[Child]) -> list[tuple[Child, int]]:
    """The children that have ended, with their exit codes (negative: by a signal)."""
    ended = []
    for child in children:
        if child.pid:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                child.pid = 0
                child.is_ready = False
                ended.append((child, os.waitstatus_to_exitcode(status)))
    return ended


def _send(number: signal.Signals, children: Sequence[Child]) -> None:
    for child in children:
        if child.pid:  # which stays its own until it is reaped
            os.kill(child.pid, number)


def _next_signal(deadline: float | None) -> signal.struct_siginfo | None:
    if deadline is None:
        return signal.sigwaitinfo(_TAKEN)
    return signal.sigtimedwait(_TAKEN, max(0.0, deadline - monotonic()))


def _cause(exit_code: int) -> str:
    return f"status {exit_code}" if exit_code >= 0 else f"signal {-exit_code}"


# --- a child ---------------------------------------------------------------------------------------

_master_pid = 0  # of the master that watches this process; 0 in a process that has none


def _run_child(child: Child, master: int) -> NoReturn:
    global _master_pid
    status = 1
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == master:  # otherwise it died before it could take us along
            _master_pid = master
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the master decides
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TAKEN)
            child.main()
            status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except MiniswiftError as error:
        logger.error("%s: %s", child.name, error)
    except BaseException:
        logger.exception("%s failed", child.name)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def announce_ready() -> None:
    """Tell the master that this child does its work from now on."""
    if _master_pid:
        os.kill(_master_pid, READY)


@dataclasses.dataclass(frozen=True)
class Service:
    """An application on a listening socket."""

    name: str
    listener: socket.socket
    app: WSGIApp
    settings: ServerSettings


def serve_forever(services: Sequence[Service], grace_s: float = 25.0) -> None:
    """Serve all services in this process until SIGTERM; then finish what runs, for up to `grace_s`."""
    restart_hub_after_fork()
    servers = [Server(service.app, service.settings) for service in services]
    for server, service in zip(servers, services, strict=True):
        spawn(server.serve, service.listener)
    terminations = signal_pipe(signal.SIGTERM)
    announce_ready()
    trampoline(terminations, read=True)
    pool = GreenPool()
    for server in servers:
        pool.spawn_n(server.stop, grace_s)
    pool.waitall()


def signal_pipe(number: signal.Signals) -> int:
    """A descriptor that becomes readable when the signal comes.

    The event loop sleeps in epoll_wait, which Python resumes after a handler, so a handler alone would
    not wake it.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer)
    signal.signal(number, lambda *_: None)
    return reader
