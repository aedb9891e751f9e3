"""The updater: brings listings and totals up to date with what is on the devices.

Two kinds of news travel upwards, both also sent at once by the servers, and both here when that failed:

    object    → container    files in async_pending*: rows that a container server did not accept
    container → account      databases whose numbers differ from what the account was last told

1. An update is removed only after every primary of its container accepted it; who did is remembered in
   the file, so a retry asks the others only.
2. An account counts as told when most of its primaries accepted.
3. A database is opened only when its file or its pending rows changed since it was last found in order.
4. A pass stops at the next update or database when it is told to.

Not here: the first attempts (storage.container_update, storage.account_update).
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from miniswift.backend import BackendRequest, Transport, TransportError
from miniswift.cluster import Cluster, Policy
from miniswift.concurrency import GreenPool, pause
from miniswift.config import is_true, option, positive, seconds
from miniswift.daemons import Daemon
from miniswift.daemons.devices import Devices, databases
from miniswift.errors import MiniswiftError
from miniswift.pipeline import read_settings
from miniswift.responses import Headers, Response
from miniswift.ring import Node
from miniswift.storage import StorageSettings, async_pending
from miniswift.storage.async_pending import AsyncUpdate, BadUpdate, PendingFile
from miniswift.storage.broker import Info, number_of
from miniswift.storage.container_broker import ContainerBroker
from miniswift.storage.database_cache import DatabaseCache
from miniswift.transport import default_transport

logger = logging.getLogger(__name__)

_TICK_NS = 1_000_000_000  # more than the resolution of any file system's times


@dataclasses.dataclass(frozen=True)
class UpdaterSettings(StorageSettings):
    """The options of [object-updater]."""

    interval: float = option(seconds, "300", "seconds between passes")
    concurrency: int = option(positive, "8", "updates sent at the same time")


class Updater(Daemon):
    """Both kinds of updates, for all devices of this machine."""

    name = "updater"

    def __init__(self, settings: UpdaterSettings, cluster: Cluster, transport: Transport) -> None:
        super().__init__(settings.interval, settings.recon_cache_path)
        self._devices = Devices(settings)
        self._left = 0  # updates that the last pass could not deliver
        self._objects = ObjectUpdates(cluster, transport, settings.concurrency, lambda: self.is_stopping)
        self._containers = ContainerReports(cluster, transport, lambda: self.is_stopping)

    def close(self) -> None:
        """Close what is held open."""
        self._containers.close()

    def stats(self, took_s: float) -> dict[str, dict[str, object]]:
        """See Daemon."""
        now = time.time()
        pending = {"async_pending": self._left, "async_pending_last": now}
        swept = {"object_updater_sweep": took_s, "object_updater_last": now}
        return {"object": {**pending, **swept}, "container": {"container_updater_sweep": took_s}}

    def run_once(self) -> str:
        delivered = failed = reported = 0
        for device in self._devices.mounted():
            try:
                done, left = self._objects.deliver_all(device)
                delivered, failed = delivered + done, failed + left
                reported += self._containers.report_all(device)
            except OSError as error:
                logger.error("device %s cannot be used: %s", device, error)
        logger.debug("%d containers had news for their accounts", reported)
        self._left = failed
        counts = ((delivered, "updates delivered"), (failed, "not yet"))
        return ", ".join(f"{count} {what}" for count, what in counts if count)


class ObjectUpdates:
    """Delivers the async pendings of a device."""

    def __init__(
        self, cluster: Cluster, transport: Transport, concurrency: int, should_stop: Callable[[], bool]
    ) -> None:
        self._cluster = cluster
        self._transport = transport
        self._concurrency = concurrency
        self._should_stop = should_stop

    def deliver_all(self, device: Path) -> tuple[int, int]:
        """(delivered, not delivered) of one device. Raises OSError."""
        pool = GreenPool(self._concurrency)
        outcomes: list[bool] = []
        for policy in self._cluster.policies:
            for paths in async_pending.files_by_object(f"{device}/async_pending{policy.suffix}"):
                if self._should_stop():
                    break
                pool.spawn_n(self._deliver_newest, outcomes, str(device), policy, paths)
        pool.waitall()
        return outcomes.count(True), outcomes.count(False)

    def _deliver_newest(self, outcomes: list[bool], device: str, policy: Policy, paths: list[str]) -> None:
        try:
            pending = _newest(device, policy, paths)
            if pending is not None:
                outcomes.append(self._deliver(pending, policy))
        except OSError as error:
            logger.error("update %s cannot be read or written: %s", paths[0], error)

    def _deliver(self, pending: PendingFile, policy: Policy) -> bool:
        update = pending.update
        update.headers.setdefault("X-Backend-Storage-Policy-Index", str(policy.index))
        for _ in range(2):  # a redirect is followed at once; a second one in the next pass
            is_delivered, container_path = self._send(update)
            if container_path is None:
                break
            update.redirect(container_path)
        if is_delivered:
            pending.remove()
        else:
            pending.save_progress()
        return is_delivered

    def _send(self, update: AsyncUpdate) -> tuple[bool, str | None]:
        """Send to the primaries that do not have it yet, and note who accepted.

        Returns whether all have it, and the account/container that wants it instead, if one does.
        """
        account, container = update.path[1:].split("/", 2)[:2]
        ring = self._cluster.ring("container")
        part = self._cluster.part(ring, account, container)
        headers = update.headers.copy()
        headers["X-Backend-Accept-Redirect"] = "true"
        headers["X-Backend-Accept-Quoted-Location"] = "true"
        headers["User-Agent"] = f"object-updater {os.getpid()}"
        is_delivered = True
        for node in ring.primaries(part):
            if node.id in update.successes:
                continue
            request = BackendRequest(update.op, part, update.path, headers.copy())
            response = _ask(self._transport, node, request)
            if response is not None and response.status // 100 == 2:
                update.successes.append(node.id)
                continue
            is_delivered = False
            if response is not None and response.status == 301:
                container_path = _redirection(response)
                if container_path is not None:
                    return False, container_path
        return is_delivered, None


def _newest(device: str, policy: Policy, paths: list[str]) -> PendingFile | None:
    """The first of an object's files that is an update; those after it say less and are removed."""
    for number, path in enumerate(paths):
        try:
            pending = PendingFile(device, policy, path)
        except FileNotFoundError:
            continue  # another updater has delivered it
        except BadUpdate as error:
            kept = async_pending.put_aside(device, policy, path)
            logger.error("update %s cannot be used: %s; kept as %s", path, error, kept)
            continue
        for older in paths[number + 1 :]:
            _remove(older)
        return pending
    return None


def _redirection(response: Response) -> str | None:
    """The account/container in the Location of a sharding container's answer."""
    location = response.headers.get("Location", "")
    if is_true(response.headers.get("X-Backend-Location-Is-Quoted", "f")):
        location = unquote(location)
    else:  # a server older than the header that we ask for it with
        location = location.encode("latin-1").decode("utf-8", "replace")
    container_path = "/".join(location.strip("/").split("/", 2)[:2])
    if not async_pending.is_container_path(container_path):
        logger.error("update is redirected to %r, which is no account/container", location)
        return None
    return container_path


class ContainerReports:
    """Tells accounts what is in their containers."""

    def __init__(self, cluster: Cluster, transport: Transport, should_stop: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._transport = transport
        self._should_stop = should_stop
        self._databases = DatabaseCache()
        # By device: the databases that were in order, and their state then.
        self._in_order: dict[Path, dict[str, _State]] = {}

    def close(self) -> None:
        """Close the databases."""
        self._databases.close()

    def report_all(self, device: Path) -> int:
        """How many containers of a device had news for their accounts. Raises OSError."""
        reported = 0
        known = self._in_order.get(device, {})
        in_order = self._in_order[device] = {}
        out_of_reach: set[str] = set()  # accounts whose other containers need not be tried now
        for db_file in databases(device / "containers"):
            if self._should_stop():
                break
            # Read before the database, so that a change in between is looked at again.
            state = _state(db_file)
            if state is None:
                continue
            if known.get(db_file) == state:
                in_order[db_file] = state
                continue
            pause()
            try:
                had_news = self._report(db_file, out_of_reach)
            except (MiniswiftError, sqlite3.DatabaseError, OSError) as error:
                logger.error("container %s cannot be reported: %s", db_file, error)
                continue
            if had_news:
                reported += 1
            elif state.is_settled:
                in_order[db_file] = state
        return reported

    def _report(self, db_file: str, out_of_reach: set[str]) -> bool:
        """Tell the account of a container, unless it knows; whether there was anything to tell."""
        broker = ContainerBroker(db_file, self._databases)
        info = broker.get_info()
        if _is_reported(info):
            return False
        if info["account"] in out_of_reach:
            return True
        if self._tell(info):
            broker.reported(
                info["put_timestamp"], info["delete_timestamp"], info["object_count"], info["bytes_used"]
            )
        else:
            out_of_reach.add(info["account"])
        return True

    def _tell(self, info: Info) -> bool:
        ring = self._cluster.ring("account")
        part = self._cluster.part(ring, info["account"])
        nodes = ring.primaries(part)
        headers = Headers(
            {
                "X-Put-Timestamp": info["put_timestamp"],
                "X-Delete-Timestamp": info["delete_timestamp"],
                "X-Object-Count": str(info["object_count"]),
                "X-Bytes-Used": str(info["bytes_used"]),
                "X-Backend-Storage-Policy-Index": str(info["storage_policy_index"]),
                "X-Account-Override-Deleted": "yes",
                "User-Agent": f"container-updater {os.getpid()}",
            }
        )
        path = f"/{info['account']}/{info['container']}"
        answers = [
            _ask(self._transport, node, BackendRequest("PUT", part, path, headers.copy())) for node in nodes
        ]
        accepted = sum(1 for answer in answers if answer is not None and answer.status // 100 == 2)
        return accepted > len(nodes) // 2


def _is_reported(info: Info) -> bool:
    if not number_of(info["put_timestamp"]):
        return True  # made by a row or a replica that came before it: it does not know what it holds
    return all(
        info[f"reported_{name}"] == info[name]
        for name in ("put_timestamp", "delete_timestamp", "object_count", "bytes_used")
    )


class _State(NamedTuple):
    """What changes whenever a database does."""

    database_ns: int
    inode: int
    pending_ns: int
    pending_size: int

    @property
    def is_settled(self) -> bool:
        """Whether a change from now on would be seen: a second one in the same tick of the clock is not."""
        return max(self.database_ns, self.pending_ns) < time.time_ns() - _TICK_NS


def _state(db_file: str) -> _State | None:
    """The state of a database, None when it is gone."""
    try:
        database = os.stat(db_file)
    except FileNotFoundError:
        return None
    try:
        pending = os.stat(f"{db_file}.pending")
    except FileNotFoundError:
        return _State(database.st_mtime_ns, database.st_ino, 0, 0)
    return _State(database.st_mtime_ns, database.st_ino, pending.st_mtime_ns, pending.st_size)


def _ask(transport: Transport, node: Node, request: BackendRequest) -> Response | None:
    """A node's answer, its body read; None, and a log line, when there is none."""
    by_replication = dataclasses.replace(
        node, ip=node.replication_ip or node.ip, port=node.replication_port or node.port
    )
    try:
        response = transport.send(by_replication, request)
        response.read()
    except TransportError as error:
        logger.warning("update to %s:%d/%s: %s", node.ip, node.port, node.device, error)
        return None
    return response


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def make_updater(conf_file: str) -> Updater:
    """The updater that a conf file describes. Raises ConfigError."""
    settings = read_settings(UpdaterSettings, conf_file, "object-updater")
    cluster = Cluster.load(settings.swift_dir)
    return Updater(settings, cluster, default_transport(settings.conn_timeout, settings.node_timeout))
