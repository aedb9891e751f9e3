"""What a run of the tests came to: counts for each file, failures known and unknown."""

from __future__ import annotations

import fnmatch
import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
OUTCOMES = (PASSED, FAILED, SKIPPED)
_TAGS = {"failure": FAILED, "error": FAILED, "skipped": SKIPPED}


@dataclass
class Report:
    """The outcomes of one run. Names are `file::Class::test`, the file relative to test/functional."""

    outcomes: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)  # the first line of what pytest says to it
    reasons: dict[str, str] = field(default_factory=dict)  # of failures that are known

    @classmethod
    def of(cls, junit: Path, known: Mapping[str, str]) -> Report:
        """Read a JUnit file; `known` maps patterns of names to the reasons why they may fail."""
        report = cls()
        for case in ET.parse(junit).getroot().iter("testcase"):
            report._add(case, known)
        return report

    def _add(self, case: ET.Element, known: Mapping[str, str]) -> None:
        name = _name(case)
        outcome, message = PASSED, ""
        for element in case:
            if element.tag in _TAGS:
                outcome = _TAGS[element.tag]
                message = (element.get("message") or "").strip().partition("\n")[0]
        if self.outcomes.get(name) == FAILED:  # and this is its tear-down
            return
        self.outcomes[name], self.messages[name] = outcome, message
        reason = next((why for pattern, why in known.items() if fnmatch.fnmatchcase(name, pattern)), None)
        if outcome == FAILED and reason:
            self.reasons[name] = reason

    def names(self, outcome: str) -> list[str]:
        return sorted(name for name, its in self.outcomes.items() if its == outcome)

    @property
    def unknown_failures(self) -> list[str]:
        return [name for name in self.names(FAILED) if name not in self.reasons]

    def unneeded(self, known: Iterable[str]) -> list[str]:
        """Patterns of known failures that only tests match which ran and passed."""
        return [
            pattern
            for pattern in known
            if {o for name, o in self.outcomes.items() if fnmatch.fnmatchcase(name, pattern)} == {PASSED}
        ]

    def counts(self) -> dict[str, dict[str, int]]:
        """File -> outcome -> number of tests."""
        files: dict[str, dict[str, int]] = {}
        for name, outcome in sorted(self.outcomes.items()):
            files.setdefault(name.partition("::")[0], dict.fromkeys(OUTCOMES, 0))[outcome] += 1
        return files

    def print(self) -> None:
        rows = list(self.counts().items())
        rows.append(("all", dict(Counter({o: len(self.names(o)) for o in OUTCOMES}))))
        print(f"{'':36}{'tests':>7}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES))
        for file, counts in rows:
            print(f"{file:36}{sum(counts.values()):7}" + "".join(f"{counts[o]:9}" for o in OUTCOMES))
        skipped = Counter(self.messages[name] for name in self.names(SKIPPED))
        for message, number in skipped.most_common():
            print(f"skipped {number:4}  {message}")
        for reason, number in Counter(self.reasons.values()).most_common():
            print(f"failed  {number:4}  {reason}")
        for name in self.unknown_failures:
            print(f"FAILED {name}\n       {self.messages[name][:200]}")

    def save(self, file: Path, **facts: object) -> None:
        """Write everything as JSON, with the given facts on top."""
        document = {
            **facts,
            "files": self.counts(),
            "failed": {
                name: {"message": self.messages[name], "known": self.reasons.get(name)}
                for name in self.names(FAILED)
            },
            "skipped": Counter(self.messages[name] for name in self.names(SKIPPED)).most_common(),
        }
        file.write_text(json.dumps(document, indent=1) + "\n")


def _name(case: ET.Element) -> str:
    """test.functional.s3api.test_acl.TestX + test_y -> s3api/test_acl.py::TestX::test_y."""
    words = (case.get("classname") or case.get("name") or "").split(".")[2:]
    modules = [word for word in words if word.islower()]
    return "::".join(["/".join(modules) + ".py", *words[len(modules) :], case.get("name") or ""])
