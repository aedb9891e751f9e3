"""What the filters that decide about requests share: resellers, and how a refusal is answered.

Several auth systems can stand in one pipeline. Each decides for the accounts whose names begin with
one of its reseller prefixes (`AUTH` means `AUTH_…`; `''` means any name), by the rules of that prefix:
an option of the section holds for all of them, `SERVICE_<option>` for `SERVICE_…` only.

1. The first prefix that fits decides, the empty one last: it never hides another.
2. Whoever is known gets a 403, whoever is not a 401 with a challenge.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from typing import Generic, TypeVar
from urllib.parse import quote

from miniswift.config import Settings, option_names
from miniswift.responses import Environ, HTTPError
from miniswift.wsgi import SYNC_KEY, from_wsgi, split_path

Rules = TypeVar("Rules", bound=Settings)

logger = logging.getLogger(__name__)

CHALLENGE = "WWW-Authenticate"
READS = frozenset(["GET", "HEAD"])


def reseller_prefixes(value: str) -> tuple[str, ...]:
    """The prefixes of a `reseller_prefix` option, each ending in `_` unless it is empty."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    prefixes = ["" if name == "''" else name.removesuffix("_") + "_" for name in names]
    return tuple(dict.fromkeys(prefixes)) or ("",)


class Resellers(Generic[Rules]):
    """The reseller prefixes of one auth system, and the rules of each."""

    def __init__(self, prefixes: tuple[str, ...], conf: Mapping[str, str], table: type[Rules]) -> None:
        self.prefixes = prefixes
        self.rules = {prefix: table.from_conf(_options_of(prefix, conf)) for prefix in prefixes}
        self._empty_last = sorted(prefixes, key=lambda prefix: prefix == "")

    def prefix_of(self, account: str | None) -> str | None:
        """The prefix that an account's name begins with; None if the account is somebody else's."""
        for prefix in self._empty_last:
            if account is not None and account.startswith(prefix):
                return prefix
        return None

    def owns(self, account: str, name: str | None) -> bool:
        """Whether `account` is one of those that the project or user account `name` has here."""
        return bool(name) and any(account == f"{prefix}{name}" for prefix in self.prefixes)


def rule_names(prefixes: tuple[str, ...], table: type[Settings]) -> tuple[str, ...]:
    """Every option name under which rules may stand."""
    spelled = ["", *(prefix or "''" for prefix in prefixes)]
    return tuple(start + name for start in spelled for name in option_names(table))


def _options_of(prefix: str, conf: Mapping[str, str]) -> dict[str, str]:
    spelled = prefix or "''"
    own = {name[len(spelled) :]: value for name, value in conf.items() if name.startswith(spelled)}
    return {**conf, **own}


def denied(environ: Environ, why: str) -> HTTPError:
    """The answer to a request that is refused: 403 to somebody known, 401 to anybody else."""
    # The proxy asks again with the container's list where there is one: often not the last word.
    logger.debug("%s %s refused: %s", environ["REQUEST_METHOD"], environ["PATH_INFO"], why)
    return (
        HTTPError(403) if environ.get("REMOTE_USER") else HTTPError(401, None, challenge(realm_of(environ)))
    )


def challenge(realm: str) -> dict[str, str]:
    """The header that a 401 has in Swift; `realm` is the account, a WSGI string."""
    return {CHALLENGE: f'Swift realm="{quote(realm, encoding="latin-1", errors="replace")}"'}


def realm_of(environ: Environ) -> str:
    """The account in the request's path."""
    try:
        return split_path(environ["PATH_INFO"], 2, 3, True)[1] or "unknown"
    except ValueError:
        return "unknown"


def text_of(value: str) -> str:
    """A header's value as text. What is no UTF-8, or text already (keystonemiddleware's), stays."""
    try:
        return from_wsgi(value)
    except UnicodeError:
        return value


def is_container_sync(environ: Environ) -> bool:
    """Whether the request proves to come from another cluster's container sync, the old way."""
    expected = environ.get(SYNC_KEY)
    given = environ.get("HTTP_X_CONTAINER_SYNC_KEY")
    return bool(
        expected and given and "HTTP_X_TIMESTAMP" in environ and same_secret(expected, text_of(given))
    )


def same_secret(one: str, other: str) -> bool:
    """Compare in a time that tells nothing about where they differ."""
    return hmac.compare_digest(_secret_bytes(one), _secret_bytes(other))


def _secret_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
