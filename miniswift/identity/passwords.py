"""Passwords: hashed with scrypt, in the text form that passlib (and so Keystone) writes.

`$scrypt$ln=14,r=8,p=1$<salt>$<hash>`: the cost parameters travel with each hash, so they can be raised
later and old hashes go on working. Salt and hash are base64 without padding.

1. A verification takes tens of milliseconds on purpose, and releases the interpreter lock meanwhile.
2. Two hashes of one password differ.

Not here: how often one may try (logins).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import string
from dataclasses import dataclass

from miniswift.process_limits import give_back_memory

_LOG2_COST = 14  # 2**14 rounds: about 50 ms and 16 MiB (128 * r * 2**ln bytes) on a machine of 2020
_BLOCK_SIZE = 8
_PARALLELISM = 1
_SALT_BYTES = 16
_HASH_BYTES = 32

# More than this a hash in a file is a mistake or an attack: a login must not take a gigabyte.
_MAX_MEMORY_BYTES = 256 << 20

_PREFIX = f"$scrypt$ln={{}},r={_BLOCK_SIZE},p={_PARALLELISM}$"
_FORM = re.compile(
    r"\$scrypt\$ln=(?P<ln>\d{1,2}),r=(?P<r>\d{1,2}),p=(?P<p>\d{1,2})"
    r"\$(?P<salt>[A-Za-z0-9+/]{2,88})\$(?P<hash>[A-Za-z0-9+/]{22,88})"
)


@dataclass(frozen=True)
class _Parsed:
    log2_cost: int
    block_size: int
    parallelism: int
    salt: bytes
    digest: bytes

    @property
    def memory_bytes(self) -> int:
        return 128 * self.block_size * ((1 << self.log2_cost) + self.parallelism)


def make_password() -> str:
    """A random password of letters and digits, which no shell or option parser takes for something else."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(24))


def hash_password(password: str, log2_cost: int = _LOG2_COST) -> str:
    """Hash for a file; `log2_cost` lower than the default is for tests."""
    salt = os.urandom(_SALT_BYTES)
    parsed = _Parsed(log2_cost, _BLOCK_SIZE, _PARALLELISM, salt, bytes(_HASH_BYTES))
    return f"{_PREFIX.format(log2_cost)}{_encode(salt)}${_encode(_derive(password, parsed))}"


def impossible_hash() -> str:
    """A hash of the usual cost that no password has."""
    random_parts = _encode(os.urandom(_SALT_BYTES)), _encode(os.urandom(_HASH_BYTES))
    return _PREFIX.format(_LOG2_COST) + "$".join(random_parts)


def verify(password: str, hashed: str) -> bool:
    """Whether `hashed` was made from `password`. Raises ValueError for what `check_hash` refuses."""
    parsed = _parse(hashed)
    return hmac.compare_digest(_derive(password, parsed), parsed.digest)


def check_hash(hashed: str) -> None:
    """Raise ValueError if `hashed` is no scrypt hash that can be verified at a sane cost."""
    _parse(hashed)


def _parse(hashed: str) -> _Parsed:
    match = _FORM.fullmatch(hashed)
    if match is None:
        raise ValueError("not a password hash of the form $scrypt$ln=14,r=8,p=1$salt$hash")
    try:
        salt, digest = _decode(match["salt"]), _decode(match["hash"])
    except binascii.Error:
        raise ValueError("a password hash whose base64 is broken") from None
    parsed = _Parsed(int(match["ln"]), int(match["r"]), int(match["p"]), salt, digest)
    if not (parsed.log2_cost and parsed.block_size and parsed.parallelism):
        raise ValueError("a password hash with a cost of zero")
    if parsed.memory_bytes * parsed.parallelism > _MAX_MEMORY_BYTES:
        raise ValueError("a password hash that costs too much to verify")
    return parsed


def _derive(password: str, parsed: _Parsed) -> bytes:
    try:
        return hashlib.scrypt(
            password.encode(),
            salt=parsed.salt,
            n=1 << parsed.log2_cost,
            r=parsed.block_size,
            p=parsed.parallelism,
            maxmem=2 * parsed.memory_bytes,  # OpenSSL wants a little more than the algorithm's own
            dklen=len(parsed.digest),
        )
    finally:
        give_back_memory()


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
