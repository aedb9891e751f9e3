"""The object server over WSGI."""

from __future__ import annotations

import io
import os
import shutil
import time
from hashlib import md5

import pytest
import xattr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miniswift.concurrency import Event, spawn
from miniswift.errors import ClientDisconnected, ClientTimeout
from miniswift.storage import pickles
from miniswift.storage.async_pending import AsyncUpdate
from miniswift.wsgi import Request, blank_environ, to_wsgi

from .object_node import CONTAINER_HEADERS, OBJECT, ObjectNode, body_of

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


def test_put_and_get_with_the_headers_that_proxies_expect(node):
    response = node.put(b"hello", X_Object_Meta_Color="red", Content_Encoding="gzip", X_Other="no")
    assert (response.status, response.headers["Etag"], body_of(response)) == (201, f'"{HELLO}"', b"")
    response = node.get()
    assert (response.status, body_of(response)) == (200, b"hello")
    now = node.time()
    assert response.headers.pop("Last-Modified").endswith("GMT")
    assert dict(response.headers) == {
        "Content-Length": "5",
        "Content-Type": "text/plain",
        "Content-Encoding": "gzip",
        "X-Object-Meta-Color": "red",
        "Etag": f'"{HELLO}"',
        "X-Timestamp": now,
        "X-Backend-Timestamp": now,
        "X-Backend-Data-Timestamp": now,
        "X-Backend-Durable-Timestamp": now,
    }


def test_head_is_get_without_a_body(node):
    node.put()
    response = node.head()
    assert (response.status, body_of(response)) == (200, b"")
    assert response.headers == node.get().headers


def test_an_offset_in_the_timestamp_is_shown_to_proxies_only(node):
    stamp = f"{node.time()}_0000000000000001"
    node.put(X_Timestamp=stamp)
    response = node.get()
    assert response.headers["X-Timestamp"] == node.time()
    assert response.headers["X-Backend-Timestamp"] == stamp


def test_names_and_metadata_of_any_script_survive(node):
    path = "/sdb1/7/AUTH_test/c/a%E2%98%83/b%20c"
    assert node.put(path=path, X_Object_Meta_Snow=to_wsgi("☃")).status == 201
    assert node.get(path).headers["X-Object-Meta-Snow"] == to_wsgi("☃")


def test_a_policy_is_a_tree_of_its_own(node):
    node.put(X_Backend_Storage_Policy_Index="1")
    assert node.files("objects-1/*/???/*/*") == [f"{node.time()}.data"]
    assert node.get().status == 404
    assert node.get(X_Backend_Storage_Policy_Index="1").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "REPLICATE"])
def test_an_unknown_policy_is_refused(node, method):
    headers = {
        "X-Timestamp": node.time(),
        "Content-Type": "a/b",
        "X-Backend-Storage-Policy-Index": "9",
    }
    assert node.call(method, headers=headers).status == 503


def test_ssync_is_not_served(node):
    assert node.call("SSYNC", "/sdb1/7").status == 405


# --- refusals ----------------------------------------------------------------------------------------

BAD_PUTS = [
    ({"X-Timestamp": ""}, 400, b"Missing X-Timestamp header"),
    ({"X-Timestamp": "soon"}, 400, b"Invalid X-Timestamp header"),
    ({"Content-Type": ""}, 400, b"No content type"),
    ({"Content-Type": "text/\xff"}, 400, b"Invalid Content-Type"),
    ({"Content-Length": "-5"}, 400, b"Invalid Content-Length"),
    ({"Content-Length": "5368709123"}, 413, b"Your request is too large."),
    ({"X-Delete-At": "tomorrow"}, 400, b"Non-integer X-Delete-At"),
    ({"X-Delete-At": "1"}, 400, b"X-Delete-At in past"),
    ({"X-Object-Meta-" + "a" * 129: "x"}, 400, b"Metadata name too long"),
    ({"X-Object-Meta-": "x"}, 400, b"Metadata name cannot be empty"),
    ({"X-Object-Meta-A": "x" * 257}, 400, b"Metadata value longer than 256"),
    ({"X-Object-Sysmeta-A": "x" * 8193}, 400, b"Header value too long"),
    ({f"X-Object-Meta-{n}": "x" for n in range(91)}, 400, b"Too many metadata items; max 90"),
    ({f"X-Object-Meta-{n}": "x" * 250 for n in range(17)}, 400, b"Total metadata too large; max 4096"),
]


@pytest.mark.parametrize(("headers", "status", "message"), BAD_PUTS)
def test_a_bad_put_is_refused_with_the_reason(node, headers, status, message):
    sent = {"X-Timestamp": node.time(), "Content-Type": "text/plain", **headers}
    response = node.call("PUT", headers=sent, body=b"hello")
    assert response.status == status
    assert body_of(response).startswith(message)
    assert node.files("objects*/*/*") == []


def test_a_put_must_say_how_long_it_is(node):
    environ = blank_environ(OBJECT, "PUT", {"X-Timestamp": node.time(), "Content-Type": "a/b"}, b"x")
    del environ["CONTENT_LENGTH"]
    assert Request(environ).call(node.server).status == 411


@pytest.mark.parametrize(
    ("path", "status"),
    [("/sdb1/7/a/c", 400), ("/sdb1/x/a/c/o", 400), ("/../7/a/c/o", 400), ("/sdb1/7/a/c/%FF", 412),
     ("/sdb1/7/a/c/%00o", 400), ("/sdb1/7/a/%00c/o", 400), ("/gone/7/a/c/o", 507)],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_a_bad_path_is_refused(node, method, path, status):
    headers = {"X-Timestamp": node.time(), "Content-Type": "text/plain"}
    assert node.call(method, path, headers).status == status


def test_reserved_names_go_together(node):
    assert node.put(path="/sdb1/7/a/%00c/%00o").status == 201


def test_an_etag_is_checked(node):
    assert node.put(b"hello", ETag=f'"{HELLO.upper()}"').status == 201
    assert node.put(b"jello", 1, ETag=HELLO).status == 422
    assert body_of(node.get()) == b"hello"


class Input(io.BytesIO):
    """A body whose sender goes away after it."""

    def __init__(self, body, error=None):
        super().__init__(body)
        self.error = error

    def read(self, size=-1):
        data = super().read(size)
        if not data and self.error is not None:
            raise self.error
        return data


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, 499), (ClientDisconnected("gone"), 499), (ClientTimeout("slow"), 408), (OSError("reset"), 499)],
)
def test_a_body_that_stops_short_is_refused_and_leaves_nothing(node, error, status):
    environ = blank_environ(
        OBJECT, "PUT", {"X-Timestamp": node.time(), "Content-Type": "text/plain"}, b"hello"
    )
    environ["wsgi.input"] = Input(b"hel", error)
    assert Request(environ).call(node.server).status == status
    assert node.files("objects*/*/???") == []


def test_a_large_upload_lets_others_run(node):
    ran = Event()
    spawn(ran.send)
    had_run = []

    class Observed(io.BytesIO):
        def read(self, size=-1):
            had_run.append(ran.ready())
            return super().read(size)

    headers = {"X-Timestamp": node.time(), "Content-Type": "text/plain"}
    environ = blank_environ(OBJECT, "PUT", headers, b"x" * 1_000_000)
    environ["wsgi.input"] = Observed(b"x" * 1_000_000)
    assert Request(environ).call(node.server).status == 201
    assert had_run[0] is False
    assert had_run[-1] is True


def test_a_put_may_be_made_to_take_its_time(tmp_path):
    node = ObjectNode(tmp_path, slow="0.02")
    started = time.monotonic()
    node.put()
    assert time.monotonic() - started >= 0.02


def test_a_chunked_body_is_stored(node):
    environ = blank_environ(
        OBJECT, "PUT", {"X-Timestamp": node.time(), "Content-Type": "text/plain"}, b"hello"
    )
    del environ["CONTENT_LENGTH"]
    environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    assert Request(environ).call(node.server).status == 201
    assert body_of(node.get()) == b"hello"


def test_a_chunked_body_beyond_the_limit_is_refused(node):
    object.__setattr__(node.cluster.constraints, "max_file_size", 4)
    environ = blank_environ(
        OBJECT, "PUT", {"X-Timestamp": node.time(), "Content-Type": "text/plain"}, b"hello"
    )
    del environ["CONTENT_LENGTH"]
    environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    assert Request(environ).call(node.server).status == 413
    assert node.files("objects*/*/???") == []


def test_a_full_device_is_507_to_writes_but_not_to_deletes(tmp_path):
    node = ObjectNode(tmp_path, fallocate_reserve="100%")
    assert node.put().status == 507
    assert node.post(1).status == 404
    assert node.delete(2).status == 404
    assert node.files() == [f"{node.time(2)}.ts"]


def test_metadata_that_do_not_fit_are_507_and_leave_nothing(node, monkeypatch, caplog):
    def refuse(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xattr, "setxattr", refuse)
    response = node.put()
    assert response.status == 507
    assert "do not fit into the extended attributes" in caplog.text
    assert node.files("objects*/*/???") == []


# --- order of writes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, -1])
def test_put_with_older_timestamp_is_refused(node, at):
    node.put(b"hello")
    response = node.put(b"other", at)
    assert (response.status, response.headers["X-Backend-Timestamp"]) == (409, node.time())
    assert body_of(node.get()) == b"hello"


def test_put_older_than_a_tombstone_is_refused(node):
    node.delete(1)
    response = node.put(at=0)
    assert (response.status, response.headers["X-Backend-Timestamp"]) == (409, node.time(1))


def test_put_over_a_tombstone_is_stored(node):
    node.delete(0)
    assert node.put(at=1).status == 201
    assert node.files() == [f"{node.time(1)}.data"]


@pytest.mark.parametrize(("header", "status"), [("*", 412), (HELLO, 412), (f'"{HELLO}"', 412), ('"x"', 201)])
def test_put_if_none_match(node, header, status):
    assert node.put(If_None_Match=header).status == 201
    assert node.put(at=1, If_None_Match=header).status == status


def test_put_if_none_match_over_a_deleted_object_is_stored(node):
    node.put()
    node.delete(1)
    assert node.put(at=2, If_None_Match="*").status == 201


def test_delete_answers_with_what_it_removed(node):
    node.put()
    response = node.delete(1)
    assert (response.status, body_of(response)) == (204, b"")
    assert response.headers["X-Backend-Timestamp"] == node.time(1)
    assert response.headers["X-Backend-Content-Type"] == "text/plain"
    response = node.get()
    assert (response.status, response.headers["X-Backend-Timestamp"]) == (404, node.time(1))


def test_delete_of_nothing_is_404_and_leaves_a_tombstone(node):
    assert node.delete(0).status == 404
    assert node.files() == [f"{node.time()}.ts"]


def test_delete_with_older_timestamp_is_refused(node):
    node.put()
    response = node.delete(0)
    assert (response.status, response.headers["X-Backend-Timestamp"]) == (409, node.time())
    assert node.get().status == 200


def test_of_what_never_was_there_is_no_timestamp(node):
    assert "X-Backend-Timestamp" not in node.get().headers


# --- POST ----------------------------------------------------------------------------------------------


def test_post_replaces_metadata(node):
    node.put(
        X_Object_Meta_A="1", X_Object_Sysmeta_B="2", Content_Disposition="x", X_Static_Large_Object="True"
    )
    response = node.post(1, X_Object_Meta_C="3", X_Object_Transient_Sysmeta_D="4")
    assert (response.status, response.headers["X-Backend-Content-Type"]) == (202, "text/plain")
    assert response.headers["X-Object-Sysmeta-B"] == "2"
    headers = node.get().headers
    kept = {name: value for name, value in headers.items() if name.startswith(("X-Object", "X-Static"))}
    assert kept == {
        "X-Object-Sysmeta-B": "2",
        "X-Object-Meta-C": "3",
        "X-Object-Transient-Sysmeta-D": "4",
        "X-Static-Large-Object": "True",
    }
    assert "Content-Disposition" not in headers
    assert headers["X-Timestamp"] == node.time(1)
    assert headers["X-Backend-Data-Timestamp"] == node.time(0)
    assert headers["Etag"] == f'"{HELLO}"'


def test_post_sets_the_content_type_and_a_later_one_without_it_keeps_it(node):
    node.put()
    assert node.post(1, Content_Type="text/new").headers["X-Backend-Content-Type"] == "text/new"
    assert node.post(2, Content_Type="").headers["X-Backend-Content-Type"] == "text/new"
    assert node.get().headers["Content-Type"] == "text/new"


@pytest.mark.parametrize("at", [0, -1])
def test_post_with_older_timestamp_is_refused(node, at):
    node.put()
    response = node.post(at)
    assert (response.status, response.headers["X-Backend-Timestamp"]) == (409, node.time())


def test_post_to_nothing_or_to_something_deleted_is_404(node):
    assert node.post(1).status == 404
    node.delete(2)
    assert node.post(3).status == 404


def test_put_after_post_forgets_its_metadata(node):
    node.put()
    node.post(1, X_Object_Meta_A="1", Content_Type="text/new")
    node.put(b"hello", 2)
    headers = node.get().headers
    assert headers["Content-Type"] == "text/plain"
    assert "X-Object-Meta-A" not in headers
    assert node.files() == [f"{node.time(2)}.data"]


# --- conditions and ranges --------------------------------------------------------------------------------


def test_conditions_of_get(node):
    node.put()
    assert node.get(If_None_Match=f'"{HELLO}"').status == 304
    response = node.get(If_Match='"x"')
    assert (response.status, body_of(response)) == (412, b"")
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
    node.post(1, **with_container(Content_Type="text/new"))
    node.post(2, **with_container(Content_Type=""))
    first, second = (headers for _, _, _, headers in told(node))
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


def test_a_shard_is_told_in_place_of_its_root(node):
    node.put(**with_container(X_Backend_Quoted_Container_Path=".shards_a/c-%E2%98%83"))
    node.put(at=1, **with_container(X_Backend_Container_Path="not-a-path"))
    assert [path for _, _, path, _ in told(node)] == ["/.shards_a/c-☃/o", "/AUTH_test/c/o"]


def test_nodes_that_make_no_sense_are_not_told(node, caplog):
    node.put(**with_container(X_Container_Device="sdb1,sdc1"))
    assert told(node) == []
    assert "make no sense" in caplog.text


# --- replication -----------------------------------------------------------------------------------------


def test_replicate_answers_with_the_hashes_of_a_partition(node):
    assert pickles.loads(body_of(node.call("REPLICATE", "/sdb1/7"))) == {}
    node.put()
    suffix = node.cluster.hash_path("AUTH_test", "c", "o")[-3:]
    expected = {suffix: md5(f"{node.time()}.data".encode()).hexdigest()}
    assert pickles.loads(body_of(node.call("REPLICATE", "/sdb1/7"))) == expected


def test_replicate_with_suffixes_invalidates_them(node):
    node.put()
    node.call("REPLICATE", "/sdb1/7")
    response = node.call("REPLICATE", "/sdb1/7/abc-nonsense-123")
    assert pickles.loads(body_of(response)) is None
    assert (node.device / "objects/7/hashes.invalid").read_text() == "abc\n123\n"
    assert node.call("REPLICATE", "/sdb1/8/abc").status == 200
    assert not (node.device / "objects/8").exists()


def test_every_change_shows_in_the_hashes(node):
    def hashes():
        return body_of(node.call("REPLICATE", "/sdb1/7"))

    seen = [hashes()]
    for change in (lambda: node.put(), lambda: node.post(1), lambda: node.put(at=2), lambda: node.delete(3)):
        change()
        seen.append(hashes())
    assert len(set(seen)) == 5


def test_a_server_may_be_for_replication_only_or_not_at_all(tmp_path):
    only = ObjectNode(tmp_path / "only", replication_server="true")
    assert (only.put().status, only.call("REPLICATE", "/sdb1/7").status) == (405, 200)
    never = ObjectNode(tmp_path / "never", replication_server="false")
    assert (never.put().status, never.call("REPLICATE", "/sdb1/7").status) == (201, 405)


def test_options_names_the_verbs(node):
    response = node.call("OPTIONS", "/")
    assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT, REPLICATE"
    assert response.headers["Server"].startswith("object-server/")
