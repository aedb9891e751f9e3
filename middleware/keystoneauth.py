"""Who may do what, for projects and roles that Keystone confirmed.

`authtoken` in front of it puts the identity into headers; the account `<reseller prefix><project id>`
belongs to that project. The answer is found in this order; the first rule that speaks decides:

    OPTIONS                          yes: browsers ask before they authenticate
    reseller admin                   yes, as owner, everywhere
    system reader                    GET and HEAD everywhere
    DELETE of an account             no
    ACL item `project:user`          yes: ids or `*`; names where they can only mean one
    container sync key               yes
    ACL referrer rule                objects; the container as well with `.rlistings`
    another project's account        no
    operator role                    yes, as owner, with a service role where the prefix asks for one
    project reader                   GET and HEAD
    ACL role                         yes, unless a referrer rule matched that lacked `.rlistings`

Anonymous requests get what the sync key and the referrer rules allow.

1. Only the environ counts, so real Swift's proxy may call what is set as `swift.authorize`.
2. Another auth system in front of it goes on deciding for accounts whose prefix is not among ours.
3. An account remembers its project's domain, because a name alone says nothing outside of one domain.

Not here: checking tokens (authtoken), parsing lists (acl).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from miniswift import info
from miniswift.config import Settings, boolean, option, text, words
from miniswift.responses import Environ, HeaderList, HTTPError, StartResponse
from miniswift.wsgi import (
    ACCESS_LOGGING,
    ACL,
    AUTHORIZE,
    AUTHORIZE_OVERRIDE,
    CLEAN_ACL,
    IDENTITY,
    OWNER,
    RESELLER_REQUEST,
    TOKEN_INFO,
    Request,
    WSGIApp,
    environ_key,
    split_path,
    to_wsgi,
)

from .acl import ContainerACL, clean_acl, parse_acl
from .authorization import READS, Resellers, denied, is_container_sync, reseller_prefixes, rule_names, text_of

logger = logging.getLogger(__name__)

DOMAIN_SYSMETA = "X-Account-Sysmeta-Project-Domain-Id"
DOMAIN_SYSMETA_KEY = "HTTP_X_ACCOUNT_SYSMETA_PROJECT_DOMAIN_ID"
DOMAIN_HEADER = "X-Account-Project-Domain-Id"
# Kept for an account whose project's domain could not be told. No domain has this id.
UNKNOWN_DOMAIN = "_unknown"


def role(value: str) -> str:
    """A role's name; Keystone's roles have no case."""
    return value.strip().lower()


def roles(value: str) -> frozenset[str]:
    return frozenset(name.lower() for name in words(value))


@dataclass(frozen=True)
class PrefixRules(Settings):
    """What each reseller prefix may have of its own, e.g. SERVICE_operator_roles."""

    operator_roles: frozenset[str] = option(roles, "admin, swiftoperator", "roles that own their project")
    service_roles: frozenset[str] = option(
        roles, "", "roles of which the service token needs one, for operators to be let in"
    )
    project_reader_roles: frozenset[str] = option(roles, "", "roles that may read all of their project")


@dataclass(frozen=True)
class Options(Settings):
    reseller_prefix: tuple[str, ...] = option(
        reseller_prefixes, "AUTH", "what account names begin with; a list; '' for nothing"
    )
    reseller_admin_role: str = option(role, "ResellerAdmin", "the role that may do anything anywhere")
    system_reader_roles: frozenset[str] = option(roles, "", "roles that may read anything anywhere")
    allow_overrides: bool = option(boolean, "true", "let tempurl, formpost and their like decide")
    default_domain_id: str = option(text, "default", "the domain whose names may stand in ACLs")
    allow_names_in_acls: bool = option(boolean, "true", "let names of the default domain stand in ACLs")


# What tells who a request comes from; a project may be called a tenant.
_IDENTITY_KEYS = tuple(
    environ_key(f"X-{name}")
    for name in (
        "User-Id", "User-Name", "Project-Id", "Project-Name", "Tenant-Id", "Tenant-Name", "Roles",
        "Service-Roles", "User-Domain-Id", "User-Domain-Name", "Project-Domain-Id", "Project-Domain-Name",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from, as authtoken confirmed it. Names and ids are text."""

    user: tuple[str | None, str | None]  # id, name
    project: tuple[str | None, str | None]  # id, name
    roles: tuple[str, ...]
    service_roles: tuple[str, ...]
    user_domain: tuple[str | None, str | None]  # id, name
    project_domain: tuple[str | None, str | None]  # id, name
    auth_version: int  # of Keystone's API: 2, 3, or 0 when the token's body is not known
    own_roles: frozenset[str]  # roles in lower case: Keystone's have no case
    own_service_roles: frozenset[str]

    @classmethod
    def of(cls, environ: Environ) -> Identity | None:
        """The confirmed identity in the headers; None for an anonymous request."""
        get = environ.get
        if get("HTTP_X_IDENTITY_STATUS") != "Confirmed":
            return None
        if get("HTTP_X_SERVICE_IDENTITY_STATUS", "Confirmed") != "Confirmed":
            return None
        body = get(TOKEN_INFO) or ()
        # Domains came with v3; what else claims to be one in a v2.0 request is not Keystone's word.
        version = 2 if "access" in body else 3 if "token" in body else 0
        return _identity(version, *map(get, _IDENTITY_KEYS))

    def as_environ(self) -> dict[str, Any]:
        """The form other filters know it in."""
        return {
            "user": self.user,
            "tenant": self.project,
            "roles": list(self.roles),
            "service_roles": list(self.service_roles),
            "user_domain": self.user_domain,
            "project_domain": self.project_domain,
            "auth_version": self.auth_version,
        }


@functools.lru_cache(maxsize=1024)
def _identity(version: int, *headers: str | None) -> Identity:
    """The identity that the values of `_IDENTITY_KEYS` spell: the same ones come with every request."""
    (
        user_id, user_name, project_id, project_name, tenant_id, tenant_name, roles_, service_roles,
        user_domain_id, user_domain_name, project_domain_id, project_domain_name,
    ) = (None if value is None else text_of(value) for value in headers)  # fmt: skip
    is_v3 = version == 3
    own, of_service = _names(roles_), _names(service_roles)
    return Identity(
        (user_id, user_name),
        (
            tenant_id if project_id is None else project_id,
            tenant_name if project_name is None else project_name,
        ),
        own,
        of_service,
        (user_domain_id, user_domain_name) if is_v3 else (None, None),
        (project_domain_id, project_domain_name) if is_v3 else (None, None),
        version,
        frozenset(map(str.lower, own)),
        frozenset(map(str.lower, of_service)),
    )


def _names(value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


class KeystoneAuth:
    """The filter, and the callables it leaves in the environ."""

    def __init__(self, app: WSGIApp, options: Options, resellers: Resellers[PrefixRules]) -> None:
        self._app = app
        self._options = options
        self._resellers = resellers

    def __call__(self, environ: Environ, start_response: StartResponse) -> Any:
        if self._options.allow_overrides and environ.get(AUTHORIZE_OVERRIDE):
            return self._app(environ, start_response)
        # Another auth system in front of this one may have to decide: about accounts that are not ours.
        others = environ.get(AUTHORIZE)
        identity = Identity.of(environ)
        if identity is None:
            environ[AUTHORIZE] = self._authorize_anonymous
        else:
            self._introduce(identity, environ)
        if others is not None and self._resellers.prefix_of(_account_in(environ)) is None:
            environ[AUTHORIZE] = others
        environ[CLEAN_ACL] = clean_acl
        return self._app(environ, _with_domain_shown(environ, start_response))

    def _introduce(self, identity: Identity, environ: Environ) -> None:
        """Tell the filters further down who it is."""
        environ["REMOTE_USER"] = identity.project
        environ[IDENTITY] = identity.as_environ()
        environ[AUTHORIZE] = functools.partial(self._authorize, identity)
        environ.setdefault(ACCESS_LOGGING, {})["user_id"] = identity.user[0] or identity.user[1]
        if self._options.reseller_admin_role in identity.own_roles:
            environ[RESELLER_REQUEST] = True

    # --- verdicts --------------------------------------------------------------------------------

    def _authorize(self, identity: Identity, request: Any) -> HTTPError | None:
        """The verdict on `request` (ours or real Swift's): None, or the refusal."""
        environ: Environ = request.environ
        environ.pop(OWNER, None)  # a COPY asks twice, and may own only one of the two
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            return None
        try:
            names = Request(environ).split_path(1, 4, True)
        except ValueError:
            return HTTPError(404)
        _, account, container, obj = names
        self._note_domain(environ, names, identity)

        own_roles = identity.own_roles
        if self._options.reseller_admin_role in own_roles:
            environ[OWNER] = True
            return None
        if method in READS and not own_roles.isdisjoint(self._options.system_reader_roles):
            return None
        if account is None:
            return denied(environ, "the path names no account")
        if method == "DELETE" and not container:
            return denied(environ, "only a reseller admin may delete an account")

        acl = parse_acl(environ.get(ACL))
        if acl.groups and self._is_granted_across(acl, environ, account, identity):
            return None
        by_referrer = _admits_unknown(environ, acl, obj)
        if by_referrer:
            return None
        if not self._resellers.owns(account, identity.project[0]):
            return denied(environ, "the token is for another project")
        if self._is_granted_by_rules(environ, account, identity):
            return None
        if by_referrer is None and not own_roles.isdisjoint(acl.folded):
            return None
        return denied(environ, "neither a role nor the ACL allows it")

    def _authorize_anonymous(self, request: Any) -> HTTPError | None:
        environ: Environ = request.environ
        try:
            _, account, _, obj = Request(environ).split_path(1, 4, True)
        except ValueError:
            return HTTPError(404)
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return None
        if not account or self._resellers.prefix_of(account) is None:
            return denied(environ, "the account is not one of ours")
        if _admits_unknown(environ, parse_acl(environ.get(ACL)), obj):
            return None
        return denied(environ, "nobody is signed in, and the ACL does not let everybody in")

    def _is_granted_by_rules(self, environ: Environ, account: str, identity: Identity) -> bool:
        """Whether the account's prefix lets a member of its own project in."""
        rules = self._resellers.rules[self._resellers.prefix_of(account) or ""]
        own_roles = identity.own_roles
        if not own_roles.isdisjoint(rules.operator_roles) and (
            not rules.service_roles or not rules.service_roles.isdisjoint(identity.own_service_roles)
        ):
            environ[OWNER] = True
            return True
        return environ["REQUEST_METHOD"] in READS and not own_roles.isdisjoint(rules.project_reader_roles)

    def _is_granted_across(
        self, acl: ContainerACL, environ: Environ, account: str, identity: Identity
    ) -> bool:
        """Whether the list has the user's `project:user`, by id or, if that can be told, by name."""
        if not acl.groups.isdisjoint(_grantees([identity.project[0]], [identity.user[0]])):
            return True
        # Names last: they may cost a look-up of the account.
        return not acl.groups.isdisjoint(
            _grantees(identity.project, identity.user)
        ) and self._names_are_unique(environ, account, identity)

    # --- domains ---------------------------------------------------------------------------------

    def _names_are_unique(self, environ: Environ, account: str, identity: Identity) -> bool:
        """Whether user, their project and the account's project all are in the default domain.

        Those without a domain are: they come from a Keystone that has only one.
        """
        default = self._options.default_domain_id
        if not self._options.allow_names_in_acls:
            return False
        if any(
            domain and domain != default for domain in (identity.user_domain[0], identity.project_domain[0])
        ):
            return False
        if self._resellers.owns(account, identity.project[0]):
            return True
        exists, domain = self._domain_of_account(environ)
        return exists and domain in (default, None)

    def _domain_of_account(self, environ: Environ) -> tuple[bool, str | None]:
        """(whether the account exists, the domain noted in it)."""
        known = info.get_account_info(environ, self._app, "KS")
        exists = known.get("status", 0) // 100 == 2 and known.get("account_really_exists", True)
        return exists, known.get("sysmeta", {}).get("project-domain-id")

    def _note_domain(self, environ: Environ, names: list[str | None], identity: Identity) -> None:
        """Note the project's domain in an account that this request makes or changes, if it can be told."""
        _, account, container, obj = names
        method = environ["REQUEST_METHOD"]
        if obj or method not in ("PUT", "POST") or (container and method != "PUT") or not account:
            return
        if DOMAIN_SYSMETA_KEY in environ:
            return
        exists, noted = self._domain_of_account(environ)
        is_own = self._resellers.owns(account, identity.project[0])
        domain = identity.project_domain[0] if is_own else None
        news: str | None = None
        if not exists:
            news = domain if is_own else UNKNOWN_DOMAIN
        elif noted is None and domain == self._options.default_domain_id:
            news = domain  # an account from before there were domains
        elif noted == UNKNOWN_DOMAIN and is_own:
            news = domain or ""  # its own project came, so it can be told now
        elif domain and noted and noted != domain:
            logger.warning("account %s is noted in domain %s, its token says %s", account, noted, domain)
        if news is not None:
            environ[DOMAIN_SYSMETA_KEY] = to_wsgi(news)


def _grantees(projects: Any, users: Any) -> list[str]:
    """Every `project:user` that means this user, with `*` for either side."""
    return [
        f"{project}:{user}"
        for project in ("*", *projects)
        for user in ("*", *users)
        if project is not None and user is not None
    ]


def _account_in(environ: Environ) -> str | None:
    try:
        return split_path(environ["PATH_INFO"], 1, 3, True)[1]
    except ValueError:
        return None


def _admits_unknown(environ: Environ, acl: ContainerACL, obj: str | None) -> bool | None:
    """What holds whoever asks. False when a referrer rule matched and listings are not allowed."""
    if is_container_sync(environ):
        return True
    if acl.admits_referrer(environ.get("HTTP_REFERER")):
        return bool(obj) or acl.lists_to_referrers
    return None


def _with_domain_shown(environ: Environ, start_response: StartResponse) -> StartResponse:
    """Show the client the domain noted in an account, which only answers about accounts carry."""
    if environ["PATH_INFO"].rstrip("/").count("/") > 2:
        return start_response

    def show_domain(status: str, headers: HeaderList, exc_info: Any = None) -> Any:
        for name, value in headers:
            if name.title() == DOMAIN_SYSMETA and value:
                headers = [*headers, (DOMAIN_HEADER, value)]
                break
        return start_response(status, headers, exc_info)

    return show_domain


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], KeystoneAuth]:
    conf = {**global_conf, **local_conf}
    prefixes = reseller_prefixes(conf.get("reseller_prefix", "AUTH"))
    options = Options.from_conf(conf, local_conf, rule_names(prefixes, PrefixRules))
    resellers = Resellers(prefixes, conf, PrefixRules)
    return lambda app: KeystoneAuth(app, options, resellers)
