"""What a process that serves asks of the operating system first. Its children inherit it.

1. Descriptors: a client takes one, its object, databases and other nodes more; the usual soft limit of 1024
   would end before `max_clients` does. Swift's manager raises it in the same way.
2. Memory: big blocks go back to the system when they are freed. By default glibc learns to keep what was
   freed once, for each native thread: the 16 MiB that the scrypt of one login needs, times 20 threads.
"""

from __future__ import annotations

import ctypes
import resource

DESCRIPTORS = 65536
BIG_BLOCK = 4 << 20  # bytes; what is smaller is cheaper to keep than to ask for again

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def prepare_process() -> None:
    """Raise the limit of descriptors as far as is allowed, and let big blocks of memory go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # not glibc: no arenas that keep
        mallopt(_M_MMAP_THRESHOLD, BIG_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, BIG_BLOCK)
