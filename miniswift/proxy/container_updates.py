"""Which object server tells which container server of a write, and of an expiry.

The proxy spreads the container's nodes over the object servers' requests, so that a quorum of object
writes implies a quorum of container updates: an update that fails is kept by the object server that was
to send it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from miniswift.quorum import quorum
from miniswift.responses import Headers
from miniswift.ring import Node

if TYPE_CHECKING:
    from miniswift.proxy import Application

QUEUE_CLEANERS = 2  # object servers that also remove the old entry of the expirer's queue


def updates_needed(containers: int, objects: int) -> int:
    """How many updates to send, for so many container and object replicas."""
    return max(quorum(containers) + objects - quorum(objects), containers)


class UpdatePlan:
    """The update headers of one object write to `replicas` object servers."""

    def __init__(self, app: Application, account: str, container: str, replicas: int) -> None:
        self._app = app
        self._names = (account, container)
        self._replicas = replicas
        ring = app.container_ring
        self._part = app.cluster.part(ring, account, container)
        self._containers = _spread(ring.primaries(self._part), replicas)
        self._expiry: tuple[str, int, list[list[Node]]] | None = None

    def add_expiry(self, obj: str, delete_at: int) -> None:
        """Name the container of the expirer's queue that gets an entry for `delete_at` (Unix seconds)."""
        settings, cluster = self._app.settings, self._app.cluster
        account = settings.auto_create_account_prefix + settings.expiring_objects_account_name
        divisor = settings.expiring_objects_container_divisor
        # The name's hash spreads a busy second over a hundred containers.
        offset = int(cluster.hash_path(*self._names, obj), 16) % 100
        container = f"{max(delete_at // divisor * divisor - offset, 0):010d}"
        ring = self._app.container_ring
        part = cluster.part(ring, account, container)
        self._expiry = (container, part, _spread(ring.primaries(part), self._replicas))

    def add_headers(self, headers: Headers, index: int) -> None:
        """Add what the `index`-th object server shall tell."""
        nodes = self._containers[index]
        if nodes:
            headers["X-Container-Partition"] = str(self._part)
            headers["X-Container-Host"] = _hosts(nodes)
            headers["X-Container-Device"] = _devices(nodes)
            headers["X-Container-Root-Db-State"] = "unsharded"
        headers["X-Backend-Clean-Expiring-Object-Queue"] = "t" if index < QUEUE_CLEANERS else "f"
        if self._expiry is None:
            return
        container, part, spread = self._expiry
        # Counted from the other end, so that one server does not get both kinds of updates.
        nodes = spread[self._replicas - 1 - index]
        if nodes:
            headers["X-Delete-At-Container"] = container
            headers["X-Delete-At-Partition"] = str(part)
            headers["X-Delete-At-Host"] = _hosts(nodes)
            headers["X-Delete-At-Device"] = _devices(nodes)


def _spread(nodes: Sequence[Node], replicas: int) -> list[list[Node]]:
    """Deal the nodes out to `replicas` requests, as often as `updates_needed` says."""
    hands: list[list[Node]] = [[] for _ in range(replicas)]
    for count in range(updates_needed(len(nodes), replicas)):
        hands[count % replicas].append(nodes[count % len(nodes)])
    return hands


def _hosts(nodes: list[Node]) -> str:
    return ",".join(f"{node.ip}:{node.port}" for node in nodes)


def _devices(nodes: list[Node]) -> str:
    return ",".join(node.device for node in nodes)
