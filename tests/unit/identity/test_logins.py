"""Passwords that are guessed, remembered, or checked many at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from miniswift.concurrency import GreenPool
from miniswift.identity.passwords import hash_password
from tests.unit.identity.conftest import Clock, Identity


def test_login_that_failed_too_often_is_refused_unchecked_for_a_while(
    identity: Identity, clock: Clock
) -> None:
    statuses = [identity.v3("demo", "guess").status for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    answer = identity.v3("demo")  # right, but it could be the guess that succeeds
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "60"
    clock.now += 60
    assert identity.v3("demo").status == 201


def test_limit_is_for_one_user_from_one_address_in_all_dialects(identity: Identity) -> None:
    for _ in range(3):
        identity.call("GET", "/auth/v1.0", X_Auth_User="demo:demo", X_Auth_Key="guess")
    assert identity.v3("demo", "guess").status == 429
    assert identity.v3("admin").status == 201
    identity.address = "192.0.2.2"
    assert identity.v3("demo").status == 201


def test_limit_treats_unknown_users_the_same(identity: Identity) -> None:
    assert [identity.v3("nobody", "guess").status for _ in range(4)] == [401, 401, 401, 429]


def test_right_login_clears_the_count(identity: Identity) -> None:
    identity.v3("demo", "guess")
    identity.v3("demo", "guess")
    assert identity.v3("demo").status == 201
    assert [identity.v3("demo", "guess").status for _ in range(4)] == [401, 401, 401, 429]


def test_user_who_just_logged_in_is_not_locked_out_by_others_at_the_address(identity: Identity) -> None:
    assert identity.v3("demo").status == 201
    for _ in range(4):
        identity.v3("demo", "guess")
    assert identity.v3("demo").status == 201


def test_remembered_password_ends_with_a_change_of_it(identity: Identity) -> None:
    assert identity.v3("demo").status == 201

    def change(directory: Any) -> Any:
        return directory.with_user(replace(directory.get_user("u-demo"), password=hash_password("new", 1)))

    identity.edit(change)
    assert identity.v3("demo").status == 401
    assert identity.v3("demo", "new").status == 201


def test_many_logins_at_once_are_all_answered(identity: Identity) -> None:
    answers = GreenPool(50).imap(lambda _: identity.v3("demo").status, range(50))
    assert list(answers) == [201] * 50


def test_line_that_is_too_long_is_refused(identity: Identity) -> None:
    answers = GreenPool(200).imap(lambda number: identity.v3("demo", f"guess-{number}").status, range(200))
    statuses = list(answers)
    assert set(statuses) == {401, 429, 503}
    assert statuses.count(503) == 100
