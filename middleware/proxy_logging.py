"""The access log: one line a request, in Swift's format.

The filter may stand in the pipeline twice: the outer one logs what clients asked, the inner one the
subrequests that filters in between make. Who logs a request first marks its environ.

1. A value is quoted, so that a line splits at its spaces and a client cannot forge one; empty is `-`.
2. Tokens and signatures are cut to their first characters.
3. A FileBody passes through untouched and tells afterwards how much of it was sent.
4. While the log is switched off a request costs nothing but finding that out.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
import re
import string
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

from miniswift.config import Settings, boolean, count, option, text, words
from miniswift.errors import ConfigError
from miniswift.logs import ACCESS_LOGGER, make_handler
from miniswift.responses import Environ, FileBody, HeaderList, HTTPError, StartResponse, close_body
from miniswift.wsgi import (
    ACCESS_LOG_MADE,
    ACCESS_LOGGING,
    BACKEND_PATH,
    LOG_INFO,
    LOGGED_STATUS,
    ORIGINAL_METHOD,
    SOURCE,
    TRANS_ID,
    WSGIApp,
    environ_key,
    header_name,
    split_path,
)

logger = logging.getLogger(ACCESS_LOGGER)

DEFAULT_TEMPLATE = (
    "{client_ip} {remote_addr} {end_time.datetime} {method} {path} {protocol} {status_int} {referer} "
    "{user_agent} {auth_token} {bytes_recvd} {bytes_sent} {client_etag} {transaction_id} {headers} "
    "{request_time} {source} {log_info} {start_time} {end_time} {policy_index} {access_user_id}"
)
SENSITIVE_HEADERS = frozenset(
    ["HTTP_X_AUTH_TOKEN", "HTTP_X_STORAGE_TOKEN", "HTTP_X_SERVICE_TOKEN", "HTTP_X_SUBJECT_TOKEN"]
    + ["HTTP_AUTHORIZATION", "HTTP_X_AUTH_KEY", "HTTP_X_STORAGE_PASS"]
)
SENSITIVE_PARAMETERS = frozenset(["temp_url_sig", "Signature", "X-Amz-Signature", "X-Amz-Security-Token"])
_API_VERSIONS = ("v1", "v1.0")


@dataclasses.dataclass(frozen=True)
class ProxyLoggingSettings(Settings):
    """The options of [filter:proxy-logging]."""

    log_msg_template: str = option(text, DEFAULT_TEMPLATE, "what a line says")
    log_anonymization_method: str = option(str.lower, "md5", "hash for {field.anonymized}")
    log_anonymization_salt: str = option(text, "", "put in front of what is hashed")
    access_log_headers: bool = option(boolean, "no", "log request headers", "log_headers")
    access_log_headers_only: tuple[str, ...] = option(words, "", "only these headers; all when empty")
    reveal_sensitive_prefix: int = option(count, "16", "characters of a token that are shown")
    access_log_level: str = option(str.upper, "INFO", "WARNING or higher switches the access log off")


@dataclasses.dataclass(slots=True)
class _Exchange:
    """A request and what became of it."""

    environ: Environ
    start: float  # Unix time
    end: float = 0.0
    first_byte_s: float = 0.0  # a GET's time to the start of its answer
    status: int = 500  # as sent to the client
    logged_status: int = 500  # as logged: 499 for a client that left
    headers: HeaderList = dataclasses.field(default_factory=list)  # of the answer
    input: _CountedInput | None = None  # where the request has a body
    bytes_sent: int = 0


class ProxyLogging:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: ProxyLoggingSettings | None = None) -> None:
        self._app = app
        self._line = _LineFormat(settings or ProxyLoggingSettings())

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get(ACCESS_LOG_MADE) or not logger.isEnabledFor(logging.INFO):
            return self._app(environ, start_response)
        environ[ACCESS_LOG_MADE] = True
        exchange = _Exchange(environ, time.time())
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
            exchange.status = error.status if isinstance(error, HTTPError) else 500
            self._log(exchange, exchange.status)
            raise
        if type(body) is FileBody:
            body.on_close(functools.partial(self._log_file, exchange, body.length))
            return body
        if type(body) is list:  # sent at one go: nothing to wait for
            exchange.bytes_sent = 0 if is_head else sum(map(len, body))
            self._log(exchange)
            return body
        return _CountedBody(body, exchange, self._log, is_head)

    def _log_file(self, exchange: _Exchange, length: int, sent: int) -> None:
        exchange.bytes_sent = sent
        self._log(exchange, None if sent == length else 499)

    def _log(self, exchange: _Exchange, forced_status: int | None = None) -> None:
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
        except BaseException:
            self.is_disconnected = True
            raise
        self.received += len(chunk)
        return chunk


class _CountedBody:
    """An answer's body that is logged when it is closed."""

    def __init__(
        self,
        body: Iterable[bytes],
        exchange: _Exchange,
        log: Callable[[_Exchange, int | None], None],
        is_head: bool,
    ) -> None:
        self._body = body
        self._exchange = exchange
        self._log: Callable[[_Exchange, int | None], None] | None = log
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


# --- the line -----------------------------------------------------------------------------------------

_is_plain = re.compile(r"[A-Za-z0-9_.~:/{}-]*").fullmatch
_is_plain_path = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch

_STRFTIME = frozenset("aAbBcdHIjmMpSUwWxXyYZ")
_TIME_PARTS: dict[str, Callable[[float], str]] = {
    "datetime": lambda t: _strftime("%d/%b/%Y/%H/%M/%S", int(t)),
    "iso8601": lambda t: _strftime("%Y-%m-%dT%H:%M:%S", int(t)),
    "asctime": lambda t: time.asctime(time.gmtime(t)),
    "s": lambda t: f"{t:.9f}"[:-10],
    "ms": lambda t: f"{t:.9f}"[-9:-6],
    "us": lambda t: f"{t:.9f}"[-9:-3],
    "ns": lambda t: f"{t:.9f}"[-9:],
    "": lambda t: f"{t:.9f}",
} | {
    letter: functools.partial(lambda format, t: _strftime(f"%{format}", int(t)), letter)
    for letter in _STRFTIME
}


@functools.lru_cache(maxsize=64)
def _strftime(format: str, second: int) -> str:  # noqa: A002 - the word of time.strftime
    return time.strftime(format, time.gmtime(second))


class _LineFormat:
    """`log_msg_template`, taken apart once."""

    def __init__(self, settings: ProxyLoggingSettings) -> None:
        self._settings = settings
        self._only = frozenset(environ_key(name) for name in settings.access_log_headers_only)
        if settings.log_anonymization_method not in hashlib.algorithms_guaranteed:
            raise ConfigError(
                f"unknown hash {settings.log_anonymization_method!r}", option="log_anonymization_method"
            )
        # (text in front, field, format), the field None at the end of a template.
        self._pieces = list(self._parse(settings.log_msg_template))

    def render(self, exchange: _Exchange) -> str:
        pieces: list[str] = []
        for literal, field, spec in self._pieces:
            pieces.append(literal)
            if field is not None:
                value = field(exchange)
                pieces.append(_quoted(format(value, spec)) if value else "-")
        return "".join(pieces)

    def _parse(self, template: str) -> Iterator[tuple[str, Callable[[_Exchange], Any] | None, str]]:
        try:
            for literal, name, spec, conversion in string.Formatter().parse(template):
                if conversion:
                    raise ValueError(f"!{conversion} is not supported")
                yield literal, None if name is None else self._field(name), spec or ""
        except ValueError as error:
            raise ConfigError(f"cannot be used: {error}", option="log_msg_template") from None

    def _field(self, name: str) -> Callable[[_Exchange], Any]:
        """What finds the value of a field; ValueError if there is no such field."""
        field, _, part = name.partition(".")
        if field in ("start_time", "end_time") and part in _TIME_PARTS:
            instant = _start if field == "start_time" else _end
            return lambda exchange: _TIME_PARTS[part](instant(exchange))
        plain = _PLAIN_FIELDS.get(field)
        if plain and not part:
            return plain
        personal = _PERSONAL_FIELDS.get(field)
        if personal and part in ("", "anonymized"):
            find = functools.partial(personal, self)
            return (lambda exchange: self._anonymous(find(exchange))) if part else find
        raise ValueError(f"unknown field {name!r}")

    def _anonymous(self, value: str | None) -> str:
        if not value:
            return ""
        salt, method = self._settings.log_anonymization_salt, self._settings.log_anonymization_method
        digest = hashlib.new(method, (salt + value).encode("latin-1", "replace"), usedforsecurity=False)
        return f"{{{'S' if salt else ''}{method.upper()}}}{digest.hexdigest()}"

    def shortened(self, value: str | None) -> str | None:
        """As much of a token as may be shown."""
        shown = self._settings.reveal_sensitive_prefix
        return f"{value[:shown]}..." if value and len(value) > shown else value

    def path(self, exchange: _Exchange) -> str:
        environ = exchange.environ
        path = _quoted_path(environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"])
        query = environ.get("QUERY_STRING")
        return f"{path}?{self._redacted(query)}" if query else path

    def _redacted(self, query: str) -> str:
        items = []
        for item in query.split("&"):
            name, equals, value = item.partition("=")
            if equals and unquote(name) in SENSITIVE_PARAMETERS:
                item = f"{name}={self.shortened(value)}"
            items.append(item)
        return "&".join(items)

    def headers(self, exchange: _Exchange) -> str | None:
        if not self._settings.access_log_headers:
            return None
        lines = []
        for key, value in exchange.environ.items():
            name = header_name(key)
            if name is not None and (not self._only or key in self._only):
                lines.append(f"{name}: {self.shortened(value) if key in SENSITIVE_HEADERS else value}")
        return "\n".join(lines)

    def auth_token(self, exchange: _Exchange) -> str | None:
        return self.shortened(exchange.environ.get("HTTP_X_AUTH_TOKEN"))


def _quoted(value: str) -> str:
    return value if _is_plain(value) else quote(value, ":/{}")


def _quoted_path(path: str) -> str:
    return path if _is_plain_path(path) else quote(path.encode("latin-1"))


def _start(exchange: _Exchange) -> float:
    return exchange.start


def _end(exchange: _Exchange) -> float:
    return exchange.end


def _client_ip(environ: Environ) -> str | None:
    """The client in front of any load balancers, as far as they tell."""
    forwarded: str = environ.get("HTTP_X_FORWARDED_FOR", "").partition(",")[0].strip()
    return environ.get("HTTP_X_CLUSTER_CLIENT_IP") or forwarded or environ.get("REMOTE_ADDR")


def _domain(environ: Environ) -> str:
    host: str = environ.get("HTTP_HOST") or environ.get("SERVER_NAME") or ""
    return host.rpartition(":")[0] if ":" in host else host


def _policy_index(exchange: _Exchange) -> str | None:
    for name, value in exchange.headers:
        if name.lower() == "x-backend-storage-policy-index":
            return value
    return exchange.environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX")


def _name(exchange: _Exchange, which: int) -> str | None:
    """The account (1), container (2) or object (3) in the path; None when it is no API path."""
    environ = exchange.environ
    path = environ.get(BACKEND_PATH) or _quoted_path(environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"])
    try:
        names = split_path(path, 1, 4, True)
    except ValueError:
        return None
    return names[which] if names[0] in _API_VERSIONS else None


_PLAIN_FIELDS: dict[str, Callable[[_Exchange], Any]] = {
    "method": lambda e: e.environ.get(ORIGINAL_METHOD) or e.environ["REQUEST_METHOD"],
    "protocol": lambda e: e.environ.get("SERVER_PROTOCOL"),
    "status_int": lambda e: e.logged_status,
    "wire_status_int": lambda e: e.status,
    "bytes_recvd": lambda e: e.input.received if e.input else 0,
    "bytes_sent": lambda e: e.bytes_sent,
    "transaction_id": lambda e: e.environ.get(TRANS_ID),
    "request_time": lambda e: f"{e.end - e.start:.4f}",
    "source": lambda e: e.environ.get(SOURCE),
    "log_info": lambda e: ",".join(e.environ.get(LOG_INFO, ())),
    "policy_index": _policy_index,
    "ttfb": lambda e: e.first_byte_s,
    "pid": lambda _: os.getpid(),
}
_PERSONAL_FIELDS: dict[str, Callable[[_LineFormat, _Exchange], str | None]] = {
    "client_ip": lambda _, e: _client_ip(e.environ),
    "remote_addr": lambda _, e: e.environ.get("REMOTE_ADDR"),
    "domain": lambda _, e: _domain(e.environ),
    "path": _LineFormat.path,
    "referer": lambda _, e: e.environ.get("HTTP_REFERER"),
    "user_agent": lambda _, e: e.environ.get("HTTP_USER_AGENT"),
    "auth_token": _LineFormat.auth_token,
    "headers": _LineFormat.headers,
    "client_etag": lambda _, e: e.environ.get("HTTP_ETAG"),
    "account": lambda _, e: _name(e, 1),
    "container": lambda _, e: _name(e, 2),
    "object": lambda _, e: _name(e, 3),
    "access_user_id": lambda _, e: e.environ.get(ACCESS_LOGGING, {}).get("user_id"),
}


def _send_log_where_told(conf: dict[str, str]) -> None:
    """Give the access log a place of its own if `access_log_*` options name one."""
    own = {name: conf.get(f"access_{name}") for name in ("log_name", "log_facility", "log_address")}
    own |= {name: conf.get(f"access_{name}") for name in ("log_udp_host", "log_udp_port")}
    if not any(own.values()):
        return
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(make_handler(conf | {name: value for name, value in own.items() if value}))
    logger.propagate = False


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    conf = {**global_conf, **local_conf}
    settings = ProxyLoggingSettings.from_conf(conf, local_conf, also=("access_log_*", "statsd_*"))
    _send_log_where_told(conf)
    if "access_log_level" in conf:
        logger.setLevel(settings.access_log_level)
    return lambda app: ProxyLogging(app, settings)
