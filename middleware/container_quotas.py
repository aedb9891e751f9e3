"""Container quotas: how many bytes and objects a container may have.

    X-Container-Meta-Quota-Bytes, X-Container-Meta-Quota-Count: whoever may POST to the container sets them

An upload that would go beyond is refused with 413; whoever may not upload at all is told that instead. One of
unknown length counts as empty, and totals lag a little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from miniswift import info
from miniswift.config import Settings
from miniswift.responses import Environ, Response, StartResponse
from miniswift.wsgi import ACL, AUTHORIZE, Request, WSGIApp, split_path

_QUOTA_KEYS = {
    "HTTP_X_CONTAINER_META_QUOTA_BYTES": "Invalid bytes quota.",
    "HTTP_X_CONTAINER_META_QUOTA_COUNT": "Invalid count quota.",
}


class ContainerQuotas:
    """The filter."""

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            _, _, _, obj = split_path(environ["PATH_INFO"], 3, 4, True)
        except ValueError:
            return self._app(environ, start_response)
        method = environ["REQUEST_METHOD"]
        refusal: WSGIApp | None = None
        if obj is None and method in ("PUT", "POST"):
            refusal = _bad_quota(environ)
        elif obj and method == "PUT":
            refusal = self._refused_upload(environ)
        return (refusal or self._app)(environ, start_response)

    def _refused_upload(self, environ: Environ) -> WSGIApp | None:
        container = info.get_container_info(environ, self._app, "CQ")
        if container["status"] // 100 != 2:
            return None  # the proxy will say so
        meta = container["meta"]
        size = Request(environ).content_length or 0
        if not _is_beyond(meta.get("quota-bytes"), container["bytes"] + size) and not _is_beyond(
            meta.get("quota-count"), container["object_count"] + 1
        ):
            return None
        authorize = environ.get(AUTHORIZE)
        environ[ACL] = container["write_acl"]
        denial: Any = authorize(Request(environ)) if authorize else None
        return denial or Response(413, {}, "Upload exceeds quota.")


def _bad_quota(environ: Environ) -> Response | None:
    for key, problem in _QUOTA_KEYS.items():
        value = environ.get(key)
        if value and not _is_number(value):
            return Response(400, {}, problem)
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_beyond(quota: str | None, wanted: int) -> bool:
    return quota is not None and _is_number(quota) and wanted > int(quota)


def filter_factory(_global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], ContainerQuotas]:
    Settings.from_conf({}, local_conf)  # there are no options, which is said of any given
    info.register_swift_info("container_quotas")
    return ContainerQuotas
