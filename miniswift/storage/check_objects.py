"""What can be wrong with the objects on a device, by looking at their files.

1. A file is complete: its metadata can be read, its size and MD5 are what they say (S1).
2. It lies where its name belongs, and is named after its time.
3. Nothing that does not count any more is left (S3).
4. A hash in hashes.pkl that nobody invalidated is that of the files that are there (S6).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import md5

from miniswift.cluster import Cluster
from miniswift.errors import MiniswiftError
from miniswift.storage import xattrs
from miniswift.storage.object_files import StoredFile, choose, parse_name
from miniswift.storage.suffix_hashes import HASHES, INVALID, LOCK, Hashes, is_suffix, load_hashes, signature
from miniswift.storage.xattrs import Metadata

_BOOKKEEPING = frozenset({HASHES, INVALID, LOCK, ".lock-replication"})
_BLOCK_SIZE = 1 << 20  # bytes


def object_problems(objects: str, cluster: Cluster, after_crash: bool) -> Iterator[str]:
    """The violations below a device's `objects[-N]`. Raises OSError."""
    for part in listed(objects):
        path = f"{objects}/{part}"
        if part.isdecimal():
            yield from _partition_problems(path, cluster, after_crash)
        else:
            yield f"{path}: is not a partition"


def _partition_problems(path: str, cluster: Cluster, after_crash: bool) -> Iterator[str]:
    hashes = load_hashes(path)
    changed = _lines(f"{path}/{INVALID}")
    suffixes = [name for name in listed(path) if name not in _BOOKKEEPING]
    for suffix in suffixes:
        if not is_suffix(suffix):
            yield f"{path}/{suffix}: is not a suffix"
            continue
        digest = md5(usedforsecurity=False)
        names = listed(f"{path}/{suffix}")
        for name in names:
            yield from _directory_problems(f"{path}/{suffix}/{name}", cluster, after_crash)
            digest.update(signature(choose(listed(f"{path}/{suffix}/{name}"))))
        is_as_hashed = hashes.get(suffix) == digest.hexdigest()
        if names and not is_as_hashed and _is_vouched_for(hashes, changed, suffix):
            yield f"{path}/{suffix}: changed without a word in {INVALID} (S6)"
    for suffix in hashes:
        if is_suffix(suffix) and suffix not in suffixes and _is_vouched_for(hashes, changed, suffix):
            yield f"{path}/{suffix}: vanished without a word in {INVALID} (S6)"


def _is_vouched_for(hashes: Hashes, changed: set[str], suffix: str) -> bool:
    """Whether replicators take what hashes.pkl says of a suffix, absence included, for what is there."""
    return bool(hashes["valid"]) and suffix not in changed and hashes.get(suffix, "") is not None


def _directory_problems(path: str, cluster: Cluster, after_crash: bool) -> Iterator[str]:
    if not os.path.isdir(path):
        if os.path.exists(path):
            yield f"{path}: is not a directory"
        return
    names = listed(path)
    if not names and not after_crash:
        yield f"{path}: is empty"
    obsolete = choose(names).obsolete
    if obsolete and not after_crash:
        yield f"{path}: was not cleaned up: {[file.name for file in obsolete]} (S3)"
    for name in names:
        file = parse_name(name)
        if file is None:
            yield f"{path}/{name}: is not a file of an object"
        else:
            yield from _file_problems(path, file, cluster)


def _file_problems(directory: str, file: StoredFile, cluster: Cluster) -> Iterator[str]:
    path = f"{directory}/{file.name}"
    try:
        metadata = xattrs.read(path)
        content_problem = _content_problem(path, file, metadata)
    except FileNotFoundError:
        return  # replaced meanwhile
    except MiniswiftError as error:
        yield f"{path}: {error} (S1)"
        return
    if content_problem:
        yield f"{path}: {content_problem} (S1)"
    if metadata.get("X-Timestamp") != file.timestamp.internal:
        yield f"{path}: its metadata are of {metadata.get('X-Timestamp')}"
    if digest_of(metadata, cluster) != os.path.basename(directory):
        yield f"{path}: holds {metadata.get('name')!r}, which does not belong there"
    if os.path.basename(os.path.dirname(directory)) != os.path.basename(directory)[-3:]:
        yield f"{path}: lies in the wrong suffix"


def digest_of(metadata: Metadata, cluster: Cluster) -> str:
    """The hash of the name that a file's metadata say, empty when they say none."""
    parts = metadata.get("name", "").split("/", 3)
    return cluster.hash_path(*parts[1:]) if len(parts) == 4 else ""


def _content_problem(path: str, file: StoredFile, metadata: Metadata) -> str:
    size = os.stat(path).st_size
    if file.extension != "data":
        return "is not empty" if size else ""
    if metadata.get("Content-Length") != str(size):
        return f"has {size} bytes and should have {metadata.get('Content-Length')}"
    digest = md5(usedforsecurity=False)
    with open(path, "rb", buffering=0) as opened:
        while block := opened.read(_BLOCK_SIZE):
            digest.update(block)
    return "" if metadata.get("ETag") == digest.hexdigest() else "its MD5 is not its ETag"


def listed(path: str) -> list[str]:
    """The names in a directory, none when it is gone or is none. Raises OSError."""
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
