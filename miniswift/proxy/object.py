"""The object controller."""

from __future__ import annotations

import mimetypes
from typing import Any

from miniswift.backend import BackendRequest
from miniswift.client import RequestFor
from miniswift.cluster import Policy
from miniswift.config import is_true
from miniswift.info import ContainerInfo
from miniswift.proxy.constraints import check_metadata, check_object_upload, refuse, resolve_delete_at
from miniswift.proxy.container_updates import UpdatePlan
from miniswift.proxy.controller import Controller
from miniswift.quorum import best_response
from miniswift.responses import Headers, HTTPError, Response
from miniswift.ring import Ring
from miniswift.upload import Upload
from miniswift.wsgi import SYNC_KEY, environ_key

# What an object server acts on when it reads; the rest of a client's headers means nothing to it.
_READ_HEADERS = frozenset(
    environ_key(name)
    for name in (
        "If-Match", "If-Modified-Since", "If-None-Match", "If-Unmodified-Since", "Range",
        "X-Backend-Etag-Is-At", "X-Backend-Ignore-Range-If-Metadata-Present", "X-Backend-Open-Expired",
        "X-Backend-Replication", "X-Newest",
    )
)  # fmt: skip

# What an object server acts on when it deletes: the expirer's, and what its own filters may add.
_DELETE_HEADERS = frozenset(
    environ_key(name)
    for name in ("X-Backend-Clean-Expiring-Object-Queue", "X-Backend-Replication", "X-If-Delete-At")
)

# Statuses of GET and HEAD that speak of the object's bytes.
_OF_READING = frozenset({200, 206, 304, 416})


class ObjectController(Controller):
    """Requests for an object."""

    kind = "object"
    verbs = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")
    delays_denial = frozenset({"DELETE", "GET", "HEAD", "POST", "PUT"})

    def GET(self) -> Response:
        info = self._container_info()
        self.authorize(info["read_acl"])
        policy, ring, part = self._place(info)
        self._allow_expired()
        headers = self._chosen_headers(_READ_HEADERS)
        headers["X-Backend-Storage-Policy-Index"] = str(policy.index)
        newest = is_true(self.environ.get("HTTP_X_NEWEST"))
        request = BackendRequest(self.request.method, part, self._path, headers)
        response = self.app.client.read(ring, part, request, newest=newest)
        return self._for_client(response)

    HEAD = GET

    def PUT(self) -> Response:
        environ = self.environ
        if environ.get("HTTP_IF_NONE_MATCH", "*").strip() != "*":
            raise refuse(400, "If-None-Match only supports *")
        info = self._writable_container_info()
        self._guess_content_type()
        limits = self.app.cluster.constraints
        check_object_upload(self.request, self.obj, limits)
        check_metadata(self.request, "object", limits)
        delete_at = resolve_delete_at(self.request)
        policy, ring, part = self._place(info)
        length = None if self.request.is_chunked else self.request.content_length
        body = Upload(self.request.body_file, length, limits.max_file_size)
        headers = self._write_headers(policy)
        request_for = self._requests("PUT", ring, part, headers, delete_at, length)
        responses = self.app.client.upload(ring, part, request_for, body)
        return self._put_answer(responses, ring)

    def POST(self) -> Response:
        info = self._writable_container_info()
        self._allow_expired()
        check_metadata(self.request, "object", self.app.cluster.constraints)
        delete_at = resolve_delete_at(self.request)
        policy, ring, part = self._place(info)
        request_for = self._requests("POST", ring, part, self._write_headers(policy), delete_at)
        responses = self.app.client.write_all(ring, part, request_for)
        response = best_response(responses, ring.replica_count)
        if response.status == 404 and any(other.status == 202 for other in responses):
            # Somebody has the object, so "not found" would be wrong; the client shall try again.
            raise HTTPError(503)
        return self._for_client(response)

    def DELETE(self) -> Response:
        info = self._writable_container_info()
        policy, ring, part = self._place(info)
        request_for = self._requests("DELETE", ring, part, self._write_headers(policy))
        return self._for_client(self.app.client.write(ring, part, request_for, overrides={404: 204}))

    # --- steps -----------------------------------------------------------------------------------

    @property
    def _path(self) -> str:
        return f"/{self.account}/{self.container}/{self.obj}"

    def _container_info(self) -> ContainerInfo:
        return self.app.infos.container(self.environ, self.account, self.container)

    def _writable_container_info(self) -> ContainerInfo:
        """The info, once writing is allowed. Raises Denied, and 404 or 503 for the container."""
        info = self._container_info()
        self.environ[SYNC_KEY] = info["sync_key"]
        self.authorize(info["write_acl"])
        if info["status"] // 100 == 5:
            raise HTTPError(503)
        if info["status"] // 100 != 2:
            raise HTTPError(404)
        return info

    def _place(self, info: ContainerInfo) -> tuple[Policy, Ring, int]:
        """Policy, ring and partition of the object. Raises 503 for a policy that swift.conf lacks."""
        index = self.environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX", info["storage_policy"])
        policy = self.app.cluster.policies.at(index)
        if policy is None:
            raise HTTPError(503)
        ring = self.app.cluster.ring("object", policy)
        return policy, ring, self.app.cluster.part(ring, self.account, self.container, self.obj)

    def _allow_expired(self) -> None:
        """Let a client that says X-Open-Expired reach what has expired but is still there."""
        environ = self.environ
        if self.app.settings.allow_open_expired and is_true(environ.get("HTTP_X_OPEN_EXPIRED")):
            environ["HTTP_X_BACKEND_OPEN_EXPIRED"] = "true"

    def _guess_content_type(self) -> None:
        environ = self.environ
        detect = is_true(environ.pop("HTTP_X_DETECT_CONTENT_TYPE", None))
        if detect or not environ.get("CONTENT_TYPE"):
            has_extension = "." in self.obj.rpartition("/")[2]
            guessed = mimetypes.guess_type(environ["PATH_INFO"])[0] if has_extension else None
            environ["CONTENT_TYPE"] = guessed or "application/octet-stream"

    def _write_headers(self, policy: Policy) -> Headers:
        if self.request.method == "DELETE":
            headers = self._chosen_headers(_DELETE_HEADERS)
        else:
            headers = self.forwarded_headers()
        headers["X-Backend-Storage-Policy-Index"] = str(policy.index)
        return headers

    def _chosen_headers(self, keys: frozenset[str]) -> Headers:
        """The base, and those of `keys` that the request has."""
        headers = self.base_headers()
        for key in keys.intersection(self.environ):
            headers[key[5:].replace("_", "-")] = self.environ[key]
        return headers

    def _requests(
        self,
        verb: str,
        ring: Ring,
        part: int,
        headers: Headers,
        delete_at: int | None = None,
        length: int | None = None,
    ) -> RequestFor:
        """The request for each replica: alike but for the updates that each server shall send on."""
        replicas = len(ring.primaries(part))
        plan = UpdatePlan(self.app, self.account, self.container, replicas)
        if delete_at is not None:
            plan.add_expiry(self.obj, delete_at)

        def request_for(index: int) -> BackendRequest:
            ours = headers if replicas == 1 else headers.copy()
            plan.add_headers(ours, index)
            return BackendRequest(verb, part, self._path, ours, content_length=length)

        return request_for

    # --- answers ---------------------------------------------------------------------------------

    def _put_answer(self, responses: list[Response], ring: Ring) -> Response:
        statuses = [response.status for response in responses]
        if 412 in statuses:
            raise HTTPError(412)
        if 409 in statuses:
            # A newer object is on disk already. To the client its own write was accepted and replaced.
            return Response(202)
        etags = {r.headers.get("Etag", "").strip('"') for r in responses if r.status == 201}
        if len(etags) > 1:
            raise HTTPError(500, "The copies of the object differ")
        response = best_response(responses, ring.replica_count)
        if response.status != 201:
            return response
        headers = Headers({"Last-Modified": self.timestamp.http_date, "Etag": etags.pop()})
        return Response(201, headers, "")

    def _for_client(self, response: Response) -> Response:
        """Word an object server's answer as clients know it."""
        headers: Any = response.headers
        if response.status in _OF_READING:
            headers["Accept-Ranges"] = "bytes"
        etag = headers.get("Etag")
        if etag:
            headers["Etag"] = etag.strip('"')
        content_type = headers.get("Content-Type", "")
        if ";" in content_type:
            headers["Content-Type"] = _without_segments_size(content_type)
        return response


def _without_segments_size(content_type: str) -> str:
    """Leave out what a large object's manifest has for listings; other parameters of ours are for clients."""
    kept = [part for part in content_type.split(";") if not part.lstrip().startswith("swift_bytes=")]
    return ";".join(kept)
