"""One life of an object, told the same by `serve` in one process and by four servers over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.client import Answer, Client
from tests.functional.cluster import SeparateServers, ServeProcess, ServeWithTempauth, Storage
from tests.functional.processes import wait_until

BODY = b"the first version, " * 1000
ETAG = hashlib.md5(BODY).hexdigest()
OBJECT = "/life/f%C3%BCr%20Elise"
TEXT = {"Content-Type": "text/x-score"}

WAYS: dict[str, tuple[type[ServeProcess] | type[SeparateServers], int]] = {
    "in one process": (ServeProcess, 1),
    "in one process, three replicas": (ServeProcess, 3),
    "in one process, with the pipeline of the next two": (ServeWithTempauth, 3),
    "over HTTP": (SeparateServers, 1),
    "over HTTP, three replicas": (SeparateServers, 3),
}


@pytest.fixture(scope="module", params=WAYS)
def storage(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Storage]:
    way, replicas = WAYS[request.param]
    with way(scratch / request.param.replace(" ", "-"), devices=replicas, replicas=replicas) as storage:
        yield storage


@pytest.fixture
def client(storage: Storage) -> Iterator[Client]:
    with Client.login(storage.auth) as client:
        yield client


def expect(answer: Answer, status: int, **headers: str) -> Answer:
    seen = {name: answer.headers[name.replace("_", "-")] for name in headers}
    assert (answer.status, seen) == (status, headers), answer.text
    return answer


def test_life_of_an_object(client: Client) -> None:
    expect(client.get("/life"), 404)
    expect(client.put("/life", headers={"X-Container-Meta-Key": "C minor"}), 201)
    expect(client.put("/life"), 202)
    expect(client.put("/unmade/object", BODY), 404)

    expect(client.put(OBJECT, BODY, {**TEXT, "Etag": "0" * 32}), 422)
    expect(client.put(OBJECT, BODY, {**TEXT, "X-Object-Meta-Opus": "173"}), 201, ETag=ETAG)
    expect(client.put(OBJECT, BODY, {"If-None-Match": "*"}), 412)

    expect(client.head(OBJECT), 200, Content_Length=str(len(BODY)), X_Object_Meta_Opus="173", ETag=ETAG)
    assert expect(client.get(OBJECT), 200, Content_Type="text/x-score").body == BODY
    part = expect(client.get(OBJECT, {"Range": "bytes=4-8"}), 206, Content_Range=f"bytes 4-8/{len(BODY)}")
    assert part.body == b"first"
    expect(client.get(OBJECT, {"Range": f"bytes={len(BODY)}-"}), 416)
    expect(client.get(OBJECT, {"If-None-Match": ETAG}), 304)
    expect(client.get(OBJECT, {"If-Match": "0" * 32}), 412)

    expect(client.post(OBJECT, {"X-Object-Meta-Key": "A minor"}), 202)
    expect(client.head(OBJECT), 200, X_Object_Meta_Key="A minor", Content_Type="text/x-score")
    assert client.head(OBJECT).headers["X-Object-Meta-Opus"] is None

    expect(client.request("COPY", OBJECT, headers={"Destination": "life/copy"}), 201, ETag=ETAG)
    expect(client.put("/life/second", headers={"X-Copy-From": OBJECT}), 201)
    assert expect(client.get("/life/copy"), 200, X_Object_Meta_Key="A minor").body == BODY

    names = [row["name"] for row in client.listing("/life")]
    assert names == ["copy", "für Elise", "second"]
    expect(client.head("/life"), 204, X_Container_Object_Count="3", X_Container_Meta_Key="C minor")

    expect(client.delete("/life"), 409)
    for name in ("/life/copy", "/life/second", OBJECT):
        expect(client.delete(name), 204)
        expect(client.get(name), 404)
        expect(client.delete(name), 404)
    expect(client.delete("/life"), 204)
    expect(client.get("/life"), 404)


def test_body_of_unknown_length_is_stored_whole(client: Client) -> None:
    client.put("/chunked")
    pieces = [b"%d" % number * 5000 for number in range(10)]
    answer = client.request("PUT", "/chunked/object", iter(pieces))
    assert (answer.status, client.get("/chunked/object").body) == (201, b"".join(pieces))


def test_separate_proxy_answers_503_without_its_object_servers_and_recovers(scratch: Path) -> None:
    with SeparateServers(scratch / "alone") as servers, Client.login(servers.auth) as client:
        assert client.put("/c").status == 201
        servers.servers["object"].stop()
        assert client.put("/c/o", b"x").status == 503
        servers.start_one("object")
        wait_until(lambda: client.put("/c/o", b"x").status == 201, 30, "a PUT to be taken again")
        assert client.get("/c/o").body == b"x"
