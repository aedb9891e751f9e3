"""Prints the matrix and writes it to build/faults.md. Exit status 1 when something was lost."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

from tests.faults.matrix import CASES, FAULTS, Row, expected_status, markdown, rows

FILE = Path(__file__).resolve().parents[2] / "build" / "faults.md"


def main() -> int:
    logging.disable(logging.CRITICAL)  # every fault is logged, many times
    told: dict[tuple[str, int, int], list[Row]] = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for number, case in enumerate(CASES):
            print(f"{number + 1} of {len(CASES)}: {case[1]} x {case[0]}, {case[2]} devices", file=sys.stderr)
            root = Path(folder) / str(number)
            root.mkdir()
            told[case] = list(rows(root, *case))
    text = markdown(lambda *case: told[case])
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text)
    print(text)
    wrong = [
        f"{row.verb.name} with {case[1]} x {case[0]} on {case[2]} devices: {row.status} {row.problems}"
        for case, its in told.items()
        for row in its
        if row.problems or row.status != expected_status(row.verb, *case)
    ]
    print(f"{len(FAULTS)} faults, {sum(map(len, told.values()))} requests, {len(wrong)} surprises")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
