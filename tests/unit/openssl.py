"""Certificates for tests, and the openssl command's word on signed messages."""

from __future__ import annotations

import datetime
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from miniswift import cms

PEM = serialization.Encoding.PEM


def make_key():
    return rsa.generate_private_key(65537, 2048)


def make_elliptic_key():
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Holder:
    """A key and its certificate, as files too."""

    key: object
    certificate: x509.Certificate
    folder: Path

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    @property
    def certificate_file(self) -> str:
        return self._file("certificate.pem", self.pem)

    @property
    def key_file(self) -> str:
        form = serialization.PrivateFormat.PKCS8
        return self._file("key.pem", self.key.private_bytes(PEM, form, serialization.NoEncryption()))

    def _file(self, name: str, content: bytes) -> str:
        self.folder.mkdir(exist_ok=True)
        path = self.folder / name
        path.write_bytes(content)
        return str(path)


def issue(folder, name, issuer=None, *, ca=False, extensions=(), key=None, days=(-1, 100)) -> Holder:
    """A certificate for `name`, by `issuer` or by its own word."""
    key = key or make_key()
    subject = _name(name)
    today = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder(subject_name=subject, public_key=key.public_key())
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .serial_number(x509.random_serial_number())
        .not_valid_before(today + datetime.timedelta(days=days[0]))
        .not_valid_after(today + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Holder(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()), Path(folder) / name)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COUNTRY_NAME, "US"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def sign(content: bytes, *holders: Holder, options=("-nocerts", "-noattr")) -> bytes:
    """The DER of what openssl makes of `content`."""
    command = ["openssl", "cms", "-sign", "-outform", "PEM", "-nosmimecap", "-nodetach", *options]
    for holder in holders:
        command += ["-signer", holder.certificate_file, "-inkey", holder.key_file]
    made = subprocess.run(command, input=content, capture_output=True, check=True)
    return cms.from_pem(made.stdout)


def verify(der: bytes, signer: Holder, authority: Holder) -> bytes | None:
    """What openssl says was signed; None when it does not believe it."""
    command = [
        "openssl",
        "cms",
        "-verify",
        "-inform",
        "PEM",
        "-nosmimecap",
        "-nocerts",
        "-noattr",
        "-nointern",
    ]
    command += ["-certfile", signer.certificate_file, "-CAfile", authority.certificate_file]
    verdict = subprocess.run(command, input=cms.to_pem(der).encode(), capture_output=True, check=False)
    return verdict.stdout if verdict.returncode == 0 else None
