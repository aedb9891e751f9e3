"""A walk over devices that names everything on them that contradicts what the storage code promises.

For tests, and for an operator who wants to know. Each line of the result starts with a path; the
numbers in brackets are those of ARCHITECTURE.md.

1. It changes nothing; only a database that was left in mid-transaction is rolled back, as by any reader.
2. What a crash may leave behind, and the next write removes, is no violation with `after_crash`: files
   that do not count any more, empty directories, temporary files.
3. On devices in use it may name what is about to be put right: ask again.

Not here: whether replicas agree, which is for replicators to see.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from miniswift.cluster import Cluster, Policy
from miniswift.errors import MiniswiftError
from miniswift.storage.async_pending import AsyncUpdate, is_file_name
from miniswift.storage.check_databases import database_problems
from miniswift.storage.check_listings import listing_problems
from miniswift.storage.check_objects import listed, object_problems


def check_device(device: str | os.PathLike[str], cluster: Cluster, *, after_crash: bool = False) -> list[str]:
    """Every violation on one device, one line each; empty when all is well."""
    return list(_device_problems(Path(device), cluster, after_crash))


def check_devices(
    devices: str | os.PathLike[str], cluster: Cluster, *, after_crash: bool = False
) -> list[str]:
    """Every violation on all devices in a folder, and between them.

    After a crash, a write that nobody acknowledged may be on disk and in no listing.
    """
    folders = sorted(path for path in Path(devices).iterdir() if path.is_dir())
    problems = [problem for device in folders for problem in _device_problems(device, cluster, after_crash)]
    if not after_crash:
        problems += listing_problems(folders, cluster)
    return problems


def _device_problems(device: Path, cluster: Cluster, after_crash: bool) -> Iterator[str]:
    for policy in cluster.policies:
        yield from _guarded(object_problems(f"{device}/objects{policy.suffix}", cluster, after_crash))
        yield from _guarded(_pending_problems(f"{device}/async_pending{policy.suffix}", cluster))
    for kind in ("account", "container"):
        yield from _guarded(database_problems(f"{device}/{kind}s", kind, cluster, after_crash))
    yield from _guarded(_other_problems(device, list(cluster.policies), after_crash))


def _guarded(problems: Iterable[str]) -> Iterator[str]:
    try:
        yield from problems
    except OSError as error:
        yield f"{error.filename}: {error.strerror}"


def _pending_problems(folder: str, cluster: Cluster) -> Iterator[str]:
    for suffix in listed(folder):
        for name in listed(f"{folder}/{suffix}"):
            path = f"{folder}/{suffix}/{name}"
            if not is_file_name(name):
                yield f"{path}: is not named like an update"
                continue
            try:
                update = AsyncUpdate.from_pickle(Path(path).read_bytes())
                stamp = update.timestamp.internal
            except FileNotFoundError:
                continue  # delivered meanwhile
            except MiniswiftError as error:
                yield f"{path}: {error} (S4)"
                continue
            digest = cluster.hash_path(update.account, update.container, update.obj)
            if not path.endswith(f"/{digest[-3:]}/{digest}-{stamp}"):
                yield f"{path}: holds an update of {update.path}, which does not belong there"


def _other_problems(device: Path, policies: list[Policy], after_crash: bool) -> Iterator[str]:
    suffixes = {policy.suffix for policy in policies}
    for path in sorted(device.iterdir()):
        kind, dash, index = path.name.partition("-")
        if kind not in ("objects", "async_pending", "tmp"):
            continue
        if dash + index not in suffixes:
            yield f"{path}: is of a storage policy that does not exist"
        elif kind == "tmp" and not after_crash and (left := sorted(os.listdir(path))):
            yield f"{path}: temporary files were left: {left}"
