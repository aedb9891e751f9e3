"""Signing keys: the certificate authority of this service, and the certificate it signs tokens with.

    FOLDER/cacert.pem        the authority, which others are told (`cakey.pem`: its key)
    FOLDER/signing_cert.pem  what it says of the signing key, `signing_key.pem`

1. What exists is used as it is: a deployment may put files of its own there.
2. What is missing is made, by one process at a time; keys belong to their owner alone (0600, folder 0700).
3. A certificate that ends within a month is replaced at the next start, signed by the same authority.

Not here: how a message is signed (cms).
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from miniswift import cms
from miniswift.errors import ConfigError

_KEY_BITS = 2048
_VALID_DAYS = 3650
_RENEW_DAYS = 30
_PEM = serialization.Encoding.PEM

_USAGE = dict.fromkeys(
    (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ),
    False,
)  # fmt: skip


@dataclass(frozen=True)
class SigningKeys:
    """What signs, and what others need to check it."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    certificate_pem: bytes
    authority_pem: bytes

    @classmethod
    def of_folder(cls, folder: str, clock: Callable[[], float] = time.time) -> SigningKeys:
        """Read the keys, and make what is missing. Raises ConfigError."""
        files = _Files(Path(folder))
        try:
            with files.locked():
                return _load(files, clock())
        except OSError as error:
            raise ConfigError(error.strerror or str(error), file=folder) from None

    def sign(self, content: bytes) -> bytes:
        """The DER of a signed message."""
        return cms.sign(content, self.certificate, self.key)


class _Files:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = folder / "cacert.pem"
        self.authority_key = folder / "cakey.pem"
        self.certificate = folder / "signing_cert.pem"
        self.key = folder / "signing_key.pem"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def write(self, path: Path, content: bytes, mode: int) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _load(files: _Files, now: float) -> SigningKeys:
    if not files.authority.exists():
        _make_authority(files, now)
    if not files.certificate.exists() or _ends_soon(files.certificate, now):
        _make_certificate(files, now)
    authority_pem, certificate_pem = files.authority.read_bytes(), files.certificate.read_bytes()
    try:
        signer = cms.Signer.of_pem(certificate_pem, authority_pem)
    except cms.CertificateError as error:
        raise ConfigError(str(error), file=str(files.certificate)) from None
    key = _read_key(files.key)
    if key.public_key() != signer.certificate.public_key():
        raise ConfigError("the key is not the one in signing_cert.pem", file=str(files.key))
    return SigningKeys(signer.certificate, key, certificate_pem, authority_pem)


def _make_authority(files: _Files, now: float) -> None:
    key = _make_key(files, files.authority_key)
    name = _name("miniswift identity CA")
    usage = x509.KeyUsage(**_USAGE | {"key_cert_sign": True, "crl_sign": True})
    builder = _builder(name, name, key, now).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), True
    )
    certificate = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
    files.write(files.authority, certificate.public_bytes(_PEM), 0o644)


def _make_certificate(files: _Files, now: float) -> None:
    if not files.authority_key.exists():
        raise ConfigError(
            "missing or about to end, and there is no cakey.pem to make another with: put one there",
            file=str(files.certificate),
        )
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    issuer_key = _read_key(files.authority_key)
    key = _make_key(files, files.key)
    usage = x509.KeyUsage(**_USAGE | {"digital_signature": True, "content_commitment": True})
    builder = _builder(_name("miniswift identity token signing"), authority.subject, key, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    certificate = builder.add_extension(usage, critical=True).sign(issuer_key, hashes.SHA256())
    files.write(files.certificate, certificate.public_bytes(_PEM), 0o644)


def _builder(
    name: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, now: float
) -> x509.CertificateBuilder:
    today = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    return (
        x509.CertificateBuilder(subject_name=name, issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))  # for clocks that are behind ours
        .not_valid_after(today + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _make_key(files: _Files, path: Path) -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(65537, _KEY_BITS)
    form, open_ = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.write(path, key.private_bytes(_PEM, form, open_), 0o600)
    return key


def _read_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        raise ConfigError("not an unencrypted private key in PEM form", file=str(path)) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError("not an RSA key", file=str(path))
    return key


def _ends_soon(path: Path, now: float) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise ConfigError("not a certificate in PEM form", file=str(path)) from None
    return certificate.not_valid_after_utc.timestamp() < now + _RENEW_DAYS * 86400
