"""What a reader may find: the memory of clients that know what was acknowledged to them.

1. A name is written by one client only, one request after the other.
2. After an acknowledgement a reader finds the new state and nothing else; from the moment a request is
   sent until then the new state or what could be found before.
3. A row of a listing may be older than its object as long as neither was acknowledged: the crash may have
   come between the two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tests.functional.client import Answer

State = TypeVar("State")
Row = tuple[str, int, str]  # ETag, size and content type, as a listing shows them
Items = frozenset[tuple[str, str]]  # metadata: names (lower case, without what all begin with) and values


class Contradiction(AssertionError):
    """Raised when a server says what cannot be, after what it said before."""


@dataclass(frozen=True)
class Stored:
    """All that a client sees of an object."""

    etag: str
    size: int
    content_type: str
    items: Items

    @property
    def row(self) -> Row:
        return self.etag, self.size, self.content_type

    @classmethod
    def of_content(cls, content: bytes, content_type: str, items: Items) -> Stored:
        return cls(hashlib.md5(content).hexdigest(), len(content), content_type, items)

    @classmethod
    def of_answer(cls, answer: Answer) -> Stored:
        """What a GET has brought. Raises Contradiction when the answer disagrees with itself."""
        items = items_of(answer, "object")
        found = cls.of_content(answer.body, answer.headers["Content-Type"], items)
        if answer.headers["Etag"] != found.etag:
            raise Contradiction(f"the ETag is {answer.headers['Etag']}, the content's MD5 {found.etag}")
        return found


def items_of(answer: Answer, kind: str) -> Items:
    """The metadata in the headers of an answer about an object or container."""
    start = f"x-{kind}-meta-"
    named = ((name.lower(), value) for name, value in answer.headers.items())
    return frozenset((name[len(start) :], value) for name, value in named if name.startswith(start))


class Memory(Generic[State]):
    """What is known of one name. None is the state of what does not exist."""

    def __init__(self) -> None:
        self.possible: set[State | None] = {None}  # what a reader may find
        self.listed: set[State | None] = {None}  # what a listing may say
        self.ever: set[State | None] = {None}  # what it was at any time, asked for or acknowledged
        self.attempted: State | None = None  # by the last request
        self.is_settled = True  # whether all replicas may be expected to have it

    def attempt(self, new: State | None) -> None:
        """A request is about to be sent that would make it so."""
        for states in (self.possible, self.listed, self.ever):
            states.add(new)
        self.attempted = new
        self.is_settled = False

    def acknowledge(self, new: State | None) -> None:
        self.possible, self.listed = {new}, {new}
        self.is_settled = True

    def see(self, found: State | None, *, settles: bool) -> None:
        """Somebody has read it. Raises Contradiction when it cannot be so.

        What was found stays so; `settles` tells whether the replicas are known to agree on it.
        """
        if found not in self.possible:
            when = "earlier" if found in self.ever else "never"
            raise Contradiction(f"found {found}, which was {when} so; possible: {self.possible}")
        self.possible = {found}
        self.is_settled |= settles

    @property
    def is_open(self) -> bool:
        """Whether its last request was not acknowledged, and nobody has looked since."""
        return len(self.possible) > 1

    @property
    def state(self) -> State | None:
        """The only possible state. Raises ValueError when there are several."""
        (state,) = self.possible
        return state

    @property
    def is_there(self) -> bool:
        """Whether it certainly exists, on all replicas."""
        return self.is_settled and not self.is_open and None not in self.possible

    @property
    def is_gone(self) -> bool:
        """Whether it certainly does not exist."""
        return self.possible == {None}


Objects = dict[str, Memory[Stored]]  # by path below the account
Containers = dict[str, Memory[Items]]


@dataclass(frozen=True)
class Ledger:
    """What one or several clients know."""

    containers: Containers
    objects: Objects

    @classmethod
    def joined(cls, ledgers: Iterable[Ledger]) -> Ledger:
        whole = cls({}, {})
        for ledger in ledgers:
            whole.containers.update(ledger.containers)
            whole.objects.update(ledger.objects)
        return whole

    def objects_in(self, container: str) -> Objects:
        """Those of a container, by path."""
        return {path: memory for path, memory in self.objects.items() if container_of(path) == container}


def container_of(path: str) -> str:
    """The container of an object: `/container` of `/container/object`."""
    return path[: path.index("/", 1)]
