"""REPLICATE on databases: copies on two nodes that are brought together."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miniswift.storage.container_replication import is_better
from tests.unit.storage.databases import Answer, Node, at, call


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "here").mkdir()
    node = Node(tmp_path / "here").with_account()
    yield node
    node.close()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "there").mkdir()
    node = Node(tmp_path / "there").with_account()
    yield node
    node.close()


def digest(node: Node, kind: str = "container") -> str:
    return node.cluster.hash_path("a", "c") if kind == "container" else node.cluster.hash_path("a")


def replicate(node: Node, *arguments: Any, kind: str = "container") -> Answer:
    app = getattr(node, kind)
    part = 2 if kind == "container" else 1
    return call(app, "REPLICATE", f"/sda/{part}/{digest(node, kind)}", {}, json.dumps(arguments).encode())


def sync_arguments(node: Node, point: int | None = None) -> list[Any]:
    """What the replicator of `node` sends about its copy."""
    digest_ = digest(node)
    target = f"{node.root}/sda/containers/2/{digest_[-3:]}/{digest_}/{digest_}.db"
    replication = node.container.replication(f"{node.root}/sda", target, node.container.databases)
    info = replication.replication_info()
    return [
        info["max_row"] if point is None else point,
        *(
            info[name]
            for name in ("hash", "id", "created_at", "put_timestamp", "delete_timestamp", "metadata")
        ),
        *(info[name] for name in ("status_changed_at", "count", "storage_policy_index")),
    ]


def row(name: str, rowid: int) -> dict[str, Any]:
    return {
        "ROWID": rowid,
        "name": name,
        "created_at": at(1),
        "size": 1,
        "content_type": "t",
        "etag": "e",
        "deleted": 0,
        "storage_policy_index": 0,
    }


# --- sync ---------------------------------------------------------------------------------------------


def test_copy_that_is_missing_is_not_found_and_can_be_sent(here: Node) -> None:
    assert replicate(here, "sync", 1, "0" * 32, "id", at(0), at(0), "0", "").status == 404
    assert (here.root / "sda/tmp").is_dir()


def test_sync_tells_how_the_copy_stands(here: Node) -> None:
    here.with_container()
    here.put_row("o")

    answer = replicate(here, *["sync", *sync_arguments(here)])

    assert answer.status == 200
    info = answer.json
    assert (info["point"], info["max_row"], info["count"], info["shard_max_row"]) == (1, 1, 1, -1)
    assert {"hash", "id", "created_at", "put_timestamp", "delete_timestamp", "metadata"} < set(info)


def test_sync_of_an_account_has_no_container_columns(here: Node) -> None:
    arguments = [
        "sync",
        3,
        "1" * 32,
        "id",
        at(-1),
        at(5),
        "0",
        '{"X-Account-Meta-A": ["v", "' + at(1) + '"]}',
    ]

    answer = replicate(here, *arguments, kind="account")

    assert (answer.status, answer.json["point"], answer.json["count"]) == (200, -1, 0)
    headers = call(here.account, "HEAD", "/sda/1/a").headers
    assert headers["X-Account-Meta-A"] == "v"
    assert headers["X-Put-Timestamp"] == at(5)
    assert headers["X-Timestamp"] == at(-1)


def test_equal_copies_note_that_they_are(here: Node, there: Node) -> None:
    here.with_container()
    there.with_container()
    for node in (here, there):
        node.put_row("o")

    arguments = ["sync", *sync_arguments(there, point=7)]

    assert replicate(here, *arguments).json["point"] == 7
    assert replicate(here, *arguments).json["point"] == 7


def test_sync_takes_over_metadata_and_deletion(here: Node, there: Node) -> None:
    here.with_container(**{"X-Container-Meta-A": "v"})
    there.with_container(**{"X-Container-Meta-A": "v"})
    call(there.container, "DELETE", "/sda/2/a/c", {"X-Timestamp": at(2)})

    replicate(here, *["sync", *sync_arguments(there)])

    answer = call(here.container, "HEAD", "/sda/2/a/c")
    assert answer.status == 404
    assert answer.headers["X-Backend-Delete-Timestamp"] == at(2)
    assert answer.headers["X-Backend-Status-Changed-At"] > at(2)


def test_sync_takes_over_the_better_policy(here: Node, there: Node) -> None:
    call(here.container, "PUT", "/sda/2/a/c", {"X-Timestamp": at(1)})
    there.with_container(**{"X-Backend-Storage-Policy-Index": "1"})

    answer = replicate(here, *["sync", *sync_arguments(there)])

    assert answer.json["storage_policy_index"] == 1
    assert replicate(there, *["sync", *sync_arguments(here)]).json["storage_policy_index"] == 1


def standing(put: int, delete: int, changed: int, objects: int = 0) -> dict[str, Any]:
    stamps = {"put_timestamp": put, "delete_timestamp": delete, "status_changed_at": changed}
    return {name: at(value) if value else "0" for name, value in stamps.items()} | {"object_count": objects}


@pytest.mark.parametrize(
    ("theirs", "ours", "is_theirs"),
    [
        (standing(1, 0, 1), standing(2, 0, 2), True),  # the oldest
        (standing(2, 0, 2), standing(1, 0, 1), False),
        (standing(1, 0, 1), standing(1, 2, 2), True),  # the living
        (standing(1, 2, 2), standing(1, 0, 1), False),
        (standing(1, 3, 3), standing(1, 2, 2), True),  # the one deleted later
        (standing(5, 4, 5), standing(1, 0, 1), True),  # the recreated
        (standing(1, 0, 1), standing(5, 4, 5), False),
        (standing(9, 8, 9), standing(5, 4, 5), True),  # the one recreated after the last deletion
        (standing(5, 4, 5), standing(9, 8, 9), False),
        (standing(6, 4, 6), standing(7, 4, 7), True),
    ],
)
def test_better_of_two_policies(theirs: dict[str, Any], ours: dict[str, Any], is_theirs: bool) -> None:
    assert is_better(theirs, ours) == is_theirs


# --- rows ---------------------------------------------------------------------------------------------


def test_rows_of_a_peer_are_merged_and_remembered(here: Node) -> None:
    here.with_container()

    assert replicate(here, "merge_items", [row("a", 3), row("b", 4)], "peer").status == 202

    assert here.list_names() == ["a", "b"]
    arguments = sync_arguments(here)
    arguments[2] = "peer"
    assert replicate(here, *["sync", *arguments]).json["point"] == 4


def test_rows_of_containers_are_merged_too(here: Node) -> None:
    item = {"put_timestamp": at(0), "delete_timestamp": "0", "object_count": 1, "bytes_used": 2, "deleted": 0}

    answer = replicate(here, "merge_items", [{"ROWID": 1, "name": "c", **item}], "peer", kind="account")

    assert answer.status == 202
    assert call(here.account, "GET", "/sda/1/a", format="json").names == ["c"]


def test_points_of_others_only_grow(here: Node) -> None:
    here.with_container()
    for point in (5, 3):
        points = [{"remote_id": "other", "sync_point": point}]
        assert replicate(here, "merge_syncs", points).status == 202

    arguments = sync_arguments(here, point=0)
    arguments[2] = "other"
    assert replicate(here, *["sync", *arguments]).json["point"] == 5


# --- files --------------------------------------------------------------------------------------------


def send_file(source: Node, target: Node, name: str) -> Path:
    (target.root / "sda/tmp").mkdir(exist_ok=True)
    sent = target.root / "sda/tmp" / name
    call(source.container, "HEAD", "/sda/2/a/c")  # merges what is pending
    shutil.copy(source.db_file("container"), sent)
    return sent


def test_sent_file_becomes_the_database(here: Node, there: Node) -> None:
    there.with_container(**{"X-Container-Meta-A": "v"})
    there.put_row("o")
    sent = send_file(there, here, "their-id")

    assert replicate(here, "complete_rsync", "their-id").status == 204

    assert not sent.exists()
    assert here.list_names() == ["o"]
    arguments = sync_arguments(there)
    assert sync_arguments(here)[2] != arguments[2]  # an id of its own
    assert sync_arguments(here)[2].endswith("-sda")
    arguments[2] = "their-id"
    assert replicate(here, *["sync", *arguments]).json["point"] == 1
    assert replicate(here, "complete_rsync", "their-id").status == 404


def test_sent_file_is_merged_with_the_database(here: Node, there: Node) -> None:
    here.with_container(**{"X-Container-Meta-Here": "v"})
    there.with_container(**{"X-Container-Meta-There": "v"})
    here.put_row("here")
    here.put_row("both", 2)
    there.put_row("there")
    there.put_row("both", 1)
    send_file(there, here, "their-id")
    here.put_row("pending")

    assert replicate(here, "rsync_then_merge", "their-id").status == 204

    assert here.list_names() == ["both", "here", "pending", "there"]
    headers = call(here.container, "HEAD", "/sda/2/a/c").headers
    assert (headers["X-Container-Meta-Here"], headers["X-Container-Meta-There"]) == ("v", "v")
    assert headers["X-Container-Object-Count"] == "4"


@pytest.mark.parametrize("name", ["complete_rsync", "rsync_then_merge"])
def test_file_that_never_came_is_not_found(here: Node, name: str) -> None:
    assert replicate(here, name, "their-id").status == 404
    here.with_container()
    assert replicate(here, name, "their-id").status == 404


def test_sent_file_that_is_no_database_harms_nothing(here: Node) -> None:
    here.with_container()
    here.put_row("o")
    (here.root / "sda/tmp").mkdir()
    (here.root / "sda/tmp/their-id").write_bytes(b"no database" * 1000)

    assert replicate(here, "rsync_then_merge", "their-id").status == 500

    assert here.list_names() == ["o"]
    assert os.listdir(here.root / "sda/tmp") == ["their-id"]


# --- shards and nonsense ------------------------------------------------------------------------------


def test_containers_here_have_no_shards(here: Node) -> None:
    here.with_container()

    assert replicate(here, "get_shard_ranges").json == []
    assert replicate(here, "merge_shard_ranges", []).status == 202
    assert replicate(here, "merge_shard_ranges", [{}]).status == 400


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [7],
        ["quarantine", "x"],
        ["sync"],
        ["sync", "1", "h", "i", at(0), at(0), "0", ""],
        ["sync", 1, "h", "i", at(0), "soon", "0", ""],
        ["sync", 1, "h", "i", at(0), at(0), 0, ""],
        ["sync", 1, "h", "i", at(0), at(0), "0", "["],
        ["sync", 1, "h", "i", at(0), at(0), "0", "[]"],
        ["sync", 1, "h", "i", at(0), at(0), "0", '{"A": "v"}'],
        ["sync", 1, "h", "i", at(0), at(0), "0", '{"A": [1, 2]}'],
        ["sync", 1, "h", "i", at(0), at(0), "0", "", at(0), "many", 0],
        ["merge_items"],
        ["merge_items", 7],
        ["merge_items", [7]],
        ["merge_items", [{"name": "o"}], "peer"],
        ["merge_items", [{name: value for name, value in row("o", 1).items() if name != "ROWID"}], "peer"],
        ["merge_syncs", [{}]],
        ["merge_syncs", 7],
        ["complete_rsync", "../x"],
        ["complete_rsync", ".."],
        ["complete_rsync", "x\0"],
        ["complete_rsync", 7],
        ["complete_rsync", "x", "y_1.db"],
        ["rsync_then_merge", "/etc/passwd"],
        ["rsync_then_merge"],
    ],
)
def test_call_that_is_none_is_refused(here: Node, arguments: list[Any]) -> None:
    here.with_container()
    before = sync_arguments(here)

    assert replicate(here, *arguments).status == 400
    assert sync_arguments(here) == before


@pytest.mark.parametrize(
    "path", ["/sda/2/abc", "/sda/2/" + "g" * 32, "/sda/2/" + "a" * 32 + "/b", "/sda/2/.."]
)
def test_path_without_a_hash_is_refused(here: Node, path: str) -> None:
    assert call(here.container, "REPLICATE", path, {}, b'["get_shard_ranges"]').status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"7", b'"sync"', b"{}"])
def test_body_that_is_no_list_is_refused(here: Node, body: bytes) -> None:
    here.with_container()

    assert call(here.container, "REPLICATE", f"/sda/2/{digest(here)}", {}, body).status == 400
