"""Containers through the proxy."""

from __future__ import annotations

import json

import pytest

C = "/v1/AUTH_a/c"


def test_put_twice_head_delete(store):
    assert store.request("HEAD", C).status == 404
    assert store.request("PUT", C).status == 201
    assert store.request("PUT", C).status == 202
    response = store.request("HEAD", C)
    assert response.status == 204
    assert response.headers["X-Container-Object-Count"] == "0"
    assert response.headers["X-Storage-Policy"] == "gold"
    assert store.request("DELETE", C).status == 204
    assert store.request("DELETE", C).status == 404


def test_answers_have_the_headers_that_swifts_have(store, container):
    for method in ("GET", "HEAD"):
        headers = store.request(method, C).headers
        assert headers["Accept-Ranges"] == "bytes"
        assert "X-Put-Timestamp" not in headers
    for method in ("POST", "DELETE"):
        headers = store.request(method, C).headers
        assert (headers["Content-Type"], headers["Content-Length"]) == ("text/html; charset=UTF-8", "0")


def test_a_query_that_is_not_utf8_is_400(store, container):
    assert store.request("GET", f"{C}?prefix=%ff").status == 400


def test_the_account_counts_its_containers(store):
    store.request("PUT", C)
    store.request("PUT", "/v1/AUTH_a/d")
    assert store.request("HEAD", "/v1/AUTH_a").headers["X-Account-Container-Count"] == "2"


def test_one_with_objects_cannot_be_deleted(store, container):
    store.request("PUT", f"{C}/o", body=b"x")
    assert store.request("DELETE", C).status == 409


def test_metadata_and_acls_are_set_and_removed(store, container):
    set_them = {"X-Container-Meta-Color": "red", "X-Container-Read": ".r:*"}
    assert store.request("POST", C, set_them).status == 204
    headers = store.request("HEAD", C).headers
    assert (headers["X-Container-Meta-Color"], headers["X-Container-Read"]) == ("red", ".r:*")
    removed = {"X-Remove-Container-Meta-Color": "x", "X-Remove-Container-Read": "x"}
    assert store.request("POST", C, removed).status == 204
    headers = store.request("HEAD", C).headers
    assert "X-Container-Meta-Color" not in headers
    assert "X-Container-Read" not in headers


def test_an_acl_that_the_auth_filter_cannot_read_is_400(store, container):
    def clean(header, value):
        raise ValueError(f"{header} is odd")

    response = store.request("POST", C, {"X-Container-Read": "?"}, **{"swift.clean_acl": clean})
    assert (response.status, response.read()) == (400, b"x-container-read is odd")


def test_who_is_no_owner_neither_sets_nor_sees_acls(store, container):
    store.request("POST", C, {"X-Container-Read": "mine"})
    store.request("POST", C, {"X-Container-Read": "yours"}, swift_owner=False)
    assert store.request("HEAD", C).headers["X-Container-Read"] == "mine"
    assert "X-Container-Read" not in store.request("HEAD", C, swift_owner=False).headers


def test_policies_are_chosen_by_name(store):
    assert store.request("PUT", C, {"X-Storage-Policy": "AG"}).status == 201
    assert store.request("HEAD", C).headers["X-Storage-Policy"] == "silver"
    assert store.request("PUT", C, {"X-Storage-Policy": "gold"}).status == 409
    assert store.request("PUT", "/v1/AUTH_a/d", {"X-Storage-Policy": "lead"}).status == 400
    assert store.request("PUT", f"{C}/o", body=b"x").status == 201
    assert store.request("GET", f"{C}/o").read() == b"x"
    assert list((store.devices / "d0").glob("objects-1/*/*/*/*.data"))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["a", "b/1", "b/2", "c"]),
        ("limit=2", ["a", "b/1"]),
        ("marker=b/1", ["b/2", "c"]),
        ("end_marker=b/2", ["a", "b/1"]),
        ("prefix=b/", ["b/1", "b/2"]),
        ("delimiter=/", ["a", "b/", "c"]),
        ("prefix=b/&delimiter=/", ["b/1", "b/2"]),
        ("path=b", ["b/1", "b/2"]),
        ("reverse=on", ["c", "b/2", "b/1", "a"]),
    ],
)
def test_listings(store, container, query, names):
    for name in ("c", "b/2", "b/1", "a"):
        store.request("PUT", f"{C}/{name}", body=b"x")
    rows = json.loads(store.request("GET", f"{C}?{query}").read())
    assert [row.get("name") or row["subdir"] for row in rows] == names


def test_a_listing_row_has_what_clients_show(store, container):
    store.request("PUT", f"{C}/o", {"Content-Type": "text/plain"}, b"hello")
    (row,) = json.loads(store.request("GET", C).read())
    assert row.pop("last_modified")[10] == "T"
    assert row == {
        "name": "o",
        "bytes": 5,
        "hash": "5d41402abc4b2a76b9719d911017c592",
        "content_type": "text/plain",
    }


def test_a_limit_that_is_too_high_is_412(store, container):
    assert store.request("GET", f"{C}?limit=10001").status == 412


def test_a_name_that_is_too_long_is_400(store):
    response = store.request("PUT", "/v1/AUTH_a/" + "c" * 257)
    assert (response.status, response.read()) == (400, b"Container name length of 257 longer than 256")
    assert response.headers["Content-Type"] == "text/html; charset=UTF-8"


def test_an_account_may_be_limited_in_its_containers(make_store):
    store = make_store(max_containers_per_account=1)
    assert store.request("PUT", C).status == 201
    store.app.infos.forget_account({}, "AUTH_a")
    assert store.request("PUT", "/v1/AUTH_a/d").status == 403
    assert store.request("PUT", C).status == 202
