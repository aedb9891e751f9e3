"""The Keystone v2.0 API: logins, validation, and the tenants a user can choose from.

It knows no domains: all users and tenants (its word for projects) are those of the default one, and a
token of another domain is not shown here.
"""

from __future__ import annotations

import time
from typing import Any

import webob

from miniswift.identity.authority import Authority, Grant
from miniswift.identity.catalog import Catalog
from miniswift.identity.directory import DEFAULT_DOMAIN_ID, Project, Reference, User, derived_id
from miniswift.identity.documents import Document
from miniswift.identity.faults import BadRequest, Unauthorized
from miniswift.identity.tokens import Token
from miniswift.identity.web import Route, answer, header_text, host_name, parameters, read_json


class V2:
    """The v2.0 dialect."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def routes(self) -> list[Route]:
        return [
            Route("/v2.0/tokens", {"POST": self.log_in}),
            Route("/v2.0/tokens/{token}", {"GET": self.validate, "DELETE": self.revoke}),
            Route("/v2.0/tokens/{token}/endpoints", {"GET": self.endpoints}),
            Route("/v2.0/tenants", {"GET": self.tenants}),
        ]

    def log_in(self, request: webob.Request) -> webob.Response:
        auth = read_json(request).object("auth")
        host = host_name(request)
        user, methods, parent = self._identify(auth, request.remote_addr or "")
        project = self._project(auth)
        token, grant = self._authority.issue(
            user, project, methods, lambda grant: access_body(grant, host), parent
        )
        return answer(access_body(grant, host, token))

    def _identify(self, auth: Document, address: str) -> tuple[User, tuple[str, ...], Token | None]:
        """Who asks, how they proved it, and the token that they proved it with."""
        if "token" in auth:
            held = self._authority.get_grant(auth.object("token").text("id"))
            if held is None or held.user.domain_id != DEFAULT_DOMAIN_ID:
                raise Unauthorized
            return held.user, ("token",), held.token
        if "passwordCredentials" not in auth:
            raise BadRequest("auth needs passwordCredentials or token.")
        credentials = auth.object("passwordCredentials")
        user_id, name = credentials.get_text("userId"), credentials.get_text("username")
        if bool(user_id) == bool(name):
            raise BadRequest("auth.passwordCredentials needs one of username and userId.")
        who = Reference(id=user_id, name=name, domain_id=DEFAULT_DOMAIN_ID)
        user = self._authority.log_in(who, credentials.text("password"), address)
        if user.domain_id != DEFAULT_DOMAIN_ID:
            raise Unauthorized
        return user, ("password",), None

    def _project(self, auth: Document) -> Project | None:
        tenant_id, name = auth.get_text("tenantId"), auth.get_text("tenantName")
        if tenant_id and name:
            raise BadRequest("auth has tenantId and tenantName; one is enough.")
        if not tenant_id and not name:
            return None
        where = Reference(id=tenant_id, name=name, domain_id=DEFAULT_DOMAIN_ID)
        project = self._authority.store.directory().find_project(where)
        if project is None or project.domain_id != DEFAULT_DOMAIN_ID:
            raise Unauthorized
        return project

    def validate(self, request: webob.Request, token: str) -> webob.Response:
        grant = self._subject(request, token)
        belongs_to = parameters(request).get("belongsTo")
        if belongs_to is not None and (grant.project is None or grant.project.id != belongs_to):
            raise Unauthorized("This token does not belong to that tenant.")
        return answer(access_body(grant, host_name(request), token))

    def revoke(self, request: webob.Request, token: str) -> webob.Response:
        caller = self._authority.caller(header_text(request, "X-Auth-Token"))
        self._authority.revoke(caller, token)
        return answer(None, 204)

    def endpoints(self, request: webob.Request, token: str) -> webob.Response:
        grant = self._subject(request, token)
        services = Catalog(grant.directory, grant.project, host_name(request)).v2()
        endpoints = [
            {"type": service["type"], "name": service["name"], **endpoint}
            for service in services
            for endpoint in service["endpoints"]
        ]
        return answer({"endpoints": endpoints, "endpoints_links": []})

    def tenants(self, request: webob.Request) -> webob.Response:
        caller = self._authority.caller(header_text(request, "X-Auth-Token"))
        projects = caller.directory.projects_of(caller.user)
        mine = [_tenant(project) for project in projects if project.domain_id == DEFAULT_DOMAIN_ID]
        return answer({"tenants": mine, "tenants_links": []})

    def _subject(self, request: webob.Request, token: str) -> Grant:
        caller = self._authority.caller(header_text(request, "X-Auth-Token"))
        grant = self._authority.subject(caller, token)
        is_foreign = grant.project is not None and grant.project.domain_id != DEFAULT_DOMAIN_ID
        if is_foreign or grant.domain is not None or grant.user.domain_id != DEFAULT_DOMAIN_ID:
            raise Unauthorized("This token is of a domain; ask for it with v3.")
        return grant


def access_body(grant: Grant, host: str, token: str = "placeholder") -> dict[str, Any]:
    """The v2.0 form of a token, as in answers and as a signed token carries it (with a placeholder)."""
    user, project = grant.user, grant.project
    token_part: dict[str, Any] = {
        "id": token,
        "issued_at": _iso(grant.token.issued_at),
        "expires": _iso(grant.token.expires_at),
        "audit_ids": list(grant.token.audit_ids),
    }
    if project is not None:
        token_part["tenant"] = _tenant(project)
    return {
        "access": {
            "token": token_part,
            "user": {
                "id": user.id,
                "name": user.name,
                "username": user.name,
                "roles": [{"name": role} for role in grant.roles],
                "roles_links": [],
            },
            "serviceCatalog": Catalog(grant.directory, project, host).v2() if project else [],
            "metadata": {"is_admin": 0, "roles": [derived_id("role", role) for role in grant.roles]},
        }
    }


def _tenant(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "description": project.description,
        "enabled": project.is_enabled,
    }


def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
