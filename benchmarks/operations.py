"""What is measured: the operations, and the requests each is made of.

1. Both servers get the same requests; only token and account differ.
2. A PUT writes names that were never used; GET, HEAD and DELETE work on what the last PUT wrote. When it
   wrote too little, or was not asked for, the objects are made first, unmeasured.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from benchmarks.load import Load, run
from tests.functional.client import Client

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Operation:
    """A kind of request on objects of one size, or (`container` "listed") on a container's listing."""

    name: str
    method: str
    expected: int
    container: str
    share: float = 1.0  # of the number of requests that was asked for


OPERATIONS = (
    Operation("PUT 1 KiB", "PUT", 201, "small"),
    Operation("GET 1 KiB", "GET", 200, "small"),
    Operation("HEAD 1 KiB", "HEAD", 200, "small"),
    Operation("DELETE 1 KiB", "DELETE", 204, "small"),
    Operation("listing of 1000", "GET", 200, "listed", share=0.1),
    Operation("PUT 64 MiB", "PUT", 201, "big", share=0.01),
    Operation("GET 64 MiB", "GET", 200, "big", share=0.01),
)
OBJECT_BYTES = {"small": KIB, "listed": 0, "big": 64 * MIB}
LISTED = 1000
PREPARING_CONNECTIONS = 8


class Workload:
    """The requests of a logged-in client of one server."""

    def __init__(self, address: tuple[str, int], auth: tuple[str, str, str]) -> None:
        with Client.login(auth) as client:
            self._account = client.prefix
            headers = {**client.headers, "User-Agent": "benchmark"}
            for container in OBJECT_BYTES:
                answer = client.put(f"/{container}")
                if answer.status not in (201, 202):
                    raise RuntimeError(f"PUT of a container: {answer.status} {answer.text}")
        self._plain = Load(address, "GET", (), headers, 200)
        self._written = {container: range(0) for container in OBJECT_BYTES}

    def prepare(self, operation: Operation, count: int) -> None:
        """See to it that `count` requests of the operation find what they need."""
        if operation.method == "PUT":
            return
        needed = LISTED if operation.container == "listed" else count
        if len(self._written[operation.container]) < needed:
            put = replace(operation, method="PUT", expected=201)
            run(self.requests(put, needed, PREPARING_CONNECTIONS))

    def requests(self, operation: Operation, count: int, connections: int) -> Load:
        """The next `count` requests; they must be sent before others are asked for."""
        container = operation.container
        body = b""
        if operation.method == "PUT":
            first = self._written[container].stop
            self._written[container] = range(first, first + count)
            body = os.urandom(OBJECT_BYTES[container])
        paths = self._paths(operation, count)
        if operation.method == "DELETE":
            self._written[container] = self._written[container][count:]
        return replace(
            self._plain,
            method=operation.method,
            expected=operation.expected,
            paths=paths,
            body=body,
            connections=connections,
        )

    def _paths(self, operation: Operation, count: int) -> list[str]:
        base = f"{self._account}/{operation.container}"
        if operation.container == "listed" and operation.method == "GET":
            return [f"{base}?format=json&limit={LISTED}"] * count
        return [f"{base}/object-{number:08d}" for number in self._written[operation.container][:count]]
