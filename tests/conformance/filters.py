"""Filters of a real Swift in our pipeline, each in the place of ours, under the tests that are about it.

    python -m tests.conformance.filters [NAME ...]    writes build/conformance/filters.md

A filter is as good here as ours when as many of Swift's functional tests pass; exit status 1 when one is not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from tests.conformance import run
from tests.conformance.suite import ALL_TESTS, CHECKOUT

RESULTS = CHECKOUT / "build/conformance"

# Swift's module → arguments of pytest that select the tests.
FILTERS: dict[str, tuple[str, ...]] = {
    "bulk": ("test_object.py",),
    "copy": ("test_object.py", "tests.py"),
    "dlo": ("test_dlo.py",),
    "domain_remap": ("test_domain_remap.py",),
    "listing_formats": ("test_account.py", "test_container.py"),
    "slo": ("test_slo.py", "test_tempurl.py"),
    "staticweb": ("test_staticweb.py",),
    "symlink": ("test_symlink.py",),
    "tempurl": ("test_tempurl.py",),
    "versioned_writes": ("test_versioned_writes.py", "test_object_versioning.py"),
}

Counts = dict[str, int]


def main(names: Sequence[str]) -> int:
    """Run them and write the table; the exit status."""
    rows = ["| filter | tests | with ours | with Swift's | verdict |", "|---|---|---|---|---|"]
    is_worse = False
    for name in names or FILTERS:
        ours, swifts = _run(name, ""), _run(name, name)
        verdict = "the same" if ours == swifts else "better" if swifts["failed"] < ours["failed"] else "WORSE"
        is_worse = is_worse or verdict == "WORSE"
        rows.append(f"| {name} | {', '.join(FILTERS[name])} | {_told(ours)} | {_told(swifts)} | {verdict} |")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "filters.md").write_text("\n".join(rows) + "\n")
    print("\n".join(rows))
    return int(is_worse)


def _run(name: str, swifts: str) -> Counts:
    """The outcomes of a filter's tests."""
    results = RESULTS / "filters" / (f"swifts-{name}" if swifts else name)
    selection = [f"{ALL_TESTS}/{file}" for file in FILTERS[name]]
    run.main(["--auth", "tempauth", "--swifts", swifts, "--results", str(results), *selection])
    files: dict[str, Counts] = json.loads((results / "tempauth/results.json").read_text())["files"]
    return {outcome: sum(counts[outcome] for counts in files.values()) for outcome in _OUTCOMES}


_OUTCOMES = ("passed", "failed", "skipped")


def _told(counts: Counts) -> str:
    return " / ".join(str(counts[outcome]) for outcome in _OUTCOMES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
