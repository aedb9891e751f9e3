"""Temporary URLs and forms over `miniswift serve`, made by the real swift client and sent without a token."""

from __future__ import annotations

import hmac
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.functional.client import Client
from tests.functional.cluster import BIN, ServeProcess

KEY = "a key for temporary access"


@pytest.fixture
def owner(shared_serve: ServeProcess) -> Iterator[Client]:
    with Client.login(shared_serve.auth) as client:
        assert client.post("", {"X-Account-Meta-Temp-URL-Key": KEY}).status == 204
        assert client.put("/c").status in (201, 202)
        assert client.put("/c/hello", b"hello").status == 201
        yield client


def temporary(store: ServeProcess, owner: Client, method: str, name: str, *options: str) -> str:
    """The URL that `swift tempurl` makes."""
    path = urlsplit(owner.url).path + name
    command = [BIN / "swift", "tempurl", method, "60", path, KEY, *options]
    made = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return store.url + made.stdout.strip()


def test_urls_of_the_swift_client(shared_serve: ServeProcess, owner: Client) -> None:
    assert requests.get(f"{owner.url}/c/hello", timeout=10).status_code == 401
    read = temporary(shared_serve, owner, "GET", "/c/hello")
    assert requests.get(read, timeout=10).content == b"hello"
    assert requests.head(read, timeout=10).status_code == 200
    assert requests.put(read, b"other", timeout=10).status_code == 401
    assert "temporary URL refused: it is not for PUT" in shared_serve.printed()

    write = temporary(shared_serve, owner, "PUT", "/c/written", "--iso8601")
    assert requests.put(write, b"written", timeout=10).status_code == 201
    assert owner.get("/c/written").body == b"written"

    prefix = temporary(shared_serve, owner, "GET", "/c/wri", "--prefix-based", "--digest", "sha512")
    address, _, query = prefix.partition("?")
    assert requests.get(f"{address}tten?{query}", timeout=10).content == b"written"

    near = temporary(shared_serve, owner, "GET", "/c/hello", "--ip-range", "127.0.0.0/8")
    far = temporary(shared_serve, owner, "GET", "/c/hello", "--ip-range", "10.0.0.0/8")
    assert [requests.get(each, timeout=10).status_code for each in (near, far)] == [200, 401]
    assert query not in shared_serve.printed()


def test_form_of_a_page(shared_serve: ServeProcess, owner: Client, tmp_path: Path) -> None:
    path = urlsplit(owner.url).path + "/c/form-"
    fields = {"redirect": "", "max_file_size": str(20 << 20), "max_file_count": "2"}
    fields["expires"] = str(int(time.time()) + 60)
    message = "\n".join([path, *fields.values()])
    fields["signature"] = hmac.digest(KEY.encode(), message.encode(), "sha256").hex()
    big = tmp_path / "big"
    big.write_bytes(b"0123456789abcdef" * (1 << 20))
    with big.open("rb") as file:
        files = [("file1", ("small.txt", b"small")), ("file2", ("big", file))]
        answer = requests.post(shared_serve.url + path, data=fields, files=files, timeout=60)
    assert (answer.status_code, answer.text) == (201, "201 Created")
    assert owner.get("/c/form-small.txt").body == b"small"
    assert owner.get("/c/form-big").body == big.read_bytes()
