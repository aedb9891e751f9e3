"""Telling the container servers what happened to an object, after it happened on disk.

The proxy names in each request the container nodes that this object server has to tell.

1. A request is answered when every update was accepted, or is durable as an async pending; so what
   was acknowledged will be listed, whatever crashes.
2. It waits no longer than `container_update_timeout` for that. Updates still under way then are
   saved too, whether or not they get through after all; delivering one twice does no harm.
"""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass

from miniswift import logs
from miniswift.backend import BackendRequest, Transport, TransportError
from miniswift.cluster import Cluster, Policy
from miniswift.concurrency import Timeout, in_native_thread, spawn
from miniswift.ring import Node
from miniswift.storage import async_pending
from miniswift.storage.async_pending import AsyncUpdate
from miniswift.storage.disk_errors import from_os_error

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Update:
    """An update and whom to tell; nobody when it is to wait for the updater."""

    content: AsyncUpdate
    part: int = 0
    nodes: tuple[Node, ...] = ()


class ContainerUpdates:
    """The object server's way to the container servers."""

    def __init__(self, devices: str, cluster: Cluster, transport: Transport, timeout_s: float) -> None:
        self.devices = devices
        self.cluster = cluster
        self.transport = transport
        self.timeout_s = timeout_s

    def deliver(self, device: str, policy: Policy, updates: list[Update]) -> None:
        """Send updates, all at the same time, and save on `device` what was not accepted.

        Raises DiskFileError when saving fails: then nothing may be acknowledged.
        """
        if not updates:
            return
        for update in updates:
            update.content.headers["User-Agent"] = f"object-server {os.getpid()}"
        jobs = [(update, node) for update in updates for node in update.nodes]
        accepted = [False] * len(jobs)
        transaction = logs.trans_id.get()

        def send(index: int) -> None:
            logs.trans_id.set(transaction)  # a green thread starts without one
            update, node = jobs[index]
            accepted[index] = self._is_accepted(update, node)

        with Timeout(self.timeout_s, False):
            if len(jobs) == 1:  # mostly in this process: another green thread would cost as much again
                send(0)
            else:
                senders = [spawn(send, index) for index in range(len(jobs))]
                for sender in senders:
                    sender.wait()
        missed = [
            update for (update, _), was_accepted in zip(jobs, accepted, strict=True) if not was_accepted
        ]
        missed += [update for update in updates if not update.nodes]
        for content in {id(update): update.content for update in missed}.values():
            self._save(device, policy, content)

    def _is_accepted(self, update: Update, node: Node) -> bool:
        content = update.content
        request = BackendRequest(content.op, update.part, content.path, content.headers.copy())
        try:
            response = self.transport.send(node, request)
            response.read()
        except TransportError as error:
            logger.warning("container update to %s:%s/%s: %r", node.ip, node.port, node.device, error)
            return False
        if not 200 <= response.status < 300:
            logger.warning(
                "container update to %s:%s/%s: status %d", node.ip, node.port, node.device, response.status
            )
            return False
        return True

    def _save(self, device: str, policy: Policy, content: AsyncUpdate) -> None:
        try:
            in_native_thread(async_pending.save, f"{self.devices}/{device}", policy, self.cluster, content)
        except OSError as error:
            raise from_os_error(error) from error


@functools.lru_cache(maxsize=1024)
def parse_nodes(hosts: str, devices: str) -> tuple[Node, ...]:
    """Nodes from comma lists of `ip:port` and of devices. Raises ValueError when they do not fit."""
    pairs = zip(_words(hosts), _words(devices), strict=True)
    return tuple(_node(host, device) for host, device in pairs)


def _node(host: str, device: str) -> Node:
    ip, _, port = host.rpartition(":")
    return Node(ip=ip.strip("[]"), port=int(port), device=device)


def _words(text: str) -> list[str]:
    return [word for word in map(str.strip, text.split(",")) if word]
