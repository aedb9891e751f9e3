"""Quotas of accounts and containers, with the real proxy and storage servers behind the filters."""

from __future__ import annotations

import pytest

from miniswift.middleware.account_quotas import AccountQuotas
from miniswift.middleware.container_quotas import ContainerQuotas
from miniswift.responses import Response
from miniswift.wsgi import ACL, AUTHORIZE, RESELLER_REQUEST, Request

ACCOUNT = "/v1/AUTH_a"


@pytest.fixture
def ask(make_store):
    store = make_store()
    app = AccountQuotas(ContainerQuotas(store.app))

    def ask(method, path="", headers=None, body=b"", *, reseller=False, **environ):
        request = Request.blank(f"{ACCOUNT}{path}", method, headers or {}, body)
        request.environ.update({"swift_owner": True, **environ})
        if reseller:
            request.environ[RESELLER_REQUEST] = True
        response = request.call(app)
        response.body = [response.read()]
        return response

    assert ask("PUT", "/c").status == 201
    return ask


def refuse(_request):
    return Response(403)


# --- accounts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["X-Account-Quota-Bytes", "X-Account-Quota-Count", "X-Account-Quota-Bytes-Policy-gold",
     "X-Account-Quota-Count-Policy-silver"],
)  # fmt: skip
def test_resellers_set_quotas_and_owners_see_them(ask, header):
    assert ask("POST", "", {header: "100"}).status == 403
    assert ask("POST", "", {header: "some"}, reseller=True).status == 400
    assert ask("POST", "", {header: "100"}, reseller=True).status == 204
    assert ask("HEAD").headers[header] == "100"
    assert ask("POST", "", {f"X-Remove-{header[2:]}": "x"}).status == 403
    assert ask("HEAD").headers[header] == "100"
    assert ask("POST", "", {f"X-Remove-{header[2:]}": "x"}, reseller=True).status == 204
    assert header not in ask("HEAD").headers
    assert ask("POST", "", {header: "7"}, reseller=True).status == 204
    assert ask("POST", "", {header: ""}, reseller=True).status == 204
    assert header not in ask("HEAD").headers


def test_the_older_name_means_the_same(ask):
    old = "X-Account-Meta-Quota-Bytes"
    assert ask("POST", "", {old: "100"}).status == 403
    assert ask("POST", "", {old: "100"}, reseller=True).status == 204
    assert ask("HEAD").headers["X-Account-Quota-Bytes"] == "100"
    assert ask("POST", "", {f"X-Remove-{old[2:]}": "x"}).status == 403


def test_an_upload_up_to_the_quota_is_taken_and_one_beyond_refused(ask):
    ask("POST", "", {"X-Account-Quota-Bytes": "10"}, reseller=True)
    assert ask("PUT", "/c/o", {}, b"x" * 10).status == 201
    refused = ask("PUT", "/c/o", {}, b"x" * 11)
    assert (refused.status, refused.body) == (413, [b"Upload exceeds quota."])
    assert ask("PUT", "/c/o", {}, b"x" * 11, reseller=True).status == 201


def test_objects_are_counted(ask):
    ask("POST", "", {"X-Account-Quota-Count": "0"}, reseller=True)
    assert ask("PUT", "/c/o", {}, b"x").status == 413


def test_a_policy_has_a_quota_of_its_own(ask):
    assert ask("PUT", "/silver", {"X-Storage-Policy": "silver"}).status == 201
    ask("POST", "", {"X-Account-Quota-Bytes-Policy-silver": "3"}, reseller=True)
    assert ask("PUT", "/c/o", {}, b"x" * 4).status == 201
    refused = ask("PUT", "/silver/o", {}, b"x" * 4)
    assert (refused.status, refused.body) == (413, [b"Upload exceeds policy quota."])
    assert ask("PUT", "/silver/o", {}, b"x" * 3).status == 201


def test_who_may_not_upload_is_told_that_and_not_the_quota(ask):
    ask("POST", "", {"X-Account-Quota-Bytes": "1"}, reseller=True)
    assert ask("PUT", "/c/o", {}, b"xx", **{AUTHORIZE: refuse}).status == 403
    assert ask("PUT", "/c/o", {}, b"xx", **{AUTHORIZE: lambda request: None}).status == 413


# --- containers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Bytes", "Count"])
def test_a_quota_of_a_container_is_a_number(ask, kind):
    header = f"X-Container-Meta-Quota-{kind}"
    for method in ("PUT", "POST"):
        refused = ask(method, "/c", {header: "many"})
        assert (refused.status, refused.body) == (400, [f"Invalid {kind.lower()} quota.".encode()])
        assert ask(method, "/c", {header: ""}).status // 100 == 2


def test_a_container_takes_so_many_bytes(ask):
    assert ask("POST", "/c", {"X-Container-Meta-Quota-Bytes": "10"}).status == 204
    assert ask("PUT", "/c/o", {}, b"x" * 11).status == 413
    assert ask("PUT", "/c/o", {}, b"x" * 10).status == 201


def test_a_container_takes_so_many_objects(ask):
    assert ask("POST", "/c", {"X-Container-Meta-Quota-Count": "0"}).status == 204
    assert ask("PUT", "/c/one", {}, b"").status == 413
    assert ask("POST", "/c", {"X-Container-Meta-Quota-Count": "1"}).status == 204
    assert ask("PUT", "/c/one", {}, b"").status == 201


def test_a_container_that_is_not_there_is_a_404(ask):
    assert ask("PUT", "/nowhere/o", {}, b"x").status == 404


def test_a_stranger_hears_nothing_of_a_containers_quota(ask):
    ask("POST", "/c", {"X-Container-Meta-Quota-Bytes": "1", "X-Container-Write": "friend"})
    seen = []

    def authorize(request):
        seen.append(request.environ.get(ACL))
        return Response(403)

    assert ask("PUT", "/c/o", {}, b"xx", **{AUTHORIZE: authorize}).status == 403
    assert seen == ["friend"]
