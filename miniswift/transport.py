"""The first waist: a request to a storage node, and its answer.

`Transport.send(node, request)` is all the proxy and the storage servers know of each other.
`HTTPTransport` keeps connections to other processes; `LocalTransport` calls the storage application
in this process. Both read `request.body` only when the node wants it (the answer to
`Expect: 100-continue`), so a refusal costs nothing of the body.

1. An answer is a `Response`: the caller closes its body. A status of any kind is an answer.
2. No answer is a `TransportError`; which one says whether the node can be tried again.
3. Errors of reading `request.body` (the client's) pass through unchanged.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from miniswift.errors import BadRequestBody, ClientDisconnected, ClientTimeout, MiniswiftError
from miniswift.responses import Environ, FileBody, Headers, Response
from miniswift.ring import Node
from miniswift.wsgi import FILE_WRAPPER, RAW_PATH_INFO, Request, WSGIApp, environ_key, quote_path, to_wsgi

logger = logging.getLogger(__name__)


class TransportError(MiniswiftError):
    """Raised when a node gave no answer."""


class ConnectFailed(TransportError):
    """Raised when a node cannot be reached; nothing was sent."""


class TimedOut(TransportError):
    """Raised when a node did not answer in time."""


class BrokenAnswer(TransportError):
    """Raised when a node's answer stopped short or was no HTTP."""


class Readable(Protocol):
    """What a request's body must be able to do."""

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, `b""` at the end."""


@dataclass(slots=True)
class BackendRequest:
    """A request to a storage server; the device comes from the node it is sent to."""

    method: str
    part: int
    path: str  # /account[/container[/object]], text, not quoted
    headers: Headers = field(default_factory=Headers)
    query: str = ""  # already quoted
    body: Readable | None = None
    content_length: int | None = None  # None with a body: sent chunked


class Transport(Protocol):
    """Where requests to storage nodes go."""

    def send(self, node: Node, request: BackendRequest) -> Response:
        """Ask `node`. Raises TransportError when there is no answer."""


class LocalTransport:
    """Calls the storage applications of this process, keyed by the address they also listen on."""

    def __init__(self, apps: Mapping[tuple[str, int], WSGIApp]) -> None:
        self.apps = dict(apps)

    def send(self, node: Node, request: BackendRequest) -> Response:
        app = self.apps[node.ip, node.port]
        try:
            return Request(_environ(node, request)).call(app)
        except (ClientDisconnected, ClientTimeout, BadRequestBody):
            raise
        except Exception:
            logger.exception("%s %s failed in process", request.method, request.path)
            return Response(500)


_NOTHING = io.BytesIO()


def _environ(node: Node, request: BackendRequest) -> Environ:
    path = f"/{node.device}/{request.part}{request.path}"
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": to_wsgi(path),
        RAW_PATH_INFO: quote_path(path),
        "QUERY_STRING": request.query,
        "SERVER_NAME": node.ip,
        "SERVER_PORT": str(node.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": node.ip,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": request.body or _NOTHING,
        "wsgi.errors": _NO_ERRORS,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        FILE_WRAPPER: FileBody,
    }
    for name, value in request.headers.items():
        environ[environ_key(name)] = value
    if request.body is not None and request.content_length is None:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        environ.pop("CONTENT_LENGTH", None)
    elif request.body is not None:
        environ["CONTENT_LENGTH"] = str(request.content_length)
    return environ


class _ErrorStream(io.TextIOBase):
    """wsgi.errors of an in-process call: what is written there is logged."""

    def write(self, text: Any) -> int:
        logger.error("%s", text)
        return len(text)


_NO_ERRORS = _ErrorStream()
