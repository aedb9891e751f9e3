"""PKI and PKIZ tokens: checked by authtoken itself, with certificates and a list that Keystone shows."""

from __future__ import annotations

import base64
import json
import logging
import os
import stat
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift import cms, signed_tokens
from miniswift.errors import ConfigError
from miniswift.middleware import authtoken, revocation_list, signing_certificates
from tests.unit import openssl
from tests.unit.middleware.keystone_server import Keystone, iso, v2_body, v3_body
from tests.unit.middleware.test_authtoken import (
    Application,
    Clock,
    Memcache,
    ask,
    identity_of,
    new_options,
    old_options,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return openssl.issue(tmp_path_factory.mktemp("ca"), "authority", ca=True)


@pytest.fixture(scope="module")
def holder(authority):
    return openssl.issue(authority.folder.parent, "signing", authority)


@pytest.fixture(scope="module")
def next_holder(authority):
    """What Keystone signs with after its certificate was replaced."""
    return openssl.issue(authority.folder.parent, "next", authority)


class PKIKeystone(Keystone):
    """One that signs."""

    def __init__(self, authority, holder):
        super().__init__()
        self.authority = authority
        self.sign_with(holder)
        self.revoked_entries = []
        self.revoked = lambda: cms.to_pem(self.sign({"revoked": self.revoked_entries}))

    def sign_with(self, holder):
        self.holder = holder
        self.certificates = {"signing": holder.pem, "ca": self.authority.pem}

    def sign(self, content):
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        return cms.sign(raw, self.holder.certificate, self.holder.key)

    def pki(self, body):
        return signed_tokens.pki_text(self.sign(body))

    def pkiz(self, body):
        return signed_tokens.pkiz_text(self.sign(body))

    def revoke(self, token, **more):
        self.revoked_entries.append({"id": signed_tokens.short_id(token, "md5"), "expires": iso(2e9), **more})


@pytest.fixture
def keystone(authority, holder):
    server = PKIKeystone(authority, holder)
    yield server
    server.stop()


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def clock():
    return Clock()


class Background:
    """What was started in the background; it runs when a test says so."""

    def __init__(self):
        self._started = []

    def __call__(self, function):
        self._started.append(function)

    def run(self):
        started, self._started = self._started, []
        for function in started:
            function()
        return len(started)


@pytest.fixture
def background():
    return Background()


@pytest.fixture
def make(keystone, application, clock, background):
    def make_filter(**options):
        generation = {} if "admin_user" in options else new_options(keystone)
        conf = {"http_request_max_retries": "0", "delay_auth_decision": "true", **generation, **options}
        return authtoken.make_filter(conf, conf, clock, None, background)(application)

    return make_filter


def status_of(app, application, token, **more):
    """The identity status that the application saw."""
    assert ask(app, token, **more).status == 200
    return application.environ["HTTP_X_IDENTITY_STATUS"]


# --- validation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pki", "pkiz"])
@pytest.mark.parametrize("body", [v2_body, v3_body])
def test_signed_token_says_who_it_is(make, application, keystone, form, body):
    token = getattr(keystone, form)(body(roles=["member", "Reader"]))
    assert status_of(make(), application, token) == "Confirmed"
    identity = identity_of(application.environ)
    assert (identity["X-Project-Id"], identity["X-User-Id"], identity["X-Roles"]) == (
        "p",
        "u",
        "member,Reader",
    )
    assert keystone.validations == 0


def test_openssl_made_token_is_believed(make, application, keystone, holder):
    der = openssl.sign(json.dumps(v3_body()).encode(), holder)
    assert status_of(make(), application, signed_tokens.pki_text(der)) == "Confirmed"


def test_der_may_be_compressed_as_well(make, application, keystone):
    packed = zlib.compress(keystone.sign(v3_body()))
    token = "PKIZ_" + base64.urlsafe_b64encode(packed).decode()
    assert status_of(make(), application, token) == "Confirmed"


@pytest.mark.parametrize("version", ["v2.0", "v3"])
def test_old_options_and_either_version(keystone, make, application, version):
    app = make(**old_options(keystone), auth_version=version)
    assert status_of(app, application, keystone.pki(v2_body())) == "Confirmed"
    assert keystone.asked["GET", "/v2.0/tokens/revoked"] == (version == "v2.0")


def test_many_tokens_cost_one_look_at_certificates_and_list(make, application, keystone):
    app = make()
    for number in range(5):
        assert status_of(app, application, keystone.pki(v3_body(audit_ids=[str(number)]))) == "Confirmed"
    assert (keystone.certificates_shown, keystone.lists_shown, keystone.validations) == (2, 1, 0)


def test_expired_token_is_refused(make, application, keystone, clock, caplog):
    caplog.set_level(logging.INFO)
    app = make()
    token = keystone.pki(v3_body(expires=clock.now + 10))
    assert status_of(app, application, token) == "Confirmed"
    clock.now += 10
    assert status_of(app, application, token) == "Invalid"
    assert "token refused: it has expired" in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            lambda token: token[:-100] + "A" * (100 - token.count("=")) + "=" * token.count("="),
            "signature is not good",
        ),
        (lambda token: token[: len(token) // 2], "malformed|Base64"),
        (
            lambda token: token.rstrip("=") + "A" * 6 + "=" * token.count("="),
            "not the one that was issued|Base64",
        ),
        (lambda token: token.rstrip("=") + "===", "Base64|not the one"),
        (lambda token: "MII" + "A" * 501, "not the one"),
        (lambda token: "MII~~~", "Base64"),
        (lambda token: "PKIZ_" + token, "compressed|Base64"),
        (lambda token: "PKIZ_", "cut off"),
        (
            lambda token: "PKIZ_" + base64.urlsafe_b64encode(zlib.compress(b"\0" * 3_000_000)).decode(),
            "too long",
        ),
        (
            lambda token: "PKIZ_" + base64.urlsafe_b64encode(zlib.compress(b"-----BEGIN CMS-----")).decode(),
            "no mess",
        ),
    ],
)
def test_broken_text_is_refused_with_the_reason(make, application, keystone, caplog, spoil, why):
    caplog.set_level(logging.INFO)
    token = spoil(keystone.pki(v3_body()))
    assert status_of(make(), application, token) == "Invalid"
    refusals = [record.getMessage() for record in caplog.records if "token refused" in record.getMessage()]
    assert len(refusals) == 1
    assert any(part in refusals[0] for part in why.split("|")), refusals
    assert keystone.validations == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"not JSON", b"[]", b"{}", b'{"revoked": []}', b'{"token": {}, "access": {}}', b"[" * 10_000],
)
def test_other_things_that_keystone_signed_are_no_tokens(make, application, keystone, content):
    assert status_of(make(), application, keystone.pki(content)) == "Invalid"


def test_token_signed_by_somebody_else(make, application, keystone, next_holder):
    forged = cms.sign(json.dumps(v3_body()).encode(), next_holder.certificate, next_holder.key)
    assert status_of(make(), application, signed_tokens.pki_text(forged)) == "Invalid"
    assert keystone.validations == 0


@given(text=st.text("ABCDEFabcdef0123456789-_+=M", max_size=60))
@pytest.mark.filterwarnings("ignore")
def test_any_text_is_read_without_a_crash(text):
    for start in ("MII", "PKIZ_"):
        try:
            assert isinstance(signed_tokens.message_of(start + text), bytes)
        except cms.CMSError:
            pass


@given(der=st.binary(min_size=1, max_size=300))
def test_both_text_forms_come_back_the_same(der):
    sequence = b"\x30\x82" + len(der).to_bytes(2, "big") + der
    assert signed_tokens.message_of(signed_tokens.pkiz_text(sequence)) == sequence
    assert signed_tokens.message_of(signed_tokens.pki_text(sequence)) == sequence


# --- certificates ---------------------------------------------------------------------------------


def test_new_certificate_is_fetched_when_tokens_come_that_it_signed(
    make, application, keystone, clock, next_holder
):
    app = make()
    old = keystone.pki(v3_body())
    assert status_of(app, application, old) == "Confirmed"
    clock.now += signing_certificates.RENEWAL_INTERVAL_S
    keystone.sign_with(next_holder)
    assert status_of(app, application, keystone.pki(v3_body())) == "Confirmed"
    assert keystone.certificates_shown == 4


def test_strangers_tokens_do_not_make_us_fetch_again_and_again(
    make, application, keystone, clock, next_holder
):
    app = make()
    assert status_of(app, application, keystone.pki(v3_body())) == "Confirmed"
    clock.now += signing_certificates.RENEWAL_INTERVAL_S
    for number in range(5):
        body = json.dumps(v3_body(audit_ids=[str(number)])).encode()
        token = signed_tokens.pki_text(cms.sign(body, next_holder.certificate, next_holder.key))
        assert status_of(app, application, token) == "Invalid"
    assert keystone.certificates_shown == 4


def test_certificate_of_another_authority_is_not_taken(make, keystone, tmp_path, caplog):
    other = openssl.issue(tmp_path, "other", ca=True)
    keystone.certificates["ca"] = other.pem
    keystone.revoked = 404
    assert ask(make(), keystone.pki(v3_body())).status == 200  # asked online, where nobody knows it
    assert "signing certificate is no good: the CA did not issue it" in caplog.text


def test_signing_dir_saves_a_restart_from_asking(make, application, keystone, clock, tmp_path):
    folder = tmp_path / "signing"
    token = keystone.pki(v3_body())
    assert status_of(make(signing_dir=str(folder)), application, token) == "Confirmed"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {each.name for each in folder.iterdir()} == {"signing_cert.pem", "cacert.pem", "revoked.pem"}
    keystone.stop()
    assert status_of(make(signing_dir=str(folder)), application, token) == "Confirmed"
    clock.now += 10 * revocation_list.MAX_AGE_FACTOR + 1
    assert ask(make(signing_dir=str(folder)), token).status == 503


@pytest.mark.parametrize("name", ["signing_cert.pem", "cacert.pem", "revoked.pem"])
@pytest.mark.parametrize("content", [b"", b"rubbish"])
def test_damaged_file_is_fetched_again(make, application, keystone, tmp_path, name, content):
    folder = tmp_path / "signing"
    token = keystone.pki(v3_body())
    assert status_of(make(signing_dir=str(folder)), application, token) == "Confirmed"
    (folder / name).write_bytes(content)
    assert status_of(make(signing_dir=str(folder)), application, token) == "Confirmed"
    assert (folder / name).read_bytes().startswith(b"-----BEGIN")


def test_signing_dir_is_closed_to_others(make, tmp_path, caplog):
    folder = tmp_path / "signing"
    folder.mkdir(mode=0o755)
    make(signing_dir=str(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "open to others" in caplog.text


def test_signing_dir_of_somebody_else_is_refused(make, tmp_path):
    folder = tmp_path / "signing"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(ConfigError, match=r"signing_dir: .*belongs to somebody else"):
        make(signing_dir=str(folder))


def test_signing_dir_that_cannot_be_made_is_refused(make, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="signing_dir"):
        make(signing_dir=str(tmp_path / "file" / "signing"))


# --- revocation -----------------------------------------------------------------------------------


def test_revoked_token_is_refused(make, application, keystone, caplog):
    caplog.set_level(logging.INFO)
    token = keystone.pki(v3_body())
    keystone.revoke(token)
    assert status_of(make(), application, token) == "Invalid"
    assert "token refused: it is revoked" in caplog.text


def test_other_text_of_a_revoked_token_is_refused(make, application, keystone):
    """The list has the hash of one text; whoever holds the token can write others with the same signature."""
    token = keystone.pki(v3_body(audit_ids=["own", "parent"]))
    keystone.revoke(token, audit_id="own")
    der = signed_tokens.message_of(token)
    again = signed_tokens.pkiz_text(der)
    squeezed = "PKIZ_" + base64.urlsafe_b64encode(zlib.compress(der, 1)).decode()
    app = make()
    assert [status_of(app, application, each) for each in (token, again, squeezed)] == ["Invalid"] * 3
    keystone.revoked_entries[0].pop("audit_id")  # as Keystone's first lists were
    app = make()
    assert [status_of(app, application, each) for each in (token, again, squeezed)] == ["Invalid"] * 3


def test_token_of_a_revoked_one_is_not_revoked_by_its_parents_id(make, application, keystone):
    token = keystone.pki(v3_body(audit_ids=["own", "parent"]))
    keystone.revoked_entries.append({"id": "x", "audit_id": "parent"})
    assert status_of(make(), application, token) == "Confirmed"


def test_list_by_another_hash(make, application, keystone):
    token = keystone.pki(v3_body())
    keystone.revoked_entries.append({"id": signed_tokens.short_id(token, "sha256")})
    assert status_of(make(hash_algorithms="md5, sha256"), application, token) == "Invalid"
    assert status_of(make(), application, token) == "Confirmed"


def test_list_is_fetched_in_the_background_when_it_is_due(make, application, keystone, clock, background):
    app = make()
    first, second = (keystone.pki(v3_body(audit_ids=[name])) for name in "ab")
    assert status_of(app, application, first) == "Confirmed"
    keystone.revoke(second)
    clock.now += 11
    assert status_of(app, application, second) == "Confirmed"  # the old list serves a little longer
    assert (background.run(), keystone.lists_shown) == (1, 2)
    third = keystone.pki(v3_body(audit_ids=["c"]))
    keystone.revoke(third)
    clock.now += 10 * revocation_list.MAX_AGE_FACTOR + 1
    assert status_of(app, application, third) == "Invalid"  # too old: fetched before the answer
    assert keystone.lists_shown == 3


def test_cached_answer_outlives_the_revocation_unless_it_is_checked(
    make, application, keystone, clock, background
):
    plain, checking = make(), make(check_revocations_for_cached="true")
    token = keystone.pki(v3_body())
    assert [status_of(app, application, token) for app in (plain, checking)] == ["Confirmed"] * 2
    keystone.revoke(token)
    clock.now += 11
    assert [status_of(app, application, token) for app in (plain, checking)] == ["Confirmed"] * 2
    background.run()
    assert [status_of(app, application, token) for app in (plain, checking)] == ["Confirmed", "Invalid"]
    clock.now += 300
    assert status_of(plain, application, token) == "Invalid"


def test_revocation_reaches_what_others_cached(make, application, keystone, clock, background):
    memcache = Memcache()
    options = {"cache": "swift.cache", "check_revocations_for_cached": "true"}
    token = keystone.pki(v3_body())
    for _ in range(2):  # the second finds the first one's answer
        app = make(**options)
        assert status_of(app, application, token, environ={"swift.cache": memcache}) == "Confirmed"
    keystone.revoke(token)
    clock.now += 11
    app = make(**options)
    status_of(app, application, keystone.pki(v3_body(audit_ids=["x"])))
    assert status_of(app, application, token, environ={"swift.cache": memcache}) == "Invalid"
    assert [json.loads(json.loads(each)) for each in memcache.values()] == ["invalid"]


def test_opaque_tokens_are_checked_too_where_cached_ones_are(make, application, keystone, clock, background):
    keystone.tokens["opaque"] = v3_body(audit_ids=["a1"])
    app = make(check_revocations_for_cached="true")
    assert status_of(app, application, "opaque") == "Confirmed"
    background.run()
    keystone.revoked_entries.append({"id": "unknown", "audit_id": "a1"})
    clock.now += 11
    status_of(app, application, "opaque")
    background.run()
    assert status_of(app, application, "opaque") == "Invalid"


@pytest.mark.parametrize("answer", [403, 404, 410])
def test_keystone_without_a_list_is_asked_about_each_token(make, application, keystone, caplog, answer):
    keystone.revoked = answer
    token = keystone.pki(v3_body())
    keystone.tokens[token] = v3_body()
    assert status_of(make(), application, token) == "Confirmed"
    assert keystone.validations == 1
    assert f"shows no list of revoked tokens: {answer}" in caplog.text


def test_keystone_without_certificates_is_asked_about_each_token(make, application, keystone):
    keystone.certificates = {}
    token = keystone.pki(v3_body())
    keystone.tokens[token] = v3_body()
    assert status_of(make(), application, token) == "Confirmed"
    assert keystone.validations == 1


@pytest.mark.parametrize(
    "made",
    [
        lambda keystone: "",
        lambda keystone: "-----BEGIN CMS-----\nMII=\n-----END CMS-----\n",
        lambda keystone: cms.to_pem(keystone.sign(v3_body())),
        lambda keystone: cms.to_pem(keystone.sign(b"{")),
        lambda keystone: cms.to_pem(keystone.sign({"revoked": ["x"]})),
        lambda keystone: cms.to_pem(keystone.sign([])),
    ],
)
def test_list_that_is_none_is_not_believed(make, application, keystone, made, caplog):
    keystone.revoked = lambda: made(keystone)
    token = keystone.pki(v3_body())
    assert ask(make(), token).status == 200
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Invalid"  # asked online, where nobody knows it
    assert "list of revoked tokens is no good" in caplog.text


def test_keystone_that_is_down(make, application, keystone, clock, background):
    app = make(check_revocations_for_cached="true", token_cache_time="300")
    known, new = keystone.pki(v3_body()), keystone.pki(v3_body(audit_ids=["new"]))
    assert status_of(app, application, known) == "Confirmed"
    keystone.stop()
    assert status_of(app, application, new) == "Confirmed"  # by what is known, which is not too old
    clock.now += 10 * revocation_list.MAX_AGE_FACTOR + 1
    assert ask(app, keystone.pki(v3_body(audit_ids=["newer"]))).status == 503
    assert status_of(app, application, known) == "Confirmed"  # cached
    background.run()
    assert status_of(app, application, known) == "Confirmed"
