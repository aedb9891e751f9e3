"""ETags in double quotes, as RFC 9110 8.8.3 wants them, where an account or a container asks for it.

    X-Container-Rfc-Compliant-Etags, X-Account-Rfc-Compliant-Etags: true, false, or empty for neither

Swift's own answers have them bare. The container's word counts before the account's, and that before the
option `enable_by_default`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from miniswift import info
from miniswift.config import Settings, boolean, is_true, option
from miniswift.responses import Environ, HeaderList, StartResponse
from miniswift.wsgi import WSGIApp, environ_key, split_path

_SOURCE = "EQ"
_FLAG = "rfc-compliant-etags"


@dataclasses.dataclass(frozen=True)
class EtagQuoterSettings(Settings):
    """The options of [filter:etag-quoter]."""

    enable_by_default: bool = option(boolean, "false", "quote ETags where nobody says otherwise")


class EtagQuoter:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: EtagQuoterSettings | None = None) -> None:
        self._app = app
        self._default = (settings or EtagQuoterSettings()).enable_by_default

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            version, _, container, obj = split_path(environ["PATH_INFO"], 2, 4, True)
        except ValueError:
            version = None
        if version not in ("v1", "v1.0"):
            return self._app(environ, start_response)
        if obj is None:
            kind = "Container" if container else "Account"
            return self._app(environ, _translated(environ, kind, start_response))
        return self._app(environ, _quoting(start_response) if self._quotes(environ) else start_response)

    def _quotes(self, environ: Environ) -> bool:
        """Whether the ETag of the object in the path is to be quoted."""
        for get_info in (info.get_container_info, info.get_account_info):
            about: Any = get_info(environ, self._app, _SOURCE)
            if about["status"] // 100 != 2:
                return False
            flag = about["sysmeta"].get(_FLAG)
            if flag is not None:
                return is_true(flag)
        return self._default


def _translated(environ: Environ, kind: str, start_response: StartResponse) -> StartResponse:
    """Store what the client says of ETags where only filters can, and show it from there."""
    shown, stored = f"X-{kind}-Rfc-Compliant-Etags", f"X-{kind}-Sysmeta-Rfc-Compliant-Etags"
    value = environ.get(environ_key(shown))
    if value is not None:
        environ[environ_key(stored)] = str(is_true(value)) if value else ""
    if environ.get(environ_key(f"X-Remove-{shown[2:]}")):
        environ[environ_key(stored)] = ""

    def start(status: str, headers: HeaderList, exc_info: Any = None) -> Any:
        headers = [(shown if name.title() == stored else name, text) for name, text in headers]
        return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

    return start


def _quoting(start_response: StartResponse) -> StartResponse:
    def start(status: str, headers: HeaderList, exc_info: Any = None) -> Any:
        headers = [(name, _quoted(text) if name.lower() == "etag" else text) for name, text in headers]
        return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

    return start


def _quoted(etag: str) -> str:
    return etag if etag.startswith(('"', 'W/"')) and etag.endswith('"') else f'"{etag}"'


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], EtagQuoter]:
    settings = EtagQuoterSettings.from_conf({**global_conf, **local_conf}, local_conf)
    info.register_swift_info("etag_quoter", enable_by_default=settings.enable_by_default)
    return lambda app: EtagQuoter(app, settings)
