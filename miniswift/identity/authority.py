"""The authority: who somebody is, and what a token lets them do. The one place that decides.

The dialects (v1, v2, v3) translate requests into calls of this module and its answers into bodies.

1. A token is issued only for a project or domain in which the user has a role, or for none.
2. A token got with a token never outlives the first.
3. A token's meaning is its row and today's directory together: take the user, the project or the last
   role away, or change the password, and the token is worth nothing.
4. A user may look at and revoke their own tokens; roles admin (all) and service (look only) others'.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from miniswift.identity.directory import Directory, Domain, Project, Reference, User
from miniswift.identity.faults import Forbidden, NotFound, Unauthorized
from miniswift.identity.logins import Logins
from miniswift.identity.store import Store
from miniswift.identity.tokens import (
    Revocation,
    Token,
    TokenFormat,
    TokenTable,
    make_audit_id,
    password_tag,
)

logger = logging.getLogger(__name__)

ADMIN_ROLE = "admin"
SERVICE_ROLE = "service"

# Of MD5 to SHA-512: what stands for a token that is too long for a URL.
_SHORT_ID = re.compile(r"[0-9a-f]{32,128}")

Scope = Project | Domain | None


@dataclass(frozen=True)
class Grant:
    """A good token's meaning at this moment."""

    token: Token
    directory: Directory
    user: User
    scope: Scope
    roles: tuple[str, ...]

    @property
    def user_domain(self) -> Domain:
        return self.directory.domain_of(self.user)

    @property
    def project(self) -> Project | None:
        return self.scope if isinstance(self.scope, Project) else None

    @property
    def domain(self) -> Domain | None:
        return self.scope if isinstance(self.scope, Domain) else None

    def has_role(self, *names: str) -> bool:
        """Role names compare without case, as keystoneauth compares them."""
        return any(role.lower() in names for role in self.roles)


class Authority:
    """Logs users in, and issues, explains and revokes tokens."""

    def __init__(
        self,
        store: Store,
        tokens: TokenTable,
        logins: Logins,
        token_format: TokenFormat,
        token_life_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._tokens = tokens
        self._logins = logins
        self._format = token_format
        self._token_life_s = token_life_s
        self._clock = clock

    def log_in(self, who: Reference, password: str, address: str) -> User:
        """The user, if the password is theirs. Raises Unauthorized, or what Logins.check raises."""
        directory = self.store.directory()
        user = directory.find_user(who)
        if user is not None and not user.is_enabled:
            user = None
        name = user.id if user else repr(who)
        # Nobody's password is checked too: a refusal must take the same time either way.
        is_right = self._logins.check(name, address, password, user.password if user else None)
        if user is None or not is_right:
            reason = "wrong password" if user else "no such user, or disabled"
            logger.info("login of %r from %s refused: %s", _shown(who), address, reason)
            raise Unauthorized
        return user

    def issue(
        self,
        user: User,
        scope: Scope,
        methods: tuple[str, ...],
        body: Callable[[Grant], Mapping[str, Any]],
        parent: Token | None = None,
    ) -> tuple[str, Grant]:
        """A new token's text and meaning; `body` is what a format that carries its content signs.

        `parent` is the token that the user proved themselves with. Raises Unauthorized if the user
        has no role there.
        """
        grant = self.describe(user, scope, methods, parent)
        text = self._format.make(lambda: body(grant))
        self._tokens.add(text, dataclasses.replace(grant.token, roles=grant.roles))
        return text, grant

    def describe(
        self, user: User, scope: Scope, methods: tuple[str, ...], parent: Token | None = None
    ) -> Grant:
        """What a token of the user would mean; none is issued. Raises Unauthorized as `issue` does."""
        directory = self.store.directory()
        now = int(self._clock())
        token = Token(
            user_id=user.id,
            password_tag=password_tag(user.password),
            project_id=scope.id if isinstance(scope, Project) else None,
            domain_id=scope.id if isinstance(scope, Domain) else None,
            methods=tuple(dict.fromkeys((*methods, *parent.methods))) if parent else methods,
            issued_at=now,
            expires_at=parent.expires_at if parent else now + self._token_life_s,
            audit_ids=(make_audit_id(), parent.audit_ids[-1]) if parent else (make_audit_id(),),
        )
        grant = _meaning(token, directory)
        if grant is None:
            where = scope.name if scope else "no project"
            logger.info("token for user %r and %r refused: no role there, or disabled", user.name, where)
            raise Unauthorized
        return grant

    def get_grant(self, text: str) -> Grant | None:
        """What a token's text means; None if it is no good."""
        token = self._tokens.get(text)
        return _meaning(token, self.store.directory()) if token else None

    def caller(self, text: str | None) -> Grant:
        """Whose token came with a request. Raises Unauthorized."""
        grant = self.get_grant(text) if text else None
        if grant is None:
            raise Unauthorized("This needs a valid token in X-Auth-Token.")
        return grant

    def subject(self, caller: Grant, text: str) -> Grant:
        """What the token that `caller` asks about means. Raises NotFound, and Forbidden."""
        return self._checked_subject(caller, self.get_grant(text))

    def _checked_subject(self, caller: Grant, grant: Grant | None) -> Grant:
        if grant is None:
            raise NotFound("This token is not valid.")
        if grant.user.id != caller.user.id and not caller.has_role(ADMIN_ROLE, SERVICE_ROLE):
            logger.info("user %r may not validate another's token", caller.user.name)
            raise Forbidden
        return grant

    def revoke(self, caller: Grant, text: str) -> None:
        """Make a token worthless at once; `text` may be its short id. Raises NotFound, and Forbidden."""
        token = self._tokens.get(text)
        if token is None and _SHORT_ID.fullmatch(text):
            token = self._tokens.get_by_short_id(text)
        grant = self._checked_subject(caller, _meaning(token, self.store.directory()) if token else None)
        if grant.user.id != caller.user.id and not caller.has_role(ADMIN_ROLE):
            logger.info("user %r may not revoke another's token", caller.user.name)
            raise Forbidden
        self._tokens.revoke(grant.token)
        logger.info("token %s of user %r revoked", grant.token.audit_ids[0], grant.user.name)

    def revocations(self, caller: Grant) -> list[Revocation]:
        """The tokens that would still pass for good with whoever does not ask us. Raises Forbidden."""
        if not caller.has_role(ADMIN_ROLE, SERVICE_ROLE):
            raise Forbidden
        directory = self.store.directory()

        def is_worthless(token: Token) -> bool:
            grant = _meaning(token, directory)
            return grant is None or not set(token.roles) <= set(grant.roles)

        return self._tokens.revoked(is_worthless)


def _meaning(token: Token, directory: Directory) -> Grant | None:
    user = directory.get_user(token.user_id)
    if user is None or not user.is_enabled or password_tag(user.password) != token.password_tag:
        return None
    if token.project_id is None and token.domain_id is None:
        return Grant(token, directory, user, None, ())
    scope: Scope
    if token.project_id is not None:
        scope = directory.get_project(token.project_id)
        roles = user.project_roles.get(token.project_id, ())
        if scope is None or not scope.is_enabled or not roles:
            return None
    else:
        scope = directory.get_domain(token.domain_id or "")
        roles = user.domain_roles.get(token.domain_id or "", ())
        if scope is None or not roles:
            return None
    return Grant(token, directory, user, scope, roles)


def _shown(who: Reference) -> str:
    return (who.name or who.id)[:64]
