"""The reaper: empties accounts that were deleted, container by container, object by object.

1. Only an account whose own database says that it is deleted is touched, `delay_reaping` seconds later.
2. What cannot be removed now is tried again in the next pass.
3. Of an account's replicas each works on its share of the containers.

The emptied account's database stays, so that nobody makes the account again before its reclaim age is over.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from miniswift.backend import BackendRequest, Transport
from miniswift.client import RequestFor
from miniswift.cluster import Cluster
from miniswift.concurrency import GreenPool
from miniswift.config import option, positive, seconds
from miniswift.daemons import Daemon
from miniswift.daemons.devices import Devices, databases
from miniswift.errors import MiniswiftError
from miniswift.network import is_local
from miniswift.pipeline import read_settings
from miniswift.proxy import Application
from miniswift.proxy.container import account_update_headers
from miniswift.proxy.container_updates import UpdatePlan
from miniswift.proxy.settings import ProxySettings
from miniswift.responses import Headers
from miniswift.ring import Node
from miniswift.storage import StorageSettings
from miniswift.storage.account_broker import AccountBroker
from miniswift.storage.broker import number_of
from miniswift.storage.database_cache import DatabaseCache, DatabaseMissing
from miniswift.storage.listing import Query
from miniswift.timestamp import Timestamp
from miniswift.transport import default_transport

logger = logging.getLogger(__name__)

_SECTION = "account-reaper"
_PAGE = 1000  # containers looked at together


@dataclasses.dataclass(frozen=True)
class ReaperSettings(StorageSettings):
    """The options of [account-reaper]."""

    interval: float = option(seconds, "3600", "seconds between passes")
    delay_reaping: float = option(seconds, "0", "seconds a deleted account is left as it is")
    reap_warn_after: float = option(
        seconds, "2592000", "seconds beyond that after which an account that is still not empty is named"
    )
    concurrency: int = option(
        positive, "25", "objects removed at the same time: its root in each of so many containers"
    )


class Reaper(Daemon):
    """Works on the deleted accounts of this machine's devices."""

    name = "reaper"

    def __init__(
        self,
        settings: ReaperSettings,
        cluster: Cluster,
        transport: Transport,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings.interval)
        self._settings = settings
        self._cluster = cluster
        self._transport = transport
        self._clock = clock
        self._devices = Devices(settings)
        self._databases = DatabaseCache(max_idle=1)
        self._app = Application(ProxySettings(), cluster, transport)  # for its client and its rings
        self._at_once = math.isqrt(settings.concurrency)
        self._counts: Counter[str] = Counter()

    def close(self) -> None:
        """Close the databases."""
        self._databases.close()

    def run_once(self) -> str:
        self._counts = Counter()
        for device in self._devices.mounted():
            for db_file in databases(device / "accounts"):
                if self.is_stopping:
                    break
                try:
                    self._look_at(AccountBroker(db_file, self._databases), device)
                except DatabaseMissing:
                    pass  # removed meanwhile
                except (MiniswiftError, OSError) as error:
                    logger.error("account %s cannot be looked at: %s", db_file, error)
        logger.debug("reaped: %s", dict(self._counts))
        return ", ".join(f"{count} {what}" for what, count in sorted(self._counts.items()))

    # --- accounts --------------------------------------------------------------------------------

    def _look_at(self, broker: AccountBroker, device: Path) -> None:
        info = broker.get_info()
        if info["status"] != "DELETED" or not int(info["container_count"] or 0):
            return
        deleted_at = number_of(info["delete_timestamp"]).seconds
        if self._clock() - deleted_at <= self._settings.delay_reaping:
            return
        share = self._share(info["account"], device)
        if share is None:
            return  # a handoff's copy: the primaries do it
        logger.info("account %s, deleted at %s, is being emptied", info["account"], info["delete_timestamp"])
        for names in self._containers(broker, share):
            pool = GreenPool(self._at_once)
            for container in names:
                pool.spawn_n(self._reap_container, info["account"], container)
            pool.waitall()
        late_s = self._settings.delay_reaping + self._settings.reap_warn_after
        if int(broker.get_info()["container_count"] or 0) and self._clock() - deleted_at > late_s:
            logger.warning(
                "account %s was deleted at %s and is not empty yet", info["account"], info["delete_timestamp"]
            )

    def _share(self, account: str, device: Path) -> tuple[int, int] | None:
        """Which of the account's replicas the device has, and how many there are."""
        ring = self._cluster.ring("account")
        nodes = ring.primaries(self._cluster.part(ring, account))
        for index, node in enumerate(nodes):
            if node.device == device.name and self._is_ours(node):
                return index, len(nodes)
        return None

    def _is_ours(self, node: Node) -> bool:
        port = self._settings.bind_port
        return is_local(node.ip) and port in (0, node.port)

    def _containers(self, broker: AccountBroker, share: tuple[int, int]) -> Iterator[list[str]]:
        """The names that are ours to work on, some at a time."""
        mine, of = share
        marker = ""
        while not self.is_stopping:
            query = Query(limit=_PAGE, marker=marker, with_reserved=True)
            names = [str(row[0]) for row in broker.list_containers(query)]
            if not names:
                return
            yield [name for name in names if _digest(name) % of == mine]
            marker = names[-1]

    # --- containers ------------------------------------------------------------------------------

    def _reap_container(self, account: str, container: str) -> None:
        pool = GreenPool(self._at_once)
        policy_index = 0
        for policy_index, names in self._pages(account, container):
            for name in names:
                pool.spawn_n(self._reap_object, account, container, name, policy_index)
            pool.waitall()
        if self.is_stopping:
            return
        status = self._delete_container(account, container)
        if status // 100 == 2 or status == 404:
            self._counts["containers removed"] += 1
        else:
            self._counts["containers left"] += 1
            logger.warning("container %s/%s of a deleted account is left: %d", account, container, status)
        self.progress("%s", dict(self._counts))

    def _pages(self, account: str, container: str) -> Iterator[tuple[int, list[str]]]:
        """The policy of a container, and the names in it, page by page."""
        ring = self._app.container_ring
        part = self._cluster.part(ring, account, container)
        marker = ""
        while not self.is_stopping:
            query = urlencode({"format": "json", "marker": marker})
            request = BackendRequest("GET", part, f"/{account}/{container}", self._headers(), query)
            response = self._app.client.read(ring, part, request, whole=True)
            body = response.read()
            rows: list[dict[str, Any]] = json.loads(body) if response.status == 200 and body else []
            if not rows:
                return
            names = [row["name"] for row in rows]
            yield int(response.headers.get("X-Backend-Storage-Policy-Index", "0")), names
            marker = names[-1]

    def _delete_container(self, account: str, container: str) -> int:
        app = self._app
        part = self._cluster.part(app.container_ring, account, container)
        account_part = self._cluster.part(app.account_ring, account)
        accounts = app.account_ring.primaries(account_part)
        replicas = len(app.container_ring.primaries(part))
        headers = self._headers()
        headers["X-Account-Override-Deleted"] = "yes"  # it still counts what is in it

        def request_for(index: int) -> BackendRequest:
            ours = headers.copy()
            ours.update(account_update_headers(account_part, accounts, index, replicas))
            return BackendRequest("DELETE", part, f"/{account}/{container}", ours)

        return app.client.write(app.container_ring, part, request_for).status

    # --- objects ---------------------------------------------------------------------------------

    def _reap_object(self, account: str, container: str, obj: str, policy_index: int) -> None:
        policy = self._cluster.policies.at(policy_index)
        if policy is None:
            logger.error(
                "container %s/%s is of policy %d, which swift.conf lacks", account, container, policy_index
            )
            self._counts["objects left"] += 1
            return
        ring = self._cluster.ring("object", policy)
        part = self._cluster.part(ring, account, container, obj)
        request_for = self._object_request(
            part, (account, container, obj), policy_index, len(ring.primaries(part))
        )
        status = self._app.client.write(ring, part, request_for, overrides={404: 204}).status
        if status // 100 == 2 or status == 404:
            self._counts["objects removed"] += 1
        else:
            self._counts["objects left"] += 1
            logger.warning(
                "object %s/%s/%s of a deleted account is left: %d", account, container, obj, status
            )

    def _object_request(
        self, part: int, names: tuple[str, str, str], policy_index: int, replicas: int
    ) -> RequestFor:
        plan = UpdatePlan(self._app, names[0], names[1], replicas)
        headers = self._headers()
        headers["X-Backend-Storage-Policy-Index"] = str(policy_index)

        def request_for(index: int) -> BackendRequest:
            ours = headers.copy()
            plan.add_headers(ours, index)
            return BackendRequest("DELETE", part, "/" + "/".join(names), ours)

        return request_for

    def _headers(self) -> Headers:
        return Headers(
            {
                "X-Timestamp": Timestamp.now().internal,
                "X-Backend-Allow-Reserved-Names": "true",
                "User-Agent": f"account-reaper {os.getpid()}",
            }
        )


def _digest(name: str) -> int:
    return int(md5(name.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest(), 16)


def make_reaper(conf_file: str) -> Reaper:
    """The reaper that a conf file describes. Raises ConfigError."""
    settings = read_settings(ReaperSettings, conf_file, _SECTION)
    transport = default_transport(settings.conn_timeout, settings.node_timeout)
    return Reaper(settings, Cluster.load(settings.swift_dir), transport)
