"""Signed messages: what we make openssl believes, and what we believe openssl does."""

from __future__ import annotations

import json
import random
import time

import pytest
from cryptography import x509
from hypothesis import example, given
from hypothesis import strategies as st

from miniswift import cms
from tests.unit import openssl

CONTENT = json.dumps({"access": {"token": {"id": "placeholder"}, "user": {"name": "tester"}}}).encode()

# Object identifiers that stand in a message, as DER: plain data, the digests, and RSA.
_IDENTIFIERS = {
    "id-data": bytes.fromhex("06092a864886f70d010701"),
    "sha256": bytes.fromhex("0609608648016503040201"),
    "rsaEncryption": bytes.fromhex("06092a864886f70d010101"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder):
    return openssl.issue(folder, "authority", ca=True)


@pytest.fixture(scope="module")
def holder(folder, authority):
    return openssl.issue(folder, "signing", authority)


@pytest.fixture(scope="module")
def stranger(folder, authority):
    """Somebody else with a certificate of the same authority."""
    return openssl.issue(folder, "stranger", authority)


@pytest.fixture(scope="module")
def signer(holder, authority):
    return cms.Signer.of_pem(holder.pem, authority.pem)


def read(signer, der):
    """What our reader says was signed; None when it does not believe it."""
    try:
        return signer.read(der)
    except cms.CMSError:
        return None


def test_openssl_believes_what_we_sign(holder, authority):
    der = cms.sign(CONTENT, holder.certificate, holder.key)
    assert openssl.verify(der, holder, authority) == CONTENT


def test_what_we_sign_has_neither_certificates_nor_attributes(holder, signer):
    der = cms.sign(CONTENT, holder.certificate, holder.key)
    assert signer.read(der) == CONTENT
    assert len(der) < len(CONTENT) + 450  # a certificate alone has 700


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize(
    "more", [(), ("-noattr",), ("-keyid",), ("-noattr", "-keyid", "-nocerts"), ("-nocerts",)]
)
def test_what_openssl_signs_is_believed(signer, holder, authority, digest, more):
    der = openssl.sign(CONTENT, holder, options=("-md", digest, *more))
    assert signer.read(der) == openssl.verify(der, holder, authority) == CONTENT


def test_two_signatures_are_good_only_if_both_are(signer, holder, stranger, authority):
    der = openssl.sign(CONTENT, holder, stranger)
    assert openssl.verify(der, holder, authority) is None
    with pytest.raises(cms.UnknownSigner):
        signer.read(der)


def test_certificate_in_a_message_counts_for_nothing(signer, stranger, holder, authority):
    der = openssl.sign(CONTENT, stranger, options=("-noattr",))  # brings its own, of our authority
    assert openssl.verify(der, holder, authority) is None
    with pytest.raises(cms.UnknownSigner):
        signer.read(der)


def test_same_name_and_number_with_another_key(signer, folder, authority, holder):
    forger = openssl.Holder(openssl.make_key(), holder.certificate, folder / "forger")
    der = cms.sign(CONTENT, holder.certificate, forger.key)
    assert openssl.verify(der, holder, authority) is None
    with pytest.raises(cms.CMSError, match="signature is not good"):
        signer.read(der)


@pytest.mark.parametrize(
    "options", [("-nocerts", "-noattr"), ("-nocerts",), ("-nocerts", "-noattr", "-keyid")]
)
def test_verdict_on_tampered_messages_is_openssls(signer, holder, authority, options):
    """A bit of each third byte. Where OpenSSL goes on although a name or a tag makes no sense, we do not."""
    der = openssl.sign(CONTENT, holder, options=options)
    names = _positions_of_names(der)
    dice = random.Random(len(options))
    accepted = 0
    for position in range(0, len(der), 3):
        bit = dice.randrange(8)
        tampered = bytearray(der)
        tampered[position] ^= 1 << bit
        ours, theirs = read(signer, bytes(tampered)), openssl.verify(bytes(tampered), holder, authority)
        is_name_or_form = position in names or (bit == 5 and der[position] in b"\x30\x31\xa0")
        assert ours == theirs or (is_name_or_form and ours is None), f"bit {bit} of byte {position}"
        accepted += ours is not None
    assert accepted < len(der) / 10  # version numbers and the like, which nobody signs


@pytest.mark.parametrize("options", [("-nocerts", "-noattr"), ("-nocerts",)])
def test_verdict_on_cut_lengthened_and_spliced_messages_is_openssls(signer, holder, authority, options):
    der = openssl.sign(CONTENT, holder, options=options)
    other = openssl.sign(CONTENT.replace(b"tester", b"admins"), holder, options=options)
    messages = [der[:length] for length in range(0, len(der), 29)]
    messages += [der + b"\0", der + der, b"\0" + der, der[:-256] + other[-256:], other[:-256] + der[-256:]]
    messages += [der.replace(b"tester", b"admins"), b"", b"\x30", b"\x30\x80" * 50]
    for message in messages:
        assert read(signer, message) == openssl.verify(message, holder, authority), message.hex()


def _positions_of_names(der: bytes) -> set[int]:
    """Where identifiers stand, and the form of what comes behind each."""
    positions: set[int] = set()
    for name in _IDENTIFIERS.values():
        start = der.find(name)
        while start >= 0:
            positions.update(range(start + 2, start + len(name) + 1))
            start = der.find(name, start + 1)
    return positions


@given(data=st.binary(max_size=600))
@example(data=b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80" + b"\x30\x80" * 300)
@example(data=b"\x30\x84\xff\xff\xff\xff")
def test_any_bytes_are_read_without_a_crash(signer, data):
    assert read(signer, data) is None


@given(data=st.data())
def test_any_mutation_is_read_without_a_crash(signer, holder, data):
    der = bytearray(cms.sign(CONTENT, holder.certificate, holder.key))
    for _ in range(data.draw(st.integers(1, 8))):
        position = data.draw(st.integers(0, len(der) - 1))
        der[position : position + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    assert read(signer, bytes(der)) in (None, CONTENT)


# --- text ------------------------------------------------------------------------------------------


@given(der=st.binary(min_size=1, max_size=300))
def test_text_form_comes_back_the_same(der):
    assert cms.from_pem(cms.to_pem(der).encode()) == der


@pytest.mark.parametrize(
    "text", [b"", b"MII", b"-----BEGIN CMS-----\nA\n-----END CMS-----", b"-----BEGIN CMS-----"]
)
def test_text_that_has_no_message_is_refused(text):
    with pytest.raises(cms.CMSError):
        cms.from_pem(text)


# --- certificates ----------------------------------------------------------------------------------

USAGE = dict.fromkeys(
    (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ),
    False,
)  # fmt: skip


def verdicts(holder, authority, trusted=None):
    """(ours, openssl's) on whether messages of `holder` can be believed."""
    der = openssl.sign(CONTENT, holder)
    try:
        signer = cms.Signer.of_pem(holder.pem, (trusted or authority).pem)
        ours = signer.is_valid_at(time.time()) and signer.read(der) == CONTENT
    except cms.CertificateError:
        ours = False
    return ours, openssl.verify(der, holder, trusted or authority) == CONTENT


@pytest.mark.parametrize(
    ("extensions", "is_good"),
    [
        ([], True),
        ([x509.KeyUsage(**USAGE | {"digital_signature": True})], True),
        ([x509.KeyUsage(**USAGE | {"content_commitment": True})], True),
        ([x509.KeyUsage(**USAGE | {"key_encipherment": True})], False),
        ([x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])], True),
        ([x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])], False),
    ],
)
def test_certificates_purpose(folder, authority, extensions, is_good):
    holder = openssl.issue(folder, "purpose", authority, extensions=extensions)
    assert verdicts(holder, authority) == (is_good, is_good)


@pytest.mark.parametrize("days", [(-10, -1), (1, 10)])
def test_certificates_validity(folder, authority, days):
    assert verdicts(openssl.issue(folder, "old", authority, days=days), authority) == (False, False)


def test_certificate_of_another_authority(folder, holder, authority):
    other = openssl.issue(folder, "other", ca=True)
    assert verdicts(holder, authority, trusted=other) == (False, False)


def test_certificate_by_an_authority_of_the_same_name(folder, holder, authority):
    impostor = openssl.issue(folder, "impostor", ca=True)
    impostor.certificate = openssl.issue(folder, "authority", ca=True, key=impostor.key).certificate
    assert verdicts(holder, authority, trusted=impostor) == (False, False)


def test_issuer_that_is_no_authority(folder, authority, holder):
    below = openssl.issue(folder, "below", holder)
    bundle = openssl.Holder(None, holder.certificate, folder / "bundle")
    with pytest.raises(cms.CertificateError, match="is no CA"):
        cms.Signer.of_pem(below.pem, bundle.pem + authority.pem)


def test_chain_over_an_authority_between(folder, authority):
    between = openssl.issue(folder, "between", authority, ca=True)
    holder = openssl.issue(folder, "leaf", between)
    signer = cms.Signer.of_pem(holder.pem, between.pem + authority.pem)
    assert signer.read(openssl.sign(CONTENT, holder)) == CONTENT
    with pytest.raises(cms.CertificateError, match="did not issue it"):
        cms.Signer.of_pem(holder.pem, between.pem)


def test_certificate_that_vouches_for_itself(folder, authority):
    with pytest.raises(cms.CertificateError, match="vouches for itself"):
        cms.Signer.of_pem(openssl.issue(folder, "self").pem, authority.pem)


def test_key_that_is_not_rsa(folder, authority):
    holder = openssl.issue(folder, "curve", authority, key=openssl.make_elliptic_key())
    with pytest.raises(cms.CertificateError, match="not RSA"):
        cms.Signer.of_pem(holder.pem, authority.pem)


@pytest.mark.parametrize(
    "pem", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_file_that_is_no_certificate(pem, authority):
    with pytest.raises(cms.CertificateError, match="not a certificate"):
        cms.Signer.of_pem(pem, authority.pem)
