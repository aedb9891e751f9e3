"""What a change of an object means for containers: its row, and its place in the expirer's queue."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import unquote

from miniswift.cluster import Cluster
from miniswift.config import is_true
from miniswift.responses import Environ, Headers
from miniswift.storage import Target, expiring
from miniswift.storage.async_pending import AsyncUpdate, is_container_path
from miniswift.storage.container_update import Update, parse_nodes
from miniswift.timestamp import Timestamp
from miniswift.wsgi import RAW_PATH_INFO, Request, header_name

logger = logging.getLogger(__name__)

# Headers that replace values of the row: EC's old names, and filters' that win over them.
_OVERRIDES = ("x-backend-container-update-override-", "x-object-sysmeta-container-update-override-")


class ObjectUpdates:
    """The updates that one request causes."""

    def __init__(self, cluster: Cluster, target: Target, request: Request, policy_index: int) -> None:
        self.all: list[Update] = []
        self._cluster = cluster
        self._target = target
        self._environ = environ = request.environ
        self._policy_index = policy_index
        raw_path = environ.get(RAW_PATH_INFO) or request.path
        self._common = {
            "X-Trans-Id": environ.get("HTTP_X_TRANS_ID", "-"),
            "Referer": f"{request.method} {request.host_url}{raw_path}",
        }

    def add_row(self, op: str, row: Mapping[str, str]) -> None:
        """Tell the object's container; `row` holds the headers that say what."""
        environ, target = self._environ, self._target
        part = environ.get("HTTP_X_CONTAINER_PARTITION")
        if not part:
            return  # other object servers were asked to tell it
        content = AsyncUpdate(
            op,
            target.account or "",
            target.container or "",
            target.obj or "",
            Headers({**row, **self._common, "X-Backend-Storage-Policy-Index": str(self._policy_index)}),
            environ.get("HTTP_X_CONTAINER_ROOT_DB_STATE"),
            self._container_path(),
        )
        hosts, devices = environ.get("HTTP_X_CONTAINER_HOST", ""), environ.get("HTTP_X_CONTAINER_DEVICE", "")
        self.all.append(_addressed(content, part, hosts, devices))

    def _container_path(self) -> str | None:
        """The account/container that holds the row when the container is sharded."""
        quoted = self._environ.get("HTTP_X_BACKEND_QUOTED_CONTAINER_PATH")
        path = unquote(quoted) if quoted else self._environ.get("HTTP_X_BACKEND_CONTAINER_PATH")
        if not path:
            return None
        if not is_container_path(path):
            logger.error("container path %r is not account/container; telling the root", path)
            return None
        return path

    def add_expiry(self, timestamp: Timestamp, old: int, new: int, metadata: Mapping[str, str]) -> None:
        """Queue the object for `new`, and take it from the queue of `old` (Unix times, 0 for never).

        `metadata` are the data file's.
        """
        if self._is_set("HTTP_X_BACKEND_REPLICATION", "f"):
            return  # the replica it comes from has told already
        if new and "HTTP_X_DELETE_AT_HOST" in self._environ:
            self._add_to_queue(timestamp, new, metadata)
        if old and old != new and self._is_set("HTTP_X_BACKEND_CLEAN_EXPIRING_OBJECT_QUEUE", "t"):
            # Not urgent, and the row may be anywhere: the updater will find it.
            self.all.append(Update(self._queue_update("DELETE", timestamp, old, self._queue_of(old), {})))

    def _is_set(self, key: str, default: str) -> bool:
        return is_true(self._environ.get(key, default))

    def _queue_of(self, delete_at: int) -> str:
        target = self._target
        digest = self._cluster.hash_path(target.account or "", target.container, target.obj)
        return expiring.queue_container(delete_at, digest)

    def _add_to_queue(self, timestamp: Timestamp, delete_at: int, metadata: Mapping[str, str]) -> None:
        environ = self._environ
        given = environ.get("HTTP_X_DELETE_AT_CONTAINER", "")
        # The nodes below are those of the container that the proxy means, be it the right one or not.
        container = expiring.queue_time(int(given)) if _is_number(given) else self._queue_of(delete_at)
        row = {
            "X-Size": "0",
            "X-Content-Type": f"{expiring.CONTENT_TYPE};swift_expirer_bytes={metadata['Content-Length']}",
            "X-Content-Type-Timestamp": metadata["X-Timestamp"],
            "X-Etag": expiring.EMPTY_ETAG,
        }
        content = self._queue_update("PUT", timestamp, delete_at, container, row)
        hosts, devices = environ["HTTP_X_DELETE_AT_HOST"], environ.get("HTTP_X_DELETE_AT_DEVICE", "")
        part = environ.get("HTTP_X_DELETE_AT_PARTITION", "")
        self.all.append(_addressed(content, part, hosts, devices))

    def _queue_update(
        self, op: str, timestamp: Timestamp, delete_at: int, container: str, row: Mapping[str, str]
    ) -> AsyncUpdate:
        target = self._target
        name = expiring.queue_name(delete_at, target.account or "", target.container or "", target.obj or "")
        headers = Headers({**row, **self._common, "X-Timestamp": timestamp.internal})
        headers["X-Backend-Storage-Policy-Index"] = "0"  # the queue is always in policy 0
        return AsyncUpdate(op, expiring.ACCOUNT, container, name, headers)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20


def _addressed(content: AsyncUpdate, part: str, hosts: str, devices: str) -> Update:
    """An update and the nodes it is for; without any, for the updater to find out, if they make no sense."""
    try:
        return Update(content, int(part), parse_nodes(hosts, devices))
    except ValueError:
        logger.error("container nodes make no sense: %r on %r, partition %r", hosts, devices, part)
        return Update(content)


def override_row(row: dict[str, str], *sources: Mapping[str, str]) -> None:
    """Replace values of a container row by what the sources (headers, footers) say, last one wins."""
    given = [
        (name.lower(), value)
        for source in sources
        for name, value in source.items()
        # When it was written is what orders the rows; nobody may say otherwise.
        if name.lower().startswith(_OVERRIDES) and not name.lower().endswith("timestamp")
    ]
    for prefix in _OVERRIDES:
        for name, value in given:
            if name.startswith(prefix):
                row["X-" + name[len(prefix) :].title()] = value


def override_headers(environ: Environ) -> dict[str, str]:
    """The headers of a request that replace values of its row."""
    return {
        header_name(key) or key: value
        for key, value in environ.items()
        if "_CONTAINER_UPDATE_OVERRIDE_" in key
    }
