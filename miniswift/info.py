"""What is known of accounts and containers: the dictionaries that filters and controllers ask for.

`get_account_info` and `get_container_info` are for filters: they look in the request's own cache
(`swift.infocache`), then send a HEAD down the pipeline, which the proxy answers from `InfoCache`.
The dictionaries have Swift's keys, because Swift's filters read the same environ key.

1. A change is seen by the next request on any worker of this machine: a writer stamps the name's
   bucket in `VersionTable`, shared memory made before the fork, and a cached entry is good only while
   the stamp it was read under stands.
2. The stamp is read before the back end is asked, so a write in between spoils the entry, never hides.
3. With memcached there may be other proxy hosts; then a local entry lives at most a second.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from miniswift.responses import Environ
from miniswift.wsgi import CACHE, INFO_CACHE, WSGIApp, as_text, make_preauthed_subrequest, split_path

if TYPE_CHECKING:
    from miniswift.cluster import Policy

# Set on our own HEAD subrequests: the proxy need only fill swift.infocache, from its cache if it can.
INFO_ONLY = "miniswift.info_only"


class Cors(TypedDict):
    """A container's CORS metadata."""

    allow_origin: str | None
    expose_headers: str | None
    max_age: str | None


class AccountInfo(TypedDict):
    """An account as Swift's get_account_info has it; header values are text."""

    status: int
    container_count: int
    total_object_count: int
    bytes: int
    storage_policies: dict[int, dict[str, int]]
    meta: dict[str, str]
    sysmeta: dict[str, str]
    account_really_exists: bool


class ContainerInfo(TypedDict):
    """A container as Swift's get_container_info has it; header values are text."""

    status: int
    read_acl: str | None
    write_acl: str | None
    sync_to: str | None
    sync_key: str | None
    object_count: int
    bytes: int
    versions: str | None
    storage_policy: str
    cors: Cors
    meta: dict[str, str]
    sysmeta: dict[str, str]
    sharding_state: str
    created_at: str
    put_timestamp: str
    delete_timestamp: str
    status_changed_at: str


def cache_key(account: str, container: str | None = None) -> str:
    """The key of an info dictionary in swift.infocache and in memcached; names are text."""
    return f"container/{account}/{container}" if container else f"account/{account}"


# --- answers → dictionaries ------------------------------------------------------------------------


def account_info(status: int, headers: Mapping[str, str], policies: Iterable[Policy] = ()) -> AccountInfo:
    """The info that an account HEAD's answer carries; per-policy numbers for `policies`."""
    meta, sysmeta, others = _sort_headers(headers, "x-account-")
    by_policy = {
        policy.index: {
            "container_count": _number(others.get(f"storage-policy-{policy.name.lower()}-container-count")),
            "object_count": _number(others.get(f"storage-policy-{policy.name.lower()}-object-count")),
            "bytes": _number(others.get(f"storage-policy-{policy.name.lower()}-bytes-used")),
        }
        for policy in policies
    }
    return {
        "status": status,
        "container_count": _number(others.get("container-count")),
        "total_object_count": _number(others.get("object-count")),
        "bytes": _number(others.get("bytes-used")),
        "storage_policies": by_policy,
        "meta": meta,
        "sysmeta": sysmeta,
        "account_really_exists": status // 100 == 2
        and headers.get("X-Backend-Fake-Account-Listing", "no") != "yes",
    }


def container_info(status: int, headers: Mapping[str, str]) -> ContainerInfo:
    """The info that a container HEAD's answer carries."""
    meta, sysmeta, others = _sort_headers(headers, "x-container-")
    return {
        "status": status,
        "read_acl": others.get("read"),
        "write_acl": others.get("write"),
        "sync_to": others.get("sync-to"),
        "sync_key": others.get("sync-key"),
        "object_count": _number(others.get("object-count")),
        "bytes": _number(others.get("bytes-used")),
        "versions": as_text(headers.get("X-Versions-Location", "")) or None,
        "storage_policy": headers.get("X-Backend-Storage-Policy-Index", "0"),
        "cors": {
            "allow_origin": meta.get("access-control-allow-origin"),
            "expose_headers": meta.get("access-control-expose-headers"),
            "max_age": meta.get("access-control-max-age"),
        },
        "meta": meta,
        "sysmeta": sysmeta,
        "sharding_state": headers.get("X-Backend-Sharding-State", "unsharded"),
        "created_at": headers.get("X-Backend-Timestamp", "0"),
        "put_timestamp": headers.get("X-Backend-Put-Timestamp", "0"),
        "delete_timestamp": headers.get("X-Backend-Delete-Timestamp", "0"),
        "status_changed_at": headers.get("X-Backend-Status-Changed-At", "0"),
    }


def _sort_headers(
    headers: Mapping[str, str], prefix: str
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """(metadata, sysmeta, the rest with `prefix`) as text, names lower-case and without their prefixes."""
    meta: dict[str, str] = {}
    sysmeta: dict[str, str] = {}
    others: dict[str, str] = {}
    for name, value in headers.items():
        short = as_text(name).lower()
        if not short.startswith(prefix):
            continue
        short, value = short[len(prefix) :], as_text(value)
        if short.startswith("meta-"):
            meta[short[5:]] = value
        elif short.startswith("sysmeta-"):
            sysmeta[short[8:]] = value
        else:
            others[short] = value
    return meta, sysmeta, others


def _number(value: str | None) -> int:
    return int(value) if value else 0


def _with_numbers(info: Any) -> Any:
    """An info as we make it, of one that a real Swift made, or that went through JSON."""
    policies = info.get("storage_policies")
    if any(type(index) is str for index in policies or ()):
        info["storage_policies"] = {int(index): numbers for index, numbers in policies.items()}
    if type(info.get("bytes")) is not int:
        for name in ("container_count", "total_object_count", "object_count", "bytes"):
            if name in info:
                info[name] = _number(info[name])
    return info


# --- what filters call -------------------------------------------------------------------------------


def get_account_info(environ: Environ, app: WSGIApp, swift_source: str | None = None) -> AccountInfo:
    """The info of the account in the request's path; status 0 when nobody could tell."""
    _, account, _ = split_path(environ["PATH_INFO"], 2, 3, True)
    info: AccountInfo = _get_info(environ, app, account or "", None, swift_source)
    return info


def get_container_info(environ: Environ, app: WSGIApp, swift_source: str | None = None) -> ContainerInfo:
    """The info of the container in the request's path; status 0 when nobody could tell."""
    _, account, container, _ = split_path(environ["PATH_INFO"], 3, 4, True)
    info: ContainerInfo = _get_info(environ, app, account or "", container, swift_source)
    return info


def _get_info(environ: Environ, app: WSGIApp, account: str, container: str | None, source: str | None) -> Any:
    cached = environ.setdefault(INFO_CACHE, {})
    key = cache_key(as_text(account), container and as_text(container))
    if key in cached:
        return _with_numbers(cached[key])
    path = f"/v1/{account}/{container}" if container else f"/v1/{account}"
    request = make_preauthed_subrequest(environ, "HEAD", path, source=source or "GET_INFO")
    request.environ[INFO_ONLY] = True
    response = request.call(app)
    response.close()
    if key not in cached:  # a proxy that does not know INFO_ONLY
        make: Callable[[int, Mapping[str, str]], Any] = container_info if container else account_info
        cached[key] = make(response.status, response.headers)
    return cached[key]


# --- the proxy's cache ---------------------------------------------------------------------------------


class VersionTable:
    """A stamp for each bucket of names, in memory that all workers forked afterwards share.

    Stamps are unique rather than counted up: two workers that counted at once could lose one.
    """

    BUCKETS = 16384  # 8 bytes each; two names in one bucket only cost each other a look-up

    def __init__(self) -> None:
        self._table = memoryview(mmap.mmap(-1, self.BUCKETS * 8)).cast("Q")

    def read(self, key: str) -> int:
        return self._table[zlib.crc32(key.encode("utf-8", "surrogateescape")) % self.BUCKETS]

    def stamp(self, key: str) -> None:
        """Make every entry read before now worthless, in all workers."""
        bucket = zlib.crc32(key.encode("utf-8", "surrogateescape")) % self.BUCKETS
        self._table[bucket] = (time.time_ns() << 8 ^ os.getpid() << 40 ^ self._table[bucket] + 1) % 2**64


@dataclass(slots=True)
class _Entry:
    info: Any
    version: int
    expires: float  # monotonic seconds


class InfoCache:
    """Info dictionaries of this process, in front of memcached when there is one."""

    LOCAL_TTL_WITH_MEMCACHED_S = 1.0

    def __init__(
        self,
        versions: VersionTable | None = None,
        max_entries: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._versions = versions or VersionTable()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._max_entries = max_entries
        self._clock = clock

    def get(self, key: str, environ: Environ) -> Any | None:
        """The info under `key`, or None. A hit is put into the request's own cache."""
        entry = self._entries.get(key)
        if entry and entry.version == self._versions.read(key) and entry.expires > self._clock():
            environ.setdefault(INFO_CACHE, {})[key] = entry.info
            return entry.info
        memcache = environ.get(CACHE)
        info = memcache.get(key) if memcache else None
        if info:
            info = _with_numbers(info)
            self._remember(key, info, self._versions.read(key), self.LOCAL_TTL_WITH_MEMCACHED_S)
            environ.setdefault(INFO_CACHE, {})[key] = info
        return info

    def version(self, key: str) -> int:
        """The stamp to hand to `set`; read before the back end is asked."""
        return self._versions.read(key)

    def set(self, key: str, info: Any, version: int, ttl_s: float, environ: Environ) -> None:
        """Keep `info` for `ttl_s` seconds unless it was stamped since `version`."""
        environ.setdefault(INFO_CACHE, {})[key] = info
        if ttl_s <= 0:
            return
        memcache = environ.get(CACHE)
        if memcache:
            memcache.set(key, info, time=max(1, int(ttl_s)))
            ttl_s = min(ttl_s, self.LOCAL_TTL_WITH_MEMCACHED_S)
        self._remember(key, info, version, ttl_s)

    def forget(self, key: str, environ: Environ) -> None:
        """Called after a change is committed and before it is acknowledged."""
        self._versions.stamp(key)
        self._entries.pop(key, None)
        environ.get(INFO_CACHE, {}).pop(key, None)
        memcache = environ.get(CACHE)
        if memcache:
            memcache.delete(key)

    def _remember(self, key: str, info: Any, version: int, ttl_s: float) -> None:
        self._entries[key] = _Entry(info, version, self._clock() + ttl_s)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


# --- /info: what this cluster can do ------------------------------------------------------------------

_capabilities: dict[str, dict[str, Any]] = {}
_admin_capabilities: dict[str, dict[str, Any]] = {}


def register_swift_info(name: str = "swift", admin: bool = False, **values: Any) -> None:
    """Say in /info that a filter is there and what it can do; also in a real Swift's, if this runs in one."""
    registry = _admin_capabilities if admin else _capabilities
    registry.setdefault(name, {}).update(values)
    swifts = _swifts_registry()
    if swifts:
        swifts.register_swift_info(name, admin, **values)


def _swifts_registry() -> Any:
    """The module where Swift's own filters register, once one of them is loaded in this process."""
    return sys.modules.get("swift.common.registry")


_policy_names: dict[int, str] = {}


def register_policies(policies: Iterable[Policy]) -> None:
    """Let filters know the storage policies; the proxy does."""
    _policy_names.clear()
    _policy_names.update((policy.index, policy.name) for policy in policies)


def get_policy_names() -> Mapping[int, str]:
    """The name of each storage policy by its index, under which infos and sysmeta know it."""
    return _policy_names


def get_swift_info(admin: bool = False, disallowed: tuple[str, ...] = ()) -> dict[str, Any]:
    """What /info answers: sections or `section.key`s in `disallowed` only for an admin."""
    swifts = _swifts_registry()
    shown: dict[str, Any] = swifts.get_swift_info() if swifts else {}
    for section, values in _capabilities.items():
        shown[section] = {**shown.get(section, {}), **values}
    for hidden in disallowed:
        section, _, key = hidden.partition(".")
        if key:
            shown.get(section, {}).pop(key, None)
        else:
            shown.pop(section, None)
    if admin:
        shown["admin"] = {name: dict(values) for name, values in _admin_capabilities.items()}
        shown["admin"]["disallowed_sections"] = list(disallowed)
    return shown
