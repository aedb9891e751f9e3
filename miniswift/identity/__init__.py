"""The embedded identity service: enough of Keystone for a machine of its own.

It issues and validates tokens in three dialects (v1 headers, Keystone v2.0, Keystone v3) for the users
of one YAML file, so that `miniswift serve` needs nothing else and a deployment can point the same
clients at a real Keystone later.

    request → Application → V1 | V2 | V3 → Authority → Store (users), TokenTable (tokens), Logins (passwords)

1. The dialects translate; only the Authority decides.
2. Whatever goes wrong becomes one JSON error document here; a refused login says no more than that.
3. Processes share nothing but the two files: the identity file and the token database.

Not here: validating tokens for Swift requests (middleware/authtoken), access to containers (keystoneauth).
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import webob

from miniswift import config
from miniswift.config import Settings, option
from miniswift.errors import BadRequestBody, ConfigError
from miniswift.identity import logins, tokens
from miniswift.identity.authority import Authority
from miniswift.identity.catalog import check_template, object_store_template
from miniswift.identity.database import Database, DatabaseError
from miniswift.identity.documents import DocumentError
from miniswift.identity.ec2 import EC2
from miniswift.identity.faults import BadRequest, Fault, Unavailable
from miniswift.identity.pki import PKI
from miniswift.identity.signing_keys import SigningKeys
from miniswift.identity.store import Secrets, Store
from miniswift.identity.v1 import V1
from miniswift.identity.v2 import V2
from miniswift.identity.v3 import V3
from miniswift.identity.versions import Versions
from miniswift.identity.web import fault_answer, respond
from miniswift.responses import Environ, StartResponse
from miniswift.signed_tokens import hash_algorithm

__all__ = ["Application", "IdentitySettings", "Secrets", "Store", "app_factory"]

logger = logging.getLogger(__name__)


def _url(value: str) -> str:
    url = value.strip().rstrip("/")
    if url:
        check_template(url)
    return url


def _token_format(value: str) -> str:
    name = value.strip().lower()
    if name not in ("uuid", "pki", "pkiz"):
        raise ValueError("expected uuid, pki or pkiz")
    return name


@dataclass(frozen=True)
class IdentitySettings(Settings):
    """The options of [app:identity]."""

    identity_file: str = option(
        config.text, "identity.yaml", "users, projects, roles; a relative path starts at this file's folder"
    )
    token_database: str = option(
        config.text, "tokens.db", "issued tokens, made when missing; shared by all workers of this machine"
    )
    token_expiration: int = option(config.positive, "86400", "seconds that a token lives")
    token_format: str = option(
        _token_format, "uuid", "uuid, or pki or pkiz: signed ones, which a proxy checks without asking"
    )
    signing_dir: str = option(
        config.text, "ssl", "the signing certificate, its CA and their keys; what is missing is made"
    )
    hash_algorithm: str = option(
        hash_algorithm, "md5", "hash that stands for a token in the list of revoked ones"
    )
    public_url: str = option(
        _url, "", "this service's URL for clients; when empty, as the client or the identity file wrote it"
    )
    object_store_url: str = option(
        _url, "", "the proxy's URL for clients, without /v1; when empty, as the identity file has it"
    )
    max_failed_logins: int = option(
        config.positive, "10", "failed logins of one user from one address before more are refused with 429"
    )
    failed_login_window: int = option(
        config.positive, "60", "seconds after the first of them until they are forgotten"
    )


class Application:
    """The WSGI application."""

    def __init__(self, settings: IdentitySettings, clock: Callable[[], float] = time.time) -> None:
        """Open the files. Raises ConfigError."""
        self._signing_keys = functools.cache(lambda: SigningKeys.of_folder(settings.signing_dir, clock))
        database = Database(settings.token_database, tokens.SCHEMA, logins.SCHEMA)
        self.store = Store(settings.identity_file, _service_urls(settings))
        try:
            database.prepare()
        except DatabaseError as error:
            raise ConfigError(str(error), option="token_database") from None
        authority = Authority(
            self.store,
            tokens.TokenTable(database, settings.hash_algorithm, clock),
            logins.Logins(database, settings.max_failed_logins, settings.failed_login_window, clock),
            self._format(settings.token_format),
            settings.token_expiration,
            clock,
        )
        self._database = database
        self._routes = [
            *EC2(authority, clock).routes(),
            *PKI(authority, self._signing_keys).routes(),
            *V3(authority).routes(),
            *V2(authority).routes(),
            *V1(authority).routes(),
            *Versions(settings.public_url).routes(),
        ]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = webob.Request(environ)
        try:
            response = self._respond(request)
        except Fault as fault:
            response = fault_answer(fault, request)
        body: Iterable[bytes] = response(environ, start_response)
        return body

    def _respond(self, request: webob.Request) -> webob.Response:
        try:
            return respond(self._routes, request)
        except DocumentError as error:
            raise BadRequest(f"{error}.") from None
        except BadRequestBody as error:
            raise BadRequest(str(error)) from None
        except DatabaseError as error:
            logger.error("the token database failed: %s", error)
            raise Unavailable("The token database cannot be used now.") from None

    def _format(self, name: str) -> tokens.TokenFormat:
        if name == "uuid":
            return tokens.UUIDFormat()
        return tokens.PKIFormat(self._signing_keys(), is_compressed=name == "pkiz")

    def close(self) -> None:
        self._database.close()


def _service_urls(settings: IdentitySettings) -> dict[str, str]:
    urls = {}
    if settings.public_url:
        urls["identity"] = settings.public_url
    if settings.object_store_url:
        urls["object-store"] = object_store_template(settings.object_store_url)
    return urls


def app_factory(global_conf: Mapping[str, str], **local_conf: str) -> Application:
    """Paste's entry point. Raises ConfigError."""
    settings = IdentitySettings.from_conf({**global_conf, **local_conf}, local_conf)
    here = global_conf.get("here", "")
    return Application(
        replace(
            settings,
            identity_file=os.path.join(here, settings.identity_file),
            token_database=os.path.join(here, settings.token_database),
            signing_dir=os.path.join(here, settings.signing_dir),
        )
    )
