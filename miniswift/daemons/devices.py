"""The devices of this machine, as daemons walk them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from miniswift.storage import StorageSettings

logger = logging.getLogger(__name__)


class Devices:
    """The folders below `devices` that can be worked on."""

    def __init__(self, settings: StorageSettings) -> None:
        self._root = Path(settings.devices)
        self._mount_check = settings.mount_check
        self._missing: set[Path] = set()

    def mounted(self) -> list[Path]:
        """Those that are mounted; one that is not is named once."""
        found = folders(self._root)
        missing = {folder for folder in found if self._mount_check and not folder.is_mount()}
        for folder in sorted(missing - self._missing):
            logger.warning("device %s is not mounted; its work waits", folder)
        self._missing = missing
        return [folder for folder in found if folder not in missing]


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, none if it is not there."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def hash_folders(kind: Path) -> Iterator[Path]:
    """Every <partition>/<suffix>/<hash> below one of a device's folders."""
    for partition in folders(kind):
        for suffix in folders(partition):
            yield from folders(suffix)


def databases(kind: Path) -> Iterator[str]:
    """Every database below a device's `accounts` or `containers`."""
    for folder in hash_folders(kind):
        yield f"{folder}/{folder.name}.db"
