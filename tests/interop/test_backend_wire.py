"""Our storage servers answer every request of the back-end protocol as Swift's do, and store the same."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from miniswift.storage import pickles
from tests.interop import disks
from tests.interop.clusters import MINISWIFT, SWIFT, Backends
from tests.interop.scenes import differences
from tests.interop.wire import DEVICE, Wire
from tests.interop.wire_scripts import SCRIPTS, any_server

KINDS = tuple(SCRIPTS)


@pytest.fixture(scope="module")
def recorded(backends: Callable[[str], Backends]) -> Callable[[str, str], Wire]:
    """The scripts of a kind of server, told to an implementation's."""
    base = int(time.time()) - 1000
    told: dict[tuple[str, str], Wire] = {}

    def record(implementation: str, kind: str) -> Wire:
        if (implementation, kind) not in told:
            # A device that is in no ring, so that nobody else puts anything there.
            (backends(implementation).devices / DEVICE).mkdir(exist_ok=True)
            wire = Wire(backends(implementation).ports[implementation, kind], kind, base)
            any_server(wire)
            SCRIPTS[kind](wire)
            told[implementation, kind] = wire
        return told[implementation, kind]

    return record


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_swift(recorded: Callable[[str, str], Wire], kind: str) -> None:
    expected, seen = recorded(SWIFT, kind).scenes, recorded(MINISWIFT, kind).scenes
    found = differences(expected, seen)
    assert not found, "\n".join(found)


@pytest.fixture(scope="module")
def devices(backends: Callable[[str], Backends], recorded: Callable[[str, str], Wire]) -> tuple[Path, Path]:
    """The device of Swift and ours, after all scripts."""
    for implementation in (SWIFT, MINISWIFT):
        for kind in KINDS:
            recorded(implementation, kind)
    return backends(SWIFT).devices / DEVICE, backends(MINISWIFT).devices / DEVICE


def test_objects_lie_as_swift_puts_them(devices: tuple[Path, Path]) -> None:
    theirs, ours = map(disks.objects, devices)
    assert ours == theirs


def test_waiting_updates_are_those_of_swift(devices: tuple[Path, Path]) -> None:
    theirs, ours = map(disks.async_pendings, devices)
    assert theirs
    assert ours == theirs


@pytest.mark.parametrize("kind", ["account", "container"])
def test_databases_hold_what_swifts_hold(devices: tuple[Path, Path], kind: str) -> None:
    theirs, ours = (_without_own_times(repr(disks.databases(device, kind))) for device in devices)
    assert ours == theirs


def _without_own_times(text: str) -> str:
    """Text without the times that the scripts did not give: those are of whole and half seconds."""
    return re.sub(r"\b\d{10}\.(?!00000|50000)\d{5}\b", "a moment", text)


@pytest.mark.parametrize("kind", ["account", "container"])
def test_databases_are_made_as_swifts_are(devices: tuple[Path, Path], kind: str) -> None:
    theirs, ours = (disks.schemas(device, kind) for device in devices)
    assert ours == theirs


def test_replicators_are_told_the_same_hashes(
    recorded: Callable[[str, str], Wire], devices: tuple[Path, Path]
) -> None:
    def hashes(implementation: str, path: str, policy: str) -> object:
        headers = {"X-Backend-Storage-Policy-Index": policy}
        answer = recorded(implementation, "object")("REPLICATE", path, None, headers)
        assert answer.status == 200
        return pickles.loads(answer.body)

    for path, policy in (
        ("/wire/7", "0"),
        ("/wire/7", "1"),
        ("/wire/8", "0"),
        ("/wire/7/abc-def", "0"),
        ("/wire/7", "0"),
    ):
        assert hashes(MINISWIFT, path, policy) == hashes(SWIFT, path, policy), (path, policy)
    theirs, ours = map(disks.hashes, devices)
    assert theirs
    assert ours == theirs


def test_replicators_are_told_what_changed(
    recorded: Callable[[str, str], Wire], devices: tuple[Path, Path]
) -> None:
    for implementation in (SWIFT, MINISWIFT):
        ask = recorded(implementation, "object")
        ask("REPLICATE", "/wire/9")
        ask("PUT", "/wire/9/a/c/new", 1, {"Content-Type": "text/plain"}, b"new")
        ask("REPLICATE", "/wire/9")
        ask("POST", "/wire/9/a/c/new", 2, {"X-Object-Meta-A": "1"})
        ask("DELETE", "/wire/9/a/c/never", 2)
    theirs, ours = map(disks.hashes, devices)
    assert theirs["objects/9/hashes.invalid"]
    assert ours == theirs
