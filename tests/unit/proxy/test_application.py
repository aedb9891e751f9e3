"""The front of the proxy: paths, methods, authorization, /info."""

from __future__ import annotations

import hmac
import json
import time

import pytest

from miniswift.info import get_account_info, get_container_info
from miniswift.responses import Response
from miniswift.wsgi import blank_environ


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/AUTH_a", 200),
        ("/v1.0/AUTH_a", 200),
        ("/v2/AUTH_a", 400),
        ("/v1", 412),
        ("/v1/", 412),
        ("/info%20x", 412),
        ("/v9", 412),
        ("/", 404),
        ("/v1//c", 404),
        ("/v1/AUTH_a//o", 404),
        ("/v1/AUTH_a/c%00", 412),
        ("/v1/AUTH_a/%ff", 412),
        ("/v1/AUTH_a/c/%C3%28", 412),
    ],
)
def test_paths(store, path, status):
    assert store.request("GET", path).status == status


def test_a_method_nobody_has_is_405_with_those_that_are(store):
    response = store.request("BREW", "/v1/AUTH_a/c")
    assert response.status == 405
    assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT"


def test_account_management_is_off_unless_allowed(store, make_store):
    response = store.request("PUT", "/v1/AUTH_a")
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_a_denied_host_is_403(make_store):
    store = make_store(deny_host_headers=("bad.example",))
    assert store.request("GET", "/v1/AUTH_a", {"Host": "bad.example:80"}).status == 403


def deny(request):
    return Response(403, body=b"no")


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v1/AUTH_a/c"), ("POST", "/v1/AUTH_a"), ("DELETE", "/v1/AUTH_a/c")]
)
def test_a_denial_stands_where_no_acl_could_lift_it(store, method, path):
    assert store.request(method, path, **{"swift.authorize": deny}).status == 403


@pytest.mark.parametrize(
    ("method", "path", "acl"),
    [
        ("GET", "/v1/AUTH_a/c", "the-read-acl"),
        ("HEAD", "/v1/AUTH_a/c", "the-read-acl"),
        ("GET", "/v1/AUTH_a/c/o", "the-read-acl"),
        ("HEAD", "/v1/AUTH_a/c/o", "the-read-acl"),
        ("PUT", "/v1/AUTH_a/c/o", "the-write-acl"),
        ("POST", "/v1/AUTH_a/c/o", "the-write-acl"),
        ("DELETE", "/v1/AUTH_a/c/o", "the-write-acl"),
    ],
)
def test_a_denial_is_asked_again_with_the_acl_of_the_container(store, method, path, acl):
    acls = {"X-Container-Read": "the-read-acl", "X-Container-Write": "the-write-acl"}
    assert store.request("PUT", "/v1/AUTH_a/c", acls).status == 201
    assert store.request("PUT", "/v1/AUTH_a/c/o", body=b"x").status == 201
    asked = []

    def authorize(request):
        asked.append(request.acl)
        return None if request.acl == acl else Response(403)

    assert store.request(method, path, **{"swift.authorize": authorize}).status // 100 == 2
    assert asked == [None, acl]


def test_authorize_is_put_back_for_the_filters_outside(store):
    def allow(request):
        return None

    from miniswift.wsgi import Request

    request = Request.blank("/v1/AUTH_a")
    request.environ["swift.authorize"] = allow
    request.call(store.app).read()
    assert request.environ["swift.authorize"] is allow


def test_info_says_what_can_be_done(store):
    info = json.loads(store.request("GET", "/info").read())
    assert info["swift"]["max_file_size"] == 5368709122
    assert [policy["name"] for policy in info["swift"]["policies"]] == ["gold", "silver"]
    assert "admin" not in info
    assert "valid_api_versions" not in info["swift"]


def test_info_can_be_hidden(make_store):
    assert make_store(expose_info=False).request("GET", "/info").status == 403


def sign(method, expires, key="secret"):
    return hmac.new(key.encode(), f"{method}\n{expires}\n/info".encode(), "sha1").hexdigest()


def test_info_for_the_admin_is_signed(make_store):
    store = make_store(admin_key="secret")
    expires = int(time.time()) + 100
    signed = f"/info?swiftinfo_sig={sign('GET', expires)}&swiftinfo_expires={expires}"
    assert "admin" in json.loads(store.request("GET", signed).read())
    assert store.request("HEAD", signed).status == 200
    assert store.request("GET", signed.replace("sig=", "sig=0")).status == 401
    past = int(time.time()) - 1
    assert (
        store.request("GET", f"/info?swiftinfo_sig={sign('GET', past)}&swiftinfo_expires={past}").status
        == 401
    )


def test_options_says_what_is_allowed(store):
    response = store.request("OPTIONS", "/v1/AUTH_a/c/o")
    assert response.status == 200
    assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT"
    assert response.headers["Content-Type"] == "text/html; charset=UTF-8"


class Counting:
    """A transport that counts what goes over it."""

    def __init__(self, inner):
        self.inner = inner
        self.sent = []

    def send(self, node, request):
        self.sent.append((request.method, request.path))
        return self.inner.send(node, request)


def test_filters_that_ask_for_infos_ask_the_cache_of_the_proxy(make_store):
    store = make_store(transport=Counting)
    store.request("PUT", "/v1/AUTH_a/c", {"X-Container-Meta-A": "b"})
    for _ in range(2):
        sent = len(store.transport.sent)
        environ = blank_environ("/v1/AUTH_a/c/o", "GET", {})
        assert get_container_info(environ, store.app)["meta"] == {"a": "b"}
        assert get_account_info(environ, store.app)["account_really_exists"]
    assert len(store.transport.sent) == sent
    store.request("POST", "/v1/AUTH_a/c", {"X-Container-Meta-A": "c"})
    environ = blank_environ("/v1/AUTH_a/c", "GET", {})
    assert get_container_info(environ, store.app)["meta"] == {"a": "c"}


@pytest.mark.parametrize("path", ["/v1/AUTH_none/c", "/v1/AUTH_none"])
def test_infos_of_what_is_not_there(make_store, path):
    store = make_store(account_autocreate=False)
    environ = blank_environ(path, "GET", {})
    assert get_account_info(environ, store.app)["status"] == 404
    if path.endswith("c"):
        assert get_container_info(environ, store.app)["status"] == 404
