"""A real tree of files to store: the running Python's standard library, and some names that are hard."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

# Not source: what was compiled, what pip installed, what is for building extensions.
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*-packages", "config-*", "lib-dynload")

HARD_NAMES = (
    "with spaces in it",
    "\u00fcml\u00e4ut and \u4e2d\u6587",
    "100%25?query#fragment&x=y+z;v",
    "quote'\"backslash\\",
    ".hidden",
    "trailing.dots...",
    "a" * 200,
)


def copy_standard_library(target: Path, only: tuple[str, ...] = ()) -> Path:
    """Copy the library's source, or the packages of it named in `only`, with the hard names beside."""
    library = Path(sysconfig.get_path("stdlib"))
    if not only:
        shutil.copytree(library, target, ignore=NOT_SOURCE)
    for package in only:
        shutil.copytree(library / package, target / package, ignore=NOT_SOURCE)
    names = target / "hard names"
    names.mkdir()
    for name in HARD_NAMES:
        (names / name).write_text(name)
    (names / "empty").touch()
    return target


def files_of(tree: Path) -> list[Path]:
    """All files below, by relative path, in a fixed order."""
    return sorted(path.relative_to(tree) for path in tree.rglob("*") if path.is_file())
