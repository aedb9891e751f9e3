"""The list of revoked tokens: signed by Keystone, fetched again and again while somebody asks.

    age      0 … revocation_cache_time … 6 times that … older
    answer   from memory │ from memory, a fetch │ after a fetch,
                         │ in the background    │ or not at all

1. A list counts only if Keystone signed it.
2. It is never believed past its bound: then there is no telling what is revoked.
3. Processes share one file of it: who finds it fresh there does not fetch.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from miniswift import cms, signed_tokens
from miniswift.concurrency import spawn_n

from .keystone_client import V2, V3, IdentityUnavailable, Keystone, json_object
from .signing_certificates import SigningCertificates
from .signing_files import SigningFiles
from .token_cache import SingleFlight

logger = logging.getLogger(__name__)

LIST_FILE = "revoked.pem"
MAX_AGE_FACTOR = 6  # times revocation_cache_time

_PATHS = {V2: "/tokens/revoked", V3: "/auth/tokens/OS-PKI/revoked"}
_RETRY_DELAY_S = 5.0  # at least, after a fetch that failed in the background


class RevocationList:
    """Which tokens are revoked."""

    def __init__(
        self,
        keystone: Keystone,
        certificates: SigningCertificates,
        files: SigningFiles,
        *,
        cache_time_s: float,
        hash_algorithms: tuple[str, ...],
        clock: Callable[[], float] = time.time,
        start: Callable[[Callable[[], None]], object] = spawn_n,
    ) -> None:
        """`start` runs something in the background."""
        self._keystone = keystone
        self._certificates = certificates
        self._files = files
        self._cache_time_s = cache_time_s
        self._algorithms = hash_algorithms
        self._clock = clock
        self._start = start
        self._ids: frozenset[str] = frozenset()
        self._fetched_at = float("-inf")
        self._next_refresh = float("-inf")
        self._generation = 0
        self._flights: SingleFlight[None] = SingleFlight()

    def has(self, token: str, body: Mapping[str, Any]) -> bool:
        """Whether a token is revoked. Raises IdentityUnavailable if that cannot be told."""
        if self._age() > self._cache_time_s * MAX_AGE_FACTOR:
            self._refresh()
        return self.is_known(self.ids_of(token, body))

    def is_known(self, ids: frozenset[str]) -> bool:
        """Whether the list as it is now has one of these ids."""
        self._keep_fresh()
        return not self._ids.isdisjoint(ids)

    @property
    def generation(self) -> int:
        """A number that changes with the list."""
        self._keep_fresh()
        return self._generation

    def ids_of(self, token: str, body: Mapping[str, Any]) -> frozenset[str]:
        """Under which ids the list would have a token: hashes of its text, and the body's audit id."""
        # Text can be altered without breaking the signature; the audit id is signed.
        part = body.get("token") or body.get("access", {}).get("token") or {}
        audit_ids = part.get("audit_ids") or ()
        return frozenset([*signed_tokens.token_ids(token, self._algorithms), *audit_ids[:1]])

    # --- keeping it ------------------------------------------------------------------------------

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _keep_fresh(self) -> None:
        now = self._clock()
        if now - self._fetched_at > self._cache_time_s and now >= self._next_refresh:
            self._next_refresh = now + max(self._cache_time_s, _RETRY_DELAY_S)
            self._start(self._refresh_in_background)

    def _refresh_in_background(self) -> None:
        try:
            self._refresh()
        except IdentityUnavailable as error:
            logger.warning("the list of revoked tokens could not be fetched: %s", error)

    def _refresh(self) -> None:
        self._flights.call("", self._refresh_once)

    def _refresh_once(self) -> None:
        now = self._clock()
        if self._take_kept(now - self._cache_time_s):
            return
        try:
            self._fetch(now)
        except IdentityUnavailable:
            if not self._take_kept(now - self._cache_time_s * MAX_AGE_FACTOR):
                raise

    def _take_kept(self, since: float) -> bool:
        """Use the list in the folder if it is newer than ours and than `since`; whether that was done."""
        kept_at = self._files.time_of(LIST_FILE)
        if kept_at is None or kept_at <= self._fetched_at or kept_at < since:
            return False
        try:
            self._take(self._files.read(LIST_FILE) or b"", kept_at)
        except (cms.CMSError, ValueError) as error:
            logger.warning("%s in signing_dir is not used: %s", LIST_FILE, error)
            return False
        return True

    def _fetch(self, now: float) -> None:
        response = self._keystone.get(_PATHS)
        if response.status_code in (401, 403, 404, 410):
            raise IdentityUnavailable(f"Keystone shows no list of revoked tokens: {response.status_code}")
        signed = json_object(response).get("signed")
        try:
            content = str(signed).encode()
            self._take(content, now)
        except (cms.CMSError, ValueError) as error:
            raise IdentityUnavailable(f"Keystone's list of revoked tokens is no good: {error}") from None
        self._files.write(LIST_FILE, content, now)

    def _take(self, pem: bytes, fetched_at: float) -> None:
        """Use a list. Raises CMSError, ValueError for what is signed but no list, and IdentityUnavailable."""
        document = json.loads(self._certificates.read(cms.from_pem(pem)))
        entries = document.get("revoked") if isinstance(document, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("what is signed is no such list")
        ids = frozenset(
            str(entry[name]) for entry in entries for name in ("id", "audit_id") if entry.get(name)
        )
        self._fetched_at = fetched_at
        if ids != self._ids:
            logger.info("the list of revoked tokens has changed: it has %d entries", len(entries))
            self._ids = ids
            self._generation += 1
