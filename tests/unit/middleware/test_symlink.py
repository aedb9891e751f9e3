"""Symlinks, with the real proxy and storage servers behind the filter."""

from __future__ import annotations

import json
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.info import get_swift_info
from miniswift.middleware import symlink
from miniswift.responses import Response
from miniswift.wsgi import AUTHORIZE, SYMLINK_OVERRIDE, Request
from tests.unit.proxy.conftest import Store

BODY = b"content of the target"
ETAG = md5(BODY).hexdigest()


class Shop:
    """A store with a target `c/target` and a symlink `c/link` to it."""

    def __init__(self, root, **options):
        self.store = Store(root)
        self.app = symlink.filter_factory({}, **options)(self.store.app)
        for path in ("/v1/AUTH_a/c", "/v1/AUTH_a/d", "/v1/AUTH_b/c"):
            assert self.store.request("PUT", path).status == 201
        assert self("PUT", "c/target", {"Content-Type": "text/x", "X-Object-Meta-A": "1"}, BODY).status == 201
        assert self.link("c/link", "c/target").status == 201

    def __call__(self, method, path, headers=None, body=b"", account="AUTH_a", **environ):
        request = Request.blank(f"/v1/{account}/{path}", method, headers or {}, body)
        request.environ.update({"swift_owner": True, **environ})
        response = request.call(self.app)
        response.body = [response.read()]
        return response

    def link(self, path, target, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self("PUT", path, {"X-Symlink-Target": target, **named})


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_target_answers(shop, method):
    answer = shop(method, "c/link")
    assert (answer.status, answer.read()) == (200, BODY if method == "GET" else b"")
    assert answer.headers["Content-Location"] == "/v1/AUTH_a/c/target"
    assert answer.headers["X-Object-Meta-A"] == "1"
    assert answer.headers["Content-Type"] == "text/x"
    assert "X-Symlink-Target" not in answer.headers


def test_ranges_and_conditions_are_of_the_target(shop):
    assert shop("GET", "c/link", {"Range": "bytes=0-6"}).read() == b"content"
    assert shop("GET", "c/link", {"If-None-Match": ETAG}).status == 304
    assert shop("GET", "c/link", {"If-Match": "other"}).status == 412


def test_symlink_itself_can_be_had(shop):
    answer = shop("GET", "c/link?symlink=get")
    assert (answer.read(), answer.headers["X-Symlink-Target"]) == (b"", "c/target")
    assert answer.headers["Content-Type"] == "application/symlink"


def test_target_may_be_in_another_account_and_have_any_name(shop):
    quoted = "%C3%BC%20%26%20%2541/%2B"
    shop("PUT", f"c/{quoted}", {}, b"far", account="AUTH_b")
    shop.link("c/far", f"c/{quoted}", X_Symlink_Target_Account="AUTH_b")
    answer = shop("GET", "c/far")
    assert (answer.read(), answer.headers["Content-Location"]) == (b"far", f"/v1/AUTH_b/c/{quoted}")
    row = next(row for row in rows(shop) if row["name"] == "far")
    assert row["symlink_path"] == f"/v1/AUTH_b/c/{quoted}"


def test_missing_target_is_not_found(shop):
    shop.link("c/dangling", "c/none")
    answer = shop("GET", "c/dangling")
    assert (answer.status, answer.headers["Content-Location"]) == (404, "/v1/AUTH_a/c/none")


def test_two_in_a_row_are_followed_and_no_more(shop):
    shop.link("c/second", "c/link")
    shop.link("c/third", "c/second")
    assert shop("GET", "c/second").read() == BODY
    assert shop("GET", "c/third").status == 409


def test_how_many_is_an_option(tmp_path):
    shop = Shop(tmp_path, symloop_max="0")
    assert shop("GET", "c/link").status == 409


def test_loop_ends(shop):
    shop.link("c/one", "c/other")
    shop.link("c/other", "c/one")
    assert shop("GET", "c/one").status == 409


def test_both_ends_must_be_allowed(shop):
    def authorize(request):
        return Response(403) if request.environ["PATH_INFO"].endswith("target") else None

    assert shop("GET", "c/link", **{AUTHORIZE: authorize}).status == 403
    assert shop("GET", "c/link?symlink=get", **{AUTHORIZE: authorize}).status == 200


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "more", "status"),
    [
        ("c", {}, 412),
        ("/c/target", {}, 412),
        ("c/", {}, 412),
        ("c/self", {}, 400),
        ("c/target", {"X_Symlink_Target_Account": "a/b"}, 412),
        ("c/target", {"X_Symlink_Target_Account": ""}, 412),
        ("c/target", {"X_Symlink_Target_Etag": "a;b"}, 400),
    ],
)
def test_targets_that_cannot_be(shop, target, more, status):
    assert shop.link("c/self", target, **more).status == status
    assert shop("HEAD", "c/self?symlink=get").status == 404


def test_symlink_has_no_content(shop):
    assert shop("PUT", "c/x", {"X-Symlink-Target": "c/target"}, b"x").status == 400


def test_put_without_a_target_replaces_it_and_delete_removes_it(shop):
    assert shop("DELETE", "c/link").status == 204
    assert shop("GET", "c/target").status == 200
    shop.link("c/link", "c/target")
    shop("PUT", "c/link", {}, b"own")
    assert shop("GET", "c/link").read() == b"own"
    assert shop("GET", "c/target").read() == BODY


def test_post_says_where_the_target_is(shop):
    answer = shop("POST", "c/link", {"X-Object-Meta-B": "2"})
    assert (answer.status, answer.headers["Location"]) == (307, "/v1/AUTH_a/c/target")
    assert shop("HEAD", "c/link?symlink=get").headers["X-Object-Meta-B"] == "2"
    assert "X-Object-Meta-B" not in shop("HEAD", "c/target").headers
    assert shop("POST", "c/target", {"X-Symlink-Target": "c/x"}).status == 400
    assert shop("POST", "c/target", {"X-Object-Meta-B": "2"}).status == 202


# --- static ones ----------------------------------------------------------------------------------


def test_static_symlink_stands_for_one_content(shop):
    assert shop.link("c/static", "c/target", X_Symlink_Target_Etag=ETAG).status == 201
    answer = shop("HEAD", "c/static?symlink=get").headers
    assert answer["X-Symlink-Target-Etag"] == ETAG
    assert answer["X-Symlink-Target-Bytes"] == str(len(BODY))
    assert answer["Content-Type"] == "text/x"
    assert shop("GET", "c/static").read() == BODY
    shop("PUT", "c/target", {}, b"changed")
    answer = shop("GET", "c/static")
    assert (answer.status, answer.headers["Content-Location"]) == (409, "/v1/AUTH_a/c/target")


@pytest.mark.parametrize(("target", "etag"), [("c/target", "0" * 32), ("c/none", ETAG)])
def test_static_symlink_to_what_is_not_there_is_refused(shop, target, etag):
    assert shop.link("c/static", target, X_Symlink_Target_Etag=etag).status == 409


def test_static_symlink_that_was_checked_elsewhere_is_taken(shop):
    headers = {"X-Symlink-Target": "c/none", "X-Symlink-Target-Etag": ETAG, "X-Symlink-Target-Bytes": "21"}
    assert shop("PUT", "c/static", headers, **{SYMLINK_OVERRIDE: True}).status == 201


def rows(shop):
    return json.loads(shop("GET", "c?format=json").read())


def test_listing_tells_what_they_stand_for(shop):
    shop.link("c/static", "c/target", X_Symlink_Target_Etag=ETAG)
    link, static, target = rows(shop)
    assert link["symlink_path"] == static["symlink_path"] == "/v1/AUTH_a/c/target"
    assert (static["symlink_etag"], static["symlink_bytes"]) == (ETAG, len(BODY))
    assert link["hash"] == static["hash"] == md5(b"").hexdigest()
    assert (link["bytes"], "symlink_etag" in link, "symlink_path" in target) == (0, False, False)


def test_what_others_keep_behind_the_hash_stays(shop):
    override = {"X-Object-Sysmeta-Container-Update-Override-Etag": "abc; slo_etag=def"}
    shop("PUT", "c/big", {"X-Symlink-Target": "c/target", **override})
    row = next(row for row in rows(shop) if row["name"] == "big")
    assert (row["hash"], row["symlink_path"]) == ("abc; slo_etag=def", "/v1/AUTH_a/c/target")


def test_info_tells_of_it():
    symlink.filter_factory({})
    assert get_swift_info()["symlink"] == {"symloop_max": 2, "static_links": True}


@given(value=st.text(st.characters(max_codepoint=255), max_size=30))
def test_any_target_gets_an_answer(value):
    def app(environ, start_response):
        return Response(201)(environ, start_response)

    filtered = symlink.filter_factory({})(app)
    request = Request.blank(
        "/v1/a/c/o", "PUT", {"X-Symlink-Target": value, "X-Symlink-Target-Account": value}
    )
    assert request.call(filtered).status in (201, 400, 412)
