"""The expirer: removes objects whose X-Delete-At has come, which readers do not see any more.

The rows of the queue (storage.expiring) say what expires when. For each row that is due:

    DELETE of the object     with X-If-Delete-At, so that one which was given another time is left alone
    DELETE of the row        once that is through, or was refused because something newer is there

1. A row is removed only when its object is known to be gone, newer, or out of reach for `reclaim_age`.
2. Of several expirers with the same `processes` each row is worked on by one.

Not here: what is put into the queue (storage.object_updates).
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import md5
from itertools import islice
from typing import Any
from urllib.parse import unquote

from miniswift.backend import BackendRequest, Transport, TransportError
from miniswift.cluster import Cluster
from miniswift.concurrency import GreenPool
from miniswift.config import count, option, positive, reading, seconds, text
from miniswift.daemons import Daemon
from miniswift.daemons.internal_client import InternalClient, Refused
from miniswift.errors import ConfigError
from miniswift.pace import Pace
from miniswift.pipeline import read_section, read_settings
from miniswift.responses import Headers
from miniswift.storage import StorageSettings, expiring
from miniswift.timestamp import Timestamp
from miniswift.transport import default_transport

logger = logging.getLogger(__name__)

_SECTION = "object-expirer"
_DELAY = "delay_reaping_"
_GONE = frozenset({404, 412})  # not there, or with another time: perhaps only on the nodes that answered


@dataclasses.dataclass(frozen=True)
class ExpirerSettings(StorageSettings):
    """The options of [object-expirer]; `delay_reaping_ACCOUNT[/CONTAINER]` besides, in seconds."""

    interval: float = option(seconds, "300", "seconds between passes")
    concurrency: int = option(positive, "1", "objects deleted at the same time")
    tasks_per_second: float = option(seconds, "50", "objects deleted a second at most; 0 is no limit")
    expiring_objects_account_name: str = option(
        text, "expiring_objects", "the queue's account, without the dot in front"
    )
    processes: int = option(count, "0", "expirers that share the work; 0 is this one alone")
    process: int = option(count, "0", "which of them this is, from 0")
    reclaim_age: float = option(seconds, "604800", "seconds after which an object not found is given up")
    round_robin_task_cache_size: int = option(
        positive, "100000", "rows among which containers take turns, so that no container gets all deletes"
    )

    def check(self) -> None:
        """Raise ConfigError for options that contradict each other."""
        if self.processes and self.process >= self.processes:
            raise ConfigError("must be less than processes", section=_SECTION, option="process")


@dataclasses.dataclass(frozen=True)
class Task:
    """A row of the queue that is due."""

    container: str  # of the queue
    row: str
    delete_at: Timestamp
    target: tuple[str, str, str]  # account, container, object
    is_async: bool  # somebody deleted it, and left the work to us

    @classmethod
    def of(cls, container: str, row: Mapping[str, Any]) -> Task:
        """Raises ValueError for a name that is none of the queue's."""
        stamp, dash, path = row["name"].partition("-")
        account, _, rest = path.partition("/")
        target_container, _, obj = rest.partition("/")
        if not (dash and account and target_container and obj):
            raise ValueError(f"{row['name']!r} names no object and its time")
        is_async = row.get("content_type") == expiring.ASYNC_TYPE
        return cls(container, row["name"], Timestamp.parse(stamp), (account, target_container, obj), is_async)


class Expirer(Daemon):
    """Works through the queue of a whole cluster."""

    name = "expirer"

    def __init__(
        self,
        settings: ExpirerSettings,
        cluster: Cluster,
        transport: Transport,
        delays: Mapping[tuple[str, str], float] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings.interval, settings.recon_cache_path)
        settings.check()
        self._settings = settings
        self._account = f".{settings.expiring_objects_account_name}"
        self._client = InternalClient.of(cluster, transport, "object-expirer")
        self._cluster = cluster
        self._transport = transport
        self._delays = delays or {}
        self._clock = clock
        self._pace = Pace(settings.tasks_per_second)
        self._expired = self._failed = 0

    def run_once(self) -> str:
        self._expired = self._failed = 0
        pool = GreenPool(self._settings.concurrency)
        for task in in_turns(self._due(), self._settings.round_robin_task_cache_size):
            if self.is_stopping:
                break
            self._pace.wait()
            pool.spawn_n(self._work_on, task)
            self.progress("%d objects expired, %d not yet", self._expired, self._failed)
        pool.waitall()
        logger.debug("%d objects expired, %d could not be removed", self._expired, self._failed)
        counts = ((self._expired, "objects expired"), (self._failed, "could not be removed"))
        return ", ".join(f"{count} {what}" for count, what in counts if count)

    def stats(self, took_s: float) -> dict[str, dict[str, object]]:
        """See Daemon."""
        return {"object": {"object_expiration_pass": took_s, "expired_last_pass": self._expired}}

    # --- the queue -------------------------------------------------------------------------------

    def _due(self) -> Iterator[Task]:
        """The rows that are ours to work on."""
        now = self._clock()
        try:
            for row in self._client.listing(self._account):
                if row["name"] > expiring.queue_time(int(now)):
                    return
                yield from self._due_in(row["name"], now)
        except Refused as refused:
            logger.error("the queue of expiring objects cannot be read: %s", refused)

    def _due_in(self, container: str, now: float) -> Iterator[Task]:
        is_empty = True
        try:
            for row in self._client.listing(self._account, container):
                is_empty = False
                if row["name"] > expiring.queue_time(int(now) + 1):
                    return
                task = _task(container, row)
                if task and self._is_ours(task) and self._is_due(task, now):
                    yield task
        except Refused as refused:
            logger.error("a container of the queue of expiring objects cannot be read: %s", refused)
            return
        if is_empty and expiring.is_over(container, now):
            self._client.delete(self._account, container)  # a row that came in meanwhile makes it a 409

    def _is_ours(self, task: Task) -> bool:
        digest = md5(f"{task.container}/{task.row}".encode("utf-8", "surrogateescape"), usedforsecurity=False)
        return int(digest.hexdigest(), 16) % (self._settings.processes or 1) == self._settings.process

    def _is_due(self, task: Task, now: float) -> bool:
        account, container, _ = task.target
        delay = self._delays.get((account, container), self._delays.get((account, ""), 0))
        return task.delete_at.seconds + (0 if task.is_async else delay) <= now

    # --- one row ---------------------------------------------------------------------------------

    def _work_on(self, task: Task) -> None:
        status = self._delete_target(task)
        is_given_up = status in _GONE and task.delete_at.seconds <= self._clock() - self._settings.reclaim_age
        is_done = status // 100 == 2 or status == 409 or (task.is_async and status == 404)
        if (is_done or is_given_up) and self._remove_row(task):
            self._expired += 1
            return
        self._failed += 1
        logger.warning("expired object %s was not removed yet: %d", "/".join(task.target), status)

    def _delete_target(self, task: Task) -> int:
        headers = {"X-Timestamp": task.delete_at.normal}
        if not task.is_async:
            headers["X-If-Delete-At"] = task.delete_at.normal
            headers["X-Backend-Clean-Expiring-Object-Queue"] = "no"  # we do that ourselves
        return self._client.delete(*task.target, headers=headers)

    def _remove_row(self, task: Task) -> bool:
        """Tell the container's nodes; True if most of them heard it."""
        ring = self._cluster.ring("container")
        part = self._cluster.part(ring, self._account, task.container)
        nodes = ring.primaries(part)
        headers = {"X-Timestamp": Timestamp.now().internal, "X-Backend-Storage-Policy-Index": "0"}
        path = f"/{self._account}/{task.container}/{task.row}"
        heard = 0
        for node in nodes:
            try:
                response = self._transport.send(node, BackendRequest("DELETE", part, path, Headers(headers)))
            except TransportError as error:
                logger.warning("row of an expired object at %s:%d: %s", node.ip, node.port, error)
                continue
            response.close()
            heard += response.status // 100 == 2 or response.status == 404
        return heard > len(nodes) // 2


def _task(container: str, row: Mapping[str, Any]) -> Task | None:
    try:
        return Task.of(container, row)
    except ValueError as error:
        logger.error("a row of the queue of expiring objects, in %s, is ignored: %s", container, error)
        return None


def in_turns(tasks: Iterable[Task], size: int) -> Iterator[Task]:
    """The tasks, `size` at a time, so ordered that the containers they are for take turns."""
    rest = iter(tasks)
    while batch := list(islice(rest, size)):
        by_container: dict[tuple[str, str], deque[Task]] = defaultdict(deque)
        for task in batch:
            by_container[task.target[:2]].append(task)
        turns = deque(by_container.values())
        while turns:
            queue = turns.popleft()
            yield queue.popleft()
            if queue:
                turns.append(queue)


def read_delays(conf: Mapping[str, str]) -> dict[tuple[str, str], float]:
    """(account, container or "") → seconds, of the options delay_reaping_…. Raises ConfigError."""
    delays = {}
    for name, value in conf.items():
        if not name.startswith(_DELAY):
            continue
        account, _, container = unquote(name[len(_DELAY) :]).partition("/")
        if not account or "/" in container:
            problem = "must be delay_reaping_ACCOUNT or delay_reaping_ACCOUNT/CONTAINER"
            raise ConfigError(problem, section=_SECTION, option=name)
        try:
            delays[account, container] = seconds(value)
        except ValueError as error:
            raise ConfigError(f"{error}, not {value!r}", section=_SECTION, option=name) from None
    return delays


def make_expirer(conf_file: str) -> Expirer:
    """The expirer that a conf file describes. Raises ConfigError."""
    settings = read_settings(ExpirerSettings, conf_file, _SECTION)
    with reading(conf_file, _SECTION):
        delays = read_delays(read_section(conf_file, _SECTION, is_optional=True))
    cluster = Cluster.load(settings.swift_dir)
    transport = default_transport(settings.conn_timeout, settings.node_timeout)
    return Expirer(settings, cluster, transport, delays)
