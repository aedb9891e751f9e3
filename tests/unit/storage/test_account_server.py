from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from miniswift.cluster import Constraints
from miniswift.storage.account_server import AccountServer, app_factory
from tests.unit.storage.databases import Answer, Node, at, call

A = "/sda/1/a"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.close()


def put_row(node: Node, name: str, put: str = at(0), delete: str = "0", **headers: Any) -> Answer:
    sent = {
        "X-Put-Timestamp": put,
        "X-Delete-Timestamp": delete,
        "X-Object-Count": "0",
        "X-Bytes-Used": "0",
    } | {header.replace("_", "-"): str(value) for header, value in headers.items()}
    return call(
        node.account, "PUT", f"{A}/{name}", {name: value for name, value in sent.items() if value != "None"}
    )


def names(node: Node, **query: Any) -> list[str]:
    return call(node.account, "GET", A, format="json", **query).names


# --- the account --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_write_needs_a_timestamp(node: Node, method: str) -> None:
    assert call(node.account, method, A).body == b"Missing X-Timestamp header"
    assert call(node.account, method, A, {"X-Timestamp": "soon"}).status == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "REPLICATE"])
@pytest.mark.parametrize(
    ("path", "status"), [("/sda/1", 400), ("/sda/x/a", 400), ("/sdx/1/a", 507), ("/sda/1/a/c/o", 400)]
)
def test_path_that_is_no_accounts_is_refused(node: Node, method: str, path: str, status: int) -> None:
    headers = {"X-Timestamp": at(0), "X-Put-Timestamp": at(0), "X-Delete-Timestamp": "0"}
    counts = {"X-Object-Count": "0", "X-Bytes-Used": "0"}

    assert call(node.account, method, path, headers | counts).status == status


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_container_has_no_such_verb_here(node: Node, method: str) -> None:
    node.with_account()

    assert call(node.account, method, f"{A}/c", {"X-Timestamp": at(0)}).status == 400


def test_unknown_verb_is_refused(node: Node) -> None:
    answer = call(node.account, "UPDATE", A)

    assert answer.status == 405
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT, REPLICATE"


def test_account_is_made_and_then_accepted(node: Node) -> None:
    assert call(node.account, "PUT", A, {"X-Timestamp": at(0)}).status == 201
    assert call(node.account, "PUT", A, {"X-Timestamp": at(1)}).status == 202
    assert call(node.account, "HEAD", A).headers["X-Put-Timestamp"] == at(1)


@pytest.mark.parametrize("method", ["HEAD", "GET", "POST", "DELETE"])
def test_missing_account_is_not_found(node: Node, method: str) -> None:
    answer = call(node.account, method, A, {"X-Timestamp": at(0)})

    assert answer.status == 404
    assert "X-Account-Status" not in answer.headers


def test_deleted_account_stays_deleted(node: Node) -> None:
    node.with_account()
    put_row(node, "c")

    answer = call(node.account, "DELETE", A, {"X-Timestamp": at(1)})

    assert answer.status == 204
    assert answer.headers["X-Account-Status"] == "Deleted"
    for method in ("HEAD", "GET", "POST", "DELETE"):
        answer = call(node.account, method, A, {"X-Timestamp": at(2)})
        assert (answer.status, answer.headers["X-Account-Status"]) == (404, "Deleted")
    answer = call(node.account, "PUT", A, {"X-Timestamp": at(2)})
    assert (answer.status, answer.headers["X-Account-Status"]) == (403, "Deleted")
    assert answer.body == b"Recently deleted"


def test_head_tells_totals_by_policy(node: Node) -> None:
    node.with_account()
    put_row(node, "c", X_Object_Count=3, X_Bytes_Used=9)
    put_row(node, "d", X_Object_Count=1, X_Bytes_Used=5, X_Backend_Storage_Policy_Index=1)
    put_row(node, "e", X_Backend_Storage_Policy_Index=9)

    answer = call(node.account, "HEAD", A)

    assert answer.status == 204
    assert answer.headers["Content-Length"] == "0"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    told = {name: value for name, value in answer.headers.items() if name.startswith("X-Account-")}
    assert told == {
        "X-Account-Container-Count": "3",
        "X-Account-Object-Count": "4",
        "X-Account-Bytes-Used": "14",
        "X-Account-Storage-Policy-Gold-Container-Count": "1",
        "X-Account-Storage-Policy-Gold-Object-Count": "3",
        "X-Account-Storage-Policy-Gold-Bytes-Used": "9",
        "X-Account-Storage-Policy-Silver-Container-Count": "1",
        "X-Account-Storage-Policy-Silver-Object-Count": "1",
        "X-Account-Storage-Policy-Silver-Bytes-Used": "5",
    }
    assert answer.headers["X-Put-Timestamp"] == at(0)
    assert answer.headers["X-Timestamp"] > at(0)


def test_metadata_is_stored_changed_and_removed(node: Node) -> None:
    meta = {"X-Account-Meta-Uni☃": "☃", "X-Account-Sysmeta-S": "s", "X-Account-Meta-B": "b"}
    call(node.account, "PUT", A, {"X-Timestamp": at(0), **meta})

    answer = call(
        node.account, "POST", A, {"X-Timestamp": at(1), "X-Account-Meta-B": "", "X-Account-Meta-C": "c"}
    )

    assert answer.status == 204
    headers = call(node.account, "GET", A).headers
    assert headers["X-Account-Meta-Uniâ\x98\x83"] == "â\x98\x83"
    assert (headers["X-Account-Sysmeta-S"], headers["X-Account-Meta-C"]) == ("s", "c")
    assert "X-Account-Meta-B" not in headers


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_metadata_beyond_the_limits_is_refused(tmp_path: Path, method: str) -> None:
    node = Node(tmp_path, constraints=Constraints(max_meta_overall_size=5))
    meta = {"X-Account-Meta-A": "12345"}
    assert call(node.account, "PUT", A, {"X-Timestamp": at(0), **meta}).status == 400
    node.with_account()

    assert call(node.account, method, A, {"X-Timestamp": at(1), **meta}).status == 400

    assert call(node.account, "HEAD", A).headers["X-Put-Timestamp"] == at(0)


# --- rows ---------------------------------------------------------------------------------------------


def test_row_is_listed_until_it_is_deleted(node: Node) -> None:
    node.with_account()

    assert put_row(node, "c☃").status == 201
    assert names(node) == ["c☃"]
    assert put_row(node, "c☃", delete=at(1)).status == 204
    assert names(node) == []


def test_container_with_objects_is_listed_though_deleted(node: Node) -> None:
    node.with_account()

    assert put_row(node, "c", delete=at(1), X_Object_Count=1).status == 204
    assert names(node) == ["c"]


def test_row_needs_an_account(node: Node) -> None:
    assert put_row(node, "c").status == 404
    node.with_account()
    call(node.account, "DELETE", A, {"X-Timestamp": at(1)})
    assert put_row(node, "c").status == 404
    assert put_row(node, "c", X_Account_Override_Deleted="yes").status == 201


def test_account_of_the_servers_is_made_for_its_rows(node: Node) -> None:
    headers = {
        "X-Put-Timestamp": at(0),
        "X-Delete-Timestamp": "0",
        "X-Object-Count": "0",
        "X-Bytes-Used": "0",
    }

    assert call(node.account, "PUT", "/sda/1/.expiring_objects/1", headers).status == 201
    assert call(node.account, "GET", "/sda/1/.expiring_objects", format="json").names == ["1"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Object_Count": "many"},
        {"X_Object_Count": None},
        {"X_Bytes_Used": "1.5"},
        {"X_Bytes_Used": "9" * 5000},
        {"put": "soon"},
        {"delete": ""},
        {"X_Delete_Timestamp": None},
        {"X_Backend_Storage_Policy_Index": "gold"},
        {"X_Timestamp": "soon", "account": ".a"},
    ],
)
def test_malformed_row_is_refused(node: Node, headers: dict[str, Any]) -> None:
    node.with_account()
    if headers.pop("account", None):
        sent = {
            "X-Put-Timestamp": at(0),
            "X-Delete-Timestamp": "0",
            "X-Object-Count": "0",
            "X-Bytes-Used": "0",
        }
        answer = call(node.account, "PUT", "/sda/1/.a/c", sent | {"X-Timestamp": "soon"})
        assert answer.status == 400
        return

    assert put_row(node, "c", **headers).status == 400
    assert names(node) == []


# --- listings -----------------------------------------------------------------------------------------


def test_listing_formats(node: Node) -> None:
    node.with_account()
    assert call(node.account, "GET", A).status == 204
    assert call(node.account, "GET", A, format="json").body == b"[]"
    put_row(node, "<c>☃", at(1.5), X_Object_Count=1, X_Bytes_Used=2)
    put_row(node, "d-e", X_Backend_Storage_Policy_Index=9)

    assert call(node.account, "GET", A).body == "<c>☃\nd-e\n".encode()
    assert call(node.account, "GET", A, format="json", delimiter="-").json == [
        {
            "name": "<c>☃",
            "count": 1,
            "bytes": 2,
            "last_modified": "2023-11-14T22:13:21.500000",
            "storage_policy": "gold",
        },
        {"subdir": "d-"},
    ]
    # A policy that nobody knows has no name to show.
    assert "storage_policy" not in call(node.account, "GET", A, format="json").json[1]
    account = ElementTree.fromstring(call(node.account, "GET", A, {"Accept": "text/xml"}, delimiter="-").body)
    assert (account.tag, account.attrib) == ("account", {"name": "a"})
    assert [field.text for field in account[0]] == ["<c>☃", "1", "2", "2023-11-14T22:13:21.500000", "gold"]
    assert (account[1].tag, account[1].attrib) == ("subdir", {"name": "d-"})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"limit": 2}, ["a", "b-1"]),
        ({"marker": "b-1", "end_marker": "c"}, ["b-2"]),
        ({"prefix": "b", "delimiter": "-"}, ["b-"]),
        ({"reverse": "yes", "limit": 1}, ["c"]),
        ({"path": "b"}, ["a", "b-1", "b-2", "c"]),
    ],
)
def test_listing_options(node: Node, query: dict[str, Any], expected: list[str]) -> None:
    node.with_account()
    for name in ("c", "b-2", "a", "b-1", "\0hidden"):
        put_row(node, name)

    assert names(node, **query) == expected


def test_limit_above_the_most_is_refused(node: Node) -> None:
    node.with_account()

    assert call(node.account, "GET", A, limit=10001).status == 412


# --- trouble ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "GET", "POST", "DELETE", "PUT"])
def test_malformed_database_fails_once_and_then_is_missing(node: Node, method: str) -> None:
    node.with_account()
    node.account.databases.close()
    node.db_file("account").write_bytes(b"no database" * 1000)

    assert call(node.account, method, A, {"X-Timestamp": at(9)}).status == 500
    assert call(node.account, "HEAD", A).status == 404
    assert len(os.listdir(node.root / "sda/quarantined/accounts")) == 1


def test_server_of_a_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = changeme\n")
    (tmp_path / "sdb").mkdir()

    app = app_factory({"devices": str(tmp_path), "mount_check": "false"}, swift_dir=str(tmp_path))

    assert isinstance(app, AccountServer)
    assert call(app, "HEAD", "/sdb/1/a").status == 404
