"""An identity service on temporary files, asked over WSGI, with a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from miniswift.identity import Application, IdentitySettings, directory_file
from miniswift.identity.directory import Directory, Domain, Project, Service, User
from miniswift.identity.passwords import hash_password
from miniswift.responses import Response
from miniswift.wsgi import Request

START = 1_700_000_000


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Identity:
    """The service, and short words for what tests ask of it."""

    app: Application
    path: Path
    clock: Clock
    address: str = "192.0.2.1"  # where requests come from

    def call(self, method: str, path: str, body: object = None, token: str = "", **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            named["X-Auth-Token"] = token
        request = Request.blank(path, method, named, raw)
        request.environ["REMOTE_ADDR"] = self.address
        response: Response = request.call(self.app)
        return Answer(response.status, response.headers, response.read())

    def v3(self, user: str, password: str | None = None, scope: object = None) -> Answer:
        """Log in as a user of the default domain, whose password is as conftest makes it."""
        return self.call("POST", "/v3/auth/tokens", v3_login(user, password, scope))

    def token(self, user: str, project: str | None = None) -> str:
        scope = {"project": {"name": project, "domain": {"id": "default"}}} if project else None
        answer = self.v3(user, scope=scope)
        assert answer.status == 201
        return answer.headers["X-Subject-Token"]

    def edit(self, change: Any) -> None:
        self.app.store.edit(change)


def v3_login(user: str, password: str | None = None, scope: object = None) -> dict[str, Any]:
    who = {"name": user, "domain": {"id": "default"}, "password": password or f"{user}-password"}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": who}}}
    if scope is not None:
        auth["scope"] = scope
    return {"auth": auth}


def make_user(name: str, roles: dict[str, tuple[str, ...]], **more: Any) -> User:
    """A user with the id `u-NAME` and the password `NAME-password`, which is cheap to check."""
    return User(f"u-{name}", name, hash_password(f"{name}-password", 1), project_roles=roles, **more)


def sample_directory() -> Directory:
    store_url, identity_url = "http://127.0.0.1:8080/v1/AUTH_%(project_id)s", "http://127.0.0.1:5000"
    return Directory(
        domains=(Domain("default", "Default"), Domain("d-other", "Other")),
        projects=(
            Project("p-demo", "demo", description="to try things"),
            Project("p-admin", "admin"),
            Project("p-service", "service"),
            Project("p-closed", "closed", is_enabled=False),
            Project("p-far", "demo", "d-other"),
        ),
        users=(
            make_user("demo", {"p-demo": ("swiftoperator",), "p-closed": ("swiftoperator",)}),
            make_user("admin", {"p-admin": ("admin", "ResellerAdmin")}, domain_roles={"default": ("admin",)}),
            make_user("swift", {"p-service": ("service",)}),
            make_user("gone", {"p-demo": ("swiftoperator",)}, is_enabled=False),
            make_user("far", {"p-far": ("Reader",)}, domain_id="d-other"),
        ),
        services=(
            Service("object-store", "swift", store_url, store_url, store_url),
            Service("identity", "keystone", identity_url, identity_url, identity_url),
        ),
        roles=("swiftoperator", "Reader", "admin", "ResellerAdmin", "service"),
    )


@pytest.fixture
def identity_path(tmp_path: Path) -> Path:
    path = tmp_path / "identity.yaml"
    path.write_text(directory_file.render(sample_directory()), encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


def open_application(path: str, clock: Clock, **options: Any) -> Application:
    settings = IdentitySettings(
        identity_file=path,
        token_database=str(Path(path).with_name("tokens.db")),
        token_expiration=3600,
        max_failed_logins=3,
        signing_dir=str(Path(path).with_name("ssl")),
        **options,
    )
    return Application(settings, clock)


@pytest.fixture
def identity(identity_path: Path, clock: Clock) -> Iterator[Identity]:
    app = open_application(str(identity_path), clock)
    yield Identity(app, identity_path, clock)
    app.close()
