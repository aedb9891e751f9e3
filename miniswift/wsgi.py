"""Requests: the environ keys that filters share, and a thin view over an environ.

Real Swift's filters run in our pipeline and ours in Swift's, so the keys, their types and who owns
them are Swift's. A new key is added here first.

1. `Request` holds nothing but the environ: any number of them over one environ agree.
2. Paths, queries and header values are WSGI strings, each character one byte. `split_path` hands
   out names as real text, decoded from UTF-8, or refuses them.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote

from miniswift.responses import (
    Environ,
    HeaderList,
    Headers,
    HTTPError,
    Response,
    StartResponse,
    close_body,
    title_case,
)

WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

# --- environ keys: who sets it; who reads it; type ---------------------------------------------

AUTHORIZE = "swift.authorize"  # auth filter; proxy, staticweb…; callable(Request) → None or a response
AUTHORIZE_OVERRIDE = "swift.authorize_override"  # tempurl, container sync…; auth filters; True
CLEAN_ACL = "swift.clean_acl"  # auth filter; proxy; callable(header name, value) → value, ValueError
OWNER = "swift_owner"  # auth filter; proxy; True for an owner of the account
RESELLER_REQUEST = "reseller_request"  # auth filter; quotas; True for a reseller admin
SYNC_KEY = "swift_sync_key"  # proxy; auth filters; the container's sync key
ACL = "swob.ACL"  # proxy; the authorize callable; the ACL text that applies (Swift's Request.acl)
CACHE = "swift.cache"  # cache filter; info, auth filters; a memcache client
INFO_CACHE = "swift.infocache"  # info; everybody; dict of info dictionaries for this request
TRANS_ID = "swift.trans_id"  # catch_errors; logs, proxy; text
SOURCE = "swift.source"  # makers of subrequests; access log; two or three letters
RELATIVE_LOCATION = "swift.leave_relative_location"  # staticweb; response makers; True
ORIGINAL_METHOD = "swift.orig_req_method"  # copy…; access log, CORS; text
TYPE_OVERRIDDEN = "swift.content_type_overridden"  # filters; proxy; True: do not guess the type
UPDATE_FOOTERS = "swift.callback.update_footers"  # filters; proxy; callable(dict) at the end of a PUT
SLO_OVERRIDE = "swift.slo_override"  # container sync; slo; True: pass everything
SLO_HOOK = "swift.callback.slo_manifest_hook"  # swift3; slo; callable(entries) → problems
RATELIMITED = "swift.ratelimit.handled"  # ratelimit; ratelimit; True: it has waited
SYMLINK_OVERRIDE = "swift.symlink_override"  # container sync; symlink; True: the target may come later
FORMAT_LISTING = "swift.format_listing"  # filters; listing_formats; False: leave listings alone
ACCESS_LOG_MADE = "swift.proxy_access_log_made"  # the first access logger; the others; True
LOGGED_STATUS = "swift.proxy_logging_status"  # filters; access log; int
BACKEND_PATH = "swift.backend_path"  # swift3; logs, quotas; the Swift path of an S3 request
ACCESS_LOGGING = "swift.access_logging"  # auth filters; access log; dict with user_id
LOG_INFO = "swift.log_info"  # filters; access log; list of text
IDENTITY = "keystone.identity"  # keystoneauth; other filters; dict
TOKEN_INFO = "keystone.token_info"  # authtoken; keystoneauth; the validated token's body
TOKEN_AUTH = "keystone.token_auth"  # authtoken; filters; a keystoneauth1 plugin acting as the user
S3_DETAILS = "s3api.auth_details"  # swift3; auth filters; dict with access_key and check_signature(secret)
OLD_S3_DETAILS = "swift3.auth_details"  # the same, as old versions of swift3 call it
HEADERS_RAW = "headers_raw"  # server; filters; tuple of (name, value) as received
RAW_PATH_INFO = "RAW_PATH_INFO"  # server; swift3; the path as received, still quoted
POST_HOOKS = "eventlet.posthooks"  # filters; server; list of (function, args, kwargs), run at the end
FILE_WRAPPER = "wsgi.file_wrapper"  # server; object server; the FileBody class

_SUBREQUEST_KEYS = (
    "HTTP_USER_AGENT", "HTTP_HOST", "HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD", "HTTP_REFERER",
    "HTTP_X_USER_ID", "HTTP_X_PROJECT_ID", "REMOTE_USER", "REMOTE_ADDR", "SERVER_NAME",
    "SERVER_PORT", "SERVER_PROTOCOL", "wsgi.url_scheme", "wsgi.version", "wsgi.multithread",
    "wsgi.multiprocess", "wsgi.run_once", "wsgi.errors", FILE_WRAPPER, CACHE, SOURCE, TRANS_ID, AUTHORIZE,
    AUTHORIZE_OVERRIDE, INFO_CACHE, ACCESS_LOGGING, "swift.base_labels", "swift.shard_listing_history",
)  # fmt: skip


# --- header names and paths --------------------------------------------------------------------


@functools.lru_cache(maxsize=8192)
def environ_key(header: str) -> str:
    """The environ key of a header (RFC 3875 4.1.18). Only ASCII letters change; other bytes stay."""
    key = header.encode("latin-1").upper().decode("latin-1").replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


@functools.lru_cache(maxsize=8192)
def header_name(key: str) -> str | None:
    """The header that an environ key stands for, in Title-Case; None if it is no header."""
    if key.startswith("HTTP_"):
        return title_case(key[5:].replace("_", "-"))
    return title_case(key.replace("_", "-")) if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else None


def to_wsgi(text: str) -> str:
    """Text as a WSGI string: its UTF-8 bytes, one character each."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def from_wsgi(wsgi_string: str) -> str:
    """The text that a WSGI string spells in UTF-8. Raises UnicodeDecodeError."""
    return wsgi_string if wsgi_string.isascii() else wsgi_string.encode("latin-1").decode("utf-8")


def as_text(wsgi_string: str) -> str:
    """As `from_wsgi`, for any bytes: what is no UTF-8 becomes surrogates, which `to_wsgi` undoes."""
    if wsgi_string.isascii():
        return wsgi_string
    return wsgi_string.encode("latin-1").decode("utf-8", "surrogateescape")


# What most paths consist of, and no kind of quoting changes: seeing that takes a tenth of `quote`'s time.
_needs_no_quoting = re.compile(r"[\w./~-]*", re.ASCII).fullmatch


def quote_path(text: str) -> str:
    """Text quoted for a URL's path."""
    return text if _needs_no_quoting(text) else quote(text, safe="/~")


def split_path(path: str, minimum: int, maximum: int, rest_with_last: bool = False) -> list[str | None]:
    """Split `/a/b/c` into exactly `maximum` names as Swift does; the missing ones are None.

    With `rest_with_last` the last name may contain slashes. Raises ValueError for a path that does
    not fit: too few or too many segments, an empty one, no leading slash.
    """
    if not path.startswith("/"):
        raise ValueError(f"invalid path: {path!r}")
    segments = path[1:].split("/", maximum - 1) if rest_with_last else path[1:].split("/")
    if len(segments) > maximum and segments[maximum:] == [""]:
        segments.pop()
    if len(segments) > minimum and segments[-1] == "":
        segments.pop()
    if not minimum <= len(segments) <= maximum or "" in segments[: max(minimum, maximum - rest_with_last)]:
        raise ValueError(f"invalid path: {path!r}")
    return [*segments, *[None] * (maximum - len(segments))]


# --- requests ----------------------------------------------------------------------------------


class EnvironHeaders(MutableMapping[str, str]):
    """The headers of a request, read from and written to its environ."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value: str = self._environ[environ_key(name)]
        return value

    def __setitem__(self, name: str, value: str | None) -> None:
        if value is None:
            self._environ.pop(environ_key(name), None)
        else:
            self._environ[environ_key(name)] = str(value)

    def __delitem__(self, name: str) -> None:
        del self._environ[environ_key(name)]

    def __contains__(self, name: object) -> bool:
        return environ_key(str(name)) in self._environ

    def __iter__(self) -> Iterator[str]:
        return (name for name in map(header_name, list(self._environ)) if name is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Request:
    """A view of a WSGI environ with the names Swift's own request has, so its callables can take one."""

    __slots__ = ("environ",)

    def __init__(self, environ: Environ) -> None:
        self.environ = environ

    @classmethod
    def blank(
        cls, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Request:
        """A request made from nothing; `path` is quoted and may carry a query."""
        return cls(blank_environ(path, method, headers or {}, body))

    @property
    def method(self) -> str:
        method: str = self.environ["REQUEST_METHOD"]
        return method

    @method.setter
    def method(self, value: str) -> None:
        self.environ["REQUEST_METHOD"] = value

    @property
    def path_info(self) -> str:
        path: str = self.environ["PATH_INFO"]
        return path

    @path_info.setter
    def path_info(self, value: str) -> None:
        self.environ["PATH_INFO"] = value

    @property
    def path(self) -> str:
        """The path quoted, as the access log shows it."""
        path: str = self.environ.get("SCRIPT_NAME", "") + self.path_info
        return path if _needs_no_quoting(path) else quote(path.encode("latin-1"), safe="/~:@!$&'()*+,;=")

    @property
    def query_string(self) -> str:
        query: str = self.environ.get("QUERY_STRING", "")
        return query

    @query_string.setter
    def query_string(self, value: str) -> None:
        self.environ["QUERY_STRING"] = value

    @property
    def path_qs(self) -> str:
        return f"{self.path}?{self.query_string}" if self.query_string else self.path

    @property
    def params(self) -> dict[str, str]:
        """The query's parameters as WSGI strings; the last of equal names counts."""
        query = self.query_string
        return dict(parse_qsl(query, keep_blank_values=True, encoding="latin-1")) if query else {}

    @property
    def headers(self) -> EnvironHeaders:
        return EnvironHeaders(self.environ)

    @property
    def content_length(self) -> int | None:
        """The announced length of the body in bytes; None when chunked or absent. Raises a 400."""
        text = self.environ.get("CONTENT_LENGTH")
        if not text:
            return None
        if not text.isdecimal() or not text.isascii():
            raise HTTPError(400, "Invalid Content-Length")
        return int(text)

    @property
    def is_chunked(self) -> bool:
        return "chunked" in self.environ.get("HTTP_TRANSFER_ENCODING", "").lower()

    @property
    def body_file(self) -> Any:
        return self.environ["wsgi.input"]

    @property
    def remote_user(self) -> Any:
        return self.environ.get("REMOTE_USER")

    @remote_user.setter
    def remote_user(self, value: Any) -> None:
        self.environ["REMOTE_USER"] = value

    @property
    def referer(self) -> str | None:
        return self.environ.get("HTTP_REFERER")

    referrer = referer

    @property
    def acl(self) -> str | None:
        return self.environ.get(ACL)

    @acl.setter
    def acl(self, value: str | None) -> None:
        self.environ[ACL] = value

    @property
    def trans_id(self) -> str:
        trans_id: str = self.environ.get(TRANS_ID, "")
        return trans_id

    @property
    def remote_addr(self) -> str | None:
        return self.environ.get("REMOTE_ADDR")

    @property
    def host_url(self) -> str:
        environ = self.environ
        host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
        scheme: str = environ.get("wsgi.url_scheme", "http")  # subrequests of Swift's filters lack it
        return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"

    def split_path(
        self, minimum: int = 1, maximum: int | None = None, rest_with_last: bool = False
    ) -> list[str | None]:
        """Split the path as WSGI strings; see `split_path`. Raises ValueError."""
        path = self.environ.get("SCRIPT_NAME", "") + self.path_info
        return split_path(path, minimum, maximum or minimum, rest_with_last)

    def call(self, app: WSGIApp) -> Response:
        """Send the request to `app`; the caller owns the body of what comes back, and closes it."""
        captured: list[Any] = []

        def start_response(status: str, headers: HeaderList, exc_info: Any = None) -> None:
            captured[:] = [int(status[:3]), headers]

        body = app(self.environ, start_response)
        if not captured:  # an application may start its response with its first chunk (PEP 3333)
            body = Primed(body)
        return Response(captured[0], Headers.of_list(captured[1]), body)


class Primed:
    """A body whose first chunk was asked for already, so that its application has started its response."""

    __slots__ = ("_body", "_first", "_rest")

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        self._rest = iter(body)
        self._first = next(self._rest, b"")

    def __iter__(self) -> Iterator[bytes]:
        if self._first:
            yield self._first
        yield from self._rest

    def close(self) -> None:
        close_body(self._body)


def blank_environ(path: str, method: str, headers: dict[str, str], body: bytes = b"") -> Environ:
    """The environ of a request nobody sent. `path` is quoted and may carry a query."""
    from urllib.parse import unquote

    bare, _, query = path.partition("?")
    environ: Environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(bare, encoding="latin-1"),
        "QUERY_STRING": query,
        RAW_PATH_INFO: bare,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost:80",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if body or method in ("PUT", "POST"):
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in headers.items():
        environ[environ_key(name)] = value
    return environ


# --- subrequests -------------------------------------------------------------------------------


def make_subrequest(
    environ: Environ,
    method: str,
    path: str,
    *,
    source: str | None = None,
    query: str = "",
    headers: dict[str, str] | None = None,
) -> Request:
    """A request on behalf of the one in `environ`, with its authorization and caches and no body.

    `path` is a WSGI string, unquoted. The caller's later filters see it as any other request.
    """
    made: Environ = {key: environ[key] for key in _SUBREQUEST_KEYS if key in environ}
    made.update(
        {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            RAW_PATH_INFO: quote(path.encode("latin-1"), safe="/~"),
            "QUERY_STRING": query,
            "CONTENT_LENGTH": "0",
            "wsgi.input": io.BytesIO(),
        }
    )
    if source:
        made[SOURCE] = source
    for name, value in (headers or {}).items():
        made[environ_key(name)] = value
    return Request(made)


def allow_all(_request: Any) -> None:
    """The authorize callable of a request that was authorized by other means."""


def make_preauthed_subrequest(environ: Environ, method: str, path: str, **options: Any) -> Request:
    """As `make_subrequest`, with every access allowed: for the server's own needs."""
    request = make_subrequest(environ, method, path, **options)
    request.environ[AUTHORIZE] = allow_all
    request.environ[AUTHORIZE_OVERRIDE] = True
    request.environ["REMOTE_USER"] = ".wsgi.pre_authed"
    return request
