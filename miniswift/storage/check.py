"""A walk over a device that names everything on it that contradicts what the storage code promises.

For tests, and for an operator who wants to know. It changes nothing.

1. A file of an object is complete: its metadata can be read, its size and MD5 are what they say.
2. It lies where its name belongs, and is named after its time.
3. A hash in hashes.pkl that nobody invalidated is that of the files that are there.
4. An async pending can be read and lies where its object's hash says.

What a crash may leave behind, and the next write removes, is no violation with `after_crash`: files
that do not count any more, empty directories, temporary files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import md5

from miniswift.cluster import Cluster
from miniswift.errors import MiniswiftError
from miniswift.storage import xattrs
from miniswift.storage.async_pending import AsyncUpdate, newest_files
from miniswift.storage.object_files import StoredFile, choose, parse_name
from miniswift.storage.suffix_hashes import INVALID, is_suffix, load_hashes, signature
from miniswift.storage.xattrs import Metadata

_BOOKKEEPING = (".lock", ".lock-replication", "hashes.pkl", "hashes.invalid")


def check_disk(root: str | os.PathLike[str], cluster: Cluster, *, after_crash: bool = False) -> list[str]:
    """Every violation on the device at `root`, one line each; empty when all is well."""
    return list(_Walk(os.fspath(root), cluster, after_crash).problems())


class _Walk:
    def __init__(self, root: str, cluster: Cluster, after_crash: bool) -> None:
        self.root = root
        self.cluster = cluster
        self.after_crash = after_crash

    def problems(self) -> Iterator[str]:
        for name in _listed(self.root):
            path = f"{self.root}/{name}"
            kind = name.partition("-")[0]
            if kind == "objects":
                for part in _listed(path):
                    yield from self._in_partition(f"{path}/{part}")
            elif kind == "async_pending":
                yield from self._in_pendings(path)
            elif kind == "tmp" and _listed(path) and not self.after_crash:
                yield f"{path}: temporary files were left: {_listed(path)}"

    def _in_partition(self, path: str) -> Iterator[str]:
        if not os.path.basename(path).isdecimal():
            yield f"{path}: is not a partition"
            return
        hashes = load_hashes(path)
        changed = _lines(f"{path}/{INVALID}")
        suffixes = [name for name in _listed(path) if name not in _BOOKKEEPING]
        for suffix in suffixes:
            if not is_suffix(suffix):
                yield f"{path}/{suffix}: is not a suffix"
                continue
            digest = md5(usedforsecurity=False)
            for name in _listed(f"{path}/{suffix}"):
                yield from self._in_directory(f"{path}/{suffix}/{name}")
                digest.update(signature(choose(_listed(f"{path}/{suffix}/{name}"))))
            is_known = hashes["valid"] and suffix not in changed and hashes.get(suffix, "missing") is not None
            if is_known and hashes.get(suffix) != digest.hexdigest():
                yield f"{path}/{suffix}: changed without a word in {INVALID}"

    def _in_directory(self, path: str) -> Iterator[str]:
        names = _listed(path)
        if not names and not self.after_crash:
            yield f"{path}: is empty"
        obsolete = choose(names).obsolete
        if obsolete and not self.after_crash:
            yield f"{path}: was not cleaned up: {[file.name for file in obsolete]}"
        for name in names:
            file = parse_name(name)
            if file is None:
                yield f"{path}/{name}: is not a file of an object"
            else:
                yield from self._in_file(path, file)

    def _in_file(self, directory: str, file: StoredFile) -> Iterator[str]:
        path = f"{directory}/{file.name}"
        try:
            metadata = xattrs.read(path)
        except MiniswiftError as error:
            yield f"{path}: {error}"
            return
        if metadata.get("X-Timestamp") != file.timestamp.internal:
            yield f"{path}: its metadata are of {metadata.get('X-Timestamp')}"
        if self._digest_of(metadata) != os.path.basename(directory):
            yield f"{path}: holds {metadata.get('name')!r}, which does not belong there"
        if os.path.basename(os.path.dirname(directory)) != os.path.basename(directory)[-3:]:
            yield f"{path}: lies in the wrong suffix"
        yield from _in_content(path, file, metadata)

    def _digest_of(self, metadata: Metadata) -> str:
        account, _, rest = metadata.get("name", "").strip("/").partition("/")
        container, _, obj = rest.partition("/")
        return self.cluster.hash_path(account, container, obj)

    def _in_pendings(self, path: str) -> Iterator[str]:
        for newest, older in newest_files(path):
            for name in [newest, *older]:
                with open(name, "rb") as file:
                    data = file.read()
                try:
                    update = AsyncUpdate.from_pickle(data)
                    stamp = update.timestamp.internal
                except MiniswiftError as error:
                    yield f"{name}: {error}"
                    continue
                digest = self.cluster.hash_path(update.account, update.container, update.obj)
                if not name.endswith(f"/{digest[-3:]}/{digest}-{stamp}"):
                    yield f"{name}: holds an update of {update.path}, which does not belong there"


def _in_content(path: str, file: StoredFile, metadata: Metadata) -> Iterator[str]:
    with open(path, "rb") as opened:
        content = opened.read()
    if file.extension != "data":
        if content:
            yield f"{path}: is not empty"
        return
    if metadata.get("Content-Length") != str(len(content)):
        yield f"{path}: has {len(content)} bytes and should have {metadata.get('Content-Length')}"
    if metadata.get("ETag") != md5(content, usedforsecurity=False).hexdigest():
        yield f"{path}: its MD5 is not its ETag"


def _listed(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _lines(path: str) -> set[str]:
    try:
        with open(path, encoding="latin-1") as file:
            return set(file.read().split("\n"))
    except FileNotFoundError:
        return set()
