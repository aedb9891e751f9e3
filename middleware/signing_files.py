"""The folder where what Keystone signs with is kept between restarts: `signing_dir`.

1. It belongs to us and to nobody else (0700); whoever could write there could make tokens.
2. A file is replaced whole; its time is when its content was fetched.

Without a folder everything is kept in memory only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import tempfile
from pathlib import Path

from miniswift.errors import ConfigError

logger = logging.getLogger(__name__)


class SigningFiles:
    """A folder, or none."""

    def __init__(self, folder: str) -> None:
        """Make the folder if it is missing. Raises ConfigError if it cannot be trusted."""
        self._folder = Path(folder) if folder else None
        if self._folder is not None:
            try:
                _prepare(self._folder)
            except OSError as error:
                raise ConfigError(f"{folder}: {error.strerror}", option="signing_dir") from None

    def read(self, name: str) -> bytes | None:
        if self._folder is None:
            return None
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("%s/%s cannot be read: %s", self._folder, name, error.strerror)
            return None

    def time_of(self, name: str) -> float | None:
        """When the file's content was fetched, Unix time; None without one."""
        if self._folder is None:
            return None
        try:
            return (self._folder / name).stat().st_mtime
        except OSError:
            return None

    def write(self, name: str, content: bytes, fetched_at: float) -> None:
        """Keep the content for the next start; failing that is logged, not fatal."""
        if self._folder is None:
            return
        try:
            fd, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=self._folder)  # mode 0600
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(content)
                os.utime(temporary, (fetched_at, fetched_at))
                os.replace(temporary, self._folder / name)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            logger.warning("%s/%s cannot be written: %s", self._folder, name, error.strerror)


def _prepare(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise ConfigError(f"{folder} belongs to somebody else", option="signing_dir")
    if stat.S_IMODE(status.st_mode) & 0o077:
        logger.warning("signing_dir %s was open to others and is now for its owner alone", folder)
        folder.chmod(0o700)
