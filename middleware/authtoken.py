"""Tokens into identities: the filter that finds out who a request comes from.

The token of `X-Auth-Token` is looked for in this process's memory, then in the shared cache if one is
configured, then shown to a validator. What it stands for goes into headers and environ keys, which
`keystoneauth` and any other filter of the ecosystem read; nothing is decided here.

1. Identity headers that a client sent are gone before anything else happens.
2. A cached identity is used only until the token expires, checked with each use.
3. When Keystone cannot be asked the answer is 503, never 401; what is cached goes on working.
4. A signed token (PKI, PKIZ) is checked here; Keystone is asked for certificates and its list of revoked
   tokens only.
5. A token that an auth system in front of this one took for its own is not looked at.
6. Caches know a token by its SHA-256; logs say why one was refused, never which.

Not here: asking Keystone (token_validation, keystone_client), signing in there (service_user).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from miniswift import identity_keys
from miniswift.concurrency import sleep, spawn_n
from miniswift.config import Settings, boolean, option, option_names, seconds, text, words
from miniswift.errors import ConfigError
from miniswift.responses import Environ, HeaderList, Response, StartResponse
from miniswift.signed_tokens import hash_algorithms
from miniswift.wsgi import AUTHORIZE, TOKEN_AUTH, WSGIApp

from .authorization import CHALLENGE
from .identity_headers import INVALID, Identity, MalformedBody, TokenAuth
from .keystone_client import IdentityUnavailable
from .revocation_list import RevocationList
from .service_user import ServiceUser, ServiceUserOptions, keystone_as
from .signing_certificates import SigningCertificates
from .signing_files import SigningFiles
from .token_binding import broken_binding, mode
from .token_cache import INVALID as CACHED_AS_INVALID
from .token_cache import LocalCache, SharedCache, SingleFlight
from .token_validation import (
    InvalidToken,
    OnlineValidator,
    SignedTokenValidator,
    TokenValidator,
    ValidatorByForm,
)

logger = logging.getLogger(__name__)

REFUSAL_TTL_S = 10.0  # a refused token may become known: Keystones replicate
LOCAL_SHARE_OF_TTL = 0.1  # of token_cache_time, for what another process validated some time ago
RETRY_AFTER_S = "5"

# Options of filters like this one that have no meaning here: memcached is reached through swift.cache.
_OTHERS_OPTIONS = (
    "auth_section", "memcached_servers", "memcache_servers", "memcache_*", "service_type",
)  # fmt: skip


@dataclass(frozen=True)
class Options(Settings):
    www_authenticate_uri: str = option(
        text, "", "where clients get tokens, as told to those without one", "auth_uri"
    )
    delay_auth_decision: bool = option(
        boolean,
        "false",
        "let requests without a good token pass, for a later filter to decide; Swift needs it",
    )
    cache: str = option(text, "", "environ key of a cache shared with others: swift.cache; none when empty")
    token_cache_time: float = option(
        seconds, "300", "seconds an answer about a token is kept; 0 is not at all"
    )
    memcache_security_strategy: str = option(
        text, "None", "MAC and ENCRYPT are not supported: tokens then are not put into the shared cache"
    )
    include_service_catalog: bool = option(boolean, "true", "ask for the catalogue, set X-Service-Catalog")
    enforce_token_bind: str = option(
        mode, "permissive", "disabled, permissive, strict, required or kerberos: what bound tokens need"
    )
    service_token_roles: tuple[str, ...] = option(
        words, "service", "roles of which a service token needs one"
    )
    signing_dir: str = option(
        text, "", "folder for Keystone's signing certificates and its list of revoked tokens; none when empty"
    )
    revocation_cache_time: float = option(
        seconds,
        "10",
        "seconds until the list of revoked tokens is fetched again; six times that it may serve",
    )
    check_revocations_for_cached: bool = option(
        boolean, "false", "let a revoked token go as soon as the list has it, not when its cached answer ends"
    )
    hash_algorithms: tuple[str, ...] = option(
        hash_algorithms, "md5", "hashes under which the list may have a token"
    )
    service_token_roles_required: bool = option(boolean, "true", "refuse service tokens without such a role")


@dataclass(slots=True)
class _Known:
    """An identity in this process's memory."""

    identity: Identity
    revocable_ids: frozenset[str]  # under which a list of revoked tokens would have the token
    checked: int  # the list that did not have it, by generation


class TokenIdentities:
    """Finds the identity behind a token, in the nearest place that knows it."""

    def __init__(
        self,
        validator: TokenValidator,
        options: Options,
        revocations: RevocationList | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """What is cached is checked against `revocations`, if there are any."""
        self._revocations = revocations
        self._validator = validator
        self._ttl_s = options.token_cache_time
        self._with_catalog = options.include_service_catalog
        self._clock = clock
        self._local: LocalCache[_Known | str] = LocalCache(clock=clock)  # or why refused
        self._flights: SingleFlight[_Known] = SingleFlight()

    def find(self, token: str, shared: SharedCache | None, allow_expired: bool = False) -> Identity:
        """The identity. Raises InvalidToken, or IdentityUnavailable."""
        key = sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        known = self._local.get(key)
        if not isinstance(known, _Known):
            # A service may be allowed what was refused to the user alone: then ask again.
            if known is not None and not allow_expired:
                raise InvalidToken(known)
            flight = f"{key}{'+' * allow_expired}"
            known = self._flights.call(flight, lambda: self._fetch(key, token, shared, allow_expired))
        if self._revocations is not None and known.checked != self._revocations.generation:
            self._check_again(key, known, self._revocations, shared)
        if known.identity.expires <= self._clock() and not allow_expired:
            raise InvalidToken("it has expired")
        return known.identity

    def _check_again(
        self, key: str, known: _Known, revocations: RevocationList, shared: SharedCache | None
    ) -> None:
        """The list of revoked tokens has changed. Raises InvalidToken if it has this one now."""
        known.checked = revocations.generation
        if revocations.is_known(known.revocable_ids):
            raise self._refused(key, InvalidToken("it is revoked"), shared)

    def _fetch(self, key: str, token: str, shared: SharedCache | None, allow_expired: bool) -> _Known:
        kept = shared.get(key) if shared else None
        if kept == CACHED_AS_INVALID and not allow_expired:
            raise InvalidToken("it was refused to somebody else a moment ago")
        if isinstance(kept, dict):
            try:
                identity = Identity.from_body(kept, token, self._with_catalog)
            except MalformedBody as error:
                logger.warning("shared cache: %s", error)
            else:
                return self._remember(key, token, identity, kept, self._ttl_s * LOCAL_SHARE_OF_TTL)
        return self._validate(key, token, shared, allow_expired)

    def _validate(self, key: str, token: str, shared: SharedCache | None, allow_expired: bool) -> _Known:
        try:
            body = self._validator.validate(token, allow_expired)
            identity = Identity.from_body(body, token, self._with_catalog)
            if identity.is_unscoped_v2:
                raise InvalidToken("it has no project")
        except InvalidToken as refusal:
            raise self._refused(key, refusal, shared) from None
        except MalformedBody as error:
            raise IdentityUnavailable(f"Keystone's answer is {error}") from None
        if shared and self._ttl_s >= 1:
            shared.set(key, body, self._ttl_s)
        return self._remember(key, token, identity, body, self._ttl_s)

    def _remember(
        self, key: str, token: str, identity: Identity, body: Mapping[str, Any], ttl_s: float
    ) -> _Known:
        revocations = self._revocations
        ids = revocations.ids_of(token, body) if revocations else frozenset[str]()
        known = _Known(identity, ids, -1)  # to be checked before it is used
        self._local.put(key, known, ttl_s)
        return known

    def _refused(self, key: str, refusal: InvalidToken, shared: SharedCache | None) -> InvalidToken:
        """The refusal, remembered."""
        ttl_s = min(REFUSAL_TTL_S, self._ttl_s)
        self._local.put(key, refusal.why, ttl_s)
        if shared and ttl_s >= 1:
            shared.set(key, CACHED_AS_INVALID, ttl_s)
        return refusal


class AuthToken:
    """The filter."""

    def __init__(
        self, app: WSGIApp, options: Options, identities: TokenIdentities, authenticate_uri: str
    ) -> None:
        self._app = app
        self._options = options
        self._identities = identities
        self._challenge = f'Keystone uri="{authenticate_uri}"'
        self._cache_key = options.cache if _shares_cache(options) else ""
        self._service_roles = frozenset(options.service_token_roles)
        self._is_bind_free = options.enforce_token_bind in ("disabled", "permissive", "strict")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Any:
        for key in identity_keys.KEYS.intersection(environ):
            del environ[key]
        if AUTHORIZE in environ and environ.get("REMOTE_USER"):
            return self._app(environ, start_response)  # another auth system in front knows the token
        try:
            is_confirmed = self._identify(environ)
        except IdentityUnavailable as error:
            logger.error("%s: a token cannot be validated, answered 503: %s", self._challenge, error)
            unavailable = Response(503, {"Retry-After": RETRY_AFTER_S}, "The identity service is unavailable")
            return unavailable(environ, start_response)
        if not is_confirmed and not self._options.delay_auth_decision:
            return Response(401, {CHALLENGE: self._challenge}, "Authentication required")(
                environ, start_response
            )

        def start_challenged(status: str, headers: HeaderList, exc_info: Any = None) -> Any:
            if status.startswith("401"):
                headers = [*headers, (CHALLENGE, self._challenge)]
            return start_response(status, headers, exc_info)

        return self._app(environ, start_challenged)

    def _identify(self, environ: Environ) -> bool:
        """Put what the tokens stand for into the environ; whether all that were sent are good."""
        service_token = environ.get("HTTP_X_SERVICE_TOKEN")
        service = self._find_service(environ, service_token) if service_token else None
        user = self._find_user(environ, service)
        if user is None:
            environ[identity_keys.STATUS] = INVALID
        else:
            environ.update(user.environ)
        if service is not None:
            environ.update(service.service_environ)
            if user is not None:
                environ[TOKEN_AUTH] = TokenAuth(user.access, service.access)
        elif service_token:
            environ[identity_keys.SERVICE_STATUS] = INVALID
        return user is not None and (service is not None or not service_token)

    def _find_user(self, environ: Environ, service: Identity | None) -> Identity | None:
        token = environ.get("HTTP_X_AUTH_TOKEN", environ.get("HTTP_X_STORAGE_TOKEN"))
        if not token:
            return None
        # What a service started for a user goes on when the user's token runs out in the middle.
        allow_expired = service is not None and not self._service_roles.isdisjoint(service.roles)
        try:
            identity = self._identities.find(token.strip(), self._shared(environ), allow_expired)
            if identity.bind or not self._is_bind_free:
                self._check_binding(identity, environ)
        except InvalidToken as refusal:
            logger.info("token refused: %s", refusal.why)
            return None
        return identity

    def _find_service(self, environ: Environ, token: str) -> Identity | None:
        try:
            identity = self._identities.find(token.strip(), self._shared(environ))
            self._check_binding(identity, environ)
            if self._options.service_token_roles_required and self._service_roles.isdisjoint(identity.roles):
                raise InvalidToken("it has none of service_token_roles")
        except InvalidToken as refusal:
            logger.info("service token refused: %s", refusal.why)
            return None
        return identity

    def _check_binding(self, identity: Identity, environ: Environ) -> None:
        why = broken_binding(self._options.enforce_token_bind, identity.bind, environ)
        if why:
            raise InvalidToken(why)

    def _shared(self, environ: Environ) -> SharedCache | None:
        client = environ.get(self._cache_key) if self._cache_key else None
        return SharedCache(client) if client is not None else None


def _shares_cache(options: Options) -> bool:
    if not options.cache:
        return False
    if options.memcache_security_strategy.lower() not in ("none", ""):
        logger.warning(
            "memcache_security_strategy %s is not supported: tokens are cached in this process only",
            options.memcache_security_strategy,
        )
        return False
    return True


def make_filter(
    conf: Mapping[str, str],
    own: Mapping[str, str],
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = sleep,
    start: Callable[[Callable[[], None]], object] = spawn_n,
) -> Callable[[WSGIApp], AuthToken]:
    """The filter that a section makes; `own` is the section without its defaults. Raises ConfigError.

    `pause` waits some seconds, `start` runs something in the background.
    """
    user_options = ServiceUserOptions.from_conf(conf)
    user = ServiceUser.from_conf(conf, user_options)
    known = (*option_names(ServiceUserOptions), *user.plugin_options, *_OTHERS_OPTIONS)
    options = Options.from_conf(conf, own, known)
    if options.token_cache_time == 0 and options.cache:
        raise ConfigError("a shared cache needs a time to keep tokens", option="token_cache_time")
    keystone = keystone_as(user, user_options, pause)
    files = SigningFiles(options.signing_dir)
    certificates = SigningCertificates(keystone, files, clock)
    revocations = RevocationList(
        keystone,
        certificates,
        files,
        cache_time_s=options.revocation_cache_time,
        hash_algorithms=options.hash_algorithms,
        clock=clock,
        start=start,
    )
    online = OnlineValidator(keystone, options.include_service_catalog)
    signed = SignedTokenValidator(certificates, revocations, online)
    identities = TokenIdentities(
        ValidatorByForm(online, signed),
        options,
        revocations if options.check_revocations_for_cached else None,
        clock,
    )
    return lambda app: AuthToken(app, options, identities, options.www_authenticate_uri or user.public_root)


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], AuthToken]:
    return make_filter({**global_conf, **local_conf}, local_conf)
