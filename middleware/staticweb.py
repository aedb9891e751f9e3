"""Static web sites: containers shown to browsers as pages.

    X-Container-Meta-Web-Index: index.html          what a folder shows
    X-Container-Meta-Web-Listings: true             a listing, where there is no index
    X-Container-Meta-Web-Listings-CSS: style.css    and how it looks; -Label, what it is called
    X-Container-Meta-Web-Error: error.html          what errors show: <status>error.html
    X-Container-Meta-Web-Directory-Type: …          objects of this type stand for folders

It is for those who come without a token, or by a temporary URL, or ask for it with X-Web-Mode: true.

1. Whatever is shown was allowed to be read: pages, error pages and listings alike.
2. Without an auth filter in front it stands aside.

Not here: how a listing looks (web_listing).
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, urlsplit

from miniswift import info
from miniswift.config import Settings, is_true, option, text
from miniswift.responses import Environ, Response, StartResponse
from miniswift.wsgi import (
    ACL,
    AUTHORIZE,
    SOURCE,
    Request,
    WSGIApp,
    from_wsgi,
    make_subrequest,
    split_path,
    to_wsgi,
)

from . import web_listing

logger = logging.getLogger(__name__)

_SOURCE = "SW"
_TEMPORARY = ".wsgi.tempurl"


@dataclasses.dataclass(frozen=True)
class StaticWebSettings(Settings):
    """The options of [filter:staticweb]."""

    url_base: str = option(
        text, "", "scheme and host for redirects, https://www.example.com; as asked when empty"
    )


@dataclasses.dataclass(frozen=True)
class Web:
    """What a container's metadata say of its site; text."""

    index: str = ""
    error: str = ""
    listings: str = ""
    css: str = ""
    label: str = ""
    directory_type: str = "application/directory"
    read_acl: str | None = None

    @classmethod
    def of(cls, container: info.ContainerInfo) -> Web:
        if container["status"] // 100 != 2:
            return cls()
        meta = {name: value.strip() for name, value in container["meta"].items() if name.startswith("web-")}
        return cls(
            meta.get("web-index", ""),
            meta.get("web-error", ""),
            meta.get("web-listings", ""),
            meta.get("web-listings-css", ""),
            meta.get("web-listings-label", ""),
            meta.get("web-directory-type", "") or cls.directory_type,
            container["read_acl"],
        )

    @property
    def is_on(self) -> bool:
        return bool(self.listings or self.index)


class StaticWeb:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: StaticWebSettings) -> None:
        self._app = app
        self._settings = settings

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        user = environ.get("REMOTE_USER")
        is_known = bool(user) and user != _TEMPORARY
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD") or (is_known and not _is_asked_for(environ)):
            return self._app(environ, start_response)
        if AUTHORIZE not in environ:
            logger.warning("no auth filter stands in front of staticweb, which stands aside")
            return self._app(environ, start_response)
        try:
            _, _, container, obj = split_path(environ["PATH_INFO"], 2, 4, True)
        except ValueError:
            container = None
        if not container:
            return self._app(environ, start_response)
        site = _Site(self._app, self._settings, environ)
        return (site.object() if obj else site.container())(environ, start_response)


class _Site:
    """One request for something of a container's."""

    def __init__(self, app: WSGIApp, settings: StaticWebSettings, environ: Environ) -> None:
        self._app = app
        self._settings = settings
        self._environ = environ
        self._path: str = environ["PATH_INFO"]
        version, account, container, obj = split_path(self._path, 3, 4, True)
        self._container = f"/{version}/{account}/{container}"
        self._name = obj or ""
        self._web = Web.of(info.get_container_info(environ, app, _SOURCE))

    def container(self) -> WSGIApp:
        web = self._web
        self._environ[ACL] = web.read_acl
        refused = self._environ[AUTHORIZE](Request(self._environ))
        if refused is not None:
            response = Request(self._environ).call(refused)
            return self._error(response)
        if not web.is_on:
            return Response(404) if _is_asked_for(self._environ) else self._app
        if not self._path.endswith("/"):
            return self._redirect()
        if not web.index:
            return self._listing("")
        page = self._page(self._path + to_wsgi(web.index))
        if page.status == 404:
            page.close()
            return self._listing("")
        return page if page.status // 100 in (2, 3) else self._error(page)

    def object(self) -> WSGIApp:
        web = self._web
        page = self._page(self._path)
        is_there = page.status // 100 in (2, 3)
        if is_there and not self._is_folder(page):
            return page
        if not is_there and page.status != 404:
            return page  # not of the site, as ever
        if not web.is_on:
            return page if not is_there else self._error(Response(404))
        page.close()
        if web.index:
            folder = self._path if self._path.endswith("/") else f"{self._path}/"
            index = self._page(folder + to_wsgi(web.index))
            if index.status // 100 in (2, 3):
                if folder == self._path:
                    return index
                index.close()
                return self._redirect()
            index.close()
            if index.status != 404:
                return self._error(index)
        if self._path.endswith("/"):
            return self._listing(self._name)
        if not self._rows(f"{self._name}/", "&limit=1"):
            return self._error(Response(404))
        return self._redirect()

    # --- parts -----------------------------------------------------------------------------------

    def _page(self, path: str) -> Response:
        """The object at a path, asked for as the client asked."""
        asked = {**self._environ, "PATH_INFO": path, SOURCE: _SOURCE}
        return Request(asked).call(self._app)

    def _is_folder(self, page: Response) -> bool:
        size = page.headers.get("Content-Length", "0")
        is_marker = page.headers.get("Content-Type", "").partition(";")[0] == self._web.directory_type
        return is_marker and size in ("", "0", "1")

    def _error(self, response: Response) -> Response:
        """An error, as the site's own page if it has one."""
        if not self._web.error:
            return response
        path = f"{self._container}/{response.status}{to_wsgi(self._web.error)}"
        page = make_subrequest(self._environ, "GET", path, source=_SOURCE).call(self._app)
        if page.status // 100 != 2:
            page.close()
            return response
        response.close()
        return Response(response.status, page.headers, page.body)

    def _redirect(self) -> Response:
        base = urlsplit(self._settings.url_base)
        host = Request(self._environ).host_url
        if base.netloc:
            host = f"{base.scheme or 'http'}://{base.netloc}"
        location = f"{host}{quote(self._path.encode('latin-1'), safe='/~')}/"
        return Response(301, {"Location": location})

    def _rows(self, prefix: str, more: str = "") -> list[dict[str, Any]] | Response:
        """The listing of a folder, or what is answered instead."""
        query = f"format=json&delimiter=/&prefix={quote(prefix.encode('latin-1'), safe='')}{more}"
        response = make_subrequest(self._environ, "GET", self._container, source=_SOURCE, query=query).call(
            self._app
        )
        body = response.read()
        if response.status // 100 != 2:
            return self._error(response)
        rows: list[dict[str, Any]] = json.loads(body) if body else []
        return rows

    def _listing(self, prefix: str) -> Response:
        label = _text(self._path)
        if self._web.label:
            label = "/".join([self._web.label, *label.split("/")[4:]])
        css = web_listing.css_path(self._web.css, prefix)
        if not is_true(self._web.listings):
            page = web_listing.disabled(label, css, self._web.index)
            return self._error(Response(404, {"Content-Type": web_listing.TYPE}, page))
        rows = self._rows(prefix)
        if isinstance(rows, Response):
            return rows
        if prefix and not rows:
            return self._error(Response(404))
        query, above = _temporary_query(self._environ)
        has_parent = len(prefix) > len(above)
        page = web_listing.render(label, css, _text(prefix), rows, query, has_parent=has_parent)
        return Response(
            200, {"Content-Type": web_listing.TYPE, "X-Backend-Content-Generator": "staticweb"}, page
        )


def _temporary_query(environ: Environ) -> tuple[str, str]:
    """(what links need to be of the same temporary URL, the prefix that it is for)."""
    if environ.get("REMOTE_USER") != _TEMPORARY:
        return "", ""
    params = Request(environ).params
    if "temp_url_prefix" not in params:
        return "", ""
    names = ("temp_url_prefix", "temp_url_expires", "temp_url_sig", "temp_url_ip_range")
    values = {name: quote(params[name].encode("latin-1")) for name in names if name in params}
    parts = [f"{name}={value}" for name, value in values.items()]
    if "inline" in params:
        parts.append("inline")
    return f"?{'&'.join(parts)}", params["temp_url_prefix"]


def _is_asked_for(environ: Environ) -> bool:
    return is_true(environ.get("HTTP_X_WEB_MODE"))


def _text(wsgi_string: str) -> str:
    try:
        return from_wsgi(wsgi_string)
    except UnicodeError:
        return wsgi_string.encode("latin-1", "replace").decode("utf-8", "replace")


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], StaticWeb]:
    settings = StaticWebSettings.from_conf({**global_conf, **local_conf}, local_conf)
    info.register_swift_info("staticweb")
    return lambda app: StaticWeb(app, settings)
