"""Whether every object on some devices is listed, or will be (S4).

An object's newest file, PUT or DELETE, is known to one database of its container at least, merged or
waiting beside it; or an async pending on one of the devices says so. A container that has no database
on these devices is none of our business: it may have one elsewhere.
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from miniswift.cluster import Cluster
from miniswift.errors import MiniswiftError
from miniswift.storage import pending, xattrs
from miniswift.storage.async_pending import AsyncUpdate, files_by_object
from miniswift.storage.check_databases import open_to_look
from miniswift.storage.check_objects import digest_of, listed
from miniswift.storage.object_files import choose
from miniswift.storage.object_rows import ObjectRow
from miniswift.timestamp import RowTimes, Timestamp

_Key = tuple[int, str]  # policy index and name of an object, by container


@dataclass(frozen=True, slots=True)
class _Object:
    """The newest that devices have of an object."""

    path: str
    name: str  # /account/container/object
    timestamp: Timestamp
    is_deleted: bool


def listing_problems(devices: Sequence[Path], cluster: Cluster) -> Iterator[str]:
    """The objects on devices that no listing knows of. Raises OSError."""
    by_container: dict[tuple[str, str], dict[_Key, _Object]] = defaultdict(dict)
    promised = _promised(devices, cluster)
    for (policy_index, digest), found in _newest_objects(devices, cluster).items():
        if promised.get((policy_index, digest), Timestamp(-1)) < found.timestamp:
            _, account, container, obj = found.name.split("/", 3)
            by_container[account, container][policy_index, obj] = found
    databases = _databases(devices)
    for (account, container), objects in sorted(by_container.items()):
        paths = databases.get(cluster.hash_path(account, container), [])
        if paths:
            yield from _unlisted(objects, paths)


def _unlisted(objects: dict[_Key, _Object], paths: list[str]) -> Iterator[str]:
    for path in paths:
        try:
            known = _rows(path)
        except sqlite3.DatabaseError:
            continue  # named by the check of its device
        objects = {key: found for key, found in objects.items() if not _is_known(found, known.get(key))}
    for found in objects.values():
        what = "its deletion" if found.is_deleted else "it"
        yield f"{found.path}: no database of its container has {what}, and no async pending brings it (S4)"


def _is_known(found: _Object, row: tuple[Timestamp, bool] | None) -> bool:
    if row is None:
        return found.is_deleted  # a row that is gone for good
    time, is_deleted = row
    return time >= found.timestamp or (found.is_deleted and is_deleted)


def _newest_objects(devices: Sequence[Path], cluster: Cluster) -> dict[tuple[int, str], _Object]:
    newest: dict[tuple[int, str], _Object] = {}
    for device in devices:
        for policy in cluster.policies:
            for folder in _hash_folders(f"{device}/objects{policy.suffix}"):
                found = _object_in(folder, cluster)
                key = policy.index, os.path.basename(folder)
                if found and (key not in newest or newest[key].timestamp < found.timestamp):
                    newest[key] = found
    return newest


def _object_in(folder: str, cluster: Cluster) -> _Object | None:
    files = choose(listed(folder))
    file = files.data or files.tombstone
    if file is None:
        return None
    path = f"{folder}/{file.name}"
    try:
        metadata = xattrs.read(path)
    except (MiniswiftError, FileNotFoundError):
        return None  # damage is named by the check of its device
    if digest_of(metadata, cluster) != os.path.basename(folder):
        return None
    return _Object(path, metadata["name"], file.timestamp, file.extension == "ts")


def _promised(devices: Sequence[Path], cluster: Cluster) -> dict[tuple[int, str], Timestamp]:
    """By policy and hash of an object, the time of the newest async pending."""
    promised: dict[tuple[int, str], Timestamp] = {}
    for device in devices:
        for policy in cluster.policies:
            for newest, *_ in files_by_object(f"{device}/async_pending{policy.suffix}"):
                try:
                    time = AsyncUpdate.from_pickle(Path(newest).read_bytes()).timestamp
                except (MiniswiftError, FileNotFoundError):
                    continue
                key = policy.index, os.path.basename(newest)[:32]
                promised[key] = max(time, promised.get(key, time))
    return promised


def _databases(devices: Sequence[Path]) -> dict[str, list[str]]:
    """The databases of each container, by its hash. Those of a sharded one are not all here."""
    found: dict[str, list[str]] = defaultdict(list)
    for device in devices:
        for folder in _hash_folders(f"{device}/containers"):
            digest = os.path.basename(folder)
            if [name for name in listed(folder) if name.endswith(".db")] == [f"{digest}.db"]:
                found[digest].append(f"{folder}/{digest}.db")
    return found


def _rows(path: str) -> dict[_Key, tuple[Timestamp, bool]]:
    """When each row's data were written, and whether they are deleted."""
    with closing(open_to_look(path)) as connection:
        # Waiting rows first: they may be merged while we look, and not the other way round.
        waiting = pending.load(f"{path}.pending", ObjectRow.checked)
        stored = connection.execute("SELECT storage_policy_index, name, created_at, deleted FROM object")
        rows = {
            (policy_index, name): (RowTimes.parse(created_at).data, bool(deleted))
            for policy_index, name, created_at, deleted in stored
        }
    for row in waiting:
        key = row.storage_policy_index, row.name
        said = RowTimes.parse(row.created_at).data, bool(row.deleted)
        rows[key] = max(said, rows.get(key, said))
    return rows


def _hash_folders(top: str) -> Iterator[str]:
    for part in listed(top):
        for suffix in listed(f"{top}/{part}"):
            for name in listed(f"{top}/{part}/{suffix}"):
                yield f"{top}/{part}/{suffix}/{name}"
