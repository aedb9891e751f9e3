"""Small files that change as a whole: written aside, made durable, renamed."""

from __future__ import annotations

import errno
import os
import tempfile

_ATTEMPTS = 3


def replace_file(path: str, content: bytes, temporary: str, device: str) -> None:
    """Make `content` the file at `path`, durably; readers see the old content or the new.

    `temporary` is a directory of the same device; it and that of `path` are made when missing.
    """
    make_directories(temporary, device)
    fd, written = tempfile.mkstemp(dir=temporary, suffix=".tmp")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        changed = _rename(written, path, device)
    except BaseException:
        os.unlink(written)
        raise
    for directory in changed:
        fsync_directory(directory)


def _rename(written: str, path: str, device: str) -> list[str]:
    directory = os.path.dirname(path)
    changed = [directory]
    for _ in range(_ATTEMPTS):
        changed += make_directories(directory, device)
        try:
            os.rename(written, path)
            return changed
        except FileNotFoundError:
            continue  # somebody found the directory empty and removed it
    raise FileNotFoundError(errno.ENOENT, "the directory vanishes as fast as it is made", directory)


def make_directories(path: str, device: str) -> list[str]:
    """Make a directory and those above it that are missing; return those that changed, for fsync.

    The device itself is never made: FileNotFoundError, as when it was unmounted a moment ago.
    """
    if len(path) <= len(device):
        os.stat(device)
        return []
    try:
        os.mkdir(path)
    except FileExistsError:
        return []
    except FileNotFoundError:
        changed = make_directories(os.path.dirname(path), device)
        return [*make_directories(path, device), *changed]
    return [os.path.dirname(path)]


def fsync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
