"""The object server over WSGI."""

from __future__ import annotations

import io
import os
import time
from hashlib import md5

import pytest
import xattr

from miniswift.concurrency import Event, spawn
from miniswift.errors import ClientDisconnected, ClientTimeout
from miniswift.storage import pickles
from miniswift.wsgi import Request, blank_environ, to_wsgi

from .object_node import OBJECT, ObjectNode, body_of

HELLO = "5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def node(tmp_path):
    node = ObjectNode(tmp_path)
    yield node
    assert node.problems() == []


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
    ({"X-Delete-At": ""}, 400, b"Non-integer X-Delete-At"),
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
     ("/sdb1/7/a/c/%00o", 400), ("/sdb1/7/a/%00c/o", 400), ("/sdb1/7/a/c/o%00", 400), ("/gone/7/a/c/o", 507)],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_a_bad_path_is_refused(node, method, path, status):
    headers = {"X-Timestamp": node.time(), "Content-Type": "text/plain"}
    assert node.call(method, path, headers).status == status


def test_a_name_that_is_too_long_is_refused(node):
    assert node.put(path="/sdb1/7/a/c/" + "o" * 1024).status == 201
    response = node.put(path="/sdb1/7/a/c/" + "%C3%BC" * 513)
    assert (response.status, body_of(response)) == (400, b"Object name length of 1026 longer than 1024")


def test_reserved_names_go_together(node):
    assert node.put(path="/sdb1/7/a/%00c/%00o").status == 201


def test_an_etag_is_checked(node):
    assert node.put(b"hello", ETag=f'"{HELLO.upper()}"').status == 201
    assert node.put(b"hello", 0.5, ETag='""').status == 201
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


BIG = {f"X_Object_Sysmeta_{number}": os.urandom(4000).hex() for number in range(20)}
BIG_OF_POST = {name.replace("Sysmeta", "Transient_Sysmeta"): value for name, value in BIG.items()}


def test_metadata_beyond_what_the_file_system_keeps_are_stored_whole_or_not_at_all(node):
    status = node.put(b"hello", **BIG).status
    if status == 201:  # XFS keeps that much
        assert len(node.head().headers) > len(BIG)
    else:
        assert (status, node.files("objects*/*/???")) == (507, [])
        assert node.put(b"hello").status == 201
        assert (node.post(1, **BIG_OF_POST).status, len(node.files())) == (507, 1)


def descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def test_a_put_that_fails_leaves_no_descriptor_open(node):
    node.put(b"hello")
    environ = blank_environ(
        OBJECT, "PUT", {"X-Timestamp": node.time(1), "Content-Type": "text/plain"}, b"hello"
    )
    before = descriptors()
    for error in (None, ClientTimeout("slow"), OSError("reset")):
        Request(environ | {"wsgi.input": Input(b"hel", error)}).call(node.server)
    refused = [
        node.put(at=1, ETag="0" * 32),
        node.put(at=0),
        node.put(at=1, If_None_Match="*"),
        node.put(at=1, X_Backend_Obj_Metadata_Footer="yes", X_Backend_Obj_Multipart_Mime_Boundary="b"),
        node.put(at=1, **BIG),
        node.post(1, **BIG_OF_POST),
        node.delete(0),
    ]
    assert all(response.status >= 400 for response in refused)
    assert descriptors() == before


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


def test_a_content_type_has_a_time_of_its_own(node):
    node.put()
    alone = {"Content_Type": "text/alone", "Content_Type_Timestamp": node.time(9)}
    assert node.post(0, **alone).status == 409  # no newer metadata that it could go with
    node.post(5, Content_Type="text/of-5")
    node.post(6, Content_Type="text/of-4", Content_Type_Timestamp=node.time(4), X_Object_Meta_A="6")
    assert node.get().headers["Content-Type"] == "text/of-5"
    assert node.post(6, **alone).status == 202
    headers = node.get().headers
    assert (headers["Content-Type"], headers["X-Object-Meta-A"]) == ("text/alone", "6")
    assert headers["X-Timestamp"] == node.time(6)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"X_Delete_At": "tomorrow"}, b"Non-integer X-Delete-At"),
        ({"X_Delete_At": "1"}, b"X-Delete-At in past"),
        ({"X_Object_Meta_A": "x" * 257}, b"Metadata value longer than 256"),
        ({"Content_Type": "text/\xff"}, b"Invalid Content-Type"),
        ({"Content_Type": "a/b", "Content_Type_Timestamp": "x"}, b"Invalid Content-Type-Timestamp"),
    ],
)
def test_a_bad_post_is_refused_with_the_reason(node, headers, message):
    node.put()
    response = node.post(1, **headers)
    assert response.status == 400
    assert body_of(response).startswith(message)
    assert len(node.files()) == 1


def test_post_without_delete_at_or_with_an_empty_one_cancels_it(node):
    node.put(X_Delete_At="4000000000")
    assert node.post(1, X_Delete_At="").status == 202
    response = node.get()
    assert response.status == 200
    assert "X-Delete-At" not in response.headers


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
