"""The Keystone v3 API, as far as the clients of an object store use it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import webob

from miniswift.identity.authority import ADMIN_ROLE, Authority, Grant, Scope
from miniswift.identity.catalog import Catalog
from miniswift.identity.directory import Domain, Project, Reference, User, derived_id
from miniswift.identity.documents import Document
from miniswift.identity.faults import BadRequest, Forbidden, NotFound, Unauthorized
from miniswift.identity.tokens import Token
from miniswift.identity.web import Route, answer, base_url, header_text, host_name, parameters, read_json

logger = logging.getLogger(__name__)


class V3:
    """The v3 dialect."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def routes(self) -> list[Route]:
        return [
            Route(
                "/v3/auth/tokens",
                {"POST": self.log_in, "GET": self.validate, "DELETE": self.revoke},
            ),
            Route("/v3/auth/catalog", {"GET": self.catalog}),
            Route("/v3/auth/projects", {"GET": self.own_projects}),
            Route("/v3/auth/domains", {"GET": self.own_domains}),
            Route("/v3/users/{user_id}/projects", {"GET": self.projects}),
        ]

    # --- logging in --------------------------------------------------------------------------------

    def log_in(self, request: webob.Request) -> webob.Response:
        auth = read_json(request).object("auth")
        host = host_name(request)
        wanted = _wanted(auth)
        user, parent = self._identify(auth.object("identity"), request.remote_addr or "")
        scope = self._find(wanted)
        methods = tuple(dict.fromkeys(auth.object("identity").texts("methods")))
        token, grant = self._authority.issue(
            user, scope, methods, lambda grant: token_body(grant, host), parent
        )
        body = token_body(grant, host, with_catalog="nocatalog" not in parameters(request))
        return answer(body, 201, {"X-Subject-Token": token})

    def _identify(self, identity: Document, address: str) -> tuple[User, Token | None]:
        """Who asks, and the token that they proved it with. All named methods must name one user."""
        methods = identity.texts("methods")
        if not methods:
            raise BadRequest("identity.methods must name password or token.")
        found: list[User] = []
        parent: Token | None = None
        for method in dict.fromkeys(methods):
            if method == "password":
                found.append(self._check_password(identity.object("password").object("user"), address))
            elif method == "token":
                held = self._authority.get_grant(identity.object("token").text("id"))
                if held is None:
                    raise Unauthorized
                found.append(held.user)
                parent = held.token
            else:
                raise Unauthorized("The methods known here are password and token.")
        if any(user.id != found[0].id for user in found):
            raise Unauthorized
        return found[0], parent

    def _check_password(self, user: Document, address: str) -> User:
        return self._authority.log_in(_reference(user), user.text("password"), address)

    def _find(self, wanted: _Wanted | None) -> Scope:
        if wanted is None:
            return None
        directory = self._authority.store.directory()
        find = directory.find_project if wanted.kind == "project" else directory.find_domain
        scope: Scope = find(wanted.reference)
        if scope is None:
            logger.info("login refused: there is no %s like the one asked for", wanted.kind)
            raise Unauthorized
        return scope

    # --- tokens ------------------------------------------------------------------------------------

    def validate(self, request: webob.Request) -> webob.Response:
        caller = self._caller(request)
        token = _subject_token(request)
        grant = self._authority.subject(caller, token)
        body = token_body(grant, host_name(request), with_catalog="nocatalog" not in parameters(request))
        return answer(body, headers={"X-Subject-Token": token})

    def revoke(self, request: webob.Request) -> webob.Response:
        self._authority.revoke(self._caller(request), _subject_token(request))
        return answer(None, 204)

    def _caller(self, request: webob.Request) -> Grant:
        return self._authority.caller(header_text(request, "X-Auth-Token"))

    # --- what a caller may choose from ---------------------------------------------------------------

    def catalog(self, request: webob.Request) -> webob.Response:
        caller = self._caller(request)
        if caller.scope is None:
            raise Forbidden("A token without a scope has no catalogue.")
        entries = Catalog(caller.directory, caller.project, host_name(request)).v3()
        return answer({"catalog": entries, "links": {"self": f"{base_url(request)}/v3/auth/catalog"}})

    def own_projects(self, request: webob.Request) -> webob.Response:
        caller = self._caller(request)
        return _listing(request, "projects", _project_entries(request, caller, caller.user))

    def own_domains(self, request: webob.Request) -> webob.Response:
        caller = self._caller(request)
        entries = [
            {
                "id": domain.id,
                "name": domain.name,
                "description": "",
                "enabled": True,
                "links": {"self": f"{base_url(request)}/v3/domains/{domain.id}"},
            }
            for domain in caller.directory.domains_of(caller.user)
        ]
        return _listing(request, "domains", entries)

    def projects(self, request: webob.Request, user_id: str) -> webob.Response:
        caller = self._caller(request)
        if user_id != caller.user.id and not caller.has_role(ADMIN_ROLE):
            raise Forbidden
        user = caller.directory.get_user(user_id)
        if user is None:
            raise NotFound("There is no such user.")
        return _listing(request, "projects", _project_entries(request, caller, user))


@dataclass(frozen=True)
class _Wanted:
    """The scope that a login asks for."""

    kind: str  # project or domain
    reference: Reference


def _wanted(auth: Document) -> _Wanted | None:
    """What `auth.scope` asks for; None is a token for nothing. Raises Fault, and DocumentError."""
    if "scope" not in auth or auth.value("scope") == "unscoped":
        return None
    scope = auth.object("scope")
    names = scope.names()
    if names == ["project"]:
        return _Wanted("project", _reference(scope.object("project")))
    if names == ["domain"]:
        return _Wanted("domain", _domain_reference(scope.object("domain")))
    if names == ["unscoped"]:
        return None
    if names == ["system"]:
        raise Unauthorized("Nobody has a role on the system here.")
    raise BadRequest("auth.scope must name one of project, domain and unscoped.")


def _reference(entry: Document) -> Reference:
    """A user or a project, by id or by name and domain. Raises BadRequest, and DocumentError."""
    if "id" in entry:
        return Reference(id=_not_empty(entry, "id"))
    domain = _domain_reference(entry.object("domain"))
    return Reference("", _not_empty(entry, "name"), domain.domain_id, domain.domain_name)


def _domain_reference(entry: Document) -> Reference:
    if "id" in entry:
        return Reference(domain_id=_not_empty(entry, "id"))
    return Reference(domain_name=_not_empty(entry, "name"))


def _not_empty(entry: Document, name: str) -> str:
    value = entry.text(name)
    if not value:
        raise BadRequest(f"{entry.at(name)} must not be empty.")
    return value


def _subject_token(request: webob.Request) -> str:
    token = header_text(request, "X-Subject-Token")
    if not token:
        raise BadRequest("X-Subject-Token must be the token that this is about.")
    return token


# --- bodies ----------------------------------------------------------------------------------------


def token_body(grant: Grant, host: str, with_catalog: bool = True) -> dict[str, Any]:
    """The v3 form of a token, as in answers and as a signed token carries it."""
    user, token = grant.user, grant.token
    body: dict[str, Any] = {
        "methods": list(token.methods),
        "user": {
            "id": user.id,
            "name": user.name,
            "domain": _named(grant.user_domain),
            "password_expires_at": None,
        },
        "audit_ids": list(token.audit_ids),
        "issued_at": _iso(token.issued_at),
        "expires_at": _iso(token.expires_at),
    }
    if grant.project is not None:
        domain = grant.directory.domain_of(grant.project)
        body["project"] = _named(grant.project) | {"domain": _named(domain)}
        body["is_domain"] = False
    if grant.domain is not None:
        body["domain"] = _named(grant.domain)
    if grant.scope is not None:
        body["roles"] = [{"id": derived_id("role", role), "name": role} for role in grant.roles]
        if with_catalog:
            body["catalog"] = Catalog(grant.directory, grant.project, host).v3()
    return {"token": body}


def _named(thing: Domain | Project) -> dict[str, Any]:
    return {"id": thing.id, "name": thing.name}


def _project_entries(request: webob.Request, caller: Grant, user: User) -> list[dict[str, Any]]:
    base = base_url(request)
    return [
        {
            "id": project.id,
            "name": project.name,
            "domain_id": project.domain_id,
            "description": project.description,
            "enabled": project.is_enabled,
            "parent_id": project.domain_id,
            "is_domain": False,
            "tags": [],
            "options": {},
            "links": {"self": f"{base}/v3/projects/{project.id}"},
        }
        for project in caller.directory.projects_of(user)
    ]


def _listing(request: webob.Request, name: str, entries: list[dict[str, Any]]) -> webob.Response:
    links = {"self": f"{base_url(request)}{request.path_info}", "next": None, "previous": None}
    return answer({name: entries, "links": links})


def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(seconds))
