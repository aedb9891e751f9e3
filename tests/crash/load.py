"""Clients that do everything at random and check every answer, until the server is gone.

Each has objects of its own in a container that all share, and a container of its own that comes and goes.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import random
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from tests.crash.ledger import Contradiction, Items, Ledger, Memory, Row, Stored, container_of
from tests.functional.client import Client

SHARED = "/shared"
SHARED_NAMES, OWN_NAMES = 30, 4  # of each client
KIB, MIB = 1024, 1 << 20
SIZES = ((0, 0), (1, 4 * KIB), (60 * KIB, 300 * KIB), (MIB, 4 * MIB))  # bytes, from and to
SIZE_WEIGHTS = (1, 12, 4, 1)
CHUNK = 50_000  # bytes of a chunk in a chunked upload
TYPES = ("text/plain", "application/json", "image/png")

State = TypeVar("State")


def new_ledger(number: int) -> Ledger:
    """What client `number` knows before its first request."""
    own = f"/own-{number}"
    paths = [f"{SHARED}/{number}/{index}" for index in range(SHARED_NAMES)]
    paths += [f"{own}/{index}" for index in range(OWN_NAMES)]
    return Ledger({own: Memory()}, {path: Memory() for path in paths})


class Worker:
    """One client. It ends when the server does, or with a `problem` at the first contradiction."""

    def __init__(self, client: Client, number: int, ledger: Ledger, seed: str, replicas: int) -> None:
        self.counts: collections.Counter[str] = collections.Counter()  # of answers, by verb and status
        self.problem = ""
        self._client = client
        self._number = number
        (self._own,) = ledger.containers
        self._container = ledger.containers[self._own]
        self._objects = ledger.objects
        self._random = random.Random(seed)
        self._replicas = replicas
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        actions = {
            self._put: 8, self._post: 4, self._delete: 3, self._copy: 2, self._get: 5,
            self._list: 1, self._change_container: 2,
        }  # fmt: skip
        choices, weights = list(actions), list(actions.values())
        try:
            with self._client, contextlib.suppress(OSError, http.client.HTTPException):
                while True:
                    self._random.choices(choices, weights)[0]()
        except Contradiction as contradiction:
            self.problem = f"client {self._number}: {contradiction}"

    def _change(
        self,
        memory: Memory[State],
        new: State | None,
        verb: str,
        path: str,
        expected: set[int],
        *,
        headers: dict[str, str] | None = None,
        content: bytes = b"",
        undone: int = 0,
    ) -> None:
        """Send what would make it `new`; `undone` is a status that says that nothing was changed."""
        before = set(memory.possible), set(memory.listed), memory.is_settled
        memory.attempt(new)
        # http.client sends an iterator in chunks.
        body = _chunks(content) if content and self._random.random() < 0.2 else content
        status = self._client.request(verb, path, body, headers).status
        self.counts[f"{verb} {status}"] += 1
        if status in expected:
            memory.acknowledge(new)
        elif status == undone:
            memory.possible, memory.listed, memory.is_settled = before
        elif status < 500:
            raise Contradiction(f"{verb} {path}: {status} and not {expected}; it was {before}")

    # --- objects --------------------------------------------------------------------------------------

    def _put(self) -> None:
        path = self._pick(lambda memory: True)
        content = self._random.randbytes(self._size())
        content_type, items = self._random.choice(TYPES), self._new_items()
        headers = {"Content-Type": content_type, **_headers("Object", items)}
        new = Stored.of_content(content, content_type, items)
        self._change(self._objects[path], new, "PUT", path, {201}, headers=headers, content=content)

    def _post(self) -> None:
        path = self._pick(lambda memory: memory.is_there)
        old = self._objects[path].state if path else None
        if old is None:
            return
        items, content_type = self._new_items(), old.content_type
        headers = _headers("Object", items)
        if self._random.random() < 0.5:
            content_type = headers["Content-Type"] = self._random.choice(TYPES)
        new = Stored(old.etag, old.size, content_type, items)
        self._change(self._objects[path], new, "POST", path, {202}, headers=headers)

    def _delete(self) -> None:
        is_there = self._random.random() < 0.9
        path = self._pick(lambda memory: memory.is_there == is_there)
        if path:
            memory = self._objects[path]
            expected = {204} if memory.is_there else {404} if memory.is_settled else {204, 404}
            self._change(memory, None, "DELETE", path, expected)

    def _copy(self) -> None:
        source, target = self._pick(lambda memory: memory.is_there), self._pick(lambda memory: True)
        if source and source != target:
            new, headers = self._objects[source].state, {"Destination": target}
            self._change(self._objects[target], new, "COPY", source, {201}, headers=headers)

    def _get(self) -> None:
        path = self._pick(lambda memory: True)
        status = look_at(self._client, path, self._objects[path], self._replicas)
        self.counts[f"GET {status}"] += 1

    # --- containers -----------------------------------------------------------------------------------

    def _list(self) -> None:
        """A listing may lag behind, but whatever it shows was so once."""
        answer = self._client.get(f"{SHARED}?format=json&prefix={self._number}/")
        self.counts[f"GET listing {answer.status}"] += 1
        if answer.status >= 500:
            return
        for row in answer.json():
            memory = self._objects.get(f"{SHARED}/{row['name']}", Memory())
            if (row["hash"], row["bytes"], row["content_type"]) not in rows_of(memory.ever):
                raise Contradiction(f"the listing of {SHARED} shows what never was: {row}")

    def _change_container(self) -> None:
        memory = self._container
        items = frozenset({("mark", f"{self._random.getrandbits(64):x}")})
        headers = _headers("Container", items)
        is_empty = all(
            self._objects[path].is_gone for path in self._objects if container_of(path) == self._own
        )
        if memory.is_there and is_empty and self._random.random() < 0.5:
            # It is refused while the word of an object's deletion is still on its way.
            self._change(memory, None, "DELETE", self._own, {204}, undone=409)
        elif memory.is_there and self._random.random() < 0.5:
            self._change(memory, items, "POST", self._own, {204}, headers=headers)
        else:
            expected = {202} if memory.is_there else {201} if memory.is_settled else {201, 202}
            self._change(memory, items, "PUT", self._own, expected, headers=headers)

    # --- what requests are made of ----------------------------------------------------------------------

    def _pick(self, is_wanted: Callable[[Memory[Stored]], bool]) -> str:
        """One of the objects that are as wanted and whose container is there; empty when there is none."""
        paths = [
            path
            for path, memory in self._objects.items()
            if is_wanted(memory) and (container_of(path) == SHARED or self._container.is_there)
        ]
        return self._random.choice(paths) if paths else ""

    def _size(self) -> int:
        (span,) = self._random.choices(SIZES, SIZE_WEIGHTS)
        return self._random.randint(*span)

    def _new_items(self) -> Items:
        items = {("mark", f"{self._random.getrandbits(64):x}")}
        if self._random.random() < 0.3:
            items.add(("note", "n" * self._random.randint(1, 200)))
        return frozenset(items)


def look_at(client: Client, path: str, memory: Memory[Stored], replicas: int) -> int:
    """GET an object and compare it with what may be; the status. Raises Contradiction."""
    # A write is acknowledged when most replicas have it, so a single one may be behind.
    answer = client.get(path, {"X-Newest": "true"} if replicas > 1 else {})
    if answer.status not in (200, 404):
        if answer.status < 500:
            raise Contradiction(f"GET {path}: {answer.status} {answer.text}")
        return answer.status
    try:
        memory.see(Stored.of_answer(answer) if answer.status == 200 else None, settles=replicas == 1)
    except Contradiction as contradiction:
        raise Contradiction(f"GET {path}: {contradiction}") from None
    return answer.status


def rows_of(states: set[Stored | None]) -> set[Row | None]:
    """How listings show objects in these states; None for not at all."""
    return {state.row if state else None for state in states}


def _headers(kind: str, items: Items) -> dict[str, str]:
    return {f"X-{kind}-Meta-{name}": value for name, value in items}


def _chunks(content: bytes) -> Iterator[bytes]:
    return (content[start : start + CHUNK] for start in range(0, len(content), CHUNK))
