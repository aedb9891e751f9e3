"""Rings: which devices hold a partition. (Stub of the interface; the real one replaces this file.)"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Node:
    """A device and where its server answers."""

    ip: str
    port: int
    device: str
    id: int = -1
    index: int | None = None  # the replica row, for a primary
    handoff_index: int | None = None  # how far down the handoffs, for a handoff
    region: int = 1
    zone: int = 1
    replication_ip: str = ""
    replication_port: int = 0
    weight: float = 0.0
    meta: str = ""


class Ring:
    """A ring file, reloaded when it changes."""

    def __init__(self, path: Path, reload_interval_s: float = 15.0) -> None:
        raise AssertionError("stub")

    @property
    def replica_count(self) -> int:
        """Rows, a fractional one rounded up."""
        raise AssertionError("stub")

    @property
    def part_count(self) -> int:
        raise AssertionError("stub")

    @property
    def devices(self) -> list[Node]:
        raise AssertionError("stub")

    def part_of(self, digest: str) -> int:
        """The partition of a hash_path digest (hex)."""
        raise AssertionError("stub")

    def primaries(self, part: int) -> list[Node]:
        raise AssertionError("stub")

    def handoffs(self, part: int) -> Iterator[Node]:
        raise AssertionError("stub")
