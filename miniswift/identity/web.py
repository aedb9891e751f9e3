"""HTTP for the dialects: routes, JSON bodies in and out, and the addresses clients know us by.

1. A path is matched segment by segment, after one trailing slash is dropped; `{name}` takes any one
   non-empty segment.
2. Every answer with a body is JSON, and says that it varies with the caller's token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import webob

from miniswift.identity.documents import Document
from miniswift.identity.faults import BadRequest, Fault, MethodNotAllowed, NotFound, TooLarge
from miniswift.wsgi import Request, from_wsgi

MAX_BODY_BYTES = 64 << 10  # a login is some hundred bytes; a PKI token in one some thousand

_HOST = re.compile(r"(?P<name>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::\d+)?")

Handler = Callable[..., webob.Response]


@dataclass(frozen=True)
class Route:
    """A path and what each method does there; `template` is like `/v2.0/tokens/{token}`."""

    template: str
    handlers: Mapping[str, Handler]

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """The named segments of a path that fits, or None."""
        expected = self.template.split("/")
        if len(expected) != len(segments):
            return None
        names: dict[str, str] = {}
        for want, have in zip(expected, segments, strict=True):
            if want.startswith("{") and have:
                names[want[1:-1]] = have
            elif want != have:
                return None
        return names


def respond(routes: Iterable[Route], request: webob.Request) -> webob.Response:
    """The answer of the handler for a request. Raises Fault."""
    try:
        path = from_wsgi(request.environ.get("PATH_INFO", ""))
    except UnicodeDecodeError:
        raise NotFound from None
    segments = (path.removesuffix("/") or "/").split("/")
    for route in routes:
        names = route.match(segments)
        if names is not None:
            # webob drops the body of an answer to HEAD
            handler = route.handlers.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                raise MethodNotAllowed("This method means nothing here.", {"Allow": _allowed(route)})
            return handler(request, **names)
    raise NotFound


def _allowed(route: Route) -> str:
    methods = {*route.handlers, "HEAD"} if "GET" in route.handlers else set(route.handlers)
    return ", ".join(sorted(methods))


def answer(
    body: Mapping[str, Any] | None, status: int = 200, headers: Mapping[str, str] | None = None
) -> webob.Response:
    """A response with a JSON body, or with none."""
    if body is None:
        response = webob.Response(status=status)
        if status == 204:
            del response.content_type
    else:
        response = webob.Response(
            status=status, content_type="application/json", body=json.dumps(body).encode()
        )
    response.headers["Vary"] = "X-Auth-Token"
    response.headers.update(headers or {})
    return response


def fault_answer(fault: Fault, request: webob.Request) -> webob.Response:
    error = {"code": fault.status, "message": fault.message, "title": fault.title}
    headers = dict(fault.headers)
    if fault.status == 401:
        headers["WWW-Authenticate"] = f'Keystone uri="{_url(request)}"' if _host(request) else "Keystone"
    return answer({"error": error}, fault.status, headers)


def read_json(request: webob.Request) -> Document:
    """The object in a request's body. Raises BadRequest, TooLarge, and DocumentError."""
    try:
        value = json.loads(_read_body(request))
    except (ValueError, RecursionError):  # no JSON, no UTF-8, absurd numbers, brackets without end
        raise BadRequest("The body must be a JSON object.") from None
    return Document(value)


def _read_body(request: webob.Request) -> bytes:
    length = request.content_length
    if length is None:
        is_chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
        length = MAX_BODY_BYTES + 1 if is_chunked else 0
    elif length > MAX_BODY_BYTES:
        raise TooLarge(f"The body may have {MAX_BODY_BYTES} bytes.")
    body = b""
    while len(body) < length:
        chunk = request.environ["wsgi.input"].read(length - len(body))
        if not chunk:
            break
        body += chunk
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(f"The body may have {MAX_BODY_BYTES} bytes.")
    return body


def header_text(request: webob.Request, name: str) -> str:
    """A header's value as text; empty if it is absent or no UTF-8."""
    try:
        return from_wsgi(request.headers.get(name, ""))
    except UnicodeDecodeError:
        return ""


def parameters(request: webob.Request) -> dict[str, str]:
    """The query's parameters; any bytes may be in them."""
    return Request(request.environ).params


def base_url(request: webob.Request) -> str:
    """Where this service is, as the client wrote it. Raises BadRequest for a Host that is none."""
    if _host(request) is None:
        raise BadRequest("The Host header is not a host name.")
    return _url(request)


def host_name(request: webob.Request) -> str:
    """The host by which the client reached us, without the port. Raises BadRequest."""
    match = _host(request)
    if match is None:
        raise BadRequest("The Host header is not a host name.")
    return match["name"]


def _host(request: webob.Request) -> re.Match[str] | None:
    # It is written into URLs and headers, so it must not be able to end either.
    return _HOST.fullmatch(request.host)


def _url(request: webob.Request) -> str:
    url: str = request.application_url
    return url.rstrip("/")
