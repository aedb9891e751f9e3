"""Where requests spend their CPU time: a profile of every worker, put together at /__profile__.

    GET     /__profile__?limit=50&sort=cumulative&format=text|json|pstats
    DELETE  /__profile__    forget what was measured until now

The profiler is yappi, which knows green threads. Each worker notes what it has measured in a file every
`dump_interval` seconds, and a GET adds the files up; so its numbers may be that old.

Whoever reaches the proxy may look, and measuring costs every request: this is for a while, for one's own use.
"""

from __future__ import annotations

import dataclasses
import glob
import io
import json
import logging
import os
import pstats
import time
from collections.abc import Callable, Iterable
from typing import Any

from miniswift.config import Settings, count, is_true, option, seconds, text
from miniswift.errors import ConfigError
from miniswift.responses import Environ, HTTPError, Response, StartResponse
from miniswift.wsgi import Request, WSGIApp

logger = logging.getLogger(__name__)

_SORTS = ("calls", "cumulative", "filename", "line", "module", "name", "nfl", "stdname", "time")


def _clock(value: str) -> str:
    if value.strip() not in ("cpu", "wall"):
        raise ValueError("expected cpu or wall")
    return value.strip()


@dataclasses.dataclass(frozen=True)
class XprofileSettings(Settings):
    """The options of [filter:xprofile]."""

    log_filename_prefix: str = option(
        text,
        "/tmp/log/swift/profile/default.profile",
        "what the files' names begin with; workers add their ids",
    )
    dump_interval: float = option(seconds, "5.0", "seconds between two writes of a worker's file")
    path: str = option(text, "__profile__", "where the result is shown")
    clock: str = option(_clock, "cpu", "what is measured: cpu time, or wall time with all waiting")


class Xprofile:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: XprofileSettings) -> None:
        try:
            import yappi
        except ImportError:
            problem = "needs yappi: pip install miniswift[profile]"
            raise ConfigError(problem, section="filter:xprofile") from None
        self._app = app
        self._settings = settings
        self._yappi = yappi
        self._path = f"/{settings.path.strip('/')}"
        self._pid = 0  # of the worker that measures
        self._next_dump = 0.0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].rstrip("/") == self._path:
            try:
                return self._show(Request(environ))(environ, start_response)
            except HTTPError as error:
                return error.response(environ, start_response)
        self._measure()
        return self._app(environ, start_response)

    def _measure(self) -> None:
        """Measure from the first request on: what the master measured would not be this worker's."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._yappi.stop()
            self._yappi.clear_stats()
            self._yappi.set_context_backend("greenlet")
            self._yappi.set_clock_type(self._settings.clock)
            os.makedirs(os.path.dirname(self._settings.log_filename_prefix) or ".", exist_ok=True)
            self._yappi.start()
        if time.monotonic() >= self._next_dump:
            self._dump()

    def _dump(self) -> None:
        self._next_dump = time.monotonic() + self._settings.dump_interval
        final = f"{self._settings.log_filename_prefix}.{self._pid}"
        temporary = f"{self._settings.log_filename_prefix}-{self._pid}.new"
        self._yappi.get_func_stats().save(temporary, type="pstat")
        os.replace(temporary, final)

    def _files(self) -> list[str]:
        return sorted(glob.glob(f"{glob.escape(self._settings.log_filename_prefix)}.*"))

    # --- the page --------------------------------------------------------------------------------

    def _show(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._forget()
            return Response(204)
        if request.method not in ("GET", "HEAD"):
            return Response(405, {"Allow": "DELETE, GET, HEAD"})
        self._measure()
        self._dump()
        stats = pstats.Stats(*self._files(), stream=io.StringIO())
        params = request.params
        sort, limit = params.get("sort", "cumulative"), _limit(params.get("limit", "50"))
        if sort not in _SORTS:
            raise HTTPError(400, f"sort is one of: {', '.join(_SORTS)}")
        if is_true(params.get("fullpath")) is False:
            stats.strip_dirs()
        stats.sort_stats(sort)
        kind = params.get("format", "text")
        if kind == "json":
            return Response(
                200, {"Content-Type": "application/json"}, json.dumps(_rows(stats, limit)).encode()
            )
        if kind == "pstats":
            return Response(200, {"Content-Type": "application/octet-stream"}, _file_of(stats))
        if kind != "text":
            raise HTTPError(400, "format is one of: text, json, pstats")
        stats.print_stats(limit)
        shown: io.StringIO = stats.stream  # type: ignore[attr-defined]
        return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, shown.getvalue().encode())

    def _forget(self) -> None:
        for file in self._files():
            os.unlink(file)
        self._yappi.clear_stats()


def _limit(value: str) -> int:
    try:
        return count(value)
    except ValueError as error:
        raise HTTPError(400, f"limit: {error}") from None


def _rows(stats: pstats.Stats, limit: int) -> list[dict[str, Any]]:
    table: dict[Any, Any] = stats.stats  # type: ignore[attr-defined]
    rows = []
    for key in (stats.fcn_list or list(table))[:limit]:  # type: ignore[attr-defined]
        file, line, name = key
        primitive, calls, own_s, cumulative_s, _ = table[key]
        rows.append(
            {
                "file": file, "line": line, "function": name, "calls": calls, "primitive_calls": primitive,
                "own_seconds": own_s, "cumulative_seconds": cumulative_s,
            }
        )  # fmt: skip
    return rows


def _file_of(stats: pstats.Stats) -> bytes:
    import marshal

    return marshal.dumps(stats.stats)  # type: ignore[attr-defined]


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], Xprofile]:
    settings = XprofileSettings.from_conf({**global_conf, **local_conf}, local_conf)
    return lambda app: Xprofile(app, settings)
