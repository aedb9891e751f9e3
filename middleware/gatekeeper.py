"""The gatekeeper: keeps the servers' own headers from clients, in both directions.

Storage policy, timestamps, ACL overrides and the hosts that updates are sent to travel between our
processes as headers. A client that could set them would own the cluster, so this filter stands right
behind catch_errors, before anything that reads a header.

1. After it, an internal header in the environ was put there by one of our own filters.
2. It works on environ keys, in which `-` and `_` are one, and capitals too: there is no second spelling.
3. A client's X-Timestamp is no order to us; it is kept aside for filters that can check who sent it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from miniswift.config import Settings, boolean, option
from miniswift.responses import Environ, HeaderList, StartResponse
from miniswift.wsgi import RELATIVE_LOCATION, WSGIApp, environ_key, header_name

logger = logging.getLogger(__name__)

_INTERNAL_PREFIXES = (
    "HTTP_X_ACCOUNT_SYSMETA_",
    "HTTP_X_CONTAINER_SYSMETA_",
    "HTTP_X_OBJECT_SYSMETA_",
    "HTTP_X_OBJECT_TRANSIENT_SYSMETA_",
    "HTTP_X_BACKEND",
)
# Where updates go; these are older than the X-Backend- prefix.
_INTERNAL = frozenset(
    [f"HTTP_X_ACCOUNT_{what}" for what in ("HOST", "DEVICE", "PARTITION")]
    + [f"HTTP_X_CONTAINER_{what}" for what in ("HOST", "DEVICE", "PARTITION", "ROOT_DB_STATE")]
    + [f"HTTP_X_DELETE_AT_{what}" for what in ("HOST", "DEVICE", "PARTITION", "CONTAINER")]
)

# Names found harmless are remembered, so that a request costs one look-up a header. Clients invent
# names, so there is a limit; past it the others are only tested each time.
_MAX_REMEMBERED = 4096


@dataclasses.dataclass(frozen=True)
class GatekeeperSettings(Settings):
    """The options of [filter:gatekeeper]."""

    shunt_inbound_x_timestamp: bool = option(
        boolean, "true", "move a client's X-Timestamp to X-Backend-Inbound-X-Timestamp"
    )
    allow_reserved_names_header: bool = option(
        boolean, "false", "take X-Allow-Reserved-Names as X-Backend-Allow-Reserved-Names; not for clients"
    )


class Gatekeeper:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: GatekeeperSettings | None = None) -> None:
        self._app = app
        self._settings = settings or GatekeeperSettings()
        self._harmless_keys: set[str] = set()
        self._harmless_headers: set[str] = set()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self._clean_request(environ)

        def start(status: str, headers: HeaderList, exc_info: Any = None) -> Any:
            headers = self._clean_answer(headers)
            if environ.get(RELATIVE_LOCATION):
                headers = [(k, _relative(v) if k.lower() == "location" else v) for k, v in headers]
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return self._app(environ, start)

    def _clean_request(self, environ: Environ) -> None:
        harmless = self._harmless_keys
        unknown = [key for key in environ if key not in harmless]
        for key in unknown:
            if is_internal(key):
                del environ[key]
                logger.debug("removed request header %s", header_name(key))
            elif len(harmless) < _MAX_REMEMBERED:
                harmless.add(key)
        if self._settings.shunt_inbound_x_timestamp and "HTTP_X_TIMESTAMP" in environ:
            environ["HTTP_X_BACKEND_INBOUND_X_TIMESTAMP"] = environ.pop("HTTP_X_TIMESTAMP")
        if self._settings.allow_reserved_names_header and "HTTP_X_ALLOW_RESERVED_NAMES" in environ:
            environ["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = environ.pop("HTTP_X_ALLOW_RESERVED_NAMES")

    def _clean_answer(self, headers: HeaderList) -> HeaderList:
        harmless = self._harmless_headers
        internal = set()
        for name, _ in headers:
            if name in harmless:
                continue
            if is_internal(environ_key(name)):
                internal.add(name)
            elif len(harmless) < _MAX_REMEMBERED:
                harmless.add(name)
        return [item for item in headers if item[0] not in internal] if internal else headers


def is_internal(key: str) -> bool:
    """Whether the header of an environ key is between our processes only."""
    return key.startswith(_INTERNAL_PREFIXES) or key in _INTERNAL


def _relative(location: str) -> str:
    """A Location without scheme and host, for a filter that asked to leave it so."""
    parts = urlsplit(location)
    query = f"?{parts.query}" if parts.query else ""
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    return f"{parts.path}{query}{fragment}"


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    settings = GatekeeperSettings.from_conf({**global_conf, **local_conf}, local_conf)
    return lambda app: Gatekeeper(app, settings)
