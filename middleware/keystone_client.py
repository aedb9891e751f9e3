"""Asking Keystone: requests to either version of its API, as the service user of the configuration.

`Keystone.get` finds out where it is and which version it speaks, signs in, tries again what is worth it,
and returns Keystone's answer. What an answer means is the caller's business.

1. Whatever keeps Keystone from answering is `IdentityUnavailable`, and says nothing about any token.
2. Nothing that is logged or raised contains a token: what libraries say of a failed request does (v2.0
   has the token in its URL), so only the kind of a failure is repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from keystoneauth1 import exceptions
from keystoneauth1.session import Session

from miniswift.errors import MiniswiftError

logger = logging.getLogger(__name__)

V2 = "v2.0"
V3 = "v3"

_FIRST_RETRY_DELAY_S = 0.5


class IdentityUnavailable(MiniswiftError):
    """Raised when Keystone could not be asked. Says what went wrong."""


class Keystone:
    """Keystone, with a token of our own that is renewed when it is refused."""

    def __init__(
        self,
        session: Session,
        auth: Any,  # keystoneauth1 plugin of the service user
        find_root: Callable[[Session, Any], str | None],
        *,
        version: str,  # V2, V3, or "" to ask which ones there are
        retries: int,
        pause: Callable[[float], None],
    ) -> None:
        self._session = session
        self._auth = auth
        self._find_root = find_root
        self._version = version
        self._retries = retries
        self._pause = pause
        self._api: tuple[str, str] | None = None  # (version, URL with it), once known

    def get(
        self,
        paths: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        is_authenticated: bool = True,
    ) -> Any:
        """The answer (a requests.Response, never a 5xx) to a GET of the path that fits the version.

        Headers are for v3 only. Raises IdentityUnavailable.
        """
        for attempt in range(self._retries + 1):
            try:
                return self._ask(paths, headers, is_authenticated)
            except _WorthARetry as failure:
                if attempt == self._retries:
                    raise IdentityUnavailable(str(failure)) from None
                logger.warning("Keystone: %s; trying again", failure)
                self._pause(_FIRST_RETRY_DELAY_S * 2**attempt)
        raise AssertionError("unreachable")

    def _ask(
        self, paths: Mapping[str, str], headers: Mapping[str, str] | None, is_authenticated: bool
    ) -> Any:
        try:
            version, url = self._api or self._find_api()
            # It renews the service user's token once on a 401. Its log lines would have the URL.
            response = self._session.get(
                f"{url}{paths[version]}",
                headers=dict(headers or {}) if version == V3 else {},
                auth=self._auth, authenticated=is_authenticated, raise_exc=False, redirect=False, log=False,
            )  # fmt: skip
        except exceptions.RetriableConnectionFailure as error:
            raise _WorthARetry(_kind_of(error)) from None
        except exceptions.DiscoveryFailure as error:  # a plugin's own look for versions met the same
            raise _WorthARetry(_kind_of(error)) from None
        except exceptions.HttpServerError as error:
            raise _WorthARetry(f"the service user got {error.http_status}") from None
        except exceptions.ClientException as error:
            raise IdentityUnavailable(f"the service user cannot sign in: {_kind_of(error)}") from None
        if response.status_code >= 500:
            raise _WorthARetry(f"it answered {response.status_code}")
        return response

    # --- where Keystone is -----------------------------------------------------------------------

    def _find_api(self) -> tuple[str, str]:
        root = self._find_root(self._session, self._auth)
        if not root:
            raise IdentityUnavailable("the catalogue has no identity service, and no URL is configured")
        root, named = _without_version(root)
        version = self._version or named or self._newest_version(root)
        self._api = (version, f"{root}/{version}")
        logger.info("Keystone is asked at %s", self._api[1])
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


def json_object(response: Any) -> dict[str, Any]:
    """The JSON object of a successful answer. Raises IdentityUnavailable."""
    try:
        body = response.json() if response.status_code in (200, 203) else None
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise IdentityUnavailable(f"its answer with status {response.status_code} makes no sense")
    return body


def _without_version(url: str) -> tuple[str, str]:
    """(URL without slash and version at its end, that version or "")."""
    root, _, last = url.rstrip("/").rpartition("/")
    return (root, last) if last in (V2, V3) else (url.rstrip("/"), "")


def _kind_of(error: Exception) -> str:
    status = getattr(error, "http_status", None)
    return f"{type(error).__name__} {status or ''}".rstrip()
