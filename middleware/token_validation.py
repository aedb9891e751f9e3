"""Asking Keystone whether a token is valid, and as whom.

A validator turns a token into its body or says why not. `ValidatorByForm` picks one by how the token
begins; `OnlineValidator` asks Keystone, v3 or v2.0, as the service user of the configuration.

1. `InvalidToken` is Keystone's word that the token is no good. Whatever keeps Keystone from answering
   is `IdentityUnavailable`, and never held against the token.
2. Nothing that is logged or raised contains a token: what libraries say of a failed request does (v2.0
   has the token in its URL), so only the kind of a failure is repeated.
3. A token that could be read as anything but one opaque word does not get into a URL or a header.

Not here: keeping answers (token_cache), reading bodies (identity_headers).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from keystoneauth1 import exceptions
from keystoneauth1.session import Session

from miniswift.errors import MiniswiftError

logger = logging.getLogger(__name__)

V2 = "v2.0"
V3 = "v3"

# RFC 6750 2.1 b64token without its slash: UUIDs, Fernet, JWS, PKI and PKIZ are all of this form.
_OPAQUE_WORD = re.compile(r"[._~+-]*[A-Za-z0-9][A-Za-z0-9._~+-]*=*")
_FIRST_RETRY_DELAY_S = 0.5


class InvalidToken(MiniswiftError):
    """Raised when a token is no good. Says why, never which."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class IdentityUnavailable(MiniswiftError):
    """Raised when Keystone could not be asked. Says what went wrong."""


class TokenValidator(Protocol):
    """Tells what a token stands for."""

    def validate(self, token: str, allow_expired: bool = False) -> Mapping[str, Any]:
        """The token's body in the form of its API version.

        Raises InvalidToken, or IdentityUnavailable when that could not be found out.
        """


class ValidatorByForm:
    """Hands each token to the validator for its form."""

    def __init__(
        self, otherwise: TokenValidator, by_start: Mapping[str, TokenValidator] | None = None
    ) -> None:
        self._otherwise = otherwise
        self._by_start = dict(by_start or {})

    def validate(self, token: str, allow_expired: bool = False) -> Mapping[str, Any]:
        if not _OPAQUE_WORD.fullmatch(token):
            raise InvalidToken("it has characters that no token has")
        for start, validator in self._by_start.items():
            if token.startswith(start):
                return validator.validate(token, allow_expired)
        return self._otherwise.validate(token, allow_expired)


class OnlineValidator:
    """Asks Keystone about each token, with a token of our own that is renewed when it is refused."""

    def __init__(
        self,
        session: Session,
        auth: Any,  # keystoneauth1 plugin of the service user
        find_root: Callable[[Session, Any], str | None],
        *,
        version: str,  # V2, V3, or "" to ask which ones there are
        retries: int,
        with_catalog: bool,
        pause: Callable[[float], None],
    ) -> None:
        self._session = session
        self._auth = auth
        self._find_root = find_root
        self._version = version
        self._retries = retries
        self._with_catalog = with_catalog
        self._pause = pause
        self._api: tuple[str, str] | None = None  # (version, URL with it), once known

    def validate(self, token: str, allow_expired: bool = False) -> Mapping[str, Any]:
        for attempt in range(self._retries + 1):
            try:
                return self._ask(token, allow_expired)
            except _WorthARetry as failure:
                if attempt == self._retries:
                    raise IdentityUnavailable(str(failure)) from None
                logger.warning("Keystone: %s; trying again", failure)
                self._pause(_FIRST_RETRY_DELAY_S * 2**attempt)
        raise AssertionError("unreachable")

    def _ask(self, token: str, allow_expired: bool) -> Mapping[str, Any]:
        try:
            version, url = self._api or self._find_api()
            response = self._get(version, url, token, allow_expired)
        except exceptions.RetriableConnectionFailure as error:
            raise _WorthARetry(_kind_of(error)) from None
        except exceptions.DiscoveryFailure as error:  # a plugin's own look for versions met the same
            raise _WorthARetry(_kind_of(error)) from None
        except exceptions.HttpServerError as error:
            raise _WorthARetry(f"the service user got {error.http_status}") from None
        except exceptions.ClientException as error:
            raise IdentityUnavailable(f"the service user cannot sign in: {_kind_of(error)}") from None
        return _body_of(response)

    def _get(self, version: str, url: str, token: str, allow_expired: bool) -> Any:
        # session.get renews the service user's token once on a 401. Its log lines would have the URL.
        if version == V2:
            return self._session.get(
                f"{url}/tokens/{quote(token, safe='')}",
                auth=self._auth, authenticated=True, raise_exc=False, redirect=False, log=False,
            )  # fmt: skip
        # No OpenStack-Identity-Access-Rules header: so Keystone refuses application credentials that are
        # restricted by access rules, which nobody here would enforce.
        flags = [
            flag
            for flag, on in (("nocatalog", not self._with_catalog), ("allow_expired=1", allow_expired))
            if on
        ]
        return self._session.get(
            f"{url}/auth/tokens{'?' * bool(flags)}{'&'.join(flags)}",
            headers={"X-Subject-Token": token},
            auth=self._auth, authenticated=True, raise_exc=False, redirect=False, log=False,
        )  # fmt: skip

    # --- where Keystone is -----------------------------------------------------------------------

    def _find_api(self) -> tuple[str, str]:
        root = self._find_root(self._session, self._auth)
        if not root:
            raise IdentityUnavailable("the catalogue has no identity service, and no URL is configured")
        root, named = _without_version(root)
        version = self._version or named or self._newest_version(root)
        self._api = (version, f"{root}/{version}")
        logger.info("tokens are validated at %s", self._api[1])
        return self._api

    def _newest_version(self, root: str) -> str:
        """The best version that Keystone's document about itself names; v3 is preferred."""
        response = self._session.get(
            f"{root}/", authenticated=False, raise_exc=False, redirect=False, log=False
        )
        if response.status_code >= 500:
            raise _WorthARetry(f"it answered {response.status_code} when asked for its versions")
        try:
            ids = [str(version["id"]) for version in response.json()["versions"]["values"]]
        except (ValueError, KeyError, TypeError):
            ids = []
        for version, start in ((V3, "v3"), (V2, "v2")):
            if any(name.startswith(start) for name in ids):
                return version
        raise IdentityUnavailable(f"{root} does not say which versions of the API it has")


class _WorthARetry(MiniswiftError):
    """Raised when Keystone may answer if it is asked again."""


def _body_of(response: Any) -> Mapping[str, Any]:
    """What Keystone's answer about a token means."""
    status = response.status_code
    if status in (400, 404):
        raise InvalidToken("Keystone does not know it")
    if status in (401, 403):
        raise IdentityUnavailable(f"the service user may not validate tokens: {status}")
    if status >= 500:
        raise _WorthARetry(f"it answered {status}")
    try:
        body = response.json() if status in (200, 203) else None
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise IdentityUnavailable(f"its answer with status {status} makes no sense")
    return body


def _without_version(url: str) -> tuple[str, str]:
    """(URL without slash and version at its end, that version or "")."""
    root, _, last = url.rstrip("/").rpartition("/")
    return (root, last) if last in (V2, V3) else (url.rstrip("/"), "")


def _kind_of(error: Exception) -> str:
    status = getattr(error, "http_status", None)
    return f"{type(error).__name__} {status or ''}".rstrip()
