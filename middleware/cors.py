"""CORS: lets the programs of other sites' pages use the store, where a container or the cluster says so.

    OPTIONS with an Origin      a browser asks what it may do: answered here with 200 or 401, and no token
    any other request with one  goes on; its answer gets Access-Control-… headers, whatever its status

Whose pages may: those that the container names (`X-Container-Meta-Access-Control-Allow-Origin`, separated by
spaces, `*` for all), and on every path, accounts and logins too, those of `cors_allow_origin`.

1. A request without an Origin costs one look-up.
2. What somebody further down said to a browser stands.
3. An answer that depends on the origin says so by `Vary`, also when it tells the browser nothing.

Not here: who may do what. A page that is let in still needs a token, a signature or an ACL.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

from miniswift import info
from miniswift.config import Settings, boolean, option, words
from miniswift.responses import Environ, HeaderList, Headers, Response, StartResponse
from miniswift.wsgi import INFO_CACHE, Request, WSGIApp, split_path, to_wsgi

# What a page may read of every answer; browsers show it little else.
_ALWAYS_EXPOSED = (
    "cache-control", "content-language", "content-type", "etag", "expires", "last-modified", "pragma",
    "x-openstack-request-id", "x-timestamp", "x-trans-id",
)  # fmt: skip
# And of those that have them: metadata, and what a login is for.
_EXPOSED_PREFIXES = (
    "x-container-meta-", "x-object-meta-", "x-auth-token", "x-subject-token", "x-storage-url",
)  # fmt: skip

# The methods of a path whose filters do not tell OPTIONS, as they want a token even for that.
_METHODS = "DELETE, GET, HEAD, OPTIONS, POST, PUT"

_PREFLIGHT_KEYS = frozenset(
    ["HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS"]
)


@dataclasses.dataclass(frozen=True)
class CorsSettings(Settings):
    """The options of [filter:cors]; those it does not have are taken from [app:proxy-server]."""

    cors_allow_origin: tuple[str, ...] = option(words, "", "origins allowed on every path")
    cors_expose_headers: tuple[str, ...] = option(words, "", "headers shown to pages everywhere")
    strict_cors_mode: bool = option(
        boolean, "true", "tell origins that are not allowed nothing; else, any origin may read"
    )


@dataclasses.dataclass(frozen=True)
class _Policy:
    """What is true for one path."""

    origins: frozenset[str]
    exposed: frozenset[str]
    max_age: str | None

    def admitted(self, origin: str) -> str | None:
        """What Access-Control-Allow-Origin says to a page of `origin`; None if it may not come in."""
        if "*" in self.origins:
            return "*"
        return origin if origin in self.origins else None


class Cors:
    """The filter."""

    # Set by whoever composes the pipeline, here as in Swift: its last application.
    _pipeline_final_app: Any = None

    def __init__(self, app: WSGIApp, settings: CorsSettings | None = None, given: Iterable[str] = ()) -> None:
        self._app = app
        self._own_settings = settings or CorsSettings()
        self._given = frozenset(given)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        if origin is None:
            return self._app(environ, start_response)
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return self._preflight(environ, origin)(environ, start_response)
        environ.setdefault(INFO_CACHE, {})  # to be shared with what we ask later
        asked = dict(environ)  # as it came: others may write over it

        def start(status: str, headers: HeaderList, exc_info: Any = None) -> Any:
            headers = self._told(Headers.of_list(headers), asked, origin)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self._app(environ, start)

    @functools.cached_property
    def _settings(self) -> CorsSettings:
        """Our own options; one that was not given is the proxy's, where Swift has it."""
        proxys = {
            field.name: getattr(self._pipeline_final_app, field.name)
            for field in dataclasses.fields(CorsSettings)
            if field.name not in self._given and hasattr(self._pipeline_final_app, field.name)
        }
        return dataclasses.replace(self._own_settings, **proxys)

    # --- preflight ---------------------------------------------------------------------------------------

    def _preflight(self, environ: Environ, origin: str) -> Response:
        """The answer to a browser that asks before it sends something."""
        plain = {key: value for key, value in environ.items() if key not in _PREFLIGHT_KEYS}
        response = Request(plain).call(self._app)
        policy = self._policy(environ)
        admitted = policy.admitted(origin)
        if admitted is None and not _has_container(environ["PATH_INFO"]):
            return response  # as in Swift, where browsers have nothing to ask of an account
        response.close()
        methods = response.headers.get("Allow") or _METHODS
        wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
        if admitted is None or wanted not in [name.strip() for name in methods.split(",")]:
            return Response(401, {"Allow": methods, "Vary": "Origin"})
        headers = Headers({"Allow": methods, "Access-Control-Allow-Methods": methods})
        _admit(headers, admitted)
        if policy.max_age:
            headers["Access-Control-Max-Age"] = policy.max_age
        wanted_headers = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
        if wanted_headers:
            headers["Access-Control-Allow-Headers"] = wanted_headers
            _vary(headers, "Access-Control-Request-Headers")
        return Response(200, headers, b"")

    # --- answers -----------------------------------------------------------------------------------------

    def _told(self, headers: Headers, asked: Environ, origin: str) -> HeaderList:
        """The headers of an answer with what a browser wants to know."""
        policy = self._policy(asked)
        admitted = policy.admitted(origin)
        linked = headers.get("Content-Location")
        if linked and admitted is not None:
            # It came by a symlink: a container's objects are shown to whom that container lets in.
            target = {**asked, "PATH_INFO": unquote(linked, "latin-1")}
            admitted = self._policy(target).admitted(origin) and admitted
        if admitted is None and not self._settings.strict_cors_mode:
            admitted = origin
        if admitted is not None:
            exposed = {name for name in map(str.lower, headers) if name.startswith(_EXPOSED_PREFIXES)}
            headers.setdefault("Access-Control-Expose-Headers", ", ".join(sorted(exposed | policy.exposed)))
            _admit(headers, admitted)
        elif policy.origins:
            _vary(headers, "Origin")
        return list(headers.items())

    def _policy(self, environ: Environ) -> _Policy:
        settings = self._settings
        cors: Any = {}
        if _has_container(environ["PATH_INFO"]):
            # The last application needs no token of ours, whatever stands in between.
            app = self._pipeline_final_app or self._app
            cors = info.get_container_info(environ, app, "CORS").get("cors") or {}
        exposed = [*_ALWAYS_EXPOSED, *settings.cors_expose_headers, *_words(cors.get("expose_headers"))]
        return _Policy(
            frozenset([*settings.cors_allow_origin, *_words(cors.get("allow_origin"))]),
            frozenset(map(str.lower, exposed)),
            cors.get("max_age"),
        )


def _has_container(path: str) -> bool:
    try:
        version = split_path(path, 3, 4, True)[0]
    except ValueError:
        return False
    return version in ("v1", "v1.0")


def _words(value: str | None) -> list[str]:
    return to_wsgi(value).split() if value else []


def _admit(headers: Headers, value: str) -> None:
    if headers.setdefault("Access-Control-Allow-Origin", value) != "*":
        _vary(headers, "Origin")


def _vary(headers: Headers, name: str) -> None:
    """Add `name` to Vary unless it is there."""
    vary = headers.get("Vary")
    if not vary:
        headers["Vary"] = name
    elif name.lower() not in (word.strip().lower() for word in vary.split(",")):
        headers["Vary"] = f"{vary}, {name}"


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], Cors]:
    conf = {**global_conf, **local_conf}
    settings = CorsSettings.from_conf(conf, local_conf)
    given = [field.name for field in dataclasses.fields(CorsSettings) if field.name in conf]
    return lambda app: Cors(app, settings, given)
