"""The memcached client behind `swift.cache`: Swift's interface and wire format on python-memcached.

Keys are hashed to one of the servers as Swift hashes them, and values are JSON marked as Swift marks it,
so that miniswift and Swift proxies can share a cache.

1. Nothing is ever unpickled, whatever the flags of a value say: a cache is no place for code.
2. A cache that fails is a cache that misses. A server that does not answer is left alone for a while,
   with one line in the log when it goes and one when it is back.
3. A connection is used by one green thread at a time, and there are never more than `max_connections`
   to a server.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import memcache

from miniswift.concurrency import Empty, LightQueue, socket
from miniswift.errors import MiniswiftError

logger = logging.getLogger(__name__)

_JSON_FLAG = 2
_PICKLE_FLAG = 1
_POINTS_ON_RING = 50  # of each server
_FIRST_PAUSE_S = 1.0  # after a failure, until there were too many of them
_LONGEST_RELATIVE_TTL_S = 30 * 24 * 3600  # memcached takes more than that for a date


class CacheError(MiniswiftError):
    """Raised by get and set with raise_on_error when no server answers."""


class _Lost(MiniswiftError):
    """Raised when a connection cannot be used any more; the text says why."""


@dataclass(frozen=True)
class Limits:
    """How long and how often to try; times in seconds."""

    connect_timeout: float = 0.3
    io_timeout: float = 2.0
    pool_timeout: float = 1.0  # to wait for a connection that others use
    max_connections: int = 2  # to each server
    tries: int = 3  # servers, one after the other
    error_limit: int = 10  # failures in a row before a server rests for error_interval
    error_interval: float = 60.0
    tls: Any = None  # an SSL context of miniswift.concurrency


class Memcached:
    """A client of several servers with the methods of Swift's own."""

    def __init__(
        self,
        addresses: Sequence[str],
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Addresses are `host`, `host:port` or `[ipv6]:port`. Raises ValueError for any other form."""
        limits = limits or Limits()
        self._tries = min(limits.tries, len(addresses))
        servers = {address: _Server(address, limits, clock) for address in addresses}
        points = (
            sorted(
                (_hashed(f"{address}-{n}"), servers[address])
                for address in sorted(servers)
                for n in range(_POINTS_ON_RING)
            )
            if len(servers) > 1
            else []
        )
        self._points = [point for point, _ in points]
        self._servers = [server for _, server in points] or list(servers.values())

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        """The value under `key`; None if there is none or nobody answers."""
        hashed = _hashed(key)
        return self._ask(hashed, lambda client: client.get(hashed), None, raise_on_error)

    def set(
        self,
        key: str,
        value: Any,
        serialize: bool = True,
        time: float = 0,
        min_compress_len: int = 0,
        raise_on_error: bool = False,
    ) -> None:
        """Keep `value` for `time` seconds, or as long as there is room if that is 0."""
        hashed, ttl, stored = _hashed(key), _ttl(time), _stored(value, serialize)
        self._ask(hashed, lambda client: client.set(hashed, stored, ttl), None, raise_on_error)

    def delete(self, key: str, server_key: str | None = None) -> None:
        hashed = _hashed(key)
        self._ask(_hashed(server_key) if server_key else hashed, lambda client: client.delete(hashed), None)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """Add to a counter, made with `time` seconds to live if there is none, and return its value.

        A counter cannot fall below 0. When nobody answers the value is that of a new counter.
        """
        hashed, ttl, delta = _hashed(key), _ttl(time), int(delta)
        start = max(delta, 0)
        value: int = self._ask(hashed, lambda client: _count(client, hashed, delta, start, ttl), start)
        return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """Subtract from a counter; see incr."""
        return self.incr(key, -int(delta), time)

    def set_multi(
        self,
        mapping: Mapping[str, Any],
        server_key: str,
        serialize: bool = True,
        time: float = 0,
        min_compress_len: int = 0,
    ) -> None:
        """Keep several values on the server that `server_key` hashes to."""
        values = {_hashed(key): _stored(value, serialize) for key, value in mapping.items()}
        ttl = _ttl(time)
        self._ask(_hashed(server_key), lambda client: client.set_multi(values, ttl), None)

    def get_multi(self, keys: Iterable[str], server_key: str) -> list[Any]:
        """The values of `keys`, None for each that is missing."""
        hashed = [_hashed(key) for key in keys]
        found: dict[str, Any] = self._ask(_hashed(server_key), lambda client: client.get_multi(hashed), {})
        return [found.get(key) for key in hashed]

    def _ask(
        self, hashed: str, question: Callable[[Any], Any], default: Any, raise_on_error: bool = False
    ) -> Any:
        """The answer of the first server that gives one."""
        for server in self._candidates(hashed):
            try:
                return server.ask(question)
            except _Lost:
                continue
        if raise_on_error:
            raise CacheError("no memcached answers")
        return default

    def _candidates(self, hashed: str) -> list[_Server]:
        if not self._points:
            return self._servers
        found: list[_Server] = []
        # Swift goes on by one before it looks, so we do: the same key must mean the same server.
        place = bisect(self._points, hashed)
        while len(found) < self._tries:
            place = (place + 1) % len(self._points)
            if self._servers[place] not in found:
                found.append(self._servers[place])
        return found


class _Server:
    """One memcached: its connections, and whether to leave it alone."""

    def __init__(self, address: str, limits: Limits, clock: Callable[[], float]) -> None:
        self._address = _library_address(address)
        self._limits = limits
        self._clock = clock
        self._idle = LightQueue()  # clients that nobody uses at the moment
        self._clients = 0  # idle or in use
        self._failures = 0  # in a row
        self._resting_until = 0.0

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """Put a question to a client. Raises _Lost when the server does not answer or rests."""
        if self._failures:
            self._let_one_through()
        failures = self._failures
        client = self._take()
        try:
            if self._failures > failures:
                raise _Lost("failed others while we waited")
            answer = self._ask_twice(client, question)
        except _Lost as problem:
            if self._failures == failures:
                self._note_failure(str(problem))
            raise
        finally:
            self._idle.put(client)
        if self._failures:
            self._failures = 0
            logger.warning("memcached %s answers again", self._address)
        return answer

    def _ask_twice(self, client: _Client, question: Callable[[Any], Any]) -> Any:
        """A connection that lay idle may have been closed by the server meanwhile, so try a new one."""
        was_open = client.connection.socket is not None
        try:
            return question(client)
        except _Lost:
            if not was_open or client.connection.has_timed_out:
                raise
        except ValueError as error:
            client.connection.mark_dead(f"it does not speak memcached's protocol: {error}")
        except BaseException:  # a time limit of the caller's: the rest of the answer is still to come
            client.connection.close_socket()
            raise
        return question(client)

    def _take(self) -> _Client:
        if self._idle.qsize() == 0 and self._clients < self._limits.max_connections:
            self._clients += 1
            return _Client([_Connection(self._address, self._limits)])
        try:
            client: _Client = self._idle.get(timeout=self._limits.pool_timeout)
        except Empty:
            raise _Lost("all connections are in use") from None
        return client

    def _let_one_through(self) -> None:
        """Raise _Lost while the server rests. After that one question goes, and the others still wait."""
        now = self._clock()
        if now < self._resting_until:
            raise _Lost("resting")
        self._resting_until = now + self._pause_s()

    def _note_failure(self, problem: str) -> None:
        self._failures += 1
        self._resting_until = self._clock() + self._pause_s()
        if self._failures == 1:
            logger.warning("memcached %s is left alone for a while: %s", self._address, problem)

    def _pause_s(self) -> float:
        many = self._failures > self._limits.error_limit
        return self._limits.error_interval if many else min(_FIRST_PAUSE_S, self._limits.error_interval)


# What python-memcached calls a host is a connection, and it makes those of a client anew for each thread.
# A client of ours has one connection, made outside and shared by whoever uses the client in turn.


class _Client(memcache.Client):  # type: ignore[misc]
    """The protocol: python-memcached, with values as Swift marks them."""

    connection: _Connection

    def set_servers(self, servers: list[_Connection]) -> None:
        self.connection = servers[0]
        self.servers = servers
        self._init_buckets()

    def _val_to_store_info(self, val: tuple[int, bytes], _min_compress_len: int) -> Any:
        flags, data = val
        return (flags, len(data), data) if len(data) <= self.server_max_value_length else 0

    def _recv_value(self, server: _Connection, flags: int, rlen: int) -> Any:
        data = server.recv(rlen + 2)[:-2]
        if flags & _PICKLE_FLAG:
            return None
        if not flags & _JSON_FLAG:
            return data
        try:
            return json.loads(data)
        except ValueError:
            return None


class _Connection(memcache._Host):  # type: ignore[misc]
    """A connection that raises _Lost, where the library would keep quiet and answer None."""

    socket: Any  # None while there is no connection

    def __init__(self, address: str, limits: Limits) -> None:
        super().__init__(address)
        self._limits = limits
        self.has_timed_out = False

    def mark_dead(self, reason: object) -> NoReturn:
        self.close_socket()
        self.has_timed_out = isinstance(reason, TimeoutError)
        raise _Lost(str(reason))

    def _get_socket(self) -> Any:
        if self.socket is None:
            self.buffer = b""
            try:
                self.socket = self._connected()
            except OSError as error:
                self.mark_dead(error)
        return self.socket

    def _connected(self) -> Any:
        connected = socket.create_connection(self.address, timeout=self._limits.connect_timeout)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._limits.tls:
            connected = self._limits.tls.wrap_socket(connected, server_hostname=self.ip)
        connected.settimeout(self._limits.io_timeout)
        return connected


def _count(client: _Client, key: str, delta: int, start: int, ttl: int) -> int:
    change = client.incr if delta >= 0 else client.decr
    try:
        value: int | None = change(key, abs(delta))
        if value is None:
            if client.add(key, (0, str(start).encode()), ttl):
                return start
            value = change(key, abs(delta))  # made by somebody else meanwhile
    except ValueError:  # there is something that is no number
        return start
    return start if value is None else value


def _hashed(key: str) -> str:
    return hashlib.md5(key.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def _ttl(seconds: float) -> int:
    return int(seconds + time.time()) if seconds > _LONGEST_RELATIVE_TTL_S else int(seconds)


def _stored(value: Any, serialize: bool) -> tuple[int, bytes]:
    """(flags, data)"""
    if serialize:
        return _JSON_FLAG, json.dumps(value.decode() if isinstance(value, bytes) else value).encode()
    return 0, value if isinstance(value, bytes) else str(value).encode()


def _library_address(address: str) -> str:
    host, port = address, ""
    if address.startswith("["):
        host, _, port = address[1:].partition("]")
        port = port.removeprefix(":")
    elif address.count(":") == 1:
        host, _, port = address.partition(":")
    if not host or not (port or "11211").isdecimal():
        raise ValueError(f"{address!r} is not an address of a memcached")
    port = port or "11211"
    return f"inet6:[{host}]:{port}" if ":" in host else f"{host}:{port}"
