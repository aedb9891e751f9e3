"""Rings: which devices hold a partition.

The first bits of a name's hash are its partition; each row of the ring gives a partition one device.
Those are its primaries. All other devices are its handoffs, in an order that every node of the cluster
works out alike: first those farthest from the primaries.

1. A ring in use never changes: a reload replaces the whole table, and a file that is broken by then
   leaves the old one in place.
2. The order of nodes is Swift's to the last device, so both find what the other put on a handoff.

Not here: the file (ring_file), making rings (ring_builder), which nodes rest for now (nodes).
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import md5
from itertools import chain
from pathlib import Path
from typing import Any

from miniswift.ring_file import RingData, RingError, read_ring_file

__all__ = ["Node", "Ring", "RingError"]

logger = logging.getLogger(__name__)

_CACHED_PARTITIONS = 65536  # primaries remembered a ring; about 100 bytes each


@dataclass(frozen=True, slots=True)
class Node:
    """A device and where its server answers."""

    ip: str
    port: int
    device: str
    id: int = -1
    index: int | None = None  # which primary, counted without repeats
    handoff_index: int | None = None  # how far down the handoffs, for a handoff
    region: int = 1
    zone: int = 1
    replication_ip: str = ""
    replication_port: int = 0
    weight: float = 0.0
    meta: str = ""


class Ring:
    """A ring file, reloaded when it changes."""

    def __init__(
        self,
        path: Path,
        reload_interval_s: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises RingError, which names the file, when there is no ring in it."""
        self._path = Path(path)
        self._reload_interval_s = reload_interval_s
        self._clock = clock
        self._version = self._file_version()
        self._table = _Table.load(self._path)
        self._next_check = clock() + reload_interval_s

    @property
    def replica_count(self) -> int:
        """Rows, a fractional one rounded up."""
        return len(self._current().rows)

    @property
    def part_count(self) -> int:
        return self._current().part_count

    @property
    def devices(self) -> list[Node]:
        """Every device, those without partitions too."""
        return [node for node in self._current().nodes if node is not None]

    def part_of(self, digest: str) -> int:
        """The partition of a hash_path digest (hex)."""
        return int(digest[:8], 16) >> self._current().part_shift

    def primaries(self, part: int) -> Sequence[Node]:
        """The devices that should hold a partition, in the order of the rows; none twice."""
        return self._current().primaries(part)

    def handoffs(self, part: int) -> Iterator[Node]:
        """All other devices that hold anything, in the order they stand in for the primaries."""
        return self._current().handoffs(part)

    def _current(self) -> _Table:
        if self._clock() >= self._next_check:
            self._next_check = self._clock() + self._reload_interval_s
            self._reload_if_changed()
        return self._table

    def _reload_if_changed(self) -> None:
        version = self._file_version()
        if version == self._version:
            return
        self._version = version  # a broken file is complained about once
        try:
            self._table = _Table.load(self._path)
        except RingError as error:
            logger.error("keeping the old ring: %s", error)
        else:
            logger.info("%s: reloaded", self._path)

    def _file_version(self) -> tuple[int, int, int] | None:
        try:
            stat = os.stat(self._path)
        except OSError:  # told by whoever tries to read it
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size


class _Table:
    """The contents of one ring file, arranged for look-ups."""

    def __init__(self, data: RingData, nodes: list[Node | None]) -> None:
        self.rows = data.rows
        self.part_shift = data.part_shift
        self.part_count = 1 << (32 - data.part_shift)
        self.nodes = nodes
        self._unassigned = data.unassigned
        self._tiers = [_tiers(node) if node else () for node in nodes]
        assigned = set().union(*data.rows) - {data.unassigned}
        # How many regions, zones, addresses and devices hold partitions: a search ends when all are met.
        self._totals = [len({self._tiers[device_id][level] for device_id in assigned}) for level in range(4)]
        self.primaries = functools.lru_cache(_CACHED_PARTITIONS)(self._find_primaries)

    @classmethod
    def load(cls, path: Path) -> _Table:
        data = read_ring_file(path)
        try:
            nodes = [_node(device, n) if device else None for n, device in enumerate(data.devices)]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RingError(f"has a device that cannot be used: {error!r}", file=str(path)) from None
        return cls(data, nodes)

    def _find_primaries(self, part: int) -> tuple[Node, ...]:
        ids = (row[part] for row in self.rows if part < len(row))
        nodes = (self.nodes[device_id] for device_id in dict.fromkeys(ids) if device_id != self._unassigned)
        return tuple(replace(node, index=n) for n, node in enumerate(nodes) if node)

    def handoffs(self, part: int) -> Iterator[Node]:
        """Four walks over the ring: for new regions, new zones, new addresses, and the other devices."""
        met: list[set[Hashable]] = [set(), set(), set(), set()]
        for primary in self.primaries(part):
            _meet(met, self._tiers[primary.id])
        count = 0
        for level, total in enumerate(self._totals):
            if len(met[level]) == total:
                continue
            for device_id in self._walk(part):
                tiers = self._tiers[device_id]
                node = self.nodes[device_id]
                if node is None or tiers[level] in met[level]:
                    continue
                _meet(met, tiers)
                yield replace(node, handoff_index=count)
                count += 1
                if len(met[level]) == total:
                    break

    def _walk(self, part: int) -> Iterator[int]:
        """The ids at every partition from a place that is `part`'s own, in steps on large rings."""
        parts = self.part_count
        own_place = md5(str(part).encode("ascii"), usedforsecurity=False).hexdigest()
        start = int(own_place[:8], 16) >> self.part_shift
        step = parts // 65536 or 1
        # Where the second leg starts is Swift's: with step 1 it leaves out partition 0.
        second_leg = range(step - (parts - start) % step, start, step)
        for place in chain(range(start, parts, step), second_leg):
            for row in self.rows:
                if place < len(row) and row[place] != self._unassigned:
                    yield row[place]


def _tiers(node: Node) -> tuple[Hashable, ...]:
    """What a device shares with others, from the region down to nothing but itself."""
    return (
        node.region,
        (node.region, node.zone),
        (node.region, node.zone, node.ip),
        node.id,
    )


def _meet(met: list[set[Hashable]], tiers: tuple[Hashable, ...]) -> None:
    for level, tier in enumerate(tiers):
        met[level].add(tier)


def _node(device: dict[str, Any], device_id: int) -> Node:
    """The node of a filed device; older rings lack regions and replication addresses."""
    ip, port = str(device["ip"]), int(device["port"])
    return Node(
        ip=ip,
        port=port,
        device=str(device["device"]),
        id=device_id,
        region=int(device.get("region", 1)),
        zone=int(device.get("zone", 1)),
        replication_ip=str(device.get("replication_ip") or ip),
        replication_port=int(device.get("replication_port") or port),
        weight=float(device.get("weight", 0)),
        meta=str(device.get("meta") or ""),
    )
