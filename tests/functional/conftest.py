"""Clusters in temporary folders: real processes, free ports, real conf files; all gone after the test."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.cluster import ServeProcess
from tests.functional.processes import Program


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the processes that run at that moment have printed last."""
    report = yield
    if report.failed:
        report.sections += [(repr(program), program.printed()[-4000:]) for program in Program.running]
    return report


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A folder of the module's own, removed at once after it: uploaded trees are big."""
    with tempfile.TemporaryDirectory(prefix="miniswift-") as folder:
        yield Path(folder)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServeProcess]]:
    """Starts `miniswift serve` with the given options, as often as it is called."""
    with contextlib.ExitStack() as stack:

        def start(name: str = "data", **options: object) -> ServeProcess:
            process = ServeProcess(tmp_path / name, **options)  # type: ignore[arg-type]
            stack.callback(process.stop)
            process.start()
            return process

        yield start


@pytest.fixture(scope="module")
def shared_serve(scratch: Path) -> Iterator[ServeProcess]:
    """One `miniswift serve` for all tests of a module that leave it as they found it."""
    with ServeProcess(scratch / "data") as process:
        yield process


@pytest.fixture
def login() -> Iterator[Callable[[tuple[str, str, str]], Client]]:
    """Logs in; the connections are closed after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda auth: stack.enter_context(Client.login(auth))
