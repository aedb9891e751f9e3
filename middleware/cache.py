"""The cache filter: gives every request a memcached client under `swift.cache`.

Without servers it leaves the pipeline again: on one machine the process keeps what it needs in memory.
A memcached that is down costs log lines, never a request (memcached).
"""

from __future__ import annotations

import configparser
import dataclasses
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from miniswift.concurrency import ssl
from miniswift.config import Settings, boolean, count, option, positive, seconds, text, words
from miniswift.errors import ConfigError
from miniswift.responses import Environ, StartResponse
from miniswift.wsgi import CACHE, WSGIApp

from .memcached import Limits, Memcached

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CacheSettings(Settings):
    """The options of [filter:cache] and of [memcache] in memcache.conf."""

    memcache_servers: tuple[str, ...] = option(words, "", "host:port list; no memcached when empty")
    memcache_max_connections: int = option(
        count, "2", "connections to each server, a worker; 0 is 2", "max_connections"
    )
    connect_timeout: float = option(seconds, "0.3", "seconds to wait for a connection")
    pool_timeout: float = option(seconds, "1.0", "seconds to wait for a connection that others use")
    io_timeout: float = option(seconds, "2.0", "seconds to wait for an answer")
    tries: int = option(positive, "3", "servers to try, one after the other")
    error_suppression_interval: float = option(
        seconds, "60", "seconds that a server rests after too many errors"
    )
    error_suppression_limit: float = option(seconds, "10", "errors in a row that are too many")
    tls_enabled: bool = option(boolean, "false", "talk TLS to the servers")
    tls_cafile: str = option(text, "", "who signed their certificates; the system's list when empty")
    tls_certfile: str = option(text, "", "our certificate, PEM")
    tls_keyfile: str = option(text, "", "our key, PEM; in the certificate's file when empty")
    item_size_warning_threshold: str = option(text, "-1", "read for compatibility")


class Cache:
    """The filter."""

    def __init__(self, app: WSGIApp, client: Memcached) -> None:
        self._app = app
        self._client = client

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[CACHE] = self._client
        return self._app(environ, start_response)


def make_client(settings: CacheSettings) -> Memcached:
    """A client as configured. Raises ConfigError for servers or certificates that cannot be."""
    limits = Limits(
        connect_timeout=settings.connect_timeout,
        io_timeout=settings.io_timeout,
        pool_timeout=settings.pool_timeout,
        max_connections=settings.memcache_max_connections or 2,
        tries=settings.tries,
        error_limit=int(settings.error_suppression_limit),
        error_interval=settings.error_suppression_interval,
        tls=_tls(settings) if settings.tls_enabled else None,
    )
    try:
        return Memcached(settings.memcache_servers, limits)
    except ValueError as error:
        raise ConfigError(str(error), option="memcache_servers") from None


def _tls(settings: CacheSettings) -> Any:
    try:
        context = ssl.create_default_context(cafile=settings.tls_cafile or None)
        if settings.tls_certfile:
            context.load_cert_chain(settings.tls_certfile, settings.tls_keyfile or None)
    except OSError as error:
        raise ConfigError(f"cannot be used: {error}", option="tls_cafile, tls_certfile") from None
    return context


def _shared_options(conf: dict[str, str]) -> dict[str, str]:
    """The options in memcache.conf, which is read for what the section leaves open."""
    if conf.get("memcache_servers") and conf.get("memcache_max_connections", conf.get("max_connections")):
        return {}
    file = Path(conf.get("swift_dir", "/etc/swift")) / "memcache.conf"
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(file)
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=str(file)) from None
    return dict(parser["memcache"]) if parser.has_section("memcache") else {}


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    conf = {**global_conf, **local_conf}
    settings = CacheSettings.from_conf({**_shared_options(conf), **conf}, local_conf)
    if not settings.memcache_servers:
        logger.debug("no memcache_servers: each worker keeps its own cache only")
        return lambda app: app
    client = make_client(settings)
    return lambda app: Cache(app, client)
