"""Green threads: the one module that knows eventlet.

Everything that runs at the same time as something else is started, waited for and timed out through
the names here, so that moving to another scheduler is a change of this module (and of the linter rule
that keeps `eventlet` out of all others).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

with warnings.catch_warnings():
    # eventlet asks new projects to consider asyncio at every import. Users asked for eventlet.
    warnings.simplefilter("ignore")
    import eventlet
    import eventlet.event
    import eventlet.greenpool
    import eventlet.hubs
    import eventlet.patcher
    import eventlet.queue
    import eventlet.semaphore
    import eventlet.tpool
    from eventlet.green import select, socket, ssl, subprocess
    from eventlet.hubs import trampoline

T = TypeVar("T")

GreenPool = eventlet.greenpool.GreenPool
GreenPile = eventlet.greenpool.GreenPile
Event = eventlet.event.Event
Queue = eventlet.queue.Queue
LightQueue = eventlet.queue.LightQueue
Empty = eventlet.queue.Empty
Full = eventlet.queue.Full
Semaphore = eventlet.semaphore.Semaphore
# Raised in the block it guards, and not an Exception: only its own owner may catch it.
Timeout = eventlet.Timeout
GreenletExit = eventlet.greenlet.GreenletExit

# As they were before `patch`: a socket whose calls never yield, a sleep that stops the whole process.
NativeSocket = eventlet.patcher.original("socket").socket
native_sleep = eventlet.patcher.original("time").sleep

spawn = eventlet.spawn
spawn_n = eventlet.spawn_n
spawn_after = eventlet.spawn_after
sleep = eventlet.sleep
listen = eventlet.listen

__all__ = [
    "Empty",
    "Event",
    "Full",
    "GreenPile",
    "GreenPool",
    "GreenletExit",
    "LightQueue",
    "NativeSocket",
    "Queue",
    "Semaphore",
    "Timeout",
    "fork",
    "in_native_thread",
    "listen",
    "native_sleep",
    "patch",
    "pause",
    "restart_hub_after_fork",
    "select",
    "sleep",
    "socket",
    "spawn",
    "spawn_after",
    "spawn_n",
    "ssl",
    "subprocess",
    "time_limit",
    "trampoline",
]


def patch() -> None:
    """Make the standard library's sockets, locks and sleeps green. Called once, first thing in a server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        eventlet.patcher.monkey_patch(all=False, socket=True, select=True, thread=True, time=True)


def fork() -> int:
    """os.fork without eventlet's warning. A child that needs a loop calls `restart_hub_after_fork`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


# The parent's loop and what ran in it. A child never runs them, and never lets go of them: collecting
# them would take the parent's descriptors from the epoll set that a fork leaves to both.
_of_the_parent: list[Any] = []


def restart_hub_after_fork() -> None:
    """Give a forked child an event loop of its own; it must not share its parent's epoll set."""
    tpool = eventlet.tpool
    _of_the_parent.append((eventlet.hubs.get_hub(), tpool._coro, tpool._rsock, tpool._wsock))
    eventlet.hubs.use_hub()
    # The native threads stayed with the parent: they are forgotten, and made anew when needed. killall
    # would switch to the parent's loop to stop them, and never come back.
    del tpool._threads[:]
    tpool._setup_already = False


def in_native_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a blocking call (fsync, MD5 of a large block) in a native thread; the caller yields meanwhile."""
    result: T = eventlet.tpool.execute(function, *args, **kwargs)
    return result


def pause() -> None:
    """Let others run."""
    eventlet.sleep(0)


@contextmanager
def time_limit(seconds: float, error: BaseException) -> Iterator[None]:
    """Raise `error` in the block if it takes longer than `seconds`."""
    timer = eventlet.Timeout(seconds, error)
    try:
        yield
    finally:
        timer.cancel()
