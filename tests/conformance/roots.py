"""Folders for the store's data, on a file system that keeps large extended attributes.

The tests store metadata up to Swift's limits: with its names some 5 KiB an object. ext4 takes 4 KiB for all
attributes of a file, XFS 64 KiB each, tmpfs (since Linux 6.6) as much as there is memory.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from miniswift.cluster import Constraints
from miniswift.file_system import largest_metadata, room_for_metadata
from tests.functional.mounts import CannotMount, mounted

CANDIDATES = ("/var/tmp", "/dev/shm")


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
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-", dir=parent))
                if takes_large_attributes(Path(folder)):
                    yield Path(folder)
                    return
        if given:
            raise NoFileSystem(f"{given} does not keep the metadata that an object may have")
        for kind in ("tmpfs", "xfs"):
            with contextlib.suppress(CannotMount):
                mount_point = stack.enter_context(mounted(kind))
                if takes_large_attributes(mount_point):
                    yield mount_point
                    return
        raise NoFileSystem("nothing here keeps large extended attributes: be root, or --dir a folder on XFS")


def takes_large_attributes(folder: Path) -> bool:
    return room_for_metadata(folder) >= largest_metadata(Constraints())
