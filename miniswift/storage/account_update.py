"""What a container tells its account: that it is there, and how much is in it.

The container server sends this at once when a container is put or deleted; what gets lost is reported
later by the container updater, from the `reported_*` columns.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from miniswift.responses import Headers, HTTPError
from miniswift.ring import Node
from miniswift.transport import BackendRequest, Transport, TransportError
from miniswift.wsgi import Request

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AccountUpdate:
    """Where the proxy wants an account's databases told of a container."""

    part: int
    nodes: tuple[Node, ...]

    @classmethod
    def of_request(cls, request: Request) -> AccountUpdate:
        """Read X-Account-Partition, -Host and -Device. Raises 400 when they do not fit together."""
        headers = request.environ
        part = headers.get("HTTP_X_ACCOUNT_PARTITION", "")
        hosts = _listed(headers.get("HTTP_X_ACCOUNT_HOST", ""))
        devices = _listed(headers.get("HTTP_X_ACCOUNT_DEVICE", ""))
        if len(hosts) != len(devices):
            logger.error("account update refused: hosts %s, devices %s", hosts, devices)
            raise HTTPError(400, "X-Account-Host and X-Account-Device differ in length")
        if not part:
            return cls(0, ())
        if not part.isdecimal() or len(part) > 10:
            raise HTTPError(400, "Invalid X-Account-Partition")
        return cls(int(part), tuple(map(_node, hosts, devices)))

    def send(self, transport: Transport, info: dict[str, Any], request: Request) -> bool:
        """Tell every node, one after the other; False when each says that there is no such account."""
        headers = Headers(
            [
                ("X-Put-Timestamp", info["put_timestamp"]),
                ("X-Delete-Timestamp", info["delete_timestamp"]),
                ("X-Object-Count", str(info["object_count"])),
                ("X-Bytes-Used", str(info["bytes_used"])),
                ("X-Backend-Storage-Policy-Index", str(info["storage_policy_index"])),
                ("X-Trans-Id", request.environ.get("HTTP_X_TRANS_ID", "-")),
                ("User-Agent", f"container-server {os.getpid()}"),
                ("Referer", f"{request.method} {request.host_url}{request.path}"),
            ]
        )
        if request.environ.get("HTTP_X_ACCOUNT_OVERRIDE_DELETED", "").lower() == "yes":
            headers["X-Account-Override-Deleted"] = "yes"
        path = f"/{info['account']}/{info['container']}"
        statuses = [
            _tell(transport, node, BackendRequest("PUT", self.part, path, headers.copy()))
            for node in self.nodes
        ]
        return not statuses or any(status != 404 for status in statuses)


def _tell(transport: Transport, node: Node, request: BackendRequest) -> int | None:
    """The status of one node's answer, None for no answer. What goes wrong is only logged."""
    try:
        response = transport.send(node, request)
    except TransportError as error:
        logger.error("account update to %s:%d/%s failed: %r", node.ip, node.port, node.device, error)
        return None
    response.close()
    if not 200 <= response.status < 300 and response.status != 404:
        logger.error(
            "account update to %s:%d/%s got status %d", node.ip, node.port, node.device, response.status
        )
    return response.status


def _listed(value: str) -> list[str]:
    return [item.strip() for item in value.split(",")]


def _node(host: str, device: str) -> Node:
    ip, separator, port = host.rpartition(":")
    if not separator or not port.isdecimal() or not device or int(port[:6]) > 65535:
        raise HTTPError(400, "Invalid X-Account-Host or X-Account-Device")
    return Node(ip=ip.strip("[]"), port=int(port), device=device)
