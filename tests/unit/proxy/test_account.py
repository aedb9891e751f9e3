"""Accounts through the proxy."""

from __future__ import annotations

import json

import pytest


def test_an_account_that_was_never_written_to_looks_empty(store):
    response = store.request("GET", "/v1/AUTH_new?format=json")
    assert (response.status, response.read()) == (200, b"[]")
    assert response.headers["X-Account-Container-Count"] == "0"
    assert store.request("HEAD", "/v1/AUTH_new").status == 200


def test_answers_have_the_headers_that_swifts_have(store):
    store.request("PUT", "/v1/AUTH_a/c")
    for method in ("GET", "HEAD"):
        headers = store.request(method, "/v1/AUTH_a").headers
        assert headers["Accept-Ranges"] == "bytes"
        assert "X-Put-Timestamp" not in headers


def test_without_autocreate_it_is_404(make_store):
    store = make_store(account_autocreate=False)
    assert store.request("GET", "/v1/AUTH_new").status == 404
    assert store.request("POST", "/v1/AUTH_new").status == 404
    assert store.request("PUT", "/v1/AUTH_new/c").status == 404


def test_metadata_is_set_changed_and_removed(store):
    assert store.request("POST", "/v1/AUTH_a", {"X-Account-Meta-Color": "red"}).status == 204
    assert store.request("HEAD", "/v1/AUTH_a").headers["X-Account-Meta-Color"] == "red"
    assert store.request("POST", "/v1/AUTH_a", {"X-Account-Meta-Color": "blue"}).status == 204
    assert store.request("HEAD", "/v1/AUTH_a").headers["X-Account-Meta-Color"] == "blue"
    assert store.request("POST", "/v1/AUTH_a", {"X-Remove-Account-Meta-Color": "x"}).status == 204
    assert "X-Account-Meta-Color" not in store.request("HEAD", "/v1/AUTH_a").headers


def test_owner_headers_are_shown_to_owners_only(store):
    store.request("POST", "/v1/AUTH_a", {"X-Account-Meta-Temp-URL-Key": "secret"})
    assert store.request("HEAD", "/v1/AUTH_a").headers["X-Account-Meta-Temp-Url-Key"] == "secret"
    shown = store.request("HEAD", "/v1/AUTH_a", swift_owner=False).headers
    assert "X-Account-Meta-Temp-Url-Key" not in shown


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ('{ "read-only": ["b"], "admin": ["a"] }', '{"admin":["a"],"read-only":["b"]}'),
        ('{"admin":["caf\u00c3\u00a9"]}', '{"admin":["caf\\u00e9"]}'),
        ("{}", None),
        ("[1]", None),
        ("garbage", None),
        ("", None),
    ],
)
def test_an_owner_is_shown_the_accounts_list_in_one_form(store, stored, shown):
    response = store.request("POST", "/v1/AUTH_a", {"X-Account-Sysmeta-Core-Access-Control": stored})
    assert response.status == 204
    for method in ("GET", "HEAD"):
        headers = store.request(method, "/v1/AUTH_a").headers
        assert headers.get("X-Account-Access-Control") == shown
    assert "X-Account-Access-Control" not in store.request("GET", "/v1/AUTH_a", swift_owner=False).headers


def test_listings_have_the_containers(store):
    for name in ("b", "a", "%E2%98%83"):
        assert store.request("PUT", f"/v1/AUTH_a/{name}").status == 201
    rows = json.loads(store.request("GET", "/v1/AUTH_a?format=json").read())
    assert [row["name"] for row in rows] == ["a", "b", "☃"]
    rows = json.loads(store.request("GET", "/v1/AUTH_a?marker=a&end_marker=%E2%98%83").read())
    assert [row["name"] for row in rows] == ["b"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"X-Account-Meta-": "x"}, b"name cannot be empty"),
        ({"X-Account-Meta-" + "n" * 129: "x"}, b"Metadata name too long"),
        ({"X-Account-Meta-A": "v" * 257}, b"longer than 256"),
        ({f"X-Account-Meta-{n}": "v" for n in range(91)}, b"Too many metadata items"),
        ({f"X-Account-Meta-{n}": "v" * 256 for n in range(17)}, b"Total metadata too large"),
        ({"X-Account-Meta-A": "\xff"}, b"valid UTF-8"),
    ],
)
def test_metadata_beyond_the_limits_is_400_and_says_which(store, headers, message):
    response = store.request("POST", "/v1/AUTH_a", headers)
    assert response.status == 400
    assert message in response.read()


def test_a_name_that_is_too_long_is_400(store):
    response = store.request("GET", "/v1/" + "a" * 257)
    assert (response.status, response.read()) == (400, b"Account name length of 257 longer than 256")
    assert response.headers["Content-Type"] == "text/html; charset=UTF-8"


def test_a_deleted_account_is_410_and_its_containers_404(make_store):
    store = make_store(allow_account_management=True)
    assert store.request("PUT", "/v1/AUTH_a/c").status == 201
    assert store.request("DELETE", "/v1/AUTH_a").status == 204
    assert store.request("HEAD", "/v1/AUTH_a").status == 410
    assert store.request("GET", "/v1/AUTH_a/c").status == 404
    assert store.request("PUT", "/v1/AUTH_a/c/o", body=b"x").status == 404


def test_delete_with_a_query_is_refused(make_store):
    store = make_store(allow_account_management=True)
    store.request("PUT", "/v1/AUTH_a")
    assert store.request("DELETE", "/v1/AUTH_a?bulk-delte").status == 400
    assert store.request("HEAD", "/v1/AUTH_a").status == 204
