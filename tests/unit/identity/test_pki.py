"""Signed tokens, the certificates to check them with, and the list of those that were revoked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miniswift import cms, signed_tokens
from miniswift.errors import ConfigError
from miniswift.identity.passwords import hash_password
from miniswift.identity.signing_keys import SigningKeys
from tests.unit import openssl
from tests.unit.identity.conftest import START, Clock, Identity, make_user, open_application

DAY = 86400


@pytest.fixture(params=["pki", "pkiz"])
def signing(request: pytest.FixtureRequest, identity_path: Path, clock: Clock) -> Iterator[Identity]:
    """An identity service that issues signed tokens."""
    app = open_application(str(identity_path), clock, token_format=request.param)
    yield Identity(app, identity_path, clock)
    app.close()


def signer_of(identity: Identity, prefix: str = "/v2.0/certificates/", name: str = "signing") -> cms.Signer:
    certificate, authority = identity.call("GET", prefix + name), identity.call("GET", prefix + "ca")
    assert certificate.headers["Content-Type"] == "application/x-pem-file"
    return cms.Signer.of_pem(certificate.body, authority.body)


def body_of(identity: Identity, token: str) -> Any:
    return json.loads(signer_of(identity).read(signed_tokens.message_of(token)))


def v2_token(identity: Identity, user: str, tenant: str) -> str:
    who = {"username": user, "password": f"{user}-password"}
    answer = identity.call(
        "POST", "/v2.0/tokens", {"auth": {"passwordCredentials": who, "tenantName": tenant}}
    )
    return str(answer.json["access"]["token"]["id"])


def revoked(
    identity: Identity, path: str = "/v2.0/tokens/revoked", user: str = "admin"
) -> list[dict[str, Any]]:
    answer = identity.call("GET", path, token=identity.token(user, user.replace("swift", "service")))
    assert answer.status == 200, answer.body
    content = signer_of(identity).read(cms.from_pem(answer.json["signed"].encode()))
    entries: list[dict[str, Any]] = json.loads(content)["revoked"]
    return entries


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


# --- tokens ---------------------------------------------------------------------------------------


def test_v3_token_is_its_signed_body(signing: Identity) -> None:
    token = signing.token("demo", "demo")
    assert token.startswith(("MII", "PKIZ_"))
    shown = signing.call("GET", "/v3/auth/tokens", token=token, X_Subject_Token=token).json
    assert body_of(signing, token) == shown
    assert shown["token"]["project"]["id"] == "p-demo"


def test_v2_token_is_its_signed_body_without_its_own_text(signing: Identity) -> None:
    token = v2_token(signing, "demo", "demo")
    shown = signing.call("GET", f"/v2.0/tokens/{token}", token=token).json
    assert shown["access"]["token"].pop("id") == token
    signed = body_of(signing, token)
    assert signed["access"]["token"].pop("id") == "placeholder"
    assert signed == shown


def test_openssl_believes_a_token(signing: Identity, tmp_path: Path) -> None:
    folder = signing.path.with_name("ssl")
    holder = openssl.Holder(
        None,
        openssl.x509.load_pem_x509_certificate((folder / "signing_cert.pem").read_bytes()),
        tmp_path / "a",
    )
    authority = openssl.Holder(
        None, openssl.x509.load_pem_x509_certificate((folder / "cacert.pem").read_bytes()), tmp_path / "b"
    )
    der = signed_tokens.message_of(signing.token("demo", "demo"))
    # OpenSSL's clock is the real one; both certificates are valid for ten years from the test's.
    assert (
        openssl.verify(der, holder, authority)
        == json.dumps(json.loads(signer_of(signing).read(der))).encode()
    )


def test_v1_login_gets_one_too(signing: Identity) -> None:
    answer = signing.call("GET", "/auth/v1.0", X_Auth_User="demo:demo", X_Auth_Key="demo-password")
    assert body_of(signing, answer.headers["X-Auth-Token"])["token"]["project"]["id"] == "p-demo"


def test_certificates_are_the_same_in_both_versions(signing: Identity) -> None:
    assert signer_of(signing) == signer_of(signing, "/v3/OS-SIMPLE-CERT/", "certificates")


def test_service_that_issues_opaque_tokens_has_certificates_when_asked(identity: Identity) -> None:
    folder = identity.path.with_name("ssl")
    assert not folder.exists()
    assert signer_of(identity).valid_until > START + 3000 * DAY
    assert folder.exists()
    assert revoked(identity) == []


# --- revocation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v2.0/tokens/revoked", "/v3/auth/tokens/OS-PKI/revoked"])
def test_list_has_revoked_tokens_until_they_expire(signing: Identity, path: str) -> None:
    token = signing.token("demo", "demo")
    audit_id = body_of(signing, token)["token"]["audit_ids"][0]
    assert revoked(signing, path) == []
    assert (
        signing.call("DELETE", f"/v2.0/tokens/{token}", token=signing.token("admin", "admin")).status == 204
    )
    entry = {"id": md5(token), "expires": "2023-11-14T23:13:20Z", "audit_id": audit_id}
    assert revoked(signing, path) == [entry]
    signing.clock.now += 3601
    assert revoked(signing, path) == []


@pytest.mark.parametrize("way", ["text", "hash"])
@pytest.mark.parametrize("dialect", ["v2.0", "v3"])
def test_token_is_revoked_by_text_and_by_hash(signing: Identity, way: str, dialect: str) -> None:
    token = signing.token("demo", "demo")
    word = token if way == "text" else md5(token)
    admin = signing.token("admin", "admin")
    if dialect == "v3":
        answer = signing.call("DELETE", "/v3/auth/tokens", token=admin, X_Subject_Token=word)
    else:
        answer = signing.call("DELETE", f"/v2.0/tokens/{word}", token=admin)
    assert answer.status == 204
    assert signing.call("GET", "/v3/auth/tokens", token=admin, X_Subject_Token=token).status == 404
    assert [entry["id"] for entry in revoked(signing)] == [md5(token)]


def test_opaque_token_is_revoked_by_its_hash(identity: Identity) -> None:
    token, admin = identity.token("demo", "demo"), identity.token("admin", "admin")
    assert identity.call("DELETE", f"/v2.0/tokens/{md5(token)}", token=admin).status == 204
    assert identity.call("GET", f"/v2.0/tokens/{token}", token=admin).status == 404


def test_hash_of_a_token_is_no_token(signing: Identity) -> None:
    token, admin = signing.token("demo", "demo"), signing.token("admin", "admin")
    assert signing.call("GET", "/v3/auth/projects", token=md5(token)).status == 401
    assert signing.call("GET", f"/v2.0/tokens/{md5(token)}", token=admin).status == 404


def test_hash_revokes_for_those_who_may(signing: Identity) -> None:
    token = signing.token("demo", "demo")
    service = signing.token("swift", "service")
    assert signing.call("DELETE", f"/v2.0/tokens/{md5(token)}", token=service).status == 403
    assert signing.call("DELETE", f"/v2.0/tokens/{md5(token)}", token=token).status == 204
    assert signing.call("DELETE", f"/v2.0/tokens/{'0' * 32}", token=service).status == 404


def _new_password(user: Any) -> Any:
    return dataclasses.replace(user, password=hash_password("new", 1))


def _disabled(user: Any) -> Any:
    return dataclasses.replace(user, is_enabled=False)


def _without_role(user: Any) -> Any:
    return dataclasses.replace(user, project_roles={"p-demo": ("Reader",)})


@pytest.mark.parametrize("change", [_new_password, _disabled, _without_role])
def test_list_has_tokens_that_say_what_is_true_no_longer(signing: Identity, change: Any) -> None:
    token, other = signing.token("demo", "demo"), signing.token("swift", "service")
    signing.edit(
        lambda directory: directory.with_user(change(make_user("demo", {"p-demo": ("swiftoperator",)})))
    )
    assert [entry["id"] for entry in revoked(signing)] == [md5(token)]
    assert md5(other) not in {entry["id"] for entry in revoked(signing)}


def test_more_roles_leave_a_token_as_it_is(signing: Identity) -> None:
    signing.token("demo", "demo")
    user = signing.app.store.directory().get_user("u-demo")
    assert user is not None
    more = dataclasses.replace(user, project_roles={"p-demo": ("swiftoperator", "Reader")})
    signing.edit(lambda directory: directory.with_user(more))
    assert revoked(signing) == []


def test_list_is_for_admins_and_services(signing: Identity) -> None:
    assert revoked(signing, user="swift") == []
    token = signing.token("demo", "demo")
    assert signing.call("GET", "/v2.0/tokens/revoked", token=token).status == 403
    assert signing.call("GET", "/v2.0/tokens/revoked").status == 401


def test_other_hash(identity_path: Path, clock: Clock) -> None:
    app = open_application(str(identity_path), clock, token_format="pki", hash_algorithm="sha256")
    identity = Identity(app, identity_path, clock)
    token = identity.token("demo", "demo")
    short = hashlib.sha256(token.encode()).hexdigest()
    assert identity.call("DELETE", f"/v2.0/tokens/{short}", token=token).status == 204
    assert [entry["id"] for entry in revoked(identity)] == [short]
    app.close()


# --- keys -----------------------------------------------------------------------------------------


def test_keys_are_for_their_owner_alone_and_stay(tmp_path: Path) -> None:
    folder = tmp_path / "ssl"
    keys = SigningKeys.of_folder(str(folder))
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes == {
        "cacert.pem": 0o644,
        "cakey.pem": 0o600,
        "signing_cert.pem": 0o644,
        "signing_key.pem": 0o600,
    }
    assert SigningKeys.of_folder(str(folder)).certificate == keys.certificate


def test_certificate_is_renewed_by_the_same_authority_before_it_ends(tmp_path: Path) -> None:
    old = SigningKeys.of_folder(str(tmp_path), lambda: START)
    assert SigningKeys.of_folder(str(tmp_path), lambda: START + 3600 * DAY).certificate == old.certificate
    new = SigningKeys.of_folder(str(tmp_path), lambda: START + 3630 * DAY)
    assert new.certificate != old.certificate
    assert new.authority_pem == old.authority_pem


def test_keys_of_somebody_elses_making_are_used(tmp_path: Path) -> None:
    authority = openssl.issue(tmp_path, "authority", ca=True)
    holder = openssl.issue(tmp_path, "signing", authority)
    folder = tmp_path / "ssl"
    folder.mkdir()
    (folder / "cacert.pem").write_bytes(authority.pem)
    (folder / "signing_cert.pem").write_bytes(holder.pem)
    Path(holder.key_file).rename(folder / "signing_key.pem")
    assert SigningKeys.of_folder(str(folder)).certificate == holder.certificate


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("signing_cert.pem", b"rubbish", "signing_cert.pem: not a certificate"),
        ("signing_key.pem", b"rubbish", "signing_key.pem: not an unencrypted private key"),
        ("cacert.pem", None, "signing_cert.pem: the CA did not issue it"),
        ("signing_key.pem", None, "signing_key.pem: the key is not the one"),
    ],
)
def test_files_that_do_not_fit_are_named(
    tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    folder, other = tmp_path / "ssl", tmp_path / "other"
    SigningKeys.of_folder(str(folder))
    SigningKeys.of_folder(str(other))
    (folder / name).write_bytes((other / name).read_bytes() if content is None else content)
    with pytest.raises(ConfigError, match=complaint):
        SigningKeys.of_folder(str(folder))


def test_missing_certificate_without_the_authoritys_key(tmp_path: Path) -> None:
    SigningKeys.of_folder(str(tmp_path))
    (tmp_path / "cakey.pem").unlink()
    SigningKeys.of_folder(str(tmp_path))
    (tmp_path / "signing_cert.pem").unlink()
    with pytest.raises(ConfigError, match=r"there is no cakey\.pem"):
        SigningKeys.of_folder(str(tmp_path))


def test_token_database_of_an_older_version_is_begun_anew(identity_path: Path, clock: Clock) -> None:
    with sqlite3.connect(identity_path.with_name("tokens.db")) as connection:
        connection.execute("CREATE TABLE tokens (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    app = open_application(str(identity_path), clock)
    assert Identity(app, identity_path, clock).token("demo", "demo")
    app.close()
