"""Accounts and containers as host names: http://container.account.example.com/object.

    account.example.com/c/o              /v1/AUTH_account/c/o
    container.auth-account.example.com   /v1/AUTH_account/container

Host names have no underscores and no case, so the first dash of an account stands for an underscore, and the
reseller prefix is written as it is configured. Redirects are told in the client's terms.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from miniswift import info
from miniswift.config import Settings, boolean, option, text, words
from miniswift.responses import Environ, HeaderList, Response, StartResponse
from miniswift.wsgi import WSGIApp


def domains(value: str) -> tuple[str, ...]:
    """Domains with a dot in front, in lower case."""
    return tuple(f".{name.lstrip('.').lower()}" for name in words(value))


@dataclasses.dataclass(frozen=True)
class DomainRemapSettings(Settings):
    """The options of [filter:domain_remap]."""

    storage_domain: tuple[str, ...] = option(
        domains, "example.com", "domains below which host names are mapped"
    )
    path_root: str = option(text, "v1", "version in front of accounts")
    reseller_prefixes: tuple[str, ...] = option(
        words, "AUTH", "what accounts begin with; others are not mapped"
    )
    default_reseller_prefix: str = option(text, "", "put in front of accounts that have none of these")
    mangle_client_paths: bool = option(boolean, "false", "leave out a version that the path begins with")


class DomainRemap:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: DomainRemapSettings) -> None:
        self._app = app
        self._settings = settings
        self._root = settings.path_root.strip("/")
        self._prefixes = {prefix.lower(): prefix for prefix in settings.reseller_prefixes}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST") or environ["SERVER_NAME"]
        name = host.rpartition(":")[0] if ":" in host else host
        domain = next((each for each in self._settings.storage_domain if name.lower().endswith(each)), None)
        if domain is None:
            return self._app(environ, start_response)
        *container, account = name[: -len(domain)].strip(".").split(".")
        if len(container) > 1 or not account:
            refusal = Response(400, {"Content-Type": "text/plain"}, "Bad domain in host header")
            return refusal(environ, start_response)
        full_account = self._account(account)
        if full_account is None:
            return self._app(environ, start_response)
        asked = environ["PATH_INFO"]
        rest = asked.removeprefix("/")
        if self._settings.mangle_client_paths and f"{rest}/".startswith(f"{self._root}/"):
            rest = rest[len(self._root) + 1 :]
        mapped = "/".join(["", self._root, full_account, *container, rest])
        environ["PATH_INFO"] = mapped

        def start(status: str, headers: HeaderList, exc_info: Any = None) -> Any:
            shown = [
                (name, _as_asked(value, mapped, asked) if name.lower() == "location" else value)
                for name, value in headers
            ]
            return start_response(status, shown, exc_info) if exc_info else start_response(status, shown)

        return self._app(environ, start)

    def _account(self, name: str) -> str | None:
        """The account that a part of a host name means; None if it is not for us."""
        if not self._prefixes:
            return name
        if "_" not in name:
            name = name.replace("-", "_", 1)
        prefix, _, rest = name.partition("_")
        if prefix.lower() in self._prefixes:
            return f"{self._prefixes[prefix.lower()]}_{rest}"
        default = self._settings.default_reseller_prefix
        return f"{default}_{name}" if default else None


def _as_asked(location: str, mapped: str, asked: str) -> str:
    """A Location below the mapped path, as one below the path that was asked for."""
    parts = urlsplit(location)
    start = quote(mapped.encode("latin-1"), safe="/~")
    if not parts.path.startswith(start):
        return location
    path = quote(asked.encode("latin-1"), safe="/~") + parts.path[len(start) :]
    return urlunsplit(parts._replace(path=path))


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], DomainRemap]:
    settings = DomainRemapSettings.from_conf({**global_conf, **local_conf}, local_conf)
    info.register_swift_info("domain_remap", default_reseller_prefix=settings.default_reseller_prefix or None)
    return lambda app: DomainRemap(app, settings)
