"""What a process that serves asks of the operating system.

1. Descriptors: a client takes one, its object, databases and other nodes more; the usual soft limit of 1024
   would end before `max_clients` does. Swift's manager raises it in the same way.
2. Memory: glibc learns to keep what was freed, for each native thread: the 16 MiB that the scrypt of one
   login needs, times 20 threads. Who used so much gives it back. (Telling glibc never to keep big blocks
   does the same for everybody, and cost every small request 5 % more CPU.)
"""

from __future__ import annotations

import ctypes
import resource

DESCRIPTORS = 65536

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's


def prepare_process() -> None:
    """Raise the limit of descriptors as far as is allowed; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def give_back_memory() -> None:
    """Return what was freed to the system."""
    if _malloc_trim is not None:
        _malloc_trim(0)
