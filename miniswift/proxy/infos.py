"""Accounts and containers as the proxy knows them: from its cache, or by asking the back end.

1. A container counts as missing when its account is missing or deleted.
2. What the back end could not tell (5xx) is answered but never cached.
"""

from __future__ import annotations

from miniswift.backend import BackendRequest
from miniswift.client import Client
from miniswift.cluster import Cluster
from miniswift.info import AccountInfo, ContainerInfo, InfoCache, account_info, cache_key, container_info
from miniswift.proxy.settings import ProxySettings
from miniswift.responses import Environ, Headers, Response
from miniswift.timestamp import Timestamp
from miniswift.wsgi import INFO_CACHE, TRANS_ID

MISSING_TTL_FACTOR = 0.1  # what is missing may be made any moment, by somebody on another host too


class Infos:
    """Looks up and remembers infos; one for each proxy application."""

    def __init__(self, cluster: Cluster, client: Client, settings: ProxySettings, cache: InfoCache) -> None:
        self._cluster = cluster
        self._client = client
        self._cache = cache
        self._account_ttl_s = settings.recheck_account_existence
        self._container_ttl_s = settings.recheck_container_existence
        self._account_ring = cluster.ring("account")
        self._container_ring = cluster.ring("container")

    def account(self, environ: Environ, account: str) -> AccountInfo:
        """The account's info; names here and below are text."""
        key = cache_key(account)
        info: AccountInfo | None = environ.get(INFO_CACHE, {}).get(key) or self._cache.get(key, environ)
        if info is None:
            version = self._cache.version(key)
            ring = self._account_ring
            part = self._cluster.part(ring, account)
            response = self._client.read(ring, part, _head(environ, part, f"/{account}"))
            response.close()
            info = self.note_account(environ, account, response, version)
        return info

    def container(self, environ: Environ, account: str, container: str) -> ContainerInfo:
        """The container's info; status 404 also when its account does not exist."""
        key = cache_key(account, container)
        info: ContainerInfo | None = environ.get(INFO_CACHE, {}).get(key) or self._cache.get(key, environ)
        if info is None:
            if not self.account_exists(environ, account):
                return container_info(404, {})
            version = self._cache.version(key)
            ring = self._container_ring
            part = self._cluster.part(ring, account, container)
            response = self._client.read(ring, part, _head(environ, part, f"/{account}/{container}"))
            response.close()
            info = self.note_container(environ, account, container, response, version)
        return info

    def account_exists(self, environ: Environ, account: str) -> bool:
        """Accounts for the servers' own use exist as soon as they are written to."""
        if account.startswith(self._cluster.constraints.auto_create_account_prefix):
            return True
        return self.account(environ, account)["account_really_exists"]

    def account_version(self, account: str) -> int:
        """To be read before an account is asked for on a client's behalf, and handed to note_account."""
        return self._cache.version(cache_key(account))

    def container_version(self, account: str, container: str) -> int:
        return self._cache.version(cache_key(account, container))

    def note_account(self, environ: Environ, account: str, response: Response, version: int) -> AccountInfo:
        """Remember what an account's GET or HEAD said."""
        info = account_info(response.status, response.headers, self._cluster.policies)
        if response.headers.get("X-Account-Status", "").lower() == "deleted":
            info["status"] = 410
        key = cache_key(account)
        self._cache.set(key, info, version, _ttl(info["status"], self._account_ttl_s), environ)
        return info

    def note_container(
        self, environ: Environ, account: str, container: str, response: Response, version: int
    ) -> ContainerInfo:
        """Remember what a container's GET or HEAD said."""
        info = container_info(response.status, response.headers)
        key = cache_key(account, container)
        self._cache.set(key, info, version, _ttl(info["status"], self._container_ttl_s), environ)
        return info

    def forget_account(self, environ: Environ, account: str) -> None:
        self._cache.forget(cache_key(account), environ)

    def forget_container(self, environ: Environ, account: str, container: str) -> None:
        self._cache.forget(cache_key(account, container), environ)


def _head(environ: Environ, part: int, path: str) -> BackendRequest:
    headers = Headers(
        {
            "X-Timestamp": Timestamp.now().internal,
            "X-Trans-Id": environ.get(TRANS_ID, "-"),
            "X-Backend-Allow-Reserved-Names": "true",
        }
    )
    return BackendRequest("HEAD", part, path, headers, "format=json")


def _ttl(status: int, ttl_s: float) -> float:
    if status // 100 == 2:
        return ttl_s
    return ttl_s * MISSING_TTL_FACTOR if status in (404, 410) else 0
