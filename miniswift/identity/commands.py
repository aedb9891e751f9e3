"""The commands `miniswift user add | list | remove`: who may use the store.

They edit `<root>/etc/identity.yaml`; a running service follows at once. The command line mounts them:
`add_arguments` declares them, `run` does what was asked and returns the exit status.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

from miniswift.errors import ConfigError
from miniswift.identity import passwords
from miniswift.identity.directory import (
    DEFAULT_DOMAIN_ID,
    Directory,
    Domain,
    Project,
    Reference,
    User,
    make_id,
)
from miniswift.identity.directory_file import check_name, check_role
from miniswift.identity.store import Store

DEFAULT_ROOT = "./miniswift-data"
DEFAULT_ROLE = "swiftoperator"

_ADD_HELP = f"""\
Add a user, or give an existing one roles in one more project.

The project is made if there is none of that name. Roles that matter to the store:
  {DEFAULT_ROLE}   does everything in the project's account (the default)
  ResellerAdmin   does everything in every account
  admin, service  may validate everybody's tokens
  any other       does what container ACLs allow that role

Without --password or --password-stdin a new user gets a random password, which is printed once.
An existing user's password changes only if one is given; tokens they hold then stop working.
"""

_REMOVE_HELP = """\
Remove a user, or with --project only their roles in that project.

Their tokens stop working at once. Projects, and what is stored in them, stay.
"""


class CommandError(ConfigError):
    """Raised when a command cannot be done as asked. Says what to do instead."""


def add_arguments(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `user` and its commands below a command line's subparsers."""
    user = subparsers.add_parser("user", help="add, list and remove the users of the identity file")
    user.set_defaults(run=run)
    commands = user.add_subparsers(dest="user_command", metavar="COMMAND", required=True)

    add = _command(commands, "add", "add a user, or a role to one", _ADD_HELP)
    add.add_argument("name", metavar="NAME")
    add.add_argument("--project", required=True, metavar="P", help="the project in which the roles are held")
    add.add_argument("--role", action="append", metavar="R", help=f"may be repeated ({DEFAULT_ROLE})")
    add.add_argument("--domain", default=DEFAULT_DOMAIN_ID, metavar="D", help="id or name (%(default)s)")
    secret = add.add_mutually_exclusive_group()
    secret.add_argument("--password", metavar="P", help="seen by all who list processes; better is:")
    secret.add_argument("--password-stdin", action="store_true", help="read it from standard input's line 1")

    listing = _command(commands, "list", "list users and their roles", "List users and their roles.")
    listing.add_argument("--json", action="store_true", help="one JSON list, for programs")

    remove = _command(commands, "remove", "remove a user, or their roles in a project", _REMOVE_HELP)
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--project", metavar="P", help="take away only the roles in this project")
    remove.add_argument("--domain", default=DEFAULT_DOMAIN_ID, metavar="D", help="id or name (%(default)s)")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help_line: str, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=help_line, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root",
        default=DEFAULT_ROOT,
        metavar="DIR",
        help="what `miniswift serve --root` was given (%(default)s)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what the arguments ask; the exit status is 1 when that cannot be done."""
    commands = {"add": _add, "list": _list, "remove": _remove}
    try:
        commands[args.user_command](args, _open_store(args.root))
    except ConfigError as error:
        print(f"miniswift: {error}", file=sys.stderr)
        return 1
    return 0


def _open_store(root: str) -> Store:
    path = os.path.join(root, "etc", "identity.yaml")
    if not os.path.exists(path):
        raise CommandError(
            f"there is no {path}: start `miniswift serve --root {root}` once, which makes it,"
            " or name another folder with --root"
        )
    return Store(path)


# --- add -------------------------------------------------------------------------------------------


def _add(args: argparse.Namespace, store: Store) -> None:
    roles = tuple(dict.fromkeys(args.role or [DEFAULT_ROLE]))
    _check("NAME", args.name, check_name)
    _check("--project", args.project, check_name)
    for role in roles:
        _check("--role", role, check_role)
    given = sys.stdin.readline().rstrip("\r\n") if args.password_stdin else args.password
    if given is not None:
        _check("the password", given, _check_password)
    made = passwords.make_password()
    hashed = passwords.hash_password(made if given is None else given)

    def change(directory: Directory) -> Directory:
        user, project = _find_or_make(directory, args, hashed)
        if given is not None:
            user = replace(user, password=hashed)
        held = user.project_roles.get(project.id, ())
        user = user.with_roles(project, tuple(dict.fromkeys((*held, *roles))))
        return directory.with_project(project).with_user(user)

    before = store.directory()
    after = store.edit(change)
    user, project = _find_or_make(after, args, hashed)
    if before.get_project(project.id) is None:
        print(f"project {project.name} is new; its account is AUTH_{project.id}")
    for role in roles:
        if role not in before.roles:
            print(f"role {role} is new; it does what container ACLs allow it")
    print(f"user {user.name} is now {', '.join(user.project_roles[project.id])} in project {project.name}")
    if given is None and user.password == hashed:
        print(f"password: {made}")


def _find_or_make(directory: Directory, args: argparse.Namespace, hashed: str) -> tuple[User, Project]:
    """The user and the project that the arguments name; `hashed` is a new user's password."""
    domain = _find_domain(directory, args.domain)
    user = directory.find_user(Reference(name=args.name, domain_id=domain.id))
    project = directory.find_project(Reference(name=args.project, domain_id=domain.id))
    return (
        user or User(make_id(), args.name, hashed, domain.id),
        project or Project(make_id(), args.project, domain.id),
    )


def _check(what: str, value: str, check: Callable[[str], object]) -> None:
    try:
        check(value)
    except ValueError as error:
        raise CommandError(f"{what} {error}") from None


def _check_password(password: str) -> None:
    if not password:
        raise ValueError("is empty; leave the option out to have one made")
    if not password.isprintable():  # also what is not UTF-8, which arrives as lone surrogates
        raise ValueError("must be printable UTF-8 text")


# --- list ------------------------------------------------------------------------------------------


def _list(args: argparse.Namespace, store: Store) -> None:
    directory = store.directory()
    grants = [grant for user in directory.users for grant in _grants(user, directory)]
    if args.json:
        print(json.dumps([asdict(grant) for grant in grants], indent=2))
        return
    rows: list[tuple[str, ...]] = [("USER", "PROJECT", "ROLES", "DOMAIN", "ACCOUNT")]
    for grant in grants:
        user = grant.user if grant.enabled else f"{grant.user} (disabled)"
        project, account = grant.project or "-", grant.account or "-"
        rows.append((user, project, ", ".join(grant.roles) or "-", grant.domain, account))
    for line in _columns(rows):
        print(line)


@dataclass(frozen=True)
class _Grant:
    """One line of a listing: a user in one project, or in none. The fields are the JSON form's."""

    user: str
    user_id: str
    enabled: bool
    domain: str
    project: str | None = None
    project_id: str | None = None
    account: str | None = None
    roles: tuple[str, ...] = ()


def _grants(user: User, directory: Directory) -> list[_Grant]:
    bare = _Grant(user.name, user.id, user.is_enabled, user.domain_id)
    held = [
        replace(bare, project=project.name, project_id=project.id, account=f"AUTH_{project.id}", roles=roles)
        for project_id, roles in user.project_roles.items()
        if (project := directory.get_project(project_id)) is not None
    ]
    return held or [bare]


def _columns(rows: list[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


# --- remove ----------------------------------------------------------------------------------------


def _remove(args: argparse.Namespace, store: Store) -> None:
    def change(directory: Directory) -> Directory:
        domain = _find_domain(directory, args.domain)
        user = directory.find_user(Reference(name=args.name, domain_id=domain.id))
        if user is None:
            raise CommandError(
                f"there is no user {args.name} in domain {domain.id}; see `miniswift user list`"
            )
        if args.project is None:
            return directory.without_user(user)
        project = directory.find_project(Reference(name=args.project, domain_id=domain.id))
        if project is None or project.id not in user.project_roles:
            raise CommandError(f"user {args.name} has no role in a project {args.project}; see `user list`")
        return directory.with_user(user.with_roles(project, ()))

    store.edit(change)
    what = f"the roles in project {args.project} of user {args.name}" if args.project else f"user {args.name}"
    print(f"removed {what}")


def _find_domain(directory: Directory, word: str) -> Domain:
    domain = directory.get_domain(word) or directory.find_domain(Reference(domain_name=word))
    if domain is None:
        known = ", ".join(domain.id for domain in directory.domains)
        raise CommandError(f"there is no domain {word}; the identity file has {known}")
    return domain
