"""File systems made for one purpose and gone after it: images that root mounts by a loop device."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

GIB = 1024**3


class CannotMount(Exception):
    """Raised when there is no program to make the file system, or no right to mount it."""


@contextlib.contextmanager
def mounted(kind: str, *options: str, size: int = 8 * GIB, parent: Path | None = None) -> Iterator[Path]:
    """An empty file system, made by `mkfs.<kind> <options>` in a sparse image of `size` bytes; or a tmpfs.

    Raises CannotMount.
    """
    with tempfile.TemporaryDirectory(prefix="mounted-", dir=parent) as folder:
        mount_point = Path(folder) / "root"
        mount_point.mkdir()
        if kind == "tmpfs":
            _run("mount", "-t", "tmpfs", "tmpfs", mount_point)
        else:
            image = Path(folder) / "image"
            with image.open("wb") as file:
                file.truncate(size)
            _run(f"mkfs.{kind}", "-q", *options, image)
            _run("mount", "-o", "loop,noatime", image, mount_point)
        try:
            yield mount_point
        finally:
            _run("umount", mount_point)


def _run(program: str, *arguments: str | Path) -> None:
    if not shutil.which(program):
        raise CannotMount(f"there is no {program}")
    command = [program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMount(f"{' '.join(command)}: {done.stderr.strip()}")
