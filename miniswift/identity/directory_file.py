"""The text form of a directory: YAML that people read and edit.

`parse` accepts what a person would write by hand: a project's or user's domain, `enabled`, and the
internal and admin URLs may be left out, and a user's roles name a project by its name or its id.
`render` writes the same with nothing implied but these defaults.

1. parse(render(directory)) == directory.
2. Whatever is wrong raises DocumentError that names the entry; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from miniswift.identity import passwords
from miniswift.identity.catalog import check_template
from miniswift.identity.directory import (
    DEFAULT_DOMAIN_ID,
    Credential,
    Directory,
    Domain,
    Project,
    Service,
    User,
)
from miniswift.identity.documents import Document, DocumentError

HEADER = """\
# miniswift's identity file: who may use the object store, and as what.
#
# Edit it by hand, or with `miniswift user add`, `user list` and `user remove`. A running service sees a
# change at once; a file with a mistake is refused with a log line, and the service goes on as before.
# The commands rewrite the file and keep no comment but this one.
#
#   domains   name spaces; one, `default`, is enough for most
#   projects  each owns one account of the store: the project with id X has AUTH_X
#   users     `roles` says what a user is in which project:
#                 swiftoperator   does everything in the project's account
#                 ResellerAdmin   does everything in every account
#                 admin, service  may validate everybody's tokens
#                 any other       does what container ACLs allow the role
#   password  a scrypt hash, never the password
#   ec2_credentials  access keys for signatures, and their secrets as they are: a signature needs them
#   services  the catalogue that clients get; %(project_id)s stands for the id of the token's project, and
#             %(host)s for the host name by which the client reached this service
#
# Keep it readable by its owner alone.
"""

# Ids stand in URLs, names in headers; role names in a header's comma list.
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_NAME = 255

_TOP = ("region", "services", "roles", "domains", "projects", "users")


def parse(text: str) -> Directory:
    """Read a directory. Raises DocumentError."""
    top = Document(_load_yaml(text))
    top.check_names(_TOP)
    domains = tuple(_domain(entry) for entry in top.objects("domains"))
    _check_unique("domains", (domain.id for domain in domains), "id")
    _check_unique("domains", (domain.name for domain in domains), "name")
    domain_ids = {domain.id for domain in domains}
    if DEFAULT_DOMAIN_ID not in domain_ids:
        raise DocumentError(f"domains must have one with the id {DEFAULT_DOMAIN_ID}")

    projects = tuple(_project(entry, domain_ids) for entry in top.objects("projects"))
    _check_unique("projects", (project.id for project in projects), "id")
    _check_unique("projects", ((project.domain_id, project.name) for project in projects), "name")

    roles = tuple(_role(role, f"roles[{index}]") for index, role in enumerate(top.texts("roles")))
    known = _Known(domains, projects, frozenset(roles))
    users = tuple(_user(entry, known) for entry in top.objects("users"))
    _check_unique("users", (user.id for user in users), "id")
    _check_unique("users", ((user.domain_id, user.name) for user in users), "name")
    _check_unique("users", (each.access for user in users for each in user.credentials), "access key")

    services = tuple(_service(entry) for entry in top.objects("services"))
    region = _name(top.get_text("region", "RegionOne"), "region")
    return Directory(domains, projects, users, services, roles, region)


def _load_yaml(text: str) -> Any:
    try:
        # Not libyaml's loader: brackets nested deeply enough end the process there.
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f"line {where.line + 1}: " if where else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise DocumentError(f"{line}not YAML: {problem}") from None
    except (ValueError, RecursionError) as error:  # an impossible date; brackets nested without end
        raise DocumentError(f"not YAML: {error}") from None


class _Known:
    """What users may refer to."""

    def __init__(self, domains: Iterable[Domain], projects: Iterable[Project], roles: frozenset[str]) -> None:
        self.domain_ids = {domain.id for domain in domains}
        self.roles = roles
        self._projects_by_id = {project.id: project for project in projects}
        self._projects_by_name = {(project.domain_id, project.name): project for project in projects}

    def project_id(self, word: str, domain_id: str, place: str) -> str:
        by_id = self._projects_by_id.get(word)
        by_name = self._projects_by_name.get((domain_id, word))
        if by_id and by_name and by_id is not by_name:
            raise DocumentError(f"{place}: {word!r} is one project's id and another's name")
        project = by_id or by_name
        if project is None:
            raise DocumentError(f"{place}: there is no project {word!r}")
        return project.id


def _domain(entry: Document) -> Domain:
    entry.check_names(("id", "name"))
    return Domain(_id(entry), _name(entry.text("name"), entry.at("name")))


def _project(entry: Document, domain_ids: set[str]) -> Project:
    entry.check_names(("id", "name", "domain", "description", "enabled"))
    return Project(
        id=_id(entry),
        name=_name(entry.text("name"), entry.at("name")),
        domain_id=_domain_id(entry, domain_ids),
        description=entry.get_text("description"),
        is_enabled=entry.get_flag("enabled", True),
    )


def _user(entry: Document, known: _Known) -> User:
    known_names = ("id", "name", "domain", "password", "roles", "domain_roles", "enabled", "ec2_credentials")
    entry.check_names(known_names)
    domain_id = _domain_id(entry, known.domain_ids)
    hashed = entry.text("password")
    try:
        passwords.check_hash(hashed)
    except ValueError as error:
        raise DocumentError(f"{entry.at('password')}: {error}") from None

    project_roles: dict[str, tuple[str, ...]] = {}
    for word, roles in _grants(entry, "roles", known.roles).items():
        project_id = known.project_id(word, domain_id, entry.at("roles"))
        if project_id in project_roles:
            raise DocumentError(f"{entry.at('roles')}: the project {word!r} stands there twice")
        project_roles[project_id] = roles
    domain_roles = _grants(entry, "domain_roles", known.roles)
    for word in domain_roles:
        if word not in known.domain_ids:
            raise DocumentError(f"{entry.at('domain_roles')}: there is no domain with the id {word!r}")

    name = _name(entry.text("name"), entry.at("name"))
    is_enabled = entry.get_flag("enabled", True)
    credentials = tuple(_credential(each, domain_id, known) for each in entry.objects("ec2_credentials"))
    return User(_id(entry), name, hashed, domain_id, project_roles, domain_roles, is_enabled, credentials)


def _credential(entry: Document, domain_id: str, known: _Known) -> Credential:
    entry.check_names(("access", "secret", "project"))
    project_id = known.project_id(entry.text("project"), domain_id, entry.at("project"))
    return Credential(_id(entry, "access"), _name(entry.text("secret"), entry.at("secret")), project_id)


def _grants(entry: Document, name: str, known_roles: frozenset[str]) -> dict[str, tuple[str, ...]]:
    grants = entry.get_object(name)
    for where in grants.names():
        for role in grants.texts(where):
            if role not in known_roles:
                raise DocumentError(f"{grants.at(where)}: {role!r} is not among the roles of this file")
    return {where: tuple(grants.texts(where)) for where in grants.names()}


def _service(entry: Document) -> Service:
    entry.check_names(("type", "name", "public_url", "internal_url", "admin_url"))
    public_url = entry.text("public_url")
    service = Service(
        type=_name(entry.text("type"), entry.at("type")),
        name=_name(entry.get_text("name", entry.text("type")), entry.at("name")),
        public_url=public_url,
        internal_url=entry.get_text("internal_url", public_url),
        admin_url=entry.get_text("admin_url", public_url),
    )
    for name in ("public_url", "internal_url", "admin_url"):
        try:
            check_template(getattr(service, name))
        except ValueError as error:
            raise DocumentError(f"{entry.at(name)}: {error}") from None
    return service


def _id(entry: Document, name: str = "id") -> str:
    value = entry.text(name)
    if not _ID.fullmatch(value):
        raise DocumentError(f"{entry.at(name)} must be 1 to 64 letters, digits, _, . or -")
    return value


def _domain_id(entry: Document, known: set[str]) -> str:
    value = entry.get_text("domain", DEFAULT_DOMAIN_ID)
    if value not in known:
        raise DocumentError(f"{entry.at('domain')}: there is no domain with the id {value!r}")
    return value


def _name(value: str, place: str) -> str:
    try:
        return check_name(value)
    except ValueError as error:
        raise DocumentError(f"{place} {error}") from None


def _role(value: str, place: str) -> str:
    try:
        return check_role(value)
    except ValueError as error:
        raise DocumentError(f"{place} {error}") from None


def check_name(value: str) -> str:
    """Return a name that can stand in a header. Raises ValueError."""
    if not 0 < len(value) <= _MAX_NAME or not value.isprintable() or value != value.strip():
        raise ValueError(f"must be 1 to {_MAX_NAME} printable characters without spaces around them")
    return value


def check_role(value: str) -> str:
    """Return a role name that can stand in a list separated by commas. Raises ValueError."""
    if "," in check_name(value):
        raise ValueError("must have no comma")
    return value


def _check_unique(place: str, keys: Iterable[object], what: str) -> None:
    seen = set()
    for key in keys:
        if key in seen:
            shown = key[-1] if isinstance(key, tuple) else key
            raise DocumentError(f"{place}: two have the {what} {shown!r}")
        seen.add(key)


# --- writing ---------------------------------------------------------------------------------------


def render(directory: Directory) -> str:
    """The directory as a whole file."""
    document = {
        "region": directory.region,
        "services": [_service_entry(service) for service in directory.services],
        "roles": list(directory.roles),
        "domains": [{"id": domain.id, "name": domain.name} for domain in directory.domains],
        "projects": [_project_entry(project) for project in directory.projects],
        "users": [_user_entry(user, directory) for user in directory.users],
    }
    body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return f"{HEADER}\n{body}"


def _service_entry(service: Service) -> dict[str, str]:
    entry = {"type": service.type, "name": service.name, "public_url": service.public_url}
    if service.internal_url != service.public_url:
        entry["internal_url"] = service.internal_url
    if service.admin_url != service.public_url:
        entry["admin_url"] = service.admin_url
    return entry


def _owned_entry(owned: Project | User) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": owned.id, "name": owned.name}
    if owned.domain_id != DEFAULT_DOMAIN_ID:
        entry["domain"] = owned.domain_id
    if not owned.is_enabled:
        entry["enabled"] = False
    return entry


def _project_entry(project: Project) -> dict[str, Any]:
    entry = _owned_entry(project)
    if project.description:
        entry["description"] = project.description
    return entry


def _user_entry(user: User, directory: Directory) -> dict[str, Any]:
    entry = _owned_entry(user) | {"password": user.password}
    entry["roles"] = {
        _project_word(project_id, user, directory): list(roles)
        for project_id, roles in user.project_roles.items()
    }
    if user.domain_roles:
        entry["domain_roles"] = _as_lists(user.domain_roles)
    if user.credentials:
        entry["ec2_credentials"] = [
            {
                "access": each.access,
                "secret": each.secret,
                "project": _project_word(each.project_id, user, directory),
            }
            for each in user.credentials
        ]
    return entry


def _project_word(project_id: str, user: User, directory: Directory) -> str:
    """A project's name where it says enough; otherwise its id."""
    project = directory.get_project(project_id)
    if project and project.domain_id == user.domain_id and directory.get_project(project.name) is None:
        return project.name
    return project_id


def _as_lists(grants: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {where: list(roles) for where, roles in grants.items()}
