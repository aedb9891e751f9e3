"""What is built from the checkout: an sdist with everything, and a wheel made from that sdist."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
BUILD = """\
import sys, warnings
from setuptools import SetuptoolsDeprecationWarning, build_meta
warnings.simplefilter("error", SetuptoolsDeprecationWarning)
getattr(build_meta, "build_" + sys.argv[1])(sys.argv[2])
"""
PASTE_GROUPS = ("paste.app_factory", "paste.filter_factory", "paste.server_runner")


def build(kind: str, source: Path, target: Path) -> Path:
    """Build the source's `sdist` or `wheel` as pip would, and return the file."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(target)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("copy") / "miniswift"
    leftovers = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "miniswift-data")
    shutil.copytree(CHECKOUT, copy, ignore=leftovers)
    return build("sdist", copy, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


def modules(*folders: str) -> set[str]:
    return {
        str(file.relative_to(CHECKOUT)) for folder in folders for file in (CHECKOUT / folder).rglob("*.py")
    }


def test_sdist_holds_code_tests_conf_files_and_documents(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    shipped = modules("miniswift", "middleware", "tests", "benchmarks")
    for folder in ("bin", "etc", "devstack", "examples"):
        shipped |= {
            str(file.relative_to(CHECKOUT)) for file in (CHECKOUT / folder).rglob("*") if file.is_file()
        }
    shipped = {name for name in shipped if "__pycache__" not in name}
    assert not (shipped | {"README.md", "Makefile", "setup.cfg", "middleware/ruff.toml"}) - names


def test_wheel_made_of_the_sdist_holds_every_module_with_middleware_inside(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.endswith(".py")}
    assert names == modules("miniswift") | {f"miniswift/{name}" for name in modules("middleware")}


def test_unpacked_wheel_finds_its_filters(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "import sys; sys.path.insert(0, '.'); import miniswift.middleware as found; print(found.__file__)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()) == tmp_path / "miniswift" / "middleware" / "__init__.py"


def test_unpacked_wheel_finds_the_page_of_the_demonstration(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "import sys; sys.path.insert(0, '.'); from miniswift import demo; print(*demo.page_files())"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    files = list(map(Path, found.stdout.split()))
    assert {file.parent for file in files} == {tmp_path / "miniswift" / "upload_page"}
    assert all(file.is_file() for file in files)


def paste_entry_points() -> list[EntryPoint]:
    return [entry for entry in distribution("miniswift").entry_points if entry.group in PASTE_GROUPS]


@pytest.mark.parametrize("entry", paste_entry_points(), ids=lambda entry: entry.name)
def test_entry_point_names_something_to_call(entry: EntryPoint) -> None:
    assert callable(entry.load())
