from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from miniswift.backend import BackendRequest, ConnectFailed
from miniswift.cluster import Constraints
from miniswift.responses import Headers, Response
from miniswift.ring import Node as RingNode
from miniswift.storage import Target
from miniswift.storage.container_broker import ContainerBroker
from miniswift.storage.container_server import ContainerServer, ContainerSettings, app_factory
from miniswift.wsgi import Request
from tests.unit.storage.databases import TO_ACCOUNT, Answer, Node, at, call

ROW = {"X-Timestamp": at(1), "X-Size": "5", "X-Content-Type": "text/plain", "X-Etag": "e"}
BACKEND_STAMPS = ("X-Backend-Timestamp", "X-Backend-Put-Timestamp", "X-Backend-Delete-Timestamp")
C = "/sda/2/a/c"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path).with_account()
    yield node
    node.close()


class Telling:
    """A transport that records what accounts are told and answers with the statuses given."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.told: list[tuple[RingNode, BackendRequest]] = []

    def send(self, node: RingNode, request: BackendRequest) -> Response:
        self.told.append((node, request))
        status = self.statuses.pop(0)
        if not status:
            raise ConnectFailed("nobody there")
        return Response(status)


# --- every verb: what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "UPDATE"])
@pytest.mark.parametrize(("stamp", "message"), [(None, b"Missing"), ("", b"Missing"), ("soon", b"Invalid")])
def test_write_needs_a_timestamp(node: Node, method: str, stamp: str | None, message: bytes) -> None:
    answer = call(node.container, method, C, {} if stamp is None else {"X-Timestamp": stamp})

    assert answer.status == 400
    assert answer.body == message + b" X-Timestamp header"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "UPDATE", "REPLICATE"])
@pytest.mark.parametrize("path", ["/sda/2", "/sda/2/a", "/sda/two/a/c", "//2/a/c", "/../2/a/c"])
def test_path_that_is_no_containers_is_refused(node: Node, method: str, path: str) -> None:
    assert call(node.container, method, path, {"X-Timestamp": at(0)}).status == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "UPDATE", "REPLICATE"])
def test_missing_device_answers_507(node: Node, method: str) -> None:
    answer = call(node.container, method, "/sdx/2/a/c", {"X-Timestamp": at(0)})

    assert answer.status == 507
    assert method == "HEAD" or answer.body.endswith(b"Drive: sdx")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "UPDATE"])
def test_object_has_no_such_verb(node: Node, method: str) -> None:
    node.with_container()

    assert call(node.container, method, f"{C}/o", {"X-Timestamp": at(0)}, b"[]").status == 400


@pytest.mark.parametrize("method", ["COPY", "__init__", "broker", "close"])
def test_unknown_verb_is_refused(node: Node, method: str) -> None:
    answer = call(node.container, method, C)

    assert answer.status == 405
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT, REPLICATE, UPDATE"


@pytest.mark.parametrize(
    "path", ["/sda/2/a/c\0d", "/sda/2/a\0/c", "/sda/2/a/c/o\0o", "/sda/2/a/\0c/o", "/sda/2/a/c/\0o"]
)
def test_nul_leads_a_name_or_is_refused(node: Node, path: str) -> None:
    assert call(node.container, "PUT", path, ROW).status == 400


def test_full_device_takes_no_writes(tmp_path: Path) -> None:
    node = Node(tmp_path)
    conf = {"devices": str(tmp_path), "mount_check": "false", "fallocate_reserve": "100%"}
    full = ContainerServer(ContainerSettings.from_conf(conf), node.cluster, node.container.transport)

    for method in ("PUT", "POST", "UPDATE"):
        assert call(full, method, C, ROW).status == 507
    assert call(full, "DELETE", C, ROW).status == 404


# --- PUT of a container -------------------------------------------------------------------------------


def test_put_makes_a_container_and_tells_the_account(node: Node) -> None:
    answer = call(node.container, "PUT", C, {"X-Timestamp": at(0), **TO_ACCOUNT})

    assert answer.status == 201
    assert answer.headers["X-Backend-Storage-Policy-Index"] == "0"
    assert call(node.account, "GET", "/sda/1/a", format="json").json == [
        {
            "name": "c",
            "count": 0,
            "bytes": 0,
            "last_modified": "2023-11-14T22:13:20.000000",
            "storage_policy": "gold",
        }
    ]


def test_put_again_is_accepted(node: Node) -> None:
    node.with_container()

    answer = call(node.container, "PUT", C, {"X-Timestamp": at(1), **TO_ACCOUNT})

    assert answer.status == 202
    assert call(node.container, "HEAD", C).headers["X-Put-Timestamp"] == at(1)


@pytest.mark.parametrize(
    ("headers", "status", "index"),
    [
        ({}, 201, "0"),
        ({"X-Backend-Storage-Policy-Default": "1"}, 201, "1"),
        ({"X-Backend-Storage-Policy-Index": "1"}, 201, "1"),
        ({"X-Backend-Storage-Policy-Index": "0", "X-Backend-Storage-Policy-Default": "1"}, 201, "0"),
        ({"X-Backend-Storage-Policy-Index": "7"}, 400, None),
        ({"X-Backend-Storage-Policy-Index": "-1"}, 400, None),
        ({"X-Backend-Storage-Policy-Index": "gold"}, 400, None),
        ({"X-Backend-Storage-Policy-Default": "7"}, 400, None),
    ],
)
def test_policy_of_a_new_container(
    node: Node, headers: dict[str, str], status: int, index: str | None
) -> None:
    answer = call(node.container, "PUT", C, {"X-Timestamp": at(0), **headers})

    assert answer.status == status
    assert answer.headers.get("X-Backend-Storage-Policy-Index") == index
    if status == 400:
        assert answer.body == f"Invalid {next(iter(headers))} {next(iter(headers.values()))}".encode()


def test_living_container_of_another_policy_conflicts(node: Node) -> None:
    node.with_container()

    answer = call(node.container, "PUT", C, {"X-Timestamp": at(1), "X-Backend-Storage-Policy-Index": "1"})

    assert answer.status == 409
    assert answer.headers["X-Backend-Storage-Policy-Index"] == "0"


def test_deleted_container_is_put_again(node: Node) -> None:
    node.with_container(**{"X-Container-Meta-A": "v"})
    call(node.container, "DELETE", C, {"X-Timestamp": at(2)})

    assert call(node.container, "PUT", C, {"X-Timestamp": at(2)}).status == 409
    assert call(node.container, "PUT", C, {"X-Timestamp": at(3)}).status == 201

    answer = call(node.container, "HEAD", C)
    assert answer.status == 204
    assert "X-Container-Meta-A" not in answer.headers


def test_account_that_does_not_exist_refuses_its_container(node: Node) -> None:
    answer = call(node.container, "PUT", "/sda/2/nobody/c", {"X-Timestamp": at(0), **TO_ACCOUNT})

    assert answer.status == 404


def test_container_tells_every_account_server(node: Node) -> None:
    transport = node.container.transport = Telling(404, 201)
    headers = {
        "X-Timestamp": at(0),
        "X-Account-Host": "10.0.0.1:6202, [::1]:6203",
        "X-Account-Device": "sdb, sdc",
        "X-Account-Partition": "7",
        "X-Account-Override-Deleted": "yes",
        "X-Trans-Id": "tx1",
        "Host": "proxy:8080",
    }

    assert call(node.container, "PUT", C, headers).status == 201

    assert [(told.ip, told.port, told.device) for told, _ in transport.told] == [
        ("10.0.0.1", 6202, "sdb"),
        ("::1", 6203, "sdc"),
    ]
    request = transport.told[0][1]
    assert (request.method, request.part, request.path) == ("PUT", 7, "/a/c")
    assert request.headers == Headers(
        {
            "X-Put-Timestamp": at(0),
            "X-Delete-Timestamp": "0",
            "X-Object-Count": "0",
            "X-Bytes-Used": "0",
            "X-Backend-Storage-Policy-Index": "0",
            "X-Account-Override-Deleted": "yes",
            "X-Trans-Id": "tx1",
            "User-Agent": f"container-server {os.getpid()}",
            "Referer": "PUT http://proxy:8080/sda/2/a/c",
        }
    )


@pytest.mark.parametrize(("statuses", "status"), [((404, 404), 404), ((404, 0), 201), ((507, 500), 201)])
def test_trouble_with_the_account_is_only_logged(
    node: Node, statuses: tuple[int, ...], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    node.container.transport = Telling(*statuses)
    twice = {name: f"{value},{value}" for name, value in TO_ACCOUNT.items() if name != "X-Account-Partition"}

    with caplog.at_level(logging.ERROR):
        answer = call(node.container, "PUT", C, {"X-Timestamp": at(0), **TO_ACCOUNT, **twice})

    assert answer.status == status
    assert ("account update" in caplog.text) == (status == 201)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Account-Host": "127.0.0.1:1,127.0.0.1:2"},
        {"X-Account-Device": ""},
        {"X-Account-Host": "127.0.0.1"},
        {"X-Account-Host": "127.0.0.1:port"},
        {"X-Account-Host": "127.0.0.1:99999"},
        {"X-Account-Partition": "one"},
    ],
)
def test_malformed_account_headers_are_refused_before_anything_is_made(
    node: Node, headers: dict[str, str]
) -> None:
    assert call(node.container, "PUT", C, {"X-Timestamp": at(0), **TO_ACCOUNT, **headers}).status == 400
    assert not (node.root / "sda/containers").exists()


# --- metadata -----------------------------------------------------------------------------------------


def test_metadata_is_stored_changed_and_removed(node: Node) -> None:
    node.with_container(
        **{
            "X-Container-Meta-Uni\u2603": "\u2603",
            "X-Container-Sysmeta-S": "s",
            "X-Container-Read": ".r:*",
            "X-Container-Meta-": "no name",
            "X-Container-Other": "no",
            "X-Object-Meta-A": "no",
        }
    )
    headers = call(node.container, "HEAD", C).headers
    kept = {name: value for name, value in headers.items() if name.startswith("X-Container-")}
    assert kept == {
        "X-Container-Object-Count": "0",
        "X-Container-Bytes-Used": "0",
        "X-Container-Meta-Uniâ\x98\x83": "â\x98\x83",
        "X-Container-Sysmeta-S": "s",
        "X-Container-Read": ".r:*",
    }

    answer = call(
        node.container, "POST", C, {"X-Timestamp": at(1), "X-Container-Read": "", "X-Container-Meta-B": "b"}
    )

    assert answer.status == 204
    headers = call(node.container, "GET", C).headers
    assert "X-Container-Read" not in headers
    assert headers["X-Container-Meta-B"] == "b"


def test_post_moves_the_put_stamp_unless_told_not_to(node: Node) -> None:
    node.with_container()

    call(node.container, "POST", C, {"X-Timestamp": at(1), "X-Backend-No-Timestamp-Update": "true"})
    assert call(node.container, "HEAD", C).headers["X-Backend-Put-Timestamp"] == at(0)

    call(node.container, "POST", C, {"X-Timestamp": at(1)})
    assert call(node.container, "HEAD", C).headers["X-Backend-Put-Timestamp"] == at(1)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_metadata_beyond_the_limits_is_refused_and_nothing_changes(tmp_path: Path, method: str) -> None:
    node = Node(tmp_path, constraints=Constraints(max_meta_count=2)).with_account()
    meta = {f"X-Container-Meta-{number}": "v" for number in range(3)}
    assert call(node.container, "PUT", C, {"X-Timestamp": at(0), **meta}).status == 400
    assert call(node.container, "HEAD", C).status == 404
    node.with_container(**{"X-Container-Meta-0": "v"})

    answer = call(node.container, method, C, {"X-Timestamp": at(1), **meta})

    assert answer.status == 400
    assert answer.body == b"Too many metadata items; max 2"
    headers = call(node.container, "HEAD", C).headers
    assert "X-Container-Meta-1" not in headers
    assert headers["X-Put-Timestamp"] == at(0)


def test_metadata_that_is_not_utf8_is_refused(node: Node) -> None:
    request = Request.blank(C, "PUT", {"X-Timestamp": at(0), "X-Container-Meta-A": "\xff"})

    assert request.call(node.container).status == 400


@pytest.mark.parametrize(
    ("sync_to", "status"),
    [
        ("http://127.0.0.1:8080/v1/a/c", 201),
        ("", 201),
        ("http://elsewhere/v1/a/c", 400),
        ("ftp://127.0.0.1/v1/a/c", 400),
        ("http://127.0.0.1", 400),
        ("http://127.0.0.1/v1/a/c?x", 400),
        ("http://127.0.0.1/v1/a/c#x", 400),
        ("http://[127.0.0.1/v1/a/c", 400),
        ("//realm/cluster/a/c", 400),
    ],
)
def test_sync_target_must_be_allowed(node: Node, sync_to: str, status: int) -> None:
    headers = {"X-Timestamp": at(0), "X-Container-Sync-To": sync_to}

    assert call(node.container, "PUT", C, headers).status == status


# --- DELETE -------------------------------------------------------------------------------------------


def test_deleted_container_is_gone_from_its_account(node: Node) -> None:
    node.with_container()

    assert call(node.container, "DELETE", C, {"X-Timestamp": at(1), **TO_ACCOUNT}).status == 204

    assert call(node.container, "HEAD", C).status == 404
    assert call(node.account, "GET", "/sda/1/a", format="json").json == []


def test_delete_of_nothing_finds_nothing(node: Node) -> None:
    assert call(node.container, "DELETE", C, {"X-Timestamp": at(1)}).status == 404
    node.with_container()
    assert call(node.container, "DELETE", C, {"X-Timestamp": at(1)}).status == 204
    assert call(node.container, "DELETE", C, {"X-Timestamp": at(2)}).status == 404


@pytest.mark.parametrize("when", [-1, 0])
def test_delete_older_than_the_put_conflicts(node: Node, when: int) -> None:
    node.with_container()

    assert call(node.container, "DELETE", C, {"X-Timestamp": at(when)}).status == 409
    assert call(node.container, "HEAD", C).status == 204


def test_container_with_objects_is_not_deleted(node: Node) -> None:
    node.with_container()
    node.put_row("o")

    assert call(node.container, "DELETE", C, {"X-Timestamp": at(2)}).status == 409
    assert node.list_names() == ["o"]


# --- HEAD and GET of containers -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_missing_container_has_zero_stamps(node: Node, method: str) -> None:
    answer = call(node.container, method, C)

    assert answer.status == 404
    assert [answer.headers[name] for name in BACKEND_STAMPS] == ["0000000000.00000"] * 3
    assert answer.headers["X-Backend-Storage-Policy-Index"] == "0"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_deleted_container_shows_its_stamps_only(node: Node, method: str) -> None:
    node.with_container(**{"X-Container-Meta-A": "v", "X-Backend-Storage-Policy-Index": "1"})
    call(node.container, "DELETE", C, {"X-Timestamp": at(2)})

    answer = call(node.container, method, C)

    assert answer.status == 404
    assert answer.headers["X-Backend-Put-Timestamp"] == at(0)
    assert answer.headers["X-Backend-Delete-Timestamp"] == at(2)
    assert answer.headers["X-Backend-Status-Changed-At"] == at(2)
    assert answer.headers["X-Backend-Storage-Policy-Index"] == "1"
    assert "X-Container-Object-Count" not in answer.headers


def test_head_tells_counts_and_times(node: Node) -> None:
    node.with_container()
    node.put_row("o", X_Size=7)
    node.put_row("other-policy", X_Backend_Storage_Policy_Index=1)

    answer = call(node.container, "HEAD", C)

    assert answer.status == 204
    assert answer.headers["Content-Length"] == "0"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Container-Object-Count"] == "1"
    assert answer.headers["X-Container-Bytes-Used"] == "7"
    assert answer.headers["X-Put-Timestamp"] == at(0)
    assert answer.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert answer.headers["X-Timestamp"] == answer.headers["X-Backend-Timestamp"] > at(0)
    assert answer.headers["X-Backend-Sharding-State"] == "unsharded"


def test_json_listing(node: Node) -> None:
    node.with_container()
    node.put_row("d/☃", 7)
    node.put_row(
        "manifest", 1, X_Content_Type="a/b; charset=u;swift_bytes=99", X_Content_Type_Timestamp=at(2),
        X_Meta_Timestamp=at(3),
    )  # fmt: skip

    answer = call(node.container, "GET", C, format="json")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["X-Backend-Record-Type"] == "object"
    assert answer.headers["X-Backend-Record-Storage-Policy-Index"] == "0"
    assert answer.json == [
        {
            "bytes": 5,
            "hash": "e",
            "name": "d/☃",
            "content_type": "text/plain",
            "last_modified": "2023-11-14T22:13:27.000000",
        },
        {
            "bytes": 99,
            "hash": "e",
            "name": "manifest",
            "content_type": "a/b;charset=u",
            "last_modified": "2023-11-14T22:13:23.000000",
        },
    ]
    assert call(node.container, "GET", C, format="json", delimiter="/").json[0] == {"subdir": "d/"}


def test_xml_listing(node: Node) -> None:
    call(node.container, "PUT", '/sda/2/a/<"c">', {"X-Timestamp": at(0)})
    for name in ("d/o", "<&>☃"):
        call(node.container, "PUT", f'/sda/2/a/<"c">/{name}', ROW)

    answer = call(node.container, "GET", '/sda/2/a/<"c">', format="xml", delimiter="/")

    assert answer.headers["Content-Type"] == "application/xml; charset=utf-8"
    assert answer.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<container name=')
    container = ElementTree.fromstring(answer.body)
    assert container.attrib == {"name": '<"c">'}
    found, folder = container
    assert [(field.tag, field.text) for field in found] == [
        ("name", "<&>☃"),
        ("hash", "e"),
        ("bytes", "5"),
        ("content_type", "text/plain"),
        ("last_modified", "2023-11-14T22:13:21.000000"),
    ]
    assert (folder.tag, folder.attrib, folder[0].text) == ("subdir", {"name": "d/"}, "d/")


def test_text_listing(node: Node) -> None:
    node.with_container()
    assert call(node.container, "GET", C).status == 204
    for name in ("b", "a", "c/d"):
        node.put_row(name)

    answer = call(node.container, "GET", C, delimiter="/")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.body == b"a\nb\nc/\n"


@pytest.mark.parametrize(("listing_format", "body"), [("json", b"[]"), ("xml", b"<container")])
def test_empty_listing_with_a_body_is_ok(node: Node, listing_format: str, body: bytes) -> None:
    node.with_container()

    answer = call(node.container, "GET", C, format=listing_format)

    assert answer.status == 200
    assert body in answer.body


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", "application/json"),
        ("application/xml", "application/xml"),
        ("text/xml", "text/xml"),
        ("*/*", "text/plain"),
        ("", "text/plain"),
        ("application/*", "application/json"),
        ("text/plain;q=0.5,application/xml", "application/xml"),
        ("application/xml, application/json;q=0.9", "application/xml"),
        ("image/png, */*;q=0.1", "text/plain"),
        ("text/plain; format=flowed; q=0.1, application/json; q=0.2", "application/json"),
        ("image/png", 406),
        ("json", 400),
        ("application/json;q=much", 400),
    ],
)
def test_format_by_accept(node: Node, accept: str, expected: str | int) -> None:
    node.with_container()

    answer = call(node.container, "GET", C, {"Accept": accept})

    if isinstance(expected, int):
        assert answer.status == expected
    else:
        assert answer.headers["Content-Type"] == f"{expected}; charset=utf-8"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["a", "b/1", "b/2", "c", "c0"]),
        ({"limit": 2}, ["a", "b/1"]),
        ({"limit": 0}, []),
        ({"limit": "x"}, ["a", "b/1", "b/2", "c", "c0"]),
        ({"marker": "b/1"}, ["b/2", "c", "c0"]),
        ({"end_marker": "c"}, ["a", "b/1", "b/2"]),
        ({"prefix": "c"}, ["c", "c0"]),
        ({"delimiter": "/"}, ["a", "b/", "c", "c0"]),
        ({"delimiter": "/", "marker": "b/"}, ["c", "c0"]),
        ({"delimiter": "/", "reverse": "true", "limit": 3}, ["c0", "c", "b/"]),
        ({"prefix": "b/", "delimiter": "/"}, ["b/1", "b/2"]),
        ({"path": "b"}, ["b/1", "b/2"]),
        ({"path": ""}, ["a", "c", "c0"]),
        ({"reverse": "on", "marker": "c"}, ["b/2", "b/1", "a"]),
    ],
)
def test_listing_options(node: Node, query: dict[str, object], names: list[str]) -> None:
    node.with_container()
    for name in ("c0", "b/2", "a", "c", "b/1"):
        node.put_row(name)

    assert node.list_names(**query) == names


@pytest.mark.parametrize("limit", ["10001", "1" + "0" * 30, "9" * 5000])
def test_limit_above_the_most_is_refused(node: Node, limit: str) -> None:
    answer = call(node.container, "GET", C, limit=limit)

    assert answer.status == 412
    assert answer.body == b"Maximum limit is 10000"


def test_parameter_that_is_not_utf8_is_refused(node: Node) -> None:
    answer = Answer(Request.blank(f"{C}?marker=%ff").call(node.container))

    assert answer.status == 400
    assert answer.body == b'"marker" parameter not valid UTF-8'


def test_reserved_names_are_shown_to_the_servers_own_only(node: Node) -> None:
    call(node.container, "PUT", "/sda/2/a/\0c", {"X-Timestamp": at(0)})
    call(node.container, "PUT", "/sda/2/a/\0c/\0o", ROW)

    hidden = call(node.container, "GET", "/sda/2/a/\0c", format="json")
    shown = call(
        node.container, "GET", "/sda/2/a/\0c", {"X-Backend-Allow-Reserved-Names": "true"}, format="json"
    )

    assert (hidden.names, shown.names) == ([], ["\0o"])


def test_listing_of_another_policy(node: Node) -> None:
    node.with_container()
    node.put_row("gold")
    node.put_row("silver", X_Backend_Storage_Policy_Index=1)

    answer = call(node.container, "GET", C, {"X-Backend-Storage-Policy-Index": "1"}, format="json")

    assert answer.names == ["silver"]
    assert answer.headers["X-Backend-Record-Storage-Policy-Index"] == "1"
    assert answer.headers["X-Backend-Storage-Policy-Index"] == "0"
    assert call(node.container, "GET", C, {"X-Backend-Storage-Policy-Index": "7"}).status == 400


@pytest.mark.parametrize(
    ("record_type", "expected"), [("auto", "object"), ("object", "object"), ("shard", "shard")]
)
def test_container_without_shards_lists_objects(node: Node, record_type: str, expected: str) -> None:
    node.with_container()
    node.put_row("o")

    answer = call(node.container, "GET", C, {"X-Backend-Record-Type": record_type}, format="json")

    assert answer.headers["X-Backend-Record-Type"] == expected
    assert answer.names == (["o"] if expected == "object" else [])


# --- object rows --------------------------------------------------------------------------------------


def test_row_put_and_deleted(node: Node) -> None:
    node.with_container()

    assert node.put_row("d/☃ x") == 201
    assert node.list_names() == ["d/☃ x"]

    answer = call(node.container, "DELETE", f"{C}/d/☃ x", {"X-Timestamp": at(2)})
    assert answer.status == 204
    assert node.list_names() == []
    assert node.put_row("d/☃ x", 1) == 201  # older than its deletion
    assert node.list_names() == []


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_row_of_a_missing_container_is_refused(node: Node, method: str) -> None:
    assert call(node.container, method, f"{C}/o", ROW).status == 404
    assert not (node.root / "sda/containers").exists()


@pytest.mark.parametrize(
    ("path", "headers", "is_made"),
    [
        ("/sda/2/.expiring_objects/1/o", {}, True),
        ("/sda/2/.shards_a/c/o", {}, False),
        ("/sda/2/.shards_a/c/o", {"X-Backend-Auto-Create": "true"}, True),
        ("/sda/2/a/c/o", {"X-Backend-Auto-Create": "true"}, True),
        ("/sda/2/.expiring_objects/1/o", {"X-Backend-Auto-Create": "false"}, False),
        ("/sda/2/.expiring_objects/1/o", {"X-Timestamp": at(1) + "_1f"}, True),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_containers_of_internal_accounts_are_made_for_their_rows(
    node: Node, method: str, path: str, headers: dict[str, str], is_made: bool
) -> None:
    answer = call(node.container, method, path, {**ROW, **headers})

    assert answer.status == ({"PUT": 201, "DELETE": 204}[method] if is_made else 404)
    head = call(node.container, "HEAD", path.rpartition("/")[0])
    assert head.status == (204 if is_made else 404)
    assert not is_made or head.headers["X-Backend-Put-Timestamp"] == at(1)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Size": "many"},
        {"X-Size": "-1"},
        {"X-Size": "9" * 30},
        {"X-Size": ""},
        {"X-Content-Type-Timestamp": "soon"},
        {"X-Meta-Timestamp": "soon"},
        {"X-Backend-Storage-Policy-Index": "7"},
        {"X-Content-Type": None},
        {"X-Etag": None},
        {"X-Size": None},
    ],
)
def test_malformed_row_is_refused(node: Node, headers: dict[str, str | None]) -> None:
    node.with_container()
    sent = {name: value for name, value in (ROW | headers).items() if value is not None}

    assert call(node.container, "PUT", f"{C}/o", sent).status == 400
    assert node.list_names() == []


def test_row_put_touches_no_database(node: Node) -> None:
    node.with_container()
    database = node.db_file("container")
    content = database.read_bytes()
    database.write_bytes(b"not to be opened" * 1000)

    assert node.put_row("o") == 201

    database.write_bytes(content)
    assert node.list_names() == ["o"]


def test_update_merges_rows_at_once(node: Node) -> None:
    node.with_container()
    item = {"created_at": at(1), "size": 5, "content_type": "t", "etag": "e", "deleted": 0}
    rows = [{"name": name, **item} for name in "ab"] + [{"name": "s", "storage_policy_index": 1, **item}]

    answer = call(node.container, "UPDATE", C, {"X-Timestamp": at(2)}, json.dumps(rows).encode())

    assert answer.status == 202
    assert node.list_names() == ["a", "b"]


@pytest.mark.parametrize("body", [b"", b"{", b"7", b"[7]", b'[{"name": "o"}]', b"[" * 100_000, b"\xff"])
def test_update_with_anything_else_is_refused(node: Node, body: bytes) -> None:
    node.with_container()

    assert call(node.container, "UPDATE", C, {"X-Timestamp": at(2)}, body).status == 400


def test_update_of_a_missing_container_is_refused(node: Node) -> None:
    assert call(node.container, "UPDATE", C, {"X-Timestamp": at(2)}, b"[]").status == 404


# --- trouble ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "GET", "POST", "DELETE", "PUT"])
def test_malformed_database_fails_once_and_then_is_missing(node: Node, method: str) -> None:
    node.with_container()
    node.container.databases.close()
    node.db_file("container").write_bytes(b"no database" * 1000)

    assert call(node.container, method, C, {"X-Timestamp": at(9)}).status == 500
    assert call(node.container, "HEAD", C).status == 404
    assert len(os.listdir(node.root / "sda/quarantined/containers")) == 1


def test_busy_database_is_said_to_be(node: Node) -> None:
    class Impatient(ContainerServer):
        def broker(self, target: Target, **options: Any) -> ContainerBroker:
            return super().broker(target, **{**options, "wait_s": 0.01})

    node.with_container()
    node.container.close()
    node.container = Impatient(node.container.settings, node.cluster, node.container.transport)
    other = sqlite3.connect(node.db_file("container"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    assert call(node.container, "HEAD", C).status == 503

    other.close()
    assert call(node.container, "HEAD", C).status == 204


def test_server_of_a_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = changeme\n")
    (tmp_path / "sdb").mkdir()
    conf = {"devices": str(tmp_path), "mount_check": "false", "swift_dir": str(tmp_path)}

    app = app_factory(conf, allowed_sync_hosts="one, two")

    assert isinstance(app, ContainerServer)
    assert app.settings.allowed_sync_hosts == ("one", "two")
    assert call(app, "HEAD", "/sdb/2/a/c").status == 404
