"""An object server on temporary devices, spoken to over WSGI, for the tests of objects."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

from miniswift.backend import BackendRequest, TransportError
from miniswift.cluster import Cluster, Policies, Policy
from miniswift.responses import Response
from miniswift.ring import Node
from miniswift.storage.check import check_device
from miniswift.storage.object_server import ObjectServer, ObjectSettings
from miniswift.timestamp import Timestamp
from miniswift.wsgi import Request

OBJECT = "/sdb1/7/AUTH_test/c/o"
CONTAINER_HEADERS = {
    "X-Container-Host": "127.0.0.1:6201",
    "X-Container-Device": "sdb1",
    "X-Container-Partition": "2",
}


def make_cluster(root: Path) -> Cluster:
    policies = Policies([Policy(0, "gold", is_default=True), Policy(1, "silver")])
    return Cluster(root, hash_suffix="changeme", policies=policies)


class Containers:
    """A transport that notes what it was asked to send, and answers as told."""

    def __init__(self) -> None:
        self.sent: list[tuple[Node, BackendRequest]] = []
        self.answers: dict[str, int | TransportError] = {}  # by device; 201 for the others

    def send(self, node: Node, request: BackendRequest) -> Response:
        self.sent.append((node, request))
        answer = self.answers.get(node.device, 201)
        if isinstance(answer, TransportError):
            raise answer
        return Response(answer)


class ObjectNode:
    """The server, its devices, and requests to it."""

    def __init__(self, root: Path, **conf: str) -> None:
        self.devices = root / "devices"
        self.device = self.devices / "sdb1"
        self.device.mkdir(parents=True)
        self.cluster = make_cluster(root)
        self.containers = Containers()
        settings = ObjectSettings.from_conf(
            {"devices": str(self.devices), "mount_check": "false", "fallocate_reserve": "0", **conf}
        )
        self.server = ObjectServer(settings, self.cluster, self.containers)
        self._now = Timestamp.now()

    def time(self, seconds: float = 0) -> str:
        """A timestamp `seconds` after the test began."""
        return Timestamp(self._now.units + round(seconds * 100_000)).internal

    def call(
        self, method: str, path: str = OBJECT, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Response:
        response = Request.blank(path, method, headers, body).call(self.server)
        response.body = [response.read()]
        return response

    def put(self, body: bytes = b"hello", at: float = 0, path: str = OBJECT, **headers: str) -> Response:
        return self.call("PUT", path, {"Content-Type": "text/plain", **self._sent(at, headers)}, body)

    def get(self, path: str = OBJECT, **headers: str) -> Response:
        return self.call("GET", path, _dashed(headers))

    def head(self, path: str = OBJECT, **headers: str) -> Response:
        return self.call("HEAD", path, _dashed(headers))

    def post(self, at: float, path: str = OBJECT, **headers: str) -> Response:
        return self.call("POST", path, self._sent(at, headers))

    def delete(self, at: float, path: str = OBJECT, **headers: str) -> Response:
        return self.call("DELETE", path, self._sent(at, headers))

    def _sent(self, at: float, headers: dict[str, str]) -> dict[str, str]:
        return {"X-Timestamp": self.time(at), **_dashed(headers)}

    def files(self, pattern: str = "objects*/*/???/*/*") -> list[str]:
        """Names of the files on the device that match."""
        return sorted(os.path.basename(path) for path in glob.glob(f"{self.device}/{pattern}"))

    def path_of(self, extension: str) -> str:
        """The one file with this extension."""
        (path,) = glob.glob(f"{self.device}/objects*/*/???/*/*.{extension}")
        return path

    def problems(self) -> list[str]:
        return check_device(self.device, self.cluster)


def _dashed(headers: dict[str, Any]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def body_of(response: Response) -> bytes:
    return b"".join(response.body)
