"""Which nodes to ask, in which order, and which to leave alone for a while.

1. Primaries come first, handoffs after them, each once.
2. A node that failed too often lately, or said 507, is skipped until its rest is over; if that
   leaves nobody, nobody is asked: the caller answers 503.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from miniswift.ring import Node, Ring

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Errors:
    count: int = 0
    last: float = 0.0


class ErrorLimiter:
    """Counts the errors of nodes: more than `limit` within `interval_s` of each other, and it rests."""

    def __init__(self, limit: int, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._interval_s = interval_s
        self._clock = clock
        self._errors: dict[tuple[str, int, str], _Errors] = {}

    def is_limited(self, node: Node) -> bool:
        if not self._errors:
            return False
        key = (node.ip, node.port, node.device)
        errors = self._errors.get(key)
        if errors is None:
            return False
        if errors.last < self._clock() - self._interval_s:
            del self._errors[key]
            return False
        return errors.count > self._limit

    def note(self, node: Node, problem: str) -> None:
        """Count one error of `node`."""
        errors = self._errors.setdefault((node.ip, node.port, node.device), _Errors())
        errors.count += 1
        errors.last = self._clock()
        logger.warning("node %s:%d/%s: %s", node.ip, node.port, node.device, problem)

    def limit(self, node: Node, problem: str) -> None:
        """Rest `node` at once."""
        self.note(node, problem)
        self._errors[node.ip, node.port, node.device].count = self._limit + 1


class Nodes:
    """An iterator over the nodes to try for a partition."""

    def __init__(
        self,
        ring: Ring,
        part: int,
        limiter: ErrorLimiter,
        max_count: int | None = None,
        shuffle: bool = False,
    ) -> None:
        self._ring = ring
        self._part = part
        self._limiter = limiter
        self._left = max_count if max_count is not None else 2 * ring.replica_count
        self.primaries = ring.primaries(part)
        if shuffle and len(self.primaries) > 1:
            self.primaries = random.sample(self.primaries, len(self.primaries))
        self._order = self._in_order()

    def _in_order(self) -> Iterator[Node]:
        yield from self.primaries
        yield from self._ring.handoffs(self._part)

    def __iter__(self) -> Iterator[Node]:
        return self

    def __next__(self) -> Node:
        """The next node; green threads of one write share one iterator."""
        for node in self._order:
            if self._left <= 0:
                break
            if not self._limiter.is_limited(node):
                self._left -= 1
                return node
        raise StopIteration
