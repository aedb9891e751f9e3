"""Daemons by their commands: one pass, the foreground, and what `serve` runs of them."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from miniswift.daemons.commands import NAMES
from tests.functional.cluster import BIN, made_root
from tests.functional.processes import wait_until


@pytest.fixture(scope="module")
def root(scratch: Path) -> Path:
    """The folder of an installation that does not run."""
    return made_root(scratch / "installation").root


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "miniswift"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_one_pass_over_an_installation_ends_with_status_0(root: Path, name: str) -> None:
    done = run(name, "--once", "--root", root)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_daemon_runs_until_sigterm(root: Path, name: str) -> None:
    command = [str(BIN / "miniswift"), name, "--root", str(root), "--verbose"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert wait_until(lambda: process.stderr and process.stderr.readline(), what="a line of its log")
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_file_without_the_daemons_section_is_refused_by_name(root: Path) -> None:
    conf = root / "etc" / "account-server.conf"
    done = run("updater", conf, "--once")
    assert done.returncode == 1
    assert done.stderr == f"miniswift: {conf}: has no section [object-updater], which the updater needs\n"


def test_help_of_a_daemon_says_what_it_does() -> None:
    assert "deliver" in run("updater", "--help").stdout
