"""The same life gives the same answers, whichever side of the back end is whose.

The reference is a Swift on both sides. Against it stand every other pairing of a proxy with storage servers:
ours in front of Swift's, Swift's in front of ours, ours in front of ours, and either in front of a ring
whose devices belong to both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.functional.client import Client
from tests.interop.clusters import MINISWIFT, RINGS, SWIFT, Backends, Proxy
from tests.interop.life import CHAPTERS
from tests.interop.scenes import Scene, differences
from tests.interop.teller import BODY, TEXT, Chapter, tell, wsgi

REFERENCE = (SWIFT, "swift")
PAIRINGS = [(proxy, ring) for ring in RINGS for proxy in (SWIFT, MINISWIFT) if (proxy, ring) != REFERENCE]


class Told:
    """The chapters told so far, each once to each pairing. Servers are started when they are first needed."""

    def __init__(self, backends: Callable[[str], Backends], stack: contextlib.ExitStack) -> None:
        self._backends = backends
        self._stack = stack
        self._proxies: dict[tuple[str, str], Proxy] = {}
        self._scenes: dict[tuple[str, str, str], list[Scene] | AssertionError] = {}

    def __call__(self, proxy: str, ring: str, chapter: str) -> list[Scene]:
        """The scenes of a chapter; those before it are told first, as they would be in a life."""
        for earlier in CHAPTERS:
            key = (proxy, ring, earlier.__name__)
            if key not in self._scenes:
                self._scenes[key] = self._tell(proxy, ring, earlier)
            if earlier.__name__ == chapter:
                break
        scenes = self._scenes[proxy, ring, chapter]
        if isinstance(scenes, AssertionError):
            raise scenes
        return scenes

    def _tell(self, proxy: str, ring: str, chapter: Chapter) -> list[Scene] | AssertionError:
        try:
            return tell(self.proxy(proxy, ring), chapter)
        except AssertionError as error:
            return error

    def proxy(self, proxy: str, ring: str) -> Proxy:
        """A proxy in front of a ring, started when it is first asked for."""
        if (proxy, ring) not in self._proxies:
            self._proxies[proxy, ring] = self._stack.enter_context(Proxy(self._backends(ring), proxy))
        return self._proxies[proxy, ring]


@pytest.fixture(scope="module")
def told(backends: Callable[[str], Backends]) -> Iterator[Told]:
    with contextlib.ExitStack() as stack:
        yield Told(backends, stack)


@pytest.mark.parametrize("chapter", [chapter.__name__ for chapter in CHAPTERS])
def test_swift_itself_answers_so(told: Told, chapter: str) -> None:
    assert told(*REFERENCE, chapter)


@pytest.mark.parametrize("chapter", [chapter.__name__ for chapter in CHAPTERS])
@pytest.mark.parametrize(("proxy", "ring"), PAIRINGS, ids=[f"{p} proxy, {r} ring" for p, r in PAIRINGS])
def test_answers_are_those_of_swift(told: Told, proxy: str, ring: str, chapter: str) -> None:
    found = differences(told(*REFERENCE, chapter), told(proxy, ring, chapter))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize(("writer", "reader"), [(SWIFT, MINISWIFT), (MINISWIFT, SWIFT)])
def test_one_proxy_shows_what_the_other_stored(told: Told, ring: str, writer: str, reader: str) -> None:
    account, value = f"/v1/AUTH_by_{writer}", wsgi("grün ☃")
    with (
        Client.login(told.proxy(writer, ring).auth("reseller")) as theirs,
        Client.login(told.proxy(reader, ring).auth("reseller")) as ours,
    ):
        theirs.prefix = ours.prefix = account
        assert theirs.put("/c", headers={"X-Container-Meta-Colour": value}).status == 201
        assert theirs.put("/c/%E2%98%83", BODY, {**TEXT, "X-Object-Meta-Colour": value}).status == 201
        assert ours.head("/c").headers["X-Container-Meta-Colour"] == value
        found = ours.get("/c/%E2%98%83")
        assert (found.body, found.headers["X-Object-Meta-Colour"]) == (BODY, value)
        assert ours.post("/c/%E2%98%83", {"X-Object-Meta-Shape": "round"}).status == 202
        assert theirs.head("/c/%E2%98%83").headers["X-Object-Meta-Shape"] == "round"
        assert theirs.listing("/c") == ours.listing("/c")
        assert ours.delete("/c/%E2%98%83").status == 204
        assert theirs.get("/c/%E2%98%83").status == 404
        assert ours.delete("/c").status == 204
