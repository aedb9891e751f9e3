"""A real Swift's own programs, and folders for them to look into."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.clusters import RINGS, SWIFT_BIN, Backends


class SwiftTools:
    """The programs that come with Swift, run on a given swift_dir."""

    def __call__(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run one; what it prints. Its failing fails the test."""
        assert SWIFT_BIN.is_dir(), f"no real Swift in {SWIFT_BIN}: run `make interop`"
        done = subprocess.run(
            [SWIFT_BIN / program, *arguments], cwd=cwd, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{program} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def swift_tools() -> SwiftTools:
    return SwiftTools()


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A folder of the module's own, removed after it."""
    with tempfile.TemporaryDirectory(prefix="miniswift-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def backends() -> Iterator[Callable[[str], Backends]]:
    """The storage servers of a ring of `RINGS`, started when they are first asked for."""
    started: dict[str, Backends] = {}
    with tempfile.TemporaryDirectory(prefix="miniswift-") as folder, contextlib.ExitStack() as stack:

        def start(ring: str) -> Backends:
            if ring not in started:
                started[ring] = stack.enter_context(Backends(Path(folder) / ring, RINGS[ring]))
            return started[ring]

        yield start
