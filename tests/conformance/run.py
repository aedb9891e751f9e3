"""Runs Swift's functional tests against `miniswift serve`; see `make conformance`.

Exit status 0 when nothing fails but what `known` lists, 1 when something else does, 2 when the tests could
not be run.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.conformance.auth import AUTHS, Auth
from tests.conformance.known import KNOWN
from tests.conformance.report import Report
from tests.conformance.roots import NoFileSystem, scratch_root
from tests.conformance.store import make_accounts, make_store, use_swifts_filters
from tests.conformance.suite import CHECKOUT, Suite, SuiteMissing
from tests.functional.cluster import ServeProcess
from tests.functional.processes import NeverHappened


def main(arguments: list[str] | None = None) -> int:
    options, selection = _parser().parse_known_args(arguments)
    suite = Suite(options.suite_python.absolute(), options.suite_source.absolute())
    failures = 0
    try:
        suite.check()
        for name in options.auth or AUTHS:
            failures += _run(suite, AUTHS[name], options, selection)
    except (NoFileSystem, SuiteMissing, NeverHappened) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    return 1 if failures else 0


def _run(suite: Suite, auth: Auth, options: argparse.Namespace, selection: list[str]) -> int:
    """Run them once; the number of failures that are not known."""
    results: Path = options.results.absolute() / auth.name
    results.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (
        scratch_root(options.dir) as scratch,
        _store(scratch / "data", auth, options) as store,
    ):
        make_accounts(store, auth)
        print(f"Swift's functional tests, {auth.name}: {store.url}, data in {scratch}", flush=True)
        try:
            junit = suite.run(store.url, auth.test_conf(store), results, selection)
        finally:
            (results / "serve.log").write_text(store.printed())
    seconds = round(time.monotonic() - started)
    report = Report.of(junit, KNOWN)
    if not report.outcomes:
        raise SuiteMissing(f"no test is selected by {' '.join(selection)}")
    report.print()
    report.save(results / "results.json", auth=auth.name, seconds=seconds, selection=selection)
    for pattern in report.unneeded(KNOWN):
        print(f"listed as failing, yet all of them pass: {pattern}")
    print(f"{seconds} s; {results}/ has results.json, junit.xml, pytest.log and serve.log\n")
    return len(report.unknown_failures)


def _store(root: Path, auth: Auth, options: argparse.Namespace) -> ServeProcess:
    store = make_store(root, auth, options.workers)
    use_swifts_filters(store, options.swifts.split())
    return store


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.run",
        description="Other arguments are pytest's, for example: test/functional/test_object.py -k metadata",
    )
    parser.add_argument("--auth", action="append", choices=AUTHS, help="how users sign in (default: each)")
    parser.add_argument("--dir", type=Path, help="a folder on a file system with large extended attributes")
    parser.add_argument("--workers", type=int, default=2, help="of miniswift serve (default: 2)")
    parser.add_argument(
        "--swifts",
        default="",
        metavar="NAMES",
        help="filters of a real Swift's in the place of ours, e.g. 'slo symlink'",
    )
    parser.add_argument("--results", type=Path, default=CHECKOUT / "build/conformance")
    parser.add_argument("--suite-python", type=Path, default=Suite.python, help="what runs the tests")
    parser.add_argument("--suite-source", type=Path, default=Suite.source, help="Swift's source distribution")
    return parser


if __name__ == "__main__":
    sys.exit(main())
