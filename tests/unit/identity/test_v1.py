"""Version 1 logins over WSGI."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.identity.conftest import Answer, Identity, make_user


def log_in(identity: Identity, user: str, key: str) -> Answer:
    return identity.call("GET", "/auth/v1.0", X_Auth_User=user, X_Auth_Key=key)


def test_login_answers_with_the_token_and_the_account(identity: Identity) -> None:
    answer = log_in(identity, "demo:demo", "demo-password")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["X-Storage-Url"] == "http://127.0.0.1:8080/v1/AUTH_p-demo"
    assert answer.headers["X-Auth-Token"] == answer.headers["X-Storage-Token"]
    assert answer.headers["X-Auth-Token-Expires"] == "3600"


def test_token_is_as_good_as_any_other(identity: Identity) -> None:
    token = log_in(identity, "demo:demo", "demo-password").headers["X-Auth-Token"]
    answer = identity.call("GET", "/v3/auth/tokens", token=token, X_Subject_Token=token)
    assert answer.json["token"]["project"]["id"] == "p-demo"


def test_old_header_names_work(identity: Identity) -> None:
    answer = identity.call("GET", "/auth/v1.0", X_Storage_User="demo:demo", X_Storage_Pass="demo-password")
    assert answer.status == 200


def test_password_beyond_ascii_works(identity: Identity) -> None:
    zoe = replace(make_user("zoë", {"p-demo": ("Reader",)}), id="u-zoe")
    identity.edit(lambda directory: directory.with_user(zoe))
    user, key = (text.encode().decode("latin-1") for text in ("demo:zoë", "zoë-password"))
    assert log_in(identity, user, key).status == 200


@pytest.mark.parametrize(
    ("user", "key"),
    [
        ("demo:demo", "wrong"),
        ("demo:nobody", "demo-password"),
        ("nope:demo", "demo-password"),
        ("admin:demo", "demo-password"),
        ("demo", "demo-password"),
        (":demo", "demo-password"),
        ("demo:", "demo-password"),
        ("", ""),
        ("demo:demo", ""),
        ("demo:demo", "\xff"),
    ],
)
def test_every_refused_login_gives_the_same_answer(identity: Identity, user: str, key: str) -> None:
    answer = log_in(identity, user, key)
    assert answer.status == 401
    assert answer.json["error"]["message"] == "These credentials are not valid."
    assert "X-Auth-Token" not in answer.headers


def test_directory_without_an_object_store_says_so(identity: Identity) -> None:
    identity.edit(lambda directory: replace(directory, services=()))
    assert log_in(identity, "demo:demo", "demo-password").status == 503
