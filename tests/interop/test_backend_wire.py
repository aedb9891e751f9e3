"""Our storage servers answer every request of the back-end protocol as Swift's do, and store the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from miniswift.storage import pickles
from tests.interop import disks, wire
from tests.interop.clusters import MINISWIFT, SWIFT, Backends
from tests.interop.scenes import differences
from tests.interop.wire import SCRIPTS, Wire

KINDS = tuple(SCRIPTS)


@pytest.fixture(scope="module")
def recorded(backends: Callable[[str], Backends]) -> Callable[[str, str], Wire]:
    """The scripts of a kind of server, told to an implementation's."""
    base = int(time.time()) - 1000
    told: dict[tuple[str, str], Wire] = {}

    def record(implementation: str, kind: str) -> Wire:
        if (implementation, kind) not in told:
            wires = Wire(backends(implementation).ports[implementation, kind], kind, base)
            wire.any_server(wires)
            SCRIPTS[kind](wires)
            told[implementation, kind] = wires
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
    return backends(SWIFT).devices / "d1", backends(MINISWIFT).devices / "d1"


def test_objects_lie_as_swift_puts_them(devices: tuple[Path, Path]) -> None:
    theirs, ours = map(disks.objects, devices)
    assert ours == theirs


def test_waiting_updates_are_those_of_swift(devices: tuple[Path, Path]) -> None:
    theirs, ours = map(disks.async_pendings, devices)
    assert theirs
    assert ours == theirs


@pytest.mark.parametrize("kind", ["account", "container"])
def test_databases_hold_what_swifts_hold(devices: tuple[Path, Path], kind: str) -> None:
    theirs, ours = (disks.databases(device, kind) for device in devices)
    assert theirs
    assert ours == theirs


@pytest.mark.parametrize("kind", ["account", "container"])
def test_databases_are_made_as_swifts_are(devices: tuple[Path, Path], kind: str) -> None:
    theirs, ours = (disks.schemas(device, kind) for device in devices)
    assert ours == theirs
