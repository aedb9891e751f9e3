"""A line of the access log: the fields of `log_msg_template`, found and quoted.

1. A value is quoted, so that a line splits at its spaces and a client cannot forge one; empty is `-`.
2. Tokens and signatures are cut to their first characters.
3. A template that names an unknown field is refused at start.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import re
import string
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from urllib.parse import quote, unquote

from miniswift.config import Settings, boolean, count, option, port, text, words
from miniswift.errors import ConfigError
from miniswift.responses import Environ, HeaderList
from miniswift.wsgi import (
    ACCESS_LOGGING,
    BACKEND_PATH,
    LOG_INFO,
    ORIGINAL_METHOD,
    SOURCE,
    TRANS_ID,
    environ_key,
    header_name,
    split_path,
)

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

_is_plain = re.compile(r"[A-Za-z0-9_.~:/{}-]*").fullmatch
_is_plain_path = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch


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
    access_log_name: str = option(text, "", "name in front of each line; log_name when empty")
    access_log_facility: str = option(text, "", "syslog facility; log_facility when empty")
    access_log_address: str = option(text, "", "socket of the syslog; log_address when empty")
    access_log_udp_host: str = option(text, "", "syslog server; in place of access_log_address")
    access_log_udp_port: int = option(port, "514", "its port")


class CountedInput(Protocol):
    """A request's body that watches how it is read."""

    received: int  # bytes
    is_disconnected: bool  # its sender went away


@dataclasses.dataclass(slots=True)
class Exchange:
    """A request and what became of it."""

    environ: Environ
    start: float  # Unix time
    end: float = 0.0
    first_byte_s: float = 0.0  # a GET's time to the start of its answer
    status: int = 0  # as sent to the client; 0 until then
    logged_status: int = 0  # 499 for a client that left; or what a filter said
    headers: HeaderList = dataclasses.field(default_factory=list)  # of the answer
    input: CountedInput | None = None  # where the request has a body
    bytes_sent: int = 0


class LineFormat:
    """`log_msg_template`, taken apart once."""

    def __init__(self, settings: ProxyLoggingSettings) -> None:
        self._settings = settings
        self._only = frozenset(environ_key(name) for name in settings.access_log_headers_only)
        if settings.log_anonymization_method not in hashlib.algorithms_guaranteed:
            raise ConfigError(
                f"unknown hash {settings.log_anonymization_method!r}", option="log_anonymization_method"
            )
        # (text in front, field, format); the field is None at the end of a template.
        self._pieces = list(self._parse(settings.log_msg_template))

    def render(self, exchange: Exchange) -> str:
        pieces: list[str] = []
        for literal, find, spec in self._pieces:
            pieces.append(literal)
            if find is not None:
                value = find(exchange)
                pieces.append(_quoted(format(value, spec)) if value else "-")
        return "".join(pieces)

    def _parse(self, template: str) -> Iterator[tuple[str, Callable[[Exchange], Any] | None, str]]:
        try:
            for literal, name, spec, conversion in string.Formatter().parse(template):
                if conversion:
                    raise ValueError(f"!{conversion} is not supported")
                yield literal, None if name is None else self._field(name), spec or ""
        except ValueError as error:
            raise ConfigError(f"cannot be used: {error}", option="log_msg_template") from None

    def _field(self, name: str) -> Callable[[Exchange], Any]:
        """What finds the value of a field. Raises ValueError if there is no such field."""
        field, _, part = name.partition(".")
        if field in ("start_time", "end_time") and (part in _TIME_PARTS or part in _STRFTIME):
            instant = _start if field == "start_time" else _end
            show = _TIME_PARTS.get(part) or functools.partial(_strftime, f"%{part}")
            return lambda exchange: show(instant(exchange))
        if field not in _FIELDS or (part and (part != "anonymized" or field not in _PERSONAL)):
            raise ValueError(f"unknown field {name!r}")
        find = functools.partial(_FIELDS[field], self)
        return (lambda exchange: self._anonymous(find(exchange))) if part else find

    def _anonymous(self, value: str | None) -> str:
        if not value:
            return ""
        salt, method = self._settings.log_anonymization_salt, self._settings.log_anonymization_method
        digest = hashlib.new(method, (salt + value).encode("latin-1", "replace"), usedforsecurity=False)
        return f"{{{'S' if salt else ''}{method.upper()}}}{digest.hexdigest()}"

    def _shortened(self, value: str | None) -> str | None:
        """As much of a token as may be shown."""
        shown = self._settings.reveal_sensitive_prefix
        return f"{value[:shown]}..." if value and len(value) > shown else value

    def path(self, exchange: Exchange) -> str:
        path = _path(exchange.environ)
        query = exchange.environ.get("QUERY_STRING")
        return f"{path}?{self._redacted(query)}" if query else path

    def _redacted(self, query: str) -> str:
        items = []
        for item in query.split("&"):
            name, equals, value = item.partition("=")
            if equals and unquote(name) in SENSITIVE_PARAMETERS:
                item = f"{name}={self._shortened(value)}"
            items.append(item)
        return "&".join(items)

    def headers(self, exchange: Exchange) -> str | None:
        if not self._settings.access_log_headers:
            return None
        lines = []
        for key, value in exchange.environ.items():
            name = header_name(key)
            if name is not None and (not self._only or key in self._only):
                lines.append(f"{name}: {self._shortened(value) if key in SENSITIVE_HEADERS else value}")
        return "\n".join(lines)

    def auth_token(self, exchange: Exchange) -> str | None:
        return self._shortened(exchange.environ.get("HTTP_X_AUTH_TOKEN"))


def _quoted(value: str) -> str:
    return value if _is_plain(value) else quote(value, ":/{}")


def _path(environ: Environ) -> str:
    path: str = environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"]
    return path if _is_plain_path(path) else quote(path.encode("latin-1"))


# --- times -------------------------------------------------------------------------------------------


def _start(exchange: Exchange) -> float:
    return exchange.start


def _end(exchange: Exchange) -> float:
    return exchange.end


def _strftime(pattern: str, instant: float) -> str:
    return _strftime_second(pattern, int(instant))


@functools.lru_cache(maxsize=64)
def _strftime_second(pattern: str, second: int) -> str:
    return time.strftime(pattern, time.gmtime(second))


_STRFTIME = frozenset("aAbBcdHIjmMpSUwWxXyYZ")
_TIME_PARTS: dict[str, Callable[[float], str]] = {
    "": lambda t: f"{t:.9f}",
    "datetime": functools.partial(_strftime, "%d/%b/%Y/%H/%M/%S"),
    "iso8601": functools.partial(_strftime, "%Y-%m-%dT%H:%M:%S"),
    "asctime": lambda t: time.asctime(time.gmtime(t)),
    "s": lambda t: f"{t:.9f}"[:-10],
    "ms": lambda t: f"{t:.9f}"[-9:-6],
    "us": lambda t: f"{t:.9f}"[-9:-3],
    "ns": lambda t: f"{t:.9f}"[-9:],
}


# --- fields ------------------------------------------------------------------------------------------


def _client_ip(environ: Environ) -> str | None:
    """The client in front of any load balancers, as far as they tell."""
    forwarded: str = environ.get("HTTP_X_FORWARDED_FOR", "").partition(",")[0].strip()
    return environ.get("HTTP_X_CLUSTER_CLIENT_IP") or forwarded or environ.get("REMOTE_ADDR")


def _domain(environ: Environ) -> str:
    host: str = environ.get("HTTP_HOST") or environ.get("SERVER_NAME") or ""
    return host.rpartition(":")[0] if ":" in host else host


def _policy_index(exchange: Exchange) -> str | None:
    for name, value in exchange.headers:
        if name.lower() == "x-backend-storage-policy-index":
            return value
    return exchange.environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX")


def _name(exchange: Exchange, which: int) -> str | None:
    """The account (1), container (2) or object (3) in the path; None when it is no API path."""
    try:
        names = split_path(exchange.environ.get(BACKEND_PATH) or _path(exchange.environ), 1, 4, True)
    except ValueError:
        return None
    return names[which] if names[0] in _API_VERSIONS else None


_FIELDS: dict[str, Callable[[LineFormat, Exchange], Any]] = {
    "client_ip": lambda _, e: _client_ip(e.environ),
    "remote_addr": lambda _, e: e.environ.get("REMOTE_ADDR"),
    "domain": lambda _, e: _domain(e.environ),
    "method": lambda _, e: e.environ.get(ORIGINAL_METHOD) or e.environ["REQUEST_METHOD"],
    "path": LineFormat.path,
    "account": lambda _, e: _name(e, 1),
    "container": lambda _, e: _name(e, 2),
    "object": lambda _, e: _name(e, 3),
    "protocol": lambda _, e: e.environ.get("SERVER_PROTOCOL"),
    "status_int": lambda _, e: e.logged_status,
    "wire_status_int": lambda _, e: e.status or e.logged_status,
    "referer": lambda _, e: e.environ.get("HTTP_REFERER"),
    "user_agent": lambda _, e: e.environ.get("HTTP_USER_AGENT"),
    "auth_token": LineFormat.auth_token,
    "access_user_id": lambda _, e: e.environ.get(ACCESS_LOGGING, {}).get("user_id"),
    "bytes_recvd": lambda _, e: e.input.received if e.input else 0,
    "bytes_sent": lambda _, e: e.bytes_sent,
    "client_etag": lambda _, e: e.environ.get("HTTP_ETAG"),
    "transaction_id": lambda _, e: e.environ.get(TRANS_ID),
    "headers": LineFormat.headers,
    "request_time": lambda _, e: f"{e.end - e.start:.4f}",
    "ttfb": lambda _, e: e.first_byte_s,
    "source": lambda _, e: e.environ.get(SOURCE),
    "log_info": lambda _, e: ",".join(e.environ.get(LOG_INFO, ())),
    "policy_index": lambda _, e: _policy_index(e),
    "pid": lambda _, e: os.getpid(),
}
# Fields about somebody, of which a template may ask for a hash: {path.anonymized}.
_PERSONAL = frozenset(
    ["client_ip", "remote_addr", "domain", "path", "referer", "user_agent", "headers", "client_etag"]
    + ["account", "container", "object", "access_user_id"]
)
