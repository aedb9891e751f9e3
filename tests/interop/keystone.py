"""A real Keystone: SQLite, Fernet tokens, on a free port of loopback, and what tests make in it.

    with Keystone(folder) as keystone:
        project = keystone.make_project("demo")
        user = keystone.make_user("ann", {project: "swiftoperator"})
        token = keystone.token(user, project)

It can be stopped and started again on the same port; what was made stays.
"""

from __future__ import annotations

import contextlib
import getpass
import grp
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from benchmarks.real_swift import CHECKOUT
from tests.functional.client import Answer, Client
from tests.functional.processes import Program, accepts, free_ports

if TYPE_CHECKING:
    from typing_extensions import Self  # typing.Self is Python 3.11's

KEYSTONE_BIN = CHECKOUT / ".venv-keystone" / "bin"
ADMIN_PASSWORD = "admin-password"
READY_S = 60

# keystone.wsgi reads sys.argv, which is gunicorn's here.
WSGI = "import sys\nsys.argv = ['keystone']\nfrom keystone.wsgi.api import application\n"


@dataclass(frozen=True)
class Domain:
    id: str
    name: str


DEFAULT = Domain("default", "Default")


@dataclass(frozen=True)
class Project:
    id: str
    name: str
    domain: Domain = DEFAULT


@dataclass(frozen=True)
class User:
    id: str
    name: str
    domain: Domain = DEFAULT

    @property
    def password(self) -> str:
        return f"{self.name}-password"


SYSTEM = Project("", "all")  # roles on it are roles on the system


@dataclass
class Keystone:
    """The server, and its API as an administrator uses it."""

    folder: Path
    expiration_s: int = 3600  # of tokens; a change counts from the next start
    port: int = field(default_factory=free_ports)
    names: list[str] = field(default_factory=list)  # of everything that was made
    _roles: dict[str, str] = field(default_factory=dict)  # name → id
    _program: Program | None = None
    _admin_token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            self.start()
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- the process -----------------------------------------------------------------------------

    def start(self) -> None:
        """Return when it answers."""
        assert KEYSTONE_BIN.is_dir(), f"no real Keystone in {KEYSTONE_BIN}: run `make interop`"
        self._write_conf()
        if not (self.folder / "keystone.db").exists():
            self._bootstrap()
        command = [KEYSTONE_BIN / "gunicorn", "--chdir", self.folder, "--workers", "1", "--threads", "4"]
        command += ["--bind", f"127.0.0.1:{self.port}", "--log-level", "warning", "server:application"]
        self._program = Program(list(map(str, command)), self.folder / "log", self._environ)
        self._program.start()
        self._program.wait_for(self._answers, READY_S, "Keystone to answer")

    def stop(self) -> None:
        if self._program is not None:
            self._program.stop()
            self._program = None

    def restart(self, expiration_s: int) -> None:
        """Start again with another lifetime of tokens, unless it runs with that already."""
        if self._program is not None and self.expiration_s == expiration_s:
            return
        self.stop()
        self.expiration_s = expiration_s
        self.start()

    def _answers(self) -> bool:
        if not accepts(self.port):
            return False
        with Client(self.url) as client:
            return client.get("/v3").status == 200

    @property
    def _environ(self) -> dict[str, str]:
        return {"OS_KEYSTONE_CONFIG_FILES": str(self.folder / "keystone.conf"), "PYTHONWARNINGS": "ignore"}

    def _write_conf(self) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "server.py").write_text(WSGI)
        (self.folder / "keystone.conf").write_text(
            f"""\
[DEFAULT]
log_file = {self.folder}/keystone.log
public_endpoint = {self.url}
[database]
connection = sqlite:///{self.folder}/keystone.db
[token]
expiration = {self.expiration_s}
[fernet_tokens]
key_repository = {self.folder}/fernet-keys
[fernet_receipts]
key_repository = {self.folder}/fernet-keys
[credential]
key_repository = {self.folder}/credential-keys
"""
        )

    def _bootstrap(self) -> None:
        for name in ("fernet-keys", "credential-keys"):
            (self.folder / name).mkdir(mode=0o700)
        url = f"{self.url}/v3/"
        group = grp.getgrgid(os.getgid()).gr_name
        ourselves = ["--keystone-user", getpass.getuser(), "--keystone-group", group]
        for arguments in (
            ["db_sync"],
            ["fernet_setup", *ourselves],
            ["credential_setup", *ourselves],
            ["bootstrap", "--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-region-id", "RegionOne"]
            + [f"--bootstrap-{interface}-url={url}" for interface in ("admin", "internal", "public")],
        ):
            conf = ["--config-file", str(self.folder / "keystone.conf")]
            done = subprocess.run(
                [KEYSTONE_BIN / "keystone-manage", *conf, *arguments],
                capture_output=True, text=True, check=False, env=self._environ,
            )  # fmt: skip
            assert done.returncode == 0, f"keystone-manage {arguments[0]}: {done.stderr[-3000:]}"

    # --- its API ---------------------------------------------------------------------------------

    def ask(self, method: str, path: str, token: str = "", body: object = None, **headers: str) -> Answer:
        """One request; `X_Name=value` adds a header."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["X-Auth-Token"] = token
        raw = b"" if body is None else json.dumps(body).encode()
        if raw:
            sent["Content-Type"] = "application/json"
        with Client(self.url) as client:
            return client.request(method, f"/v3{path}", raw, sent)

    def token(self, user: User, project: Project | None = None) -> str:
        """A token of the user for a project, for the system, or for nothing."""
        answer = self.log_in(user.name, user.password, user.domain, project)
        assert answer.status == 201, answer.text
        return str(answer.headers["X-Subject-Token"])

    def revoke(self, token: str) -> None:
        assert self.ask("DELETE", "/auth/tokens", self._admin(), X_Subject_Token=token).status == 204

    def make_domain(self, name: str) -> Domain:
        return Domain(self._make("domain", {"name": name}), name)

    def make_project(self, name: str, domain: Domain = DEFAULT) -> Project:
        return Project(self._make("project", {"name": name, "domain_id": domain.id}), name, domain)

    def make_user(self, name: str, roles: dict[Project, str], domain: Domain = DEFAULT) -> User:
        """A user with a role (a name, made when new) in each project."""
        password = User("", name).password
        user = User(
            self._make("user", {"name": name, "domain_id": domain.id, "password": password}), name, domain
        )
        for project, role in roles.items():
            place = "/system" if project is SYSTEM else f"/projects/{project.id}"
            answer = self.ask("PUT", f"{place}/users/{user.id}/roles/{self._role(role)}", self._admin())
            assert answer.status == 204, answer.text
        return user

    def log_in(self, name: str, password: str, domain: Domain, project: Project | None) -> Answer:
        who = {"name": name, "password": password, "domain": {"id": domain.id}}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": who}}}
        if project is SYSTEM:
            auth["scope"] = {"system": {"all": True}}
        elif project is not None:
            auth["scope"] = {"project": {"name": project.name, "domain": {"id": project.domain.id}}}
        return self.ask("POST", "/auth/tokens", body={"auth": auth})

    def make_endpoint(self, service_type: str, url: str) -> None:
        """Put a service into the catalogue."""
        service = self._make("service", {"type": service_type, "name": service_type})
        endpoint = {"service_id": service, "region_id": "RegionOne", "interface": "public", "url": url}
        self._make("endpoint", endpoint)

    def _role(self, name: str) -> str:
        if not self._roles:
            answer = self.ask("GET", "/roles", self._admin())
            self._roles.update((role["name"], role["id"]) for role in answer.json()["roles"])
        if name not in self._roles:
            self._roles[name] = self._make("role", {"name": name})
        return self._roles[name]

    def _make(self, kind: str, entry: dict[str, Any]) -> str:
        answer = self.ask("POST", f"/{kind}s", self._admin(), {kind: entry})
        assert answer.status == 201, answer.text
        self.names.append(str(entry.get("name")))
        return str(answer.json()[kind]["id"])

    def _admin(self) -> str:
        if (
            not self._admin_token
            or self.ask("HEAD", "/auth/tokens", self._admin_token, X_Subject_Token=self._admin_token).status
            != 200
        ):
            answer = self.log_in("admin", ADMIN_PASSWORD, DEFAULT, Project("", "admin"))
            assert answer.status == 201, answer.text
            self._admin_token = str(answer.headers["X-Subject-Token"])
        return self._admin_token
