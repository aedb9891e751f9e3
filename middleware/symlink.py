"""Symlinks: objects without content that stand for another object.

    PUT     with X-Symlink-Target: container/object, in another account with X-Symlink-Target-Account;
            with X-Symlink-Target-Etag it is static: it stands for that content and nothing else
    GET     and HEAD are answered by the target, whose path is in Content-Location; ?symlink=get shows
            the symlink itself
    POST    changes the symlink and says so: 307 to the target
    DELETE  and a PUT without a target are the symlink's own

1. Whoever follows one must be allowed to read both it and its target.
2. No more than symloop_max are followed in a row.
3. A container's listing tells what each stands for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from miniswift import info
from miniswift.config import Settings, count, is_true, option
from miniswift.responses import Environ, Headers, HTTPError, Response, StartResponse, close_body
from miniswift.wsgi import (
    RELATIVE_LOCATION,
    SYMLINK_OVERRIDE,
    Request,
    WSGIApp,
    environ_key,
    make_preauthed_subrequest,
    make_subrequest,
    split_path,
)

from .places import checked_account, container_and_object, quoted, unquoted
from .stand_ins import Answer, ignore_range_of, is_object, shown_listing

_TARGET, _ACCOUNT = "X-Symlink-Target", "X-Symlink-Target-Account"
_ETAG, _BYTES = "X-Symlink-Target-Etag", "X-Symlink-Target-Bytes"
_KEPT = {name: name.replace("X-", "X-Object-Sysmeta-", 1) for name in (_TARGET, _ACCOUNT, _ETAG, _BYTES)}
_ALLOW_RESERVED = "X-Object-Sysmeta-Allow-Reserved-Names"  # for targets that clients cannot name
_EXTENDS = "X-Object-Sysmeta-Symloop-Extend"  # a link that does not count
_LISTED_ETAG = "X-Object-Sysmeta-Container-Update-Override-Etag"
_MD5_OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
_PLAIN = {"Content-Type": "text/plain"}
_SOURCE = "SYM"

_LISTED = {"symlink_target", "symlink_target_account", "symlink_target_etag", "symlink_target_bytes"}


@dataclasses.dataclass(frozen=True)
class SymlinkSettings(Settings):
    """The options of [filter:symlink]."""

    symloop_max: int = option(count, "2", "symlinks that are followed in a row")


class Symlink:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: SymlinkSettings) -> None:
        self._app = app
        self._settings = settings

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        try:
            if is_object(path):
                if method in ("GET", "HEAD"):
                    return self._get(environ, start_response)
                if method == "PUT" and environ_key(_TARGET) in environ:
                    self._prepare(environ)
                elif method == "POST":
                    return self._post(environ)(environ, start_response)
            elif method == "GET":
                return shown_listing(self._app, environ, b"symlink_target", _shown_row(path))(
                    environ, start_response
                )
        except HTTPError as error:
            return error.response(environ, start_response)
        return self._app(environ, start_response)

    # --- reading ---------------------------------------------------------------------------------

    def _get(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING")
        if query and Request(environ).params.get("symlink") == "get":
            response = Request(environ).call(self._app)
            for shown, kept in _KEPT.items():
                if kept in response.headers:
                    response.headers[shown] = response.headers.pop(kept)
            return response(environ, start_response)
        ignore_range_of(environ, _KEPT[_TARGET])
        answer = Answer(_KEPT[_TARGET], start_response)
        body = answer.of(self._app, environ)
        if answer.value is None:
            return body
        close_body(body)
        chain = _Chain(self._app, environ, self._settings.symloop_max)
        return chain.follow(environ["PATH_INFO"], Headers.of_list(answer.headers))(environ, start_response)

    # --- writing ---------------------------------------------------------------------------------

    def _prepare(self, environ: Environ) -> None:
        """Make a PUT with a target one of an object that stands for it. Raises HTTPError."""
        if _has_body(environ):
            raise HTTPError(400, "Symlink requests require a zero byte body", _PLAIN)
        headers = Request(environ).headers
        target, account = _target_of(headers, environ["PATH_INFO"])
        etag = headers.get(_ETAG, "").strip('" ')
        if any(char in etag for char in ';"\\'):
            raise HTTPError(400, f"Bad {_ETAG} format", _PLAIN)
        listed = headers.get(_LISTED_ETAG, _MD5_OF_NOTHING)
        if etag:
            listed = self._bind(environ, target, etag, listed)
        elif not headers.get("Content-Type"):
            headers["Content-Type"] = "application/symlink"
        fields = {"symlink_target": _TARGET, "symlink_target_account": _ACCOUNT}
        fields |= {"symlink_target_etag": _ETAG, "symlink_target_bytes": _BYTES}
        values = {_TARGET: quoted(target.split("/", 3)[3]), _ACCOUNT: account}
        for name in (_TARGET, _ACCOUNT):
            headers.pop(name, None)
            if values[name]:
                headers[_KEPT[name]] = values[name]
        kept = ((field, headers.get(_KEPT[name])) for field, name in fields.items())
        headers[_LISTED_ETAG] = "; ".join([listed, *(f"{field}={value}" for field, value in kept if value)])

    def _bind(self, environ: Environ, target: str, etag: str, listed: str) -> str:
        """Note what a static symlink stands for; how it is listed. Raises 409 if that is not there."""
        headers = Request(environ).headers
        headers[_KEPT[_ETAG]] = etag
        if environ.get(SYMLINK_OVERRIDE):  # it was checked where it comes from
            headers[_KEPT[_BYTES]] = headers.get(_BYTES, "0")
            return listed
        chain = _Chain(self._app, environ, self._settings.symloop_max, method="HEAD")
        found = chain.reach(target, etag, follows_all=False)
        found.close()
        if found.status == 404:
            raise _conflict("X-Symlink-Target does not exist", target)
        if found.status // 100 != 2:
            raise HTTPError(found.status)
        size = found.headers.get("X-Object-Sysmeta-Slo-Size") or found.headers["Content-Length"]
        headers[_KEPT[_BYTES]] = size
        if not headers.get("Content-Type"):
            headers["Content-Type"] = found.headers["Content-Type"]
        if _LISTED_ETAG in headers:
            return listed
        if _LISTED_ETAG in found.headers:
            _, semicolon, params = found.headers[_LISTED_ETAG].partition(";")
            return f"{_MD5_OF_NOTHING}{semicolon}{params}"
        slo_etag = found.headers.get("X-Object-Sysmeta-Slo-Etag")
        return f"{_MD5_OF_NOTHING}; slo_etag={slo_etag}" if slo_etag else listed

    def _post(self, environ: Environ) -> Response:
        if environ_key(_TARGET) in environ:
            raise HTTPError(400, "A PUT request is required to set a symlink target", _PLAIN)
        response = Request(environ).call(self._app)
        if response.status // 100 != 2 or _KEPT[_TARGET] not in response.headers:
            return response
        response.close()
        environ[RELATIVE_LOCATION] = True
        # Versions and the like are found by what is kept with the symlink.
        sysmeta = ((name, value) for name, value in response.headers.items() if "-Sysmeta-" in name)
        headers = {**dict(sysmeta), "Location": _location(environ["PATH_INFO"], response.headers)}
        if _KEPT[_ETAG] in response.headers:
            headers[_ETAG] = response.headers[_KEPT[_ETAG]]
        message = "The metadata were set on a symlink. To set those of its target, POST to the target."
        return Response(307, headers, message)


class _Chain:
    """Symlinks in a row, asked for one after another."""

    def __init__(self, app: WSGIApp, environ: Environ, longest: int, method: str = "") -> None:
        self._app = app
        self._environ = environ
        self._method = method or environ["REQUEST_METHOD"]
        self._longest = longest
        self._followed = 0

    def follow(self, path: str, link: Headers) -> Response:
        """The answer of what the symlink at `path` leads to. Raises HTTPError."""
        return self.reach(self._step(path, link), link.get(_KEPT[_ETAG]), is_reserved=_ALLOW_RESERVED in link)

    def reach(
        self, path: str, etag: str | None, *, follows_all: bool = True, is_reserved: bool = False
    ) -> Response:
        """The answer of `path`, or of what it leads to; `etag` is what a static link to it says."""
        while True:
            response = self._ask(path, is_reserved)
            link = response.headers
            bound = link.get(_KEPT[_ETAG])
            if _KEPT[_TARGET] not in link or not (bound or follows_all):
                break
            response.close()
            if etag and etag != (bound or _bare(link.get("Etag"))):
                raise _conflict("X-Symlink-Target-Etag headers do not match", path)
            path, etag, is_reserved = self._step(path, link), bound, _ALLOW_RESERVED in link
        found = _bare(response.headers.get("Etag"))
        if etag and found and found != etag:
            response.close()
            message = f"Object Etag {found!r} does not match X-Symlink-Target-Etag header {etag!r}"
            raise _conflict(message, path)
        response.headers["Content-Location"] = quoted(path)
        return response

    def _step(self, path: str, link: Headers) -> str:
        """Where a symlink leads. Raises 409 after too many of them."""
        if self._followed >= self._longest:
            message = f"Too many levels of symbolic links, maximum allowed is {self._longest}"
            raise HTTPError(409, message, _PLAIN)
        self._followed += not is_true(link.get(_EXTENDS))
        return unquoted(_location(path, link))

    def _ask(self, path: str, is_reserved: bool) -> Response:
        is_own = self._method == self._environ["REQUEST_METHOD"]  # not the look that a PUT takes
        headers = dict(Request(self._environ).headers) if is_own else {}
        headers.pop("X-Backend-Storage-Policy-Index", None)
        make = make_preauthed_subrequest if is_reserved else make_subrequest
        if is_reserved:
            headers["X-Backend-Allow-Reserved-Names"] = "true"
        query = self._environ.get("QUERY_STRING", "") if is_own else ""
        request = make(self._environ, self._method, path, source=_SOURCE, query=query, headers=headers)
        return request.call(self._app)


def _conflict(message: str, path: str) -> HTTPError:
    return HTTPError(409, message, {**_PLAIN, "Content-Location": quoted(path)})


def _location(path: str, link: Headers) -> str:
    """The path of a symlink's target, quoted; `path` is the symlink's own, a WSGI string."""
    version, account, _ = split_path(path, 2, 3, True)
    target = link[_KEPT[_TARGET]].lstrip("/")
    return f"/{version}/{link.get(_KEPT[_ACCOUNT]) or quoted(account or '')}/{target}"


def _target_of(headers: Any, path: str) -> tuple[str, str]:
    """(the target's path, a WSGI string; the account as it is kept, if one was given). Raises HTTPError."""
    version, own_account, _ = split_path(path, 2, 3, True)
    value = headers[_TARGET]
    if unquoted(value).startswith("/"):
        raise HTTPError(412, f"{_TARGET} header must be of the form <container name>/<object name>", _PLAIN)
    place = container_and_object(value, _TARGET)
    account = checked_account(headers[_ACCOUNT]) if _ACCOUNT in headers else ""
    target = f"/v1/{account or own_account}/{place}"
    if target == f"/v1{path.removeprefix(f'/{version}')}":
        raise HTTPError(400, "Symlink cannot target itself", _PLAIN)
    return target, quoted(account)


def _has_body(environ: Environ) -> bool:
    request = Request(environ)
    if request.content_length is None:
        return request.is_chunked and bool(request.body_file.read(1))
    return request.content_length > 0


def _shown_row(path: str) -> Callable[[dict[str, Any]], None]:
    """What shows in a listing's row what it stands for, which is kept behind its hash."""

    def show(row: dict[str, Any]) -> None:
        version, own_account, _ = split_path(path, 3, 3)
        etag, *params = (part.strip() for part in row["hash"].split(";"))
        fields = dict(param.partition("=")[::2] for param in params)
        others = [param for param in params if param.partition("=")[0] not in _LISTED]
        row["hash"] = "; ".join([etag, *others])
        if "symlink_target" in fields:
            account = fields.get("symlink_target_account") or quoted(own_account or "")
            row["symlink_path"] = f"/{version}/{account}/{fields['symlink_target']}"
        if "symlink_target_etag" in fields:
            row["symlink_etag"] = fields["symlink_target_etag"]
        if "symlink_target_bytes" in fields:
            row["symlink_bytes"] = int(fields["symlink_target_bytes"])

    return show


def _bare(etag: str | None) -> str:
    return (etag or "").strip('"')


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], Symlink]:
    settings = SymlinkSettings.from_conf({**global_conf, **local_conf}, local_conf)
    info.register_swift_info("symlink", symloop_max=settings.symloop_max, static_links=True)
    return lambda app: Symlink(app, settings)
