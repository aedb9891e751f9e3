"""Storage policies: `serve --policy` makes them, a container has one for life, and clients see which."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.cluster import BIN, ServeProcess
from tests.functional.processes import wait_until


@pytest.fixture(scope="module")
def store(scratch: Path) -> Iterator[ServeProcess]:
    options = ["--policy", "gold", "--policy", "silver"]
    with ServeProcess(scratch / "policies", devices=3, replicas=2, options=options) as store:
        yield store


@pytest.fixture(scope="module")
def client(store: ServeProcess) -> Iterator[Client]:
    with Client.login(store.auth) as client:
        assert client.put("/first").status == 201
        assert client.put("/second", headers={"X-Storage-Policy": "SILVER"}).status == 201
        assert client.put("/second/o", b"12345").status == 201
        yield client


def test_a_container_keeps_its_policy(client: Client) -> None:
    assert client.head("/first").headers["X-Storage-Policy"] == "gold"
    assert client.put("/second", headers={"X-Storage-Policy": "gold"}).status == 409
    assert client.head("/second").headers["X-Storage-Policy"] == "silver"
    assert client.put("/third", headers={"X-Storage-Policy": "bronze"}).status == 400


def test_objects_are_on_the_disks_of_their_policy(store: ServeProcess, client: Client) -> None:
    files = [path.relative_to(store.root / "devices") for path in store.root.glob("devices/**/*.data")]
    assert len(files) == 2
    assert {path.parts[1] for path in files} == {"objects-1"}
    assert client.get("/second/o").body == b"12345"


def test_info_and_listings_name_the_policies(store: ServeProcess, client: Client) -> None:
    with Client(store.url) as visitor:
        info = visitor.get("/info").json()
    assert info["swift"]["policies"] == [
        {"name": "gold", "aliases": "gold", "default": True},
        {"name": "silver", "aliases": "silver"},
    ]
    rows = client.listing()
    assert {row["name"]: row["storage_policy"] for row in rows} == {"first": "gold", "second": "silver"}


def test_the_swift_client_shows_what_each_policy_holds(store: ServeProcess, client: Client) -> None:
    environ = {**os.environ, **store.openrc()}

    def stat() -> str:
        return subprocess.run(
            [BIN / "swift", "stat"], env=environ, capture_output=True, text=True, check=True
        ).stdout

    told = wait_until(
        lambda: (text := stat()) and 'Bytes in policy "silver": 5' in text and text, what="totals"
    )
    assert 'Containers in policy "gold": 1' in str(told)


def test_names_that_cannot_be_are_refused_before_anything_is_made(scratch: Path) -> None:
    root = scratch / "unmade"
    command = [BIN / "miniswift", "serve", "--root", root, "--policy", "a", "--policy", "A"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "two policies share a name" in done.stderr
    assert not root.exists()
