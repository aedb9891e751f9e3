"""Hosts of users' own: a name whose CNAME leads to a storage domain stands for that. domain_remap goes on.

    photos.example.org  CNAME  c.auth-account.example.com     → Host: c.auth-account.example.com

1. What the name servers said is kept in the cache (`swift.cache`) for as long as they allow, refusals too.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
from collections.abc import Callable, Iterable
from typing import Any

import dns.exception
import dns.resolver

from miniswift import info
from miniswift.config import Settings, option, positive, words
from miniswift.responses import Environ, HeaderList, Response, StartResponse
from miniswift.wsgi import CACHE, WSGIApp

from .domain_remap import domains

logger = logging.getLogger(__name__)

_NOTHING = ""  # kept in the cache for a name that has no CNAME, as None means not asked yet
_NOTHING_TTL_S = 60


def _servers(value: str) -> tuple[tuple[str, int], ...]:
    """(address, port) of each `ip`, `ip:port` or `[ip]:port`."""
    servers = []
    for word in words(value):
        ip, port = word, "53"
        if word.startswith("["):
            ip, _, port = word[1:].partition("]")
            port = port.removeprefix(":") or "53"
        elif word.count(":") == 1:
            ip, _, port = word.partition(":")
        try:
            servers.append((str(ipaddress.ip_address(ip)), int(port)))
        except ValueError:
            raise ValueError("expected IP addresses, each with :port if it is not 53") from None
    return tuple(servers)


@dataclasses.dataclass(frozen=True)
class CnameLookupSettings(Settings):
    """The options of [filter:cname_lookup]."""

    storage_domain: tuple[str, ...] = option(domains, "example.com", "domains that a CNAME must lead to")
    lookup_depth: int = option(positive, "1", "CNAMEs to follow, one after the other")
    nameservers: tuple[tuple[str, int], ...] = option(
        _servers, "", "addresses of the name servers to ask; the system's when empty"
    )


class CnameLookup:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: CnameLookupSettings) -> None:
        self._app = app
        self._settings = settings
        self._resolver = dns.resolver.Resolver(configure=not settings.nameservers)
        if settings.nameservers:
            self._resolver.nameservers = [ip for ip, _ in settings.nameservers]
            self._resolver.nameserver_ports = dict(settings.nameservers)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST") or environ["SERVER_NAME"]
        name, colon, port = host.partition(":") if not host.startswith("[") else (host, "", "")
        if self._is_ours(name) or _is_address(name):
            return self._app(environ, start_response)
        found = self._follow(name.lower().rstrip("."), environ.get(CACHE))
        if not found:
            message = "CNAME lookup failed to resolve to a valid domain"
            refusal = Response(400, {"Content-Type": "text/plain"}, message)
            return refusal(environ, start_response)
        environ["HTTP_HOST"] = mapped = f"{found}{colon}{port}"

        def start(status: str, headers: HeaderList, exc_info: Any = None) -> Any:
            shown = [
                (key, value.replace(f"//{mapped}", f"//{host}", 1) if key.lower() == "location" else value)
                for key, value in headers
            ]
            return start_response(status, shown, exc_info) if exc_info else start_response(status, shown)

        return self._app(environ, start)

    def _is_ours(self, name: str) -> bool:
        return f".{name.lower()}".endswith(self._settings.storage_domain)

    def _follow(self, name: str, cache: Any) -> str:
        """The name below a storage domain that `name` stands for, empty if it stands for none."""
        asked = name
        for _ in range(self._settings.lookup_depth):
            found = self._cname(name, cache)
            if not found or found == name:
                break
            if self._is_ours(found):
                logger.debug("host %s stands for %s", asked, found)
                return found
            name = found
        logger.info("host %s refused: it leads to %s, and no storage domain", asked, name)
        return ""

    def _cname(self, name: str, cache: Any) -> str:
        key = f"cname-{name}"
        known = cache.get(key) if cache is not None else None
        if known is not None:
            return str(known or _NOTHING)
        ttl_s, found = self._ask(name)
        if cache is not None and ttl_s:
            cache.set(key, found, time=ttl_s)
        return found

    def _ask(self, name: str) -> tuple[int, str]:
        """(seconds to keep the answer, the CNAME or nothing)."""
        try:
            answer = self._resolver.resolve(name, "CNAME")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return _NOTHING_TTL_S, _NOTHING
        except (dns.exception.DNSException, UnicodeError) as error:
            logger.warning("CNAME of %s cannot be had: %s", name, error)
            return 0, _NOTHING
        return int(answer.rrset.ttl if answer.rrset else 0), str(answer[0].target).rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("]")[0])
    except ValueError:
        return False
    return True


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], CnameLookup]:
    settings = CnameLookupSettings.from_conf({**global_conf, **local_conf}, local_conf)
    info.register_swift_info("cname_lookup", lookup_depth=settings.lookup_depth)
    return lambda app: CnameLookup(app, settings)
