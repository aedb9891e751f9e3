"""PKI tokens from login to revocation: `miniswift serve`, whose proxy checks them without asking anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.client import Answer, Client
from tests.functional.cluster import ServeProcess, add_user, made_root, set_options
from tests.functional.go_between import GoBetween
from tests.functional.processes import wait_until

LIST_AGE_S = 4  # within which a test uses a token, revokes it and uses it again


@pytest.fixture
def keystone() -> Iterator[GoBetween]:
    """What stands between the proxy and the identity service, and counts."""
    with GoBetween() as between:
        yield between


@pytest.fixture(params=["pki", "pkiz"])
def store(request: pytest.FixtureRequest, tmp_path: Path, keystone: GoBetween) -> Iterator[ServeProcess]:
    process = made_root(tmp_path / "data")
    keystone.target = f"http://127.0.0.1:{process.identity_port}"
    etc = tmp_path / "data" / "etc"
    set_options(etc / "identity.conf", "app:identity", token_format=request.param, public_url=keystone.url)
    set_options(
        etc / "proxy-server.conf",
        "filter:authtoken",
        auth_url=keystone.url,
        revocation_cache_time=str(LIST_AGE_S),
    )
    with process:
        yield process


class Keystone:
    """The identity service, as the clients of its v2.0 API see it."""

    def __init__(self, process: ServeProcess) -> None:
        self._url = f"http://127.0.0.1:{process.identity_port}"
        self._root = process.root

    def log_in(self, user: str, password: str, tenant: str) -> dict[str, Any]:
        auth = {"passwordCredentials": {"username": user, "password": password}, "tenantName": tenant}
        answer = self.ask("POST", "/v2.0/tokens", body=json.dumps({"auth": auth}).encode())
        assert answer.status == 200, answer.text
        access: dict[str, Any] = answer.json()["access"]
        return access

    def ask(self, method: str, path: str, token: str = "", body: bytes = b"") -> Answer:
        with Client(self._url, {"X-Auth-Token": token} if token else {}) as client:
            return client.request(method, path, body)


def test_story_of_a_revoked_token(store: ServeProcess, keystone: GoBetween) -> None:
    openrc = store.openrc()
    service = Keystone(store)
    access = service.log_in("demo", openrc["OS_PASSWORD"], "demo")
    token = access["token"]["id"]
    assert token.startswith(("MII", "PKIZ_"))
    account = f"{store.url}/v1/AUTH_{access['token']['tenant']['id']}"
    add_user(store.root, "root", "admin", "admin", "secret")
    admin = service.log_in("root", "secret", "admin")["token"]["id"]

    with Client(account, {"X-Auth-Token": token}) as client:
        assert client.get().status == 204  # the first token: certificates and the list are fetched
        assert validations(keystone) == []
        assert service.ask("DELETE", f"/v2.0/tokens/{token}", admin).status == 204
        assert client.get().status == 204  # the list from before is still good
        wait_until(lambda: client.get().status == 401, 5 * LIST_AGE_S, "the token to be refused")

    assert "token refused: it is revoked" in store.printed()
    assert token not in store.printed()
    assert validations(keystone) == []
    kinds = {path for _, path in keystone.asked}
    assert kinds <= {
        "/",
        "/v3",
        "/v3/auth/tokens",  # POST: the proxy's own login
        "/v3/OS-SIMPLE-CERT/certificates",
        "/v3/OS-SIMPLE-CERT/ca",
        "/v3/auth/tokens/OS-PKI/revoked",
    }, kinds


def validations(keystone: GoBetween) -> list[tuple[str, str]]:
    """The requests that ask about a token."""
    return [
        (method, path)
        for method, path in keystone.asked
        if method in ("GET", "HEAD") and (path == "/v3/auth/tokens" or path.startswith("/v2.0/tokens/"))
    ]
