"""Keys and signatures of temporary access: what `tempurl` and `formpost` share.

An account or a container has up to two keys, so that one can be replaced while what the other signed
is still in use: X-{Account,Container}-Meta-Temp-URL-Key and …-Key-2. A signature is an HMAC in
hexadecimal digits, whose number tells the hash, or `<hash>:<Base64>`, either alphabet.

1. A container's key opens that container, an account's key that account, and nothing else.
2. Signatures are compared in a time that tells nothing.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
import hmac
import logging
from collections.abc import Callable, Iterable
from typing import Any

from miniswift import info
from miniswift.config import Settings, option, spaced_words
from miniswift.responses import Environ, HTTPError
from miniswift.wsgi import WSGIApp, split_path

logger = logging.getLogger(__name__)

SUPPORTED_DIGESTS = ("sha1", "sha256", "sha512")
DEPRECATED_DIGESTS = ("sha1",)
_DIGEST_OF_LENGTH = {40: "sha1", 64: "sha256", 128: "sha512"}  # by hexadecimal digits

_KEY_NAMES = ("temp-url-key", "temp-url-key-2")


def digests(value: str) -> tuple[str, ...]:
    """The known ones of a list of hashes; for option tables. Raises ValueError if none is known."""
    wanted = [word.lower() for word in spaced_words(value)] or list(SUPPORTED_DIGESTS)
    unknown = [word for word in wanted if word not in SUPPORTED_DIGESTS]
    if unknown:
        logger.warning("allowed_digests: not supported, and left out: %s", ", ".join(unknown))
    known = tuple(sorted(set(wanted).difference(unknown)))
    if not known:
        raise ValueError(f"expected some of {', '.join(SUPPORTED_DIGESTS)}")
    return known


@dataclasses.dataclass(frozen=True)
class DigestSettings(Settings):
    allowed_digests: tuple[str, ...] = option(digests, "sha1 sha256 sha512", "hashes a signature may use")

    def as_info(self) -> dict[str, Any]:
        """How /info tells of them."""
        deprecated = [name for name in self.allowed_digests if name in DEPRECATED_DIGESTS]
        shown: dict[str, Any] = {"allowed_digests": list(self.allowed_digests)}
        return shown | {"deprecated_digests": deprecated} if deprecated else shown


class Scope(enum.Enum):
    """What a key opens."""

    ACCOUNT = "account"
    CONTAINER = "container"


@dataclasses.dataclass(frozen=True)
class Key:
    secret: bytes = dataclasses.field(repr=False)
    scope: Scope


def keys_of(environ: Environ, app: WSGIApp, source: str) -> list[Key]:
    """The keys of the account and the container in the request's path."""
    metas = (
        (Scope.ACCOUNT, info.get_account_info(environ, app, source)["meta"]),
        (Scope.CONTAINER, info.get_container_info(environ, app, source)["meta"]),
    )
    return [
        Key(meta[name].encode("utf-8", "surrogateescape"), scope)
        for scope, meta in metas
        for name in _KEY_NAMES
        if meta.get(name)
    ]


@dataclasses.dataclass(frozen=True)
class Signature:
    """A signature as a client gave it."""

    digest: str  # of SUPPORTED_DIGESTS, or anything that the client calls so
    value: bytes = dataclasses.field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Raises ValueError with the reason."""
        digest, colon, encoded = text.partition(":")
        try:
            if colon:
                standard = encoded.replace("-", "+").replace("_", "/").rstrip("=")
                return cls(digest, base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True))
            return cls(_DIGEST_OF_LENGTH.get(len(text), ""), binascii.unhexlify(text))
        except (ValueError, UnicodeError):
            raise ValueError("the signature is neither hexadecimal nor hash:Base64") from None

    def signer(self, keys: Iterable[Key], messages: Iterable[bytes]) -> Key | None:
        """The key with which one of the messages was signed."""
        candidates = list(messages)
        for key in keys:
            for message in candidates:
                if hmac.compare_digest(hmac.digest(key.secret, message, self.digest), self.value):
                    return key
        return None


def authorize_within(scope: Scope, account: str, container: str) -> Callable[[Any], HTTPError | None]:
    """An authorize callable that allows everything in one account or container; names are WSGI strings."""

    def authorize(request: Any) -> HTTPError | None:
        try:
            _, asked_account, asked_container, _ = split_path(request.environ["PATH_INFO"], 2, 4, True)
        except ValueError:
            return HTTPError(401)
        if asked_account == account and (scope is Scope.ACCOUNT or asked_container == container):
            return None
        logger.info("temporary access refused: the key is of another %s", scope.value)
        return HTTPError(401)

    return authorize
