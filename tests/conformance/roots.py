"""Folders for the store's data, on a file system that keeps large extended attributes.

The tests store metadata up to Swift's limits: with its names some 5 KiB an object. ext4 takes 4 KiB for all
attributes of a file, XFS 64 KiB each, tmpfs (since Linux 6.6) as much as there is memory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

NEEDED = 48 * 1024  # bytes in the attributes of one file
CANDIDATES = ("/var/tmp", "/dev/shm")
IMAGE_SIZE = 8 * 1024**3  # bytes; the file is sparse


class NoFileSystem(Exception):
    """Raised when no folder with large attributes is there or can be made."""


@contextlib.contextmanager
def scratch_root(given: Path | None = None) -> Iterator[Path]:
    """An empty folder that takes large attributes, removed afterwards. Raises NoFileSystem.

    In turn: under `given`, or else under one of the usual temporary folders; in a tmpfs and in a
    loop-mounted XFS, both of which only root can mount.
    """
    with contextlib.ExitStack() as stack:
        for parent in [given] if given else [Path(tempfile.gettempdir()), *map(Path, CANDIDATES)]:
            if os.access(parent, os.W_OK):
                folder = _temporary_folder(stack, parent)
                if takes_large_attributes(folder):
                    yield folder
                    return
        if given:
            raise NoFileSystem(f"{given} does not keep {NEEDED} bytes of extended attributes a file")
        mount_point = _temporary_folder(stack)
        for mount in (_mount_tmpfs, _mount_xfs):
            if os.geteuid() == 0 and mount(mount_point, stack) and takes_large_attributes(mount_point):
                yield mount_point
                return
        raise NoFileSystem("nothing here keeps large extended attributes: be root, or --dir a folder on XFS")


def _temporary_folder(stack: contextlib.ExitStack, parent: Path | None = None) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-", dir=parent)))


def takes_large_attributes(folder: Path) -> bool:
    probe = folder / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.probe", b"x" * NEEDED)
    except OSError:
        return False
    finally:
        probe.unlink()
    return True


def _mount_tmpfs(mount_point: Path, stack: contextlib.ExitStack) -> bool:
    return _mount(["mount", "-t", "tmpfs", "tmpfs", str(mount_point)], mount_point, stack)


def _mount_xfs(mount_point: Path, stack: contextlib.ExitStack) -> bool:
    if not shutil.which("mkfs.xfs"):
        return False
    image = _temporary_folder(stack) / "xfs"
    with image.open("wb") as file:
        file.truncate(IMAGE_SIZE)
    subprocess.run(["mkfs.xfs", "-q", str(image)], check=True)
    return _mount(["mount", "-o", "loop,noatime", str(image), str(mount_point)], mount_point, stack)


def _mount(command: list[str], mount_point: Path, stack: contextlib.ExitStack) -> bool:
    if subprocess.run(command, check=False).returncode:
        return False
    stack.callback(subprocess.run, ["umount", str(mount_point)], check=True)
    return True
