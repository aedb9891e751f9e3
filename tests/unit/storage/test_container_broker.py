from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.storage.container_broker import ContainerBroker, NewerExists, NotEmpty, OtherPolicy
from miniswift.storage.database_cache import DatabaseCache
from miniswift.storage.listing import Query
from miniswift.storage.object_rows import ObjectRow, merged, split_swift_bytes
from miniswift.timestamp import Timestamp
from tests.unit.storage.databases import LIMITS, at, container_broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[ContainerBroker]:
    databases = DatabaseCache()
    yield container_broker(tmp_path, databases)
    databases.close()


def time(seconds: float) -> Timestamp:
    return Timestamp.parse(at(seconds))


def row(name: str, seconds: float, **fields: Any) -> ObjectRow:
    return ObjectRow(name, at(seconds), 5, "text/plain", "e", 0)._replace(**fields)


def put(broker: ContainerBroker, seconds: float, policy: int = 0, is_required: bool = False) -> bool:
    return broker.put(time(seconds), {}, LIMITS, policy_index=policy, is_policy_required=is_required)


# --- two rows of one name -----------------------------------------------------------------------------


def stored(created_at: str, **fields: Any) -> ObjectRow:
    return ObjectRow("o", created_at, 1, "t/old", "old", 0)._replace(**fields)


# (what is stored, what comes, what is stored then)
MERGES = [
    (None, row("o", 1), row("o", 1)),
    (None, row("o", 1, created_at=at(1) + "_000000000000001f"), row("o", 1, created_at=at(1) + "_1f")),
    (
        None,
        row("o", 1, ctype_timestamp=at(2), meta_timestamp=at(3)),
        row("o", 1, created_at=at(1) + "+186a0+186a0"),
    ),
    (stored(at(2)), row("o", 1), None),
    (stored(at(1)), row("o", 1), None),
    (stored(at(1)), row("o", 2), row("o", 2)),
    (stored(at(1)), ObjectRow.deletion("o", at(2), 0), ObjectRow.deletion("o", at(2), 0)),
    (stored(at(2)), ObjectRow.deletion("o", at(1), 0), None),
    # A POST: new content type and metadata, the data as they were.
    (
        stored(at(1)),
        row("o", 1, content_type="t/new", ctype_timestamp=at(2), meta_timestamp=at(3)),
        stored(at(1) + "+186a0+186a0", content_type="t/new"),
    ),
    (stored(at(1)), row("o", 1, meta_timestamp=at(3)), stored(at(1) + "+0+30d40")),
    # Data newer, content type older: of each the newer, and swift_bytes belong to the data.
    (
        stored(at(1) + "+30d40+0", content_type="t/old;swift_bytes=1"),
        row("o", 2, content_type="t/new; x=y;swift_bytes=2"),
        row("o", 2, created_at=at(2) + "+186a0+0", content_type="t/old;swift_bytes=2"),
    ),
]


@pytest.mark.parametrize(("existing", "incoming", "result"), MERGES)
def test_rows_are_merged_part_by_part(
    existing: ObjectRow | None, incoming: ObjectRow, result: ObjectRow | None
) -> None:
    found = merged(incoming, existing)

    assert (found and found[:7]) == (result and result[:7])


seconds = st.integers(0, 4)
# What a row says is a function of its times: two rows of one time that differ have no right order.
incoming_rows = st.one_of(
    st.builds(lambda data: ObjectRow.deletion("o", at(data + 0.5), 0), seconds),
    st.builds(
        lambda data, content_type, meta: row(
            "o",
            data,
            size=data,
            etag=str(data),
            content_type=f"t/{content_type}",
            ctype_timestamp=at(content_type),
            meta_timestamp=at(meta),
        ),
        seconds,
        seconds,
        seconds,
    ),
)


@given(st.lists(incoming_rows, min_size=1, max_size=4))
def test_the_order_of_merges_does_not_matter(rows: list[ObjectRow]) -> None:
    results = set()
    for order in permutations(rows):
        result: ObjectRow | None = None
        for incoming in order:
            result = merged(incoming, result) or result
        assert result is not None
        results.add(result[:7])

    assert len(results) == 1


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/plain", ("text/plain", None)),
        ("text/plain; charset=UTF-8", ("text/plain;charset=UTF-8", None)),
        ("text/plain;swift_bytes=5", ("text/plain", "5")),
        ('a/b; x="; swift_bytes=1" ;swift_bytes=7', ('a/b;x="; swift_bytes=1"', "7")),
        ("a/b;swift_bytes=7;y=z", ("a/b;y=z", "7")),
        ("", ("", None)),
        (";;", ("", None)),
    ],
)
def test_swift_bytes_are_taken_from_a_content_type(content_type: str, expected: tuple[str, Any]) -> None:
    assert split_swift_bytes(content_type) == expected


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("o", at(0), 1, "t", "e"),
        ("", at(0), 1, "t", "e", 0),
        (b"o", at(0), 1, "t", "e", 0),
        ("o\ud800", at(0), 1, "t", "e", 0),
        ("o", "yesterday", 1, "t", "e", 0),
        ("o", 17, 1, "t", "e", 0),
        ("o", at(0), "many", "t", "e", 0),
        ("o", at(0), 2**64, "t", "e", 0),
        ("o", at(0), None, "t", "e", 0),
        ("o", at(0), 1, None, "e", 0),
        ("o", at(0), 1, "t", "e", 0, 0, "soon"),
        ("o", at(0), 1, "t", "e", 0, 0, None, 7),
        ("o", at(0), 1, "t", "e", 0, 0, None, None, None),
    ],
)
def test_what_is_no_row_is_refused(values: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):
        ObjectRow.checked(values)


# --- counts -------------------------------------------------------------------------------------------


def test_counts_are_of_undeleted_rows_in_the_own_policy(broker: ContainerBroker) -> None:
    broker.merge_rows([row("a", 1), row("b", 1, size=7), row("c", 1, storage_policy_index=1)])
    broker.merge_rows([ObjectRow.deletion("a", at(2), 0), row("b", 2, size=3)])

    info = broker.get_info()
    assert (info["object_count"], info["bytes_used"]) == (1, 3)
    assert [entry[0] for entry in broker.list_objects(Query(10), 0)] == ["b"]
    assert [entry[0] for entry in broker.list_objects(Query(10), 1)] == ["c"]


def test_hash_depends_on_rows_and_not_on_their_order(tmp_path: Path) -> None:
    databases = DatabaseCache()
    one, other = (container_broker(tmp_path, databases, name) for name in "cd")
    rows = [row("a", 1), row("b", 1), ObjectRow.deletion("a", at(2), 0), row("b", 3)]
    for incoming in rows:
        one.merge_rows([incoming])
    other.merge_rows(rows[::-1])

    assert one.get_info()["hash"] == other.get_info()["hash"] != "0" * 32
    databases.close()


# --- the container ------------------------------------------------------------------------------------


def test_deleted_container_has_no_metadata_and_no_objects(broker: ContainerBroker) -> None:
    broker.post(time(1), {"X-Container-Meta-A": ("v", at(1))}, LIMITS)

    assert broker.delete(time(2))

    info = broker.get_info()
    assert broker.is_deleted()
    assert info["metadata"] == f'{{"X-Container-Meta-A": ["", "{at(2)}"]}}'
    assert (info["status"], info["status_changed_at"], info["delete_timestamp"]) == ("DELETED", at(2), at(2))


def test_container_with_objects_in_any_policy_is_not_deleted(broker: ContainerBroker) -> None:
    broker.put_row(row("o", 1, storage_policy_index=1))

    with pytest.raises(NotEmpty):
        broker.delete(time(2))

    assert not broker.is_deleted()


@pytest.mark.parametrize("seconds", [-1, 0])
def test_container_is_not_deleted_by_an_older_request(broker: ContainerBroker, seconds: int) -> None:
    with pytest.raises(NewerExists):
        broker.delete(time(seconds))

    assert broker.get_info()["delete_timestamp"] == "0"


def test_deleting_twice_says_so(broker: ContainerBroker) -> None:
    assert broker.delete(time(2))
    assert not broker.delete(time(3))
    assert broker.get_info()["delete_timestamp"] == at(3)


def test_object_of_a_deleted_container_revives_it(broker: ContainerBroker) -> None:
    broker.delete(time(2))
    broker.put_row(row("o", 1))

    assert not broker.is_deleted()


def test_container_put_again_may_change_its_policy(broker: ContainerBroker) -> None:
    broker.delete(time(2))

    assert put(broker, 3, policy=1, is_required=True)

    info = broker.get_info()
    assert info["storage_policy_index"] == 1
    assert (info["status"], info["status_changed_at"], info["put_timestamp"]) == ("", at(3), at(3))
    assert not broker.is_deleted()


def test_deleted_container_is_not_put_by_an_older_request(broker: ContainerBroker) -> None:
    broker.delete(time(2))

    with pytest.raises(NewerExists):
        put(broker, 2, policy=1)

    assert broker.get_info()["storage_policy_index"] == 0
    assert broker.is_deleted()


def test_living_container_keeps_its_policy(broker: ContainerBroker) -> None:
    with pytest.raises(OtherPolicy) as caught:
        put(broker, 3, policy=1, is_required=True)
    assert caught.value.index == 0
    assert broker.get_info()["put_timestamp"] == at(0)

    assert not put(broker, 3, policy=1)
    assert broker.get_info()["storage_policy_index"] == 0


def test_put_stamp_only_grows(broker: ContainerBroker) -> None:
    put(broker, 3)
    put(broker, 2)

    assert broker.get_info()["put_timestamp"] == at(3)


def test_reported_statistics_are_kept(broker: ContainerBroker) -> None:
    broker.reported(at(0), "0", 3, 15)

    info = broker.get_info()
    reported = [
        info[f"reported_{name}"]
        for name in ("put_timestamp", "delete_timestamp", "object_count", "bytes_used")
    ]
    assert reported == [at(0), "0", 3, 15]


def test_new_sync_target_starts_from_the_beginning(broker: ContainerBroker) -> None:
    def advance() -> None:
        broker.write(lambda db: db.execute("UPDATE container_stat SET x_container_sync_point1 = 7"))

    broker.post(None, {"X-Container-Sync-To": ("http://one/v1/a/c", at(1))}, LIMITS)
    advance()
    broker.post(None, {"X-Container-Sync-To": ("http://one/v1/a/c", at(2))}, LIMITS)
    assert broker.get_info()["x_container_sync_point1"] == 7

    broker.post(None, {"X-Container-Sync-To": ("http://two/v1/a/c", at(3))}, LIMITS)
    assert broker.get_info()["x_container_sync_point1"] == -1
