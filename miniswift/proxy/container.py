"""The container controller."""

from __future__ import annotations

from collections.abc import Sequence

from miniswift.backend import BackendRequest
from miniswift.info import INFO_ONLY
from miniswift.proxy.constraints import check_metadata, check_name_length, refuse
from miniswift.proxy.controller import Controller
from miniswift.responses import Headers, HTTPError, Response
from miniswift.ring import Node


class ContainerController(Controller):
    """Requests for a container."""

    kind = "container"
    verbs = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")
    delays_denial = frozenset({"GET", "HEAD"})

    def GET(self) -> Response:
        app = self.app
        if INFO_ONLY in self.environ:
            info = app.infos.container(self.environ, self.account, self.container)
            return Response(info["status"], body=b"")
        if not app.infos.account_exists(self.environ, self.account):
            self.authorize(None)
            raise HTTPError(404)
        ring = app.container_ring
        part = app.cluster.part(ring, self.account, self.container)
        version = app.infos.container_version(self.account, self.container)
        response = self.read_listing(ring, part, self._path)
        info = app.infos.note_container(self.environ, self.account, self.container, response, version)
        try:
            self.authorize(info["read_acl"])
        except BaseException:
            response.close()
            raise
        self.word_listing(response)
        self._name_policy(response)
        return response

    HEAD = GET

    def PUT(self) -> Response:
        app = self.app
        self.clean_acls()
        check_metadata(self.request, "container", app.cluster.constraints)
        policy_headers = self._policy_headers()
        self.drop_owner_headers_of_request()
        check_name_length("Container", self.container, app.name_limit("container", self.account))
        self._need_account(create=app.settings.account_autocreate)
        self._check_container_limit()
        return self._write("PUT", policy_headers)

    def POST(self) -> Response:
        self.clean_acls()
        check_metadata(self.request, "container", self.app.cluster.constraints)
        self.drop_owner_headers_of_request()
        self._need_account()
        return self._write("POST", Headers(), tell_account=False)

    def DELETE(self) -> Response:
        self._need_account()
        response = self._write("DELETE", Headers())
        if response.status == 202:  # no server had it
            return Response(404)
        return response

    @property
    def _path(self) -> str:
        return f"/{self.account}/{self.container}"

    def _need_account(self, create: bool = False) -> None:
        """Raise 404 when the account is missing and may not be made, 503 when it cannot be asked."""
        infos = self.app.infos
        if infos.account_exists(self.environ, self.account):
            return
        status = infos.account(self.environ, self.account)["status"]
        if status // 100 == 5:
            raise HTTPError(503)
        if not create:
            raise HTTPError(404)
        self.app.create_account(self)
        if not infos.account_exists(self.environ, self.account):
            raise HTTPError(404)

    def _check_container_limit(self) -> None:
        settings, infos = self.app.settings, self.app.infos
        limit = settings.max_containers_per_account
        if not limit or self.account in settings.max_containers_whitelist:
            return
        if infos.account(self.environ, self.account)["container_count"] < limit:
            return
        if infos.container(self.environ, self.account, self.container)["status"] // 100 != 2:
            raise refuse(403, f"Reached container limit of {limit}")

    def _policy_headers(self) -> Headers:
        """The policy a new container is to have: the client's choice, or the default as a suggestion."""
        policies = self.app.cluster.policies
        name = self.environ.get("HTTP_X_STORAGE_POLICY")
        if not name:
            return Headers({"X-Backend-Storage-Policy-Default": str(policies.default.index)})
        policy = policies.named(name)
        if policy is None:
            raise refuse(400, f"Invalid X-Storage-Policy {name!r}")
        if policy.is_deprecated:
            raise refuse(400, f"Storage Policy {policy.name!r} is deprecated")
        return Headers({"X-Backend-Storage-Policy-Index": str(policy.index)})

    def _name_policy(self, response: Response) -> None:
        index = response.headers.get("X-Backend-Storage-Policy-Index")
        policy = self.app.cluster.policies.at(index) if index and response.status // 100 == 2 else None
        if policy is not None:
            response.headers["X-Storage-Policy"] = policy.name

    def _write(self, verb: str, more: Headers, tell_account: bool = True) -> Response:
        app = self.app
        ring = app.container_ring
        part = app.cluster.part(ring, self.account, self.container)
        headers = self.base_headers() if verb == "DELETE" else self.metadata_headers()
        headers.update(more)
        account_part = app.cluster.part(app.account_ring, self.account)
        accounts = app.account_ring.primaries(account_part) if tell_account else []
        replicas = len(ring.primaries(part))

        def request_for(index: int) -> BackendRequest:
            ours = headers.copy()
            ours.update(account_update_headers(account_part, accounts, index, replicas))
            return BackendRequest(verb, part, self._path, ours)

        response = app.client.write(ring, part, request_for)
        app.infos.forget_container(self.environ, self.account, self.container)
        return response


def account_update_headers(part: int, accounts: Sequence[Node], index: int, replicas: int) -> dict[str, str]:
    """Which account nodes the `index`-th of `replicas` container servers shall tell."""
    mine = accounts[index::replicas]
    if not mine:
        return {}
    return {
        "X-Account-Partition": str(part),
        "X-Account-Host": ",".join(f"{node.ip}:{node.port}" for node in mine),
        "X-Account-Device": ",".join(node.device for node in mine),
    }
