"""Access keys: made, listed and removed; and signatures that prove them, as real clients make them."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keystoneclient.contrib.ec2.utils import Ec2Signer

from miniswift.identity import directory_file
from miniswift.identity.aws_signatures import is_ec2_signature, is_s3_signature
from miniswift.identity.directory import Credential
from miniswift.identity.documents import Document, DocumentError
from tests.unit.identity.conftest import START, Answer, Identity

V3, V2 = "/v3/users/u-demo/credentials/OS-EC2", "/v2.0/users/u-demo/credentials/OS-EC2"


@pytest.fixture
def key(identity: Identity) -> dict[str, Any]:
    """A new access key of demo's."""
    answer = identity.call("POST", V3, {"tenant_id": "p-demo"}, identity.token("demo", "demo"))
    assert answer.status == 201
    made: dict[str, Any] = answer.json["credential"]
    return made


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "status"), [(V3, 201), (V2, 200)])
def test_key_is_made_listed_shown_and_removed(identity: Identity, path: str, status: int) -> None:
    token = identity.token("demo", "demo")
    made = identity.call("POST", path, {"tenant_id": "p-demo"}, token)
    assert made.status == status
    entry = made.json["credential"]
    assert (entry["tenant_id"], entry["user_id"]) == ("p-demo", "u-demo")
    assert len(entry["access"]) == len(entry["secret"]) == 32
    one = f"{path}/{entry['access']}"
    assert identity.call("GET", path, token=token).json["credentials"] == [entry]
    assert identity.call("GET", one, token=token).json["credential"] == entry
    assert identity.call("DELETE", one, token=token).status == 204
    assert identity.call("GET", path, token=token).json["credentials"] == []
    assert (
        identity.call("GET", one, token=token).status
        == identity.call("DELETE", one, token=token).status
        == 404
    )


def test_keys_are_their_users_and_admins(identity: Identity, key: dict[str, Any]) -> None:
    one = f"{V3}/{key['access']}"
    for user, project, status in (("admin", "admin", 200), ("swift", "service", 403)):
        assert identity.call("GET", one, token=identity.token(user, project)).status == status
    assert identity.call("GET", one).status == 401
    admin = identity.token("admin", "admin")
    assert identity.call("GET", "/v3/users/nobody/credentials/OS-EC2", token=admin).status == 404


def test_key_is_for_a_project_in_which_the_user_has_a_role(identity: Identity) -> None:
    token = identity.token("demo", "demo")
    for project in ("p-admin", "nowhere"):
        assert identity.call("POST", V3, {"tenant_id": project}, token).status == 403
    assert identity.call("POST", V3, {}, token).status == 400


def test_keys_are_kept_in_the_identity_file(identity: Identity, key: dict[str, Any]) -> None:
    directory = directory_file.parse(Path(identity.path).read_text())
    user = directory.get_user("u-demo")
    assert user is not None
    assert user.credentials == (Credential(key["access"], key["secret"], "p-demo"),)
    assert key["secret"] not in repr(user)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{access: a, secret: s}", r"users\[0\]\.ec2_credentials\[0\]\.project is missing"),
        ("{access: a, secret: s, project: nowhere}", "there is no project 'nowhere'"),
        ("{access: 'a b', secret: s, project: demo}", "access must be"),
        (
            "{access: a, secret: s, project: demo}, {access: a, secret: t, project: demo}",
            "two have the access key",
        ),
        ("{access: a, secret: s, project: demo, more: x}", "means nothing"),
    ],
)
def test_mistakes_in_the_file_are_named(identity: Identity, entry: str, complaint: str) -> None:
    text = Path(identity.path).read_text()
    changed = text.replace("- id: u-demo\n", f"- id: u-demo\n  ec2_credentials: [{entry}]\n")
    with pytest.raises(DocumentError, match=complaint):
        directory_file.parse(changed)


# --- S3 signatures --------------------------------------------------------------------------------


def s3_body(key: dict[str, Any], version: int = 2, secret: str = "") -> dict[str, Any]:
    """What a server asks about a signed S3 request."""
    secret = secret or key["secret"]
    if version == 2:
        signed = b"GET\n\n\nTue, 14 Nov 2023 22:13:20 GMT\n/bucket/key"
        signature = base64.b64encode(hmac.digest(secret.encode(), signed, "sha1")).decode()
    else:
        scope = "20231114/us-east-1/s3/aws4_request"
        signed = f"AWS4-HMAC-SHA256\n20231114T221320Z\n{scope}\n{hashlib.sha256(b'x').hexdigest()}".encode()
        made = f"AWS4{secret}".encode()
        for part in scope.split("/"):
            made = hmac.digest(made, part.encode(), "sha256")
        signature = hmac.digest(made, signed, "sha256").hex()
    token = base64.urlsafe_b64encode(signed).decode()
    return {"credentials": {"access": key["access"], "token": token, "signature": signature}}


def ask(identity: Identity, path: str, body: object, user: str = "swift", project: str = "service") -> Answer:
    return identity.call("POST", path, body, identity.token(user, project) if user else "")


@pytest.mark.parametrize("version", [2, 4])
def test_s3_signature_means_its_user(identity: Identity, key: dict[str, Any], version: int) -> None:
    v3 = ask(identity, "/v3/s3tokens", s3_body(key, version))
    assert v3.status == 200
    assert "X-Subject-Token" not in v3.headers
    token = v3.json["token"]
    assert (token["user"]["id"], token["project"]["id"]) == ("u-demo", "p-demo")
    assert [role["name"] for role in token["roles"]] == ["swiftoperator"]
    assert token["methods"] == ["ec2credential"]

    v2 = ask(identity, "/v2.0/s3tokens", s3_body(key, version)).json["access"]
    assert v2["token"]["tenant"]["id"] == "p-demo"
    shown = identity.call("GET", "/v3/auth/projects", token=v2["token"]["id"])
    assert [project["id"] for project in shown.json["projects"]] == ["p-demo"]


@pytest.mark.parametrize("wrapper", ["credential", "ec2Credentials"])
def test_other_wrappers(identity: Identity, key: dict[str, Any], wrapper: str) -> None:
    assert ask(identity, "/v3/s3tokens", {wrapper: s3_body(key)["credentials"]}).status == 200


@pytest.mark.parametrize("version", [2, 4])
def test_wrong_signature_and_unknown_key_get_the_same_answer(
    identity: Identity, key: dict[str, Any], version: int
) -> None:
    wrong = ask(identity, "/v3/s3tokens", s3_body(key, version, secret="wrong"))
    unknown = ask(identity, "/v3/s3tokens", s3_body({**key, "access": "0" * 32}, version))
    assert wrong.status == unknown.status == 401
    assert wrong.body == unknown.body


def test_signatures_are_explained_to_servers_only(identity: Identity, key: dict[str, Any]) -> None:
    body = s3_body(key)
    assert ask(identity, "/v3/s3tokens", body, user="").status == 401
    assert ask(identity, "/v3/s3tokens", body, "demo", "demo").status == 403
    assert ask(identity, "/v3/s3tokens", body, "admin", "admin").status == 200


def test_key_dies_with_its_users_role_and_with_the_user(identity: Identity, key: dict[str, Any]) -> None:
    user = identity.app.store.directory().get_user("u-demo")
    assert user is not None
    no_role = dataclasses.replace(user, project_roles={})
    identity.edit(lambda directory: directory.with_user(no_role))
    assert ask(identity, "/v3/s3tokens", s3_body(key)).status == 401
    disabled = dataclasses.replace(user, is_enabled=False)
    identity.edit(lambda directory: directory.with_user(disabled))
    assert ask(identity, "/v3/s3tokens", s3_body(key)).status == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"credentials": 1},
        {"credentials": {}},
        {"credentials": {"access": "a", "token": "?", "signature": "x"}},
        {"credentials": {"access": "a", "token": "é", "signature": "x"}},
        {"credentials": {"access": 1, "token": "", "signature": ""}},
    ],
)
@pytest.mark.parametrize("path", ["/v3/s3tokens", "/v2.0/s3tokens", "/v3/ec2tokens", "/v2.0/ec2tokens"])
def test_malformed_bodies(identity: Identity, body: object, path: str) -> None:
    assert ask(identity, path, body).status in (400, 401)


@given(signed=st.binary(max_size=60).map(lambda raw: b"AWS4" + raw), signature=st.text(max_size=20))
def test_any_signed_text_is_read_without_a_crash(signed: bytes, signature: str) -> None:
    token = base64.urlsafe_b64encode(signed).decode()
    assert not is_s3_signature(Document({"token": token, "signature": signature}), "secret")


# --- EC2 signatures -------------------------------------------------------------------------------


def ec2_body(key: dict[str, Any], version: str, now: float = START, **changes: Any) -> dict[str, Any]:
    """What a server asks about a signed EC2 request; keystoneclient signs it."""
    stamp = time.gmtime(now)
    request: dict[str, Any] = {
        "host": "ec2.example:8773",
        "verb": "GET",
        "path": "/services/Cloud",
        "params": {"Action": "Describe Things", "Filter.1": "a+b/é", "AWSAccessKeyId": key["access"]},
        "headers": {},
        "body_hash": hashlib.sha256(b"").hexdigest(),
        "access": key["access"],
    }
    if version == "4":
        amz_date = time.strftime("%Y%m%dT%H%M%SZ", stamp)
        scope = f"{amz_date[:8]}/region/ec2/aws4_request"
        request["headers"] = {
            "Host": request["host"],
            "X-Amz-Date": amz_date,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={key['access']}/{scope}, "
            "SignedHeaders=host;x-amz-date, Signature=x",
        }
    else:
        request["params"]["SignatureVersion"] = version
        request["params"]["SignatureMethod"] = "HmacSHA256"
        request["params"]["Timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", stamp)
    signature = Ec2Signer(key["secret"]).generate(dict(request))
    return {"credentials": {**request, "signature": signature, **changes}}


@pytest.mark.parametrize("version", ["0", "1", "2", "4"])
def test_ec2_signature_buys_a_token(identity: Identity, key: dict[str, Any], version: str) -> None:
    v3 = ask(identity, "/v3/ec2tokens", ec2_body(key, version))
    assert v3.status == 200
    assert v3.json["token"]["project"]["id"] == "p-demo"
    assert identity.call("GET", "/v3/auth/projects", token=v3.headers["X-Subject-Token"]).status == 200
    assert ask(identity, "/v2.0/ec2tokens", ec2_body(key, version)).json["access"]["user"]["id"] == "u-demo"


@pytest.mark.parametrize("version", ["0", "1", "2", "4"])
def test_ec2_signature_is_good_for_a_quarter_of_an_hour(
    identity: Identity, key: dict[str, Any], version: str
) -> None:
    assert ask(identity, "/v3/ec2tokens", ec2_body(key, version, START - 899)).status == 200
    assert ask(identity, "/v3/ec2tokens", ec2_body(key, version, START - 901)).status == 401
    assert ask(identity, "/v3/ec2tokens", ec2_body(key, version, START + 901)).status == 401


@pytest.mark.parametrize("version", ["2", "4"])
@pytest.mark.parametrize("change", [{"verb": "POST"}, {"path": "/other"}, {"params": {}}, {"signature": ""}])
def test_ec2_signature_of_another_request(
    identity: Identity, key: dict[str, Any], version: str, change: dict[str, Any]
) -> None:
    assert ask(identity, "/v3/ec2tokens", ec2_body(key, version, **change)).status == 401


def test_host_may_have_been_signed_without_its_port(identity: Identity, key: dict[str, Any]) -> None:
    body = ec2_body(key, "2")
    bare = {**body["credentials"], "host": "ec2.example"}
    signature = Ec2Signer(key["secret"]).generate(bare)
    body["credentials"]["signature"] = signature
    assert ask(identity, "/v3/ec2tokens", body).status == 200


@given(
    params=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    headers=st.dictionaries(st.sampled_from(["Authorization", "X-Amz-Date", "Host"]), st.text(max_size=40)),
)
def test_any_ec2_request_is_read_without_a_crash(params: dict[str, str], headers: dict[str, str]) -> None:
    request = {"params": {"SignatureVersion": "2", **params}, "headers": headers, "signature": "x"}
    assert not is_ec2_signature(Document(request), "secret", START)
