"""Signed messages: the CMS SignedData (RFC 5652) that PKI tokens and lists of revoked tokens are.

    sign(content, certificate, key)         → DER, like `openssl cms -sign -nodetach -nocerts -noattr`
    Signer.of_pem(certificate, authorities) → whom to believe; its `read(der)` gives what was signed

A verdict is OpenSSL's (`openssl cms -verify -nointern`) on the same message and certificates.

1. A certificate comes from the caller and never from the message.
2. Every signature on a message must be good, and there must be one.
3. Whatever the bytes are, reading them returns what was signed or raises CMSError.

Not here: what the content means, the text form of tokens (signed_tokens), what time it is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asn1crypto import algos, cms, core, parser
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from miniswift.errors import MiniswiftError

_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # of the tokens of 2012
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
# RFC 8017: what a PKCS #1 v1.5 signature may be called. OpenSSL takes any of them, whatever the digest.
_RSA_NAMES = frozenset(["rsassa_pkcs1v15", *(f"{name}_rsa" for name in ("md5", *_DIGESTS))])

_PEM = re.compile(
    rb"-----BEGIN (?P<label>CMS|PKCS7)-----\s(?P<body>[A-Za-z0-9+/=\s]*)-----END (?P=label)-----"
)
_LINE = 64  # characters, RFC 7468 2

# What asn1crypto raises for bytes that are not what they should be.
_MALFORMED = (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError)


class CMSError(MiniswiftError):
    """Raised when a message is not a good signed one. Says why."""


class UnknownSigner(CMSError):
    """Raised when a message is signed by somebody else than the certificate's holder."""


class CertificateError(MiniswiftError):
    """Raised when a certificate cannot be used. Says why."""


def sign(content: bytes, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> bytes:
    """The DER of a message with one signature right over the content, no attributes and no certificates."""
    holder = asn1_x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
    digest = algos.DigestAlgorithm({"algorithm": "sha256"})
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                "issuer_and_serial_number", {"issuer": holder.issuer, "serial_number": holder.serial_number}
            ),
            "digest_algorithm": digest,
            "signature_algorithm": {"algorithm": "rsassa_pkcs1v15", "parameters": core.Null()},
            "signature": key.sign(content, padding.PKCS1v15(), hashes.SHA256()),
        }
    )
    signed = {
        "version": "v1",
        "digest_algorithms": [digest],
        "encap_content_info": {"content_type": "data", "content": content},
        "signer_infos": [signer],
    }
    der: bytes = cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()
    return der


def to_pem(der: bytes) -> str:
    """The message as text, in lines (RFC 7468)."""
    body = base64.b64encode(der).decode()
    lines = [body[start : start + _LINE] for start in range(0, len(body), _LINE)]
    return "\n".join(["-----BEGIN CMS-----", *lines, "-----END CMS-----", ""])


def from_pem(text: bytes) -> bytes:
    """The DER in the first message of a text. Raises CMSError."""
    found = _PEM.search(text)
    if found is None:
        raise CMSError("there is no message in it")
    try:
        return base64.b64decode(b"".join(found["body"].split()), validate=True)
    except binascii.Error:
        raise CMSError("its Base64 is broken") from None


def length_of(der: bytes) -> int:
    """How many of the bytes are the message; more may follow. Raises CMSError."""
    try:
        length: int = parser.peek(der)
    except _MALFORMED as error:
        raise CMSError(f"it is malformed: {type(error).__name__}") from None
    return length


@dataclass(frozen=True)
class Signer:
    """Whose signature counts: the holder of a certificate that an authority of ours issued."""

    certificate: x509.Certificate
    valid_from: float  # Unix time, as of the whole chain
    valid_until: float

    @classmethod
    def of_pem(cls, certificate: bytes, authorities: bytes) -> Signer:
        """Check that the first certificate of one PEM text is issued by those of another.

        Raises CertificateError.
        """
        chain = _chain(_certificates(certificate)[0], _certificates(authorities))
        _check_purpose(chain[0])
        for authority in chain[1:]:
            _check_authority(authority)
        return cls(
            chain[0],
            max(each.not_valid_before_utc.timestamp() for each in chain),
            min(each.not_valid_after_utc.timestamp() for each in chain),
        )

    def is_valid_at(self, now: float) -> bool:
        return self.valid_from <= now <= self.valid_until

    def read(self, der: bytes) -> bytes:
        """What was signed. Raises CMSError, or UnknownSigner."""
        try:
            message = cms.ContentInfo.load(der)
            if message["content_type"].native != "signed_data":
                raise CMSError("it is no signed message")
            message.native  # noqa: B018 - parts that nobody asks for must be well-formed, too
            return self._content_of(message["content"])
        except _MALFORMED as error:
            raise CMSError(f"it is malformed: {type(error).__name__}") from None

    def _content_of(self, signed: Any) -> bytes:
        inner = signed["encap_content_info"]
        if inner["content_type"].native != "data":
            raise CMSError("what was signed is not plain data")
        if isinstance(inner["content"], core.Void):
            raise CMSError("what was signed is not in it")
        content = bytes(inner["content"])
        digests = {each["algorithm"].native for each in signed["digest_algorithms"]}
        signers = list(signed["signer_infos"])
        if not signers:
            raise CMSError("nobody signed it")
        for signer in signers:
            if not self._is(signer["sid"]):
                raise UnknownSigner("it is signed by somebody else")
            digest = signer["digest_algorithm"]["algorithm"].native
            if digest not in digests or digest not in _DIGESTS:
                raise CMSError(f"it is signed with the digest {digest}")
            self._check_signature(signer, digest, content)
        return content

    def _is(self, sid: Any) -> bool:
        """Whether a signer's identifier means the certificate's holder."""
        holder = self._holder
        if sid.name == "subject_key_identifier":
            return bool(sid.chosen.native == holder.key_identifier)
        issued = sid.chosen
        return bool(
            issued["serial_number"].native == holder.serial_number and issued["issuer"] == holder.issuer
        )

    def _check_signature(self, signer: Any, digest: str, content: bytes) -> None:
        if signer["signature_algorithm"]["algorithm"].native not in _RSA_NAMES:
            raise CMSError("its signature is of a kind not known here")
        if not isinstance(signer["signed_attrs"], core.Void):
            content = _checked_attributes(signer["signed_attrs"], digest, content)
        try:
            self._key.verify(signer["signature"].native, content, padding.PKCS1v15(), _DIGESTS[digest])
        except InvalidSignature:
            raise CMSError("its signature is not good") from None

    @property
    def _key(self) -> rsa.RSAPublicKey:
        key = self.certificate.public_key()
        assert isinstance(key, rsa.RSAPublicKey)  # _check_purpose
        return key

    @property
    def _holder(self) -> Any:
        return asn1_x509.Certificate.load(self.certificate.public_bytes(serialization.Encoding.DER))


def _checked_attributes(attributes: Any, digest: str, content: bytes) -> bytes:
    """What is signed if there are attributes (RFC 5652 5.4): their DER, as a plain SET."""
    found = {each["type"].native: each["values"] for each in attributes}
    if [each.native for each in found.get("content_type", ())] != ["data"]:
        raise CMSError("it is signed as something else")
    hasher = hashes.Hash(_DIGESTS[digest])
    hasher.update(content)
    if [each.native for each in found.get("message_digest", ())] != [hasher.finalize()]:
        raise CMSError("its content is not what was signed")
    return b"\x31" + bytes(attributes.dump())[1:]


# --- certificates ----------------------------------------------------------------------------------


def _certificates(pem: bytes) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise CertificateError("not a certificate in PEM form") from None


def _chain(leaf: x509.Certificate, authorities: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The certificates from `leaf` to one that vouches for itself."""
    chain = [leaf]
    while chain[-1].issuer != chain[-1].subject:
        issuer = next((each for each in authorities if _is_issued_by(chain[-1], each)), None)
        if issuer is None or issuer in chain:
            raise CertificateError("the CA did not issue it")
        chain.append(issuer)
    if chain[-1] not in authorities:
        raise CertificateError("it vouches for itself and is no CA of ours")
    return chain


def _is_issued_by(one: x509.Certificate, other: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(other)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check_purpose(certificate: x509.Certificate) -> None:
    """Whether its key may sign messages (RFC 5280 4.2.1.3 and 4.2.1.12), and we can check it."""
    if not isinstance(certificate.public_key(), rsa.RSAPublicKey):
        raise CertificateError("its key is not RSA")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise CertificateError("its key is not for signatures")
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    allowed = (ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if purposes is not None and not any(purpose in allowed for purpose in purposes):
        raise CertificateError("its key is not for signed messages")


def _check_authority(certificate: x509.Certificate) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and not constraints.ca:
        raise CertificateError("its issuer is no CA")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise CertificateError("its issuer may not issue certificates")


def _extension(certificate: x509.Certificate, kind: type[Any]) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except ValueError:
        raise CertificateError("it has a malformed extension") from None
