"""The proxy application: the end of the pipeline, and the front of the storage servers.

`Application` takes a request apart, finds its controller, asks `swift.authorize` and lets the
controller's handler answer. What a handler needs stands here, ready made: the cluster's rings, the
`Client` that talks to storage nodes, the `Infos` of accounts and containers.

1. Nothing reaches a handler unauthorized, except those that must look up the ACL themselves.
2. Whatever goes wrong, the answer is an HTTP status; what nobody foresaw is left to catch_errors.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from miniswift.backend import BackendRequest, Transport
from miniswift.client import Client
from miniswift.cluster import Cluster
from miniswift.config import is_true
from miniswift.errors import BadRequestBody, ClientDisconnected, ClientTimeout, ConfigError
from miniswift.info import InfoCache
from miniswift.logs import FilterLogger
from miniswift.proxy import capabilities
from miniswift.proxy.account import AccountController
from miniswift.proxy.container import ContainerController
from miniswift.proxy.controller import Controller, Denied
from miniswift.proxy.infos import Infos
from miniswift.proxy.object import ObjectController
from miniswift.proxy.settings import ProxySettings
from miniswift.responses import Environ, HTTPError, Response, StartResponse
from miniswift.transport import default_transport
from miniswift.wsgi import AUTHORIZE, ORIGINAL_METHOD, Request, environ_key, from_wsgi

logger = logging.getLogger(__name__)

# Headers of a container's writes that are neither metadata nor sysmeta.
_CONTAINER_FIELDS = (
    "X-Container-Read", "X-Container-Write", "X-Container-Sync-Key", "X-Container-Sync-To",
    "X-Versions-Location",
)  # fmt: skip

_LISTING_HEADERS = (
    "X-Backend-Allow-Reserved-Names", "X-Backend-Override-Deleted", "X-Backend-Record-Type",
    "X-Backend-Storage-Policy-Index", "X-Newest",
)  # fmt: skip


# Swift's options for choosing among many or far nodes; on one machine there is nothing to choose.
_SCALE_OUT_OPTIONS = (
    "concurrency_timeout", "concurrent_*", "log_handoffs", "max_large_object_get_time",
    "policy_*", "put_queue_depth", "read_affinity", "rebalance_missing_suppression_count",
    "request_node_count", "sorting_method", "sorting_timing*", "timing_expiry", "write_affinity*",
)  # fmt: skip


class Application:
    """The WSGI application `egg:miniswift#proxy`."""

    def __init__(
        self,
        settings: ProxySettings,
        cluster: Cluster,
        transport: Transport,
        info_cache: InfoCache | None = None,
    ) -> None:
        self.settings = settings
        self.cluster = cluster
        self.client = Client(transport, settings)
        self.infos = Infos(cluster, self.client, settings, info_cache or InfoCache())
        self.account_ring = cluster.ring("account")
        self.container_ring = cluster.ring("container")
        self.owner_header_keys = tuple(map(environ_key, settings.swift_owner_headers))
        self.listing_header_keys = frozenset(map(environ_key, _LISTING_HEADERS))
        self.pass_through_keys = {
            "account": frozenset[str](),
            "container": frozenset(map(environ_key, _CONTAINER_FIELDS)),
        }
        self.removal_keys = {
            "account": frozenset[str](),
            "container": frozenset(environ_key(f"X-Remove-{name[2:]}") for name in _CONTAINER_FIELDS),
        }
        capabilities.register(settings, cluster)
        # Names that Swift's filters look for on the last application of a pipeline.
        self.logger = FilterLogger(logger)
        self.recheck_account_existence = settings.recheck_account_existence
        self.recheck_container_existence = settings.recheck_container_existence
        self.cors_allow_origin = settings.cors_allow_origin
        self.cors_expose_headers = settings.cors_expose_headers
        self.strict_cors_mode = settings.strict_cors_mode

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            response: Any = self._answer(Request(environ))
            if response.status == 204 and environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                _word_no_content(response)
        except HTTPError as error:
            response = error.response
        except Denied as denied:
            response = denied.response
        except ClientDisconnected:
            response = Response(499)
        except ClientTimeout:
            response = Response(408)
        except BadRequestBody as error:
            response = Response(400, body=str(error))
        body: Iterable[bytes] = response(environ, start_response)
        return body

    def _answer(self, request: Request) -> Response:
        if request.environ["PATH_INFO"] in ("/info", "/info/"):
            return capabilities.answer(request, self.settings)
        controller = self._controller(request)
        verb = request.method
        if verb not in controller.allowed_verbs():
            raise HTTPError(405, headers={"Allow": ", ".join(sorted(controller.allowed_verbs()))})
        environ = request.environ
        authorize = environ.get(AUTHORIZE)
        environ.setdefault(ORIGINAL_METHOD, verb)
        if authorize is not None:
            denial = authorize(request)
            if denial is None:
                return self._run_authorized(controller, verb, authorize)
            if verb not in controller.delays_denial:
                raise Denied(denial)
        response: Response = getattr(controller, verb)()
        return response

    def _run_authorized(self, controller: Controller, verb: str, authorize: Any) -> Response:
        """Run a handler with nobody left to ask; filters outside find `authorize` as they left it."""
        environ = controller.environ
        del environ[AUTHORIZE]
        try:
            response: Response = getattr(controller, verb)()
            return response
        finally:
            environ[AUTHORIZE] = authorize

    def _controller(self, request: Request) -> Controller:
        """The controller of a path. Raises 412, 400, 404 and 403, in Swift's order."""
        path = request.environ["PATH_INFO"]
        try:
            text = from_wsgi(path)
        except UnicodeDecodeError:
            raise HTTPError(412, "Invalid UTF8 or contains NULL") from None
        if "\0" in text and not is_true(request.environ.get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES")):
            raise HTTPError(412, "Invalid UTF8 or contains NULL")
        version, account, container, obj = _split(text)
        if not account:
            raise HTTPError(412, "Bad URL")
        if version not in self.cluster.constraints.valid_api_versions:
            raise HTTPError(400)
        self._check_host(request)
        if obj:
            return ObjectController(self, request, account, container, obj)
        if container:
            return ContainerController(self, request, account, container)
        return AccountController(self, request, account)

    def _check_host(self, request: Request) -> None:
        denied = self.settings.deny_host_headers
        if denied and request.environ.get("HTTP_HOST", "").partition(":")[0] in denied:
            raise HTTPError(403, "Invalid host header")

    def name_limit(self, kind: str, account: str) -> int:
        """The longest name in bytes; twice that in the servers' own accounts."""
        limits = self.cluster.constraints
        limit = limits.max_account_name_length if kind == "account" else limits.max_container_name_length
        return limit * 2 if account.startswith(limits.auto_create_account_prefix) else limit

    def create_account(self, controller: Controller) -> None:
        """Make the controller's account on its nodes. Raises 503 without a quorum."""
        account = controller.account
        part = self.cluster.part(self.account_ring, account)
        headers = controller.base_headers()
        for key, value in controller.environ.items():
            if key.startswith("HTTP_X_ACCOUNT_SYSMETA_"):
                headers[key[5:].replace("_", "-")] = value
        response = self.client.write(
            self.account_ring, part, lambda _: BackendRequest("PUT", part, f"/{account}", headers)
        )
        self.infos.forget_account(controller.environ, account)
        if response.status // 100 != 2:
            logger.warning("account %s could not be made: %d", account, response.status)
            raise HTTPError(503)


def _word_no_content(response: Response) -> None:
    """Give a write's 204 the headers that Swift's proxy gives it, whatever the storage server said."""
    response.headers["Content-Type"] = "text/html; charset=UTF-8"
    response.headers["Content-Length"] = "0"


def _split(path: str) -> tuple[str, str, str, str]:
    """Version, account, container and object, empty where absent. Raises 404 for a path of another form."""
    segments = path.split("/", 4)
    if len(segments) < 2 or segments[0]:
        raise HTTPError(404)
    names = segments[1:] + [""] * (5 - len(segments))
    version, account, container, obj = names
    if ((container or obj) and not account) or (obj and not container) or not version:
        raise HTTPError(404)
    return version, account, container, obj


def app_factory(global_conf: dict[str, str], **local_conf: str) -> Application:
    """paste.app_factory of the proxy."""
    conf = {**global_conf, **local_conf}
    settings = ProxySettings.from_conf(conf, local_conf, also=_SCALE_OUT_OPTIONS)
    cluster = Cluster.load(settings.swift_dir)
    if not cluster.ring("account").replica_count:
        raise ConfigError("the account ring is empty", file=str(cluster.swift_dir))
    return Application(settings, cluster, default_transport(settings.conn_timeout, settings.node_timeout))
