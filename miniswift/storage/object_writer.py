"""One write to an object's directory: a new data file, POSTed metadata or a tombstone.

The file has no name (O_TMPFILE) until everything about it is durable; a writer that is closed without
a commit leaves nothing. `commit` takes these steps, and a crash may come between any two:

    described → synced → invalidated → linked → durable → cleaned

Up to "invalidated" the object is as it was before; from "linked" on it is the new one; "durable" is
what may be acknowledged.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import tempfile
import time
from collections.abc import Callable
from hashlib import md5
from types import TracebackType
from typing import TYPE_CHECKING

from miniswift.concurrency import in_native_thread, native_sleep, sleep
from miniswift.storage import xattrs
from miniswift.storage.atomic import fsync_directory, make_directories
from miniswift.storage.disk_errors import AlreadyWritten, DeviceUnavailable, from_os_error
from miniswift.storage.object_files import clean_up, file_name
from miniswift.storage.suffix_hashes import invalidate
from miniswift.timestamp import Timestamp

if TYPE_CHECKING:
    from miniswift.storage.diskfile import DiskFile

logger = logging.getLogger(__name__)

Pause = Callable[[float], object]  # waits so many seconds: for others of this thread to run, or natively

# Bytes. What comes in a few chunks is allocated by its writes just as well.
_ALLOCATED_AHEAD = 1 << 20


class Writer:
    """A file that is being written. A context manager: leaving it without a commit abandons it."""

    def __init__(self, disk_file: DiskFile, extension: str, size: int | None = None) -> None:
        self.size = 0  # bytes written
        self._disk_file = disk_file
        self._extension = extension
        self._announced = size
        self._fd = -1
        self._temporary = ""  # its path, where O_TMPFILE is not known
        self._changed: list[str] = []  # directories with new directories in them, not yet durable
        self._md5 = md5(usedforsecurity=False)
        self._unsynced = 0  # bytes

    def __enter__(self) -> Writer:
        try:
            self._fd = self._open()
            if self._announced is not None and self._announced > _ALLOCATED_AHEAD:
                os.posix_fallocate(self._fd, 0, self._announced)
        except OSError as error:
            self.close()
            raise from_os_error(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> int:
        path = self._disk_file.path
        try:
            return os.open(path, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            self._make_directory()
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
            temporary = self._disk_file.temporary
            make_directories(temporary, self._disk_file.device)
            fd, self._temporary = tempfile.mkstemp(dir=temporary)
            return fd
        return self._open()

    def _make_directory(self) -> None:
        self._changed += make_directories(self._disk_file.path, self._disk_file.device)

    def close(self) -> None:
        """Abandon what was not committed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._temporary:
            os.unlink(self._temporary)
            self._temporary = ""
        if self._changed:
            # Directories that were made for nothing; those that got other files meanwhile stay.
            path = self._disk_file.path
            for made in (path, os.path.dirname(path), self._disk_file.partition):
                try:
                    os.rmdir(made)
                except OSError:
                    break

    # --- the body ---------------------------------------------------------------------------------

    def write(self, chunk: bytes) -> None:
        """Append a chunk. Raises DiskFull or DeviceUnavailable.

        The MD5 is computed here and not in a native thread: handing over costs more CPU than it saves
        time, measured for 64 MiB from a socket: 132 ms of CPU in 181 ms, and 169 ms in 211 ms.
        """
        self._md5.update(chunk)
        try:
            written = os.write(self._fd, chunk)
            while written < len(chunk):
                written += os.write(self._fd, memoryview(chunk)[written:])
            self.size += written
            self._unsynced += written
            if self._unsynced >= self._disk_file.files.sync_every_bytes:
                # So that the commit of a huge object does not wait for all of it.
                in_native_thread(os.fdatasync, self._fd)
                self._unsynced = 0
        except OSError as error:
            raise from_os_error(error) from error

    def etag(self) -> str:
        """The MD5 of what was written, in hex."""
        return self._md5.hexdigest()

    # --- the commit -------------------------------------------------------------------------------

    def commit(
        self,
        timestamp: Timestamp,
        metadata: xattrs.Metadata,
        content_type_timestamp: Timestamp | None = None,
    ) -> None:
        """Make the file, with `metadata`, the newest of the object, durably.

        Raises AlreadyWritten, NoRoomForMetadata, DiskFull and other DeviceUnavailable.
        """
        try:
            self._commit(file_name(self._extension, timestamp, content_type_timestamp), metadata)
        except FileExistsError:
            raise AlreadyWritten(timestamp) from None
        except OSError as error:
            raise from_os_error(error) from error

    def _commit(self, name: str, metadata: xattrs.Metadata) -> None:
        disk_file, step = self._disk_file, self._disk_file.files.after_step
        xattrs.write(self._fd, {**metadata, "name": disk_file.name})
        step("described")
        # A native thread may go on when its caller was interrupted: it has a descriptor of its own.
        disk_file.pacer.run(functools.partial(self._make_visible, os.dup(self._fd), name))
        self._changed = []
        try:
            names = os.listdir(disk_file.path)
            if names != [name] or self._extension == "ts":
                clean_up(disk_file.path, disk_file.files.reclaim_before(), names)
        except OSError as error:
            # The write stands; what is left over means nothing and the next write tries again.
            logger.warning("object directory %s was not cleaned up: %s", disk_file.path, error)
        step("cleaned")

    def _make_visible(self, fd: int, name: str, pause: Pause) -> None:
        """Make the file durable, give it its name, and make that durable. Closes `fd`."""
        disk_file, step = self._disk_file, self._disk_file.files.after_step
        try:
            os.fsync(fd)
            if self.size > disk_file.files.keep_cache_size:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            step("synced")
            self._invalidate(pause)
            step("invalidated")
            directory = self._link(fd, name)
        finally:
            os.close(fd)
        try:
            step("linked")
            os.fsync(directory)
        finally:
            os.close(directory)
        for path in dict.fromkeys(self._changed):
            fsync_directory(path)
        step("durable")

    def _invalidate(self, pause: Pause) -> None:
        try:
            invalidate(self._disk_file.partition, self._disk_file.suffix, pause)
        except FileNotFoundError:
            self._make_directory()  # a replicator has moved the partition away
            invalidate(self._disk_file.partition, self._disk_file.suffix, pause)

    def _link(self, fd: int, name: str) -> int:
        """Give the file its name; return the descriptor of its directory, which needs an fsync."""
        path = self._disk_file.path
        for _ in range(3):
            try:
                directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                self._make_directory()  # a clean-up found it empty
                continue
            try:
                self._link_in(directory, fd, name)
            except FileNotFoundError:
                os.close(directory)
            except BaseException:
                os.close(directory)
                raise
            else:
                return directory
        raise DeviceUnavailable(f"{path} vanishes as fast as it is made")

    def _link_in(self, directory: int, fd: int, name: str) -> None:
        if self._temporary:
            os.link(self._temporary, name, dst_dir_fd=directory)
            os.unlink(self._temporary)
            self._temporary = ""
        else:
            # linkat() follows the link of /proc to the file only when given a directory descriptor.
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory)


class CommitPacer:
    """Where to wait for a device: here while it is fast, in a native thread when it is slow.

    A call in a native thread costs 0.1 ms of CPU, a third of a small write; waiting here keeps every
    other request of this process waiting too. So a device on which commits take `PATIENCE_S` on average
    at most is waited for here.
    """

    PATIENCE_S = 0.002

    def __init__(self) -> None:
        self._average_s = self.PATIENCE_S

    def run(self, work: Callable[[Pause], None]) -> None:
        """Do `work`, which pauses by what it is given."""
        if self._average_s < self.PATIENCE_S:
            self._run(work, sleep)
        else:
            in_native_thread(self._run, work, native_sleep)

    def _run(self, work: Callable[[Pause], None], pause: Pause) -> None:
        started = time.perf_counter()
        work(pause)
        self._average_s += (time.perf_counter() - started - self._average_s) / 8
