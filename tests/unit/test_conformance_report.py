"""The report of the conformance run: it must not lose a failure."""

from __future__ import annotations

import json

import pytest

from tests.conformance.report import Report

CASES = [
    ("test.functional.test_a.TestA", "test_good", ""),
    ("test.functional.test_a.TestA", "test_bad", '<failure message="1 != 2&#10;more" />'),
    ("test.functional.test_a.TestA", "test_bad", '<skipped message="in its tear-down" />'),
    ("test.functional.test_a.TestA", "test_torn", ""),
    ("test.functional.test_a.TestA", "test_torn", '<error message="tear-down failed" />'),
    ("test.functional.tests.TestBUTF8", "test_later", '<failure message="no dlo" />'),
    ("test.functional.s3api.test_c.TestC", "test_s3", '<skipped message="no s3api" />'),
    ("", "test.functional.test_d", '<error message="collection failure" />'),
]


@pytest.fixture
def junit(tmp_path):
    file = tmp_path / "junit.xml"
    cases = (f'<testcase classname="{where}" name="{name}">{what}</testcase>' for where, name, what in CASES)
    file.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return file


def test_every_outcome_is_counted_by_file(junit):
    assert Report.of(junit, {}).counts() == {
        "s3api/test_c.py": {"passed": 0, "failed": 0, "skipped": 1},
        "test_a.py": {"passed": 1, "failed": 2, "skipped": 0},
        "test_d.py": {"passed": 0, "failed": 1, "skipped": 0},
        "tests.py": {"passed": 0, "failed": 1, "skipped": 0},
    }


def test_a_failure_is_unknown_unless_it_is_listed(junit, capsys):
    report = Report.of(junit, {"tests.py::TestB*::test_later": "no dlo yet"})
    assert report.unknown_failures == [
        "test_a.py::TestA::test_bad",
        "test_a.py::TestA::test_torn",
        "test_d.py::test.functional.test_d",
    ]
    report.print()
    printed = capsys.readouterr().out
    assert "FAILED test_a.py::TestA::test_bad\n       1 != 2\n" in printed
    assert "failed     1  no dlo yet" in printed
    assert "skipped    1  no s3api" in printed


def test_what_is_listed_and_passes_is_told(junit):
    known = {"test_a.py::TestA::test_go*": "x", "test_a.py::TestA::*": "x", "test_x.py::*": "x"}
    assert Report.of(junit, known).unneeded(known) == ["test_a.py::TestA::test_go*"]


def test_all_of_it_is_saved(junit, tmp_path):
    Report.of(junit, {}).save(tmp_path / "results.json", seconds=3)
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["seconds"] == 3
    assert saved["failed"]["test_a.py::TestA::test_torn"] == {"message": "tear-down failed", "known": None}
    assert saved["skipped"] == [["no s3api", 1]]
