"""The account server: `/<device>/<partition>/<account>`, and below it the rows of its containers.

A row is put by a container server, never by a client. An account that was deleted stays so until its
database is reclaimed: putting it again is refused.
"""

from __future__ import annotations

from typing import ClassVar

from miniswift.cluster import Cluster
from miniswift.responses import Headers, HTTPError, Response
from miniswift.storage import StorageSettings, Target, check_reserved_names, required_timestamp
from miniswift.storage.account_broker import AccountBroker, ContainerRow
from miniswift.storage.broker import Info, load_metadata, number_of
from miniswift.storage.database_cache import DatabaseMissing
from miniswift.storage.database_file import DatabaseExists
from miniswift.storage.database_replication import DatabaseReplication
from miniswift.storage.database_server import (
    REQUEST_WAIT_S,
    STALE_AFTER_S,
    DatabaseServer,
    listing_query,
    text_param,
)
from miniswift.storage.listing_body import containers_body, content_type_of
from miniswift.storage.metadata import MetadataHeaders, add_to_headers
from miniswift.timestamp import Timestamp
from miniswift.transport import Transport, default_transport
from miniswift.wsgi import Request, WSGIApp

ROW_HEADERS = ("X-Put-Timestamp", "X-Delete-Timestamp", "X-Object-Count", "X-Bytes-Used")


class AccountReplication(DatabaseReplication[AccountBroker]):
    """The replication calls on an account's database."""

    broker_class = AccountBroker


class AccountServer(DatabaseServer):
    """Account databases over HTTP."""

    kind: ClassVar[str] = "account"
    stored_headers = MetadataHeaders("Account")
    replication = AccountReplication

    def __init__(self, settings: StorageSettings, cluster: Cluster, transport: Transport) -> None:
        super().__init__(settings, cluster, transport)
        self.listing_limit = cluster.constraints.account_listing_limit
        self._auto_create_prefix = cluster.constraints.auto_create_account_prefix

    def broker(
        self, target: Target, *, wait_s: float = 10.0, stale_after_s: float | None = None
    ) -> AccountBroker:
        if target.account is None or target.obj is not None:
            raise HTTPError(400, "Invalid path")
        check_reserved_names(target, is_free=False)
        digest = self.cluster.hash_path(target.account)
        return AccountBroker(
            self.db_file(target, digest), self.databases, wait_s=wait_s, stale_after_s=stale_after_s
        )

    # --- PUT ------------------------------------------------------------------------------------------

    def PUT(self, target: Target, request: Request) -> Response:
        if target.container is not None:
            return self._put_row(target, request)
        timestamp = required_timestamp(request)
        metadata = self.stored_headers.of_request(request.environ, timestamp)
        self.check_space(target.device)
        broker = self.broker(target)
        if not broker.exists():
            self.limits.check(metadata)
            try:
                broker.initialize(str(target.account), timestamp, metadata)
                return Response(201)
            except DatabaseExists:
                pass
        if not broker.put(timestamp, metadata, self.limits):
            return Response(403, {"X-Account-Status": "Deleted"}, "Recently deleted")
        return Response(202)

    def _put_row(self, target: Target, request: Request) -> Response:
        row = _container_row(str(target.container), request)
        self.check_space(target.device)
        wait_s = REQUEST_WAIT_S if "HTTP_X_TRANS_ID" in request.environ else 10.0
        broker = self.broker(target, wait_s=wait_s)
        account = str(target.account)
        if account.startswith(self._auto_create_prefix) and not broker.exists():
            timestamp = (
                required_timestamp(request) if "HTTP_X_TIMESTAMP" in request.environ else Timestamp.now()
            )
            try:
                broker.initialize(account, timestamp, {})
            except DatabaseExists:
                pass
        is_overriding = request.environ.get("HTTP_X_ACCOUNT_OVERRIDE_DELETED", "").lower() == "yes"
        if not is_overriding and broker.is_deleted():
            return Response(404)
        broker.put_row(row)
        # Compared as text, as it was sent.
        return Response(204 if str(row.delete_timestamp) > str(row.put_timestamp) else 201)

    # --- POST and DELETE ------------------------------------------------------------------------------

    def POST(self, target: Target, request: Request) -> Response:
        timestamp = required_timestamp(request)
        metadata = self.stored_headers.of_request(request.environ, timestamp)
        self.check_space(target.device)
        broker = self._account_broker(target)
        if broker.is_deleted():
            return self._not_found(broker)
        if metadata:
            broker.update_metadata(metadata, self.limits)
        return Response(204)

    def DELETE(self, target: Target, request: Request) -> Response:
        timestamp = required_timestamp(request)
        broker = self._account_broker(target)
        if broker.is_deleted():
            return self._not_found(broker)
        broker.delete(timestamp)
        return Response(204, _status_headers(broker))

    # --- HEAD and GET ---------------------------------------------------------------------------------

    def HEAD(self, target: Target, request: Request) -> Response:
        content_type = content_type_of(request, text_param(request.params, "format"))
        broker = self._account_broker(target, stale_after_s=STALE_AFTER_S)
        info = self._living_info(broker)
        return Response(204, self._headers(broker, info, content_type), b"")

    def GET(self, target: Target, request: Request) -> Response:
        params = request.params
        content_type = content_type_of(request, text_param(params, "format"))
        query = listing_query(request, params, self.listing_limit, with_path=False)
        broker = self._account_broker(target, stale_after_s=STALE_AFTER_S)
        info = self._living_info(broker)
        headers = self._headers(broker, info, content_type)
        entries = broker.list_containers(query)
        body = containers_body(entries, content_type, str(target.account), self.cluster.policies)
        return Response(200, headers, body) if body else Response(204, headers)

    def _account_broker(
        self, target: Target, *, wait_s: float = 10.0, stale_after_s: float | None = None
    ) -> AccountBroker:
        if target.container is not None:
            raise HTTPError(400, "Invalid path")
        return self.broker(target, wait_s=wait_s, stale_after_s=stale_after_s)

    def _living_info(self, broker: AccountBroker) -> Info:
        try:
            info = broker.get_info()
        except DatabaseMissing:
            raise HTTPError(404) from None
        if broker.is_deleted_info(info):
            raise HTTPError(404, headers=_status_headers_of(info))
        return info

    def _not_found(self, broker: AccountBroker) -> Response:
        return Response(404, _status_headers(broker))

    def _headers(self, broker: AccountBroker, info: Info, content_type: str) -> Headers:
        headers = Headers(
            [
                ("Content-Type", f"{content_type}; charset=utf-8"),
                ("X-Account-Container-Count", str(info["container_count"])),
                ("X-Account-Object-Count", str(info["object_count"])),
                ("X-Account-Bytes-Used", str(info["bytes_used"])),
                ("X-Timestamp", number_of(info["created_at"]).normal),
                ("X-Put-Timestamp", number_of(info["put_timestamp"]).normal),
            ]
        )
        for index, containers, objects, size in broker.get_policy_stats():
            policy = self.cluster.policies.at(index)
            if policy is not None:
                start = f"X-Account-Storage-Policy-{policy.name}-"
                headers[start + "Container-Count"] = str(containers)
                headers[start + "Object-Count"] = str(objects)
                headers[start + "Bytes-Used"] = str(size)
        add_to_headers(headers, load_metadata(info["metadata"]))
        return headers


def _container_row(name: str, request: Request) -> ContainerRow:
    """The row a container server sends, its stamps as spelled. Raises 400."""
    values = [request.headers.get(header) for header in ROW_HEADERS]
    for header, value in zip(ROW_HEADERS, values, strict=True):
        if value is None:
            raise HTTPError(400, f"Missing {header} header")
    policy_index = request.headers.get("X-Backend-Storage-Policy-Index", "0")
    try:
        return ContainerRow.checked([name, *values, 0, policy_index])
    except ValueError as error:
        raise HTTPError(400, f"Invalid container row: {error}") from None


def _status_headers(broker: AccountBroker) -> dict[str, str]:
    try:
        return _status_headers_of(broker.get_info())
    except DatabaseMissing:
        return {}


def _status_headers_of(info: Info) -> dict[str, str]:
    return {"X-Account-Status": "Deleted"} if AccountBroker.is_marked_deleted(info) else {}


def app_factory(global_conf: dict[str, str], **local_conf: str) -> WSGIApp:
    """The account server of a configuration file (paste.app_factory)."""
    settings = StorageSettings.from_conf({**global_conf, **local_conf}, local_conf)
    transport = default_transport(conn_timeout=settings.conn_timeout, node_timeout=settings.node_timeout)
    return AccountServer(settings, Cluster.load(settings.swift_dir), transport)
