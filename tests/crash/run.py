"""Kills `miniswift serve` at random moments of a mixed load, and checks what was acknowledged; `make crash`.

Exit status 0 when nothing is lost, 1 when something is: the root is then kept, to be looked at.
"""

from __future__ import annotations

import argparse
import collections
import random
import secrets
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from miniswift.cluster import Cluster
from miniswift.storage.check import check_devices
from miniswift.storage.check_databases import database_problems
from tests.crash.ledger import Ledger
from tests.crash.load import SHARED, Worker, new_ledger
from tests.crash.verify import Verifier
from tests.functional.client import Client
from tests.functional.cluster import ServeProcess

WORKERS = 8
LAYOUTS = {"1x1": (1, 1), "3x3": (3, 3)}  # devices and replicas


@dataclass
class Trial:
    """A running store and what its clients know, over any number of crashes."""

    process: ServeProcess
    replicas: int
    seed: int
    moments: tuple[float, float]  # seconds of load before a kill: one at random between these
    crashes: int = 0
    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    in_flight: int = 0  # object writes that were cut off
    found_done: int = 0  # those of them that were found to have happened

    def __post_init__(self) -> None:
        self._ledgers = [new_ledger(number) for number in range(WORKERS)]
        with Client.login(self.process.auth) as client:
            assert client.put(SHARED).status == 201

    def crash(self) -> list[str]:
        """Load, kill, look, start again and look; whatever contradicts what was said before."""
        self.crashes += 1
        seed = f"{self.seed}/{self.crashes}"
        problems = self._load(seed, random.Random(seed).uniform(*self.moments))
        problems += self._broken_databases()
        self.process.start()
        ledger = Ledger.joined(self._ledgers)
        cut_off = [memory for memory in ledger.objects.values() if memory.is_open]
        problems += Verifier(self.process, self.replicas).problems(ledger)
        self.in_flight += len(cut_off)
        self.found_done += sum(memory.possible == {memory.attempted} for memory in cut_off)
        return problems

    def end(self) -> list[str]:
        """Stop the store in order; whatever must not be on its devices."""
        self.process.stop()
        return check_devices(self.process.root / "devices", self._cluster(), after_crash=True)

    def _load(self, seed: str, seconds: float) -> list[str]:
        with Client.login(self.process.auth) as client:
            workers = [
                Worker(client.again(), number, ledger, f"{seed}/{number}", self.replicas)
                for number, ledger in enumerate(self._ledgers)
            ]
        try:
            time.sleep(seconds)
        finally:
            self.process.kill_9()
            for worker in workers:
                worker.join()
        for worker in workers:
            self.answers += worker.counts
        return [worker.problem for worker in workers if worker.problem]

    def _broken_databases(self) -> list[str]:
        cluster = self._cluster()
        return [
            problem
            for device in sorted((self.process.root / "devices").iterdir())
            for kind in ("account", "container")
            for problem in database_problems(f"{device}/{kind}s", kind, cluster, after_crash=True)
        ]

    def _cluster(self) -> Cluster:
        return Cluster.load(self.process.root / "etc")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    return max([_run(name, options) for name in options.layout or LAYOUTS])


def _run(name: str, options: argparse.Namespace) -> int:
    """All crashes of one layout; the exit status."""
    devices, replicas = LAYOUTS[name]
    scratch = Path(tempfile.mkdtemp(prefix="crash-", dir=options.dir))
    started = time.monotonic()
    with ServeProcess(scratch / "data", devices=devices, replicas=replicas) as process:
        trial = Trial(process, replicas, options.seed, (options.least, options.most))
        problems: list[str] = []
        while trial.crashes < options.kills and not problems:
            problems = trial.crash()
            print(f"{name}, kill {trial.crashes}: {'; '.join(problems) or 'all is well'}", flush=True)
        left = trial.end()
    print(f"{name}, devices: {'; '.join(left) or 'all is well'}")
    print(f"{name}: {trial.crashes} kills in {time.monotonic() - started:.0f} s; writes of objects cut off:")
    print(f"  {trial.in_flight}, of which {trial.found_done} were found done; answers, by verb and status:")
    print(f"  {', '.join(f'{what}: {count}' for what, count in sorted(trial.answers.items()))}")
    if problems or left:
        print(f"kept: {scratch}")
        return 1
    shutil.rmtree(scratch)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.run", description=__doc__)
    parser.add_argument("--kills", metavar="N", type=int, default=50, help="for each layout (default: 50)")
    parser.add_argument(
        "--layout", action="append", choices=LAYOUTS, help="devices x replicas (default: one after the other)"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of moments and load")
    parser.add_argument(
        "--least", metavar="S", type=float, default=0.2, help="least seconds of load (default: 0.2)"
    )
    parser.add_argument(
        "--most", metavar="S", type=float, default=3.0, help="most seconds of load (default: 3)"
    )
    parser.add_argument("--dir", help="where the store is; the folder for temporary files by default")
    return parser


if __name__ == "__main__":
    sys.exit(main())
