"""Where answers about tokens are kept between requests.

`LocalCache` is this process's memory; `SharedCache` is the memcache client in the environ, in the form
keystonemiddleware keeps there; `SingleFlight` lets many requests with one token wait for one answer.

1. No token is a key: callers hash them first.
2. A shared entry is as old as it may be when it is read, so the local copy of it lives shorter.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from miniswift.concurrency import Event
from miniswift.errors import MiniswiftError

V = TypeVar("V")

INVALID = "invalid"  # the shared entry of a token that was refused


class LocalCache(Generic[V]):
    """The entries used last, each until its time."""

    def __init__(self, max_entries: int = 2000, clock: Callable[[], float] = time.time) -> None:
        self._entries: OrderedDict[str, tuple[float, V]] = OrderedDict()  # key → (until when, value)
        self._max_entries = max_entries
        self._clock = clock

    def get(self, key: str) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: str, value: V, ttl_s: float) -> None:
        self._entries[key] = (self._clock() + ttl_s, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


class SharedCache:
    """Token bodies in memcached, under the keys and in the form keystonemiddleware uses."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, key: str) -> Any | None:
        """The body kept under `key`, INVALID, or None; None as well for what is no JSON."""
        kept = self._client.get(f"tokens/{key}")
        if not isinstance(kept, (str, bytes)):
            return kept
        try:
            body = json.loads(kept)
        except ValueError:
            return None
        # Before there was Keystone v3, the entry was the body and when it expires.
        return body[0] if isinstance(body, list) and len(body) == 2 else body

    def set(self, key: str, body: Any, ttl_s: float) -> None:
        self._client.set(f"tokens/{key}", json.dumps(body), time=max(1, int(ttl_s)))


class SingleFlight(Generic[V]):
    """Calls for one key at a time: whoever comes while it runs gets what it returns or raises."""

    def __init__(self) -> None:
        self._running: dict[str, Any] = {}  # key → the Event of the call under way

    def call(self, key: str, function: Callable[[], V]) -> V:
        while key in self._running:
            outcome = self._running[key].wait()
            if isinstance(outcome, MiniswiftError):
                raise outcome.with_traceback(None)
            if outcome is not None:
                return outcome[0]  # type: ignore[no-any-return]
            # Its caller went away in the middle (a timeout, a closed connection): the next one tries.
        return self._lead(key, function)

    def _lead(self, key: str, function: Callable[[], V]) -> V:
        landed = self._running[key] = Event()
        outcome: tuple[V] | MiniswiftError | None = None
        try:
            result = function()
            outcome = (result,)
            return result
        except MiniswiftError as error:
            outcome = error
            raise
        finally:
            del self._running[key]
            landed.send(outcome)
