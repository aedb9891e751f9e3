"""The access log: one line a request, in Swift's format.

The filter may stand in the pipeline twice: the outer one logs what clients asked, the inner one the
subrequests that filters in between make. Who logs a request first marks its environ.

1. A FileBody passes through untouched and tells afterwards how much of it was sent.
2. A client that left before the end, of its own body or of ours, is logged as 499.
3. While the log is switched off a request costs nothing but finding that out.

Not here: what a line says (access_line).
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from miniswift.logs import ACCESS_LOGGER, make_handler
from miniswift.responses import Environ, FileBody, HeaderList, HTTPError, StartResponse, close_body
from miniswift.wsgi import ACCESS_LOG_MADE, LOGGED_STATUS, WSGIApp

from .access_line import Exchange, LineFormat, ProxyLoggingSettings

logger = logging.getLogger(ACCESS_LOGGER)


class ProxyLogging:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: ProxyLoggingSettings | None = None) -> None:
        self._app = app
        self._line = LineFormat(settings or ProxyLoggingSettings())

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get(ACCESS_LOG_MADE) or not logger.isEnabledFor(logging.INFO):
            return self._app(environ, start_response)
        environ[ACCESS_LOG_MADE] = True
        exchange = Exchange(environ, time.time())
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        is_get = environ["REQUEST_METHOD"] == "GET"
        if environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ:
            exchange.input = environ["wsgi.input"] = _CountedInput(environ["wsgi.input"])

        def start(status: str, headers: HeaderList, *exc_info: Any) -> Any:
            exchange.status, exchange.headers = int(status[:3]), headers
            if is_get:
                exchange.first_byte_s = time.time() - exchange.start
            return start_response(status, headers, *exc_info)

        try:
            body = self._app(environ, start)
        except BaseException as error:
            self._log(exchange, error.status if isinstance(error, HTTPError) else 500)
            raise
        if isinstance(body, FileBody):
            length = 0 if is_head else body.length
            body.on_close(functools.partial(self._log_file, exchange, length))
            return body
        if type(body) is list:  # sent at one go: nothing to wait for
            exchange.bytes_sent = 0 if is_head else sum(map(len, body))
            self._log(exchange)
            return body
        return _CountedBody(body, exchange, self._log, is_head)

    def _log_file(self, exchange: Exchange, length: int, sent: int) -> None:
        exchange.bytes_sent = sent
        self._log(exchange, None if sent == length else 499)

    def _log(self, exchange: Exchange, forced_status: int | None = None) -> None:
        """Write the line. `forced_status` stands for an answer that was not sent to its end."""
        environ = exchange.environ
        if exchange.input is not None and exchange.input.is_disconnected:
            forced_status = 499
        if forced_status is not None:
            environ[LOGGED_STATUS] = forced_status
        exchange.logged_status = environ.setdefault(LOGGED_STATUS, exchange.status)
        exchange.end = time.time()
        logger.info(self._line.render(exchange))


class _CountedInput:
    """A request body that counts what is read and notices when its sender is gone."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped
        self.received = 0
        self.is_disconnected = False

    def read(self, *size: int) -> bytes:
        return self._count(self._wrapped.read, size)

    def readline(self, *size: int) -> bytes:
        return self._count(self._wrapped.readline, size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def __getattr__(self, name: str) -> Any:
        """Whatever else the server's input can do."""
        return getattr(self._wrapped, name)

    def _count(self, read: Callable[..., bytes], size: tuple[int, ...]) -> bytes:
        try:
            chunk = read(*size)
        except OSError:
            self.is_disconnected = True
            raise
        self.received += len(chunk)
        return chunk


class _CountedBody:
    """An answer's body that is logged when it is closed."""

    def __init__(
        self,
        body: Iterable[bytes],
        exchange: Exchange,
        log: Callable[[Exchange, int | None], None],
        is_head: bool,
    ) -> None:
        self._body = body
        self._exchange = exchange
        self._log: Callable[[Exchange, int | None], None] | None = log
        # Until it is sent to its end: the client left. A HEAD's body need not even be asked for.
        self._status: int | None = None if is_head else 499

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._body:
                self._exchange.bytes_sent += len(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException:
            self._status = 500
            raise
        self._status = None

    def close(self) -> None:
        log, self._log = self._log, None
        try:
            close_body(self._body)
        finally:
            if log is not None:
                log(self._exchange, self._status)


def _send_log_where_told(settings: ProxyLoggingSettings, conf: dict[str, str]) -> None:
    """Give the access log a place of its own if `access_log_*` options name one."""
    own = {
        "log_name": settings.access_log_name,
        "log_facility": settings.access_log_facility,
        "log_address": settings.access_log_address,
        "log_udp_host": settings.access_log_udp_host,
    }
    own = {name: value for name, value in own.items() if value}
    if not own:
        return
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    logger.addHandler(make_handler(conf | own | {"log_udp_port": str(settings.access_log_udp_port)}))
    logger.propagate = False


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    conf = {**global_conf, **local_conf}
    settings = ProxyLoggingSettings.from_conf(conf, local_conf, also=("access_log_*", "statsd_*"))
    _send_log_where_told(settings, conf)
    if "access_log_level" in conf:
        logger.setLevel(settings.access_log_level)
    return lambda app: ProxyLogging(app, settings)
