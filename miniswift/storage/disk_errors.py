"""What can be wrong with an object on disk, or with the disk: the family of `diskfile`."""

from __future__ import annotations

import errno

from miniswift.errors import MiniswiftError
from miniswift.timestamp import Timestamp


class DiskFileError(MiniswiftError):
    """Raised when an object cannot be read or written as asked."""


class NotFound(DiskFileError):
    """Raised when there is no such object."""


class Deleted(NotFound):
    """Raised when a tombstone says since when there is no such object."""

    def __init__(self, timestamp: Timestamp) -> None:
        super().__init__(timestamp)
        self.timestamp = timestamp


class Expired(Deleted):
    """Raised when the object's X-Delete-At has passed; its files are still there."""

    def __init__(self, timestamp: Timestamp, metadata: dict[str, str]) -> None:
        super().__init__(timestamp)
        self.metadata = metadata


class Quarantined(NotFound):
    """Raised when the files contradicted themselves and were put aside."""


class Collision(DiskFileError):
    """Raised when another name with the same hash is stored where this one belongs."""


class AlreadyWritten(DiskFileError):
    """Raised when a file of the same kind and timestamp exists: another write of that instant won."""

    def __init__(self, timestamp: Timestamp) -> None:
        super().__init__(timestamp)
        self.timestamp = timestamp


class StateChanged(DiskFileError):
    """Raised when files vanish as fast as they are found; asking again will help."""


class DeviceUnavailable(DiskFileError):
    """Raised when the device is gone, read-only or broken."""


class DiskFull(DeviceUnavailable):
    """Raised when there is no space, or no inode, left."""


class NoRoomForMetadata(DiskFull):
    """Raised when the file system cannot keep metadata of this size (bytes) with a file."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"{size_bytes} bytes of metadata do not fit into the extended attributes of a file here"
            " (ext4 keeps 4 KiB unless made with ea_inode; XFS keeps 64 KiB)"
        )
        self.size_bytes = size_bytes


class XattrsUnsupported(DeviceUnavailable):
    """Raised when the file system has no extended attributes."""

    def __init__(self) -> None:
        super().__init__("the file system has no extended attributes, where object metadata live")


def from_os_error(error: OSError) -> DiskFileError:
    """What an error of the operating system means; chain it with `raise … from error`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(str(error))
    return DeviceUnavailable(str(error))
