"""The Keystone v3 API over WSGI."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from miniswift.identity.directory import Directory
from miniswift.identity.passwords import hash_password
from tests.unit.identity.conftest import Answer, Clock, Identity, v3_login

DEFAULT = {"id": "default"}
DEMO = {"project": {"name": "demo", "domain": DEFAULT}}


def scoped_token(identity: Identity, token: str, scope: object = None) -> Answer:
    """Log in with a token."""
    auth: dict[str, Any] = {"identity": {"methods": ["token"], "token": {"id": token}}}
    if scope is not None:
        auth["scope"] = scope
    return identity.call("POST", "/v3/auth/tokens", {"auth": auth})


def validate(identity: Identity, caller: str, subject: str, query: str = "", method: str = "GET") -> Answer:
    return identity.call(method, f"/v3/auth/tokens{query}", token=caller, X_Subject_Token=subject)


# --- logging in ------------------------------------------------------------------------------------


def test_login_to_a_project_answers_with_the_token_and_what_it_means(identity: Identity) -> None:
    answer = identity.v3("demo", scope=DEMO)
    assert answer.status == 201
    assert len(answer.headers["X-Subject-Token"]) == 32
    assert answer.headers["Vary"] == "X-Auth-Token"
    token = answer.json["token"]
    assert {name: token[name] for name in token if name not in ("audit_ids", "catalog")} == {
        "methods": ["password"],
        "user": {
            "id": "u-demo",
            "name": "demo",
            "domain": {"id": "default", "name": "Default"},
            "password_expires_at": None,
        },
        "project": {"id": "p-demo", "name": "demo", "domain": {"id": "default", "name": "Default"}},
        "is_domain": False,
        "roles": [{"id": token["roles"][0]["id"], "name": "swiftoperator"}],
        "issued_at": "2023-11-14T22:13:20.000000Z",
        "expires_at": "2023-11-14T23:13:20.000000Z",
    }
    assert len(token["audit_ids"]) == 1


def test_catalogue_names_the_projects_account_on_every_interface(identity: Identity) -> None:
    catalog = identity.v3("demo", scope=DEMO).json["token"]["catalog"]
    store = next(service for service in catalog if service["type"] == "object-store")
    assert {endpoint["interface"]: endpoint["url"] for endpoint in store["endpoints"]} == dict.fromkeys(
        ["public", "internal", "admin"], "http://127.0.0.1:8080/v1/AUTH_p-demo"
    )
    assert all(endpoint["region"] == endpoint["region_id"] == "RegionOne" for endpoint in store["endpoints"])
    assert len({endpoint["id"] for service in catalog for endpoint in service["endpoints"]}) == 6


USERS = [
    {"id": "u-demo"},
    {"name": "demo", "domain": {"id": "default"}},
    {"name": "demo", "domain": {"name": "Default"}},
]
SCOPES = [
    {"project": {"id": "p-demo"}},
    {"project": {"name": "demo", "domain": {"id": "default"}}},
    {"project": {"name": "demo", "domain": {"name": "Default"}}},
]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("scope", SCOPES)
def test_user_and_project_are_named_by_id_or_by_name_and_domain(
    identity: Identity, user: dict[str, Any], scope: dict[str, Any]
) -> None:
    who = user | {"password": "demo-password"}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
    answer = identity.call("POST", "/v3/auth/tokens", body)
    assert answer.status == 201
    assert answer.json["token"]["project"]["id"] == "p-demo"


def test_users_of_another_domain_log_in_there(identity: Identity) -> None:
    who = {"name": "far", "domain": {"name": "Other"}, "password": "far-password"}
    scope = {"project": {"name": "demo", "domain": {"name": "Other"}}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
    token = identity.call("POST", "/v3/auth/tokens", body).json["token"]
    assert token["project"] == {"id": "p-far", "name": "demo", "domain": {"id": "d-other", "name": "Other"}}


@pytest.mark.parametrize("scope", [None, "unscoped", {"unscoped": {}}])
def test_login_without_scope_has_neither_roles_nor_catalogue(identity: Identity, scope: object) -> None:
    token = identity.v3("demo", scope=scope).json["token"]
    assert not {"project", "domain", "roles", "catalog"} & set(token)


@pytest.mark.parametrize("domain", [{"id": "default"}, {"name": "Default"}])
def test_login_to_a_domain_has_its_roles_and_no_accounts(identity: Identity, domain: dict[str, str]) -> None:
    token = identity.v3("admin", scope={"domain": domain}).json["token"]
    assert token["domain"] == {"id": "default", "name": "Default"}
    assert [role["name"] for role in token["roles"]] == ["admin"]
    assert [service["type"] for service in token["catalog"]] == ["identity"]


def test_nocatalog_leaves_the_catalogue_out(identity: Identity) -> None:
    answer = identity.call("POST", "/v3/auth/tokens?nocatalog", v3_login("demo", scope=DEMO))
    assert "catalog" not in answer.json["token"]


REFUSED = [
    ("wrong password", v3_login("demo", "wrong")),
    ("unknown user", v3_login("nobody")),
    ("disabled user", v3_login("gone")),
    ("unknown project", v3_login("demo", scope={"project": {"id": "nope"}})),
    ("disabled project", v3_login("demo", scope={"project": {"id": "p-closed"}})),
    ("no role there", v3_login("demo", scope={"project": {"id": "p-admin"}})),
    ("no role on the domain", v3_login("demo", scope={"domain": {"id": "default"}})),
    ("unknown domain", v3_login("demo", scope={"domain": {"name": "nope"}})),
]


@pytest.mark.parametrize("body", [body for _, body in REFUSED], ids=[name for name, _ in REFUSED])
def test_every_refused_login_gives_the_same_answer(identity: Identity, body: object) -> None:
    answer = identity.call("POST", "/v3/auth/tokens", body)
    assert answer.status == 401
    assert answer.headers["Www-Authenticate"] == 'Keystone uri="http://localhost"'
    assert answer.json == {
        "error": {"code": 401, "message": "These credentials are not valid.", "title": "Unauthorized"}
    }


def test_refused_login_is_logged_with_its_reason_and_without_the_password(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        identity.v3("demo", "a-wrong-password")
    assert "login of 'demo' from 192.0.2.1 refused: wrong password" in caplog.text
    assert "a-wrong-password" not in caplog.text


def test_unsupported_method_and_system_scope_are_refused(identity: Identity) -> None:
    body = v3_login("demo")
    body["auth"]["identity"]["methods"] = ["totp"]
    assert identity.call("POST", "/v3/auth/tokens", body).status == 401
    assert identity.v3("demo", scope={"system": {"all": True}}).status == 401


def test_two_methods_must_name_the_same_user(identity: Identity) -> None:
    body = v3_login("demo", scope=DEMO)
    body["auth"]["identity"]["methods"] = ["password", "token"]
    body["auth"]["identity"]["token"] = {"id": identity.token("admin")}
    assert identity.call("POST", "/v3/auth/tokens", body).status == 401
    body["auth"]["identity"]["token"] = {"id": identity.token("demo")}
    answer = identity.call("POST", "/v3/auth/tokens", body)
    assert answer.status == 201
    assert answer.json["token"]["methods"] == ["password", "token"]


# --- a token for a token ---------------------------------------------------------------------------


def test_token_is_exchanged_for_one_with_a_scope(identity: Identity) -> None:
    answer = scoped_token(identity, identity.token("demo"), DEMO)
    assert answer.status == 201
    token = answer.json["token"]
    assert token["project"]["id"] == "p-demo"
    assert set(token["methods"]) == {"password", "token"}


def test_exchanged_token_lives_no_longer_and_names_the_first_of_its_chain(
    identity: Identity, clock: Clock
) -> None:
    first = identity.v3("demo")
    clock.now += 1000
    second = scoped_token(identity, first.headers["X-Subject-Token"], DEMO)
    third = scoped_token(identity, second.headers["X-Subject-Token"])
    assert third.json["token"]["expires_at"] == first.json["token"]["expires_at"]
    assert third.json["token"]["issued_at"] > first.json["token"]["issued_at"]
    assert len(third.json["token"]["audit_ids"]) == 2
    assert third.json["token"]["audit_ids"][1] == first.json["token"]["audit_ids"][0]


def test_bad_token_is_exchanged_for_nothing(identity: Identity) -> None:
    assert scoped_token(identity, "bogus", DEMO).status == 401


# --- validation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("caller", "project"), [("admin", "admin"), ("swift", "service")])
def test_admin_and_service_validate_everybodys_tokens(identity: Identity, caller: str, project: str) -> None:
    login = identity.v3("demo", scope=DEMO)
    subject = login.headers["X-Subject-Token"]
    answer = validate(identity, identity.token(caller, project), subject)
    assert answer.status == 200
    assert answer.json == login.json
    assert answer.headers["X-Subject-Token"] == subject


def test_token_validates_itself(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    assert validate(identity, token, token).status == 200


def test_others_may_not_validate(identity: Identity) -> None:
    answer = validate(identity, identity.token("demo", "demo"), identity.token("swift", "service"))
    assert answer.status == 403
    assert answer.json["error"]["title"] == "Forbidden"


def test_head_validates_without_a_body(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    answer = validate(identity, token, token, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["X-Subject-Token"] == token


def test_validation_without_catalogue(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    assert "catalog" not in validate(identity, token, token, "?nocatalog=1").json["token"]


def test_validation_needs_good_tokens_in_both_headers(identity: Identity) -> None:
    admin = identity.token("admin", "admin")
    assert validate(identity, admin, "bogus").status == 404
    assert validate(identity, "bogus", admin).status == 401
    assert validate(identity, "", admin).status == 401
    assert identity.call("GET", "/v3/auth/tokens", token=admin).status == 400


def test_token_expires(identity: Identity, clock: Clock) -> None:
    subject = identity.token("demo", "demo")
    clock.now += 3599
    admin = identity.token("admin", "admin")
    assert validate(identity, admin, subject).status == 200
    clock.now += 1
    assert validate(identity, admin, subject).status == 404


# --- what ends a token -----------------------------------------------------------------------------


def test_deleted_token_is_worthless_at_once(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    assert validate(identity, token, token, method="DELETE").status == 204
    assert validate(identity, identity.token("admin", "admin"), token).status == 404
    assert validate(identity, token, token).status == 401


def test_deleting_another_users_token_takes_an_admin(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    assert validate(identity, identity.token("swift", "service"), token, method="DELETE").status == 403
    assert validate(identity, identity.token("admin", "admin"), token, method="DELETE").status == 204


def changed_user(directory: Directory, **changes: Any) -> Directory:
    user = directory.get_user("u-demo")
    assert user is not None
    return directory.with_user(replace(user, **changes))


ENDINGS = {
    "user removed": lambda directory: directory.without_user(directory.get_user("u-demo")),
    "user disabled": lambda directory: changed_user(directory, is_enabled=False),
    "password changed": lambda directory: changed_user(directory, password=hash_password("new", 1)),
    "last role taken away": lambda directory: changed_user(directory, project_roles={}),
    "project disabled": lambda directory: directory.with_project(
        replace(directory.get_project("p-demo"), is_enabled=False)
    ),
}


@pytest.mark.parametrize("change", ENDINGS.values(), ids=ENDINGS.keys())
def test_edit_of_the_directory_ends_a_token(identity: Identity, change: Any) -> None:
    token = identity.token("demo", "demo")
    admin = identity.token("admin", "admin")
    assert validate(identity, admin, token).status == 200
    identity.edit(change)
    assert validate(identity, admin, token).status == 404


def test_new_role_shows_in_tokens_that_were_issued_before(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    identity.edit(lambda directory: changed_user(directory, project_roles={"p-demo": ("Reader", "x")}))
    roles = validate(identity, token, token).json["token"]["roles"]
    assert [role["name"] for role in roles] == ["Reader", "x"]


# --- what a user may choose from ---------------------------------------------------------------------


def test_user_lists_the_projects_to_choose_from(identity: Identity) -> None:
    answer = identity.call("GET", "/v3/auth/projects", token=identity.token("demo"))
    assert [project["id"] for project in answer.json["projects"]] == ["p-demo"]  # not the disabled one
    assert answer.json["projects"][0]["links"]["self"] == "http://localhost/v3/projects/p-demo"
    assert answer.json["links"] == {
        "self": "http://localhost/v3/auth/projects",
        "next": None,
        "previous": None,
    }


def test_user_lists_the_domains_to_choose_from(identity: Identity) -> None:
    answer = identity.call("GET", "/v3/auth/domains", token=identity.token("admin"))
    assert [domain["id"] for domain in answer.json["domains"]] == ["default"]


def test_projects_of_a_user_are_for_that_user_and_admins(identity: Identity) -> None:
    path = "/v3/users/u-demo/projects"
    mine = identity.call("GET", path, token=identity.token("demo"))
    theirs = identity.call("GET", path, token=identity.token("admin", "admin"))
    assert mine.json == theirs.json
    assert [project["name"] for project in mine.json["projects"]] == ["demo"]
    assert identity.call("GET", path, token=identity.token("swift", "service")).status == 403
    unknown = identity.call("GET", "/v3/users/x/projects", token=identity.token("admin", "admin"))
    assert unknown.status == 404


def test_catalogue_is_for_tokens_with_a_scope(identity: Identity) -> None:
    login = identity.v3("demo", scope=DEMO)
    answer = identity.call("GET", "/v3/auth/catalog", token=login.headers["X-Subject-Token"])
    assert answer.json["catalog"] == login.json["token"]["catalog"]
    assert identity.call("GET", "/v3/auth/catalog", token=identity.token("demo")).status == 403


@pytest.mark.parametrize("path", ["auth/projects", "auth/domains", "auth/catalog", "users/u-demo/projects"])
def test_lists_need_a_token(identity: Identity, path: str) -> None:
    answer = identity.call("GET", f"/v3/{path}")
    assert answer.status == 401
    assert json.loads(answer.body)["error"]["code"] == 401
