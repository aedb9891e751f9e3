"""What a serving process asks of the operating system, seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys

MIB = 1 << 20


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_descriptors_are_raised_to_the_hard_limit() -> None:
    code = """
import resource
from miniswift.process_limits import prepare_process
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 500))
prepare_process()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert run(code) == "(500, 500)"


def test_memory_of_logins_goes_back_to_the_system() -> None:
    code = """
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from miniswift.identity import passwords

def check_password(round):
    together.wait()
    passwords.verify("secret", hashed)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

hashed = passwords.hash_password("other")
together = Barrier(4)
before = resident()
with ThreadPoolExecutor(4) as threads:  # which live on, as those of a server
    list(threads.map(check_password, range(12)))
    print(resident() - before)
"""
    assert int(run(code)) < 16 * MIB
