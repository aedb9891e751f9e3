"""Ways to a storage node: a call in this process, or HTTP to another one.

`HTTPTransport` keeps connections to other processes; `LocalTransport` calls the storage application
in this process; `RoutedTransport` picks by the node's address. All keep the contract of
`miniswift.backend`, and one suite of tests runs over them.
"""

from __future__ import annotations

import io
import logging
from typing import Any

from miniswift.backend import (
    BackendRequest,
    BrokenAnswer,
    ConnectFailed,
    Readable,
    TimedOut,
    Transport,
    TransportError,
)
from miniswift.errors import BadRequestBody, ClientDisconnected, ClientTimeout
from miniswift.http_transport import HTTPTransport
from miniswift.responses import Environ, FileBody, Response
from miniswift.ring import Node
from miniswift.wsgi import FILE_WRAPPER, Request, WSGIApp, environ_key, to_wsgi

__all__ = [
    "BackendRequest",
    "BrokenAnswer",
    "ConnectFailed",
    "HTTPTransport",
    "LocalTransport",
    "Readable",
    "RoutedTransport",
    "TimedOut",
    "Transport",
    "TransportError",
    "default_transport",
    "serve_locally",
]

logger = logging.getLogger(__name__)


class LocalTransport:
    """Calls the storage applications of this process, keyed by the address they also listen on."""

    def __init__(self, apps: dict[tuple[str, int], WSGIApp]) -> None:
        self.apps = apps

    def send(self, node: Node, request: BackendRequest) -> Response:
        app = self.apps[node.ip, node.port]
        try:
            return Request(_environ(node, request)).call(app)
        except (ClientDisconnected, ClientTimeout, BadRequestBody):
            raise
        except Exception:
            logger.exception("%s %s failed in process", request.method, request.path)
            return Response(500)


def _environ(node: Node, request: BackendRequest) -> Environ:
    environ = _TEMPLATE.copy()
    environ["REQUEST_METHOD"] = request.method
    environ["PATH_INFO"] = to_wsgi(f"/{node.device}/{request.part}{request.path}")
    environ["QUERY_STRING"] = request.query
    environ["SERVER_NAME"] = environ["REMOTE_ADDR"] = node.ip
    environ["SERVER_PORT"] = str(node.port)
    for name, value in request.headers.items():
        environ[environ_key(name)] = value
    if request.body is None:
        return environ
    environ["wsgi.input"] = request.body
    if request.content_length is None:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        environ.pop("CONTENT_LENGTH", None)
    else:
        environ["CONTENT_LENGTH"] = str(request.content_length)
    return environ


class _ErrorStream(io.TextIOBase):
    """wsgi.errors of an in-process call: what is written there is logged."""

    def write(self, text: Any) -> int:
        logger.error("%s", text)
        return len(text)


_TEMPLATE: Environ = {
    "SCRIPT_NAME": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.input": io.BytesIO(),
    "wsgi.errors": _ErrorStream(),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    FILE_WRAPPER: FileBody,
}


class RoutedTransport:
    """In process to the addresses in `apps`, by HTTP to all others."""

    def __init__(self, apps: dict[tuple[str, int], WSGIApp], http: Transport) -> None:
        self._local = LocalTransport(apps)
        self._http = http

    def send(self, node: Node, request: BackendRequest) -> Response:
        if (node.ip, node.port) in self._local.apps:
            return self._local.send(node, request)
        return self._http.send(node, request)


# The storage applications this process serves, by address. Filled once, before the first request.
_served_here: dict[tuple[str, int], WSGIApp] = {}


def serve_locally(addresses: list[tuple[str, int]], app: WSGIApp) -> None:
    """Make every transport of this process call `app` for nodes at `addresses`."""
    for address in addresses:
        _served_here[address] = app


def default_transport(conn_timeout: float, node_timeout: float) -> Transport:
    """The transport of a server made from a configuration file; timeouts in seconds."""
    return RoutedTransport(_served_here, HTTPTransport(conn_timeout, node_timeout))
