"""Ring files: what `account.ring.gz` and its kin hold, read and written in Swift's formats.

v1      gzip( "R1NG" 0001 | length, JSON | one array of 16-bit device ids a replica )
v2      gzip( "R1NG" 0002 | length, data of each section … | index | where the index starts )

1. Equal rings are equal files: the gzip header has a constant time and no name.
2. A file appears under its name complete and fsynced, or not at all.

Not here: looking up partitions (ring), choosing devices for them (ring_builder).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import struct
import sys
import tempfile
import zlib
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miniswift.errors import ConfigError

MAGIC = b"R1NG"
GZIP_TIME = 1300507380  # Swift's constant, so that its tools and ours write the same bytes
_TYPE_CODES = {2: "H", 4: "I"}  # bytes of a device id → array type


class RingError(ConfigError):
    """Raised when a ring file is missing or is no ring. Names the file."""


@dataclass(frozen=True, slots=True)
class RingData:
    """A ring as it is filed."""

    devices: list[dict[str, Any] | None]  # at its id; None where a device was removed
    rows: list[array[int]]  # one a replica: partition → device id; only the last may be short
    part_shift: int  # 32 less the part power

    @property
    def unassigned(self) -> int:
        """The id that stands for "no device"."""
        return int(256 ** self.rows[0].itemsize - 1)


def read_ring_file(path: Path) -> RingData:
    """Read a v1 or v2 file. Raises RingError."""
    try:
        with gzip.open(path) as file:
            content = file.read()
        data = _parse(content)
        _check(data)
    except OSError as error:
        raise RingError(f"cannot be read: {error.strerror or error}", file=str(path)) from None
    except (EOFError, zlib.error, struct.error, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RingError(f"is not a ring: {error}", file=str(path)) from None
    return data


def write_ring_file(path: Path, data: RingData) -> None:
    """Write a v1 file, the form that every Swift reads."""
    header = {
        "byteorder": sys.byteorder,
        "devs": data.devices,
        "part_shift": data.part_shift,
        "replica_count": len(data.rows),
    }
    text = json.dumps(header, sort_keys=True).encode("ascii")
    content = [MAGIC, struct.pack("!HI", 1, len(text)), text, *(row.tobytes() for row in data.rows)]
    _write_durably(path, gzip.compress(b"".join(content), mtime=GZIP_TIME))


def _write_durably(path: Path, content: bytes) -> None:
    file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False)  # noqa: SIM115
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        os.replace(file.name, path)
    except BaseException:
        os.unlink(file.name)
        raise


def _parse(content: bytes) -> RingData:
    if content[:4] != MAGIC:
        raise ValueError("it does not start with R1NG")
    (version,) = struct.unpack_from("!H", content, 4)
    if version == 1:
        return _parse_v1(content)
    if version == 2:
        return _parse_v2(content)
    raise ValueError(f"format version {version} is unknown")


def _parse_v1(content: bytes) -> RingData:
    (length,) = struct.unpack_from("!I", content, 6)
    header = json.loads(content[10 : 10 + length])
    byteorder = header.get("byteorder", sys.byteorder)
    rows = _rows(content[10 + length :], 2, header["part_shift"], byteorder)
    if len(rows) != header["replica_count"]:
        raise ValueError(f"it has {len(rows)} rows where {header['replica_count']} are announced")
    return RingData(header["devs"], rows, header["part_shift"])


def _parse_v2(content: bytes) -> RingData:
    # The file ends with two offsets of the index, uncompressed then compressed. Going by the first
    # makes the order of sections, unknown ones and a recompressed file no concern of ours.
    (start,) = struct.unpack_from("!Q", content, len(content) - 16)
    index = json.loads(_blob(content, start))
    metadata = json.loads(_section(content, index, "swift/ring/metadata"))
    devices = json.loads(_section(content, index, "swift/ring/devices"))
    assignments = _section(content, index, "swift/ring/assignments")
    rows = _rows(assignments, metadata["dev_id_bytes"], metadata["part_shift"], "big")
    return RingData(devices, rows, metadata["part_shift"])


def _blob(content: bytes, start: int) -> bytes:
    length = int.from_bytes(content[start : start + 8], "big")
    return content[start + 8 : start + 8 + length]


def _section(content: bytes, index: dict[str, Any], name: str) -> bytes:
    _, start, _, end, method, digest = index[name]
    if hashlib.new(method, content[start:end], usedforsecurity=False).hexdigest() != digest:
        raise ValueError(f"section {name} does not match its {method}")
    return _blob(content, start)


def _rows(content: bytes, id_bytes: int, part_shift: int, byteorder: str) -> list[array[int]]:
    if not 0 <= part_shift <= 32:
        raise ValueError(f"part_shift is {part_shift}")
    row_bytes = id_bytes << (32 - part_shift)
    rows = []
    for start in range(0, len(content), row_bytes):
        row = array(_TYPE_CODES[id_bytes], content[start : start + row_bytes])
        if byteorder != sys.byteorder:
            row.byteswap()
        rows.append(row)
    return rows


def _check(data: RingData) -> None:
    if not data.rows:
        raise ValueError("it has no replicas")
    assigned = set().union(*data.rows) - {data.unassigned}
    for device_id in assigned:
        if device_id >= len(data.devices) or data.devices[device_id] is None:
            raise ValueError(f"it gives partitions to device {device_id}, which it does not have")
