"""The directory: which domains, projects, users and services there are, at one moment.

A `Directory` never changes; an edit makes another one. What it holds was checked when it was read
(directory_file), so lookups only miss, they never fail.

1. Ids are unique among domains, among projects and among users; names are unique within a domain.
2. Every id that a project or a user refers to exists.

Not here: the text form (directory_file), the file (store), what a token may do (authority).
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

DEFAULT_DOMAIN_ID = "default"  # the domain of all v1 and v2.0 users, as in Keystone

_NAMESPACE = uuid.UUID("6b1c2a52-5a1e-4c1f-9b7b-8f5f0f3f1d0e")

T = TypeVar("T", "Domain", "Project", "User")


def make_id() -> str:
    return uuid.uuid4().hex


@functools.lru_cache(maxsize=1024)
def derived_id(*parts: str) -> str:
    """A lasting id for something known by its name alone: a role, a service, an endpoint."""
    return uuid.uuid5(_NAMESPACE, "\0".join(parts)).hex


@dataclass(frozen=True)
class Domain:
    """A name space for projects and users."""

    id: str
    name: str


@dataclass(frozen=True)
class Project:
    """What owns storage: the project with id X has the account AUTH_X."""

    id: str
    name: str
    domain_id: str = DEFAULT_DOMAIN_ID
    description: str = ""
    is_enabled: bool = True


@dataclass(frozen=True)
class Credential:
    """An access key and its secret: with it the user signs requests about one project."""

    access: str
    secret: str = field(repr=False)
    project_id: str


@dataclass(frozen=True)
class User:
    """Somebody who can log in, and the roles they have in which project or domain."""

    id: str
    name: str
    password: str = field(repr=False)  # a hash made by passwords
    domain_id: str = DEFAULT_DOMAIN_ID
    project_roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by project id
    domain_roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by domain id
    is_enabled: bool = True
    credentials: tuple[Credential, ...] = ()

    def with_roles(self, project: Project, roles: tuple[str, ...]) -> User:
        """The user with exactly these roles in `project`; none takes the project away."""
        others = {id_: held for id_, held in self.project_roles.items() if id_ != project.id}
        return replace(self, project_roles=others | {project.id: roles} if roles else others)


@dataclass(frozen=True)
class Service:
    """Something the catalogue names, and where it is; its URLs are templates (see catalog)."""

    type: str
    name: str
    public_url: str
    internal_url: str
    admin_url: str


@dataclass(frozen=True)
class Reference:
    """How a request names a user or a project: by id, or by name within a domain."""

    id: str = ""
    name: str = ""
    domain_id: str = ""
    domain_name: str = ""


@dataclass(frozen=True)
class Directory:
    """Everything the identity file says."""

    domains: tuple[Domain, ...] = (Domain(DEFAULT_DOMAIN_ID, "Default"),)
    projects: tuple[Project, ...] = ()
    users: tuple[User, ...] = ()
    services: tuple[Service, ...] = ()
    roles: tuple[str, ...] = ()
    region: str = "RegionOne"

    def get_domain(self, domain_id: str) -> Domain | None:
        return self._domains_by_id.get(domain_id)

    def get_project(self, project_id: str) -> Project | None:
        return self._projects_by_id.get(project_id)

    def get_user(self, user_id: str) -> User | None:
        return self._users_by_id.get(user_id)

    def find_domain(self, reference: Reference) -> Domain | None:
        """The domain that a reference names in its domain part."""
        if reference.domain_id:
            return self.get_domain(reference.domain_id)
        return self._domains_by_name.get(reference.domain_name)

    def find_project(self, reference: Reference) -> Project | None:
        if reference.id:
            return self.get_project(reference.id)
        domain = self.find_domain(reference)
        return self._projects_by_name.get((domain.id, reference.name)) if domain else None

    def find_user(self, reference: Reference) -> User | None:
        if reference.id:
            return self.get_user(reference.id)
        domain = self.find_domain(reference)
        return self._users_by_name.get((domain.id, reference.name)) if domain else None

    def find_credential(self, access: str) -> tuple[User, Credential] | None:
        """The enabled user with this access key, and the key."""
        found = self._credentials_by_access.get(access)
        return found if found and found[0].is_enabled else None

    def domain_of(self, owned: Project | User) -> Domain:
        return self._domains_by_id[owned.domain_id]

    def projects_of(self, user: User) -> list[Project]:
        """The enabled projects in which the user has a role, by name."""
        projects = (self._projects_by_id[id_] for id_, roles in user.project_roles.items() if roles)
        return sorted((project for project in projects if project.is_enabled), key=lambda p: p.name)

    def domains_of(self, user: User) -> list[Domain]:
        """The domains on which the user has a role, by name."""
        domains = (self._domains_by_id[id_] for id_, roles in user.domain_roles.items() if roles)
        return sorted(domains, key=lambda domain: domain.name)

    # --- edits: each makes a new directory ---------------------------------------------------------

    def with_project(self, project: Project) -> Directory:
        return replace(self, projects=_put(self.projects, project))

    def with_user(self, user: User) -> Directory:
        """With `user` in place of the one with its id, and any new role of theirs made known."""
        new_roles = [
            role
            for roles in [*user.project_roles.values(), *user.domain_roles.values()]
            for role in roles
            if role not in self.roles
        ]
        return replace(self, users=_put(self.users, user), roles=(*self.roles, *dict.fromkeys(new_roles)))

    def without_user(self, user: User) -> Directory:
        return replace(self, users=tuple(other for other in self.users if other.id != user.id))

    def with_service_urls(self, urls: Mapping[str, str]) -> Directory:
        """With other URLs for the services of these types; a type that is new gets a service."""
        kept = tuple(service for service in self.services if service.type not in urls)
        names = {service.type: service.name for service in self.services}
        moved = (Service(type_, names.get(type_, type_), url, url, url) for type_, url in urls.items())
        return replace(self, services=(*kept, *moved)) if urls else self

    # --- indexes -----------------------------------------------------------------------------------

    @functools.cached_property
    def _credentials_by_access(self) -> dict[str, tuple[User, Credential]]:
        return {each.access: (user, each) for user in self.users for each in user.credentials}

    @functools.cached_property
    def _domains_by_id(self) -> dict[str, Domain]:
        return {domain.id: domain for domain in self.domains}

    @functools.cached_property
    def _domains_by_name(self) -> dict[str, Domain]:
        return {domain.name: domain for domain in self.domains}

    @functools.cached_property
    def _projects_by_id(self) -> dict[str, Project]:
        return {project.id: project for project in self.projects}

    @functools.cached_property
    def _projects_by_name(self) -> dict[tuple[str, str], Project]:
        return {(project.domain_id, project.name): project for project in self.projects}

    @functools.cached_property
    def _users_by_id(self) -> dict[str, User]:
        return {user.id: user for user in self.users}

    @functools.cached_property
    def _users_by_name(self) -> dict[tuple[str, str], User]:
        return {(user.domain_id, user.name): user for user in self.users}


def _put(items: tuple[T, ...], item: T) -> tuple[T, ...]:
    """`items` with `item` in the place of the one with its id, or at the end."""
    by_id = {other.id: other for other in items} | {item.id: item}
    return tuple(by_id.values())
