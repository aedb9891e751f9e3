"""An account and a container server over a folder of devices, for tests to call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from miniswift.cluster import Cluster, Policies, Policy
from miniswift.responses import Response
from miniswift.storage import StorageServer, StorageSettings
from miniswift.storage.account_broker import AccountBroker
from miniswift.storage.account_server import AccountServer
from miniswift.storage.container_broker import ContainerBroker
from miniswift.storage.container_server import ContainerServer, ContainerSettings
from miniswift.storage.database_cache import DatabaseCache
from miniswift.storage.metadata import MetadataLimits
from miniswift.timestamp import Timestamp
from miniswift.transport import LocalTransport
from miniswift.wsgi import Request, to_wsgi

LIMITS = MetadataLimits(count=90, overall_size=4096)
ACCOUNT_ADDRESS = ("127.0.0.1", 6202)
TO_ACCOUNT = {
    "X-Account-Host": "127.0.0.1:6202",
    "X-Account-Device": "sda",
    "X-Account-Partition": "1",
    "X-Trans-Id": "tx-test",
}


def at(seconds: float) -> str:
    """A time some seconds after a round one, as in X-Timestamp."""
    return Timestamp.at(1_700_000_000 + seconds).internal


class Answer:
    """A response read to its end."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def names(self) -> list[str]:
        return [entry.get("name", entry.get("subdir")) for entry in self.json]


def call(
    app: StorageServer,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    /,
    **query: Any,
) -> Answer:
    """One request; the path, headers and parameters are text."""
    text = "&".join(f"{quote(name)}={quote(str(value), safe='')}" for name, value in query.items())
    url = quote(path) + (f"?{text}" if text else "")
    sent = {to_wsgi(name): to_wsgi(value) for name, value in (headers or {}).items()}
    return Answer(Request.blank(url, method, sent, body).call(app))


class Node:
    """One device `sda` and its servers; the container server tells accounts without a socket."""

    def __init__(self, root: Path, **constraints: Any) -> None:
        (root / "sda").mkdir()
        self.root = root
        policies = Policies([Policy(0, "gold", is_default=True), Policy(1, "silver")])
        self.cluster = Cluster(root, hash_suffix="changeme", policies=policies, **constraints)
        self.apps: dict[tuple[str, int], StorageServer] = {}
        transport = LocalTransport(self.apps)  # type: ignore[arg-type]
        conf = {
            "devices": str(root),
            "mount_check": "false",
            "fallocate_reserve": "0",
            "log_requests": "false",
        }
        self.account = AccountServer(StorageSettings.from_conf(conf), self.cluster, transport)
        self.container = ContainerServer(ContainerSettings.from_conf(conf), self.cluster, transport)
        self.apps[ACCOUNT_ADDRESS] = self.account

    def close(self) -> None:
        self.account.close()
        self.container.close()

    def with_account(self) -> Node:
        assert call(self.account, "PUT", "/sda/1/a", {"X-Timestamp": at(0)}).status == 201
        return self

    def with_container(self, **headers: str) -> Node:
        answer = call(self.container, "PUT", "/sda/2/a/c", {"X-Timestamp": at(0), **TO_ACCOUNT, **headers})
        assert answer.status == 201
        return self

    def put_row(self, name: str, when: float = 1, **headers: Any) -> int:
        sent = {
            "X-Timestamp": at(when),
            "X-Size": "5",
            "X-Content-Type": "text/plain",
            "X-Etag": "e",
        } | {name.replace("_", "-"): str(value) for name, value in headers.items()}
        return call(self.container, "PUT", f"/sda/2/a/c/{name}", sent).status

    def list_names(self, **query: Any) -> list[str]:
        return call(self.container, "GET", "/sda/2/a/c", format="json", **query).names

    def db_file(self, kind: str) -> Path:
        (found,) = (self.root / "sda" / f"{kind}s").glob("*/*/*/*.db")
        return found


def container_broker(
    root: Path, databases: DatabaseCache, name: str = "c", **options: Any
) -> ContainerBroker:
    """A broker of a new container."""
    broker = ContainerBroker(f"{root}/sda/containers/2/abc/{name * 32}/{name * 32}.db", databases, **options)
    (root / "sda").mkdir(exist_ok=True)
    broker.initialize("a", name, Timestamp.parse(at(0)), 0, {})
    return broker


def account_broker(root: Path, databases: DatabaseCache, name: str = "a") -> AccountBroker:
    """A broker of a new account."""
    broker = AccountBroker(f"{root}/sda/accounts/1/abc/{name * 32}/{name * 32}.db", databases)
    (root / "sda").mkdir(exist_ok=True)
    broker.initialize(name, Timestamp.parse(at(0)), {})
    return broker
