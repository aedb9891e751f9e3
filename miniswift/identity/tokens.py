"""Tokens: what is remembered of each that was issued, under its SHA-256.

A token's text exists in its holder's hands only. What it is for is looked up in the directory at each
use, so a role taken away, a disabled user or a new password counts at once.

1. A token is good until it expires, is revoked, or its user's password changes.
2. The text says nothing that this module reads: a `TokenFormat` makes it, the table knows it by its hash.
3. A revoked token is kept, as revoked, until it would have expired: lists of revocations need it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from miniswift.identity.database import Database, Statement

SCHEMA = """
CREATE TABLE IF NOT EXISTS tokens (
    digest BLOB PRIMARY KEY,        -- SHA-256 of the token's text
    user_id TEXT NOT NULL,
    password_tag TEXT NOT NULL,     -- tells whether the user's password is still the same
    project_id TEXT,                -- at most one of these two
    domain_id TEXT,
    methods TEXT NOT NULL,          -- how the user proved who they are, comma separated
    issued_at INTEGER NOT NULL,     -- Unix seconds
    expires_at INTEGER NOT NULL,
    audit_ids TEXT NOT NULL,        -- own, then that of the first of a chain; comma separated
    revoked INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_by_expiry ON tokens (expires_at)
"""

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


class TokenFormat(Protocol):
    """How a token's text is made."""

    def make(self, body: TokenBody) -> str:
        """Return a new text; a format that carries its content gets it from `body`, others do not ask."""
        ...


class UUIDFormat:
    """32 hexadecimal digits that mean nothing to anybody else."""

    def make(self, body: TokenBody) -> str:
        return secrets.token_hex(16)


def make_audit_id() -> str:
    """An id that may be logged where the token itself may not."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()


def password_tag(hashed: str) -> str:
    """A short text that changes with the password hash."""
    return hashlib.sha256(hashed.encode()).hexdigest()[:16]


class TokenTable:
    """The tokens that were issued on this machine."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._next_purge = 0.0

    def get(self, text: str) -> Token | None:
        """The token that `text` is, if it is still good as far as the table knows."""
        rows = self._database.read(
            "SELECT user_id, password_tag, project_id, domain_id, methods, issued_at, expires_at, audit_ids"
            " FROM tokens WHERE digest = ? AND expires_at > ? AND NOT revoked",
            _digest(text),
            int(self._clock()),
        )
        if not rows:
            return None
        user_id, tag, project_id, domain_id, methods, issued_at, expires_at, audit_ids = rows[0]
        return Token(
            user_id,
            tag,
            project_id,
            domain_id,
            tuple(methods.split(",")),
            issued_at,
            expires_at,
            tuple(audit_ids.split(",")),
        )

    def add(self, text: str, token: Token) -> None:
        self._database.write(
            *self._purge(),
            (
                "INSERT INTO tokens (digest, user_id, password_tag, project_id, domain_id, methods,"
                " issued_at, expires_at, audit_ids) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                ),
            ),
        )

    def revoke(self, text: str) -> None:
        self._database.write(("UPDATE tokens SET revoked = 1 WHERE digest = ?", (_digest(text),)))

    def _purge(self) -> list[Statement]:
        """Forget expired tokens with this write, once in a while."""
        now = self._clock()
        if now < self._next_purge:
            return []
        self._next_purge = now + _PURGE_INTERVAL_S
        return [("DELETE FROM tokens WHERE expires_at <= ?", (int(now),))]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
