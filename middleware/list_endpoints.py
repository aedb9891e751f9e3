"""Where something is stored: /endpoints/[v1/|v2/]ACCOUNT[/CONTAINER[/OBJECT]] names the URLs of its replicas.

For programs that run on the storage nodes and want to read what is near. v2 adds the headers that a request
there needs. Whoever reaches the proxy may ask: place it where only such programs do.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from urllib.parse import quote

from miniswift import info
from miniswift.cluster import Cluster
from miniswift.config import Settings, option, text
from miniswift.responses import Environ, HTTPError, Response, StartResponse
from miniswift.wsgi import WSGIApp, as_text, blank_environ, split_path, to_wsgi

_SOURCE = "LE"
_VERSIONS = {"v1": 1, "v1.0": 1, "v2": 2, "v2.0": 2}


@dataclasses.dataclass(frozen=True)
class ListEndpointsSettings(Settings):
    """The options of [filter:list-endpoints]."""

    list_endpoints_path: str = option(text, "/endpoints/", "what paths begin with that are for this filter")
    swift_dir: str = option(text, "/etc/swift", "folder of swift.conf and the rings")


class ListEndpoints:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: ListEndpointsSettings, cluster: Cluster) -> None:
        self._app = app
        self._prefix = settings.list_endpoints_path.rstrip("/") + "/"
        self._cluster = cluster

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if not path.startswith(self._prefix):
            return self._app(environ, start_response)
        try:
            if environ["REQUEST_METHOD"] != "GET":
                raise HTTPError(405, headers={"Allow": "GET"})
            answer = self._answer(as_text(path[len(self._prefix) - 1 :]))
        except HTTPError as error:
            return error.response(environ, start_response)
        headers = {"Content-Type": "application/json"}
        return Response(200, headers, json.dumps(answer).encode())(environ, start_response)

    def _answer(self, path: str) -> object:
        """What there is to say of /[version/]account[/container[/object]]. Raises 400."""
        version, names = _parsed(path)
        headers: dict[str, str] = {}
        if len(names) == 3:
            index = self._policy_index(*names[:2])
            policy = self._cluster.policies.at(index)
            if policy is None:
                raise HTTPError(503, f"The container's storage policy, {index}, is not in swift.conf")
            ring = self._cluster.ring("object", policy)
            headers["X-Backend-Storage-Policy-Index"] = str(policy.index)
        else:
            ring = self._cluster.ring("container" if len(names) == 2 else "account")
        part = self._cluster.part(ring, *names)
        quoted = "/".join(quote(name) for name in names)
        endpoints = [
            f"http://{node.ip}:{node.port}/{node.device}/{part}/{quoted}" for node in ring.primaries(part)
        ]
        return endpoints if version == 1 else {"endpoints": endpoints, "headers": headers}

    def _policy_index(self, account: str, container: str) -> str:
        environ = blank_environ("/", "GET", {})
        environ["PATH_INFO"] = to_wsgi(f"/v1/{account}/{container}")
        return info.get_container_info(environ, self._app, _SOURCE)["storage_policy"]


def _parsed(path: str) -> tuple[int, list[str]]:
    """The version asked for, 1 if none is, and one to three names. Raises 400."""
    first = path.split("/", 2)[1]
    version = _VERSIONS.get(first)
    if version is not None:
        path = path[len(first) + 1 :]
    elif first.startswith("v") and "_" not in first:  # more like a version than an account
        raise HTTPError(400, f"Unsupported version {first!r}")
    try:
        names = [name for name in split_path(path, 1, 3, True) if name is not None]
    except ValueError:
        raise HTTPError(400, "No account specified") from None
    return version or 1, names


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], ListEndpoints]:
    settings = ListEndpointsSettings.from_conf({**global_conf, **local_conf}, local_conf)
    cluster = Cluster.load(settings.swift_dir)
    return lambda app: ListEndpoints(app, settings, cluster)
