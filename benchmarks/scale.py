"""Measures what size costs: a million objects, many connections and transfers at once; see README.md here."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import big_containers, memory, report
from tests.functional.cluster import ServeProcess

MIB = 1024 * 1024


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    facts = {**report.machine(Path(options.dir or tempfile.gettempdir())), "workers": options.workers}
    print(", ".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
    results = {}
    for name in options.only or PARTS:
        results[name] = PARTS[name](options)
    if options.save:
        document = {**facts, "results": _plain(results)}
        print(report.save(document, options.save))
    return 0


# --- the parts: each on a store of its own ----------------------------------------------------------------


def _containers(options: argparse.Namespace) -> object:
    with _store(options) as process:
        results = big_containers.measure_sizes(process, options.small, options.objects)
    print(f"\n{big_containers.table(results)}\n", flush=True)
    return results


def _idle(options: argparse.Namespace) -> object:
    with _store(options) as process:
        return _shown("idle connections", memory.measure_idle(process, options.idle))


def _transfers(options: argparse.Namespace) -> object:
    results = {}
    for replicas in (1, 3):
        name = f"{options.transfers} transfers of {options.size} MiB, replicas: {replicas}"
        with _store(options, replicas) as process:
            figures = memory.measure_transfers(process, options.transfers, options.size * MIB)
        results[name] = _shown(name, figures)
    return results


def _creep(options: argparse.Namespace) -> object:
    with _store(options) as process:
        return _shown("small requests", memory.measure_creep(process, options.rounds, 20_000))


PARTS: dict[str, Callable[[argparse.Namespace], object]] = {
    "containers": _containers,
    "idle": _idle,
    "transfers": _transfers,
    "creep": _creep,
}


@contextlib.contextmanager
def _store(options: argparse.Namespace, replicas: int = 1) -> Iterator[ServeProcess]:
    with (
        tempfile.TemporaryDirectory(prefix="scale-", dir=options.dir) as folder,
        ServeProcess(
            Path(folder) / "data", workers=options.workers, devices=replicas, replicas=replicas
        ) as process,
    ):
        yield process


def _shown(title: str, figures: memory.Figures) -> memory.Figures:
    print(f"\n{title}")
    for name, figure in figures.items():
        print(f"  {name:<36}{figure}", flush=True)
    return figures


def _plain(value: Any) -> Any:
    """The same in what JSON knows."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="one of the parts (default: all)")
    parser.add_argument("--objects", metavar="N", type=int, default=1_000_000, help="in the big containers")
    parser.add_argument("--small", metavar="N", type=int, default=10_000, help="in the small ones")
    parser.add_argument("--idle", metavar="N", type=int, default=1000, help="idle connections")
    parser.add_argument("--transfers", metavar="N", type=int, default=200, help="at the same time")
    parser.add_argument("--size", metavar="MIB", type=int, default=16, help="of what is transferred")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="of 20000 small requests")
    parser.add_argument("--workers", metavar="N", type=int, default=2, help="of miniswift (default: 2)")
    parser.add_argument("--dir", help="where objects are stored; the folder for temporary files by default")
    parser.add_argument(
        "--save", metavar="NAME", nargs="?", const=f"scale-{date.today()}", help="write results/NAME.json"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
