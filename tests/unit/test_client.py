"""Fan-out and quorum, against a transport whose nodes do what each test says."""

from __future__ import annotations

import io

import pytest

from miniswift import logs
from miniswift.backend import BackendRequest, BrokenAnswer, ConnectFailed, TransportError
from miniswift.client import Client, ClientSettings
from miniswift.concurrency import pause
from miniswift.errors import ClientDisconnected
from miniswift.nodes import ErrorLimiter, Nodes
from miniswift.quorum import best_response, quorum
from miniswift.responses import Headers, Response
from miniswift.upload import Upload


class ScriptedTransport:
    """Each device answers by a function, a status, or an error; what was sent is kept."""

    def __init__(self, **answers):
        self.answers = answers
        self.sent = []
        self.stored = {}

    def send(self, node, request):
        self.sent.append((node.device, request.method, request.headers.copy()))
        answer = self.answers.get(node.device, 200)
        if callable(answer) and not isinstance(answer, Response):
            answer = answer(request)
        if isinstance(answer, TransportError):
            raise answer
        if isinstance(answer, Response):
            return answer
        if request.body is not None and answer // 100 == 2:
            self.stored[node.device] = b"".join(iter(lambda: request.body.read(7), b""))
        return Response(answer, body=node.device.encode())

    @property
    def asked(self):
        return [device for device, _, _ in self.sent]


def client_of(transport, **settings):
    return Client(transport, ClientSettings(**settings))


def get(path="/a/c/o"):
    return BackendRequest("GET", 0, path)


@pytest.mark.parametrize(("replicas", "needed"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_quorum(replicas, needed):
    assert quorum(replicas) == needed


@pytest.mark.parametrize(
    ("statuses", "overrides", "expected"),
    [
        ([201, 201, 201], None, 201),
        ([201, 503, 503], None, 503),
        ([201, 202, 503], None, 202),
        ([204, 404, 404], None, 404),
        ([204, 204, 404], None, 204),
        ([204, 404, 503], None, 503),
        ([204, 404, 503], {404: 204}, 204),
        ([404, 404, 503], {404: 204}, 404),
        ([409, 409, 201], None, 409),
        ([], None, 503),
    ],
)
def test_best_response(statuses, overrides, expected):
    responses = [Response(status) for status in statuses]
    assert best_response(responses, 3, overrides=overrides).status == expected


def test_read_takes_the_first_node_that_has_it(ring_of):
    transport = ScriptedTransport()
    response = client_of(transport).read(ring_of(4, 3), 0, get())
    assert response.status == 200
    assert len(transport.asked) == 1


def test_read_goes_on_after_a_node_that_is_down(ring_of):
    transport = ScriptedTransport(d0=ConnectFailed("down"), d1=503, d2=200)
    assert client_of(transport).read(ring_of(3, 3), 0, get()).read() == b"d2"


def test_read_asks_handoffs_when_all_primaries_are_down(ring_of):
    transport = ScriptedTransport(d0=ConnectFailed("down"), d1=ConnectFailed("down"), d2=200)
    assert client_of(transport).read(ring_of(3, 2), 0, get()).read() == b"d2"


def test_read_of_what_nobody_has_is_404(ring_of):
    transport = ScriptedTransport(d0=404, d1=404, d2=404, d3=404)
    assert client_of(transport).read(ring_of(4, 3), 0, get()).status == 404


def test_read_with_every_node_down_is_503(ring_of):
    transport = ScriptedTransport(d0=ConnectFailed("down"))
    assert client_of(transport).read(ring_of(1, 1), 0, get()).status == 503


def test_a_tombstone_newer_than_the_object_wins(ring_of):
    deleted = Response(404, Headers({"X-Backend-Timestamp": "0000000002.00000"}))
    found = Response(200, Headers({"X-Backend-Timestamp": "0000000001.00000"}), b"old")
    transport = ScriptedTransport(d0=deleted, d1=found)
    ring = ring_of(2, 2)
    client = client_of(transport)
    # The order is shuffled; the object may be asked for first only when the tombstone is not known.
    while True:
        transport.sent.clear()
        response = client.read(ring, 0, get())
        if transport.asked[0] == "d0":
            break
    assert response.status == 404


def test_newest_asks_all_and_takes_the_newest(ring_of):
    transport = ScriptedTransport(
        d0=Response(200, Headers({"X-Backend-Timestamp": "0000000001.00000"}), b"old"),
        d1=Response(200, Headers({"X-Backend-Timestamp": "0000000003.00000"}), b"new"),
        d2=Response(200, Headers({"X-Backend-Timestamp": "0000000002.00000"}), b"mid"),
    )
    response = client_of(transport).read(ring_of(3, 3), 0, get(), newest=True)
    assert response.read() == b"new"
    assert sorted(transport.asked) == ["d0", "d1", "d2"]


def test_newest_of_the_same_data_is_the_one_with_the_latest_post(ring_of):
    def stored(posted_at, body):
        times = {"X-Backend-Data-Timestamp": "0000000001.00000", "X-Backend-Timestamp": posted_at}
        return lambda request: Response(200, Headers(times), body)

    transport = ScriptedTransport(
        d0=stored("0000000001.00000", b"never"),
        d1=stored("0000000003.00000", b"latest"),
        d2=stored("0000000002.00000", b"earlier"),
    )
    for _ in range(6):  # the order is shuffled
        response = client_of(transport).read(ring_of(3, 3), 0, get(), newest=True)
        assert response.read() == b"latest"


def test_write_reaches_quorum_with_one_node_down_and_no_handoff(ring_of):
    transport = ScriptedTransport(d0=201, d1=ConnectFailed("down"), d2=201)
    response = client_of(transport).write(ring_of(3, 3), 0, lambda _: BackendRequest("PUT", 0, "/a"))
    assert response.status == 201


def test_write_replaces_a_full_primary_by_a_handoff(ring_of):
    transport = ScriptedTransport(d0=201, d1=507, d2=201, d3=201)
    responses = client_of(transport).write_all(ring_of(4, 3), 0, lambda _: BackendRequest("PUT", 0, "/a"))
    assert [response.status for response in responses] == [201, 201, 201]
    assert "d3" in transport.asked


def test_what_is_logged_of_a_node_belongs_to_the_transaction(ring_of):
    seen = []

    def answer(request):
        seen.append(logs.trans_id.get())
        return 201

    token = logs.trans_id.set("tx1")
    try:
        transport = ScriptedTransport(d0=answer, d1=answer, d2=answer)
        client_of(transport).write(ring_of(3, 3), 0, lambda _: BackendRequest("PUT", 0, "/a"))
    finally:
        logs.trans_id.reset(token)
    assert seen == ["tx1"] * 3


def test_an_error_that_nobody_foresaw_does_not_hang_the_request(ring_of, capfd):
    def fail(request):
        raise ZeroDivisionError

    transport = ScriptedTransport(d0=fail, d1=fail, d2=fail)
    response = client_of(transport).write(ring_of(3, 3), 0, lambda _: BackendRequest("PUT", 0, "/a"))
    assert response.status == 503
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_write_without_a_quorum_is_503(ring_of):
    transport = ScriptedTransport(d0=201, d1=ConnectFailed("down"), d2=ConnectFailed("down"))
    response = client_of(transport).write(ring_of(3, 3), 0, lambda _: BackendRequest("PUT", 0, "/a"))
    assert response.status == 503


def upload(transport, ring, body=b"some bytes", length=None, max_size=1000, **settings):
    length = len(body) if length is None else length
    source = Upload(io.BytesIO(body), length, max_size)
    return client_of(transport, **settings).upload(
        ring, 0, lambda _: BackendRequest("PUT", 0, "/a/c/o"), source
    )


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_upload_brings_the_body_to_every_replica(ring_of, replicas):
    transport = ScriptedTransport(d0=201, d1=201, d2=201)
    body = bytes(range(256)) * 10
    responses = upload(transport, ring_of(3, replicas), body, max_size=10_000, object_chunk_size=100)
    assert [response.status for response in responses] == [201] * replicas
    assert list(transport.stored.values()) == [body] * replicas


@pytest.mark.parametrize("replicas", [1, 3])
def test_upload_replaces_nodes_that_do_not_take_it(ring_of, replicas):
    transport = ScriptedTransport(d0=507, d1=201, d2=ConnectFailed("down"), d3=201, d4=201)
    responses = upload(transport, ring_of(5, replicas))
    assert [response.status for response in responses] == [201] * replicas
    assert list(transport.stored.values()) == [b"some bytes"] * replicas


def test_upload_refused_before_the_body_brings_the_refusals(ring_of):
    transport = ScriptedTransport(d0=412, d1=412, d2=412)
    assert [response.status for response in upload(transport, ring_of(3, 3))] == [412] * 3


def test_upload_without_a_quorum_stores_nothing(ring_of):
    transport = ScriptedTransport(d0=201, d1=ConnectFailed("down"), d2=ConnectFailed("down"))
    responses = upload(transport, ring_of(3, 3))
    assert sorted(response.status for response in responses) == [499, 503, 503]
    assert not transport.stored


def test_the_body_of_a_refusal_is_kept(ring_of):
    transport = ScriptedTransport(d0=lambda _: Response(409, body=iter([b"there is ", b"a newer one"])))
    (response,) = client_of(transport).write_all(ring_of(1, 1), 0, lambda _: BackendRequest("PUT", 0, "/a"))
    assert response.read() == b"there is a newer one"


def test_an_answer_that_breaks_off_counts_as_none(ring_of):
    transport = ScriptedTransport(d0=lambda _: Response(201, body=Breaking(b"crea")), d1=201)
    responses = client_of(transport).write_all(ring_of(2, 1), 0, lambda _: BackendRequest("PUT", 0, "/a"))
    assert [response.read() for response in responses] == [b"d1"]


def breaks_off(request):
    """A node that fails in the middle of the body."""
    request.body.read(3)
    return BrokenAnswer("gone")


def test_upload_goes_on_when_one_of_three_breaks_off(ring_of):
    transport = ScriptedTransport(d0=201, d1=breaks_off, d2=201)
    responses = upload(transport, ring_of(3, 3), b"x" * 5000, max_size=10_000, object_chunk_size=10)
    assert sorted(response.status for response in responses) == [201, 201, 503]


def test_upload_runs_ahead_of_its_slowest_node_by_little(ring_of):
    source = Upload(io.BytesIO(b"x" * 5000), None, 10_000)
    ahead = []

    def slow(request):
        taken = 0
        while chunk := request.body.read(10):
            taken += len(chunk)
            for _ in range(30):  # rounds in which everybody else may go on
                pause()
            ahead.append(source.received - taken)
        return 201

    transport = ScriptedTransport(d0=slow, d1=201, d2=201)
    client = client_of(transport, object_chunk_size=10)
    responses = client.upload(ring_of(3, 3), 0, lambda _: BackendRequest("PUT", 0, "/a/c/o"), source)
    assert [response.status for response in responses] == [201, 201, 201]
    assert max(ahead) <= 4 * 10


def test_upload_is_abandoned_when_two_of_three_break_off(ring_of):
    transport = ScriptedTransport(d0=201, d1=breaks_off, d2=breaks_off)
    responses = upload(transport, ring_of(3, 3), b"x" * 5000, max_size=10_000, object_chunk_size=10)
    assert sorted(response.status for response in responses) == [499, 503, 503]
    assert not transport.stored


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_client_that_sends_too_little_is_an_error_everywhere(ring_of, replicas):
    transport = ScriptedTransport(d0=201, d1=201, d2=201)
    with pytest.raises(ClientDisconnected):
        upload(transport, ring_of(3, replicas), b"short", length=10)
    assert not transport.stored


def test_an_error_limited_node_is_skipped_until_its_rest_is_over(ring_of):
    now = [100.0]
    limiter = ErrorLimiter(limit=1, interval_s=60, clock=lambda: now[0])
    ring = ring_of(2, 2)
    limiter.limit(ring.primaries(0)[0], "failed")
    assert [node.device for node in Nodes(ring, 0, limiter)] == ["d1"]
    now[0] += 61
    assert [node.device for node in Nodes(ring, 0, limiter)] == ["d0", "d1"]


class Breaking:
    """A body that breaks off after `chunks`."""

    def __init__(self, *chunks):
        self.chunks = chunks

    def __iter__(self):
        yield from self.chunks
        raise BrokenAnswer("gone")

    def close(self):
        pass


def test_a_download_goes_on_from_another_node(ring_of):
    full = Headers({"Etag": '"e"', "Content-Length": "10"})
    rest = Headers({"Etag": '"e"', "Content-Range": "bytes 4-9/10"})

    def answer(request):
        if "Range" not in request.headers:
            return Response(200, full.copy(), Breaking(b"01", b"23"))
        assert request.headers["Range"] == "bytes=4-9"
        assert request.headers["If-Match"] == '"e"'
        return Response(206, rest.copy(), iter([b"456789"]))

    transport = ScriptedTransport(d0=answer, d1=answer)
    assert client_of(transport).read(ring_of(2, 2), 0, get()).read() == b"0123456789"


def test_a_download_that_nobody_can_continue_breaks(ring_of):
    full = Headers({"Etag": '"e"', "Content-Length": "10"})
    transport = ScriptedTransport(d0=lambda _: Response(200, full.copy(), Breaking(b"01")))
    response = client_of(transport).read(ring_of(1, 1), 0, get())
    with pytest.raises(BrokenAnswer):
        response.read()
