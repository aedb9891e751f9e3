"""Slows writers down who write too often: by account, and by how full the container is.

    account_ratelimit            PUT and DELETE of an account's containers, a second
    container_ratelimit_N        PUT, POST and DELETE of objects in containers of N objects or more
    container_listing_ratelimit_N    their listings
    X-Account-Sysmeta-Global-Write-Ratelimit: a number, WHITELIST or BLACKLIST    all writes of one account

Between two N the rate is in proportion. The counters are in the cache (`swift.cache`), so that all proxies
share them: each is the time, in ticks of 1/clock_accuracy s, up to which requests have been let through.

1. A request waits for its turn; one that would wait `max_sleep_time_seconds` gets a 498 at once.
2. Without memcached nothing is slowed down, which is said once in the log.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from miniswift import info
from miniswift.concurrency import sleep
from miniswift.config import Settings, option, positive, seconds, words
from miniswift.errors import ConfigError
from miniswift.responses import Environ, Response, StartResponse
from miniswift.wsgi import CACHE, RATELIMITED, WSGIApp, split_path

logger = logging.getLogger(__name__)

_SOURCE = "RL"
_WRITES = frozenset({"PUT", "DELETE", "POST", "COPY"})
_METHODS = _WRITES | {"GET"}
_BLACKLISTED_SLEEP_S = 1.0
_CONTAINER, _LISTING = "container_ratelimit_", "container_listing_ratelimit_"


@dataclasses.dataclass(frozen=True)
class RatelimitSettings(Settings):
    """The options of [filter:ratelimit] that have one name each."""

    account_ratelimit: float = option(seconds, "0", "containers made or deleted a second; 0 is no limit")
    max_sleep_time_seconds: float = option(seconds, "60", "seconds that a request may be held back")
    log_sleep_time_seconds: float = option(seconds, "0", "log waits longer than this; 0 logs none")
    clock_accuracy: int = option(positive, "1000", "ticks a second in the counters")
    rate_buffer_seconds: float = option(seconds, "5", "seconds of idleness that may be made up for")
    account_whitelist: tuple[str, ...] = option(words, "", "accounts that are not limited")
    account_blacklist: tuple[str, ...] = option(words, "", "accounts whose requests are refused")


class Rates:
    """Requests a second by the number of objects in a container."""

    def __init__(self, points: Iterable[tuple[int, float]]) -> None:
        self.points = sorted(points)
        self._sizes = [size for size, _ in self.points]

    @classmethod
    def of_conf(cls, conf: Mapping[str, str], prefix: str) -> Rates:
        """Of the options prefix + size. Raises ConfigError."""
        points = []
        for name, value in conf.items():
            if name.startswith(prefix):
                size = name[len(prefix) :]
                try:
                    points.append((int(size), seconds(value)))
                except ValueError:
                    problem = (
                        f"expected a number of objects in the name and of requests a second, not {value!r}"
                    )
                    raise ConfigError(problem, option=name) from None
        return cls(points)

    def at(self, size: int) -> float:
        """The rate for a container of that size; 0 is no limit."""
        index = bisect_right(self._sizes, size) - 1
        if index < 0:
            return 0
        low, rate = self.points[index]
        if index + 1 == len(self.points):
            return rate
        high, next_rate = self.points[index + 1]
        return rate + (next_rate - rate) * (size - low) / (high - low)


class TooFast(Exception):
    """Raised when a request would have to wait too long."""


class Ratelimit:
    """The filter."""

    def __init__(
        self,
        app: WSGIApp,
        settings: RatelimitSettings,
        containers: Rates,
        listings: Rates,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = sleep,
    ) -> None:
        self._app = app
        self._settings = settings
        self._containers = containers
        self._listings = listings
        self._clock = clock
        self._sleep = sleep
        self._has_warned = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in _METHODS or environ.get(RATELIMITED):
            return self._app(environ, start_response)
        try:
            version, account, container, obj = split_path(environ["PATH_INFO"], 2, 4, True)
        except ValueError:
            return self._app(environ, start_response)
        if version not in ("v1", "v1.0") or not account:
            return self._app(environ, start_response)
        cache = environ.get(CACHE)
        if not cache:
            self._warn()
            return self._app(environ, start_response)
        environ[RATELIMITED] = True
        refusal = self._hold(environ, cache, account, container, obj)
        return (refusal or self._app)(environ, start_response)

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("nothing is rate-limited: the counters need memcached, in front of ratelimit")

    def _hold(
        self, environ: Environ, cache: Any, account: str, container: str | None, obj: str | None
    ) -> Response | None:
        """Wait for the request's turn; the refusal if that is too long."""
        sysmeta = info.get_account_info(environ, self._app, _SOURCE)["sysmeta"]
        own = sysmeta.get("global-write-ratelimit", "")
        if account in self._settings.account_whitelist or own == "WHITELIST":
            return None
        if account in self._settings.account_blacklist or own == "BLACKLIST":
            logger.error("account %s is on the black list: its request is refused", account)
            self._sleep(_BLACKLISTED_SLEEP_S)
            return Response(497, {}, "Your account has been blacklisted")
        for key, rate in self._limits(environ, account, container, obj, own):
            try:
                wait_s = self._wait_s(cache, key, rate)
            except TooFast as error:
                path = environ["PATH_INFO"]
                logger.error("%s %s is refused: %s", environ["REQUEST_METHOD"], path, error)
                return Response(498, {}, "Slow down")
            if wait_s:
                if 0 < self._settings.log_sleep_time_seconds < wait_s:
                    logger.warning("%s waits %.2f s", environ["PATH_INFO"], wait_s)
                self._sleep(wait_s)
        return None

    def _limits(
        self, environ: Environ, account: str, container: str | None, obj: str | None, own: str
    ) -> Iterator[tuple[str, float]]:
        """The counters that the request moves, with their rates."""
        method = environ["REQUEST_METHOD"]
        if container and not obj:
            if method in ("PUT", "DELETE") and self._settings.account_ratelimit:
                yield f"ratelimit/{account}", self._settings.account_ratelimit
            if method == "GET":
                yield from self._of_size(environ, self._listings, f"ratelimit_listing/{account}/{container}")
        if container and obj and method in _WRITES:
            yield from self._of_size(environ, self._containers, f"ratelimit/{account}/{container}")
        if own and method in _WRITES and (rate := _number(own)) > 0:
            yield f"ratelimit/global-write/{account}", rate

    def _of_size(self, environ: Environ, rates: Rates, key: str) -> Iterator[tuple[str, float]]:
        if rates.points:
            rate = rates.at(info.get_container_info(environ, self._app, _SOURCE)["object_count"])
            if rate:
                yield key, rate

    def _wait_s(self, cache: Any, key: str, rate: float) -> float:
        """Seconds to wait for a turn, which is taken. Raises TooFast."""
        ticks_a_second = self._settings.clock_accuracy
        now = round(self._clock() * ticks_a_second)
        step = round(ticks_a_second / rate)
        reached = cache.incr(key, delta=step)
        if now - reached > self._settings.rate_buffer_seconds * ticks_a_second:
            cache.set(key, str(now + step), serialize=False)  # it has been idle: count from now on
            return 0
        wait = max(reached - now - step, 0)
        if wait >= self._settings.max_sleep_time_seconds * ticks_a_second * 0.99:
            cache.decr(key, delta=step)
            raise TooFast(f"it would wait {wait / ticks_a_second:.2f} s")
        return float(wait / ticks_a_second)


def _number(text: str) -> float:
    try:
        return seconds(text)
    except ValueError:
        return 0


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], Ratelimit]:
    conf = {**global_conf, **local_conf}
    settings = RatelimitSettings.from_conf(conf, local_conf, also=(f"{_CONTAINER}*", f"{_LISTING}*"))
    containers, listings = Rates.of_conf(conf, _CONTAINER), Rates.of_conf(conf, _LISTING)
    info.register_swift_info(
        "ratelimit",
        account_ratelimit=settings.account_ratelimit,
        max_sleep_time_seconds=settings.max_sleep_time_seconds,
        container_ratelimits=containers.points,
        container_listing_ratelimits=listings.points,
    )
    return lambda app: Ratelimit(app, settings, containers, listings)
