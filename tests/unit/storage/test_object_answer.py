"""What GET and HEAD of an object answer."""

from __future__ import annotations

import os
import shutil
from hashlib import md5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miniswift.responses import FileBody
from miniswift.wsgi import Request

from .object_node import OBJECT, ObjectNode, body_of

HELLO = "5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def node(tmp_path):
    node = ObjectNode(tmp_path)
    yield node
    assert node.problems() == []


@pytest.fixture
def damaged(tmp_path):
    """A node whose device the test damages."""
    return ObjectNode(tmp_path)


def test_conditions_of_get(node):
    node.put()
    assert node.get(If_None_Match=f'"{HELLO}"').status == 304
    response = node.get(If_Match='"x"')
    assert (response.status, body_of(response)) == (412, b"")
    assert response.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert node.get(If_Match=HELLO).status == 200
    assert node.head(If_None_Match="*").status == 304
    assert node.get("/sdb1/7/a/c/missing", If_Match="*").status == 412


def test_an_etag_may_be_kept_elsewhere(node):
    node.put(X_Object_Sysmeta_Slo_Etag="abc")
    where = "x-missing, X-Object-Sysmeta-Slo-Etag"
    assert node.get(X_Backend_Etag_Is_At=where, If_None_Match="abc").status == 304
    assert node.get(X_Backend_Etag_Is_At=where, If_None_Match=HELLO).status == 200


def test_a_range(node):
    node.put(b"0123456789")
    response = node.get(Range="bytes=2-4")
    assert (response.status, body_of(response)) == (206, b"234")
    assert response.headers["Content-Range"] == "bytes 2-4/10"
    assert response.headers["Content-Length"] == "3"


def test_a_range_of_what_a_manifest_stands_for_is_ignored(node):
    node.put(b"0123456789", X_Static_Large_Object="True")
    ignore = "X-Static-Large-Object,X-Object-Manifest"
    response = node.get(Range="bytes=2-4", X_Backend_Ignore_Range_If_Metadata_Present=ignore)
    assert (response.status, body_of(response)) == (200, b"0123456789")


def test_several_ranges_are_parts_of_one_document(node):
    node.put(b"0123456789")
    response = node.get(Range="bytes=0-1,5-,-1")
    assert response.status == 206
    kind, _, boundary = response.headers["Content-Type"].partition(";boundary=")
    assert kind == "multipart/byteranges"
    parts = [(b"0-1", b"01"), (b"5-9", b"56789"), (b"9-9", b"9")]
    expected = b"".join(
        b"--%s\r\nContent-Type: text/plain\r\nContent-Range: bytes %s/10\r\n\r\n%s\r\n"
        % (boundary.encode(), which, content)
        for which, content in parts
    )
    assert body_of(response) == expected + b"--%s--" % boundary.encode()
    assert response.headers["Content-Length"] == str(len(body_of(response)))


def test_a_range_that_is_not_there_is_416(node):
    node.put(b"0123456789")
    response = node.get(Range="bytes=20-")
    assert (response.status, response.headers["Content-Range"]) == (416, "bytes */10")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=3))
def test_any_ranges_are_answered_with_those_bytes(damaged, ranges):
    damaged.put(b"0123456789")
    header = "bytes=" + ",".join(f"{min(pair)}-{max(pair)}" for pair in ranges)
    response = damaged.get(Range=header)
    found = [b"0123456789"[min(pair) : max(pair) + 1] for pair in ranges if min(pair) < 10]
    if not found or response.status == 416:
        assert response.status == 416
    elif len(found) == 1:
        assert body_of(response) == found[0]
    else:
        assert all(b"\r\n\r\n" + content + b"\r\n" in body_of(response) for content in found)
    assert response.headers["Content-Length"] == str(len(body_of(response)))


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_bodies_of_any_size_come_back(node, size):
    body = os.urandom(size)
    node.put(body)
    response = node.get()
    assert md5(body_of(response)).hexdigest() == md5(body).hexdigest()
    assert response.headers["Content-Length"] == str(size)
    if size > 1:
        assert body_of(node.get(Range=f"bytes=1-{size}")) == body[1:]


# --- damage ----------------------------------------------------------------------------------------------


def test_damaged_bytes_are_never_sent(damaged):
    damaged.put(b"hello")
    with open(damaged.path_of("data"), "r+b") as file:
        file.write(b"jello")
    assert damaged.get().status == 404
    assert len(os.listdir(damaged.device / "quarantined/objects")) == 1


def test_a_damaged_object_can_be_put_again(damaged):
    damaged.put(b"hello")
    with open(damaged.path_of("data"), "wb"):
        pass
    assert damaged.put(b"hello", 1).status == 201
    assert damaged.get().status == 200


def test_another_name_of_the_same_hash_is_403(damaged):
    damaged.put(path="/sdb1/7/AUTH_test/c/other")
    other, own = (
        damaged.cluster.hash_path("AUTH_test", "c", "other"),
        damaged.cluster.hash_path("AUTH_test", "c", "o"),
    )
    (damaged.device / "objects/7" / own[-3:]).mkdir()
    shutil.move(
        damaged.device / "objects/7" / other[-3:] / other, damaged.device / "objects/7" / own[-3:] / own
    )
    assert damaged.get().status == 403
    assert damaged.put(at=1).status == 403


# --- where bytes come from ---------------------------------------------------------------------------------

LARGE = (1 << 20) + 1  # bytes


def ask(node, method="GET", **headers):
    """The answer as the server sees it, its body unread."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request.blank(OBJECT, method, sent).call(node.server)


def test_a_large_object_is_handed_to_the_server_as_a_file(node):
    body = os.urandom(LARGE)
    node.put(body)
    response = ask(node)
    assert isinstance(response.body, FileBody)
    assert response.read() == body
    response = ask(node, Range=f"bytes=10-{LARGE}")
    assert isinstance(response.body, FileBody)
    assert (response.status, response.read()) == (206, body[10:])


def test_the_pages_of_a_large_private_object_are_let_go(node, monkeypatch):
    node.put(bytes(LARGE))
    let_go = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *args: let_go.append(args[3]))
    ask(node).read()
    assert let_go == []
    ask(node, X_Auth_Token="secret").read()
    assert let_go == [os.POSIX_FADV_DONTNEED]


@pytest.mark.parametrize("size", [0, 5, LARGE])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Range": "bytes=0-1"}, {"Range": "bytes=0-0,3-4"}, {"Range": "bytes=9999999-"},
     {"If_Match": "x"}, {"If_None_Match": "*"}],
)  # fmt: skip
def test_a_body_that_nobody_reads_leaves_no_descriptor_open(node, size, headers):
    node.put(bytes(size))
    before = sorted(os.listdir("/proc/self/fd"))
    for method in ("GET", "HEAD"):
        ask(node, method, **headers).close()
    assert sorted(os.listdir("/proc/self/fd")) == before
