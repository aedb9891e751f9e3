"""The identity service as a whole: configuration, errors, hostile requests."""

from __future__ import annotations

import io
import json
import logging
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paste.deploy import loadapp

from miniswift.errors import ConfigError
from miniswift.identity import app_factory
from miniswift.wsgi import Request
from tests.unit.identity.conftest import Clock, Identity, open_application, v3_login

DEMO = {"project": {"id": "p-demo"}}

# --- configuration ---------------------------------------------------------------------------------


def test_paste_makes_the_application_from_a_conf_file(identity_path: Path) -> None:
    conf = identity_path.with_name("identity.conf")
    conf.write_text("[app:main]\nuse = egg:miniswift#identity\ntoken_expiration = 60\n")
    app = loadapp(f"config:{conf}")
    identity = Identity(app, identity_path, Clock())
    assert identity.token("demo", "demo")
    # Relative names start at the conf file's folder.
    assert identity_path.with_name("tokens.db").exists()
    app.close()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"identity_file": "nothing.yaml"}, "the identity file does not exist"),
        ({"token_database": "/nowhere/tokens.db"}, "token_database"),
        ({"token_expiration": "soon"}, "token_expiration"),
        ({"public_url": "localhost:5000"}, "public_url: must be an http:// or https:// URL"),
    ],
)
def test_bad_option_is_named(identity_path: Path, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        app_factory({"here": str(identity_path.parent)}, **options)
    assert complaint in str(raised.value)


def test_unknown_option_is_warned_about(identity_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app_factory({"here": str(identity_path.parent)}, token_expiry="60")
    assert "token_expiry is ignored; did you mean token_expiration?" in caplog.text


def test_urls_of_the_conf_stand_in_the_catalogue_for_the_files(identity_path: Path) -> None:
    app = app_factory(
        {"here": str(identity_path.parent)},
        public_url="https://id.example.com/",
        object_store_url="https://store.example.com",
    )
    identity = Identity(app, identity_path, Clock())
    catalog = identity.v3("demo", scope=DEMO).json["token"]["catalog"]
    assert {service["endpoints"][0]["url"] for service in catalog} == {
        "https://id.example.com",
        "https://store.example.com/v1/AUTH_p-demo",
    }
    links = identity.call("GET", "/v3").json["version"]["links"]
    assert links == [{"rel": "self", "href": "https://id.example.com/v3/"}]
    app.close()


def test_public_url_may_follow_the_host_that_the_client_used(identity_path: Path) -> None:
    app = app_factory({"here": str(identity_path.parent)}, public_url="http://%(host)s:5000")
    answer = Identity(app, identity_path, Clock()).call("GET", "/v3", Host="id.example.com:5000")
    assert answer.json["version"]["links"][0]["href"] == "http://id.example.com:5000/v3/"
    app.close()


def test_token_database_is_for_its_owner_alone_and_holds_no_token(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    for name in ("tokens.db", "tokens.db-wal"):
        path = identity.path.with_name(name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert token.encode() not in path.read_bytes()


def test_tokens_outlive_the_process_and_are_shared_by_all(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    another = open_application(str(identity.path), identity.clock)
    same = Identity(another, identity.path, identity.clock)
    assert same.call("GET", "/v3/auth/tokens", token=token, X_Subject_Token=token).status == 200
    another.close()


FORK = """
import os, sys
from miniswift.concurrency import restart_hub_after_fork
from tests.unit.identity.conftest import Clock, Identity, open_application

path = sys.argv[1]
identity = Identity(open_application(path, Clock()), path, Clock())
token = identity.token("demo", "demo")

def is_good():
    return identity.call("HEAD", "/v3/auth/tokens", token=token, X_Subject_Token=token).status == 200

assert is_good()
child = os.fork()
if child == 0:
    restart_hub_after_fork()
    os._exit(0 if is_good() and identity.token("admin", "admin") else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert is_good() and identity.token("demo", "demo")
identity.app.close()
"""


@pytest.mark.slow
def test_forked_worker_reads_and_writes_on_connections_of_its_own(identity_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(identity_path)]
    assert subprocess.run(command, check=False).returncode == 0


def test_removed_token_database_is_made_again(identity: Identity) -> None:
    old = identity.token("demo", "demo")
    for path in identity.path.parent.glob("tokens.db*"):
        path.unlink()
    assert identity.call("GET", "/v3/auth/projects", token=old).status == 401
    new = identity.token("demo", "demo")
    assert identity.call("GET", "/v3/auth/projects", token=new).status == 200


def test_broken_token_database_is_a_503_that_is_logged(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    identity.app.close()
    for path in identity.path.parent.glob("tokens.db*"):
        path.unlink()
    identity.path.with_name("tokens.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    assert identity.call("GET", "/v3/auth/projects", token="0" * 32).status == 503
    assert "the token database failed" in caplog.text


# --- paths and methods -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/v3/nothing", "/v4", "//v3", "/v3/auth//tokens", "/v2.0/tokens//", "/%ff%fe", "/auth/v1.0/x"]
)
def test_unknown_path_is_a_404_in_json(identity: Identity, path: str) -> None:
    answer = identity.call("GET", path)
    assert answer.status == 404
    assert answer.json["error"]["title"] == "Not Found"


def test_unknown_method_is_a_405_that_names_the_known_ones(identity: Identity) -> None:
    answer = identity.call("PUT", "/v3/auth/tokens")
    assert answer.status == 405
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, POST"
    assert answer.json["error"]["code"] == 405


def test_trailing_slash_means_nothing(identity: Identity) -> None:
    assert identity.call("POST", "/v3/auth/tokens/", v3_login("demo")).status == 201


def test_host_that_is_no_host_name_is_refused_where_it_would_be_written(identity: Identity) -> None:
    assert identity.call("GET", "/", Host='evil"><script>').status == 400
    assert identity.call("GET", "/v3/auth/projects", Host='evil"').headers["Www-Authenticate"] == "Keystone"


# --- hostile bodies --------------------------------------------------------------------------------


NOT_JSON_OBJECTS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"auth"',
    b"\xff\xfe{}",
    b"[" * 60_000,
    b'{"auth":' * 7_000,
    b'{"auth": ' + b"9" * 10_000 + b"}",
    b'{"auth": NaN}',
]


@pytest.mark.parametrize("path", ["/v3/auth/tokens", "/v2.0/tokens"])
@pytest.mark.parametrize("body", NOT_JSON_OBJECTS, ids=range(len(NOT_JSON_OBJECTS)))
def test_body_that_is_no_json_object_is_a_bad_request(identity: Identity, path: str, body: bytes) -> None:
    answer = identity.call("POST", path, body)
    assert answer.status == 400
    assert answer.json["error"]["title"] == "Bad Request"


def test_complaint_says_where_in_the_body(identity: Identity) -> None:
    body = v3_login("demo")
    body["auth"]["identity"]["password"]["user"]["name"] = 5
    message = identity.call("POST", "/v3/auth/tokens", body).json["error"]["message"]
    assert message.startswith("auth.identity.password.user.name must be text")


def test_body_longer_than_any_login_is_refused_unread(identity: Identity) -> None:
    body = json.dumps(v3_login("demo", "x" * 70_000)).encode()
    assert identity.call("POST", "/v3/auth/tokens", body).status == 413


def chunked(identity: Identity, body: bytes) -> int:
    request = Request.blank("/v3/auth/tokens", "POST", {"Transfer-Encoding": "chunked"})
    del request.environ["CONTENT_LENGTH"]
    request.environ["wsgi.input"] = io.BytesIO(body)
    return request.call(identity.app).status


def test_body_without_length_is_read_when_chunked(identity: Identity) -> None:
    assert chunked(identity, json.dumps(v3_login("demo")).encode()) == 201
    assert chunked(identity, b" " * 70_000) == 413


def test_half_a_surrogate_pair_is_a_bad_request(identity: Identity) -> None:
    assert identity.call("POST", "/v3/auth/tokens", v3_login("demo", "\ud800")).status == 400
    assert identity.call("POST", "/v3/auth/tokens", v3_login("\udfff")).status == 400


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "unscoped", "password", "token", "demo", "default", "\0", "é", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["id", "name", "domain", "project", "user", "password", "methods", ""]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)

GOOD_BODIES = {
    "/v3/auth/tokens": [
        v3_login("demo", scope={"project": {"name": "demo", "domain": {"name": "Default"}}}),
        v3_login("admin", scope={"domain": {"id": "default"}}),
        {"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": {"unscoped": {}}}},
    ],
    "/v2.0/tokens": [
        {
            "auth": {
                "passwordCredentials": {"username": "demo", "password": "demo-password"},
                "tenantName": "demo",
            }
        },
        {"auth": {"token": {"id": "x"}, "tenantId": "p-demo"}},
    ],
}


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every node in a JSON value."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [place, *(deeper for key, child in children for deeper in places(child, (*place, key)))]


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with `new` at a place."""
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = put(value[place[0]], place[1:], new)
    return copy


CASES = [
    (path, body, place) for path, bodies in GOOD_BODIES.items() for body in bodies for place in places(body)
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(CASES), JUNK)
def test_junk_anywhere_in_a_login_is_refused_or_accepted_but_never_crashes(
    identity: Identity, case: tuple[str, Any, tuple[Any, ...]], junk: Any
) -> None:
    path, body, place = case
    answer = identity.call("POST", path, put(body, place, junk))
    assert answer.status in (200, 201, 400, 401, 429)
    assert answer.json


WRONG_TYPES: list[Any] = [5, True, [], ["x"], {}]


@pytest.mark.parametrize("wrong", WRONG_TYPES, ids=str)
@pytest.mark.parametrize(
    "place", [place for place in places(GOOD_BODIES["/v3/auth/tokens"][0]) if place], ids=str
)
def test_wrong_type_anywhere_in_a_v3_login_is_a_bad_request(
    identity: Identity, place: tuple[Any, ...], wrong: Any
) -> None:
    body = put(GOOD_BODIES["/v3/auth/tokens"][0], place, wrong)
    answer = identity.call("POST", "/v3/auth/tokens", body)
    # A list of an unknown method is well-formed; it is the one place where a wrong value is only refused.
    is_unknown_method = place[-1] == "methods" and wrong == ["x"]
    assert answer.status == (401 if is_unknown_method else 400)


@pytest.mark.parametrize("wrong", WRONG_TYPES, ids=str)
@pytest.mark.parametrize(
    "place", [place for body in GOOD_BODIES["/v2.0/tokens"] for place in places(body) if place], ids=str
)
def test_wrong_type_anywhere_in_a_v2_login_is_a_bad_request(
    identity: Identity, place: tuple[Any, ...], wrong: Any
) -> None:
    good = next(body for body in GOOD_BODIES["/v2.0/tokens"] if place in places(body))
    expected = (401,) if "token" in good["auth"] and place[-1] == "tenantId" else (400,)
    assert identity.call("POST", "/v2.0/tokens", put(good, place, wrong)).status in expected


# --- logs -----------------------------------------------------------------------------------------


def test_nothing_secret_is_logged(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        token = identity.token("demo", "demo")
        identity.call("DELETE", "/v3/auth/tokens", token=token, X_Subject_Token=token)
        identity.v3("demo", "guess-guess")
    assert "revoked" in caplog.text
    assert token not in caplog.text
    assert "demo-password" not in caplog.text
    assert "guess-guess" not in caplog.text
