"""The contract of a transport, over a call in process and over HTTP on loopback."""

from __future__ import annotations

import io

import pytest

from miniswift import concurrency
from miniswift.backend import BackendRequest, BrokenAnswer, ConnectFailed, TimedOut, TransportError
from miniswift.errors import ClientDisconnected
from miniswift.http_transport import HTTPTransport
from miniswift.responses import Headers, HTTPError, Response
from miniswift.ring import Node
from miniswift.server import Server, ServerSettings
from miniswift.transport import LocalTransport, RoutedTransport
from miniswift.wsgi import Request


class Application:
    """Answers as its path says, and keeps what it was asked."""

    def __init__(self):
        self.requests = []

    def __call__(self, environ, start_response):
        request = Request(environ)
        self.requests.append(request)
        try:
            response = getattr(self, request.path_info.rpartition("/")[2], self.echo)(request)
        except HTTPError as error:
            response = error.response
        except ClientDisconnected:
            response = Response(499)
        return response(environ, start_response)

    def echo(self, request):
        return Response(201, Headers({"X-Method": request.method, "Etag": "e"}), self.body_of(request))

    def body_of(self, request):
        return b"".join(iter(lambda: request.body_file.read(1000), b""))

    def refuse(self, request):
        raise HTTPError(507, b"no room")

    def empty(self, request):
        return Response(204, Headers(), [])

    def stream(self, request):
        return Response(200, Headers(), iter([b"a" * 100_000, b"b" * 100_000]))

    def fail(self, request):
        raise ZeroDivisionError


@pytest.fixture
def application():
    return Application()


@pytest.fixture(params=["in process", "over HTTP", "routed"])
def place(request, application):
    """(transport, node) of the application."""
    if request.param == "in process":
        node = Node("127.0.0.1", 6200, "d1")
        yield LocalTransport({(node.ip, node.port): application}), node
        return
    listener = concurrency.listen(("127.0.0.1", 0))
    server = Server(application, ServerSettings())
    concurrency.spawn(server.serve, listener)
    node = Node("127.0.0.1", listener.getsockname()[1], "d1")
    http = HTTPTransport(1, 5)
    yield (http if request.param == "over HTTP" else RoutedTransport({}, http)), node
    http.close()
    server.stop(0)
    listener.close()


def ask(place, method="GET", name="echo", body=None, length=None, **headers):
    transport, node = place
    source = None if body is None else io.BytesIO(body)
    given = Headers({key.replace("_", "-"): value for key, value in headers.items()})
    return transport.send(node, BackendRequest(method, 7, f"/a/c/{name}", given, "", source, length))


def test_a_request_arrives_as_it_was_sent(place, application):
    transport, node = place
    request = BackendRequest(
        "GET", 7, "/a/c ☃/%o", Headers({"X-Timestamp": "1", "X-Y": "\xe2"}), "prefix=%20"
    )
    transport.send(node, request).read()
    (seen,) = application.requests
    assert seen.path_info == "/d1/7/a/c \xe2\x98\x83/%o"
    assert seen.query_string == "prefix=%20"
    assert seen.headers["X-Timestamp"] == "1"
    assert seen.headers["X-Y"] == "\xe2"


def test_status_headers_and_body_come_back(place):
    response = ask(place, "PUT", body=b"hello", length=5)
    assert response.status == 201
    assert response.headers["ETAG"] == "e"
    assert response.headers["X-Method"] == "PUT"
    assert response.read() == b"hello"


@pytest.mark.parametrize("size", [0, 1, 65536, 300_000])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_bodies_of_any_size(place, size, is_chunked):
    body = b"x" * size
    assert ask(place, "PUT", body=body, length=None if is_chunked else size).read() == body


def test_a_body_without_a_length_in_the_answer(place):
    assert ask(place, name="stream").read() == b"a" * 100_000 + b"b" * 100_000


def test_an_answer_without_a_body(place):
    assert ask(place, "DELETE", name="empty").status == 204
    head = ask(place, "HEAD", name="echo")
    assert (head.status, head.read()) == (201, b"")


class Unread:
    """A body that must not be read."""

    def read(self, size=-1):
        raise AssertionError("read although the node refused")


def test_a_refusal_leaves_the_body_unread(place):
    transport, node = place
    request = BackendRequest("PUT", 7, "/a/c/refuse", Headers(), "", Unread(), 10)
    assert transport.send(node, request).status == 507


def test_a_failure_of_the_application_is_a_500(place):
    assert ask(place, name="fail").status == 500


class Vanishing:
    """The body of a client that goes away."""

    def __init__(self):
        self.left = [b"x" * 1000]

    def read(self, size=-1):
        if self.left:
            return self.left.pop()
        raise ClientDisconnected


def test_an_error_of_the_client_reaches_the_sender_or_the_application(place):
    transport, node = place
    request = BackendRequest("PUT", 7, "/a/c/echo", Headers(), "", Vanishing(), 5000)
    try:
        status = transport.send(node, request).status
    except ClientDisconnected:
        status = 499
    assert status == 499


def test_requests_one_after_the_other(place):
    for number in range(20):
        body = str(number).encode()
        assert ask(place, "PUT", body=body, length=len(body)).read() == body
        assert ask(place, "PUT", name="refuse", body=b"x", length=1).read() == b"no room"


# --- HTTP alone ------------------------------------------------------------------------------------


def answering(answers):
    """A node whose connections answer bytes, one item a request; `None` answers nothing."""
    listener = concurrency.listen(("127.0.0.1", 0))
    connections = []

    def serve():
        for answer in answers:
            connection, _address = listener.accept()
            connections.append(connection)
            connection.recv(65536)
            if answer is not None:
                connection.sendall(answer)
                connection.close()

    concurrency.spawn(serve)
    return listener, Node("127.0.0.1", listener.getsockname()[1], "d1"), connections


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", BrokenAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Le", BrokenAnswer),
        (b"this is no HTTP\r\n\r\n", BrokenAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", BrokenAnswer),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", BrokenAnswer),
        (None, TimedOut),
    ],
)
def test_an_answer_that_breaks_off_is_an_error(answer, error):
    listener, node, connections = answering([answer])
    with pytest.raises(error):
        HTTPTransport(1, 0.05).send(node, BackendRequest("GET", 0, "/a")).read()
    listener.close()
    for connection in connections:
        connection.close()


def test_an_answer_may_end_with_the_connection():
    listener, node, _ = answering([b"HTTP/1.1 200 OK\r\n\r\nall of it"])
    assert HTTPTransport(1, 1).send(node, BackendRequest("GET", 0, "/a")).read() == b"all of it"
    listener.close()


def test_a_node_that_is_not_there():
    listener = concurrency.listen(("127.0.0.1", 0))
    node = Node("127.0.0.1", listener.getsockname()[1], "d1")
    listener.close()
    with pytest.raises(ConnectFailed):
        HTTPTransport(1, 1).send(node, BackendRequest("GET", 0, "/a"))


def test_a_kept_connection_that_was_closed_is_replaced():
    complete = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    listener, node, _ = answering([complete, complete])
    transport = HTTPTransport(1, 1)
    for _ in range(2):
        assert transport.send(node, BackendRequest("GET", 0, "/a")).read() == b"ok"
    transport.close()
    listener.close()


def test_every_error_of_a_transport_is_a_transport_error():
    assert all(issubclass(error, TransportError) for error in (BrokenAnswer, ConnectFailed, TimedOut))
