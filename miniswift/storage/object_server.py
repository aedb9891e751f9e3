"""The object server: Swift's back-end REST protocol over DiskFile.

Every handler has one shape: read the request, look at what is stored, decide, write, tell the
containers, answer.

1. A write must be strictly newer than what is stored; else 409 with the stored X-Backend-Timestamp.
2. A write is acknowledged when it is durable here and every container update is accepted or saved.
3. Damage is never served: what contradicts its metadata is quarantined and answered with 404, so that
   the proxy asks another replica.

Not here: SSYNC and erasure coding; replicators of a mixed cluster use REPLICATE and rsync.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from miniswift.backend import METADATA_TOO_LARGE, Transport
from miniswift.cluster import Cluster, Policy
from miniswift.concurrency import sleep
from miniswift.config import boolean, count, is_true, option, positive, seconds, words
from miniswift.responses import Environ, HTTPError, Response
from miniswift.storage import (
    StorageServer,
    StorageSettings,
    Target,
    check_reserved_names,
    diskfile,
    pickles,
    required_timestamp,
)
from miniswift.storage.container_update import ContainerUpdates
from miniswift.storage.diskfile import DiskFile, Reader
from miniswift.storage.object_answer import ObjectAnswers
from miniswift.storage.object_metadata import KeptHeaders
from miniswift.storage.object_updates import ObjectUpdates, override_headers, override_row
from miniswift.storage.object_upload import Upload, check_content_type
from miniswift.timestamp import ZERO, Timestamp
from miniswift.transport import default_transport
from miniswift.wsgi import Request

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectSettings(StorageSettings):
    """The options of [app:object-server]."""

    bind_port: int = option(positive, "6200", "port to listen on")
    disk_chunk_size: int = option(positive, "65536", "bytes read from disk at once")
    network_chunk_size: int = option(positive, "65536", "bytes read from the network at once")
    keep_cache_size: int = option(
        count, "5242880", "largest object, in bytes, that may stay in the page cache"
    )
    keep_cache_private: bool = option(
        boolean, "false", "keep objects above 1 MiB in the page cache even if they were read with a token"
    )
    max_upload_time: float = option(seconds, "86400", "seconds an upload may take")
    slow: float = option(seconds, "0", "seconds a PUT or DELETE takes at least")
    mb_per_sync: int = option(positive, "512", "megabytes of an upload between two syncs")
    allowed_headers: tuple[str, ...] = option(
        words,
        "Content-Disposition, Content-Encoding, X-Delete-At, X-Object-Manifest, X-Static-Large-Object,"
        " Cache-Control, Content-Language, Expires, X-Robots-Tag",
        "headers stored with an object besides its metadata",
    )
    container_update_timeout: float = option(
        seconds, "1", "seconds to wait for containers before an update is left to the updater"
    )
    reclaim_age: float = option(seconds, "604800", "seconds a tombstone is kept")


class ObjectServer(StorageServer):
    """The WSGI application of the object server."""

    kind: ClassVar[str] = "object"
    settings: ObjectSettings

    def __init__(self, settings: ObjectSettings, cluster: Cluster, transport: Transport) -> None:
        super().__init__(settings, cluster, transport)
        self.kept = KeptHeaders(settings.allowed_headers, cluster.constraints)
        self.answers = ObjectAnswers(settings, self.kept)
        self.containers = ContainerUpdates(
            settings.devices, cluster, transport, settings.container_update_timeout
        )
        self.files = diskfile.DiskFiles(
            settings.devices,
            cluster,
            reclaim_age_s=settings.reclaim_age,
            sync_every_bytes=settings.mb_per_sync << 20,
            keep_cache_size=settings.keep_cache_size,
        )

    def _answer(self, request: Request) -> Response:
        started = time.monotonic()
        try:
            return super()._answer(request)
        except diskfile.DiskFileError as error:
            return _answer_to(error, request)
        finally:
            if self.settings.slow and request.method in ("PUT", "DELETE"):
                sleep(max(0.0, started + self.settings.slow - time.monotonic()))

    def _policy(self, request: Request) -> Policy:
        index = request.environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX")
        policy = self.cluster.policies.at(index)
        if policy is None:
            raise HTTPError(503, f"No policy with index {index}")
        return policy

    def _disk_file(self, target: Target, policy: Policy) -> DiskFile:
        account, container, obj = target.account, target.container, target.obj
        if not (account and container and obj):
            raise HTTPError(400, "Invalid path: an account, a container and an object are needed")
        is_internal = account.startswith(self.cluster.constraints.auto_create_account_prefix)
        check_reserved_names(target, is_free=is_internal)
        return self.files.at(target.device, target.part, policy, account, container, obj)

    # --- reading ----------------------------------------------------------------------------------

    def GET(self, target: Target, request: Request) -> Response:
        disk_file = self._disk_file(target, self._policy(request))
        try:
            return self.answers.get(self._open(disk_file, request.environ), request.environ)
        except diskfile.NotFound as error:
            return _not_found(error, request.environ)

    def HEAD(self, target: Target, request: Request) -> Response:
        disk_file = self._disk_file(target, self._policy(request))
        try:
            return self.answers.head(self._open(disk_file, request.environ), request.environ)
        except diskfile.NotFound as error:
            return _not_found(error, request.environ)

    def _open(self, disk_file: DiskFile, environ: Environ) -> Reader:
        at = required_timestamp(Request(environ)).seconds if environ.get("HTTP_X_TIMESTAMP") else None
        return disk_file.open(at, even_expired=_wants_expired(environ))

    # --- writing ----------------------------------------------------------------------------------

    def PUT(self, target: Target, request: Request) -> Response:
        environ = request.environ
        timestamp, policy = required_timestamp(request), self._policy(request)
        delete_at = parse_delete_at(environ, timestamp)
        limits = self.cluster.constraints
        upload = Upload(request, timestamp, delete_at, self.settings, limits, self.kept)
        disk_file = self._disk_file(target, policy)
        _check_name_length(target.obj or "", limits.max_object_name_length)
        old_delete_at = _check_stored(disk_file, upload, environ)
        self.check_space(target.device, upload.announced_size or 0)
        with disk_file.create(upload.announced_size) as writer:
            metadata = upload.receive(writer)
            upload.body.confirm()
            writer.commit(timestamp, metadata)
        updates = ObjectUpdates(self.cluster, target, request, policy.index)
        updates.add_expiry(timestamp, old_delete_at, delete_at, metadata)
        row = {
            "X-Size": metadata["Content-Length"],
            "X-Content-Type": metadata["Content-Type"],
            "X-Timestamp": metadata["X-Timestamp"],
            "X-Etag": metadata["ETag"],
        }
        override_row(row, override_headers(environ), upload.footers)
        updates.add_row("PUT", row)
        self.containers.deliver(target.device, policy, updates.all)
        return Response(201, {"Etag": f'"{metadata["ETag"]}"'}, b"")

    def POST(self, target: Target, request: Request) -> Response:
        environ = request.environ
        timestamp, policy = required_timestamp(request), self._policy(request)
        # Empty is how a header that is not wanted any more may be sent.
        new_delete_at = parse_delete_at(environ, timestamp) if environ.get("HTTP_X_DELETE_AT") else 0
        self.kept.check(environ)
        sent_type = environ.get("CONTENT_TYPE")
        type_time = ZERO
        if sent_type:
            check_content_type(sent_type)
            given = environ.get("HTTP_CONTENT_TYPE_TIMESTAMP")
            type_time = required_timestamp(request, "Content-Type-Timestamp") if given else timestamp
        disk_file = self._disk_file(target, policy)
        stored = disk_file.open(timestamp.seconds, even_expired=_wants_expired(environ))
        stored.close()
        # Metadata as old as the data would not count; a newer content type alone needs a POST to join.
        is_type_newer = type_time > stored.content_type_timestamp and stored.meta_metadata is not None
        if timestamp <= stored.timestamp and not is_type_newer:
            raise HTTPError(409, headers={"X-Backend-Timestamp": stored.timestamp.internal})
        self.check_space(target.device)
        updates = ObjectUpdates(self.cluster, target, request, policy.index)
        if timestamp > stored.timestamp:
            metadata = {"X-Timestamp": timestamp.internal, **self.kept.of_post(environ)}
            if not new_delete_at:
                metadata.pop("X-Delete-At", None)
            old_delete_at = int(stored.metadata.get("X-Delete-At") or 0)
            updates.add_expiry(timestamp, old_delete_at, new_delete_at, stored.data_metadata)
        else:
            metadata = dict(stored.meta_metadata or {})
        content_type = _newest_content_type(stored, sent_type, type_time)
        if content_type["Content-Type-Timestamp"] != stored.data_timestamp.internal:
            metadata.update(content_type)
            own_time = Timestamp.parse(content_type["Content-Type-Timestamp"])
            disk_file.write_metadata(Timestamp.parse(metadata["X-Timestamp"]), metadata, own_time)
        else:
            disk_file.write_metadata(Timestamp.parse(metadata["X-Timestamp"]), metadata)
        listed_type = _listed_type(stored, content_type)
        updates.add_row("PUT", _row_after_post(stored, metadata, content_type, listed_type))
        self.containers.deliver(target.device, policy, updates.all)
        sysmeta = {
            name: value
            for name, value in self.kept.shown(stored.metadata).items()
            if name.startswith("X-Object-Sysmeta-")
        }
        return Response(202, {**sysmeta, "X-Backend-Content-Type": listed_type})

    def DELETE(self, target: Target, request: Request) -> Response:
        environ = request.environ
        timestamp, policy = required_timestamp(request), self._policy(request)
        disk_file = self._disk_file(target, policy)
        status, stored_time, metadata = _found_for_delete(disk_file, timestamp)
        delete_at = int(metadata.get("X-Delete-At") or 0)
        if "HTTP_X_IF_DELETE_AT" in environ:
            status = _check_if_delete_at(request, timestamp, stored_time, delete_at)
        updates = ObjectUpdates(self.cluster, target, request, policy.index)
        updates.add_expiry(timestamp, delete_at, 0, metadata)
        if stored_time < timestamp:
            disk_file.delete(timestamp)
            updates.add_row("DELETE", {"X-Timestamp": timestamp.internal})
        self.containers.deliver(target.device, policy, updates.all)
        headers = {
            "X-Backend-Timestamp": max(stored_time, timestamp).internal,
            "X-Backend-Content-Type": metadata.get("Content-Type", ""),
        }
        return Response(status, headers)

    # --- replication ------------------------------------------------------------------------------

    def REPLICATE(self, target: Target, request: Request) -> Response:
        policy = self._policy(request)
        self.check_space(target.device)
        hashes: dict[str, str | None] | None = None
        if target.account:
            suffixes = target.account.split("-")
            self.files.invalidate(target.device, target.part, policy, suffixes)
        else:
            hashes = self.files.hashes(target.device, target.part, policy)
        return Response(200, {"Content-Type": "application/octet-stream"}, pickles.dumps(hashes))


def _wants_expired(environ: Environ) -> bool:
    return any(
        key in environ and is_true(environ[key])
        for key in ("HTTP_X_BACKEND_REPLICATION", "HTTP_X_BACKEND_OPEN_EXPIRED")
    )


def parse_delete_at(environ: Environ, timestamp: Timestamp) -> int:
    """X-Delete-At as a Unix time, 0 when it is not sent. Raises 400."""
    header = environ.get("HTTP_X_DELETE_AT")
    if header is None:
        return 0
    if not (header.isascii() and header.isdigit() and len(header) <= 10):
        raise HTTPError(400, "Non-integer X-Delete-At")
    delete_at = int(header)
    if delete_at <= timestamp.seconds and not is_true(environ.get("HTTP_X_BACKEND_REPLICATION", "f")):
        raise HTTPError(400, "X-Delete-At in past")
    return delete_at


def _check_name_length(name: str, limit: int) -> None:
    length = len(name) if name.isascii() else len(name.encode("utf-8", "surrogateescape"))
    if length > limit:
        raise HTTPError(400, f"Object name length of {length} longer than {limit}")


def _check_stored(disk_file: DiskFile, upload: Upload, environ: Environ) -> int:
    """Raise 412 or 409 when what is stored forbids the upload; return its X-Delete-At, or 0."""
    metadata: Mapping[str, str] = {}
    try:
        stored = disk_file.open(upload.timestamp.seconds)
    except diskfile.Deleted as error:
        stored_time = error.timestamp
    except (diskfile.NotFound, diskfile.StateChanged):
        stored_time = ZERO
    else:
        stored.close()
        metadata, stored_time = stored.metadata, stored.data_timestamp
        upload.check_conditions(stored.etag)
    if stored_time >= upload.timestamp:
        raise HTTPError(409, headers={"X-Backend-Timestamp": stored_time.internal})
    return int(metadata.get("X-Delete-At") or 0)


def _found_for_delete(disk_file: DiskFile, timestamp: Timestamp) -> tuple[int, Timestamp, Mapping[str, str]]:
    """The status of a DELETE, the time of what is stored, and its metadata."""
    try:
        stored = disk_file.open(timestamp.seconds)
    except diskfile.Expired as error:
        return 404, error.timestamp, error.metadata
    except diskfile.Deleted as error:
        return 404, error.timestamp, {}
    except diskfile.NotFound:
        return 404, ZERO, {}
    stored.close()
    return 204 if stored.data_timestamp < timestamp else 409, stored.data_timestamp, stored.metadata


def _check_if_delete_at(
    request: Request, timestamp: Timestamp, stored_time: Timestamp, delete_at: int
) -> int:
    """The status of an expirer's DELETE. Raises unless what is stored is what it wants to remove."""
    wanted = required_timestamp(request, "X-If-Delete-At")
    if not stored_time:
        raise HTTPError(404)
    if stored_time >= timestamp:
        raise HTTPError(409)
    if wanted != Timestamp.at(delete_at):
        raise HTTPError(412, "X-If-Delete-At and X-Delete-At do not match")
    return 204


def _newest_content_type(stored: Reader, sent: str | None, sent_time: Timestamp) -> dict[str, str]:
    if sent and sent_time > stored.content_type_timestamp:
        return {"Content-Type": sent, "Content-Type-Timestamp": sent_time.internal}
    return {
        "Content-Type": stored.metadata.get("Content-Type", ""),
        "Content-Type-Timestamp": stored.content_type_timestamp.internal,
    }


def _listed_type(stored: Reader, content_type: Mapping[str, str]) -> str:
    """The content type as the container is told it after a POST."""
    listed = content_type["Content-Type"]
    if content_type["Content-Type-Timestamp"] == stored.data_timestamp.internal:
        return listed
    # The size of a large object travels in the type that its PUT gave; it must not get lost.
    _, found, size = stored.data_metadata.get("Content-Type", "").partition(";swift_bytes=")
    return listed + found + size.partition(";")[0]


def _row_after_post(
    stored: Reader, metadata: Mapping[str, str], content_type: Mapping[str, str], listed_type: str
) -> dict[str, str]:
    row = {
        "X-Size": stored.metadata["Content-Length"],
        "X-Content-Type": listed_type,
        "X-Timestamp": stored.data_timestamp.internal,
        "X-Content-Type-Timestamp": content_type["Content-Type-Timestamp"],
        "X-Meta-Timestamp": metadata["X-Timestamp"],
        "X-Etag": stored.etag,
    }
    override_row(row, stored.metadata)
    return row


def _not_found(error: diskfile.NotFound, environ: Environ) -> Response:
    headers = {}
    if isinstance(error, diskfile.Deleted):
        headers["X-Backend-Timestamp"] = error.timestamp.internal
    # RFC 9110 13.1.1: "*" asks that anything is stored.
    is_required = "*" in map(str.strip, environ.get("HTTP_IF_MATCH", "").split(","))
    return Response(412 if is_required else 404, headers)


def _answer_to(error: diskfile.DiskFileError, request: Request) -> Response:
    """The status that an error of the disk means for a request."""
    if isinstance(error, diskfile.NotFound):
        return _not_found(error, request.environ)
    if isinstance(error, diskfile.Collision):
        return Response(403)
    if isinstance(error, diskfile.AlreadyWritten):
        return Response(409, {"X-Backend-Timestamp": error.timestamp.internal})
    if isinstance(error, diskfile.NoRoomForMetadata):
        logger.warning("%s %s is refused: %s", request.method, request.path, error)
        return Response(507, {METADATA_TOO_LARGE: str(error.size_bytes)}, f"{error}.")
    if isinstance(error, diskfile.DeviceUnavailable):
        device = request.path_info.split("/")[1]
        logger.error("device %s cannot serve %s: %s", device, request.method, error)
        return Response(507, body=f"Drive: {device}: {error}")
    return Response(503)


def app_factory(global_conf: dict[str, str], **local_conf: str) -> ObjectServer:
    """What paste calls for `egg:miniswift#object`."""
    settings = ObjectSettings.from_conf({**global_conf, **local_conf}, local_conf)
    transport = default_transport(settings.conn_timeout, settings.node_timeout)
    return ObjectServer(settings, Cluster.load(settings.swift_dir), transport)
