"""What replicators compare: one MD5 for each suffix of a partition.

`hashes.pkl` keeps what was computed; `hashes.invalid` names, one a line, the suffixes that changed
since. A writer only appends a line; whoever wants the hashes folds the lines in and computes what is
missing. Both files are read and written under a lock on `<partition>/.lock`.

1. A suffix is invalidated before the change becomes visible, so that no replicator takes a hash
   without the change for one with it.
2. Hashes computed from what was read are stored only if nobody changed `hashes.pkl` meanwhile.

The hash of a suffix is over the names of the files that count, so computing it also cleans up.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import md5
from typing import Any

from miniswift.concurrency import in_native_thread, sleep
from miniswift.storage import pickles
from miniswift.storage.atomic import replace_file
from miniswift.storage.disk_errors import StateChanged
from miniswift.storage.object_files import ObjectFiles, clean_up
from miniswift.timestamp import Timestamp

logger = logging.getLogger(__name__)

HASHES = "hashes.pkl"
INVALID = "hashes.invalid"
LOCK = ".lock"
LOCK_TIMEOUT_S = 10.0
# Listing a damaged directory, or a file where a directory should be, fails with one of these.
BROKEN_DIRECTORY = (errno.ENOTDIR, errno.ENODATA, errno.EUCLEAN)
_NEITHER_SUFFIX = ("valid", "updated")  # the other keys of hashes.pkl

# {suffix: MD5 or None when it must be computed, "valid": bool, "updated": Unix time}
Hashes = dict[str, Any]


def is_suffix(text: str) -> bool:
    return len(text) == 3 and all(char in "0123456789abcdef" for char in text)


@contextmanager
def partition_lock(partition: str, pause: Callable[[float], object] = sleep) -> Iterator[None]:
    """Hold the lock that guards the hashes of a partition (a path). Raises StateChanged after 10 s.

    A native thread that waits for it needs a `pause` that is not for green ones.
    """
    fd = os.open(f"{partition}/{LOCK}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(fd, partition, pause)
        yield
    finally:
        os.close(fd)  # and the lock with it


def _lock(fd: int, partition: str, pause: Callable[[float], object]) -> None:
    deadline = 0.0
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            deadline = deadline or now + LOCK_TIMEOUT_S
            if now > deadline:
                raise StateChanged(f"{partition}/{LOCK} was held for {LOCK_TIMEOUT_S} s") from None
            pause(0.01)


def invalidate(partition: str, suffix: str, pause: Callable[[float], object] = sleep) -> None:
    """Note that something in a suffix is about to change."""
    with partition_lock(partition, pause):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(f"{partition}/{INVALID}", flags, 0o644)
        try:
            os.write(fd, f"{suffix}\n".encode())
        finally:
            os.close(fd)


def suffix_hashes(
    partition: str, reclaim_before: Timestamp, on_bad_path: Callable[[str], None]
) -> dict[str, str | None]:
    """The hash of every suffix of a partition (a path), computed where it is missing.

    `on_bad_path` is called with what is not a directory and should be: it quarantines it.
    """
    if not os.path.isdir(partition):
        return {}
    for _ in range(5):
        stored: Hashes = _consolidated(partition)
        hashes: Hashes = dict(stored) if stored["valid"] else {"valid": True, **_listed(partition)}
        missing = [suffix for suffix, value in hashes.items() if value is None]
        computed = in_native_thread(_compute, partition, missing, reclaim_before, on_bad_path)
        for suffix in missing:
            del hashes[suffix]
        hashes |= computed
        if (not missing and stored["valid"]) or _store(partition, hashes, stored):
            break
    else:
        logger.warning("hashes of %s change faster than they can be stored", partition)
    return {suffix: value for suffix, value in hashes.items() if suffix not in _NEITHER_SUFFIX}


def _listed(partition: str) -> dict[str, None]:
    return dict.fromkeys(filter(is_suffix, os.listdir(partition)))


def _compute(
    partition: str, suffixes: list[str], reclaim_before: Timestamp, on_bad_path: Callable[[str], None]
) -> dict[str, str | None]:
    computed: dict[str, str | None] = {}
    for suffix in suffixes:
        try:
            digest = _suffix_hash(f"{partition}/{suffix}", reclaim_before, on_bad_path)
        except OSError as error:
            logger.error("suffix %s/%s cannot be read: %s", partition, suffix, error)
            computed[suffix] = None  # to be tried again; peers are told that we do not know
        else:
            if digest is not None:
                computed[suffix] = digest
    return computed


def _suffix_hash(path: str, reclaim_before: Timestamp, on_bad_path: Callable[[str], None]) -> str | None:
    """The hash of a suffix directory; None when there is none, or it was empty and is removed."""
    digest = md5(usedforsecurity=False)
    try:
        names = sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    for name in names:
        try:
            files = clean_up(f"{path}/{name}", reclaim_before)
        except OSError as error:
            if error.errno not in BROKEN_DIRECTORY:
                raise
            on_bad_path(f"{path}/{name}")
            continue
        digest.update(signature(files))
    try:
        os.rmdir(path)
    except OSError:
        return digest.hexdigest()  # not empty, as a suffix should be
    return None


def signature(files: ObjectFiles) -> bytes:
    """What one object adds to the hash of its suffix."""
    parts = [f"{file.timestamp.internal}.{file.extension}" for file in _in_order(files)]
    if files.content_type is not None:
        parts.append(f"{files.content_type.content_type_timestamp}_ctype")
    return "".join(parts).encode("ascii")


def _in_order(files: ObjectFiles) -> Iterator[Any]:
    return (file for file in (files.meta, files.tombstone, files.data) if file is not None)


# --- hashes.pkl and hashes.invalid ------------------------------------------------------------------


def load_hashes(partition: str) -> Hashes:
    """hashes.pkl of a partition (a path) as it is on disk; not valid when it cannot be used."""
    try:
        with open(f"{partition}/{HASHES}", "rb") as file:
            hashes = pickles.loads(file.read())
    except (OSError, pickles.UnsafePickle):
        return {"valid": False, "updated": -1}  # as if it had never been computed
    if type(hashes) is not dict or not all(
        type(key) is str and (key in _NEITHER_SUFFIX or is_suffix(key)) for key in hashes
    ):
        return {"valid": False, "updated": -1}
    return {"valid": True, "updated": -1, **hashes}  # files of old versions have neither key


def _write(partition: str, hashes: Hashes) -> None:
    hashes["updated"] = time.time()
    replace_file(f"{partition}/{HASHES}", pickles.dumps(hashes), partition, partition)


def _consolidated(partition: str) -> Hashes:
    """hashes.pkl with the lines of hashes.invalid folded in, on disk too."""
    with partition_lock(partition):
        hashes = load_hashes(partition)
        try:
            with open(f"{partition}/{INVALID}", "rb") as file:
                lines = file.read().decode("latin-1").split("\n")
        except FileNotFoundError:
            lines = []
        changed = {line.strip(): None for line in lines if is_suffix(line.strip())}
        if changed:
            hashes.update(changed)
            _write(partition, hashes)
        if any(lines):
            # Only now: every line that goes is in hashes.pkl.
            os.truncate(f"{partition}/{INVALID}", 0)
        return hashes


def _store(partition: str, hashes: Hashes, as_read: Hashes) -> bool:
    with partition_lock(partition):
        if load_hashes(partition) != as_read:
            return False
        _write(partition, hashes)
        return True
