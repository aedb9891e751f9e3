"""Password hashes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.identity import passwords

CHEAP = 1  # log2 of the cost


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=30))
def test_password_verifies_against_its_own_hash_only(password: str) -> None:
    hashed = passwords.hash_password(password, CHEAP)
    assert passwords.verify(password, hashed)
    assert not passwords.verify(password + "x", hashed)


def test_two_hashes_of_one_password_differ() -> None:
    assert passwords.hash_password("secret", CHEAP) != passwords.hash_password("secret", CHEAP)


def test_published_scrypt_vector_verifies() -> None:
    """RFC 7914 section 12, second vector: N=1024, r=8, p=16."""
    digest = bytes.fromhex(
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
        "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
    )
    salt, encoded = (base64.b64encode(raw).decode().rstrip("=") for raw in (b"NaCl", digest))
    assert passwords.verify("password", f"$scrypt$ln=10,r=8,p=16${salt}${encoded}")


def test_new_hashes_cost_what_is_usual() -> None:
    assert passwords.hash_password("x").startswith("$scrypt$ln=14,r=8,p=1$")


def test_impossible_hash_looks_like_a_real_one() -> None:
    hashed = passwords.impossible_hash()
    passwords.check_hash(hashed)
    assert hashed.startswith("$scrypt$ln=14,r=8,p=1$")


SALT_AND_HASH = "$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize(
    "hashed",
    [
        "",
        "plain",
        "$2b$12$abcdefghijklmnopqrstuu5Lq1y2y6s3x0r3r4r5r6r7r8r9r0r1r",
        "$scrypt$ln=14,r=8,p=1$$",
        "$scrypt$ln=0,r=8,p=1" + SALT_AND_HASH,
        "$scrypt$ln=14,r=0,p=1" + SALT_AND_HASH,
        "$scrypt$ln=30,r=8,p=1" + SALT_AND_HASH,
        "$scrypt$ln=14,r=8,p=99" + SALT_AND_HASH,
        "$scrypt$ln=14,r=8,p=1" + SALT_AND_HASH + "\n",
    ],
)
def test_hash_that_cannot_be_verified_sanely_is_refused(hashed: str) -> None:
    with pytest.raises(ValueError):
        passwords.check_hash(hashed)


def test_made_passwords_are_long_plain_and_never_the_same() -> None:
    made = {passwords.make_password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(password) == 24 and password.isalnum() and password.isascii() for password in made)
