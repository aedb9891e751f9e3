"""The container server: `/<device>/<partition>/<account>/<container>`, and below it rows of objects.

Rows come from object servers, one for each object written; they are appended to the pending file and
nothing else is looked at, so a deleted container takes them too and lives again while it has objects.
A container that is put or deleted is told to its account (account_update).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from miniswift.cluster import Cluster
from miniswift.config import is_true, option, words
from miniswift.responses import Headers, HTTPError, Response
from miniswift.storage import StorageSettings, Target, check_reserved_names, required_timestamp
from miniswift.storage.account_update import AccountUpdate
from miniswift.storage.broker import Info, load_metadata, number_of
from miniswift.storage.container_broker import ContainerBroker, NewerExists, NotEmpty, OtherPolicy
from miniswift.storage.container_replication import ContainerReplication
from miniswift.storage.container_sync_to import check_sync_to
from miniswift.storage.database_cache import DatabaseMissing
from miniswift.storage.database_file import DatabaseExists
from miniswift.storage.database_server import (
    STALE_AFTER_S,
    DatabaseServer,
    json_body,
    listing_query,
    text_param,
)
from miniswift.storage.listing_body import JSON, content_type_of, objects_body
from miniswift.storage.metadata import MetadataHeaders, add_to_headers
from miniswift.storage.object_rows import ObjectRow
from miniswift.timestamp import Timestamp
from miniswift.transport import Transport, default_transport
from miniswift.wsgi import Request, WSGIApp, environ_key, from_wsgi

POLICY_INDEX = "X-Backend-Storage-Policy-Index"
SHARDS_PREFIX = "shards_"  # behind the prefix of internal accounts; those are made by sharders only


@dataclass(frozen=True)
class ContainerSettings(StorageSettings):
    """The options of the container server."""

    allowed_sync_hosts: tuple[str, ...] = option(
        words, "127.0.0.1", "hosts that X-Container-Sync-To may name"
    )


class ContainerServer(DatabaseServer):
    """Container databases over HTTP."""

    kind: ClassVar[str] = "container"
    verbs: ClassVar[tuple[str, ...]] = ("DELETE", "GET", "HEAD", "POST", "PUT", "REPLICATE", "UPDATE")
    stored_headers = MetadataHeaders(
        "Container",
        ("X-Container-Read", "X-Container-Write", "X-Container-Sync-To", "X-Container-Sync-Key"),
    )
    replication = ContainerReplication
    settings: ContainerSettings

    def __init__(self, settings: ContainerSettings, cluster: Cluster, transport: Transport) -> None:
        super().__init__(settings, cluster, transport)
        self.listing_limit = cluster.constraints.container_listing_limit
        self._auto_create_prefix = cluster.constraints.auto_create_account_prefix

    def broker(
        self, target: Target, *, wait_s: float = 10.0, stale_after_s: float | None = None
    ) -> ContainerBroker:
        if target.account is None or target.container is None:
            raise HTTPError(400, "Invalid path")
        check_reserved_names(target, is_free=target.account.startswith(self._auto_create_prefix))
        digest = self.cluster.hash_path(target.account, target.container)
        return ContainerBroker(
            self.db_file(target, digest), self.databases, wait_s=wait_s, stale_after_s=stale_after_s
        )

    def _policy_index(self, request: Request, header: str = POLICY_INDEX) -> int | None:
        """The policy that a request names, if it does. Raises 400 for one we do not have."""
        value = request.environ.get(environ_key(header))
        if value is None:
            return None
        policy = self.cluster.policies.at(value)
        if policy is None:
            raise HTTPError(400, f"Invalid {header} {value}")
        return policy.index

    # --- object rows ----------------------------------------------------------------------------------

    def PUT(self, target: Target, request: Request) -> Response:
        timestamp = required_timestamp(request)
        self.check_space(target.device)
        if target.obj is None:
            return self._put_container(target, request, timestamp)
        row = self._object_row(target.obj, request, timestamp)
        self._row_broker(target, request, timestamp).put_row(row)
        return Response(201)

    def DELETE(self, target: Target, request: Request) -> Response:
        timestamp = required_timestamp(request)
        if target.obj is None:
            return self._delete_container(target, request, timestamp)
        policy_index = self._policy_index(request) or 0
        row = ObjectRow.deletion(target.obj, timestamp.internal, policy_index)
        self._row_broker(target, request, timestamp).put_row(row)
        return Response(204)

    def _object_row(self, name: str, request: Request, timestamp: Timestamp) -> ObjectRow:
        environ = request.environ
        try:
            return ObjectRow(
                name,
                timestamp.internal,
                _size(environ["HTTP_X_SIZE"]),
                from_wsgi(environ["HTTP_X_CONTENT_TYPE"]),
                from_wsgi(environ["HTTP_X_ETAG"]),
                0,
                self._policy_index(request) or 0,
                _stamp(environ.get("HTTP_X_CONTENT_TYPE_TIMESTAMP")),
                _stamp(environ.get("HTTP_X_META_TIMESTAMP")),
            )
        except KeyError:
            raise HTTPError(400, "Missing X-Size, X-Content-Type or X-Etag header") from None
        except ValueError as error:
            raise HTTPError(400, f"Invalid object row: {error}") from None

    def _row_broker(self, target: Target, request: Request, timestamp: Timestamp) -> ContainerBroker:
        """The broker for rows; its database is made if the account is one of the servers' own."""
        broker = self.broker(target)
        if self._is_auto_created(str(target.account), request) and not broker.exists():
            policy_index = self._policy_index(request)
            try:
                # An object's offset is none of the container's business.
                broker.initialize(
                    str(target.account),
                    str(target.container),
                    Timestamp(timestamp.units),
                    policy_index or 0,
                    {},
                )
            except DatabaseExists:
                pass
        return broker

    def _is_auto_created(self, account: str, request: Request) -> bool:
        asked = request.headers.get("X-Backend-Auto-Create")
        if asked:
            return is_true(asked)
        prefix = self._auto_create_prefix
        return account.startswith(prefix) and not account.startswith(prefix + SHARDS_PREFIX)

    def UPDATE(self, target: Target, request: Request) -> Response:
        """Merge rows of a JSON list at once."""
        if target.obj is not None:
            raise HTTPError(400, "Invalid path")
        timestamp = required_timestamp(request)
        self.check_space(target.device)
        items = json_body(request)
        try:
            rows = [ObjectRow.of_json(item) for item in items]
        except (ValueError, TypeError) as error:
            raise HTTPError(400, f"Invalid rows: {error}") from None
        broker = self._row_broker(target, request, timestamp)
        if not broker.exists():
            return Response(404)
        broker.merge_rows(rows)
        return Response(202)

    # --- containers -----------------------------------------------------------------------------------

    def _put_container(self, target: Target, request: Request, timestamp: Timestamp) -> Response:
        if request.headers.get("X-Backend-Record-Type", "").lower() == "shard":
            raise HTTPError(400, "Shard ranges are not kept here")
        self._check_sync_to(request)
        account_update = AccountUpdate.of_request(request)
        metadata = self.stored_headers.of_request(request.environ, timestamp)
        required = self._policy_index(request)
        default = self._policy_index(request, "X-Backend-Storage-Policy-Default")
        new = next(
            index for index in (required, default, self.cluster.policies.default.index) if index is not None
        )
        broker = self.broker(target)
        is_new = False
        if not broker.exists():
            self.limits.check(metadata)
            try:
                broker.initialize(str(target.account), str(target.container), timestamp, new, metadata)
                is_new = True
            except DatabaseExists:
                pass
        if not is_new:
            try:
                is_new = broker.put(
                    timestamp,
                    metadata,
                    self.limits,
                    policy_index=new,
                    is_policy_required=required is not None,
                )
            except OtherPolicy as error:
                raise HTTPError(409, headers={POLICY_INDEX: str(error.index)}) from None
            except NewerExists:
                raise HTTPError(409) from None
        info = broker.get_info()
        if not account_update.send(self.transport, info, request):
            return Response(404)
        return Response(201 if is_new else 202, {POLICY_INDEX: str(info["storage_policy_index"])})

    def _check_sync_to(self, request: Request) -> None:
        sync_to = request.headers.get("X-Container-Sync-To")
        if sync_to:
            check_sync_to(sync_to, self.settings.allowed_sync_hosts)

    def POST(self, target: Target, request: Request) -> Response:
        timestamp = required_timestamp(request)
        self._check_sync_to(request)
        self.check_space(target.device)
        metadata = self.stored_headers.of_request(request.environ, timestamp)
        broker = self._container_broker(target)
        if broker.is_deleted():
            return Response(404)
        keeps_stamp = is_true(request.headers.get("X-Backend-No-Timestamp-Update"))
        broker.post(None if keeps_stamp else timestamp, metadata, self.limits)
        return Response(204)

    def _delete_container(self, target: Target, request: Request, timestamp: Timestamp) -> Response:
        account_update = AccountUpdate.of_request(request)
        broker = self.broker(target)
        try:
            existed = broker.delete(timestamp)
        except (NotEmpty, NewerExists):
            raise HTTPError(409) from None
        if not account_update.send(self.transport, broker.get_info(), request):
            return Response(404)
        return Response(204 if existed else 404)

    def _container_broker(
        self, target: Target, *, wait_s: float = 10.0, stale_after_s: float | None = None
    ) -> ContainerBroker:
        if target.obj is not None:
            raise HTTPError(400, "Invalid path")
        return self.broker(target, wait_s=wait_s, stale_after_s=stale_after_s)

    # --- HEAD and GET ---------------------------------------------------------------------------------

    def HEAD(self, target: Target, request: Request) -> Response:
        content_type = content_type_of(request, text_param(request.params, "format"))
        broker = self._container_broker(target, stale_after_s=STALE_AFTER_S)
        return Response(204, self._headers(self._living_info(broker), content_type), b"")

    def GET(self, target: Target, request: Request) -> Response:
        params = request.params
        content_type = content_type_of(request, text_param(params, "format"))
        query = listing_query(request, params, self.listing_limit, with_path=True)
        policy_index = self._policy_index(request)
        broker = self._container_broker(target, stale_after_s=STALE_AFTER_S)
        info = self._living_info(broker)
        headers = self._headers(info, content_type)
        if request.headers.get("X-Backend-Record-Type", "").lower() == "shard":
            return self._shards(headers)
        if policy_index is None:
            policy_index = int(info["storage_policy_index"])
        headers["X-Backend-Record-Type"] = "object"
        headers["X-Backend-Record-Storage-Policy-Index"] = str(policy_index)
        body = objects_body(broker.list_objects(query, policy_index), content_type, str(target.container))
        return Response(200, headers, body) if body else Response(204, headers)

    def _shards(self, headers: Headers) -> Response:
        # What Swift answers for a container that was never sharded.
        headers["X-Backend-Record-Type"] = "shard"
        headers["Content-Type"] = f"{JSON}; charset=utf-8"
        return Response(200, headers, b"[]")

    def _living_info(self, broker: ContainerBroker) -> Info:
        try:
            info = broker.get_info()
        except DatabaseMissing:
            raise HTTPError(404, headers=self._backend_headers({})) from None
        if broker.is_deleted_info(info):
            raise HTTPError(404, headers=self._backend_headers(info))
        return info

    def _backend_headers(self, info: Info) -> Headers:
        """What every answer carries, found or not: replicas are compared by it."""
        default_policy = self.cluster.policies.default.index
        return Headers(
            [
                ("X-Backend-Timestamp", _internal(info.get("created_at"))),
                ("X-Backend-Put-Timestamp", _internal(info.get("put_timestamp"))),
                ("X-Backend-Delete-Timestamp", _internal(info.get("delete_timestamp"))),
                ("X-Backend-Status-Changed-At", _internal(info.get("status_changed_at"))),
                (POLICY_INDEX, str(info.get("storage_policy_index", default_policy))),
            ]
        )

    def _headers(self, info: Info, content_type: str) -> Headers:
        headers = self._backend_headers(info)
        put_at = number_of(info["put_timestamp"])
        headers.update(
            [
                ("Content-Type", f"{content_type}; charset=utf-8"),
                ("X-Container-Object-Count", str(info["object_count"])),
                ("X-Container-Bytes-Used", str(info["bytes_used"])),
                ("X-Timestamp", number_of(info["created_at"]).normal),
                ("X-Put-Timestamp", put_at.normal),
                ("Last-Modified", put_at.http_date),
                ("X-Backend-Sharding-State", "unsharded"),
            ]
        )
        add_to_headers(headers, load_metadata(info["metadata"]))
        return headers


def _internal(stamp: str | None) -> str:
    return number_of(stamp).internal


def _size(value: str) -> int:
    if not value.isdecimal() or not value.isascii() or len(value) > 18:
        raise ValueError(f"size {value!r}")
    return int(value)


def _stamp(value: str | None) -> str | None:
    return Timestamp.parse(value).internal if value else None


def app_factory(global_conf: dict[str, str], **local_conf: Any) -> WSGIApp:
    """The container server of a configuration file (paste.app_factory)."""
    settings = ContainerSettings.from_conf({**global_conf, **local_conf}, local_conf)
    transport = default_transport(conn_timeout=settings.conn_timeout, node_timeout=settings.node_timeout)
    return ContainerServer(settings, Cluster.load(settings.swift_dir), transport)
