"""crossdomain, name_check, read_only and list_endpoints: what each answers itself, and what passes."""

from __future__ import annotations

import json

import pytest

from miniswift.errors import ConfigError
from miniswift.info import get_swift_info
from miniswift.middleware import crossdomain, list_endpoints, name_check, read_only
from miniswift.responses import Response
from miniswift.wsgi import Request
from tests.unit.proxy.conftest import Store


def through(environ, start_response):
    return Response(200, {}, b"through")(environ, start_response)


def ask(app, method, path, headers=None, **environ):
    request = Request.blank(path, method, headers or {})
    request.environ.update(environ)
    response = request.call(app)
    response.body = [response.read()]
    return response


# --- crossdomain -------------------------------------------------------------------------------------


def test_the_policy_file_is_answered():
    app = crossdomain.filter_factory({}, cross_domain_policy='<allow-access-from domain="a" />')(through)
    answer = ask(app, "GET", "/crossdomain.xml")
    assert answer.headers["Content-Type"] == "application/xml"
    assert b'<allow-access-from domain="a" />' in answer.read()
    assert answer.read().startswith(b'<?xml version="1.0"?>')


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/crossdomain.xml"), ("GET", "/v1/a/c/crossdomain.xml")]
)
def test_other_requests_are_none_of_its_business(method, path):
    assert ask(crossdomain.filter_factory({})(through), method, path).read() == b"through"


# --- name_check --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/v1/a/c/%22quoted%22", b"forbidden chars"),
        ("/v1/a/c/%3Ctag", b"forbidden chars"),
        ("/v1/a/c/" + "x" * 300, b"longer than"),
        ("/v1/a/c/" + "%C3%BC" * 130, b"longer than"),
        ("/v1/a/c/../d", b"forbidden substring"),
        ("/v1/a/c/..", b"forbidden substring"),
    ],
)
def test_names_that_are_not_wanted_are_refused(path, problem):
    answer = ask(name_check.filter_factory({})(through), "PUT", path)
    assert answer.status == 400
    assert problem in answer.read()


@pytest.mark.parametrize("path", ["/v1/a/c/o", "/v1/a/c/%C3%BC", "/v1/a/c/...", "/info"])
def test_other_names_pass(path):
    assert ask(name_check.filter_factory({})(through), "PUT", path).status == 200


def test_what_is_forbidden_can_be_chosen():
    app = name_check.filter_factory({}, forbidden_chars="ü", forbidden_regexp="", maximum_length="1000")(
        through
    )
    assert ask(app, "GET", "/v1/a/c/%C3%BC").status == 400
    assert ask(app, "GET", "/v1/a/../'").status == 200
    assert get_swift_info()["name_check"] == {
        "forbidden_chars": "ü", "maximum_length": 1000, "forbidden_regexp": "",
    }  # fmt: skip


def test_a_regular_expression_that_is_none_is_a_bad_option():
    with pytest.raises(ConfigError, match="forbidden_regexp"):
        name_check.filter_factory({}, forbidden_regexp="(")


# --- read_only ---------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    for account, flag in (("AUTH_plain", ""), ("AUTH_ro", "true"), ("AUTH_rw", "false")):
        store.request("PUT", f"/v1/{account}/c")
        store.request("POST", f"/v1/{account}", {"X-Account-Sysmeta-Read-Only": flag} if flag else {})
    return store


WRITES = ["PUT", "POST", "COPY", "DELETE"]


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(
    ("account", "option", "is_refused"),
    [
        ("AUTH_plain", "false", False),
        ("AUTH_plain", "true", True),
        ("AUTH_ro", "false", True),
        ("AUTH_rw", "true", False),
    ],
)
def test_writes_are_refused_where_an_account_or_the_cluster_says_so(
    store, method, account, option, is_refused
):
    seen = []
    app = read_only.filter_factory({}, read_only=option)(_recording(store.app, seen))
    answer = ask(app, method, f"/v1/{account}/c/o", {"Destination": "c/p"})
    assert (answer.status == 405 and b"disabled" in answer.read()) == is_refused
    assert (method in seen) == (not is_refused)


def _recording(app, seen):
    def record(environ, start_response):
        seen.append(environ["REQUEST_METHOD"])
        return app(environ, start_response)

    return record


def test_reads_are_never_refused(store):
    app = read_only.filter_factory({}, read_only="true")(store.app)
    assert ask(app, "GET", "/v1/AUTH_plain/c").status == 200


def test_deletions_may_be_allowed(store):
    app = read_only.filter_factory({}, read_only="true", allow_deletes="true")(store.app)
    assert ask(app, "DELETE", "/v1/AUTH_plain/c", swift_owner=True).status == 204


def test_the_account_that_is_copied_to_counts(store):
    app = read_only.filter_factory({})(through)
    headers = {"Destination": "c/o", "Destination-Account": "AUTH_ro"}
    app = read_only.filter_factory({})(store.app)
    assert ask(app, "COPY", "/v1/AUTH_plain/c/o", headers).status == 405
    assert ask(app, "COPY", "/v1/AUTH_plain/c/o", {**headers, "Destination-Account": "a/b"}).status == 412


# --- list_endpoints ----------------------------------------------------------------------------------


@pytest.fixture
def endpoints(tmp_path):
    store = Store(tmp_path, devices=3, replicas=2)
    store.request("PUT", "/v1/AUTH_a/c", {"X-Storage-Policy": "silver"})
    settings = list_endpoints.ListEndpointsSettings()
    return list_endpoints.ListEndpoints(store.app, settings, store.cluster), store


def test_the_urls_are_where_the_replicas_are(endpoints):
    app, store = endpoints
    for names in (["AUTH_a"], ["AUTH_a", "c"], ["AUTH_a", "c", "o/p q"]):
        kind = ["account", "container", "object-1"][len(names) - 1]
        policy = store.cluster.policies.at(1)
        ring = store.cluster.ring("object", policy) if kind == "object-1" else store.cluster.ring(kind)
        part = store.cluster.part(ring, *names)
        expected = [
            f"http://127.0.0.1:{node.port}/{node.device}/{part}/{'/'.join(names).replace(' ', '%20')}"
            for node in ring.primaries(part)
        ]
        path = "/".join(names).replace(" ", "%20")
        assert json.loads(ask(app, "GET", f"/endpoints/{path}").read()) == expected
        assert json.loads(ask(app, "GET", f"/endpoints/v1/{path}").read()) == expected
        headers = {"X-Backend-Storage-Policy-Index": "1"} if len(names) == 3 else {}
        second = json.loads(ask(app, "GET", f"/endpoints/v2/{path}").read())
        assert second == {"endpoints": expected, "headers": headers}


@pytest.mark.parametrize(
    ("path", "status"), [("/endpoints/", 400), ("/endpoints/v1/", 400), ("/endpoints/v9/AUTH_a", 400)]
)
def test_paths_that_name_nothing_are_refused(endpoints, path, status):
    assert ask(endpoints[0], "GET", path).status == status


def test_only_get_is_answered_and_other_paths_pass(endpoints):
    app, _ = endpoints
    assert ask(app, "PUT", "/endpoints/AUTH_a").status == 405
    assert ask(app, "GET", "/v1/AUTH_a/c").status == 200
