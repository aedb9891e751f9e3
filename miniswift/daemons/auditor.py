"""The auditor of objects: reads what nobody reads, so that damage is found while there are other copies.

    full pass         every file's name, metadata, size and MD5
    zero-byte pass    all but the MD5, at a higher rate: what a crash of the disk leaves is often empty

1. What contradicts itself is quarantined: the other replicas serve it, and Swift's replicators bring it back.
2. A pass yields between chunks and keeps to its rates (files and bytes a second).
3. Tombstones whose reclaim age is over go, where no replicator comes by to do it.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from miniswift.cluster import Cluster, Policy
from miniswift.config import count, option, positive, seconds, words
from miniswift.daemons import Daemon
from miniswift.daemons.devices import Devices, folders
from miniswift.errors import MiniswiftError
from miniswift.pace import Pace
from miniswift.pipeline import read_settings
from miniswift.storage import StorageSettings, xattrs
from miniswift.storage.disk_errors import DiskFileError, NotFound, Quarantined
from miniswift.storage.diskfile import DiskFile, DiskFiles
from miniswift.storage.object_files import choose, clean_up
from miniswift.storage.suffix_hashes import invalidate

logger = logging.getLogger(__name__)

_SECTION = "object-auditor"
_RSYNC_SECONDS = 86400  # that a file which rsync is copying may take; older ones were given up


def _sizes(value: str) -> tuple[int, ...]:
    return tuple(sorted(count(word) for word in words(value)))


@dataclasses.dataclass(frozen=True)
class AuditorSettings(StorageSettings):
    """The options of [object-auditor]."""

    interval: float = option(seconds, "30", "seconds between passes")
    files_per_second: float = option(seconds, "20", "files looked at a second at most; 0 is no limit")
    bytes_per_second: float = option(seconds, "10000000", "bytes read a second at most; 0 is no limit")
    zero_byte_files_per_second: float = option(
        seconds, "50", "files a second at most in the pass that reads no content; 0 leaves it out"
    )
    disk_chunk_size: int = option(positive, "65536", "bytes read at once")
    log_time: float = option(seconds, "3600", "seconds between two lines of progress")
    object_size_stats: tuple[int, ...] = option(
        _sizes, "", "bytes, separated by commas: how many objects are of up to each size is logged"
    )
    rsync_tempfile_timeout: str = option(
        str.strip, "auto", "seconds after which a file that rsync left half-copied goes; auto is a day"
    )
    reclaim_age: float = option(seconds, "604800", "seconds a tombstone is kept")


class ObjectAuditor(Daemon):
    """Looks at every object on the devices of this machine."""

    name = "auditor"
    rest_factor = 0.0  # it has rates

    def __init__(
        self,
        settings: AuditorSettings,
        cluster: Cluster,
        *,
        reads_content: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings.interval, settings.recon_cache_path)
        self.progress_interval_s = settings.log_time
        self._settings = settings
        self._reads_content = reads_content
        self._devices = Devices(settings)
        self._policies = list(cluster.policies)
        self._cluster = cluster
        self._clock = clock
        self._files = DiskFiles(settings.devices, cluster, reclaim_age_s=settings.reclaim_age, clock=clock)
        rate = settings.files_per_second if reads_content else settings.zero_byte_files_per_second
        self._file_pace = Pace(rate)
        self._byte_pace = Pace(settings.bytes_per_second)
        self.counts: Counter[str] = Counter()  # of the last pass: passed, quarantined, failed, bytes
        self.sizes: Counter[str] = Counter()

    def run_once(self) -> str:
        self.counts, self.sizes = Counter(), Counter()
        if not self._reads_content and not self._settings.zero_byte_files_per_second:
            return ""
        for device in self._devices.mounted():
            for policy in self._policies:
                self._audit_all(device, policy)
        kind = "whole" if self._reads_content else "but for their content"
        logger.debug("objects looked at, %s: %s", kind, dict(self.counts))
        if self._settings.object_size_stats:
            logger.info("objects by size in bytes, up to: %s", dict(self.sizes))
        if not self.counts["quarantined"] and not self.counts["failed"]:
            return ""
        return (
            f"{self.counts['passed']} objects are well, {self.counts['quarantined']} were quarantined, "
            f"{self.counts['failed']} could not be read"
        )

    def stats(self, took_s: float) -> dict[str, dict[str, object]]:
        """See Daemon."""
        counts = self.counts
        of_pass: dict[str, object] = {
            "errors": counts["failed"], "passes": counts["passed"], "quarantined": counts["quarantined"],
            "bytes_processed": counts["bytes"], "start_time": time.time() - took_s, "audit_time": took_s,
        }  # fmt: skip
        return {"object": {f"object_auditor_stats_{'ALL' if self._reads_content else 'ZBF'}": of_pass}}

    def _audit_all(self, device: Path, policy: Policy) -> None:
        for partition, folder in _objects(device / f"objects{policy.suffix}"):
            if self.is_stopping:
                return
            self._file_pace.wait()
            try:
                self._audit(device.name, partition, policy, folder)
            except Quarantined:
                self.counts["quarantined"] += 1
            except NotFound:
                pass  # deleted, or deleted meanwhile
            except (DiskFileError, MiniswiftError, OSError) as error:
                self.counts["failed"] += 1
                logger.error("object in %s cannot be audited: %s", folder, error)
            self.progress(
                "%d objects are well, %d quarantined so far",
                self.counts["passed"],
                self.counts["quarantined"],
            )

    def _audit(self, device: str, partition: int, policy: Policy, folder: Path) -> None:
        """Look at one object. Raises Quarantined when it was, NotFound, and other errors of disks."""
        names = os.listdir(folder)
        self._remove_what_rsync_left(folder, names)
        files = choose(names)
        if files.data is None:
            self._tidy(folder, names)
            return
        name = _name_in(folder / files.data.name)
        disk_file = DiskFile(self._files, device, partition, policy, folder.name, name)
        reader = disk_file.open(even_expired=True)
        try:
            if self._digest(name) != folder.name:
                raise disk_file.quarantine(f"its name, {name!r}, does not belong there")
            self._count_size(reader.size)
            if self._reads_content:
                reader.verify(self._settings.disk_chunk_size, self._read)
        finally:
            reader.close()
        self.counts["passed"] += 1

    def _read(self, size: int) -> None:
        self.counts["bytes"] += size
        self._byte_pace.wait(size)

    def _digest(self, name: str) -> str:
        parts = name.split("/", 3)
        return self._cluster.hash_path(*parts[1:]) if len(parts) == 4 else ""

    def _count_size(self, size: int) -> None:
        limits = self._settings.object_size_stats
        if limits:
            self.sizes[next((str(limit) for limit in limits if size <= limit), "larger")] += 1

    # --- tidying ---------------------------------------------------------------------------------

    def _tidy(self, folder: Path, names: list[str]) -> None:
        """Remove a tombstone that has done its work, and the folder or two that it leaves empty."""
        before = self._files.reclaim_before()
        files = choose(names)
        if names and not (files.tombstone and files.tombstone.timestamp < before):
            return
        suffix = folder.parent
        invalidate(str(suffix.parent), suffix.name)
        clean_up(str(folder), before)
        for empty in (folder, suffix):
            try:
                empty.rmdir()
            except FileNotFoundError:
                pass  # cleaning up removed it
            except OSError:
                return  # something is in there still, or again

    def _remove_what_rsync_left(self, folder: Path, names: list[str]) -> None:
        given = self._settings.rsync_tempfile_timeout
        age_s = _RSYNC_SECONDS if given == "auto" else seconds(given)
        for name in names:
            # .<timestamp>.data.<six characters>
            if name.startswith(".") and name.count(".") >= 3:
                path = folder / name
                if path.stat().st_mtime < self._clock() - age_s:
                    path.unlink(missing_ok=True)


def _objects(objects: Path) -> Iterator[tuple[int, Path]]:
    """Each partition's number with the folder of one of its objects."""
    for partition in folders(objects):
        if partition.name.isdecimal():
            for suffix in folders(partition):
                for folder in folders(suffix):
                    yield int(partition.name), folder


def _name_in(path: Path) -> str:
    """The name that a data file's metadata give, empty if they cannot be read: who opens it finds out."""
    try:
        return xattrs.read(str(path)).get("name", "")
    except MiniswiftError:
        return ""


def make_auditor(conf_file: str) -> ObjectAuditor:
    """The auditor of [object-auditor]. Raises ConfigError."""
    return _make(conf_file, reads_content=True)


def make_zero_byte_auditor(conf_file: str) -> ObjectAuditor:
    """The one that leaves contents alone, for the same section. Raises ConfigError."""
    return _make(conf_file, reads_content=False)


def _make(conf_file: str, *, reads_content: bool) -> ObjectAuditor:
    settings = read_settings(AuditorSettings, conf_file, _SECTION)
    return ObjectAuditor(settings, Cluster.load(settings.swift_dir), reads_content=reads_content)
