"""Signed tokens: the text of a PKI or PKIZ token, and the ids by which others know it.

    PKI    the message's Base64, `/` written as `-`; begins with MII as every long DER sequence does
    PKIZ   PKIZ_ and the URL-safe Base64 of the compressed message

Ids stand in lists of revoked tokens and in URLs, where thousands of characters are no use: an id is the
hash of the text, in hexadecimal digits.

1. A message has one PKI text; text that only decodes to the same, or to more, is refused. (What compresses
   to the same cannot be told apart, so a PKIZ token has the id of its PKI text as well.)

Not here: what a signature is worth (cms).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterable

from miniswift import cms

PKI_START = "MII"
PKIZ_START = "PKIZ_"

_MAX_MESSAGE = 1 << 20  # bytes: no header holds a token this long, unless it was made to blow up


def pki_text(der: bytes) -> str:
    return base64.b64encode(der).decode().replace("/", "-")


def pkiz_text(der: bytes) -> str:
    return PKIZ_START + base64.urlsafe_b64encode(zlib.compress(cms.to_pem(der).encode(), 6)).decode()


def message_of(text: str) -> bytes:
    """The DER of the message that is a token's text. Raises CMSError."""
    try:
        if text.startswith(PKIZ_START):
            der = _inflated(base64.b64decode(text[len(PKIZ_START) :].encode(), b"-_", validate=True))
        else:
            der = base64.b64decode(text.replace("-", "/").encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise cms.CMSError("its Base64 is broken") from None
    is_compressed = text.startswith(PKIZ_START)
    if cms.length_of(der) != len(der) or not (is_compressed or pki_text(der) == text):
        raise cms.CMSError("its text is not the one that was issued")
    return der


def _inflated(compressed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(compressed, _MAX_MESSAGE)
    except zlib.error:
        raise cms.CMSError("it cannot be decompressed") from None
    if not inflater.eof or inflater.unused_data:
        raise cms.CMSError("it is cut off, or too long")
    return cms.from_pem(content) if content.startswith(b"-----") else content


def token_ids(text: str, algorithms: Iterable[str]) -> list[str]:
    """The ids of a token of any form; an opaque one is its own."""
    texts = [text]
    if text.startswith(PKIZ_START):
        texts.append(pki_text(message_of(text)))
    elif not text.startswith(PKI_START):
        return [text]
    return [short_id(each, algorithm) for each in texts for algorithm in algorithms]


def short_id(text: str, algorithm: str) -> str:
    return hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()


def hash_algorithm(value: str) -> str:
    """The name of a hash that ids are made with; for option tables. Raises ValueError."""
    name = value.strip().lower()
    if name not in hashlib.algorithms_available or name.startswith("shake"):
        raise ValueError("expected a hash such as md5 or sha256")
    return name


def hash_algorithms(value: str) -> tuple[str, ...]:
    """A list of them, separated by commas."""
    return tuple(hash_algorithm(name) for name in value.split(",") if name.strip())
