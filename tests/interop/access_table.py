"""Who may do what, as one table: the status of every verb on everything, for everybody.

An account, and in it containers `private`, without an ACL, and `shared`, whose ACLs name a role, a user of
another project and, for reading, the pages of a site with listings (`access` makes all this). 401 is for
those who are not known, 403 for those who are; a 409 is for a container with something in it, to those who
may delete it.

1. A real Swift with keystoneauth gives the same answer in every cell. There are no exceptions.
"""

from __future__ import annotations

COLUMNS = {
    "op": "operator",  # has operator_roles in the project
    "acl": "role in ACL",  # has the role that the ACL names, in the project
    "rd": "project reader",  # has project_reader_roles
    "mem": "member",  # has a role in the project that says nothing
    "oth": "other project",  # operator of another one
    "usr": "user in ACL",  # the same, and the ACL has project:user
    "any": "anonymous",
    "pag": "page in ACL",  # nobody known, with a Referer that the ACL has
    "res": "reseller admin",  # has reseller_admin_role, in another project
    "sys": "system reader",  # has system_reader_roles, in another project
    # On SERVICE_<project>, whose prefix asks for a service token beside the operator's:
    "S-u": "SERVICE, user",  # none
    "S-b": "SERVICE, both",  # one of a user with service_roles
    "S-2": "SERVICE, two users",  # one of a user without
    "S-s": "SERVICE, service",  # the service's alone
    "tmp": "temporary URL",  # no token; each path and verb signed with the account's key
}

_TABLE = """
                           op acl  rd mem oth usr any pag res sys S-u S-b S-2 S-s tmp
account           GET     200 403 200 403 403 403 401 401 200 200 403 200 401 401 401
account           HEAD    204 403 204 403 403 403 401 401 204 204 403 204 401 401 401
account           PUT     202 403 403 403 403 403 401 401 202 403 403 202 401 401 401
account           POST    204 403 403 403 403 403 401 401 204 403 403 204 401 401 401
account           DELETE  403 403 403 403 403 403 401 401 204 403 403 403 401 401 401
account           OPTIONS 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200

private container GET     200 403 200 403 403 403 401 401 200 200 403 200 401 401 401
private container HEAD    204 403 204 403 403 403 401 401 204 204 403 204 401 401 401
private container PUT     202 403 403 403 403 403 401 401 202 403 403 202 401 401 401
private container POST    204 403 403 403 403 403 401 401 204 403 403 204 401 401 401
private container DELETE  409 403 403 403 403 403 401 401 409 403 403 409 401 401 401
private container OPTIONS 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200

private object    GET     200 403 200 403 403 403 401 401 200 200 403 200 401 401 200
private object    HEAD    200 403 200 403 403 403 401 401 200 200 403 200 401 401 200
private object    PUT     201 403 403 403 403 403 401 401 201 403 403 201 401 401 201
private object    POST    202 403 403 403 403 403 401 401 202 403 403 202 401 401 202
private object    DELETE  204 403 403 403 403 403 401 401 204 403 403 204 401 401 204
private object    OPTIONS 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
private object    COPY    201 403 403 403 403 403 401 401 201 403 403 201 401 401 401

shared container  GET     200 200 200 403 403 200 401 200 200 200 403 200 401 401 401
shared container  HEAD    204 204 204 403 403 204 401 204 204 204 403 204 401 401 401
shared container  PUT     202 403 403 403 403 403 401 401 202 403 403 202 401 401 401
shared container  POST    204 403 403 403 403 403 401 401 204 403 403 204 401 401 401
shared container  DELETE  409 403 403 403 403 403 401 401 409 403 403 409 401 401 401
shared container  OPTIONS 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200

shared object     GET     200 200 200 403 403 200 401 200 200 200 403 200 401 401 200
shared object     HEAD    200 200 200 403 403 200 401 200 200 200 403 200 401 401 200
shared object     PUT     201 201 403 403 403 201 401 401 201 403 403 201 401 401 201
shared object     POST    202 202 403 403 403 202 401 401 202 403 403 202 401 401 202
shared object     DELETE  204 204 403 403 403 204 401 401 204 403 403 204 401 401 204
shared object     OPTIONS 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
shared object     COPY    201 201 403 403 403 201 401 401 201 403 403 201 401 401 401"""


def _read(table: str) -> dict[tuple[str, str, str], int]:
    header, *lines = table.strip("\n").splitlines()
    callers = [COLUMNS[column] for column in header.split()]
    cells = {}
    for line in filter(None, lines):
        what, (verb, *statuses) = line[:18].strip(), line[18:].split()
        for who, status in zip(callers, statuses, strict=True):
            cells[who, what, verb] = int(status)
    return cells


EXPECTED = _read(_TABLE)  # (who, what, verb) → status
