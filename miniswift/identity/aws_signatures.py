"""Signatures of Amazon's kind, by which clients prove that they know a secret without sending it.

    S3 tokens    what was signed comes whole: base64(HMAC-SHA1), or version 4's four lines and a hex HMAC
    EC2 tokens   the parts of a request come, and what they were signed as is put together here:
                 versions 0, 1 and 2 by their parameters, version 4 by headers or parameters

1. Signatures are compared in a time that tells nothing.
2. Nothing a client sends raises anything but DocumentError.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from miniswift.identity.documents import Document, DocumentError

MAX_AGE_S = 900  # of an EC2 request

_S3_SERVICES = ("s3", "iam", "sts")
_V4 = "AWS4-HMAC-SHA256"
_TIME_FORMATS = ("%Y-%m-%dT%H:%M:%SZ", "%Y%m%dT%H%M%SZ", "%Y-%m-%dT%H:%M:%S.%fZ")


def is_s3_signature(credentials: Document, secret: str) -> bool:
    """Whether `signature` is that of `token` (URL-safe Base64 of what was signed)."""
    try:
        signed = base64.urlsafe_b64decode(credentials.text("token"))
    except (binascii.Error, ValueError):
        raise DocumentError(f"{credentials.at('token')} must be Base64") from None
    given = credentials.text("signature")
    if not signed.startswith(b"AWS4"):
        return _same(_base64_hmac(secret, signed, "sha1"), given)
    lines = signed.decode("utf-8", "replace").split("\n")
    scope = lines[2].split("/") if len(lines) == 4 else []
    if len(scope) != 4 or scope[2] not in _S3_SERVICES:
        return False
    return _same(hmac.digest(_v4_key(secret, *scope[:3]), signed, "sha256").hex(), given)


def is_ec2_signature(credentials: Document, secret: str, now: float) -> bool:
    """Whether `signature` is that of the request described, and not older than MAX_AGE_S."""
    request = _Ec2Request.of(credentials)
    made = _sign_v4 if request.is_v4 else _SIGNERS.get(request.params.get("SignatureVersion", ""))
    if made is None or not _is_recent(request, now):
        return False
    given = credentials.text("signature")
    # Some clients sign the host without its port.
    hosts = dict.fromkeys([request.host, request.host.partition(":")[0]])
    return any(_same(made(request.with_host(host), secret), given) for host in hosts)


@dataclass(frozen=True)
class _Ec2Request:
    """A request's parts, as an EC2 server got them."""

    verb: str
    host: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body_hash: str

    @classmethod
    def of(cls, document: Document) -> _Ec2Request:
        params, headers = document.get_object("params"), document.get_object("headers")
        return cls(
            verb=document.get_text("verb"),
            host=document.get_text("host"),
            path=document.get_text("path"),
            params={name: params.text(name) for name in params.names()},
            headers={name.lower(): headers.text(name) for name in headers.names()},
            body_hash=document.get_text("body_hash"),
        )

    def with_host(self, host: str) -> _Ec2Request:
        headers = {**self.headers, "host": host} if "host" in self.headers else self.headers
        return _Ec2Request(self.verb, host, self.path, self.params, headers, self.body_hash)

    @property
    def authorization(self) -> dict[str, str]:
        """The parts of version 4's Authorization header."""
        fields = self.headers.get("authorization", "").removeprefix(_V4).split(",")
        pairs = (field.strip().partition("=") for field in fields)
        return {name: value for name, _, value in pairs}

    @property
    def is_v4(self) -> bool:
        is_header = self.headers.get("authorization", "").startswith(_V4)
        return is_header or self.params.get("X-Amz-Algorithm") == _V4

    @property
    def timestamp(self) -> str:
        places = (self.params.get("Timestamp"), self.params.get("X-Amz-Date"), self.headers.get("x-amz-date"))
        return next(filter(None, places), "")


def _sign_v0(request: _Ec2Request, secret: str) -> str:
    signed = request.params.get("Action", "") + request.params.get("Timestamp", "")
    return _base64_hmac(secret, signed.encode(), "sha1")


def _sign_v1(request: _Ec2Request, secret: str) -> str:
    ordered = sorted(request.params.items(), key=lambda item: item[0].lower())
    return _base64_hmac(secret, "".join(name + value for name, value in ordered).encode(), "sha1")


def _sign_v2(request: _Ec2Request, secret: str) -> str:
    signed = f"{request.verb}\n{request.host}\n{request.path}\n{_canonical(request.params)}"
    digest = "sha1" if request.params.get("SignatureMethod") == "HmacSHA1" else "sha256"
    return _base64_hmac(secret, signed.encode(), digest)


def _sign_v4(request: _Ec2Request, secret: str) -> str:
    header = request.authorization
    params = {name: value for name, value in request.params.items() if name != "X-Amz-Signature"}
    credential = request.params.get("X-Amz-Credential") or header.get("Credential", "")
    names = request.params.get("X-Amz-SignedHeaders") or header.get("SignedHeaders", "")
    scope = credential.split("/")[1:]
    if len(scope) != 4:
        return ""
    headers = "".join(f"{name}:{request.headers.get(name, '').strip()}\n" for name in names.split(";"))
    canonical = [request.verb, request.path, _canonical(params), headers, names, request.body_hash]
    hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    signed = "\n".join([_V4, request.timestamp, "/".join(scope), hashed])
    return hmac.digest(_v4_key(secret, *scope[:3]), signed.encode(), "sha256").hex()


_SIGNERS: dict[str, Callable[[_Ec2Request, str], str]] = {"0": _sign_v0, "1": _sign_v1, "2": _sign_v2}


def _is_recent(request: _Ec2Request, now: float) -> bool:
    for form in _TIME_FORMATS:
        try:
            made = datetime.datetime.strptime(request.timestamp, form)
        except ValueError:
            continue
        return abs(made.replace(tzinfo=datetime.timezone.utc).timestamp() - now) <= MAX_AGE_S
    return False


def _canonical(params: dict[str, str]) -> str:
    return "&".join(
        f"{quote(name, safe='-_~.')}={quote(params[name], safe='-_~.')}" for name in sorted(params)
    )


def _v4_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _base64_hmac(secret: str, message: bytes, digest: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), message, digest)).decode()


def _same(one: str, other: str) -> bool:
    return bool(one) and hmac.compare_digest(one.encode(), other.encode())
