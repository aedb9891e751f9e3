"""Protects devices: a storage server answers 529 when one of them gets more requests a second than it shall.

    requests_per_device_per_second             all methods together
    get_requests_per_device_per_second, …      each of get head put post delete update replicate

Options in `backend_ratelimit_conf_path` (section [backend_ratelimit]) come before those of the filter and are
read again every `config_reload_interval` seconds. Each worker counts for itself, as in Swift.
"""

from __future__ import annotations

import configparser
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping

from miniswift.config import Settings, option, reading, seconds, text
from miniswift.errors import ConfigError
from miniswift.pace import Pace
from miniswift.responses import Environ, Response, StartResponse
from miniswift.wsgi import WSGIApp, split_path

logger = logging.getLogger(__name__)

_SECTION = "backend_ratelimit"
_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "UPDATE", "REPLICATE")
_RATE = "requests_per_device_per_second"
_HELP = "requests of this method a second and device; 0 is no limit"


@dataclasses.dataclass(frozen=True)
class BackendRatelimitSettings(Settings):
    """The options of [filter:backend_ratelimit]."""

    requests_per_device_per_second: float = option(
        seconds, "0", "requests a second and device; 0 is no limit"
    )
    get_requests_per_device_per_second: float = option(seconds, "0", _HELP)
    head_requests_per_device_per_second: float = option(seconds, "0", _HELP)
    put_requests_per_device_per_second: float = option(seconds, "0", _HELP)
    post_requests_per_device_per_second: float = option(seconds, "0", _HELP)
    delete_requests_per_device_per_second: float = option(seconds, "0", _HELP)
    update_requests_per_device_per_second: float = option(seconds, "0", _HELP)
    replicate_requests_per_device_per_second: float = option(seconds, "0", _HELP)
    requests_per_device_rate_buffer: float = option(
        seconds, "1", "seconds of idleness that may be made up for"
    )
    backend_ratelimit_conf_path: str = option(
        text, "", "a file with these options; SWIFT_DIR/backend-ratelimit.conf, if it is there, when empty"
    )
    config_reload_interval: float = option(
        seconds, "60", "seconds after which that file is read again; 0 never"
    )
    swift_dir: str = option(text, "/etc/swift", "folder of that file")

    def rate(self, method: str) -> float:
        """Requests a second of one method, or of all for ''."""
        name = f"{method.lower()}_{_RATE}" if method else _RATE
        return float(getattr(self, name))


class BackendRatelimit:
    """The filter."""

    def __init__(
        self, app: WSGIApp, conf: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._conf = conf
        self._clock = clock
        self._settings = BackendRatelimitSettings.from_conf(conf)
        default = os.path.join(self._settings.swift_dir, "backend-ratelimit.conf")
        self._file = self._settings.backend_ratelimit_conf_path or default
        self._paces: dict[tuple[str, str], Pace] = {}
        self._is_limited = False
        self._next_reload = 0.0
        self._apply(self._settings)
        self._reload()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if self._next_reload and self._clock() >= self._next_reload:
            self._reload()
        method = environ["REQUEST_METHOD"]
        if self._is_limited and method in _METHODS:
            try:
                device, part, _ = split_path(environ["PATH_INFO"], 2, 3, True)
            except ValueError:
                return self._app(environ, start_response)  # /healthcheck and the like
            if part and part.isdecimal() and not self._allows(device or "", method):
                logger.debug("%s for device %s refused: it gets too many", method, device)
                return Response(529, {}, "")(environ, start_response)
        return self._app(environ, start_response)

    def _allows(self, device: str, method: str) -> bool:
        return self._pace(device, "").allows() and self._pace(device, method).allows()

    def _pace(self, device: str, method: str) -> Pace:
        key = device, method
        pace = self._paces.get(key)
        if pace is None:
            settings = self._settings
            pace = Pace(settings.rate(method), self._clock, buffer_s=settings.requests_per_device_rate_buffer)
            self._paces[key] = pace
        return pace

    # --- configuration ---------------------------------------------------------------------------

    def _reload(self) -> None:
        interval = self._settings.config_reload_interval
        self._next_reload = self._clock() + interval if interval else 0.0
        try:
            own = _read(self._file)
            with reading(self._file, _SECTION):
                self._apply(BackendRatelimitSettings.from_conf({**self._conf, **own}, own))
        except FileNotFoundError:
            if self._settings.backend_ratelimit_conf_path:
                logger.warning("%s is not there; the limits stay as they are", self._file)
        except (ConfigError, OSError) as error:
            logger.warning("%s cannot be used, the limits stay as they are: %s", self._file, error)

    def _apply(self, settings: BackendRatelimitSettings) -> None:
        self._settings = settings
        self._is_limited = any(settings.rate(method) for method in ("", *_METHODS))
        for (_, method), pace in self._paces.items():
            pace.per_second = settings.rate(method)
            pace.buffer_s = settings.requests_per_device_rate_buffer


def _read(file: str) -> dict[str, str]:
    """The section of a file. Raises OSError and ConfigError."""
    parser = configparser.RawConfigParser()
    try:
        with open(file, encoding="utf-8") as stream:
            parser.read_file(stream)
        return dict(parser[_SECTION])
    except KeyError:
        raise ConfigError("this section is missing", file=file, section=_SECTION) from None
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=file) from None


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], BackendRatelimit]:
    conf = {**global_conf, **local_conf}
    BackendRatelimitSettings.from_conf(conf, local_conf)  # what is wrong is said at once
    return lambda app: BackendRatelimit(app, conf)
