"""What the file system under a folder can hold of object metadata.

Metadata live in extended attributes. ext4 keeps at most one block of them for a file (4 KiB) unless it was
made with `ea_inode`; XFS keeps 64 KiB an attribute, tmpfs (since Linux 6.6) as well. Whether an object's
metadata fit is found out by trying: names of file systems do not tell how they were made.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from miniswift.cluster import Constraints
from miniswift.storage import xattrs

MOST = 65536  # bytes; enough for whatever constraints allow, so nobody needs to know of more


def room_for_metadata(folder: Path) -> int:
    """The most metadata (bytes, as stored) that a file here takes, up to MOST; 0 if it takes none.

    Raises OSError for a folder that cannot be written.
    """
    low, high = 0, MOST
    while low < high:
        size = (low + high + 1) // 2
        if _takes(folder, size):
            low = size
        else:
            high = size - 1
    return low


def _takes(folder: Path, size: int) -> bool:
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.setxattr(file.fileno(), xattrs.KEY, b"x" * size)
            os.setxattr(file.fileno(), xattrs.CHECKSUM_KEY, b"x" * 32)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.E2BIG, errno.ERANGE, errno.ENOTSUP):
                return False
            raise
    return True


def largest_metadata(limits: Constraints) -> int:
    """The size (bytes, as stored) of the most metadata that the constraints let an object have."""
    name_size = limits.max_account_name_length + limits.max_container_name_length
    metadata = {
        "name": "x" * (name_size + limits.max_object_name_length),
        "X-Timestamp": "0000000000.00000_0000000000000000",
        "Content-Type": "x" * limits.max_meta_value_length,
        "Content-Length": "0" * 10,
        "ETag": "0" * 32,
        "X-Delete-At": "0" * 10,
    }
    share = limits.max_meta_overall_size // max(1, limits.max_meta_count)
    for number in range(limits.max_meta_count):
        name = f"{number:0{share // 2}d}"
        metadata[f"X-Object-Meta-{name}"] = "x" * (share - len(name))
    return len(xattrs.encode(metadata))


def type_of(folder: Path) -> str:
    """The type of the file system that a folder lies on, as /proc/self/mountinfo names it (proc(5))."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == wanted:
            return source.split()[0]
    return "unknown"


def verdict(devices: Iterable[Path], limits: Constraints) -> str:
    """One line for an operator: what objects on these devices may have, and what to do if that is little."""
    needed = largest_metadata(limits)
    try:
        room, device = min((room_for_metadata(device), device) for device in devices)
        kind = type_of(device)
    except (OSError, ValueError) as error:
        return f"no device could be tried: {error}"
    if room >= needed:
        return f"{kind}, which takes all the metadata that the constraints allow"
    return (
        f"{kind}, which takes {room} of the {needed} bytes of metadata that the constraints allow an object;"
        " more is refused with 507. XFS takes all, and so does ext4 made with `mkfs.ext4 -O ea_inode`."
    )
