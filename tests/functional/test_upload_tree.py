"""A whole source tree by the real `swift` command: up, listed, down elsewhere, and nothing differs.

The whole standard library goes up with version 3 authentication, to one device and to three with three
replicas. Versions 1 and 2.0 differ from it in how a token is got, so there some of its packages will do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.cluster import BIN, ServeProcess
from tests.functional.trees import copy_standard_library, files_of

SOME_PACKAGES = ("json", "email", "asyncio", "importlib", "unittest")


class SwiftCommand:
    """python-swiftclient's command line, with the credentials that it finds in the environment."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ

    def __call__(self, *arguments: str, cwd: Path) -> str:
        environ = {"PATH": str(BIN), "HOME": str(cwd), "LC_ALL": "C.UTF-8", **self.environ}
        done = subprocess.run(
            [BIN / "swift", *arguments], cwd=cwd, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"swift {arguments}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout


def credentials(serve: ServeProcess, version: str) -> dict[str, str]:
    """The part of openrc that makes the client speak this version of authentication."""
    openrc = serve.openrc()
    if version == "1":
        return {name: value for name, value in openrc.items() if name.startswith("ST_")}
    openstack = {name: value for name, value in openrc.items() if name.startswith("OS_")}
    if version == "3":
        return openstack
    return {
        "OS_AUTH_URL": f"http://127.0.0.1:{serve.identity_port}/v2.0",
        "OS_IDENTITY_API_VERSION": "2.0",
        "OS_USERNAME": openstack["OS_USERNAME"],
        "OS_PASSWORD": openstack["OS_PASSWORD"],
        "OS_TENANT_NAME": openstack["OS_PROJECT_NAME"],
    }


@pytest.fixture(scope="module", params=[(1, 1), (3, 3)], ids=["one device", "three devices and replicas"])
def stored(request: pytest.FixtureRequest, scratch: Path) -> Iterator[ServeProcess]:
    devices, replicas = request.param
    with ServeProcess(scratch / f"on-{devices}", devices=devices, replicas=replicas) as process:
        yield process


@pytest.fixture(scope="module")
def library(scratch: Path) -> Path:
    return copy_standard_library(scratch / "whole" / "library")


@pytest.fixture(scope="module")
def some_of_it(scratch: Path) -> Path:
    return copy_standard_library(scratch / "some" / "library", SOME_PACKAGES)


def assert_comes_back(swift: SwiftCommand, tree: Path, container: str, elsewhere: Path) -> None:
    names = [f"{tree.name}/{file}" for file in files_of(tree)]
    swift("upload", container, tree.name, cwd=tree.parent)
    assert sorted(swift("list", container, cwd=elsewhere).splitlines()) == sorted(names)
    swift("download", container, "--output-dir", str(elsewhere), cwd=elsewhere)
    differences = subprocess.run(
        ["diff", "-r", tree, elsewhere / tree.name], capture_output=True, text=True, check=False
    )
    assert (differences.stdout, differences.stderr) == ("", "")


@pytest.mark.slow
def test_whole_standard_library_comes_back_the_same(
    stored: ServeProcess, library: Path, tmp_path: Path
) -> None:
    swift = SwiftCommand(credentials(stored, "3"))
    assert_comes_back(swift, library, "whole", tmp_path)
    assert f"Objects: {len(files_of(library))}" in swift("stat", "whole", cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1", "2.0"])
def test_packages_come_back_the_same_with_older_authentication(
    stored: ServeProcess, some_of_it: Path, tmp_path: Path, version: str
) -> None:
    swift = SwiftCommand(credentials(stored, version))
    assert_comes_back(swift, some_of_it, f"by-version-{version}", tmp_path)
