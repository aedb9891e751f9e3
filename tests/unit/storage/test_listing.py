from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniswift.storage.account_broker import ContainerRow
from miniswift.storage.database_cache import DatabaseCache
from miniswift.storage.listing import Query, successor
from miniswift.storage.object_rows import ObjectRow
from tests.unit.storage.databases import account_broker, at, container_broker

# Few characters, so that prefixes, delimiters and markers meet; the odd ones stand where code points
# and UTF-16 or bytes are easily confused.
LETTERS = "ab/-0\x00\ud7ff\ue000\uffff\U00010000\U0010ffff☃"
names = st.text(LETTERS, min_size=1, max_size=5)
maybe_names = st.one_of(st.just(""), names)
queries = st.builds(
    Query,
    st.integers(0, 8),
    maybe_names,
    maybe_names,
    st.one_of(st.just(""), st.text(LETTERS, max_size=2)),
    st.sampled_from(["", "", "/", "-", "//", "/a", "☃", "\U0010ffff"]),
    st.one_of(st.none(), st.none(), st.sampled_from(["", "a", "a/", "/", "a/b"])),
    st.booleans(),
    st.booleans(),
)


@pytest.fixture
def databases() -> Iterator[DatabaseCache]:
    cache = DatabaseCache()
    yield cache
    cache.close()


def naive(all_names: set[str], query: Query) -> list[str]:
    """The rules of a listing, one after the other, over all names."""
    low, high = (
        (query.marker, query.end_marker) if not query.is_reversed else (query.end_marker, query.marker)
    )
    prefix, delimiter = query.prefix, query.delimiter
    if query.path is not None:
        prefix, delimiter = query.path.rstrip("/") + "/" if query.path else "", "/"
    found: list[str] = []
    for name in sorted(all_names, reverse=query.is_reversed):
        is_inside = name.startswith(prefix) and (not low or name > low) and (not high or name < high)
        if not is_inside or (not query.with_reserved and name < "\x01"):
            continue
        rest = name[len(prefix) :]
        folder = prefix + rest.partition(delimiter)[0] + delimiter if delimiter and delimiter in rest else ""
        if query.path is not None:
            if name != prefix and folder in ("", name):
                found.append(name)
        elif not folder:
            found.append(name)
        elif folder != (query.end_marker if query.is_reversed else query.marker) and folder not in found:
            found.append(folder)
    return found[: query.limit]


@settings(max_examples=30, deadline=None)
@given(st.sets(names, max_size=25), st.lists(queries, min_size=1, max_size=20))
def test_object_listing_is_that_of_the_naive_rules(
    tmp_path_factory: pytest.TempPathFactory, some: set[str], asked: list[Query]
) -> None:
    databases = DatabaseCache()
    broker = container_broker(tmp_path_factory.mktemp("listing"), databases)
    others = {name + "x" for name in some}
    broker.merge_rows(
        [ObjectRow(name, at(0), 1, "t", "e", 0, 0) for name in some]
        + [ObjectRow(name, at(0), 1, "t", "e", 0, 1) for name in others]
        + [ObjectRow.deletion(name + "y", at(0), 0) for name in some]
    )

    for query in asked:
        entries = broker.list_objects(query, 0)
        assert [entry if isinstance(entry, str) else entry[0] for entry in entries] == naive(some, query)
    databases.close()


@settings(max_examples=20, deadline=None)
@given(st.sets(names, max_size=25), st.lists(queries, min_size=1, max_size=20))
def test_container_listing_is_that_of_the_naive_rules(
    tmp_path_factory: pytest.TempPathFactory, some: set[str], asked: list[Query]
) -> None:
    databases = DatabaseCache()
    broker = account_broker(tmp_path_factory.mktemp("listing"), databases)
    broker.merge_rows([ContainerRow(name, at(0), "0", 0, 0) for name in some])

    for query in asked:
        entries = broker.list_containers(query)
        assert [entry if isinstance(entry, str) else entry[0] for entry in entries] == naive(some, query)
    databases.close()


@given(names, names)
def test_successor_is_above_all_with_the_prefix(prefix: str, rest: str) -> None:
    following = successor(prefix)

    if following is None:
        assert set(prefix) == {"\U0010ffff"}
    else:
        assert prefix + rest < following
        assert not following.startswith(prefix)
        following.encode()


def test_page_of_folders_reads_no_more_rows_than_it_shows(tmp_path: Path, databases: DatabaseCache) -> None:
    broker = container_broker(tmp_path, databases)
    broker.merge_rows(
        [ObjectRow(f"d{d}/{n:03}", at(0), 1, "t", "e", 0) for d in range(5) for n in range(200)]
    )
    steps = []

    def count(connection: object) -> None:
        connection.set_progress_handler(lambda: steps.append(1), 100)  # type: ignore[attr-defined]

    broker.read(count)
    entries = broker.list_objects(Query(10, delimiter="/"), 0)

    assert entries == [f"d{d}/" for d in range(5)]
    assert len(steps) < 10  # a thousand virtual machine steps; all rows would take ten times that
