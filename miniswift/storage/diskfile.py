"""Objects on disk.

An object lives in <device>/objects[-N]/<partition>/<suffix>/<hash>/ in the files that
`object_files` describes, its metadata in their extended attributes (`xattrs`).

    DiskFile.open() → Reader          what is stored, or NotFound, Deleted, Expired, …
    DiskFile.create() → Writer        write(chunk)…, commit(timestamp, metadata)
    DiskFile.write_metadata()         what a POST sets
    DiskFile.delete(timestamp)        a tombstone

1. A name that is visible is complete: data and metadata were fsynced before it was linked.
2. After commit() returns the name is durable: its directory, and every directory made on the way,
   was fsynced.
3. A write that is not committed leaves nothing: its file never had a name.
4. Nothing older than what counts outlives the next write.
5. What contradicts its own metadata is moved to <device>/quarantined, never served.

A whole object of up to 1 MiB is read and compared with its ETag before its first byte is sent. Larger
ones go out by sendfile, unread by us; their damage is for the auditor to find.

Not here: container updates (container_update), choosing devices (ring).
"""

from __future__ import annotations

import errno
import logging
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from miniswift.cluster import Cluster, Policy
from miniswift.errors import TimestampError
from miniswift.storage import xattrs
from miniswift.storage.atomic import make_directories
from miniswift.storage.disk_errors import (
    AlreadyWritten,
    Collision,
    Deleted,
    DeviceUnavailable,
    DiskFileError,
    DiskFull,
    Expired,
    NoRoomForMetadata,
    NotFound,
    Quarantined,
    StateChanged,
    XattrsUnsupported,
    from_os_error,
)
from miniswift.storage.object_files import ObjectFiles, choose
from miniswift.storage.object_reader import Reader
from miniswift.storage.object_writer import CommitPacer, Writer
from miniswift.storage.suffix_hashes import BROKEN_DIRECTORY, invalidate, is_suffix, suffix_hashes
from miniswift.storage.xattrs import BadMetadata, Metadata
from miniswift.timestamp import UNITS_PER_SECOND, Timestamp

__all__ = [
    "AlreadyWritten",
    "Collision",
    "Deleted",
    "DeviceUnavailable",
    "DiskFile",
    "DiskFileError",
    "DiskFiles",
    "DiskFull",
    "Expired",
    "NoRoomForMetadata",
    "NotFound",
    "Quarantined",
    "Reader",
    "StateChanged",
    "Writer",
    "XattrsUnsupported",
]

logger = logging.getLogger(__name__)

WHOLE_READ_SIZE = 1 << 20  # bytes; larger objects are sent unread
_ATTEMPTS = 3  # to open files that a concurrent write replaces
# What a POST cannot change, besides sysmeta: it is part of the data, or describes them.
_OF_THE_DATA = frozenset({"content-length", "deleted", "etag", "x-static-large-object"})


class DiskFiles:
    """The objects on the devices of this server."""

    def __init__(
        self,
        devices: str | Path,
        cluster: Cluster,
        *,
        reclaim_age_s: float = 7 * 86400.0,
        sync_every_bytes: int = 512 << 20,
        keep_cache_size: int = 5 << 20,
        clock: Callable[[], float] = time.time,
        after_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self.devices = str(devices)
        self.cluster = cluster
        self.reclaim_age_s = reclaim_age_s
        self.sync_every_bytes = sync_every_bytes
        self.keep_cache_size = keep_cache_size
        self.clock = clock
        self.after_step = after_step  # told each step of a commit, so that a test can stop there
        self._pacers: dict[str, CommitPacer] = {}

    def at(self, device: str, part: int, policy: Policy, account: str, container: str, obj: str) -> DiskFile:
        """The object of this name on a device, which exists."""
        digest = self.cluster.hash_path(account, container, obj)
        return DiskFile(self, device, part, policy, digest, f"/{account}/{container}/{obj}")

    def pacer(self, device: str) -> CommitPacer:
        return self._pacers.get(device) or self._pacers.setdefault(device, CommitPacer())

    def reclaim_before(self) -> Timestamp:
        """Tombstones older than this have done their work."""
        return Timestamp(max(0, int((self.clock() - self.reclaim_age_s) * UNITS_PER_SECOND)))

    def partition(self, device: str, part: int, policy: Policy) -> str:
        """The path of a partition."""
        return f"{self.devices}/{device}/objects{policy.suffix}/{part}"

    def hashes(self, device: str, part: int, policy: Policy) -> dict[str, str | None]:
        """The suffix hashes of a partition: what replicators compare."""

        def put_aside(path: str) -> None:
            quarantine(f"{self.devices}/{device}", policy, path)
            logger.error("object directory %s is damaged; quarantined", path)

        return suffix_hashes(self.partition(device, part, policy), self.reclaim_before(), put_aside)

    def invalidate(self, device: str, part: int, policy: Policy, suffixes: list[str]) -> None:
        """Note that somebody else (a replicator's rsync) changed suffixes."""
        partition = self.partition(device, part, policy)
        if os.path.isdir(partition):
            for suffix in filter(is_suffix, suffixes):
                invalidate(partition, suffix)


class DiskFile:
    """One object on one device, there or not."""

    __slots__ = ("device", "files", "name", "pacer", "partition", "path", "policy", "suffix")

    def __init__(
        self, files: DiskFiles, device: str, part: int, policy: Policy, digest: str, name: str
    ) -> None:
        self.files = files
        self.policy = policy
        self.name = name  # /account/container/object, text
        self.device = f"{files.devices}/{device}"
        self.partition = f"{self.device}/objects{policy.suffix}/{part}"
        self.suffix = digest[-3:]
        self.path = f"{self.partition}/{self.suffix}/{digest}"
        self.pacer = files.pacer(device)

    @property
    def temporary(self) -> str:
        return f"{self.device}/tmp{self.policy.suffix}"

    # --- writing ----------------------------------------------------------------------------------

    def create(self, size: int | None = None) -> Writer:
        """A writer of new data; `size` in bytes if it is known. To be used as a context manager."""
        return Writer(self, "data", size)

    def write_metadata(
        self, timestamp: Timestamp, metadata: Metadata, content_type_timestamp: Timestamp | None = None
    ) -> None:
        """Set what a POST can set. `content_type_timestamp` when that includes the content type."""
        with Writer(self, "meta") as writer:
            writer.commit(timestamp, metadata, content_type_timestamp)

    def delete(self, timestamp: Timestamp) -> None:
        """Leave a tombstone; everything as old as it, or older, goes."""
        with Writer(self, "ts") as writer:
            writer.commit(timestamp, {"X-Timestamp": timestamp.internal})

    # --- reading ----------------------------------------------------------------------------------

    def open(self, at: float | None = None, *, even_expired: bool = False) -> Reader:
        """The object as it is `at` a Unix time (now when None).

        Raises NotFound, Deleted, Expired, Quarantined, Collision, StateChanged, DeviceUnavailable.
        """
        for _ in range(_ATTEMPTS):
            try:
                return self._open(self.files.clock() if at is None else at, even_expired)
            except FileNotFoundError:
                continue  # a concurrent write replaced what we were about to open
            except OSError as error:
                raise from_os_error(error) from error
        raise StateChanged(self.path)

    def _open(self, at: float, even_expired: bool) -> Reader:
        names = self._list()
        if len(names) == 1 and names[0].endswith(".data"):
            files, data = None, names[0]  # the common case: written once
        else:
            files = choose(names)
            if files.data is None:
                raise self._absence(files)
            data = files.data.name
        fd = os.open(f"{self.path}/{data}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            reader = self._reader(fd, files)
            self._check(reader, at, even_expired)
        except BaseException:
            os.close(fd)
            raise
        return reader

    def _list(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            raise NotFound(self.name) from None
        except OSError as error:
            if error.errno not in BROKEN_DIRECTORY:
                raise
            raise self.quarantine(f"it cannot be listed: {error}") from None

    def _absence(self, files: ObjectFiles) -> NotFound:
        if files.tombstone is None:
            return NotFound(self.name)
        # Its metadata only repeat the name of the file, so a damaged tombstone still counts.
        return Deleted(files.tombstone.timestamp)

    def _reader(self, fd: int, files: ObjectFiles | None) -> Reader:
        try:
            data = xattrs.read(fd)
            if files is None or files.meta is None:
                merged, meta = data, None
            else:
                meta = self._meta_metadata(files)
                merged = _merge(data, meta)
            return Reader(fd, os.fstat(fd).st_size, merged, data, meta, self.quarantine)
        except BadMetadata as error:
            raise self.quarantine(str(error)) from None
        except (KeyError, TimestampError) as error:
            raise self.quarantine(f"its metadata lack or garble {error}") from None

    def _meta_metadata(self, files: ObjectFiles) -> Metadata:
        assert files.meta is not None
        meta = xattrs.read(f"{self.path}/{files.meta.name}")
        meta.pop("name", None)
        if files.content_type is not None and files.content_type is not files.meta:
            # An older POST set a content type newer than that of the newest POST.
            other = xattrs.read(f"{self.path}/{files.content_type.name}")
            if "Content-Type" in other and _content_type_time(other) > _content_type_time(meta):
                meta["Content-Type"] = other["Content-Type"]
                meta["Content-Type-Timestamp"] = other["Content-Type-Timestamp"]
        return meta

    def _check(self, reader: Reader, at: float, even_expired: bool) -> None:
        metadata = reader.metadata
        try:
            name, size, _ = metadata["name"], metadata["Content-Length"], metadata["ETag"]
        except KeyError as error:
            raise self.quarantine(f"its metadata lack {error}") from None
        if name != self.name:
            logger.error("object %s is stored where %s belongs: their hashes are equal", name, self.name)
            raise Collision(name)
        delete_at = metadata.get("X-Delete-At")
        if delete_at is not None and not even_expired:
            if not (delete_at.isascii() and delete_at.isdigit() and len(delete_at) <= 20):
                raise self.quarantine(f"its X-Delete-At is {delete_at!r}")
            if int(delete_at) <= at:
                raise Expired(reader.timestamp, metadata)
        if size != str(reader.size):
            raise self.quarantine(f"its Content-Length is {size!r} and it has {reader.size} bytes")

    def quarantine(self, reason: str) -> Quarantined:
        """Put the object's directory aside; the exception that says so, for the caller to raise."""
        try:
            put_aside = quarantine(self.device, self.policy, self.path)
        except FileNotFoundError:
            return Quarantined("somebody else was faster")
        logger.warning("object %s in %s: %s; quarantined", self.name, put_aside, reason)
        return Quarantined(reason)


def quarantine(device: str, policy: Policy, path: str) -> str:
    """Move an object's directory (or what stands in its place) aside; return where to."""
    suffix = os.path.dirname(path)
    target = f"{device}/quarantined/objects{policy.suffix}/{os.path.basename(path)}"
    make_directories(os.path.dirname(target), device)
    invalidate(os.path.dirname(suffix), os.path.basename(suffix))
    try:
        os.rename(path, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        target = f"{target}-{uuid.uuid4().hex}"
        os.rename(path, target)
    return target


def _merge(data: Metadata, meta: Metadata) -> Metadata:
    """The metadata of an object after a POST."""
    merged = {**meta, **{key: value for key, value in data.items() if _is_of_the_data(key)}}
    if Timestamp.parse(data["X-Timestamp"]) > _content_type_time(meta) and "Content-Type" in data:
        merged["Content-Type"] = data["Content-Type"]
        merged.pop("Content-Type-Timestamp", None)
    return merged


def _is_of_the_data(key: str) -> bool:
    lowered = key.lower()
    return lowered in _OF_THE_DATA or lowered.startswith("x-object-sysmeta-") or key == "name"


def _content_type_time(metadata: Metadata) -> Timestamp:
    stamp = metadata.get("Content-Type-Timestamp")
    return Timestamp.parse(stamp) if stamp else Timestamp(-1)
