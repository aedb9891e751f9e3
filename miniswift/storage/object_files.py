"""The files of one object: their names, which of them count, and removing those that do not.

    <timestamp>.data                the object
    <timestamp>[±hex].meta          what a later POST set; the hex leads to its content type's time
    <timestamp>.ts                  a tombstone

1. The newest tombstone makes everything as old as it, or older, obsolete.
2. Else the newest data file is the object; anything as old, or older, is obsolete.
3. Of the meta files newer than that the newest counts, and besides it an older one when that holds
   a newer content type.
4. A tombstone outlives its reason after `reclaim_age`, and so does a meta file without an object.

Names that are none of these (a file that rsync is copying) are left alone and mean nothing.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field

from miniswift.errors import TimestampError
from miniswift.timestamp import RowTimes, Timestamp

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a file name says."""

    name: str
    extension: str  # "data", "meta" or "ts"
    timestamp: Timestamp
    content_type_timestamp: Timestamp | None = None  # of a meta file that holds a content type


def file_name(extension: str, timestamp: Timestamp, content_type_timestamp: Timestamp | None = None) -> str:
    """The name under which a write at `timestamp` becomes visible."""
    if content_type_timestamp is None:
        return f"{timestamp.internal}.{extension}"
    delta = content_type_timestamp.units - timestamp.units
    return f"{timestamp.short}{delta:+x}.{extension}"


def parse_name(name: str) -> StoredFile | None:
    """Read a file name; None when it is not one of an object's files."""
    stem, _, extension = name.rpartition(".")
    try:
        if extension in ("data", "ts"):
            return StoredFile(name, extension, Timestamp.parse(stem))
        if extension == "meta" and ("+" in stem or "-" in stem):
            times = RowTimes.parse(stem)
            return StoredFile(name, extension, times.data, times.content_type)
        if extension == "meta":
            return StoredFile(name, extension, Timestamp.parse(stem))
    except TimestampError:
        pass
    return None


@dataclass(slots=True)
class ObjectFiles:
    """The files in an object's directory, sorted by what they mean."""

    data: StoredFile | None = None
    meta: StoredFile | None = None
    content_type: StoredFile | None = None  # the meta file whose content type is newer than the data
    tombstone: StoredFile | None = None
    obsolete: list[StoredFile] = field(default_factory=list)
    orphans: list[StoredFile] = field(default_factory=list)  # meta files without an object


def choose(names: list[str]) -> ObjectFiles:
    """Decide which of the files count."""
    files = ObjectFiles()
    found: dict[str, list[StoredFile]] = {"data": [], "meta": [], "ts": []}
    for name in names:
        file = parse_name(name)
        if file is not None:
            found[file.extension].append(file)
        elif not name.startswith("."):  # rsync's temporary names do
            logger.warning("file %s is not named like one of an object", name)
    newest_first = {
        extension: sorted(listed, key=lambda file: file.timestamp, reverse=True)
        for extension, listed in found.items()
    }
    tombstones, data, metas = newest_first["ts"], newest_first["data"], newest_first["meta"]
    if tombstones:
        files.obsolete += tombstones[1:]
        data = _newer(data, tombstones[0].timestamp, files.obsolete)
        metas = _newer(metas, tombstones[0].timestamp, files.obsolete)
    metas = _counting(metas, files.obsolete)
    if not data:
        files.tombstone = tombstones[0] if tombstones else None
        files.orphans = metas
        return files
    files.data = data[0]
    files.obsolete += [*data[1:], *tombstones[:1]]
    metas = _newer(metas, files.data.timestamp, files.obsolete)
    if metas:
        files.meta, last = metas[0], metas[-1]
        if last.content_type_timestamp and last.content_type_timestamp > files.data.timestamp:
            files.content_type = last
    return files


def _newer(files: list[StoredFile], timestamp: Timestamp, rest: list[StoredFile]) -> list[StoredFile]:
    rest += [file for file in files if file.timestamp <= timestamp]
    return [file for file in files if file.timestamp > timestamp]


def _counting(metas: list[StoredFile], obsolete: list[StoredFile]) -> list[StoredFile]:
    """The newest meta file, and a second one if its content type is newer still."""
    if len(metas) < 2:
        return metas
    newest, *others = metas
    second = max(others, key=_content_type_time)
    if _content_type_time(second) <= _content_type_time(newest):
        kept = [newest]
    elif second.timestamp == newest.timestamp:
        kept = [second]
    else:
        kept = [newest, second]
    obsolete += [file for file in metas if file not in kept]
    return kept


def _content_type_time(file: StoredFile) -> Timestamp:
    return file.content_type_timestamp or _NEVER


_NEVER = Timestamp(-1)  # before every time a file can carry


def clean_up(path: str, reclaim_before: Timestamp, names: list[str] | None = None) -> ObjectFiles:
    """Remove what does not count from an object's directory, and the directory when it is empty.

    A tombstone, or a meta file without an object, goes when it is older than `reclaim_before`.
    `names` are the directory's entries where they are known already. Raises NotADirectoryError, and
    OSError for a directory that cannot be listed.
    """
    try:
        names = os.listdir(path) if names is None else names
    except FileNotFoundError:
        return ObjectFiles()
    files = choose(names)
    removed = [*files.obsolete, *(file for file in files.orphans if file.timestamp < reclaim_before)]
    if files.tombstone is not None and files.tombstone.timestamp < reclaim_before:
        removed.append(files.tombstone)
        files.tombstone = None
    for file in removed:
        try:
            os.unlink(f"{path}/{file.name}")
        except FileNotFoundError:
            pass  # another process cleans up as well
    if len(removed) == len(names):
        try:
            os.rmdir(path)
        except OSError:
            pass  # a new file arrived, or another process was faster
    return files
