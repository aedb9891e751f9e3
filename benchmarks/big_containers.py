"""What a container's size costs: the same requests to a small and to a big one, before and after deletions.

Two trees of names, each in a small and in a big container:

    wide   few folders with many names each: dir-0 … dir-9
    deep   many folders with ten names each: dir-000000, dir-000001, …

1. The rows come by `UPDATE` at the storage port, as Swift's sharder sends them; no object is stored.
2. Names that follow each other come in different batches, so their rows lie far from each other on disk.
3. Each page has exactly as many entries as its name says, in whatever container.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from benchmarks import load
from benchmarks.cpu import Meter
from benchmarks.load import Load
from benchmarks.report import Figures
from miniswift.cluster import Cluster
from miniswift.timestamp import Timestamp
from tests.functional.client import Client
from tests.functional.cluster import ServeProcess

BATCHES = 20  # of a container's rows: 50000 rows of a million
FOLDERS = 10  # of a wide tree
IN_FOLDER = 10  # names in each folder of a deep tree
ENTRIES_MEASURED = 200_000  # of each query, over all its pages
WRITES = 1000
WARM_UP = 8  # requests, over half as many connections, so that every worker gets some
EMPTY_ETAG = "d41d8cd98f00b204e9800998ecf8427e"


@dataclass(frozen=True)
class Tree:
    """A container's names, by their number. `wide` or `deep`."""

    kind: str
    size: int

    @property
    def container(self) -> str:
        return f"{self.kind}-{self.size}"

    def name(self, number: int) -> str:
        if self.kind == "wide":
            return f"dir-{number * FOLDERS // self.size}/object-{number:08d}"
        return f"dir-{number // IN_FOLDER:06d}/{number % IN_FOLDER}"


@dataclass(frozen=True)
class Query:
    """One kind of page."""

    name: str
    kind: str  # of tree
    limit: int
    parameters: Callable[[Tree], dict[str, str]] = lambda tree: {}


QUERIES = (
    Query("1000 at the start", "wide", 1000),
    Query("1000 in the middle", "wide", 1000, lambda tree: {"marker": tree.name(tree.size // 2)}),
    Query("1000 at the end", "wide", 1000, lambda tree: {"marker": tree.name(tree.size - 2001)}),
    Query("1000, end_marker", "wide", 1000, lambda tree: {"end_marker": tree.name(tree.size // 2)}),
    Query("1000, reverse", "wide", 1000, lambda tree: {"reverse": "true"}),
    Query("1000, prefix", "wide", 1000, lambda tree: {"prefix": "dir-5/object-"}),
    Query("1000, path", "wide", 1000, lambda tree: {"path": "dir-5"}),
    Query("10 big folders", "wide", 10, lambda tree: {"delimiter": "/"}),
    Query("1000 small folders", "deep", 1000, lambda tree: {"delimiter": "/"}),
    Query("1000 small folders, reverse", "deep", 1000, lambda tree: {"delimiter": "/", "reverse": "on"}),
    Query("10000 at the start", "wide", 10_000),
    Query("10000 in the middle", "wide", 10_000, lambda tree: {"marker": tree.name(tree.size // 2)}),
    Query("10000 at the end", "wide", 10_000, lambda tree: {"marker": tree.name(tree.size - 20_001)}),
)


@dataclass
class Store:
    """A running server, and how to measure requests to its containers."""

    process: ServeProcess
    written: int = 0
    token: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with Client.login(self.process.auth) as client:
            self.account, self.token = client.prefix, client.headers
        self._meter = Meter(self.process.pids)

    # --- rows -----------------------------------------------------------------------------------------

    def fill(self, tree: Tree) -> float:
        """Make the container with all its names; the seconds that took."""
        with Client.login(self.process.auth) as client:
            client.put(f"/{tree.container}")
        started = time.perf_counter()
        for first in range(BATCHES):
            self._update(tree, range(first, tree.size, BATCHES), is_deleted=False)
        return time.perf_counter() - started

    def delete_every_second(self, tree: Tree) -> None:
        for first in range(0, BATCHES, 2):
            self._update(tree, range(first, tree.size, BATCHES), is_deleted=True)

    def _update(self, tree: Tree, numbers: Iterable[int], *, is_deleted: bool) -> None:
        now = Timestamp.now().internal
        row = {
            "created_at": now,
            "size": 0,
            "content_type": "application/octet-stream",
            "etag": EMPTY_ETAG,
            "deleted": int(is_deleted),
            "storage_policy_index": 0,
        }
        body = json.dumps([{**row, "name": tree.name(number)} for number in numbers]).encode()
        account = self.account.removeprefix("/v1/")
        cluster = Cluster.load(self.process.root / "etc")
        ring = cluster.ring("container")
        part = cluster.part(ring, account, tree.container)
        for node in ring.primaries(part):
            with Client(f"http://{node.ip}:{node.port}") as storage:
                path = f"/{node.device}/{part}/{account}/{tree.container}"
                answer = storage.request("UPDATE", path, body, {"X-Timestamp": now})
                if answer.status != 202:
                    raise RuntimeError(f"UPDATE {path}: {answer.status} {answer.text}")

    # --- figures --------------------------------------------------------------------------------------

    def measure(self, query: Query, tree: Tree) -> Figures:
        parameters = {"format": "json", "limit": str(query.limit), **query.parameters(tree)}
        target = f"{self.account}/{tree.container}?{urlencode(parameters)}"
        self._check(query, target)
        count = max(20, min(1000, ENTRIES_MEASURED // query.limit))
        return self._run(Load(self.process.address, "GET", [target] * count, self.token, 200))

    def _check(self, query: Query, target: str) -> None:
        """A page that is short is no figure."""
        with Client.login(self.process.auth) as client:
            answer = client.get(target.removeprefix(self.account))
        if answer.status != 200 or len(answer.json()) != query.limit:
            raise RuntimeError(f"{query.name}: {answer.status}, {len(answer.body)} bytes")

    def measure_others(self, tree: Tree) -> dict[str, Figures]:
        """HEAD of the container; PUT and DELETE of empty objects scattered over it."""
        container = f"{self.account}/{tree.container}"
        head = Load(self.process.address, "HEAD", [container] * 1000, self.token, 204)
        first, self.written = self.written, self.written + WRITES
        spread = range(0, tree.size, tree.size // WRITES)
        names = [f"{tree.name(number)}-{first}" for number in spread[:WRITES]]
        put = replace(head, method="PUT", paths=[f"{container}/{name}" for name in names], expected=201)
        delete = replace(put, method="DELETE", expected=204)
        return {"HEAD": self._run(head), "PUT": self._run(put), "DELETE": self._run(delete)}

    def _run(self, requests: Load) -> Figures:
        if requests.method in ("GET", "HEAD"):
            warm_up = [*requests.paths[:WARM_UP]]
            load.run(replace(requests, paths=warm_up, connections=WARM_UP // 2))
        self._meter.start()
        outcome = load.run(requests)
        return Figures.of(outcome, self._meter.stop())


def measure_sizes(process: ServeProcess, small: int, big: int) -> dict[str, dict[str, Figures | None]]:
    """By operation, then by what the container holds: `small`, `big` and half of the big one's names."""
    store = Store(process)
    results: dict[str, dict[str, Figures | None]] = {}
    columns = [(f"{small:,} names", small), (f"{big:,} names", big)]
    for column, size in columns:
        for kind in ("wide", "deep"):
            tree = Tree(kind, size)
            print(f"{size} rows of {tree.container}: {store.fill(tree):.0f} s", flush=True)
        _measure(store, size, column, results)
    for kind in ("wide", "deep"):
        store.delete_every_second(Tree(kind, big))
    _measure(store, big, f"{big // 2:,} deleted", results)
    return results


def _measure(store: Store, size: int, column: str, results: dict[str, dict[str, Figures | None]]) -> None:
    for query in QUERIES:
        has_enough = size > 2 * query.limit or not query.parameters(Tree(query.kind, size))
        figures = store.measure(query, Tree(query.kind, size)) if has_enough else None
        results.setdefault(query.name, {})[column] = figures
        print(f"{column}, {query.name}: {figures}", flush=True)
    for name, figures in store.measure_others(Tree("wide", size)).items():
        results.setdefault(name, {})[column] = figures
        print(f"{column}, {name}: {figures}", flush=True)


def table(results: dict[str, dict[str, Figures | None]]) -> str:
    """Server CPU and the median latency of each operation, by what the container holds."""
    columns = list(next(iter(results.values())))
    lines = [f"{'server CPU ms, median latency ms':<32}" + "".join(f"{name:>24}" for name in columns)]
    for name, row in results.items():
        cells = [f"{each.cpu_ms:.2f}, {each.p50_ms:.2f}" if each else "-" for each in row.values()]
        lines.append(f"{name:<32}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)
