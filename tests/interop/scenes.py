"""What is remembered of an answer, and how two that should be alike differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scene:
    """One request, and what is comparable of its answer."""

    asked: str
    status: int
    headers: dict[str, str]
    body: Any

    def __str__(self) -> str:
        return f"{self.asked[:150]} -> {self.status}"


def differences(expected: Sequence[Scene], seen: Sequence[Scene]) -> list[str]:
    """A paragraph for each scene that is not as expected."""
    paragraphs = []
    for ours, theirs in zip(seen, expected, strict=True):
        lines = list(_differing(theirs, ours))
        if lines:
            paragraphs.append("\n".join([str(theirs), *lines]))
    return paragraphs


def _differing(expected: Scene, seen: Scene) -> Iterator[str]:
    if expected.status != seen.status:
        yield f"    status: {expected.status} from Swift, here {seen.status} {seen.body!r}"
    for name in sorted(expected.headers.keys() | seen.headers.keys()):
        if expected.headers.get(name) != seen.headers.get(name):
            yield f"    {name}: {expected.headers.get(name)!r} from Swift, here {seen.headers.get(name)!r}"
    if expected.body != seen.body:
        yield f"    body: {expected.body!r} from Swift,\n    here  {seen.body!r}"
