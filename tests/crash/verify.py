"""Everything that clients were promised, looked up after a crash.

An object is read through the proxy. What has no such thing as a newest copy (containers, their listings,
the account) is asked of every replica, and most of them must say what was acknowledged, since that is when
a write is acknowledged; the others wait for a replicator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from miniswift.cluster import Cluster
from miniswift.ring import Ring
from tests.crash.ledger import Contradiction, Ledger, Row, items_of
from tests.crash.load import SHARED, look_at, rows_of
from tests.functional.client import Answer, Client
from tests.functional.cluster import ServeProcess
from tests.functional.processes import NeverHappened, wait_until

Totals = tuple[str | None, str | None]  # objects and bytes, as headers say them

READERS = 4
UPDATED_S = 30  # an idle machine needs 5


class Verifier:
    """A started server, and how to ask each of its replicas."""

    def __init__(self, process: ServeProcess, replicas: int) -> None:
        self._process = process
        self._replicas = replicas
        self._cluster = Cluster.load(process.root / "etc")

    def problems(self, ledger: Ledger) -> list[str]:
        """Whatever is not as it was promised. Listings and totals get the updater's time."""
        with Client.login(self._process.auth) as client:
            problems = self._wrong_objects(client, ledger)
            account = client.prefix
        return problems or self._left_wrong(lambda: [*self._wrong_containers(account, ledger)])

    def _wrong_objects(self, client: Client, ledger: Ledger) -> list[str]:
        def read(paths: list[str]) -> list[str]:
            problems = []
            with client.again() as reader:
                for path in paths:
                    try:
                        status = look_at(reader, path, ledger.objects[path], self._replicas)
                    except Contradiction as contradiction:
                        problems.append(str(contradiction))
                    else:
                        if status >= 500:
                            problems.append(f"GET {path}: {status}")
            return problems

        paths = list(ledger.objects)
        with ThreadPoolExecutor(READERS) as pool:
            shares = [paths[number::READERS] for number in range(READERS)]
            return [problem for problems in pool.map(read, shares) for problem in problems]

    def _left_wrong(self, find: Callable[[], list[str]]) -> list[str]:
        """What `find` finds wrong once it had its time to come right."""
        try:
            wait_until(lambda: not find(), UPDATED_S, "listings and totals")
        except NeverHappened:
            return find()
        return []

    # --- what every replica says ------------------------------------------------------------------------

    def _wrong_containers(self, account: str, ledger: Ledger) -> Iterator[str]:
        containers = {SHARED: self._answers(account, SHARED)}
        for path, memory in ledger.containers.items():
            answers = containers[path] = self._answers(account, path)
            found = [items_of(each, "container") if each.status == 200 else None for each in answers]
            yield from self._minority(f"container {path}", found, memory.possible)
            if self._replicas == 1:
                memory.see(found[0], settles=True)
        for path, answers in containers.items():
            yield from self._wrong_listing(path, answers, ledger)
        yield from self._wrong_account(account, containers, ledger)

    def _wrong_listing(self, container: str, answers: list[Answer], ledger: Ledger) -> Iterator[str]:
        listings = [_rows(answer) for answer in answers]
        for answer, rows in zip(answers, listings, strict=True):
            if answer.status == 200:
                counted = str(len(rows)), str(sum(row["bytes"] for row in rows.values()))
                if _totals(answer, "Container") != counted:
                    yield f"container {container} counts {_totals(answer, 'Container')}, lists {counted}"
        memories = ledger.objects_in(container)
        names = {path: path[len(container) + 1 :] for path in memories}
        if unknown := {name for rows in listings for name in rows} - set(names.values()):
            yield f"container {container} lists {unknown}"
        for path, memory in memories.items():
            found = [_shown(rows.get(names[path])) for rows in listings]
            yield from self._minority(f"row of {path}", found, rows_of(memory.listed))

    def _wrong_account(
        self, account: str, containers: dict[str, list[Answer]], ledger: Ledger
    ) -> Iterator[str]:
        answers = self._answers(account)
        listings = [_rows(answer) for answer in answers]
        for answer, rows in zip(answers, listings, strict=True):
            counts = [sum(row[what] for row in rows.values()) for what in ("count", "bytes")]
            if _totals(answer, "Account") != tuple(map(str, counts)):
                yield f"the account counts {_totals(answer, 'Account')}, lists {counts}"
        for path, said in containers.items():
            states = ledger.containers[path].listed if path in ledger.containers else {frozenset()}
            possible: set[Totals | None] = set()
            if None in states:
                possible.add(None)
            if states != {None}:
                possible |= {_totals(answer, "Container") for answer in said if answer.status == 200}
            rows_of_it = [rows.get(path[1:]) for rows in listings]
            found = [(str(row["count"]), str(row["bytes"])) if row else None for row in rows_of_it]
            yield from self._minority(f"the account's row of {path}", found, possible)

    def _minority(self, what: str, found: list[Any], possible: set[Any]) -> Iterator[str]:
        if 2 * sum(each in possible for each in found) <= self._replicas:
            yield f"{what}: found {found}, possible: {possible}"

    def _answers(self, account: str, container: str = "") -> list[Answer]:
        """What each replica answers to a GET: as a storage server answers to a proxy."""
        ring: Ring = self._cluster.ring("container" if container else "account")
        name = account.removeprefix("/v1/")
        part = self._cluster.part(ring, name, *([container[1:]] if container else []))
        answers = []
        for node in ring.primaries(part):
            with Client(f"http://{node.ip}:{node.port}") as client:
                path = f"/{node.device}/{part}/{name}{container}?format=json&limit=10000"
                answers.append(client.get(path))
        return answers


def _rows(answer: Answer) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in answer.json()} if answer.status == 200 else {}


def _shown(row: dict[str, Any] | None) -> Row | None:
    return (row["hash"], row["bytes"], row["content_type"]) if row else None


def _totals(answer: Answer, kind: str) -> Totals:
    return answer.headers[f"X-{kind}-Object-Count"], answer.headers[f"X-{kind}-Bytes-Used"]
