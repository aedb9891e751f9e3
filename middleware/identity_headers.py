"""A token's body as the headers and environ keys that filters and applications know it by.

`Identity.from_body` reads Keystone's answer of either version once; a request then costs one
`environ.update(identity.environ)`.

1. Every key that can be set here is one of `identity_keys`: a client's own copies never get past authtoken.
2. Values are WSGI strings without control characters, whatever a user calls themselves.

Not here: whether the token may be used (authtoken).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from keystoneauth1 import access
from keystoneauth1.identity.base import BaseIdentityPlugin

from miniswift.errors import MiniswiftError
from miniswift.identity_keys import FIELDS, OLD_NAMES, SERVICE_STATUS
from miniswift.wsgi import TOKEN_AUTH, TOKEN_INFO, environ_key, to_wsgi

CONFIRMED = "Confirmed"
INVALID = "Invalid"

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


class MalformedBody(MiniswiftError, ValueError):
    """Raised when what should be a token's body is not; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for, in the forms a request needs. Shared by requests: nobody changes it."""

    environ: Mapping[str, Any]  # of a user's token
    service_environ: Mapping[str, str]  # of a service's token
    expires: float  # Unix time
    roles: frozenset[str]
    bind: Mapping[str, str]  # what the token is bound to: kind → identifier
    access: Any  # keystoneauth1's AccessInfo

    @classmethod
    def from_body(cls, body: Any, token: str, with_catalog: bool = True) -> Identity:
        """Read the body of a validated token. Raises MalformedBody."""
        if not isinstance(body, Mapping):
            raise MalformedBody("no JSON object")
        try:
            known = access.create(body=body, auth_token=token)
            headers = _headers(known, "X-")
            service_environ = {
                environ_key(name): value for name, value in _headers(known, "X-Service-").items()
            }
            headers["X-Identity-Status"] = CONFIRMED
            headers["X-Is-Admin-Project"] = str(bool(known.is_admin_project))
            headers.update((old, headers[new]) for old, new in OLD_NAMES if new in headers)
            if known.system_scoped and known.system.get("all"):
                headers["OpenStack-System-Scope"] = "all"
            if with_catalog and known.has_service_catalog():
                headers["X-Service-Catalog"] = json.dumps(_catalog(known))
            environ: dict[str, Any] = {environ_key(name): value for name, value in headers.items()}
            environ[TOKEN_INFO] = body
            environ[TOKEN_AUTH] = TokenAuth(known)
            return cls(
                environ=environ,
                service_environ=service_environ | {SERVICE_STATUS: CONFIRMED},
                expires=known.expires.timestamp(),
                roles=frozenset(known.role_names),
                bind=known.bind or {},
                access=known,
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise MalformedBody(f"no token's body: {type(error).__name__}") from None

    @property
    def is_unscoped_v2(self) -> bool:
        """Whether this is of API v2.0 without a project, which that API's users take for invalid."""
        return self.access.version == "v2.0" and not self.access.project_id


class TokenAuth(BaseIdentityPlugin):  # type: ignore[misc]
    """What a filter may give to a keystoneauth1 session to act as the user of the request."""

    def __init__(self, user: Any, service: Any = None) -> None:
        super().__init__(reauthenticate=False)
        self.user = user
        self.service = service

    @property
    def has_user_token(self) -> bool:
        return self.user is not None

    @property
    def has_service_token(self) -> bool:
        return self.service is not None

    def get_auth_ref(self, session: Any, **_options: Any) -> Any:
        return self.user


def _headers(known: Any, start: str) -> dict[str, str]:
    headers = {f"{start}Roles": _value(",".join(known.role_names))}
    for field, attribute in FIELDS:
        value = getattr(known, attribute)
        if value is not None:
            headers[f"{start}{field}"] = _value(value)
    return headers


def _value(text: str) -> str:
    """Text as a header's value. Keystone allows line ends in names; headers are no place for them."""
    return to_wsgi(_CONTROL_CHARACTERS.sub(lambda match: quote(match[0]), text))


def _catalog(known: Any) -> list[dict[str, Any]]:
    """The catalogue in the shape of v2.0, one endpoint a region with a URL for each interface."""
    services: list[dict[str, Any]] = known.service_catalog.catalog
    return services if known.version == "v2.0" else [_v2_service(service) for service in services]


def _v2_service(service: dict[str, Any]) -> dict[str, Any]:
    regions: dict[Any, dict[str, str]] = {}
    for endpoint in service.get("endpoints", ()):
        name = endpoint.get("region")
        region = regions.setdefault(name, {"region": name} if name else {})
        region[f"{endpoint['interface'].lower()}URL"] = endpoint["url"]
    converted = {key: value for key, value in service.items() if key in ("type", "name")}
    return {**converted, "endpoints": list(regions.values())}
