"""Runs Swift's browser tests of CORS in a headless Chromium; see `make cors`.

Upstream's `test/cors` is a page that makes requests from one origin to a store at another, and says how each
went. Its own driver needs an old selenium, so ours opens the page; what it makes beforehand it makes.

Exit status 0 when nothing fails but `KNOWN`, and what needs a filter that the store's /info does not name.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from tests.conformance.auth import Tempauth
from tests.conformance.roots import scratch_root
from tests.conformance.store import make_accounts, make_store, use_swifts_filters
from tests.conformance.suite import Suite
from tests.functional.browser import chromium, web_site
from tests.functional.client import Client
from tests.functional.cluster import ServeProcess
from tests.functional.processes import wait_until

TIMEOUT_S = 180
HOST = "localhost"  # of the page; the store is asked at 127.0.0.1
# Groups of tests, by the start of their names → the section of /info without which they are left out.
NEEDED = {"slo": "slo", "symlink": "symlink", "s3": "s3api", "S3": "s3api"}
# Tests whose failing is meant, and why.
KNOWN = {"large object - GET DLO with unlistable segments": "pages can read errors; it wants this one hidden"}

Result = tuple[str, str, str]  # PASS or FAIL or …, the test's name, details


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    suite = Suite(options.suite_python.absolute(), options.suite_source.absolute())
    suite.check()
    if options.auth:
        return _report(_run(suite, (options.auth, options.user, options.key)), options.auth)
    auth = Tempauth()
    with scratch_root(None) as scratch:
        store = make_store(scratch / "data", auth)
        use_swifts_filters(store, options.swifts.split())
        return _of_own_store(suite, store, auth)


def _of_own_store(suite: Suite, store: ServeProcess, auth: Tempauth) -> int:
    with store:
        make_accounts(store, auth)
        login = (auth.url(store), "test:tester", "testing")
        return _report(_run(suite, login), login[0])


def _run(suite: Suite, login: tuple[str, str, str]) -> list[Result]:
    """What the page says of each of its tests."""
    folder = suite.source / "test" / "cors"
    auth, user, key = login
    with web_site(folder) as origin, chromium() as driver:
        port = urlsplit(origin).port
        environ = {**os.environ, "ST_AUTH": auth, "ST_USER": user, "ST_KEY": key, "PYTHONWARNINGS": "ignore"}
        command = [suite.python, folder / "main.py", "--no-serve", "--no-run", "-H", HOST, "-P", str(port)]
        subprocess.run(list(map(str, command)), env=environ, check=True)
        with Client.login(login) as client:
            storage = client.url
        fields = {
            "OS_AUTH_URL": auth, "OS_USERNAME": user, "OS_PASSWORD": key, "OS_STORAGE_URL": storage,
            "S3_ENDPOINT": storage.partition("/v1")[0], "S3_USER": user, "S3_KEY": key,
        }  # fmt: skip
        driver.get(f"http://{HOST}:{port}/#{urlencode(fields)}")
        wait_until(
            lambda: driver.find_element("id", "status").text.startswith("Complete"), TIMEOUT_S, "the tests"
        )
        rows = driver.find_elements("css selector", "#results > tr")
        return [tuple(cell.text for cell in row.find_elements("tag name", "td")[:3]) for row in rows]  # type: ignore[misc]


def _report(results: list[Result], auth: str) -> int:
    """Print what failed, and a count; 1 if something failed that should not."""
    with urllib.request.urlopen(f"{auth.partition('/auth')[0]}/info", timeout=30) as answer:
        info = json.load(answer)
    counts: Counter[str] = Counter()
    for status, name, details in results:
        needed = next((section for start, section in NEEDED.items() if name.startswith(start)), None)
        if status != "PASS" and needed and needed not in info:
            counts[f"need {needed}"] += 1
            continue
        if status == "FAIL" and name in KNOWN:
            status = "known"
            print(f"known: {name} ({KNOWN[name]})")
        counts[status] += 1
        if status not in ("PASS", "SKIP", "known"):
            print(f"{status} {name}: {details}")
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    failed = set(counts) - {"PASS", "SKIP", "known", *(f"need {section}" for section in NEEDED.values())}
    return 1 if failed or not counts["PASS"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.cors", description="CORS in a browser")
    parser.add_argument(
        "--auth", metavar="URL", help="v1 authentication of another store (default: one of its own)"
    )
    parser.add_argument("--user", default="test:tester", help="there (default: %(default)s)")
    parser.add_argument("--key", default="testing", help="there (default: %(default)s)")
    parser.add_argument(
        "--swifts",
        default="",
        metavar="NAMES",
        help="filters of a real Swift's in the place of ours, e.g. 'slo symlink'",
    )
    parser.add_argument("--suite-python", type=Path, default=Suite.python, help=argparse.SUPPRESS)
    parser.add_argument("--suite-source", type=Path, default=Suite.source, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
