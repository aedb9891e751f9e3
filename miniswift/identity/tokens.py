"""Tokens: what is remembered of each that was issued, under its SHA-256.

A token's text exists in its holder's hands only. What it is for is looked up in the directory at each
use, so a role taken away, a disabled user or a new password counts at once.

1. A token is good until it expires, is revoked, or its user's password changes.
2. The text says nothing that this module reads: a `TokenFormat` makes it, the table knows it by its hash.
3. A revoked token is kept, as revoked, until it would have expired: lists of revocations need it.
4. What a signed token says of its holder's roles is kept beside it, to tell when that is true no longer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from miniswift import signed_tokens
from miniswift.identity.database import Database, Row, Statement
from miniswift.identity.signing_keys import SigningKeys

SCHEMA = (
    """
CREATE TABLE tokens (
    digest BLOB PRIMARY KEY,        -- SHA-256 of the token's text
    user_id TEXT NOT NULL,
    password_tag TEXT NOT NULL,     -- tells whether the user's password is still the same
    project_id TEXT,                -- at most one of these two
    domain_id TEXT,
    methods TEXT NOT NULL,          -- how the user proved who they are, comma separated
    issued_at INTEGER NOT NULL,     -- Unix seconds
    expires_at INTEGER NOT NULL,
    audit_ids TEXT NOT NULL,        -- own, then that of the first of a chain; comma separated
    roles TEXT NOT NULL,            -- that the holder had when it was issued: a JSON list
    short_id TEXT NOT NULL,         -- by which lists of revocations and old clients know it
    revoked INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
""",
    "CREATE INDEX tokens_by_expiry ON tokens (expires_at)",
    "CREATE INDEX tokens_by_short_id ON tokens (short_id)",
)

_TOKEN_COLUMNS = (
    "user_id, password_tag, project_id, domain_id, methods, issued_at, expires_at, audit_ids, roles"
)

_PURGE_INTERVAL_S = 60

TokenBody = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Token:
    """What a token stands for."""

    user_id: str
    password_tag: str
    project_id: str | None
    domain_id: str | None
    methods: tuple[str, ...]
    issued_at: int
    expires_at: int
    audit_ids: tuple[str, ...]
    roles: tuple[str, ...] = ()  # held when it was issued

    @classmethod
    def of_row(cls, row: Row) -> Token:
        """Read a row of _TOKEN_COLUMNS."""
        user_id, tag, project_id, domain_id, methods, issued_at, expires_at, audit_ids, roles = row
        return cls(
            user_id,
            tag,
            project_id,
            domain_id,
            tuple(methods.split(",")),
            issued_at,
            expires_at,
            tuple(audit_ids.split(",")),
            tuple(json.loads(roles)),
        )


@dataclass(frozen=True)
class Revocation:
    """A token that is no good any more, as others know it."""

    short_id: str
    expires_at: int
    audit_id: str


class TokenFormat(Protocol):
    """How a token's text is made."""

    def make(self, body: TokenBody) -> str:
        """Return a new text; a format that carries its content gets it from `body`, others do not ask."""
        ...


class UUIDFormat:
    """32 hexadecimal digits that mean nothing to anybody else."""

    def make(self, body: TokenBody) -> str:
        return secrets.token_hex(16)


class PKIFormat:
    """The signed body itself: whoever has our certificate can check it without asking."""

    def __init__(self, keys: SigningKeys, is_compressed: bool) -> None:
        self._keys = keys
        self._text = signed_tokens.pkiz_text if is_compressed else signed_tokens.pki_text

    def make(self, body: TokenBody) -> str:
        return self._text(self._keys.sign(json.dumps(body()).encode()))


def make_audit_id() -> str:
    """An id that may be logged where the token itself may not."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()


def password_tag(hashed: str) -> str:
    """A short text that changes with the password hash."""
    return hashlib.sha256(hashed.encode()).hexdigest()[:16]


class TokenTable:
    """The tokens that were issued on this machine."""

    def __init__(
        self, database: Database, hash_algorithm: str = "md5", clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._hash_algorithm = hash_algorithm
        self._clock = clock
        self._next_purge = 0.0

    def get(self, text: str) -> Token | None:
        """The token that `text` is, if it is still good as far as the table knows."""
        return self._find("digest = ?", _digest(text))

    def get_by_short_id(self, short_id: str) -> Token | None:
        """As `get`, by the hash that stands for a token in old clients' requests."""
        return self._find("short_id = ?", short_id)

    def _find(self, condition: str, value: object) -> Token | None:
        rows = self._database.read(
            f"SELECT {_TOKEN_COLUMNS} FROM tokens WHERE {condition} AND expires_at > ? AND NOT revoked",
            value,
            int(self._clock()),
        )
        return Token.of_row(rows[0]) if rows else None

    def revoked(self, is_worthless: Callable[[Token], bool]) -> list[Revocation]:
        """The tokens that were good and are not, though they have not expired.

        `is_worthless` is asked about one token of each that differ in nothing but their times and ids.
        """
        now = int(self._clock())
        kinds = self._database.read(
            "SELECT user_id, password_tag, project_id, domain_id, MIN(methods), MIN(issued_at),"
            " MIN(expires_at), MIN(audit_ids), roles, MIN(revoked) FROM tokens WHERE expires_at > ?"
            " GROUP BY user_id, password_tag, project_id, domain_id, roles",
            now,
        )
        rows = self._database.read(
            "SELECT short_id, expires_at, audit_ids FROM tokens WHERE revoked AND expires_at > ?", now
        )
        for *kind, is_all_revoked in kinds:
            if not is_all_revoked and is_worthless(Token.of_row(tuple(kind))):
                rows += self._database.read(
                    "SELECT short_id, expires_at, audit_ids FROM tokens WHERE NOT revoked AND expires_at > ?"
                    " AND user_id = ? AND password_tag = ? AND project_id IS ? AND domain_id IS ?"
                    " AND roles = ?",
                    now, *kind[:4], kind[8],
                )  # fmt: skip
        return [
            Revocation(short_id, expires_at, audit_ids.partition(",")[0])
            for short_id, expires_at, audit_ids in rows
        ]

    def add(self, text: str, token: Token) -> None:
        self._database.write(
            *self._purge(),
            (
                f"INSERT INTO tokens (digest, {_TOKEN_COLUMNS}, short_id)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    _digest(text),
                    token.user_id,
                    token.password_tag,
                    token.project_id,
                    token.domain_id,
                    ",".join(token.methods),
                    token.issued_at,
                    token.expires_at,
                    ",".join(token.audit_ids),
                    json.dumps(token.roles),
                    signed_tokens.short_id(text, self._hash_algorithm),
                ),
            ),
        )

    def revoke(self, token: Token) -> None:
        """Make a token worthless; its own audit id names it."""
        self._database.write(
            ("UPDATE tokens SET revoked = 1 WHERE audit_ids = ?", (",".join(token.audit_ids),))
        )

    def _purge(self) -> list[Statement]:
        """Forget expired tokens with this write, once in a while."""
        now = self._clock()
        if now < self._next_purge:
            return []
        self._next_purge = now + _PURGE_INTERVAL_S
        return [("DELETE FROM tokens WHERE expires_at <= ?", (int(now),))]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
