"""Versions kept in a second container, the old way: what would be overwritten or deleted goes there first.

    X-Versions-Location: archive   a stack: DELETE brings the version before back
    X-History-Location: archive    a history: DELETE leaves a marker, and nothing is lost
    X-Remove-Versions-Location     neither any more

A version is called `<length of the name, three hexadecimal digits><name>/<timestamp>`.

1. Whoever may write to the container may have versions made and brought back, whatever the archive's ACL.
2. If a version cannot be kept, nothing is overwritten or deleted.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from miniswift import info
from miniswift.config import Settings, is_true, option, text
from miniswift.responses import Environ, HeaderList, HTTPError, Response, StartResponse
from miniswift.timestamp import Timestamp
from miniswift.wsgi import (
    ACL,
    AUTHORIZE,
    TYPE_OVERRIDDEN,
    Request,
    WSGIApp,
    make_preauthed_subrequest,
    split_path,
    to_wsgi,
)

from .copy import BodyInput
from .places import quoted, unquoted

_STACK, _HISTORY = "X-Versions-Location", "X-History-Location"
_REMOVALS = ("X-Remove-Versions-Location", "X-Remove-History-Location")
_KEPT_PLACE, _KEPT_MODE = "X-Container-Sysmeta-Versions-Location", "X-Container-Sysmeta-Versions-Mode"
_MARKER = "application/x-deleted;swift_versions_deleted=1"
_SOURCE = "VW"
_PLAIN = {"Content-Type": "text/plain"}


@dataclasses.dataclass(frozen=True)
class VersionedWritesSettings(Settings):
    """The options of [filter:versioned_writes]."""

    allow_versioned_writes: str = option(
        text, "", "true or false; when empty, only containers that have it already keep versions"
    )

    @property
    def is_allowed(self) -> bool:
        return is_true(self.allow_versioned_writes)


class VersionedWrites:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: VersionedWritesSettings) -> None:
        self._app = app
        self._settings = settings

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        try:
            _, _, container, obj = split_path(environ["PATH_INFO"], 3, 4, True)
        except ValueError:
            return self._app(environ, start_response)
        try:
            if obj and method in ("PUT", "DELETE"):
                return self._object(environ, start_response)
            if container and not obj and self._settings.allow_versioned_writes:
                return self._container(environ, start_response)
        except HTTPError as error:
            return error.response(environ, start_response)
        return self._app(environ, start_response)

    # --- containers ------------------------------------------------------------------------------

    def _container(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("PUT", "POST"):
            self._set_place(environ)

        def start(status: str, headers: HeaderList, exc_info: Any = None) -> Any:
            known = {name.lower(): value for name, value in headers}
            place = known.get(_KEPT_PLACE.lower())
            if place:
                shown = _HISTORY if known.get(_KEPT_MODE.lower()) == "history" else _STACK
                headers = [*headers, (shown, place)]
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self._app(environ, start)

    def _set_place(self, environ: Environ) -> None:
        """Make what a client says of versions what is kept of it. Raises HTTPError."""
        headers = Request(environ).headers
        given = {name: headers[name] for name in (_STACK, _HISTORY) if name in headers}
        places = {name: value for name, value in given.items() if value}
        if len(places) == 2:
            raise HTTPError(
                400, "Only one of x-versions-location or x-history-location may be specified", _PLAIN
            )
        if places and not self._settings.is_allowed:
            raise HTTPError(412, "Versioned Writes is disabled", _PLAIN)
        is_removed = bool(given) or any(headers.get(name) for name in _REMOVALS)
        for name in (_HISTORY, *_REMOVALS):
            headers.pop(name, None)
        if not is_removed:
            return
        ((name, place),) = places.items() or [("", "")]
        headers[_STACK] = ""  # an older store kept it so
        headers[_KEPT_PLACE] = _checked_container(place) if place else ""
        headers[_KEPT_MODE] = {_STACK: "stack", _HISTORY: "history"}.get(name, "")

    # --- objects ---------------------------------------------------------------------------------

    def _object(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        container = info.get_container_info(environ, self._app, _SOURCE)
        place = container["sysmeta"].get("versions-location")
        is_on = self._settings.is_allowed
        if not place:
            place = container["versions"]
            is_on = is_on or not self._settings.allow_versioned_writes
        if not is_on or not place:
            return self._app(environ, start_response)
        archive = _Archive(self._app, environ, unquoted(to_wsgi(place)).split("/")[0], container["write_acl"])
        if environ["REQUEST_METHOD"] == "PUT":
            archive.keep_current()
        elif container["sysmeta"].get("versions-mode") == "history":
            archive.keep_current()
            archive.mark_deleted()
        else:
            return archive.pop()(environ, start_response)
        return self._app(environ, start_response)


class _Archive:
    """Where the versions of one object are."""

    def __init__(self, app: WSGIApp, environ: Environ, container: str, write_acl: str | None) -> None:
        version, account, _, obj = split_path(environ["PATH_INFO"], 4, 4, True)
        self._app = app
        self._environ = environ
        self._write_acl = write_acl
        self._container = f"/{version}/{account}/{container}"
        self._start = f"{len(obj or ''):03x}{obj}/"

    def keep_current(self) -> None:
        """Copy what there is now. Raises HTTPError if that cannot be done, or must not."""
        self._authorize()
        current = self._read(self._environ["PATH_INFO"])
        if current is None:
            return
        stamp = current.headers.get("X-Timestamp")
        if not stamp:
            stamp = str(parsedate_to_datetime(current.headers["Last-Modified"]).timestamp())
        self._write(f"{self._container}/{self._start}{Timestamp.parse(stamp).internal}", current)

    def mark_deleted(self) -> None:
        path = f"{self._container}/{self._start}{Timestamp.now().internal}"
        request = self._request("PUT", path, {"Content-Type": _MARKER})
        request.environ[TYPE_OVERRIDDEN] = True
        _check(request.call(self._app))

    def pop(self) -> WSGIApp:
        """Bring the version before back in place of what there is; who then answers the DELETE."""
        versions = self._versions()
        for version in versions:
            self._authorize()
            if version["content_type"] == _MARKER:
                if self._exists():
                    break  # it was made after the marker: back to being deleted
                self._restore_first(versions)
                return self._delete(self._path(version))
            if self._restore(self._path(version)):
                return self._delete(self._path(version))
        return self._app

    def _restore_first(self, versions: Iterator[dict[str, Any]]) -> None:
        """Bring back what a marker hides, unless that is another marker."""
        for version in versions:
            if version["content_type"] == _MARKER:
                return
            if self._restore(self._path(version)):
                _check(
                    Request(self._request("DELETE", self._path(version)).environ).call(self._app),
                    missing_is_fine=True,
                )
                return

    # --- requests of our own ---------------------------------------------------------------------

    def _authorize(self) -> None:
        """Whether the client may write to the object's container. Raises the refusal."""
        authorize = self._environ.get(AUTHORIZE)
        if authorize is None:
            return
        self._environ[ACL] = self._write_acl
        refused = authorize(Request(self._environ))
        if refused is not None:
            response = Request(self._environ).call(refused)
            raise HTTPError(response.status, response.read(), response.headers)

    def _request(
        self, method: str, path: str, headers: dict[str, str] | None = None, query: str = ""
    ) -> Request:
        return make_preauthed_subrequest(
            self._environ, method, path, source=_SOURCE, query=query, headers=headers or {}
        )

    def _read(self, path: str) -> Response | None:
        """The object at a path, which may be a symlink itself; None if there is none. Raises HTTPError."""
        response = self._request("GET", path, {"X-Newest": "True"}, "symlink=get").call(self._app)
        if response.status == 404:
            response.close()
            return None
        if response.status // 100 == 2 and not response.headers.get("Content-Length", "").isdecimal():
            response.close()
            raise HTTPError(413)
        _check(response, is_read=False)
        return response

    def _write(self, path: str, source: Response) -> None:
        length = int(source.headers["Content-Length"])
        headers = {
            name: value for name, value in source.headers.items() if name not in ("X-Timestamp", "Etag")
        }
        headers["Etag"] = source.headers.get("Etag", "").strip('"')
        request = self._request("PUT", path, headers)
        if "X-Object-Sysmeta-Slo-Size" in headers:
            kind = headers.get("Content-Type", "")
            request.environ["CONTENT_TYPE"] = f"{kind}; swift_bytes={headers['X-Object-Sysmeta-Slo-Size']}"
            request.environ[TYPE_OVERRIDDEN] = True
        request.environ["CONTENT_LENGTH"] = str(length)
        request.environ["wsgi.input"] = BodyInput(source.body, length)
        try:
            _check(request.call(self._app))
        finally:
            source.close()

    def _restore(self, path: str) -> bool:
        """Copy a version to the object's place; False if it is gone."""
        version = self._read(path)
        if version is None:
            return False
        self._write(self._environ["PATH_INFO"], version)
        return True

    def _exists(self) -> bool:
        response = self._request("HEAD", self._environ["PATH_INFO"], {"X-Newest": "True"}).call(self._app)
        _check(response, missing_is_fine=True)
        return response.status != 404

    def _delete(self, path: str) -> WSGIApp:
        """The client's DELETE, of a version."""

        def delete(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            response = self._request("DELETE", path).call(self._app)
            return response(self._environ, start_response)

        return delete

    def _path(self, version: dict[str, Any]) -> str:
        return f"{self._container}/{to_wsgi(version['name'])}"

    def _versions(self) -> Iterator[dict[str, Any]]:
        """The listing's rows, the newest first. Raises HTTPError."""
        marker = ""
        while True:
            query = f"format=json&reverse=on&prefix={quoted(self._start)}&marker={quoted(marker)}"
            response = self._request("GET", self._container, query=query).call(self._app)
            if response.status == 404:
                response.close()
                return
            body = response.read()
            if response.status // 100 != 2:
                raise HTTPError(412 if response.status // 100 == 4 else 500)
            rows: list[dict[str, Any]] = json.loads(body) if body else []
            if not rows:
                return
            yield from rows
            marker = to_wsgi(rows[-1]["name"])


def _check(response: Response, *, is_read: bool = True, missing_is_fine: bool = False) -> None:
    """Raise what a request of our own that failed means for the client: 412, or 503."""
    is_good = response.status // 100 == 2 or (missing_is_fine and response.status == 404)
    if is_read or not is_good:
        response.close()
    if not is_good:
        raise HTTPError(412 if response.status // 100 == 4 else 503)


def _checked_container(value: str) -> str:
    """A container's name, quoted. Raises a 412."""
    name = unquoted(value).removeprefix("/")
    if not name or "/" in name:
        raise HTTPError(
            412, "Container name cannot contain slashes" if name else "Container name cannot be empty"
        )
    return quoted(name)


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], VersionedWrites]:
    settings = VersionedWritesSettings.from_conf({**global_conf, **local_conf}, local_conf)
    if settings.is_allowed:
        info.register_swift_info("versioned_writes", allowed_flags=[_STACK.lower(), _HISTORY.lower()])
    return lambda app: VersionedWrites(app, settings)
