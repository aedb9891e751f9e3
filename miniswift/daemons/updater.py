"""The updater: brings listings and totals up to date with what is on the devices.

Two kinds of news travel upwards, both also sent at once by the servers, and both here when that failed:

    object    → container    files in async_pending*: rows that a container server did not accept
    container → account      databases whose numbers differ from what the account was last told

1. An update is removed only after every primary of its container accepted it; who did is remembered in
   the file, so a retry asks the others only.
2. An account counts as told when a quorum of its primaries accepted.
3. A database is opened only when its file or its pending rows changed since it was last found in order.

Not here: the first attempts (storage.container_update, storage.account_update).
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from miniswift.backend import BackendRequest, Transport, TransportError
from miniswift.client import quorum
from miniswift.cluster import Cluster, Policy
from miniswift.concurrency import GreenPool, pause, restart_hub_after_fork
from miniswift.config import option, positive, reading, seconds
from miniswift.daemons import Daemon
from miniswift.pipeline import read_section
from miniswift.responses import Headers, Response
from miniswift.ring import Node
from miniswift.storage import StorageSettings, async_pending
from miniswift.storage.async_pending import AsyncUpdate, BadUpdate
from miniswift.storage.atomic import make_directories, replace_file
from miniswift.storage.broker import Info
from miniswift.storage.container_broker import ContainerBroker
from miniswift.storage.database_cache import BrokerError, DatabaseCache
from miniswift.transport import default_transport

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class UpdaterSettings(StorageSettings):
    """The options of [object-updater]."""

    interval: float = option(seconds, "300", "seconds between passes")
    concurrency: int = option(positive, "8", "updates sent at the same time")


class Updater(Daemon):
    """Both kinds of updates, for all devices of this machine."""

    name = "updater"

    def __init__(self, settings: UpdaterSettings, cluster: Cluster, transport: Transport) -> None:
        super().__init__(settings.interval)
        self._devices = Path(settings.devices)
        self._objects = ObjectUpdates(cluster, transport, settings.concurrency)
        self._containers = ContainerReports(cluster, transport)

    def run_once(self) -> str:
        delivered = failed = reported = 0
        for device in _folders(self._devices):
            if self.is_stopping:
                break
            done, left = self._objects.deliver_all(device)
            delivered, failed = delivered + done, failed + left
            reported += self._containers.report_all(device)
        logger.debug("%d containers had news for their accounts", reported)
        counts = ((delivered, "updates delivered"), (failed, "not yet"))
        return ", ".join(f"{count} {what}" for count, what in counts if count)


class ObjectUpdates:
    """Delivers the async pendings of a device."""

    def __init__(self, cluster: Cluster, transport: Transport, concurrency: int) -> None:
        self._cluster = cluster
        self._transport = transport
        self._concurrency = concurrency

    def deliver_all(self, device: Path) -> tuple[int, int]:
        """(delivered, not delivered) of one device."""
        pool = GreenPool(self._concurrency)
        outcomes: list[bool] = []
        for policy in self._cluster.policies:
            for newest, older in async_pending.newest_files(f"{device}/async_pending{policy.suffix}"):
                for path in older:
                    _remove(path)
                pool.spawn_n(self._note, outcomes, device, policy, newest)
        pool.waitall()
        return outcomes.count(True), outcomes.count(False)

    def _note(self, outcomes: list[bool], device: Path, policy: Policy, path: str) -> None:
        try:
            outcomes.append(self._deliver(device, policy, path))
        except BadUpdate as error:
            kept = _put_aside(device, policy, path)
            logger.error("update %s cannot be used: %s; kept as %s", path, error, kept)
        except OSError as error:
            logger.error("update %s cannot be read or written: %s", path, error)

    def _deliver(self, device: Path, policy: Policy, path: str) -> bool:
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:  # another updater, or a newer update of the same object
            return True
        update = AsyncUpdate.from_pickle(data)
        if self._send(update) or (update.container_path and self._send(update)):
            _remove(path)
            return True
        if update.to_pickle() != data:
            replace_file(path, update.to_pickle(), f"{device}/tmp{policy.suffix}", str(device))
        return False

    def _send(self, update: AsyncUpdate) -> bool:
        """Send to the primaries that do not have it yet; True when all have. Notes who accepted."""
        account, _, container = (update.container_path or f"{update.account}/{update.container}").partition(
            "/"
        )
        ring = self._cluster.ring("container")
        part = self._cluster.part(ring, account, container)
        headers = update.headers.copy()
        headers["X-Backend-Accept-Redirect"] = "true"
        headers["X-Backend-Accept-Quoted-Location"] = "true"
        headers["User-Agent"] = f"object-updater {os.getpid()}"
        has_all = True
        for node in ring.primaries(part):
            if node.id in update.successes:
                continue
            response = _ask(
                self._transport, node, BackendRequest(update.op, part, update.path, headers.copy())
            )
            if response is not None and response.status // 100 == 2:
                update.successes.append(node.id)
            else:
                has_all = False
                if response is not None and response.status == 301 and self._redirect(update, response):
                    return False
        return has_all

    def _redirect(self, update: AsyncUpdate, response: Response) -> bool:
        """Let the update go where a sharded container wants it; False for somewhere it has been."""
        location = response.headers.get("Location", "")
        if response.headers.get("X-Backend-Location-Is-Quoted", "").lower() == "true":
            location = unquote(location)
        account, slash, rest = location.strip("/").partition("/")
        path = f"{account}/{rest.partition('/')[0]}"
        if not slash or path in update.redirect_history:
            return False
        update.redirect_history.append(path)
        update.container_path = path
        update.successes.clear()
        return True


class ContainerReports:
    """Tells accounts what is in their containers."""

    def __init__(self, cluster: Cluster, transport: Transport) -> None:
        self._cluster = cluster
        self._transport = transport
        self._databases = DatabaseCache()
        self._in_order: dict[str, tuple[int, int]] = {}  # database → its state when it was last in order

    def report_all(self, device: Path) -> int:
        """How many containers of a device had news for their accounts."""
        reported = 0
        for db_file in _databases(device / "containers"):
            state = _state(db_file)
            if state is None or self._in_order.get(db_file) == state:
                continue
            pause()
            try:
                was_news, is_told = self._report(db_file)
            except BrokerError as error:
                logger.error("container %s cannot be reported: %s", db_file, error)
                continue
            reported += was_news and is_told
            if is_told:
                # The state is read before the database, so that a change in between is looked at again.
                self._in_order[db_file] = state if not was_news else (0, 0)
        return reported

    def _report(self, db_file: str) -> tuple[bool, bool]:
        """(whether there was news, whether the account knows now)."""
        broker = ContainerBroker(db_file, self._databases)
        info = broker.get_info()
        if _is_reported(info):
            return False, True
        accepted = self._tell(info)
        if accepted:
            broker.reported(
                info["put_timestamp"], info["delete_timestamp"], info["object_count"], info["bytes_used"]
            )
        return True, accepted

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
        return accepted >= quorum(len(nodes))


def _is_reported(info: Info) -> bool:
    return all(
        info[f"reported_{name}"] == info[name]
        for name in ("put_timestamp", "delete_timestamp", "object_count", "bytes_used")
    )


def _state(db_file: str) -> tuple[int, int] | None:
    """What changes whenever a database does: the times of its file and of its pending rows."""
    try:
        database = os.stat(db_file).st_mtime_ns
    except FileNotFoundError:
        return None
    try:
        return database, os.stat(f"{db_file}.pending").st_mtime_ns
    except FileNotFoundError:
        return database, 0


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


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _databases(containers: Path) -> Iterator[str]:
    """Every database below `<device>/containers`: <partition>/<suffix>/<hash>/<hash>.db."""
    for partition in _folders(containers):
        for suffix in _folders(partition):
            for folder in _folders(suffix):
                yield f"{folder}/{folder.name}.db"


def _put_aside(device: Path, policy: Policy, path: str) -> str:
    """Move a file that is no update to the quarantine, so that the next pass does not stumble over it."""
    kept = f"{device}/quarantined/objects{policy.suffix}/{os.path.basename(path)}"
    make_directories(os.path.dirname(kept), str(device))
    os.replace(path, kept)
    return kept


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def run_updater(conf_file: str) -> None:
    """Run until SIGTERM, as [object-updater] of an object-server.conf says: the main of a child process."""
    restart_hub_after_fork()
    make_updater(conf_file).run_forever()


def make_updater(conf_file: str) -> Updater:
    """The updater that a conf file describes. Raises ConfigError."""
    conf = read_section(conf_file, "object-updater")
    with reading(conf_file, "object-updater"):
        settings = UpdaterSettings.from_conf(conf)
    cluster = Cluster.load(settings.swift_dir)
    return Updater(settings, cluster, default_transport(settings.conn_timeout, settings.node_timeout))
