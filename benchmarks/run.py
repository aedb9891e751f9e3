"""Measures miniswift and a real Swift on this machine, in turns; see README.md here.

Both run all the time, and each operation is sent to the one and then to the other, ROUNDS times over: what
the machine does meanwhile (a shared one is a third faster at one minute than the next) counts into both.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Protocol

from benchmarks import load, report
from benchmarks.cpu import Meter
from benchmarks.operations import OPERATIONS, Operation, Workload
from benchmarks.real_swift import CHECKOUT, PIPELINES, RealSwift, SwiftMissing
from tests.functional.cluster import BIN, ServeProcess
from tests.functional.mounts import GIB, CannotMount, mounted

WARM_UP = 100  # requests, times the operation's share
LEAST = 8  # requests of the biggest operations
ROUNDS = 4  # turns that each server gets with each operation
IMAGE_SIZE = 16 * GIB


class Server(Protocol):
    """What is measured."""

    @property
    def address(self) -> tuple[str, int]: ...

    @property
    def auth(self) -> tuple[str, str, str]: ...

    def pids(self) -> list[int]: ...


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    operations = [
        each for each in OPERATIONS if not options.only or options.only.lower() in each.name.lower()
    ]
    if not operations:
        print(f"no operation is called {options.only}: {', '.join(each.name for each in OPERATIONS)}")
        return 2
    results: report.Results = {connections: {} for connections in options.connections}
    with _fresh_folder(options.dir) as root:
        facts = {
            **report.machine(root),
            "requests": options.requests,
            "swift pipeline": options.swift_pipeline,
        }
    try:
        with contextlib.ExitStack() as stack:
            subjects: list[Subject] = []
            if not options.skip_swift:
                folder = stack.enter_context(_fresh_folder(options.dir))
                swift = stack.enter_context(
                    RealSwift(folder / "swift", options.swift_venv, pipeline=options.swift_pipeline)
                )
                facts["swift"] = swift.version()
                subjects.append(Subject("swift", swift))
            if not options.skip_miniswift:
                folder = stack.enter_context(_fresh_folder(options.dir))
                miniswift = stack.enter_context(ServeProcess(folder / "miniswift", workers=options.workers))
                subjects.append(Subject("miniswift", miniswift))
            print(", ".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
            _measure_all(subjects, operations, options, results)
    except SwiftMissing as error:
        print(error, file=sys.stderr)
        return 1
    print()
    print(report.table(results))
    if options.save:
        print(report.save(report.document(results, facts), options.save))
    return 0


@contextlib.contextmanager
def _fresh_folder(given: str | None) -> Iterator[Path]:
    """Where one server stores its objects: in `given`, or else on a new XFS if root is asking.

    What a used file system was through before counts into every file that is made: on an ext4 where many
    were just deleted, finding a free inode took up to 0.3 ms.
    """
    with contextlib.ExitStack() as stack:
        folder: Path | str | None = None
        if not given:
            try:
                folder = stack.enter_context(mounted("xfs", size=IMAGE_SIZE))
            except CannotMount as error:
                print(f"not on a file system of its own: {error}")
        yield Path(folder or stack.enter_context(tempfile.TemporaryDirectory("-benchmark", dir=given)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="operations with NAME in theirs: PUT, 1 KiB, listing")
    parser.add_argument(
        "--requests", metavar="N", type=int, default=2000, help="small requests measured; fewer big ones"
    )
    parser.add_argument(
        "--connections", metavar="C", type=int, nargs="+", default=[1, 16], help="measure with C at a time"
    )
    parser.add_argument("--workers", type=int, default=0, help="of miniswift; one a core by default")
    parser.add_argument("--skip-swift", action="store_true", help="measure miniswift alone")
    parser.add_argument("--skip-miniswift", action="store_true", help="measure the real Swift alone")
    parser.add_argument(
        "--swift-venv", type=Path, default=CHECKOUT / ".venv-swift", help="where Swift is installed"
    )
    parser.add_argument(
        "--swift-pipeline", choices=PIPELINES, default="sample", help="the filters of Swift's proxy"
    )
    parser.add_argument(
        "--dir",
        help="where both store their objects; by default an XFS made for each, or the folder for temporary"
        " files where none can be mounted",
    )
    parser.add_argument(
        "--save", metavar="NAME", nargs="?", const=date.today().isoformat(), help="write results/NAME.json"
    )
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="py-spy's flame graphs of miniswift; figures suffer"
    )
    return parser


class Subject:
    """A running server with a client and a meter of its own."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.server = server
        self._workload = Workload(server.address, server.auth)
        self._meter = Meter(server.pids)
        print(f"{name}, idle: {1000 * self._meter.idle_rate:.1f} ms of CPU a second", flush=True)

    def warm_up(self, operation: Operation, connections: int) -> None:
        count = max(connections, round(WARM_UP * operation.share))
        self._workload.prepare(operation, count)
        if operation.method != "DELETE":  # the requests that made the objects have warmed it up
            load.run(self._workload.requests(operation, count, connections))

    def measure(self, operation: Operation, count: int, connections: int, total: load.Outcome) -> float:
        """Send `count` requests, add what the client saw to `total`; the server's CPU seconds."""
        self._workload.prepare(operation, count)
        self._meter.start()
        total.add(load.run(self._workload.requests(operation, count, connections)))
        return self._meter.stop()


def _measure_all(
    subjects: list[Subject],
    operations: list[Operation],
    options: argparse.Namespace,
    results: report.Results,
) -> None:
    for connections, rows in results.items():
        for operation in operations:
            count = max(LEAST // ROUNDS, connections, round(options.requests * operation.share / ROUNDS))
            rows[operation.name] = _in_turns(subjects, operation, count, connections, options.profile)
            for name, figures in rows[operation.name].items():
                print(f"{name}, {connections} at a time, {operation.name}: {figures}", flush=True)


def _in_turns(
    subjects: list[Subject], operation: Operation, count: int, connections: int, profile: Path | None
) -> dict[str, report.Figures]:
    outcomes = {subject.name: load.Outcome() for subject in subjects}
    cpu_s = dict.fromkeys(outcomes, 0.0)
    for subject in subjects:
        subject.warm_up(operation, connections)
    for turn in range(ROUNDS):
        for subject in subjects:
            folder = profile if subject.name == "miniswift" else None
            name = f"{operation.method}-{operation.container}-{connections}-{turn + 1}"
            with _profiling(subject.server, folder, name):
                cpu_s[subject.name] += subject.measure(operation, count, connections, outcomes[subject.name])
    return {name: report.Figures.of(outcome, cpu_s[name]) for name, outcome in outcomes.items()}


@contextlib.contextmanager
def _profiling(server: Server, folder: Path | None, name: str) -> Iterator[None]:
    """Record where the processes spend their time, into a flame graph."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(BIN / "py-spy"), "record", "--subprocesses", "--pid", str(server.pids()[0])]
    command += ["--output", str(folder / f"{name}.svg")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as spy:
        try:
            yield
        finally:
            spy.send_signal(signal.SIGINT)  # upon which it writes the file


if __name__ == "__main__":
    sys.exit(main())
