"""Refuses writes: to every account, or to those whose X-Account-Sysmeta-Read-Only says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from miniswift import info
from miniswift.config import Settings, boolean, is_true, option
from miniswift.responses import Environ, HTTPError, Response, StartResponse
from miniswift.wsgi import WSGIApp, make_subrequest, split_path

from .places import checked_account

_SOURCE = "RO"
_VERSIONS = frozenset({"v1", "v1.0"})


@dataclasses.dataclass(frozen=True)
class ReadOnlySettings(Settings):
    """The options of [filter:read_only]."""

    read_only: bool = option(boolean, "false", "refuse writes to accounts that do not say otherwise")
    allow_deletes: bool = option(boolean, "false", "let things be deleted all the same")


class ReadOnly:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: ReadOnlySettings) -> None:
        self._app = app
        self._default = settings.read_only
        self._writes = frozenset({"COPY", "POST", "PUT"} | (set() if settings.allow_deletes else {"DELETE"}))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in self._writes:
            return self._app(environ, start_response)
        try:
            is_refused = self._is_read_only(environ)
        except HTTPError as error:
            return error.response(environ, start_response)
        if not is_refused:
            return self._app(environ, start_response)
        refusal = Response(405, {"Allow": "GET, HEAD, OPTIONS"}, "Writes are disabled for this account.")
        return refusal(environ, start_response)

    def _is_read_only(self, environ: Environ) -> bool:
        """Whether the account that the request would write to is read-only. Raises 412 for no account."""
        try:
            version, account, _ = split_path(environ["PATH_INFO"], 2, 3, True)
        except ValueError:
            return False
        if version not in _VERSIONS:
            return False
        if environ["REQUEST_METHOD"] == "COPY" and "HTTP_DESTINATION_ACCOUNT" in environ:
            account = checked_account(environ["HTTP_DESTINATION_ACCOUNT"])
            environ = make_subrequest(environ, "HEAD", f"/v1/{account}").environ
        flag = info.get_account_info(environ, self._app, _SOURCE)["sysmeta"].get("read-only", "")
        return is_true(flag) if flag else self._default


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], ReadOnly]:
    settings = ReadOnlySettings.from_conf({**global_conf, **local_conf}, local_conf)
    if settings.read_only:
        info.register_swift_info("read_only")
    return lambda app: ReadOnly(app, settings)
