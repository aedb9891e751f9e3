"""The real clients against the service on a loopback port: keystoneauth, keystoneclient, swiftclient."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keystoneclient.v2_0.client
import keystoneclient.v3.client
import pytest
import swiftclient
from keystoneauth1 import discover, exceptions, session
from keystoneauth1.identity import Password, Token, V2Password, V3Password

from miniswift.identity import directory_file
from tests.unit.identity.conftest import sample_directory

STORE_URL = "http://127.0.0.1:8080/v1/AUTH_p-demo"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running service without a path."""
    folder = tmp_path_factory.mktemp("identity")
    (folder / "identity.yaml").write_text(directory_file.render(sample_directory()))
    (folder / "identity.yaml").chmod(0o600)
    conf = folder / "identity.conf"
    conf.write_text("[app:main]\nuse = egg:miniswift#identity\n")
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("serve.py")), str(conf)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def opened() -> Iterator[list[Any]]:
    """Sessions to close at the end of a test."""
    sessions: list[Any] = []
    yield sessions
    for each in sessions:
        each.session.close()


@pytest.fixture
def log_in(opened: list[Any]) -> Any:
    def make(auth: Any) -> Any:
        opened.append(session.Session(auth=auth))
        return opened[-1]

    return make


WHO = {"username": "demo", "password": "demo-password"}
ADMIN = {"username": "admin", "password": "admin-password"}
V3 = WHO | {"user_domain_name": "Default", "project_name": "demo", "project_domain_id": "default"}


# --- keystoneauth ----------------------------------------------------------------------------------


def test_discovery_finds_both_versions(url: str, log_in: Any) -> None:
    found = discover.Discover(log_in(None), url).version_data()
    assert [(data["version"], data["url"]) for data in found] == [
        ((2, 0), f"{url}/v2.0/"),
        ((3, 14), f"{url}/v3/"),
    ]


@pytest.mark.parametrize("path", ["", "/", "/v3"])
def test_generic_password_plugin_discovers_and_logs_in(url: str, log_in: Any, path: str) -> None:
    client = log_in(Password(f"{url}{path}", **V3))
    assert client.get_endpoint(service_type="object-store") == STORE_URL
    assert client.get_project_id() == "p-demo"
    assert client.auth.get_access(client).role_names == ["swiftoperator"]


def test_generic_password_plugin_works_without_domains(url: str, log_in: Any) -> None:
    client = log_in(Password(url, **WHO, project_name="demo"))
    assert client.get_endpoint(service_type="object-store", interface="internal") == STORE_URL


def test_v3_password_plugin(url: str, log_in: Any) -> None:
    client = log_in(V3Password(f"{url}/v3", **V3))
    access = client.auth.get_access(client)
    assert (access.user_id, access.user_domain_id, access.project_domain_name) == (
        "u-demo",
        "default",
        "Default",
    )
    assert access.service_catalog.url_for(service_type="object-store", interface="public") == STORE_URL
    assert access.audit_id
    assert not access.will_expire_soon()


def test_v2_password_plugin(url: str, log_in: Any) -> None:
    client = log_in(V2Password(f"{url}/v2.0", **WHO, tenant_name="demo"))
    access = client.auth.get_access(client)
    assert (access.user_id, access.project_id, access.role_names) == ("u-demo", "p-demo", ["swiftoperator"])
    assert client.get_endpoint(service_type="object-store", interface="admin") == STORE_URL


def test_unscoped_token_is_exchanged(url: str, log_in: Any) -> None:
    unscoped = log_in(V3Password(f"{url}/v3", **WHO, user_domain_id="default", unscoped=True))
    scoped = log_in(Token(url, unscoped.get_token(), project_name="demo", project_domain_id="default"))
    assert scoped.get_endpoint(service_type="object-store") == STORE_URL


def test_wrong_password_is_unauthorized(url: str, log_in: Any) -> None:
    client = log_in(V3Password(f"{url}/v3", **(V3 | {"password": "wrong"})))
    with pytest.raises(exceptions.Unauthorized, match="These credentials are not valid"):
        client.get_token()


# --- keystoneclient --------------------------------------------------------------------------------


def test_v3_client_validates_and_revokes(url: str, log_in: Any) -> None:
    token = log_in(V3Password(f"{url}/v3", **V3)).get_token()
    admin = log_in(Password(url, **ADMIN, project_name="admin", default_domain_id="default"))
    client = keystoneclient.v3.client.Client(session=admin)
    assert client.tokens.validate(token).project_id == "p-demo"
    assert client.tokens.get_token_data(token, include_catalog=False)["token"]["user"]["id"] == "u-demo"
    client.tokens.revoke_token(token)
    with pytest.raises(exceptions.NotFound):
        client.tokens.validate(token)


def test_v3_client_lists_projects(url: str, log_in: Any) -> None:
    client = keystoneclient.v3.client.Client(session=log_in(V3Password(f"{url}/v3", **V3)))
    assert [project.name for project in client.auth.projects()] == ["demo"]
    assert [project.id for project in client.projects.list(user="u-demo")] == ["p-demo"]


def test_v2_client_validates_and_lists_tenants(url: str, log_in: Any) -> None:
    token = log_in(V2Password(f"{url}/v2.0", **WHO, tenant_name="demo")).get_token()
    admin = log_in(V2Password(f"{url}/v2.0", **ADMIN, tenant_name="admin"))
    client = keystoneclient.v2_0.client.Client(session=admin)
    assert client.tokens.validate(token).tenant["id"] == "p-demo"
    assert [tenant.name for tenant in client.tenants.list()] == ["admin"]
    client.tokens.delete(token)
    with pytest.raises(exceptions.NotFound):
        client.tokens.validate(token)


# --- swiftclient -----------------------------------------------------------------------------------


def test_swift_v1(url: str) -> None:
    storage_url, token = swiftclient.get_auth(f"{url}/auth/v1.0", "demo:demo", "demo-password")
    assert (storage_url, len(token)) == (STORE_URL, 32)


@pytest.mark.parametrize("path", ["", "/v2.0", "/v2.0/"])
def test_swift_v2(url: str, path: str) -> None:
    storage_url, token = swiftclient.get_auth(
        f"{url}{path}", "demo", "demo-password", tenant_name="demo", auth_version="2"
    )
    assert (storage_url, len(token)) == (STORE_URL, 32)


@pytest.mark.parametrize("path", ["", "/v3", "/v3/"])
def test_swift_v3(url: str, path: str) -> None:
    options = {"project_name": "demo", "project_domain_name": "Default", "user_domain_name": "Default"}
    storage_url, token = swiftclient.get_auth(
        f"{url}{path}", "demo", "demo-password", os_options=options, auth_version="3"
    )
    assert (storage_url, len(token)) == (STORE_URL, 32)


@pytest.mark.parametrize(("path", "version"), [("/auth/v1.0", "1"), ("/v2.0", "2"), ("/v3", "3")])
def test_swift_with_a_wrong_password_is_refused(url: str, path: str, version: str) -> None:
    user = "demo:demo" if version == "1" else "demo"
    options = {"project_name": "demo", "project_domain_name": "Default", "user_domain_name": "Default"}
    with pytest.raises(swiftclient.ClientException, match=r"Unauthorized|401"):
        swiftclient.get_auth(
            f"{url}{path}", user, "wrong", tenant_name="demo", os_options=options, auth_version=version
        )
