"""Filters of a real Swift in the pipeline of `serve`, all at once, under stories that ours pass too."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.store import use_swifts_filters
from tests.functional.client import Client
from tests.functional.cluster import ServeProcess, made_root

FILTERS = ("bulk", "staticweb", "slo", "dlo", "versioned_writes", "symlink", "tempurl", "copy")


@pytest.fixture(scope="module", params=["ours", "Swift's"])
def store(request: pytest.FixtureRequest, scratch: Path) -> Iterator[ServeProcess]:
    store = made_root(scratch / request.param.strip("'"))
    use_swifts_filters(store, FILTERS if request.param == "Swift's" else ())
    with store:
        yield store


@pytest.fixture
def client(store: ServeProcess) -> Iterator[Client]:
    with Client.login(store.auth) as client:
        assert client.put("/c").status in (201, 202)
        yield client


def test_an_archive_becomes_objects_and_a_list_of_names_deletes_them(client: Client) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name in ("a/1", "a/ü"):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            tar.addfile(entry, io.BytesIO(b"abc"))
    as_json = {"Accept": "application/json"}
    made = client.request("PUT", "/bulk?extract-archive=tar.gz", archive.getvalue(), as_json).json()
    assert (made["Response Status"], made["Number Files Created"]) == ("201 Created", 2)
    assert client.get("/bulk/a/%C3%BC").body == b"abc"
    names = b"bulk/a/1\nbulk/a/%C3%BC\nbulk/none\nbulk\n"
    gone = client.request("POST", "?bulk-delete", names, {**as_json, "Content-Type": "text/plain"}).json()
    assert (gone["Number Deleted"], gone["Number Not Found"], gone["Errors"]) == (3, 1, [])


def test_a_manifest_is_read_as_one_copied_and_deleted_with_its_segments(client: Client) -> None:
    for number in b"123":
        client.put(f"/c/s{number - 48}", bytes([number]) * 10)
    manifest = [{"path": f"/c/s{number}"} for number in (1, 2, 3)]
    put = client.put("/c/large?multipart-manifest=put", json.dumps(manifest).encode())
    assert put.status == 201, put.text
    assert client.get("/c/large", {"Range": "bytes=8-21"}).body == b"11222222222233"[:14]
    assert client.request("COPY", "/c/large", headers={"Destination": "c/copied"}).status == 201
    assert client.get("/c/copied").body == b"1" * 10 + b"2" * 10 + b"3" * 10
    assert client.delete("/c/large?multipart-manifest=delete").status == 200
    assert client.head("/c/s1").status == 404


def test_segments_found_by_their_prefix_are_read_as_one(client: Client) -> None:
    client.put("/c/parts/1", b"one ")
    client.put("/c/parts/2", b"two")
    client.put("/c/dynamic", b"", {"X-Object-Manifest": "c/parts/"})
    assert client.get("/c/dynamic").body == b"one two"


def test_a_symlink_is_its_target(client: Client) -> None:
    client.put("/c/target", b"content")
    assert client.put("/c/link", b"", {"X-Symlink-Target": "c/target"}).status == 201
    assert client.get("/c/link").body == b"content"


def test_what_was_overwritten_comes_back(client: Client) -> None:
    assert client.put("/old").status == 201
    assert client.put("/new", b"", {"X-Versions-Location": "old"}).status == 201
    client.put("/new/o", b"first")
    client.put("/new/o", b"second")
    assert client.delete("/new/o").status == 204
    assert client.get("/new/o").body == b"first"


def test_a_container_is_a_site(store: ServeProcess, client: Client) -> None:
    headers = {"X-Container-Read": ".r:*,.rlistings", "X-Container-Meta-Web-Index": "index.html"}
    assert client.put("/site", b"", headers).status == 201
    client.put("/site/index.html", b"<h1>welcome</h1>")
    with client.anonymous() as visitor:
        assert visitor.get("/site/").body == b"<h1>welcome</h1>"
        assert visitor.get("/site").status == 301
        assert visitor.get("/site/none").status == 404
