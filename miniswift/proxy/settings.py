"""The options of [app:proxy-server], with Swift's names and defaults."""

from __future__ import annotations

import dataclasses

from miniswift.client import ClientSettings
from miniswift.config import boolean, count, option, positive, seconds, spaced_words, text, words

_OWNER_HEADERS = (
    "x-container-read, x-container-write, x-container-sync-key, x-container-sync-to, "
    "x-account-meta-temp-url-key, x-account-meta-temp-url-key-2, "
    "x-container-meta-temp-url-key, x-container-meta-temp-url-key-2, x-account-access-control"
)


@dataclasses.dataclass(frozen=True)
class ProxySettings(ClientSettings):
    """What the proxy application can be told."""

    swift_dir: str = option(text, "/etc/swift", "folder of swift.conf and the rings")
    client_timeout: float = option(seconds, "60", "seconds to wait for a client to send or take more")
    client_chunk_size: int = option(positive, "65536", "bytes read from a client at a time")
    recheck_account_existence: float = option(seconds, "60", "seconds an account's info is cached")
    recheck_container_existence: float = option(seconds, "60", "seconds a container's info is cached")
    account_autocreate: bool = option(boolean, "false", "make accounts when they are first written to")
    allow_account_management: bool = option(boolean, "false", "let PUT and DELETE of accounts through")
    allow_open_expired: bool = option(boolean, "false", "show expired objects to who says X-Open-Expired")
    max_containers_per_account: int = option(count, "0", "containers an account may have; 0 is no limit")
    max_containers_whitelist: tuple[str, ...] = option(words, "", "accounts without that limit")
    deny_host_headers: tuple[str, ...] = option(words, "", "names in Host that are refused")
    swift_owner_headers: tuple[str, ...] = option(words, _OWNER_HEADERS, "shown to owners only")
    expose_info: bool = option(boolean, "true", "answer /info")
    disallowed_sections: tuple[str, ...] = option(
        words, "swift.valid_api_versions", "sections of /info for the admin only"
    )
    admin_key: str = option(text, "", "key of the admin's signature on /info; none when empty")
    cors_allow_origin: tuple[str, ...] = option(words, "", "origins allowed for every container")
    cors_expose_headers: tuple[str, ...] = option(words, "", "headers shown to browsers everywhere")
    strict_cors_mode: bool = option(boolean, "true", "no CORS headers for origins that are not allowed")
    expiring_objects_account_name: str = option(text, "expiring_objects", "account of the expirer's queue")
    expiring_objects_container_divisor: int = option(
        positive, "86400", "seconds of expiry that share a container of the queue"
    )
    auto_create_account_prefix: str = option(text, ".", "accounts for the servers' own use")
    write_affinity: tuple[str, ...] = option(spaced_words, "", "accepted; one machine has no far nodes")
