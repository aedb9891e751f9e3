"""What containers, and the expirer's queue, are told of a change of an object."""

from __future__ import annotations

import os
from hashlib import md5

import pytest

from miniswift.storage.async_pending import AsyncUpdate

from .object_node import CONTAINER_HEADERS, OBJECT, ObjectNode

HELLO = "5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def node(tmp_path):
    node = ObjectNode(tmp_path)
    yield node
    assert node.problems() == []


# --- expiry ----------------------------------------------------------------------------------------------

LATER = "4000000000"


def test_an_expired_object_is_gone_but_for_those_who_ask(node):
    node.put(X_Delete_At=LATER)
    assert node.get().headers["X-Delete-At"] == LATER
    after = {"X_Timestamp": "4000000000.00000"}
    response = node.get(**after)
    assert (response.status, response.headers["X-Backend-Timestamp"]) == (404, node.time())
    assert node.get(**after, X_Backend_Open_Expired="true").status == 200
    assert node.get(**after, X_Backend_Replication="true").status == 200


def test_replicas_of_what_has_expired_are_stored(node):
    assert node.put(X_Delete_At="1700000000", X_Backend_Replication="true").status == 201


def test_delete_if_delete_at_is_for_what_expired_alone(node):
    assert node.delete(5, X_If_Delete_At=LATER).status == 404
    node.put(X_Delete_At=LATER)
    assert node.delete(5, X_If_Delete_At="4000000001").status == 412
    assert node.delete(5, X_If_Delete_At="never").status == 400
    assert node.delete(0, X_If_Delete_At=LATER).status == 409
    assert node.files() == [f"{node.time()}.data"]
    assert node.delete(5, X_If_Delete_At=LATER).status == 204


def queue_of(node):
    """The place in the expirer's queue of the object, at 4000000000."""
    container = 4000000000 // 86400 * 86400 - int(node.cluster.hash_path("AUTH_test", "c", "o"), 16) % 100
    return f"/.expiring_objects/{container}/4000000000-AUTH_test/c/o"


QUEUE_HEADERS = {
    "X_Delete_At_Host": "127.0.0.1:6201",
    "X_Delete_At_Device": "sdc1",
    "X_Delete_At_Partition": "3",
}


def test_an_object_that_expires_is_queued(node):
    node.put(X_Delete_At=LATER, **QUEUE_HEADERS)
    ((container, request),) = node.containers.sent
    assert (container.device, request.part, request.method, request.path) == (
        "sdc1",
        3,
        "PUT",
        queue_of(node),
    )
    assert request.headers["X-Content-Type"] == "text/plain;swift_expirer_bytes=5"
    assert request.headers["X-Size"] == "0"
    assert request.headers["X-Etag"] == md5().hexdigest()
    assert request.headers["X-Timestamp"] == request.headers["X-Content-Type-Timestamp"] == node.time()
    assert request.headers["X-Backend-Storage-Policy-Index"] == "0"


def test_the_queue_is_told_when_the_time_changes(node):
    node.put(X_Delete_At=LATER)
    node.post(1, X_Delete_At="4000100000", **QUEUE_HEADERS)
    ((_, request),) = node.containers.sent
    assert request.path.endswith("/4000100000-AUTH_test/c/o")
    (update,) = pendings(node)
    assert (update.op, update.path) == ("DELETE", queue_of(node))


@pytest.mark.parametrize(
    ("given", "queue"), [("1700000000", "1700000000"), ("123", "0000000123"), ("x", None), ("", None)]
)
def test_the_queue_is_the_one_the_proxy_says_if_it_says_one(node, given, queue):
    node.put(X_Delete_At=LATER, X_Delete_At_Container=given, **QUEUE_HEADERS)
    ((_, request),) = node.containers.sent
    assert request.path.split("/")[2] == (queue or queue_of(node).split("/")[2])


def test_an_entry_that_nobody_is_named_for_is_left_to_the_updater(node):
    node.put(X_Delete_At=LATER, **QUEUE_HEADERS | {"X_Delete_At_Partition": ""})
    assert node.containers.sent == []
    assert [update.path for update in pendings(node)] == [queue_of(node)]


@pytest.mark.parametrize(("header", "left"), [({}, 1), ({"X_Backend_Clean_Expiring_Object_Queue": "f"}, 0)])
def test_a_deleted_object_is_taken_from_the_queue_by_those_told_to(node, header, left):
    node.put(X_Delete_At=LATER)
    node.delete(1, **header)
    assert [update.path for update in pendings(node)] == [queue_of(node)] * left


def test_a_replica_does_not_touch_the_queue(node):
    node.put(X_Delete_At=LATER, X_Backend_Replication="true", **QUEUE_HEADERS)
    node.delete(1, X_Backend_Replication="true")
    assert node.containers.sent == []
    assert pendings(node) == []


def pendings(node):
    found = []
    for folder, _, names in os.walk(node.device / "async_pending"):
        for name in names:
            with open(f"{folder}/{name}", "rb") as file:
                found.append(AsyncUpdate.from_pickle(file.read()))
    return found


# --- what containers are told ------------------------------------------------------------------------------


def told(node):
    return [
        (request.method, request.part, request.path, dict(request.headers))
        for _, request in node.containers.sent
    ]


def test_a_put_is_told_to_its_container(node):
    node.call(
        "PUT",
        headers={
            **CONTAINER_HEADERS,
            "X-Timestamp": node.time(),
            "Content-Type": "text/plain",
            "X-Trans-Id": "tx1",
        },
        body=b"hello",
    )
    ((method, part, path, headers),) = told(node)
    assert (method, part, path) == ("PUT", 2, "/AUTH_test/c/o")
    assert headers == {
        "X-Size": "5",
        "X-Content-Type": "text/plain",
        "X-Timestamp": node.time(),
        "X-Etag": HELLO,
        "X-Trans-Id": "tx1",
        "X-Backend-Storage-Policy-Index": "0",
        "Referer": f"PUT http://localhost{OBJECT}",
        "User-Agent": f"object-server {os.getpid()}",
    }
    assert pendings(node) == []


def with_container(**headers):
    return {**{name.replace("-", "_"): value for name, value in CONTAINER_HEADERS.items()}, **headers}


def test_a_post_is_told_with_the_times_of_its_parts(node):
    node.put(Content_Type="text/plain;swift_bytes=99")
    response = node.post(1, **with_container(Content_Type="text/new"))
    assert response.headers["X-Backend-Content-Type"] == "text/new;swift_bytes=99"
    node.post(2, **with_container(Content_Type=""))
    first, second = (headers for _, _, _, headers in told(node))
    assert second["X-Etag"] == HELLO
    assert first["X-Timestamp"] == second["X-Timestamp"] == node.time(0)
    assert first["X-Content-Type"] == second["X-Content-Type"] == "text/new;swift_bytes=99"
    assert first["X-Content-Type-Timestamp"] == second["X-Content-Type-Timestamp"] == node.time(1)
    assert (first["X-Meta-Timestamp"], second["X-Meta-Timestamp"]) == (node.time(1), node.time(2))


def test_a_delete_is_told_even_of_what_was_not_there(node):
    node.delete(1, **with_container())
    ((method, _, path, headers),) = told(node)
    assert (method, path, headers["X-Timestamp"]) == ("DELETE", "/AUTH_test/c/o", node.time(1))
    assert "X-Size" not in headers


def test_a_filter_may_say_what_the_row_should_be(node):
    node.put(
        **with_container(
            X_Backend_Container_Update_Override_Etag="old",
            X_Object_Sysmeta_Container_Update_Override_Etag="new",
            X_Backend_Container_Update_Override_Size="7",
        )
    )
    node.post(1, **with_container())
    put, post = (headers for _, _, _, headers in told(node))
    assert (put["X-Etag"], put["X-Size"]) == ("new", "7")
    assert post["X-Etag"] == "new"


def test_nobody_says_when_a_row_was_written_but_the_request(node):
    node.put(**with_container(X_Backend_Container_Update_Override_Timestamp="5"))
    ((_, _, _, headers),) = told(node)
    assert headers["X-Timestamp"] == node.time()


def test_a_shard_is_told_in_place_of_its_root(node):
    node.put(**with_container(X_Backend_Quoted_Container_Path=".shards_a/c-%E2%98%83"))
    node.put(at=1, **with_container(X_Backend_Container_Path="not-a-path"))
    assert [path for _, _, path, _ in told(node)] == ["/.shards_a/c-☃/o", "/AUTH_test/c/o"]


@pytest.mark.parametrize(
    ("header", "value"),
    [("X_Container_Device", "sdb1,sdc1"), ("X_Container_Partition", "x"), ("X_Container_Host", "1.2.3.4:x")],
)
def test_an_update_for_nodes_that_make_no_sense_is_left_to_the_updater(node, caplog, header, value):
    assert node.put(**with_container(**{header: value})).status == 201
    assert told(node) == []
    assert "make no sense" in caplog.text
    assert [update.path for update in pendings(node)] == ["/AUTH_test/c/o"]
