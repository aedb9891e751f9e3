"""Dynamic large objects, with the real proxy and storage servers behind the filter."""

from __future__ import annotations

from hashlib import md5

import pytest

from miniswift import info
from miniswift.middleware.dlo import Dlo, DloSettings
from miniswift.middleware.segments import Piece, SegmentedBody, SegmentError, paced
from miniswift.responses import Response
from miniswift.wsgi import AUTHORIZE, Request
from tests.unit.proxy.conftest import Store

WHOLE = b"aaaaabbbbbccccc"


class Large:
    """A store with the filter in front of it; `c/big` stands for three segments of five bytes."""

    def __init__(self, root, **settings):
        self.store = Store(root)
        self.app = Dlo(self.store.app, DloSettings(rate_limit_segments_per_sec=0, **settings))
        self.requests = []
        for path in ("/v1/AUTH_a/c", "/v1/AUTH_a/segments"):
            assert self.store.request("PUT", path).status == 201
        for letter in "cab":
            self.put_segment(letter, letter.encode() * 5)
        manifest = {"X-Object-Manifest": "segments/big/", "Content-Type": "video/x"}
        assert self("PUT", "c/big", manifest, b"not shown").status == 201

    def put_segment(self, name, body):
        assert self.store.request("PUT", f"/v1/AUTH_a/segments/big/{name}", {}, body).status == 201

    def __call__(self, method, path="c/big", headers=None, body=b"", **environ):
        request = Request.blank(f"/v1/AUTH_a/{path}", method, headers or {}, body)
        request.environ.update({"swift_owner": True, **environ})
        response = request.call(self.app)
        response.body = [response.read()]
        return response


@pytest.fixture
def large(tmp_path):
    return Large(tmp_path)


@pytest.fixture
def pages_of_two(large, monkeypatch):
    """Let the filter think that a page of a listing has two rows."""
    monkeypatch.setattr(info, "get_swift_info", lambda: {"swift": {"container_listing_limit": 2}})
    in_pages = large.app._app

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/v1/AUTH_a/segments":
            environ["QUERY_STRING"] += "&limit=2"
        return in_pages(environ, start_response)

    large.app._app = app
    return large


def test_the_segments_are_one_object_in_the_order_of_their_names(large):
    answer = large("GET")
    assert (answer.status, answer.body) == (200, [WHOLE])
    etags = "".join(md5(letter * 5).hexdigest() for letter in (b"a", b"b", b"c"))
    assert answer.headers["Etag"] == f'"{md5(etags.encode()).hexdigest()}"'
    assert answer.headers["Content-Length"] == "15"
    assert answer.headers["Content-Type"] == "video/x"
    assert answer.headers["X-Object-Manifest"] == "segments/big/"


def test_a_head_has_the_headers_of_the_get(large):
    get, head = large("GET"), large("HEAD")
    assert (head.status, head.body) == (200, [b""])
    assert head.headers == get.headers


def test_the_manifest_itself_can_be_had(large):
    answer = large("GET", "c/big?multipart-manifest=get")
    assert answer.body == [b"not shown"]
    assert answer.headers["Etag"] == md5(b"not shown").hexdigest()


def test_other_objects_pass_untouched(large):
    assert large("PUT", "c/plain", {}, b"plain").status == 201
    answer = large("GET", "c/plain", {"Range": "bytes=1-2"})
    assert (answer.status, answer.body) == (206, [b"la"])


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [("0-0", 0, 1), ("3-6", 3, 7), ("4-10", 4, 11), ("5-9", 5, 10), ("12-", 12, 15), ("-4", 11, 15),
     ("0-99", 0, 15), ("14-14", 14, 15)],
)  # fmt: skip
def test_a_range_is_cut_out_of_the_whole(large, asked, first, end):
    answer = large("GET", headers={"Range": f"bytes={asked}"})
    assert (answer.status, answer.body) == (206, [WHOLE[first:end]])
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/15"
    assert answer.headers["Content-Length"] == str(end - first)


def test_a_range_beyond_the_end_is_416_with_the_size(large):
    answer = large("GET", headers={"Range": "bytes=15-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */15")


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "lines=0-1"])
def test_ranges_that_are_not_one_get_the_whole(large, asked):
    answer = large("GET", headers={"Range": asked})
    assert (answer.status, answer.body) == (200, [WHOLE])


def test_a_range_costs_only_the_segments_it_needs(large):
    asked = []
    inner = large.app._app

    def app(environ, start_response):
        asked.append(environ["PATH_INFO"])
        return inner(environ, start_response)

    large.app._app = app
    large("GET", headers={"Range": "bytes=6-8"})
    assert [path for path in asked if "/segments/" in path] == ["/v1/AUTH_a/segments/big/b"]


def test_conditions_are_about_the_whole(large):
    etag = large("HEAD").headers["Etag"]
    manifest = md5(b"not shown").hexdigest()
    assert large("GET", headers={"If-None-Match": etag}).status == 304
    assert large("GET", headers={"If-None-Match": manifest}).body == [WHOLE]
    assert large("GET", headers={"If-Match": manifest}).status == 412
    answer = large("GET", headers={"If-Match": etag})
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, [WHOLE], "video/x")
    tomorrow = "Fri, 01 Jan 2100 00:00:00 GMT"
    assert large("GET", headers={"If-Modified-Since": tomorrow}).status == 304
    assert large("GET", headers={"Range": "bytes=0-1", "If-Range": '"other"'}).status == 200


def test_names_with_any_characters_work(large):
    assert large.store.request("PUT", "/v1/AUTH_a/segments/%E2%98%83%3F/1", {}, b"snow").status == 201
    manifest = {"X-Object-Manifest": "segments/%E2%98%83%3F/"}
    assert large("PUT", "c/quoted", manifest).status == 201
    assert large("GET", "c/quoted").body == [b"snow"]


def test_a_manifest_without_segments_is_empty(large):
    assert large("PUT", "c/none", {"X-Object-Manifest": "segments/nothing/"}).status == 201
    answer = large("GET", "c/none")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, [b""], "0")


@pytest.mark.parametrize("value", ["", "container", "container/", "/prefix", "c//prefix", "c/a?b", "c/a&b"])
def test_a_manifest_that_names_nothing_is_refused(large, value):
    answer = large("PUT", "c/bad", {"X-Object-Manifest": value})
    assert answer.status == 400
    assert b"container/prefix" in answer.body[0]


def test_a_container_that_cannot_be_listed_is_the_answer(large):
    assert large("PUT", "c/lost", {"X-Object-Manifest": "nowhere/x"}).status == 201
    assert large("GET", "c/lost").status == 404

    def authorize(request):
        return Response(403) if "/segments" in request.environ["PATH_INFO"] else None

    assert large("GET", **{AUTHORIZE: authorize}).status == 403


def test_segments_that_may_not_be_read_are_a_409(large):
    def authorize(request):
        return Response(403) if "/segments/" in request.environ["PATH_INFO"] else None

    assert large("GET", **{AUTHORIZE: authorize}).status == 409


def test_a_segment_that_is_gone_is_a_409_at_the_start_and_an_end_later(large):
    def lose(name):
        inner = large.store.app

        def app(environ, start_response):
            if environ["PATH_INFO"].endswith(f"/big/{name}"):
                return Response(404)(environ, start_response)
            return inner(environ, start_response)

        large.app._app = app

    lose("a")
    assert large("GET").status == 409
    lose("c")
    with pytest.raises(SegmentError, match="status 404"):
        large("GET")


def test_a_segment_that_nobody_can_read_now_is_a_503(large):
    inner = large.store.app

    def app(environ, start_response):
        if "/segments/" in environ["PATH_INFO"]:
            return Response(503)(environ, start_response)
        return inner(environ, start_response)

    large.app._app = app
    assert large("GET").status == 503


def test_more_segments_than_a_page_are_sent_without_a_length(pages_of_two):
    answer = pages_of_two("GET")
    assert (answer.status, answer.body) == (200, [WHOLE])
    assert "Content-Length" not in answer.headers
    assert answer.headers["Etag"] == md5(b"not shown").hexdigest()


def test_a_range_within_the_first_page_is_answered_another_is_not(pages_of_two):
    assert pages_of_two("GET", headers={"Range": "bytes=3-6"}).body == [WHOLE[3:7]]
    assert pages_of_two("GET", headers={"Range": "bytes=3-12"}).body == [WHOLE]
    assert pages_of_two("GET", headers={"Range": "bytes=-3"}).body == [WHOLE]


# --- segments -----------------------------------------------------------------------------------------


def test_pieces_are_paced_after_the_free_ones():
    now, pauses = [100.0], []

    def pause(seconds):
        pauses.append(seconds)
        now[0] += seconds

    pieces = [Piece(str(number)) for number in range(5)]
    assert list(paced(pieces, 2, 4, lambda: now[0], pause)) == pieces
    assert pauses == [0.25, 0.25]


def test_an_answer_that_takes_too_long_is_ended():
    now = iter([0.0, 1.0, 11.0])

    def app(environ, start_response):
        return Response(200, {"Content-Length": "6"}, iter([b"abc", b"def"]))(environ, start_response)

    environ = Request.blank("/v1/a/c/o").environ
    pieces = iter([Piece("/v1/a/c/s")])
    body = SegmentedBody(app, environ, pieces, source="X", max_time_s=10, clock=lambda: next(now))
    body.start()
    with pytest.raises(SegmentError, match="max_get_time"):
        list(body)


def test_a_segment_that_ends_too_early_is_no_whole():
    def app(environ, start_response):
        return Response(200, {"Content-Length": "6"}, iter([b"abc"]))(environ, start_response)

    pieces = iter([Piece("/v1/a/c/s")])
    environ = Request.blank("/v1/a/c/o").environ
    body = SegmentedBody(app, environ, pieces, source="X", max_time_s=10)
    with pytest.raises(SegmentError, match="3 bytes are missing"):
        list(body)


def test_a_client_that_leaves_closes_the_segment():
    class Body(list):
        closed = False

        def close(self):
            self.closed = True

    sent = Body([b"abc", b"def"])

    def app(environ, start_response):
        return Response(200, {"Content-Length": "6"}, sent)(environ, start_response)

    pieces = iter([Piece("/v1/a/c/s")])
    environ = Request.blank("/v1/a/c/o").environ
    body = SegmentedBody(app, environ, pieces, source="X", max_time_s=10)
    body.start()
    body.close()
    assert sent.closed
