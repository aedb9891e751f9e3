"""The command line: what it explains, and how it refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from miniswift import VERSION
from tests.functional.cluster import BIN


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_version_is_told() -> None:
    assert run("miniswift", "--version").stdout == f"miniswift {VERSION}\n"


def test_help_names_every_option_of_serve_with_its_default() -> None:
    done = run("miniswift", "serve", "--help")
    assert done.returncode == 0
    for option in ("--root", "--bind", "--port", "--identity-port", "--workers", "--devices", "--replicas"):
        assert option in done.stdout
    assert "default: 8080" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("brew",), ("serve", "--port", "many")])
def test_a_wrong_command_line_is_status_2(arguments: tuple[str, ...]) -> None:
    done = run("miniswift", *arguments)
    assert done.returncode == 2
    assert "usage: miniswift" in done.stderr


@pytest.mark.parametrize("kind", ["proxy", "account", "container", "object"])
def test_a_server_without_its_conf_file_says_so_in_one_line(kind: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.conf"
    done = run(f"miniswift-{kind}-server", missing)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert str(missing) in done.stderr


def test_a_bad_option_is_named_with_file_section_and_name(tmp_path: Path) -> None:
    conf = tmp_path / "object-server.conf"
    conf.write_text("[DEFAULT]\nworkers = many\n")
    done = run("miniswift-object-server", conf)
    assert done.returncode == 1
    assert done.stderr == f"miniswift: {conf}: [DEFAULT]: workers: expected a whole number, not 'many'\n"
