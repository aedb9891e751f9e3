"""Measures what each filter costs a request that it has nothing to do with, in microseconds.

    python -m benchmarks.filters [--save]

The request is a GET of an object with a token, as it comes to the filter in a pipeline; the application
behind answers with the headers that an object has. What that alone costs is taken off, and what looking
up account and container costs, which the proxy does anyway. authtoken is measured by benchmarks.tokens.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import timeit
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

from miniswift.config import reading
from miniswift.info import account_info, cache_key, container_info
from miniswift.responses import Environ, StartResponse
from miniswift.wsgi import AUTHORIZE, INFO_CACHE, WSGIApp, allow_all, blank_environ

RESULTS = Path(__file__).parent / "results" / "filters.txt"
LIMIT_US = 15
ROUNDS, TIMES = 15, 2000
# Filters that need something to be made, or are about every request.
OPTIONS = {"authtoken": {"admin_token": "x", "auth_protocol": "http"}, "tempauth": {"user_a_b": "c"}}
HEADERS = {
    "X-Auth-Token": "0" * 32,
    "User-Agent": "benchmark",
    "Accept": "*/*",
    "X-Identity-Status": "Confirmed",
    "X-Project-Id": "a",
    "X-User-Id": "u",
    "X-Roles": "swiftoperator",
}
# The proxy looks at these for every request; who looks first pays for all.
INFOS = {cache_key("AUTH_a"): account_info(204, {}), cache_key("AUTH_a", "c"): container_info(204, {})}
BODY = [bytes(1024)]
ANSWER = [
    ("Content-Type", "application/octet-stream"),
    ("Content-Length", "1024"),
    ("Etag", '"d41d8cd98f00b204e9800998ecf8427e"'),
    ("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ("X-Timestamp", "1700000000.00000"),
    ("Accept-Ranges", "bytes"),
    ("X-Object-Meta-Color", "blue"),
]


def application(_environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", ANSWER)
    return BODY


def cost_us(app: WSGIApp) -> float:
    """What a request costs."""
    made = blank_environ("/v1/AUTH_a/c/o", "GET", HEADERS)
    made |= {AUTHORIZE: allow_all, "REMOTE_USER": ("a", "n"), "REMOTE_ADDR": "127.0.0.1", INFO_CACHE: INFOS}

    def request() -> None:
        for _ in app(dict(made), lambda *_: None):
            pass

    rounds = timeit.repeat(request, number=TIMES, repeat=ROUNDS)
    return 1e6 * statistics.median(sorted(rounds)[: ROUNDS // 2]) / TIMES


def filters() -> dict[str, Callable[[WSGIApp], WSGIApp]]:
    """Name → the filter, with its defaults."""
    found = {}
    for entry in sorted(distribution("miniswift").entry_points, key=lambda entry: entry.name):
        if entry.group == "paste.filter_factory" and entry.name not in ("authtoken", "memcache"):
            with reading("benchmark", f"filter:{entry.name}"):
                found[entry.name] = entry.load()({}, **OPTIONS.get(entry.name, {}))
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filters", description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write results/{RESULTS.name}")
    options = parser.parse_args(arguments)
    alone = cost_us(application)
    lines = []
    for name, make in filters().items():
        cost = cost_us(make(application)) - alone
        lines.append(f"{name:<20}{max(cost, 0):6.1f} us{'' if cost < LIMIT_US else '   more than it should'}")
        print(lines[-1], flush=True)
    if options.save:
        RESULTS.write_text("\n".join(["python -m benchmarks.filters", "", *lines, ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
