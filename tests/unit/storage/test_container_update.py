"""Container updates: accepted, or durable as async pendings, before an answer."""

from __future__ import annotations

import os

import pytest

from miniswift.backend import ConnectFailed
from miniswift.concurrency import Event
from miniswift.responses import Response
from miniswift.storage import container_update, pickles

from .object_node import CONTAINER_HEADERS, ObjectNode

TWO_CONTAINERS = {
    "X-Container-Host": "127.0.0.1:6201, [::1]:6211",
    "X-Container-Device": "sdb1, sdc1",
    "X-Container-Partition": "2",
    "X-Container-Root-Db-State": "unsharded",
}


@pytest.fixture
def node(tmp_path):
    node = ObjectNode(tmp_path, container_update_timeout="0.05")
    yield node
    assert node.problems() == []


def put(node, headers):
    return node.call(
        "PUT",
        headers={"X-Timestamp": node.time(), "Content-Type": "text/plain", "X-Trans-Id": "tx1", **headers},
        body=b"hello",
    )


def test_every_container_is_told(node):
    assert put(node, TWO_CONTAINERS).status == 201
    told = {(sent.ip, sent.port, sent.device) for sent, _ in node.containers.sent}
    assert told == {("127.0.0.1", 6201, "sdb1"), ("::1", 6211, "sdc1")}
    assert node.files("async_pending/*/*") == []


@pytest.mark.parametrize("answer", [500, 404, 507, 301, ConnectFailed("refused")])
def test_an_update_that_is_not_accepted_is_kept(node, answer):
    node.containers.answers["sdc1"] = answer
    assert put(node, TWO_CONTAINERS).status == 201
    digest = node.cluster.hash_path("AUTH_test", "c", "o")
    path = node.device / "async_pending" / digest[-3:] / f"{digest}-{node.time()}"
    assert pickles.loads(path.read_bytes()) == {
        "op": "PUT",
        "account": "AUTH_test",
        "container": "c",
        "obj": "o",
        "db_state": "unsharded",
        "headers": {
            "X-Size": "5",
            "X-Content-Type": "text/plain",
            "X-Timestamp": node.time(),
            "X-Etag": "5d41402abc4b2a76b9719d911017c592",
            "X-Trans-Id": "tx1",
            "X-Backend-Storage-Policy-Index": "0",
            "Referer": "PUT http://localhost/sdb1/7/AUTH_test/c/o",
            "User-Agent": f"object-server {os.getpid()}",
        },
    }


def test_updates_of_a_policy_are_kept_by_policy(node):
    node.containers.answers["sdb1"] = 500
    put(node, {**CONTAINER_HEADERS, "X-Backend-Storage-Policy-Index": "1"})
    assert len(node.files("async_pending-1/*/*")) == 1


def test_a_slow_container_is_not_waited_for_and_its_update_is_kept(node):
    answer = Event()

    class Slow:
        def send(self, _node, _request):
            answer.wait()
            return Response(201)

    node.server.containers.transport = Slow()
    assert put(node, CONTAINER_HEADERS).status == 201
    assert len(node.files("async_pending/*/*")) == 1
    answer.send()


def test_an_update_that_can_neither_be_sent_nor_kept_is_not_acknowledged(node):
    node.containers.answers["sdb1"] = 500
    (node.device / "async_pending").touch()
    assert put(node, CONTAINER_HEADERS).status == 507
    (node.device / "async_pending").unlink()


def test_nodes_are_parsed_from_comma_lists():
    (node,) = container_update.parse_nodes("[::1]:6201", "sdb1")
    assert (node.ip, node.port, node.device) == ("::1", 6201, "sdb1")


@pytest.mark.parametrize(("hosts", "devices"), [("1.2.3.4:1", "a,b"), ("1.2.3.4", "a"), ("1.2.3.4:x", "a")])
def test_what_is_no_list_of_nodes_is_refused(hosts, devices):
    with pytest.raises(ValueError):
        container_update.parse_nodes(hosts, devices)
