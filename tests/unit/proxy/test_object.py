"""Objects through the proxy, with one replica and with three."""

from __future__ import annotations

import io
import json
import time

import pytest

from miniswift.cluster import Constraints
from miniswift.errors import ClientDisconnected
from miniswift.wsgi import Request

C = "/v1/AUTH_a/c"
O = "/v1/AUTH_a/c/o"  # noqa: E741
HELLO = "5d41402abc4b2a76b9719d911017c592"


@pytest.fixture(params=[(1, 1), (4, 3)], ids=["one replica", "three replicas"])
def store(make_store, request):
    devices, replicas = request.param
    store = make_store(devices=devices, replicas=replicas)
    assert store.request("PUT", C).status == 201
    return store


def test_put_get_head_delete(store):
    response = store.request("PUT", O, {"Content-Type": "text/plain", "X-Object-Meta-A": "b"}, b"hello")
    assert response.status == 201
    assert response.headers["Etag"] == HELLO
    response = store.request("GET", O)
    assert (response.status, response.read()) == (200, b"hello")
    assert response.headers["Etag"] == HELLO
    assert response.headers["Content-Length"] == "5"
    assert response.headers["Content-Type"] == "text/plain"
    assert response.headers["X-Object-Meta-A"] == "b"
    assert response.headers["Accept-Ranges"] == "bytes"
    head = store.request("HEAD", O)
    assert (head.status, head.read()) == (200, b"")
    assert head.headers["Content-Length"] == "5"
    assert head.headers["X-Timestamp"] == response.headers["X-Timestamp"]
    assert store.request("DELETE", O).status == 204
    assert store.request("GET", O).status == 404
    assert store.request("DELETE", O).status == 404


def test_the_container_counts_its_objects(store):
    store.request("PUT", O, body=b"hello")
    store.request("PUT", C + "/p", body=b"world!")
    headers = store.request("HEAD", C).headers
    assert (headers["X-Container-Object-Count"], headers["X-Container-Bytes-Used"]) == ("2", "11")
    store.request("DELETE", O)
    assert store.request("HEAD", C).headers["X-Container-Bytes-Used"] == "6"


def test_an_object_of_no_bytes(store):
    assert store.request("PUT", O).status == 201
    response = store.request("GET", O)
    assert (response.status, response.headers["Content-Length"], response.read()) == (200, "0", b"")


def test_a_chunked_upload_of_unknown_length(store):
    request = Request.blank(O, "PUT", {"Transfer-Encoding": "chunked"})
    del request.environ["CONTENT_LENGTH"]
    request.environ["wsgi.input"] = io.BytesIO(b"x" * 200_000)
    assert request.call(store.app).status == 201
    assert store.request("GET", O).read() == b"x" * 200_000


def test_without_a_length_it_is_411(store):
    request = Request.blank(O, "PUT")
    del request.environ["CONTENT_LENGTH"]
    assert request.call(store.app).status == 411


class Vanishing:
    """A client that goes away in the middle."""

    def __init__(self):
        self.left = [b"x" * 1000]

    def read(self, size=-1):
        if self.left:
            return self.left.pop()
        raise ClientDisconnected


def test_a_client_that_goes_away_leaves_nothing(store):
    request = Request.blank(O, "PUT", {"Content-Length": "5000"})
    request.environ["wsgi.input"] = Vanishing()
    assert request.call(store.app).status == 499
    assert store.request("GET", O).status == 404
    assert store.request("GET", C).read() == b"[]"


def test_a_body_shorter_than_announced_leaves_nothing(store):
    assert store.request("PUT", O, {"Content-Length": "10"}, b"short").status == 499
    assert store.request("GET", O).status == 404


def test_the_etag_is_checked(store):
    assert store.request("PUT", O, {"ETag": "0" * 32}, b"hello").status == 422
    assert store.request("GET", O).status == 404
    assert store.request("PUT", O, {"ETag": HELLO}, b"hello").status == 201


def test_if_none_match_star_keeps_what_is_there(store):
    assert store.request("PUT", O, {"If-None-Match": "*"}, b"hello").status == 201
    assert store.request("PUT", O, {"If-None-Match": "*"}, b"other").status == 412
    assert store.request("PUT", O, {"If-None-Match": HELLO}, b"other").status == 400
    assert store.request("GET", O).read() == b"hello"


def test_an_older_write_is_accepted_and_ignored(store):
    store.request("PUT", O, body=b"hello")
    older = {"X-Timestamp": f"{time.time() - 100:.5f}"}
    response = store.request("PUT", O, older, b"old")
    assert response.status == 202
    assert "Last-Modified" not in response.headers
    assert store.request("GET", O).read() == b"hello"


@pytest.mark.parametrize(
    ("header", "status", "body"),
    [
        ("bytes=0-0", 206, b"0"),
        ("bytes=2-4", 206, b"234"),
        ("bytes=-3", 206, b"789"),
        ("bytes=7-", 206, b"789"),
        ("bytes=10-", 416, None),
        ("lines=1-2", 200, b"0123456789"),
        ("bytes=5-2", 200, b"0123456789"),
    ],
)
def test_ranges(store, header, status, body):
    store.request("PUT", O, body=b"0123456789")
    response = store.request("GET", O, {"Range": header})
    assert (response.status, response.headers["Accept-Ranges"]) == (status, "bytes")
    if body is not None:
        assert response.read() == body


def test_several_ranges_come_as_one_multipart(store):
    store.request("PUT", O, {"Content-Type": "text/plain"}, b"0123456789")
    response = store.request("GET", O, {"Range": "bytes=0-1,5-6"})
    assert response.status == 206
    assert response.headers["Content-Type"].startswith("multipart/byteranges")
    body = response.read()
    assert b"\r\n\r\n01\r\n" in body
    assert b"\r\n\r\n56\r\n" in body
    assert len(body) == int(response.headers["Content-Length"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": HELLO}, 200),
        ({"If-Match": '"' + HELLO + '"'}, 200),
        ({"If-Match": "other"}, 412),
        ({"If-None-Match": HELLO}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": "other"}, 200),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
    ],
)
def test_conditions(store, headers, status):
    store.request("PUT", O, body=b"hello")
    assert store.request("GET", O, headers).status == status
    assert store.request("HEAD", O, headers).status == status


def test_post_replaces_the_metadata_and_keeps_the_body(store):
    store.request("PUT", O, {"X-Object-Meta-A": "1", "Content-Type": "text/plain"}, b"hello")
    assert store.request("POST", O, {"X-Object-Meta-B": "2"}).status == 202
    response = store.request("GET", O)
    assert response.read() == b"hello"
    assert response.headers["X-Object-Meta-B"] == "2"
    assert "X-Object-Meta-A" not in response.headers
    assert response.headers["Content-Type"] == "text/plain"
    assert store.request("POST", C + "/none", {"X-Object-Meta-B": "2"}).status == 404


def test_metadata_of_any_bytes_comes_back_as_it_was(store):
    value = "sn\xe2\x98\x83w"  # UTF-8 as a WSGI string
    store.request("PUT", O, {"X-Object-Meta-A": value}, b"x")
    assert store.request("HEAD", O).headers["X-Object-Meta-A"] == value


@pytest.mark.parametrize("name", ["with space", "%E2%98%83", "a/b/c", "per%25cent", "q%3Fmark", "x" * 1024])
def test_names(store, name):
    path = f"{C}/{name}".replace(" ", "%20")
    assert store.request("PUT", path, body=b"x").status == 201
    assert store.request("GET", path).read() == b"x"
    assert store.request("DELETE", path).status == 204


def test_a_name_that_is_too_long_is_400(store):
    response = store.request("PUT", f"{C}/{'x' * 1025}", body=b"x")
    assert (response.status, response.read()) == (400, b"Object name length of 1025 longer than 1024")


def test_the_type_is_guessed_from_the_name_when_it_is_not_said(store):
    store.request("PUT", C + "/a.png", body=b"x")
    assert store.request("HEAD", C + "/a.png").headers["Content-Type"] == "image/png"
    store.request("PUT", C + "/a", body=b"x")
    assert store.request("HEAD", C + "/a").headers["Content-Type"] == "application/octet-stream"
    detect = {"X-Detect-Content-Type": "true", "Content-Type": "text/odd"}
    store.request("PUT", C + "/b.html", detect, b"x")
    assert store.request("HEAD", C + "/b.html").headers["Content-Type"] == "text/html"


def test_parameters_of_swifts_own_are_refused_in_the_type(store):
    assert store.request("PUT", O, {"Content-Type": "text/plain;swift_bytes=1"}, b"x").status == 400


def test_delete_after_and_delete_at(store):
    assert store.request("PUT", O, {"X-Delete-After": "100"}, b"x").status == 201
    delete_at = int(store.request("HEAD", O).headers["X-Delete-At"])
    assert abs(delete_at - time.time() - 100) < 10
    assert store.request("POST", O, {"X-Object-Meta-A": "b"}).status == 202
    assert "X-Delete-At" not in store.request("HEAD", O).headers
    past = {"X-Delete-At": str(int(time.time()) - 1)}
    assert store.request("PUT", O, past, b"x").status == 400
    assert store.request("PUT", O, {"X-Delete-After": "soon"}, b"x").status == 400
    assert store.request("PUT", O, {"X-Delete-At": "soon"}, b"x").status == 400


def test_the_expirers_queue_hears_of_it(store):
    delete_at = int(time.time()) + 1000
    store.request("PUT", O, {"X-Delete-At": str(delete_at)}, b"hello")
    day = delete_at // 86400 * 86400
    container = day - int(store.cluster.hash_path("AUTH_a", "c", "o"), 16) % 100
    (row,) = json.loads(store.request("GET", f"/v1/.expiring_objects/{container:010d}").read())
    assert row["name"] == f"{delete_at}-AUTH_a/c/o"
    assert row["content_type"] == "text/plain;swift_expirer_bytes=5"


def expire(store):
    """Put an object that expired in 1970, as replication may bring one."""
    headers = {"X-Timestamp": "900", "X-Delete-At": "1000", "X-Backend-Replication": "true"}
    assert store.request("PUT", O, headers, b"hello").status == 201


def test_an_expired_object_is_opened_for_who_may_and_says_so(make_store):
    store = make_store(allow_open_expired=True)
    store.request("PUT", C)
    expire(store)
    for method, found in (("GET", 200), ("HEAD", 200), ("POST", 202)):
        assert store.request(method, O).status == 404
        assert store.request(method, O, {"X-Open-Expired": "false"}).status == 404
        assert store.request(method, O, {"X-Open-Expired": "True"}).status == found
    assert store.request("GET", O).read() == b"hello"  # the POST came without X-Delete-At


def test_expired_objects_stay_closed_by_default(store):
    expire(store)
    for method in ("GET", "HEAD", "POST"):
        assert store.request(method, O, {"X-Open-Expired": "true"}).status == 404


def test_a_delete_may_depend_on_the_time_of_expiry(store):
    delete_at = str(int(time.time()) + 1000)
    store.request("PUT", O, {"X-Delete-At": delete_at}, b"hello")
    assert store.request("DELETE", O, {"X-If-Delete-At": "bad"}).status == 400
    assert store.request("DELETE", O, {"X-If-Delete-At": "1000"}).status == 412
    assert store.request("GET", O).status == 200
    assert store.request("DELETE", O, {"X-If-Delete-At": delete_at}).status == 204
    assert store.request("GET", O).status == 404


def test_an_object_in_no_container_is_404(store):
    assert store.request("PUT", "/v1/AUTH_a/none/o", body=b"x").status == 404
    assert store.request("GET", "/v1/AUTH_a/none/o").status == 404
    assert store.request("PUT", "/v1/AUTH_none/c/o", body=b"x").status == 404


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_body_that_is_too_large_is_413(make_store, replicas):
    small = make_store(devices=3, replicas=replicas, constraints=Constraints(max_file_size=10))
    small.request("PUT", C)
    assert small.request("PUT", O, body=b"x" * 11).status == 413
    request = Request.blank(O, "PUT", {"Transfer-Encoding": "chunked"})
    del request.environ["CONTENT_LENGTH"]
    request.environ["wsgi.input"] = io.BytesIO(b"x" * 11)
    assert request.call(small.app).status == 413
    assert small.request("GET", O).status == 404


def test_every_replica_is_written(store):
    store.request("PUT", O, body=b"hello")
    replicas = store.cluster.ring("object").replica_count
    assert len(list(store.devices.glob("*/objects/*/*/*/*.data"))) == replicas
