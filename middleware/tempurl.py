"""Temporary URLs: whoever has one may do one thing with one object for a time, without a token.

    …/v1/a/c/o?temp_url_sig=<HMAC>&temp_url_expires=<Unix time, or 2026-11-26T20:00:00Z>
        &temp_url_prefix=<every object whose name begins so>
        &temp_url_ip_range=<address or network it may come from>
        &filename=<name to save it under>  &inline

    signed:  [ip=<range>\\n] METHOD \\n expires \\n /v1/a/c/o       (or prefix:/v1/a/c/<prefix>)

1. A good signature replaces the auth filters (swift.authorize_override) and opens what its key opens: the
   account or the container, also for the copies and manifests that the request leads to.
2. Whoever uploads by one cannot make an object that points elsewhere: no manifests, symlinks, copies.
3. A HEAD is allowed by what allows GET, PUT or POST.
4. Clients are told only that the URL is invalid; the log says why, and never the signature.

A request without temp_url_sig and temp_url_expires costs a look at its query.
"""

from __future__ import annotations

import calendar
import dataclasses
import ipaddress
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from miniswift import info
from miniswift.config import option, spaced_words
from miniswift.errors import MiniswiftError
from miniswift.responses import Environ, HeaderList, Headers, Response, StartResponse, close_body
from miniswift.timestamp import http_date
from miniswift.wsgi import AUTHORIZE, AUTHORIZE_OVERRIDE, Primed, WSGIApp, environ_key, split_path

from .authorization import challenge, realm_of
from .temporary_keys import DigestSettings, Signature, authorize_within, keys_of

logger = logging.getLogger(__name__)

_SOURCE = "TU"
_READS = ("GET", "HEAD")
_HEAD_IS_ALLOWED_BY = ("HEAD", "GET", "POST", "PUT")
_ISO = "%Y-%m-%dT%H:%M:%SZ"
_LAST_SECOND = 253402300799  # that an HTTP date can name: of the year 9999
# Each makes an object that stands for others.
_POINTERS = frozenset(["HTTP_X_OBJECT_MANIFEST", "HTTP_X_SYMLINK_TARGET", "HTTP_X_COPY_FROM"])
_OWN_PARAMETERS = (
    "temp_url_sig", "temp_url_expires", "temp_url_prefix", "temp_url_ip_range", "filename", "inline",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TempURLSettings(DigestSettings):
    """The options of [filter:tempurl]."""

    methods: tuple[str, ...] = option(spaced_words, "GET HEAD PUT POST DELETE", "what one may be made for")
    incoming_remove_headers: tuple[str, ...] = option(
        spaced_words, "x-timestamp x-open-expired", "request headers to drop; * at the end is anything"
    )
    incoming_allow_headers: tuple[str, ...] = option(spaced_words, "", "exceptions from those")
    outgoing_remove_headers: tuple[str, ...] = option(
        spaced_words, "x-object-meta-*", "headers not to show to users of a temporary URL"
    )
    outgoing_allow_headers: tuple[str, ...] = option(
        spaced_words, "x-object-meta-public-*", "exceptions from those"
    )


class _Refused(MiniswiftError):
    """Raised for a temporary URL that is no good. Says why, for the log."""


@dataclasses.dataclass(frozen=True)
class _Query:
    """The parameters of a temporary URL, WSGI strings; the first of equal names counts."""

    given: dict[str, str]

    @classmethod
    def of(cls, environ: Environ) -> _Query | None:
        """None if the request does not use one."""
        query = environ.get("QUERY_STRING")
        if not query or ("temp_url_" not in query and "%" not in query):
            return None
        pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
        given = {name: value for name, value in reversed(pairs) if name in _OWN_PARAMETERS}
        return cls(given) if "temp_url_sig" in given or "temp_url_expires" in given else None

    @property
    def prefix(self) -> str | None:
        return self.given.get("temp_url_prefix")

    @property
    def ip_range(self) -> str | None:
        return self.given.get("temp_url_ip_range") or None

    @property
    def filename(self) -> str | None:
        return self.given.get("filename") or None

    def expires(self) -> int:
        """Unix seconds. Raises _Refused."""
        text = self.given.get("temp_url_expires", "")
        try:
            return int(text)
        except ValueError:
            pass
        try:
            return calendar.timegm(time.strptime(text, _ISO))
        except ValueError:
            raise _Refused("temp_url_expires is missing, or no time") from None

    def signature(self, allowed: tuple[str, ...]) -> Signature:
        """Raises _Refused."""
        try:
            signature = Signature.parse(self.given.get("temp_url_sig", ""))
        except ValueError as error:
            raise _Refused(str(error)) from None
        if signature.digest not in allowed:
            raise _Refused("temp_url_sig is missing, or of a hash that is not in allowed_digests")
        return signature

    def for_others(self) -> str:
        """The query string that later filters see: it can ask for nothing that was not signed."""
        return urlencode(list(self.given.items()), encoding="latin-1")


class TempURL:
    """The filter."""

    def __init__(
        self, app: WSGIApp, settings: TempURLSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._app = app
        self._settings = settings
        self._clock = clock
        self._incoming = _HeaderRules(settings.incoming_remove_headers, settings.incoming_allow_headers)
        self._outgoing = _HeaderRules(settings.outgoing_remove_headers, settings.outgoing_allow_headers)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        query = _Query.of(environ)
        if query is None or environ["REQUEST_METHOD"] == "OPTIONS":
            return self._app(environ, start_response)
        try:
            expires = self._check(environ, query)
        except _Refused as why:
            logger.info("temporary URL refused: %s", why)
            return _invalid(environ)(environ, start_response)
        if environ["REQUEST_METHOD"] not in _READS:
            pointer = next((key for key in environ if key in _POINTERS), None)
            if pointer is not None:
                name = pointer[5:].replace("_", "-").title()
                refusal = Response(400, {}, f"The header {name!r} is not allowed in this tempurl")
                return refusal(environ, start_response)
        for key in self._incoming.removed(environ):
            del environ[key]
        environ["QUERY_STRING"] = query.for_others()
        return self._answer(environ, query, expires, start_response)

    # --- checks ----------------------------------------------------------------------------------

    def _check(self, environ: Environ, query: _Query) -> int:
        """Let the request in; when its URL expires. Raises _Refused."""
        expires = query.expires()
        if expires < self._clock():
            raise _Refused("it has expired")
        signature = query.signature(self._settings.allowed_digests)
        account, container, obj = self._names(environ, query.prefix)
        _check_address(environ, query.ip_range)
        keys = keys_of(environ, self._app, _SOURCE)
        if not keys:
            raise _Refused("neither the account nor the container has a key")
        path = f"/v1/{account}/{container}/{obj}"
        if query.prefix is not None:
            if not obj.startswith(query.prefix):
                raise _Refused("the object's name does not begin with temp_url_prefix")
            path = f"prefix:/v1/{account}/{container}/{query.prefix}"

        def messages(methods: Iterable[str]) -> list[bytes]:
            start = f"ip={query.ip_range}\n" if query.ip_range else ""
            return [f"{start}{method}\n{expires}\n{path}".encode("latin-1") for method in methods]

        method = environ["REQUEST_METHOD"]
        allowed_by = _HEAD_IS_ALLOWED_BY if method == "HEAD" else (method,)
        key = signature.signer(keys, messages(allowed_by))
        if key is None:
            others = signature.signer(keys, messages(self._settings.methods))
            raise _Refused(f"it is not for {method}" if others else "the signature is not good")
        environ[AUTHORIZE] = authorize_within(key.scope, account, container)
        environ[AUTHORIZE_OVERRIDE] = True
        environ["REMOTE_USER"] = ".wsgi.tempurl"
        return expires

    def _names(self, environ: Environ, prefix: str | None) -> tuple[str, str, str]:
        """Account, container and object; an empty object is a container, for staticweb."""
        method = environ["REQUEST_METHOD"]
        if method not in self._settings.methods:
            raise _Refused(f"{method} is not among the methods that one may be made for")
        may_be_root = method in _READS and prefix == ""
        try:
            version, account, container, obj = split_path(environ["PATH_INFO"], 4 - may_be_root, 4, True)
        except ValueError:
            raise _Refused("the path names no object") from None
        if version != "v1" or not (may_be_root or (obj or "").strip("/")):
            raise _Refused("the path names no object")
        return account or "", container or "", obj or ""

    # --- answers ---------------------------------------------------------------------------------

    def _answer(
        self, environ: Environ, query: _Query, expires: int, start_response: StartResponse
    ) -> Iterable[bytes]:
        path, is_read = environ["PATH_INFO"], environ["REQUEST_METHOD"] in _READS
        started: list[Any] = []

        def start(status: str, headers: HeaderList, exc_info: Any = None) -> None:
            started[:] = [status, headers, exc_info]

        body = self._app(environ, start)
        if not started:  # an application may start with its first chunk (PEP 3333)
            body = Primed(body)
        status, given, exc_info = started
        headers = Headers.of_list(given)
        for key in self._outgoing.removed(map(environ_key, list(headers))):
            del headers[key.removeprefix("HTTP_").replace("_", "-")]
        if is_read and status.startswith("2"):
            is_page = headers.get("X-Backend-Content-Generator") == "staticweb"
            if not is_page and _is_container(path):
                close_body(body)
                logger.info("temporary URL refused: it is for objects, and staticweb made no page of these")
                return _invalid(environ)(environ, start_response)
            headers["Content-Disposition"] = _disposition(query, is_page, headers, path)
            headers["Expires"] = http_date(min(expires, _LAST_SECOND))
        start_response(status, list(headers.items()), *([exc_info] if exc_info else []))
        return body


class _HeaderRules:
    """Which headers go: those that a rule removes and none allows, as environ keys."""

    def __init__(self, removed: Iterable[str], allowed: Iterable[str]) -> None:
        self._removed = _patterns(removed)
        self._allowed = _patterns(allowed)

    def removed(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if _matches(key, self._removed) and not _matches(key, self._allowed)]


_Patterns = tuple[frozenset[str], tuple[str, ...]]  # whole keys, and starts of keys


def _patterns(names: Iterable[str]) -> _Patterns:
    keys = [environ_key(name) for name in names]
    starts = tuple(key[:-1] for key in keys if key.endswith("*"))
    return frozenset(key for key in keys if not key.endswith("*")), starts


def _matches(key: str, patterns: _Patterns) -> bool:
    whole, starts = patterns
    return key in whole or key.startswith(starts)


def _check_address(environ: Environ, ip_range: str | None) -> None:
    if ip_range is None:
        return
    try:
        network = ipaddress.ip_network(ip_range)
        address = ipaddress.ip_address(environ.get("REMOTE_ADDR", ""))
    except ValueError:
        raise _Refused("temp_url_ip_range is none, or the client's address is not known") from None
    if address not in network:
        raise _Refused("the client is not in temp_url_ip_range")


def _is_container(path: str) -> bool:
    return split_path(path, 3, 4, True)[3] is None


def _disposition(query: _Query, is_page: bool, headers: Headers, path: str) -> str:
    """The Content-Disposition (RFC 6266): what the URL says, or the object, or its name."""
    kind = "inline" if is_page or "inline" in query.given else "attachment"
    if query.filename:
        return _named(kind, query.filename)
    if kind == "inline":
        return kind
    return headers.get("Content-Disposition") or _named(kind, path.rstrip("/").rpartition("/")[2])


def _named(kind: str, name: str) -> str:
    raw = name.encode("latin-1")
    return f"{kind}; filename=\"{quote(raw, safe=' /')}\"; filename*=UTF-8''{quote(raw)}"


def _invalid(environ: Environ) -> Response:
    return Response(401, challenge(realm_of(environ)), "401 Unauthorized: Temp URL invalid\n")


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], TempURL]:
    settings = TempURLSettings.from_conf({**global_conf, **local_conf}, local_conf)
    shown: dict[str, Any] = {
        field.name: list(getattr(settings, field.name))
        for field in dataclasses.fields(TempURLSettings)
        if field.name != "allowed_digests"
    }
    info.register_swift_info("tempurl", **shown, **settings.as_info())
    return lambda app: TempURL(app, settings)
