"""ACLs by role, as the real swift client writes them: `-r:Role` on its command line, and spelled out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.functional.client import Client
from tests.functional.cluster import BIN, ServeProcess, add_user

ROLE = "Reader"


@pytest.fixture
def owner(shared_serve: ServeProcess) -> Iterator[Client]:
    with Client.login(shared_serve.auth) as client:
        client.put("/c")
        client.post("/c", {"X-Container-Read": "", "X-Container-Write": ""})
        client.put("/c/o", b"content")
        yield client


@pytest.fixture
def reader(shared_serve: ServeProcess) -> Iterator[Client]:
    """A user of the owner's project who has nothing but the role."""
    add_user(shared_serve.root, "ann", "demo", ROLE, "secret")
    with Client.login((shared_serve.auth[0], "demo:ann", "secret")) as client:
        yield client


@pytest.fixture
def stranger(shared_serve: ServeProcess, owner: Client) -> Iterator[Client]:
    """Somebody with the same role in another project."""
    add_user(shared_serve.root, "bob", "elsewhere", ROLE, "secret")
    with Client.login((shared_serve.auth[0], "elsewhere:bob", "secret")) as client:
        yield Client(owner.url, client.headers)


def swift(store: ServeProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **store.openrc()}
    return subprocess.run(
        [BIN / "swift", *arguments], env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("form", [["-r:Reader"], ["--read-acl", ":Reader"], ["--read-acl=-r:Reader"]])
def test_role_of_the_same_project_reads(
    shared_serve: ServeProcess, owner: Client, reader: Client, stranger: Client, form: list[str]
) -> None:
    assert reader.get("/c/o").status == 403
    assert swift(shared_serve, "post", *form, "c").returncode == 0
    assert owner.head("/c").headers["X-Container-Read"] == ROLE
    assert (reader.get("/c/o").status, reader.get("/c").status) == (200, 200)
    assert reader.put("/c/x", b"").status == 403
    assert stranger.get("/c/o").status == 403
    stranger.close()


@pytest.mark.parametrize("form", [["-r:*"], ["--read-acl=-r:*"], ["--read-acl", ".r:*"]])
def test_star_is_everybody(shared_serve: ServeProcess, owner: Client, form: list[str]) -> None:
    assert swift(shared_serve, "post", *form, "c").returncode == 0
    assert owner.head("/c").headers["X-Container-Read"] == ".r:*"
    with owner.anonymous() as nobody:
        assert nobody.get("/c/o").body == b"content"


@pytest.mark.parametrize("acl", ["-reader", "--Reader", ":", "-r:", "::x", "-w:Reader", "-R:Reader"])
def test_other_dashes_and_colons_are_refused_with_the_reason(owner: Client, acl: str) -> None:
    answer = owner.post("/c", {"X-Container-Read": acl})
    assert answer.status == 400
    assert "Expected ':Role', '-r:Role' or '-r:*' in ACL" in answer.text
    assert "X-Container-Read" not in owner.head("/c").headers
