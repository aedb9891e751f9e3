"""The table of who may do what, held against our proxy and against a real Swift's, with one real Keystone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.interop.access import MOVES, AccessWorld
from tests.interop.access_table import COLUMNS, EXPECTED
from tests.interop.conftest import KeystoneProxies
from tests.interop.keystone import Keystone
from tests.interop.keystone_proxies import OURS, SWIFTS_OWN


@pytest.fixture(scope="module")
def worlds(keystone: Keystone, keystone_proxies: KeystoneProxies) -> Iterator[Callable[[str], AccessWorld]]:
    made: dict[str, AccessWorld] = {}
    with ExitStack() as stack:

        def world(kind: str) -> AccessWorld:
            if kind not in made:
                made[kind] = AccessWorld(keystone_proxies(kind), keystone)
                stack.callback(made[kind].close)
            return made[kind]

        yield world


@pytest.mark.parametrize("kind", [OURS, SWIFTS_OWN])
@pytest.mark.parametrize("who", COLUMNS.values())
def test_who_may_do_what(worlds: Callable[[str], AccessWorld], kind: str, who: str) -> None:
    seen = {(who, what, verb): status for what, verb, status in worlds(kind).rows(who)}
    assert seen == {cell: status for cell, status in EXPECTED.items() if cell[0] == who}


def test_table_has_a_cell_for_everything() -> None:
    assert len(EXPECTED) == len(COLUMNS) * len(MOVES)
