"""A small auth system with its users in the configuration.

`GET /auth/v1.0` with `X-Auth-User: account:user` and `X-Auth-Key` gives a token, which lives shorter than
usual if `X-Auth-Token-Lifetime` (seconds) says so. A request with one gets its user's groups as
REMOTE_USER, and `swift.authorize` decides in this order:

    .reseller_admin                 yes, as owner, in every account but those for the server's own use
    .reseller_reader                GET and HEAD there
    the account's .admin            yes, as owner, with the prefix's require_group if it has one;
                                    but accounts are not made and deleted
    container sync key, OPTIONS     yes
    ACL referrer rule, ACL group    yes
    account ACL                     admin: yes, as owner; read-write: all but changes of the account;
                                    read-only: GET and HEAD

1. Only tokens and accounts with our reseller prefixes are ours. For other accounts `swift.authorize` stays as
   an auth system before us left it; if none did, it denies.
2. An account ACL is stored only if it is one.

Not here: the forms of tokens (tempauth_tokens), reading users (tempauth_users).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from miniswift import info
from miniswift.config import Settings, boolean, option, positive, text
from miniswift.responses import Environ, HTTPError, Response, StartResponse
from miniswift.wsgi import (
    ACCESS_LOGGING,
    ACL,
    AUTHORIZE,
    AUTHORIZE_OVERRIDE,
    CACHE,
    CLEAN_ACL,
    OLD_S3_DETAILS,
    OWNER,
    RESELLER_REQUEST,
    S3_DETAILS,
    Request,
    WSGIApp,
    split_path,
    to_wsgi,
)

from .acl import clean_acl, parse_account_acl, parse_acl, stored_account_acl
from .authorization import (
    READS,
    Resellers,
    challenge,
    denied,
    is_container_sync,
    realm_of,
    reseller_prefixes,
    rule_names,
    same_secret,
    text_of,
)
from .tempauth_tokens import FERNET_KEY_OPTIONS, Tokens, fernet_keys, own_key
from .tempauth_users import OPTION_PATTERNS, User, read_users

logger = logging.getLogger(__name__)

RESELLER_ADMIN = ".reseller_admin"
RESELLER_READER = ".reseller_reader"

_ACCOUNT_ACL_KEY = "HTTP_X_ACCOUNT_ACCESS_CONTROL"
_ACCOUNT_ACL_SYSMETA_KEY = "HTTP_X_ACCOUNT_SYSMETA_CORE_ACCESS_CONTROL"


def path_prefix(value: str) -> str:
    if not value.strip("/ "):
        raise ValueError("expected a path that is not empty")
    return f"/{value.strip('/ ')}/"


@dataclass(frozen=True)
class PrefixRules(Settings):
    """What each reseller prefix may have of its own, e.g. SERVICE_require_group."""

    require_group: str = option(text, "", "group needed besides .admin to get into an account")


@dataclass(frozen=True)
class Options(Settings):
    reseller_prefix: tuple[str, ...] = option(
        reseller_prefixes, "AUTH", "what account names begin with; a list, the first is that of tokens"
    )
    auth_prefix: str = option(path_prefix, "/auth/", "where clients sign in")
    token_life: int = option(positive, "86400", "seconds a token is good for")
    allow_overrides: bool = option(boolean, "true", "let tempurl, formpost and their like decide")
    storage_url_scheme: str = option(text, "default", "http or https in storage URLs; default: as asked")
    active_fernet_key_id: str = option(text, "", "id of the fernet_key_<id> that tokens are made with")
    swift_dir: str = option(text, "/etc/swift", "folder of swift.conf, which our own key depends on")


class TempAuth:
    """The filter, and the callable it leaves in the environ."""

    def __init__(
        self,
        app: WSGIApp,
        options: Options,
        resellers: Resellers[PrefixRules],
        users: Mapping[str, User],
        tokens: Tokens,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._options = options
        self._resellers = resellers
        self._users = users
        self._tokens = tokens
        self._clock = clock
        self._prefix = resellers.prefixes[0]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Any:
        if self._options.allow_overrides and environ.get(AUTHORIZE_OVERRIDE):
            return self._app(environ, start_response)
        if environ["PATH_INFO"].startswith(self._options.auth_prefix):
            return self._sign_in(Request(environ))(environ, start_response)
        s3_details = environ.get(S3_DETAILS) or environ.get(OLD_S3_DETAILS)
        token = environ.get("HTTP_X_AUTH_TOKEN", environ.get("HTTP_X_STORAGE_TOKEN"))
        if s3_details or (token and token.startswith(self._prefix)):
            groups = self._groups(environ, token, s3_details)
            if groups:
                self._introduce(groups, environ)
            elif self._prefix and not s3_details:
                logger.info("token refused: it is unknown or has expired")
                return Response(401, challenge(realm_of(environ)))(environ, start_response)
            else:
                environ.setdefault(AUTHORIZE, _deny)
        elif self._is_ours(environ["PATH_INFO"]):
            environ[AUTHORIZE], environ[CLEAN_ACL] = self._authorize, clean_acl
        elif AUTHORIZE not in environ:
            # An empty prefix means any account that nobody else decides for.
            environ[AUTHORIZE] = _deny if self._prefix else self._authorize
            if not self._prefix:
                environ[CLEAN_ACL] = clean_acl
        return self._app(environ, start_response)

    # --- who it is -------------------------------------------------------------------------------

    def _groups(self, environ: Environ, token: str | None, s3_details: Any) -> tuple[str, ...]:
        """The groups of whoever sent the request; none if that cannot be told."""
        cache = environ.get(CACHE)
        groups = self._tokens.groups_of(token, cache) if token and token.startswith(self._prefix) else None
        if groups is None and s3_details:
            groups = self._groups_by_signature(environ, s3_details)
        service_token = environ.get("HTTP_X_SERVICE_TOKEN")
        if groups and service_token:
            groups += self._tokens.groups_of(service_token, cache) or ()
        return groups or ()

    def _groups_by_signature(self, environ: Environ, details: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The groups of the user whose key signed an S3 request, which then is about their account."""
        name = details["access_key"]
        user = self._users.get(name)
        check = details.get("check_signature")
        if user is None or check is None or not check(user.key):
            logger.info("S3 signature refused: %s", "no such user" if user is None else "it is wrong")
            return None
        environ["PATH_INFO"] = environ["PATH_INFO"].replace(to_wsgi(name), to_wsgi(user.account), 1)
        return user.groups

    def _introduce(self, groups: tuple[str, ...], environ: Environ) -> None:
        """Tell the filters further down who it is."""
        environ["REMOTE_USER"] = ",".join(groups)
        if AUTHORIZE not in environ or not self._is_anothers(environ["PATH_INFO"]):
            environ[AUTHORIZE], environ[CLEAN_ACL] = self._authorize, clean_acl
        environ.setdefault(ACCESS_LOGGING, {})["user_id"] = groups[min(1, len(groups) - 1)]
        if RESELLER_ADMIN in groups:
            environ[RESELLER_REQUEST] = True

    def _is_ours(self, path: str) -> bool:
        """Whether nobody else decides about this path. With the empty prefix one cannot know."""
        try:
            _, account, _ = split_path(path, 1, 3, True)
        except ValueError:
            return False
        return bool(self._resellers.prefix_of(account))

    def _is_anothers(self, path: str) -> bool:
        """Whether the path has an account, and it is none of ours."""
        try:
            _, account, _ = split_path(path, 1, 3, True)
        except ValueError:
            return False
        return account is not None and self._resellers.prefix_of(account) is None

    # --- verdicts --------------------------------------------------------------------------------

    def _authorize(self, request: Any) -> HTTPError | None:
        """The verdict on `request` (ours or real Swift's): None, or the refusal."""
        environ: Environ = request.environ
        try:
            _, account, container, obj = Request(environ).split_path(1, 4, True)
        except ValueError:
            return HTTPError(404)
        prefix = self._resellers.prefix_of(account)
        if account is None or prefix is None:
            return denied(environ, "the account is not one of ours")
        try:
            _take_account_acl(environ)
        except ValueError as error:
            return _bad_account_acl(environ, error)
        method = environ["REQUEST_METHOD"]
        user = environ.get("REMOTE_USER")
        # Behind keystoneauth a project may come here: known, but in no group of ours.
        groups = frozenset(user.split(",")) if isinstance(user, str) else frozenset()
        if (
            self._is_reseller(environ, groups, account, prefix)
            or self._is_account_admin(environ, groups, account, container, prefix)
            or is_container_sync(environ)
            or method == "OPTIONS"
            or _is_in_container_acl(environ, groups, obj)
            or self._is_in_account_acl(environ, groups, container)
        ):
            return None
        return denied(environ, "neither a group nor an ACL allows it")

    def _is_reseller(self, environ: Environ, groups: frozenset[str], account: str, prefix: str) -> bool:
        if account in self._resellers.prefixes or account[len(prefix) :].startswith("."):
            return False
        if RESELLER_ADMIN in groups:
            environ[OWNER] = True
            return True
        return RESELLER_READER in groups and environ["REQUEST_METHOD"] in READS

    def _is_account_admin(
        self, environ: Environ, groups: frozenset[str], account: str, container: str | None, prefix: str
    ) -> bool:
        if text_of(account) not in groups:
            return False
        if environ["REQUEST_METHOD"] in ("PUT", "DELETE") and not container:
            return False
        required = self._resellers.rules[prefix].require_group
        if required and required not in groups:
            return False
        environ[OWNER] = True
        return True

    def _is_in_account_acl(self, environ: Environ, groups: frozenset[str], container: str | None) -> bool:
        stored = info.get_account_info(environ, self._app, "TA").get("sysmeta", {}).get("core-access-control")
        if not stored:
            return False
        try:
            acl = stored_account_acl(stored)
        except ValueError as error:
            logger.warning("account ACL in %s is ignored: %s", environ["PATH_INFO"], error)
            return False
        if not groups.isdisjoint(acl["admin"]):
            environ[OWNER] = True
            return True
        reads = environ["REQUEST_METHOD"] in READS
        if not groups.isdisjoint(acl["read-write"]) and (container or reads):
            return True
        return reads and not groups.isdisjoint(acl["read-only"])

    # --- signing in ------------------------------------------------------------------------------

    def _sign_in(self, request: Request) -> Response:
        if request.method != "GET":
            return Response(405, {"Allow": "GET"})
        try:
            name, key = _credentials(request.path_info[len(self._options.auth_prefix) - 1 :], request.environ)
            life_s = _wanted_life(request.environ)
        except HTTPError as error:
            return error.response
        request.environ.setdefault(ACCESS_LOGGING, {})["user_id"] = name
        user = self._users.get(name)
        if user is None or not same_secret(user.key, key):
            logger.info("sign-in of %r refused: %s", name, "no such user" if user is None else "wrong key")
            return Response(401, challenge(to_wsgi(name.partition(":")[0])))
        token, expires = self._tokens.issue(user, request.environ.get(CACHE), life_s)
        headers = {
            "X-Auth-Token": token,
            "X-Storage-Token": token,
            "X-Auth-Token-Expires": str(int(expires - self._clock())),
            "X-Storage-Url": self._storage_url(user, request),
        }
        return Response(200, headers, b"")

    def _storage_url(self, user: User, request: Request) -> str:
        url = to_wsgi(user.storage_url).replace("$HOST", request.host_url)
        scheme = self._options.storage_url_scheme
        return url if scheme == "default" else f"{scheme}:{url.partition(':')[2]}"


def _credentials(path: str, environ: Environ) -> tuple[str, str]:
    """(`account:user`, key) of a request to sign in, as text. Raises the answer if they are not there."""
    try:
        kind, account, rest = split_path(path, 1, 3, True)
    except ValueError:
        raise HTTPError(404) from None
    auth_user, storage_user = environ.get("HTTP_X_AUTH_USER"), environ.get("HTTP_X_STORAGE_USER")
    auth_key, storage_key = environ.get("HTTP_X_AUTH_KEY"), environ.get("HTTP_X_STORAGE_PASS")
    if kind == "v1" and rest == "auth":
        # /v1/<account>/auth: X-Storage-User is the user alone, X-Auth-User has the account too.
        name = f"{account}:{storage_user}" if storage_user else auth_user or ""
        key = storage_key or auth_key
        is_whole = name.partition(":")[0] == account
    elif kind in ("auth", "v1.0"):
        account, name, key = None, auth_user or storage_user or "", auth_key or storage_key
        is_whole = True
    else:
        raise HTTPError(400)
    named, _, user = name.partition(":")
    if not (is_whole and named and user and key):
        raise HTTPError(401, headers=challenge(account or (named if ":" in name else "") or "unknown"))
    return text_of(name), text_of(key)


def _wanted_life(environ: Environ) -> int | None:
    """The seconds a client asks its token to be good for, if it does. Raises a 400."""
    wanted = environ.get("HTTP_X_AUTH_TOKEN_LIFETIME")
    if wanted is None:
        return None
    if not (wanted.isascii() and wanted.isdecimal() and 0 < len(wanted) < 12 and int(wanted)):
        raise HTTPError(400, "X-Auth-Token-Lifetime must be a number of seconds")
    return int(wanted)


def _take_account_acl(environ: Environ) -> None:
    """Turn the client's header of an account ACL into what is stored. Raises ValueError if it is none."""
    if _ACCOUNT_ACL_KEY in environ:
        parse_account_acl(text_of(environ[_ACCOUNT_ACL_KEY]))
        environ[_ACCOUNT_ACL_SYSMETA_KEY] = environ.pop(_ACCOUNT_ACL_KEY)


def _bad_account_acl(environ: Environ, error: ValueError) -> HTTPError:
    page = f"X-Account-Access-Control invalid: {error}\n\nInput: {text_of(environ[_ACCOUNT_ACL_KEY])}\n"
    return HTTPError(400, page.encode("utf-8", "replace"), {"Content-Type": "text/plain; charset=UTF-8"})


def _is_in_container_acl(environ: Environ, groups: frozenset[str], obj: str | None) -> bool:
    acl = parse_acl(environ.get(ACL))
    if acl.admits_referrer(environ.get("HTTP_REFERER")) and (obj or acl.lists_to_referrers):
        return True
    return not groups.isdisjoint(acl.groups)


def _deny(request: Any) -> HTTPError:
    return denied(request.environ, "the account is not one of ours")


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], TempAuth]:
    conf = {**global_conf, **local_conf}
    prefixes = reseller_prefixes(conf.get("reseller_prefix", "AUTH"))
    known = (*rule_names(prefixes, PrefixRules), *OPTION_PATTERNS, f"{FERNET_KEY_OPTIONS}*")
    options = Options.from_conf(conf, local_conf, known)
    resellers = Resellers(prefixes, conf, PrefixRules)
    users = read_users(conf, prefixes)
    keys = fernet_keys(conf, options.active_fernet_key_id)
    tokens = Tokens(
        prefixes[0],
        options.token_life,
        keys,
        options.active_fernet_key_id,
        lambda: own_key(users.values(), options.swift_dir),
    )
    info.register_swift_info("tempauth", account_acls=True)
    return lambda app: TempAuth(app, options, resellers, users, tokens)
