"""What was measured, as tables for people and as JSON for comparing runs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.load import Outcome

BASELINE = "swift"
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figures:
    """One operation on one server with so many connections."""

    requests: int
    cpu_ms: float  # of the server, per request
    rate: float  # requests per second
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, outcome: Outcome, cpu_s: float) -> Figures:
        count = len(outcome.latencies_s)
        return cls(
            count,
            round(1000 * cpu_s / count, 4),
            round(outcome.rate, 2),
            round(outcome.percentile_ms(50), 3),
            round(outcome.percentile_ms(99), 3),
        )


# connections → operation → server → figures
Results = dict[int, dict[str, dict[str, Figures]]]


def ratio(figures: dict[str, Figures]) -> float | None:
    """CPU per request of the real Swift over that of miniswift."""
    if len(figures) < 2 or not figures["miniswift"].cpu_ms:
        return None
    return round(figures[BASELINE].cpu_ms / figures["miniswift"].cpu_ms, 2)


def table(results: Results) -> str:
    """A table for each number of connections; the ratio says how many times less CPU miniswift takes."""
    lines: list[str] = []
    for connections, operations in results.items():
        servers = list(next(iter(operations.values())))
        noun = "connection" if connections == 1 else "connections"
        wide = 10 * len(servers)
        lines += [
            f"{f'{connections} {noun}':<17}{'server CPU ms/request':>{wide + 8}}  "
            f"{'requests/s':>{wide}}  {'latency ms, p50 / p99':>{2 * wide}}",
            f"{'':<17}{_row(servers)}{'ratio':>8}  {_row(servers)}  {_row(servers, 20)}",
        ]
        for name, figures in operations.items():
            times = ratio(figures)
            cells = list(figures.values())
            cpu = "".join(f"{each.cpu_ms:>10.3f}" for each in cells)
            rate = "".join(f"{each.rate:>10.1f}" for each in cells)
            latency = "".join(f"{f'{each.p50_ms:.1f} / {each.p99_ms:.1f}':>20}" for each in cells)
            lines.append(f"{name:<17}{cpu}{times if times is not None else '-':>8}  {rate}  {latency}")
        lines.append("")
    return "\n".join(lines)


def _row(words: list[str], width: int = 10) -> str:
    return "".join(f"{word:>{width}}" for word in words)


def document(results: Results, facts: dict[str, object]) -> dict[str, object]:
    """Everything as one JSON document."""
    return {
        **facts,
        "results": {
            str(connections): {
                name: {
                    **{server: asdict(each) for server, each in figures.items()},
                    "ratio": ratio(figures),
                }
                for name, figures in operations.items()
            }
            for connections, operations in results.items()
        },
    }


def save(text: dict[str, object], name: str) -> Path:
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(text, indent=1) + "\n")
    return file


def machine(storage: Path) -> dict[str, object]:
    """What the figures depend on and the reader cannot see."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "file system": _file_system(storage),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """The type of the file system that holds the folder."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = {str(path) for path in (folder, *folder.resolve().parents)}
    return max((mount for mount in mounts if mount[1] in above), key=lambda mount: len(mount[1]))[2]
