"""Everybody who may come to a store, and everything they may try: the moves behind `access_table`.

An account has the containers `private`, without an ACL, and `shared`, whose ACLs name a role, a user of
another project and, for reading, the pages of a site. Each has an object `o`.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.functional.client import Client
from tests.interop.keystone import Keystone, Project, User
from tests.interop.keystone_proxies import KeystoneProxy

TEMPURL_KEY = "key"
PAGE = {"Referer": "http://www.example.com/page"}
SHARED = ("shared container", "shared object")
CONTAINERS = ("private", "shared")


@dataclass(frozen=True)
class Caller:
    """Whose tokens a request brings, and which account it asks for."""

    user: User | None = None
    project: Project | None = None
    service: User | None = None
    headers: dict[str, str] = field(default_factory=dict)
    prefix: str = "AUTH_"
    signs: bool = False  # each URL, in place of a token


class AccessWorld:
    """The people of one proxy, and its store."""

    def __init__(self, proxy: KeystoneProxy, keystone: Keystone) -> None:
        self._proxy = proxy
        self._keystone = keystone
        name = f"access-{proxy.name}"
        demo, other = keystone.make_project(f"{name}-demo"), keystone.make_project(f"{name}-other")

        def user(what: str, project: Project, role: str) -> User:
            return keystone.make_user(f"{name}-{what}", {project: role})

        operator = user("operator", demo, "swiftoperator")
        self._grantee = user("grantee", other, "swiftoperator")
        self._other = other
        reseller = user("reseller", other, "ResellerAdmin")
        service, no_service = user("service", other, "service"), user("no-service", other, "member")
        self.callers = {
            "operator": Caller(operator, demo),
            "role in ACL": Caller(user("reporter", demo, "Reporter"), demo),
            "project reader": Caller(user("reader", demo, "reader"), demo),
            "member": Caller(user("member", demo, "Visitor"), demo),
            "other project": Caller(user("stranger", other, "swiftoperator"), other),
            "user in ACL": Caller(self._grantee, other),
            "anonymous": Caller(),
            "page in ACL": Caller(headers=PAGE),
            "reseller admin": Caller(reseller, other),
            "system reader": Caller(user("auditor", other, "auditor"), other),
            "SERVICE, user": Caller(operator, demo, prefix="SERVICE_"),
            "SERVICE, both": Caller(operator, demo, service, prefix="SERVICE_"),
            "SERVICE, two users": Caller(operator, demo, no_service, prefix="SERVICE_"),
            "SERVICE, service": Caller(None, demo, service, prefix="SERVICE_"),
            "temporary URL": Caller(signs=True),
        }
        self._demo = demo
        self._stack = ExitStack()
        self._tokens: dict[User, str] = {}
        self._reseller = self._client(self.callers["reseller admin"])

    def close(self) -> None:
        self._stack.close()

    def rows(self, who: str) -> Iterator[tuple[str, str, int]]:
        """(what, verb, status) of everything that `who` tries."""
        caller = self.callers[who]
        client = self._client(caller)
        self._prepare(caller.prefix)
        for what, verb in MOVES:
            status = self._status(client, caller, what, verb)
            if status // 100 == 2 and verb in ("PUT", "POST", "DELETE", "COPY"):
                self._prepare(caller.prefix)
            yield what, verb, status

    def _status(self, client: Client, caller: Caller, what: str, verb: str) -> int:
        account = f"/v1/{caller.prefix}{self._demo.id}"
        if (what, verb) == ("account", "DELETE") and caller is self.callers["reseller admin"]:
            account = f"/v1/AUTH_doomed-{self._proxy.name}"  # the others would miss theirs
            assert client.put(account).status in (201, 202)
        container = "shared" if what in SHARED else "private"
        path = {"account": account, "container": f"{account}/{container}"}.get(what.split()[-1])
        path = path or f"{account}/{container}/o"
        headers = {"Destination": f"{container}/copy"} if verb == "COPY" else {}
        if verb == "POST" and what == "account":
            headers["X-Account-Meta-Color"] = "blue"
        sent = f"{path}?{_signature(verb, path)}" if caller.signs else path
        body = b"content" if verb == "PUT" and what.endswith("object") else None
        return client.request(verb, sent, body, headers).status

    def _client(self, caller: Caller) -> Client:
        headers = dict(caller.headers)
        if caller.user and caller.project:
            headers["X-Auth-Token"] = self._token(caller.user, caller.project)
        if caller.service:
            headers["X-Service-Token"] = self._token(caller.service, self._other)
        return self._stack.enter_context(Client(self._proxy.url, headers))

    def _token(self, user: User, project: Project) -> str:
        if user not in self._tokens:
            self._tokens[user] = self._keystone.token(user, project)
        return self._tokens[user]

    def _prepare(self, prefix: str) -> None:
        """Put everything back in its place."""
        account = f"/v1/{prefix}{self._demo.id}"
        named = f"Reporter,{self._other.id}:{self._grantee.id}"
        acls = {"X-Container-Read": f".r:.example.com,.rlistings,{named}", "X-Container-Write": named}
        put = self._reseller.put
        assert put(account, headers={"X-Account-Meta-Temp-URL-Key": TEMPURL_KEY}).status in (201, 202)
        for container in CONTAINERS:
            headers = acls if container == "shared" else {}
            assert put(f"{account}/{container}", headers=headers).status in (201, 202)
            assert put(f"{account}/{container}/o", b"content").status == 201


def _signature(verb: str, path: str) -> str:
    expires = int(time.time()) + 600
    signature = hmac.digest(TEMPURL_KEY.encode(), f"{verb}\n{expires}\n{path}".encode(), "sha256").hex()
    return f"temp_url_sig={signature}&temp_url_expires={expires}"


_VERBS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")
MOVES = [
    ("account" if place == "account" else f"{place} {kind}", verb)
    for place, kinds in (
        ("account", ("",)),
        ("private", ("container", "object")),
        ("shared", ("container", "object")),
    )
    for kind in kinds
    for verb in (*_VERBS, *(("COPY",) if kind == "object" else ()))
]
