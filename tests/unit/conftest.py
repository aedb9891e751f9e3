"""What tests of several modules need."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from miniswift.ring import Node


class FixedRing:
    """A ring of one partition whose nodes are all known: the first `replicas` are primaries."""

    def __init__(self, devices: int, replicas: int) -> None:
        self.nodes = [Node("127.0.0.1", 6200 + number, f"d{number}", id=number) for number in range(devices)]
        self.replica_count = replicas
        self.part_count = 1

    def part_of(self, digest: str) -> int:
        return 0

    def primaries(self, part: int) -> list[Node]:
        return [
            Node(node.ip, node.port, node.device, node.id, index=index)
            for index, node in enumerate(self.nodes[: self.replica_count])
        ]

    def handoffs(self, part: int) -> Iterator[Node]:
        for number in itertools.count():
            if self.replica_count + number >= len(self.nodes):
                return
            node = self.nodes[self.replica_count + number]
            yield Node(node.ip, node.port, node.device, node.id, handoff_index=number)


@pytest.fixture
def ring_of():
    """Makes a ring: `ring_of(devices, replicas)`."""
    return FixedRing
