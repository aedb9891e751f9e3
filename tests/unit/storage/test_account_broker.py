from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miniswift.storage.account_broker import AccountBroker, ContainerRow, merged
from miniswift.storage.database_cache import DatabaseCache
from miniswift.storage.listing import Query
from miniswift.timestamp import Timestamp
from tests.unit.storage.databases import LIMITS, account_broker, at


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[AccountBroker]:
    databases = DatabaseCache()
    yield account_broker(tmp_path, databases)
    databases.close()


def time(seconds: float) -> Timestamp:
    return Timestamp.parse(at(seconds))


def row(
    name: str, put: float | str = 1, delete: float | str = "0", objects: int = 0, size: int = 0
) -> ContainerRow:
    put_at, delete_at = (at(stamp) if isinstance(stamp, int) else str(stamp) for stamp in (put, delete))
    return ContainerRow.checked([name, put_at, delete_at, objects, size, 0, 0])


# (what is stored, what comes, what is stored then)
MERGES = [
    (None, row("c", 1, "0", 3, 9), row("c", 1, "0", 3, 9)),
    (row("c", 2, "0", 3, 9), row("c", 1, "0", 4, 8), row("c", 2, "0", 4, 8)),
    (row("c", 1, "0", 3, 9), row("c", 2, 1, 0, 0), row("c", 2, 1, 0, 0)),
    (row("c", 1, "0"), row("c", 1, 2), row("c", 1, 2)),
    (row("c", 1, 2), row("c", 1, "0", 1, 5), row("c", 1, 2, 1, 5)),
    (
        row("c", 1, "0", 3, 9),
        ContainerRow("c", None, at(2), None, None),
        row("c", 1, 2, 3, 9),
    ),
]


@pytest.mark.parametrize(("existing", "incoming", "result"), MERGES)
def test_rows_keep_the_newest_stamps_and_the_last_counts(
    existing: ContainerRow | None, incoming: ContainerRow, result: ContainerRow
) -> None:
    assert merged(incoming, existing) == result


def test_row_is_deleted_when_its_stamps_say_so_and_it_is_empty() -> None:
    assert row("c", 1, 2).deleted == 1
    assert row("c", 2, 1).deleted == 0
    assert row("c", 1, 2, objects=1).deleted == 0


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("c", at(0), "0", 0, 0),
        ("", at(0), "0", 0, 0, 0),
        (7, at(0), "0", 0, 0, 0),
        ("c", "never", "0", 0, 0, 0),
        ("c", at(0), 0, 0, 0, 0),
        ("c", at(0), "0", "many", 0, 0),
        ("c", at(0), "0", 0, 1.5, 0),
        ("c", at(0), "0", 0, 0, 0, "gold"),
        ("c", at(0), "0", 0, 0, 0, 0, 0),
    ],
)
def test_what_is_no_row_is_refused(values: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):
        ContainerRow.checked(values)


def test_counts_that_came_as_text_are_numbers(broker: AccountBroker) -> None:
    # A real account server writes the headers as they came into the pending file.
    broker.put_row(ContainerRow("c", at(1), "0", "3", "15", 0, "1"))  # type: ignore[arg-type]

    assert broker.list_containers(Query(10)) == [("c", 3, 15, at(1), 1)]
    assert broker.get_policy_stats() == [(1, 1, 3, 15)]


def test_totals_follow_the_rows(broker: AccountBroker) -> None:
    broker.merge_rows([row("a", 1, "0", 3, 9), row("b", 1, "0", 1, 1), row("c")])
    broker.merge_rows([row("a", 1, "0", 2, 6), row("b", 1, 2), row("c", 1, 2)])

    info = broker.get_info()
    assert [info[name] for name in ("container_count", "object_count", "bytes_used")] == [1, 2, 6]
    assert broker.get_policy_stats() == [(0, 1, 2, 6)]
    assert [entry[0] for entry in broker.list_containers(Query(10))] == ["a"]


def test_row_may_move_to_another_policy(broker: AccountBroker) -> None:
    broker.merge_rows([row("a", 1, "0", 3, 9)])
    broker.merge_rows([row("a", 2, "0", 3, 9)._replace(storage_policy_index=1)])

    assert broker.get_policy_stats() == [(0, 0, 0, 0), (1, 1, 3, 9)]
    assert broker.get_info()["container_count"] == 1


def test_deleted_account_is_deleted_whatever_it_holds(broker: AccountBroker) -> None:
    broker.merge_rows([row("a", 1, "0", 3, 9)])
    broker.update_metadata({"X-Account-Meta-A": ("v", at(1))})

    broker.delete(time(2))

    info = broker.get_info()
    assert broker.is_deleted()
    assert info["status"] == "DELETED"
    assert info["metadata"] == f'{{"X-Account-Meta-A": ["", "{at(2)}"]}}'


def test_deleted_account_is_not_put_again(broker: AccountBroker) -> None:
    broker.delete(time(2))

    assert not broker.put(time(3), {"X-Account-Meta-A": ("v", at(3))}, LIMITS)

    assert broker.is_deleted()
    assert broker.get_info()["put_timestamp"] == at(0)
    assert broker.get_info()["metadata"] == ""


def test_put_stamp_only_grows(broker: AccountBroker) -> None:
    assert broker.put(time(3), {}, LIMITS)
    assert broker.put(time(2), {}, LIMITS)

    assert broker.get_info()["put_timestamp"] == at(3)


def test_asking_whether_it_is_deleted_leaves_rows_pending(broker: AccountBroker) -> None:
    broker.put_row(row("c"))
    with open(broker.pending_file, "rb") as file:
        waiting = file.read()

    assert not broker.is_deleted()

    with open(broker.pending_file, "rb") as file:
        assert file.read() == waiting
