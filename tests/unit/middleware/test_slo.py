"""Static large objects, with the real proxy and storage servers behind the filter."""

from __future__ import annotations

import base64
import contextlib
import json
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift import concurrency
from miniswift.info import get_swift_info
from miniswift.middleware import slo, slo_manifest, symlink
from miniswift.responses import HTTPError, Response
from miniswift.wsgi import AUTHORIZE, SLO_HOOK, SLO_OVERRIDE, Request
from tests.unit.proxy.conftest import Store

PARTS = {"a": b"aaaaa", "b": b"bbb", "c": b"ccccccc"}
WHOLE = b"".join(PARTS.values())
JSON = {"Accept": "application/json"}


def etag(body):
    return md5(body).hexdigest()


WHOLE_ETAG = etag("".join(map(etag, PARTS.values())).encode())


class Shop:
    """A store with three segments in `s`, and a large object `c/big` of them."""

    def __init__(self, root, **options):
        self.store = Store(root)
        self.app = slo.filter_factory({}, rate_limit_segments_per_sec="0", **options)(self.store.app)
        for container in ("c", "s"):
            assert self.store.request("PUT", f"/v1/AUTH_a/{container}").status == 201
        for name, body in PARTS.items():
            assert self("PUT", f"s/{name}", {}, body).status == 201
        assert (
            self.make("c/big", *(entry(name) for name in PARTS), **{"Content-Type": "video/x"}).status == 201
        )

    def __call__(self, method, path, headers=None, body=b"", **environ):
        request = Request.blank(f"/v1/AUTH_a/{path}", method, headers or {}, body)
        request.environ.update({"swift_owner": True, **environ})
        response = request.call(self.app)
        response.body = [response.read()]
        return response

    def make(self, path, *entries, query="", **headers):
        body = json.dumps(entries).encode()
        return self("PUT", f"{path}?multipart-manifest=put{query}", headers, body)

    def rows(self, container="c"):
        return json.loads(self("GET", f"{container}?format=json").read())


def entry(name, **more):
    body = PARTS[name]
    return {"path": f"/s/{name}", "etag": etag(body), "size_bytes": len(body), **more}


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


# --- reading --------------------------------------------------------------------------------------


def test_segments_are_one_object(shop):
    answer = shop("GET", "c/big")
    assert (answer.status, answer.read()) == (200, WHOLE)
    assert answer.headers["Etag"] == f'"{WHOLE_ETAG}"'
    assert answer.headers["Content-Length"] == str(len(WHOLE))
    assert answer.headers["Content-Type"] == "video/x"
    assert answer.headers["X-Static-Large-Object"] == "True"


def test_head_has_the_headers_of_the_get(shop):
    get, head = shop("GET", "c/big"), shop("HEAD", "c/big")
    assert (head.status, head.read()) == (200, b"")
    assert head.headers == get.headers


@pytest.mark.parametrize(
    ("asked", "body"),
    [("0-0", b"a"), ("3-6", b"aabb"), ("5-7", b"bbb"), ("-2", b"cc"), ("8-", b"ccccccc"), ("0-999", WHOLE)],
)
def test_ranges(shop, asked, body):
    answer = shop("GET", "c/big", {"Range": f"bytes={asked}"})
    assert (answer.status, answer.read()) == (206, body)
    assert answer.headers["Content-Length"] == str(len(body))


def test_several_ranges_at_once(shop):
    answer = shop("GET", "c/big", {"Range": "bytes=0-1,4-5,-1"})
    assert answer.status == 206
    kind, _, boundary = answer.headers["Content-Type"].partition(";boundary=")
    assert kind == "multipart/byteranges"
    body = answer.read()
    assert len(body) == int(answer.headers["Content-Length"])
    parts = [
        part.partition(b"\r\n\r\n")[2].rstrip(b"\r\n") for part in body.split(f"--{boundary}".encode())[1:-1]
    ]
    assert parts == [b"aa", b"ab", b"c"]


def test_range_beyond_the_end(shop):
    answer = shop("GET", "c/big", {"Range": "bytes=100-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(WHOLE)}")


def test_conditions_are_about_the_whole(shop):
    for method in ("GET", "HEAD"):
        assert shop(method, "c/big", {"If-None-Match": WHOLE_ETAG}).status == 304
        assert shop(method, "c/big", {"If-Match": WHOLE_ETAG}).status == 200
        refused = shop(method, "c/big", {"If-Match": "other"})
        assert (refused.status, refused.headers["Etag"]) == (412, f'"{WHOLE_ETAG}"')


@pytest.mark.parametrize(("number", "name"), [(1, "a"), (2, "b"), (3, "c")])
def test_part_by_part(shop, number, name):
    get, head = (shop(method, f"c/big?part-number={number}") for method in ("GET", "HEAD"))
    assert (get.status, get.read(), head.status, head.read()) == (206, PARTS[name], 206, b"")
    assert get.headers["X-Parts-Count"] == head.headers["X-Parts-Count"] == "3"
    assert get.headers["Content-Range"] == head.headers["Content-Range"]


def test_parts_that_there_are_not(shop):
    assert shop("GET", "c/big?part-number=4").status == shop("HEAD", "c/big?part-number=4").status == 416
    for number in ("0", "-1", "x", "9" * 100):
        assert shop("GET", f"c/big?part-number={number}").status == 400
    assert shop("GET", "c/big?part-number=1", {"Range": "bytes=0-1"}).status == 400


def test_manifest_itself_and_as_it_was_written(shop):
    kept = shop("GET", "c/big?multipart-manifest=get")
    assert kept.headers["Content-Type"] == "application/json; charset=utf-8"
    assert [row["name"] for row in json.loads(kept.read())] == ["/s/a", "/s/b", "/s/c"]
    raw = shop("GET", "c/big?multipart-manifest=get&format=raw")
    assert json.loads(raw.read()) == [entry(name) for name in PARTS]
    assert raw.headers["Content-Type"] == "video/x"
    assert raw.headers["Etag"] == etag(raw.read())
    assert shop("HEAD", "c/big?multipart-manifest=get&format=raw").headers["Etag"] == raw.headers["Etag"]


def test_other_objects_pass_untouched(shop):
    assert shop("GET", "s/a", {"Range": "bytes=1-2"}).read() == b"aa"
    assert shop("GET", "s/a?multipart-manifest=get").read() == b"aaaaa"
    assert shop("GET", "s/a?part-number=1").read() == b"aaaaa"
    assert shop("GET", "c/none").status == 404


def test_changed_segment_ends_the_answer(shop):
    shop("PUT", "s/a", {}, b"AAAAA")
    assert shop("GET", "c/big").status == 409
    assert shop("GET", "c/big", {"Range": "bytes=5-"}).read() == b"bbbccccccc"
    shop("DELETE", "s/a")
    assert shop("GET", "c/big").status == 409


def test_whoever_reads_it_must_be_allowed_to_read_its_segments(shop):
    def authorize(request):
        return Response(403) if "/s/" in request.environ["PATH_INFO"] else None

    assert shop("GET", "c/big", **{AUTHORIZE: authorize}).status == 409
    assert shop("HEAD", "c/big", **{AUTHORIZE: authorize}).status == 200


def test_spans_of_segments_data_and_large_objects_within(shop):
    data = base64.b64encode(b"-data-").decode()
    made = shop.make(
        "c/mix", entry("a", range="1-2"), {"data": data}, {"path": "c/big"}, {"path": "c/big", "range": "4-5"}
    )
    assert made.status == 201
    whole = b"aa-data-" + WHOLE + WHOLE[4:6]
    answer = shop("GET", "c/mix")
    assert (answer.read(), int(answer.headers["Content-Length"])) == (whole, len(whole))
    for first in range(0, len(whole), 3):
        for last in range(first, len(whole), 4):
            assert shop("GET", "c/mix", {"Range": f"bytes={first}-{last}"}).read() == whole[first : last + 1]


def test_nesting_has_an_end(shop):
    for depth in range(12):
        source = f"c/n{depth - 1}" if depth else "s/a"
        assert shop.make(f"c/n{depth}", {"path": source}).status == 201
    assert shop("GET", "c/n9").read() == b"aaaaa"
    assert shop("GET", "c/n11").status == 409


def test_manifest_from_before_size_and_etag_were_kept(shop):
    body = shop("GET", "c/big?multipart-manifest=get").read()
    shop.store.request("PUT", "/v1/AUTH_a/c/old", {"X-Static-Large-Object": "True"}, body)
    for method in ("GET", "HEAD"):
        answer = shop(method, "c/old")
        assert (answer.headers["Etag"], answer.headers["Content-Length"]) == (
            f'"{WHOLE_ETAG}"',
            str(len(WHOLE)),
        )
    assert shop("GET", "c/old").read() == WHOLE
    assert shop("GET", "c/old", {"If-None-Match": WHOLE_ETAG}).status == 304


def test_symlink_to_one(shop):
    shop.app = slo.filter_factory({})(symlink.filter_factory({})(shop.store.app))
    shop("PUT", "c/link", {"X-Symlink-Target": "c/big"})
    assert shop("GET", "c/link", {"Range": "bytes=4-5"}).read() == b"ab"


# --- making ---------------------------------------------------------------------------------------


def test_listing_shows_size_and_etag_of_the_whole(shop):
    (row,) = shop.rows()
    assert (row["bytes"], row["slo_etag"]) == (len(WHOLE), f'"{WHOLE_ETAG}"')
    assert row["content_type"] == "video/x"
    assert row["hash"] == etag(shop("GET", "c/big?multipart-manifest=get").read())


def test_etag_of_the_whole_may_be_asked_for(shop):
    segments = [entry(name) for name in PARTS]
    made = shop.make("c/checked", *segments, Etag=WHOLE_ETAG)
    assert (made.status, made.headers["Etag"]) == (201, f'"{WHOLE_ETAG}"')
    assert shop.make("c/other", *segments, Etag="0" * 32).status == 422
    assert shop("HEAD", "c/other").status == 404


def test_problems_of_segments_are_told_together(shop):
    shop("PUT", "s/empty", {}, b"")
    entries = [
        {"path": "s/none"},
        entry("a", size_bytes=6),
        entry("b", etag="0" * 32),
        entry("c", range="50-60", size_bytes=None),
        {"path": "s/empty"},
        entry("a"),
    ]
    answer = shop.make("c/x", *entries, **JSON)
    assert answer.status == 400
    assert sorted(json.loads(answer.read())["Errors"]) == [
        ["/s/a", "Size Mismatch"],
        ["/s/b", "Etag Mismatch"],
        ["/s/c", "Unsatisfiable Range"],
        ["s/empty", "Too small; each segment must be at least 1 byte."],
        ["s/none", "404 Not Found"],
    ]
    assert shop("HEAD", "c/x").status == 404


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("", "must be valid JSON"),
        ("[" * 5000, "must be valid JSON"),
        ("{}", "must be a list"),
        ("[1]", "Index 0: not a JSON object"),
        ("[{}]", "Index 0: expected keys to include one of"),
        ('[{"path": 1}]', '"path" must be a string'),
        ('[{"path": "s"}]', "path does not refer to an object"),
        ('[{"path": "s/a", "x": 1}]', 'extraneous keys "x"'),
        ('[{"path": "s/a", "etag": 1}]', '"etag" must be a string'),
        ('[{"path": "s/a", "size_bytes": "x"}]', "invalid size_bytes"),
        ('[{"path": "s/a", "size_bytes": 0}, {"path": "s/b"}]', "Index 0: too small"),
        ('[{"path": "s/a", "range": "x"}]', "invalid range"),
        ('[{"path": "s/a", "range": "0-1,3-4"}]', "multiple ranges"),
        ('[{"path": "s/a", "size_bytes": 5, "range": "7-8"}]', "unsatisfiable range"),
        ('[{"path": "/c/x"}]', "must not include itself"),
        ('[{"path": "s/\\ud800"}]', "well-formed Unicode"),
        ('[{"path": "s/a"}, {"data": "?"}]', "Index 1: data must be valid base64"),
        ('[{"path": "s/a"}, {"data": ""}]', "Index 1: too small"),
        ('[{"data": "YQ=="}]', "require at least one object-backed segment"),
    ],
)
def test_manifests_that_cannot_be(shop, body, complaint):
    answer = shop("PUT", "c/x?multipart-manifest=put", {}, body.encode())
    assert (answer.status, complaint in answer.read().decode()) == (400, True)
    assert shop("HEAD", "c/x").status == 404


def test_limits(tmp_path):
    shop = Shop(tmp_path, max_manifest_segments="3", max_manifest_size="1000")
    assert shop.make("c/x", *[{"path": "s/a"}] * 4).status == 413
    assert shop.make("c/x", {"path": f"s/{'a' * 1000}"}).status == 413
    assert shop("PUT", "c/x?multipart-manifest=put", {"X-Copy-From": "c/big"}).status == 405


def test_header_is_not_for_clients(shop):
    for method in ("PUT", "POST"):
        assert shop(method, "c/x", {"X-Static-Large-Object": "True"}).status == 400


def test_another_filter_may_have_objections(shop):
    answer = shop(
        "PUT",
        "c/x?multipart-manifest=put",
        JSON,
        json.dumps([entry("a")]).encode(),
        **{SLO_HOOK: lambda _: [("p", "no")]},
    )
    assert (answer.status, json.loads(answer.read())["Errors"]) == (400, [["p", "no"]])


def test_sync_stores_manifests_as_they_are(shop):
    shop(
        "PUT", "c/x?multipart-manifest=put", {"X-Static-Large-Object": "True"}, b"[]", **{SLO_OVERRIDE: True}
    )
    assert shop.store.request("GET", "/v1/AUTH_a/c/x").read() == b"[]"


def test_heartbeat_tells_in_the_body(shop):
    good = shop.make("c/x", entry("a"), query="&heartbeat=on", **JSON)
    assert good.status == 202
    report = json.loads(good.read())
    assert (report["Response Status"], report["Etag"], report["Errors"]) == (
        "201 Created",
        f'"{etag(etag(PARTS["a"]).encode())}"',
        [],
    )
    bad = json.loads(shop.make("c/y", {"path": "s/none"}, query="&heartbeat=on", **JSON).read())
    assert (bad["Response Status"], bad["Errors"]) == ("400 Bad Request", [["s/none", "404 Not Found"]])


def test_heartbeat_beats(shop):
    released = concurrency.Event()
    inner = shop.store.app

    def slow(environ, start_response):
        if environ["REQUEST_METHOD"] == "HEAD" and environ["PATH_INFO"].endswith("/s/a"):
            released.wait()
        return inner(environ, start_response)

    app = slo.filter_factory({}, yield_frequency="0.01")(slow)
    request = Request.blank(
        "/v1/AUTH_a/c/x?multipart-manifest=put&heartbeat=on", "PUT", JSON, json.dumps([entry("a")]).encode()
    )
    request.environ["swift_owner"] = True
    body = iter(request.call(app).body)
    assert [next(body) for _ in range(3)] == [b" "] * 3
    released.send(None)
    assert b"201 Created" in b"".join(body)


# --- deleting -------------------------------------------------------------------------------------


def test_segments_go_with_it(shop):
    shop.make("c/outer", {"path": "c/big"}, {"data": "YQ=="})
    report = json.loads(shop("DELETE", "c/outer?multipart-manifest=delete", JSON).read())
    assert (report["Response Status"], report["Number Deleted"], report["Errors"]) == ("200 OK", 5, [])
    assert shop.rows("c") == shop.rows("s") == []


def test_plain_delete_leaves_them(shop):
    assert shop("DELETE", "c/big").status == 204
    assert len(shop.rows("s")) == 3


def test_what_is_no_manifest_is_not_deleted_so(shop):
    report = json.loads(shop("DELETE", "s/a?multipart-manifest=delete", JSON).read())
    assert (report["Response Status"], report["Errors"]) == (
        "400 Bad Request",
        [["s/a", "Not an SLO manifest"]],
    )
    assert shop("GET", "s/a").status == 200
    report = json.loads(shop("DELETE", "c/none?multipart-manifest=delete", JSON).read())
    assert report["Number Not Found"] == 1


def test_missing_segments_are_counted(shop):
    shop("DELETE", "s/b")
    report = json.loads(shop("DELETE", "c/big?multipart-manifest=delete", JSON).read())
    assert (report["Number Deleted"], report["Number Not Found"]) == (3, 1)


def test_info_tells_of_it():
    slo.filter_factory({})
    assert get_swift_info()["slo"]["max_manifest_segments"] == 1000


@given(
    body=st.binary(max_size=60)
    | st.recursive(st.none() | st.text(max_size=5), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_manifest_is_read_without_a_crash(body):
    for read in (lambda: slo_manifest.read_written(body, "/v1/a/c/o"), lambda: slo_manifest.read_kept(body)):
        with contextlib.suppress(HTTPError):
            assert isinstance(read(), list)
