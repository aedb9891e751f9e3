"""The Keystone v2.0 API over WSGI."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.identity.conftest import Answer, Identity


def log_in(identity: Identity, user: str, password: str = "", **auth: Any) -> Answer:
    credentials = {"username": user, "password": password or f"{user}-password"}
    body = {"auth": {"passwordCredentials": credentials} | auth}
    return identity.call("POST", "/v2.0/tokens", body)


def token_of(answer: Answer) -> str:
    token: str = answer.json["access"]["token"]["id"]
    return token


def validate(identity: Identity, caller: str, subject: str, query: str = "", method: str = "GET") -> Answer:
    return identity.call(method, f"/v2.0/tokens/{subject}{query}", token=caller)


def test_login_to_a_tenant_answers_with_the_token_and_what_it_means(identity: Identity) -> None:
    answer = log_in(identity, "demo", tenantName="demo")
    assert answer.status == 200
    access = answer.json["access"]
    assert len(access["token"].pop("id")) == 32
    assert len(access["token"].pop("audit_ids")) == 1
    assert access["token"] == {
        "issued_at": "2023-11-14T22:13:20Z",
        "expires": "2023-11-14T23:13:20Z",
        "tenant": {"id": "p-demo", "name": "demo", "description": "to try things", "enabled": True},
    }
    assert access["user"] == {
        "id": "u-demo",
        "name": "demo",
        "username": "demo",
        "roles": [{"name": "swiftoperator"}],
        "roles_links": [],
    }
    assert access["metadata"]["is_admin"] == 0
    assert len(access["metadata"]["roles"]) == 1


def test_catalogue_has_one_endpoint_a_service_with_all_urls(identity: Identity) -> None:
    catalog = log_in(identity, "demo", tenantName="demo").json["access"]["serviceCatalog"]
    store = next(service for service in catalog if service["type"] == "object-store")
    (endpoint,) = store["endpoints"]
    url = "http://127.0.0.1:8080/v1/AUTH_p-demo"
    assert endpoint == {
        "id": endpoint["id"],
        "region": "RegionOne",
        "publicURL": url,
        "internalURL": url,
        "adminURL": url,
    }
    assert store["endpoints_links"] == []


def test_user_and_tenant_are_named_by_id_too(identity: Identity) -> None:
    credentials = {"userId": "u-demo", "password": "demo-password"}
    body = {"auth": {"passwordCredentials": credentials, "tenantId": "p-demo"}}
    assert identity.call("POST", "/v2.0/tokens", body).json["access"]["token"]["tenant"]["name"] == "demo"


def test_login_without_tenant_has_neither_roles_nor_catalogue(identity: Identity) -> None:
    access = log_in(identity, "demo").json["access"]
    assert "tenant" not in access["token"]
    assert access["user"]["roles"] == []
    assert access["serviceCatalog"] == []


def test_token_is_exchanged_for_one_with_a_tenant(identity: Identity) -> None:
    first = log_in(identity, "demo")
    body = {"auth": {"token": {"id": token_of(first)}, "tenantName": "demo"}}
    answer = identity.call("POST", "/v2.0/tokens", body)
    assert answer.status == 200
    access = answer.json["access"]
    assert access["token"]["tenant"]["id"] == "p-demo"
    assert access["token"]["expires"] == first.json["access"]["token"]["expires"]


REFUSED = [
    {"passwordCredentials": {"username": "demo", "password": "wrong"}},
    {"passwordCredentials": {"username": "nobody", "password": "wrong"}},
    {"passwordCredentials": {"username": "far", "password": "far-password"}},
    {"passwordCredentials": {"userId": "u-far", "password": "far-password"}},
    {"passwordCredentials": {"username": "demo", "password": "demo-password"}, "tenantName": "nope"},
    {"passwordCredentials": {"username": "demo", "password": "demo-password"}, "tenantName": "admin"},
    {"passwordCredentials": {"username": "demo", "password": "demo-password"}, "tenantId": "p-far"},
    {"token": {"id": "bogus"}},
]


@pytest.mark.parametrize("auth", REFUSED)
def test_every_refused_login_gives_the_same_answer(identity: Identity, auth: object) -> None:
    answer = identity.call("POST", "/v2.0/tokens", {"auth": auth})
    assert answer.status == 401
    assert answer.json["error"]["message"] == "These credentials are not valid."


UNCLEAR: list[dict[str, Any]] = [
    {},
    {"passwordCredentials": {"password": "x"}},
    {"passwordCredentials": {"username": "demo"}},
    {"passwordCredentials": {"username": "demo", "userId": "u-demo", "password": "x"}},
    {
        "passwordCredentials": {"username": "demo", "password": "demo-password"},
        "tenantName": "demo",
        "tenantId": "p-demo",
    },
]


@pytest.mark.parametrize("auth", UNCLEAR)
def test_unclear_login_is_a_bad_request(identity: Identity, auth: object) -> None:
    assert identity.call("POST", "/v2.0/tokens", {"auth": auth}).status == 400


@pytest.mark.parametrize(("caller", "tenant"), [("admin", "admin"), ("swift", "service")])
def test_admin_and_service_validate_everybodys_tokens(identity: Identity, caller: str, tenant: str) -> None:
    login = log_in(identity, "demo", tenantName="demo")
    answer = validate(identity, token_of(log_in(identity, caller, tenantName=tenant)), token_of(login))
    assert answer.status == 200
    assert answer.json == login.json


def test_head_validates_without_a_body(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    answer = validate(identity, token, token, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")


def test_validation_needs_good_tokens_and_the_right_to_ask(identity: Identity) -> None:
    admin, demo = identity.token("admin", "admin"), identity.token("demo", "demo")
    assert validate(identity, admin, "bogus").status == 404
    assert validate(identity, "bogus", demo).status == 401
    assert validate(identity, "", demo).status == 401
    assert validate(identity, demo, admin).status == 403


def test_belongs_to_another_tenant_is_refused(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    assert validate(identity, token, token, "?belongsTo=p-demo").status == 200
    assert validate(identity, token, token, "?belongsTo=p-admin").status == 401
    assert validate(identity, token, token, "?belongsTo=%ff").status == 401


def test_token_of_v3_is_valid_in_v2_unless_it_is_of_a_domain(identity: Identity) -> None:
    admin = identity.token("admin", "admin")
    answer = validate(identity, admin, identity.token("demo", "demo"))
    assert answer.json["access"]["token"]["tenant"]["id"] == "p-demo"
    of_domain = identity.v3("admin", scope={"domain": {"id": "default"}}).headers["X-Subject-Token"]
    assert validate(identity, admin, of_domain).status == 401


def test_token_of_v2_is_valid_in_v3(identity: Identity) -> None:
    token = token_of(log_in(identity, "demo", tenantName="demo"))
    answer = identity.call("GET", "/v3/auth/tokens", token=token, X_Subject_Token=token)
    assert answer.json["token"]["project"]["id"] == "p-demo"


def test_deleted_token_is_worthless_at_once(identity: Identity) -> None:
    admin, token = identity.token("admin", "admin"), identity.token("demo", "demo")
    assert validate(identity, admin, token, method="DELETE").status == 204
    assert validate(identity, admin, token).status == 404


def test_endpoints_of_a_token(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    endpoints = validate(identity, token, f"{token}/endpoints").json["endpoints"]
    assert {endpoint["type"] for endpoint in endpoints} == {"object-store", "identity"}


def test_user_lists_the_tenants_to_choose_from(identity: Identity) -> None:
    answer = identity.call("GET", "/v2.0/tenants", token=identity.token("demo"))
    assert [tenant["id"] for tenant in answer.json["tenants"]] == ["p-demo"]
    assert answer.json["tenants_links"] == []
    assert identity.call("GET", "/v2.0/tenants").status == 401
