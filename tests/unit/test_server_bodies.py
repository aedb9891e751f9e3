"""The server and the bodies of requests: reading, 100-continue, clients that stop, TLS."""

from __future__ import annotations

import datetime
import ipaddress
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miniswift import concurrency
from miniswift.errors import BadRequestBody, ClientDisconnected, ClientTimeout
from miniswift.responses import Environ, FileBody, StartResponse
from miniswift.wsgi import WSGIApp
from tests.unit.raw_http import Answer, Recorder, Running, running, until

CHUNKED = b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def put(size: int, *headers: bytes) -> bytes:
    lines = [b"PUT /o HTTP/1.1", b"Host: h", b"Content-Length: %d" % size, *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def reading(read: Callable[[Any], Any]) -> tuple[WSGIApp, list[Any]]:
    """An application that does `read(wsgi.input)`, and what came of it."""
    results: list[Any] = []

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        try:
            results.append(read(environ["wsgi.input"]))
        except (BadRequestBody, ClientDisconnected, ClientTimeout) as error:
            results.append(type(error))
            raise
        start_response("200 OK", [])
        return [b"ok"]

    return app, results


def refusing(status: str) -> WSGIApp:
    def app(_environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response(status, [])
        return [b"refused"]

    return app


# --- reading ---------------------------------------------------------------------------------------


def in_chunks(body: bytes) -> bytes:
    blocks = [body[start : start + 7] for start in range(0, len(body), 7)]
    return b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in [*blocks, b""])


LINES = b"one\ntwo\r\n\nthree"


@pytest.mark.parametrize("framed", [put(len(LINES)) + LINES, CHUNKED + in_chunks(LINES)])
@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda body: body.read(), LINES),
        (lambda body: body.read(None), LINES),
        (lambda body: [body.read(size) for size in (5, 0, 99, 1)], [LINES[:5], b"", LINES[5:], b""]),
        (lambda body: list(body), [b"one\n", b"two\r\n", b"\n", b"three"]),
        (lambda body: body.readlines(), [b"one\n", b"two\r\n", b"\n", b"three"]),
        (lambda body: body.readlines(5), [b"one\n", b"two\r\n"]),
        (lambda body: [body.readline(2), body.readline(), body.read(3)], [b"on", b"e\n", b"two"]),
        (lambda body: [body.readline() for _ in range(5)][-2:], [b"three", b""]),
    ],
)  # fmt: skip
def test_a_body_reads_like_a_file(framed: bytes, read: Callable[[Any], Any], expected: Any) -> None:
    app, results = reading(read)
    with running(app) as server, server.client() as client:
        assert client.send(framed).answer().status == 200
        assert client.send(framed).answer().status == 200  # nothing of the body was left over
    assert results == [expected, expected]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300), sizes=st.lists(st.integers(1, 400), max_size=30), seed=st.integers())
def test_chunks_of_any_size_make_the_same_body(
    echo: Running, body: bytes, sizes: list[int], seed: int
) -> None:
    chunks, rest = [], body
    while rest:
        size = sizes.pop() if sizes else len(rest)
        chunks.append(rest[:size])
        rest = rest[size:]
    framed = b"".join(b"%X\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    cut = random.Random(seed).randrange(len(framed))
    with echo.client() as client:
        assert client.send(CHUNKED + framed[:cut], framed[cut:]).answer().body == b"/c " + body


@pytest.fixture(scope="module")
def echo() -> Iterator[Running]:
    with running(Recorder()) as server:
        yield server


def test_a_large_body_arrives_whole_in_the_sizes_asked_for() -> None:
    content = os.urandom(3_000_000)
    app, results = reading(lambda body: list(iter(lambda: body.read(65536), b"")))
    with running(app) as server:
        for framed in (
            put(len(content)) + content,
            CHUNKED + b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n",
        ):
            assert server.ask(framed).status == 200
    for blocks in results:
        assert b"".join(blocks) == content
        assert {len(block) for block in blocks[:-1]} == {65536}


# --- clients that stop -------------------------------------------------------------------------------


@pytest.mark.parametrize("framed", [put(10) + b"hello", CHUNKED + b"5\r\nhel", CHUNKED + b"3\r\nhel\r\n"])
def test_a_client_that_closes_early_is_client_disconnected(framed: bytes) -> None:
    app, results = reading(lambda body: body.read())
    with running(app) as server:
        with server.client() as client:
            client.send(framed).finish_sending()
            assert client.rest() == b""
        with server.client() as client:
            client.send(framed)
        until(lambda: len(results) == 2)
    assert results == [ClientDisconnected, ClientDisconnected]


@pytest.mark.parametrize("framed", [put(10) + b"hello", CHUNKED + b"5\r\nhel", CHUNKED])
def test_a_client_that_stops_sending_is_client_timeout_and_408(framed: bytes) -> None:
    app, results = reading(lambda body: body.read())
    with running(app, client_timeout=0.05) as server, server.client() as client:
        answer = client.send(framed).answer()
        assert (answer.status, answer.headers["Connection"]) == (408, "close")
        assert client.finish_sending().rest() == b""
    assert results == [ClientTimeout]


def test_malformed_chunks_are_bad_request_body_once_and_for_all() -> None:
    def read(body: Any) -> Any:
        kinds = []
        for _ in range(2):
            try:
                body.read()
            except BadRequestBody as error:
                kinds.append(type(error))
        return kinds

    app, results = reading(read)
    with running(app) as server, server.client() as client:
        client.send(CHUNKED + b"x\r\n5\r\nhello\r\n0\r\n\r\n")
        assert client.answer().headers["Connection"] == "close"
        assert client.finish_sending().rest() == b""
    assert results == [[BadRequestBody, BadRequestBody]]


def test_a_client_that_does_not_take_the_answer_is_left(tmp_path: Path) -> None:
    ended: list[int] = []
    path = tmp_path / "file"
    path.write_bytes(b"x" * 20_000_000)

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [("Content-Length", "20000000")])
        if environ["PATH_INFO"] == "/file":
            body = FileBody(path.open("rb"))
            body.on_close(ended.append)
            return body
        return blocks()

    def blocks() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            ended.append(0)

    with running(app, client_timeout=0.05) as server:
        for target in (b"/file", b"/blocks"):
            with server.client() as client:
                client.send(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n").receive_head()
                until(lambda: ended)
                assert ended.pop() < 20_000_000


def test_an_idle_connection_is_closed_without_a_word() -> None:
    with running(Recorder(), keepalive_timeout=0.05) as server, server.client() as client:
        assert client.send(put(0)).answer().status == 200
        assert client.rest() == b""
        with server.client() as silent:
            assert silent.rest() == b""


# --- bodies nobody reads -------------------------------------------------------------------------------


@pytest.mark.parametrize("framed", [put(60000) + b"x" * 60000, CHUNKED + in_chunks(b"x" * 60000)])
def test_a_small_unread_body_is_skipped(framed: bytes) -> None:
    with running(refusing("422 Unprocessable Entity")) as server, server.client() as client:
        for _ in range(3):
            answer = client.send(framed).answer()
            assert (answer.status, "Connection" in answer.headers) == (422, False)


@pytest.mark.parametrize(
    "framed",
    [
        put(5_000_000) + b"x" * 5_000_000,
        CHUNKED + b"%x\r\n" % 5_000_000 + b"x" * 5_000_000 + b"\r\n0\r\n\r\n",
    ],
)
def test_the_refusal_of_a_large_body_reaches_a_client_that_sends_it_all(framed: bytes) -> None:
    with running(refusing("413 Too Large")) as server, server.client() as client:
        sender = concurrency.spawn(client.sock.sendall, framed)
        assert client.answer().status == 413
        sender.wait()
        assert client.finish_sending().rest() == b""


def test_an_unread_body_is_never_taken_for_a_request() -> None:
    recorder = Recorder()

    def app(environ: Environ, start_response: StartResponse) -> Any:
        if environ["REQUEST_METHOD"] != "PUT":
            return recorder(environ, start_response)
        start_response("422 Unprocessable Entity", [])
        return []

    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    with running(app) as server:
        for framed in (
            put(len(smuggled)) + smuggled,
            put(100_000 * len(smuggled)) + smuggled * 3000,
            put(len(smuggled), b"Expect: 100-continue") + smuggled,
            CHUNKED + b"5\r\n" + smuggled,
            CHUNKED + b"%x\r\n" % len(smuggled) + smuggled + b"\r\n0\r\n\r\n",
        ):
            with server.client() as client:
                assert client.send(framed).answer().status == 422
                client.finish_sending().rest()
    assert recorder.paths == []


# --- 100 Continue ----------------------------------------------------------------------------------


def test_100_continue_is_sent_when_the_application_first_reads() -> None:
    go_on = concurrency.Event()

    def read(body: Any) -> Any:
        go_on.wait()
        return body.read(2) + body.read()

    app, results = reading(read)
    with running(app) as server, server.client() as client:
        client.send(put(5, b"Expect: 100-Continue"))
        client.sock.settimeout(0.01)
        with pytest.raises(TimeoutError):
            client.answer()
        client.sock.settimeout(10)
        go_on.send()
        assert client.answer() == Answer(100, {}, b"")
        assert client.send(b"hello").answer().status == 200
        assert client.send(put(1) + b"x").answer().status == 200
    assert results == [b"hello", b"x"]


def test_no_100_continue_for_an_application_that_refuses_without_reading() -> None:
    with running(refusing("507 Insufficient Storage")) as server, server.client() as client:
        answer = client.send(put(5, b"Expect: 100-continue")).answer()
        assert (answer.status, answer.headers["Connection"]) == (507, "close")
        assert client.finish_sending().rest() == b""


def test_no_100_continue_in_the_middle_of_an_answer() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        yield environ["wsgi.input"].read()

    with running(app) as server, server.client() as client:
        client.send(put(5, b"Expect: 100-continue") + b"hello")
        assert client.answer().body == b"begunhello"


def test_no_100_continue_in_http_1_0() -> None:
    with running(Recorder()) as server:
        answer = server.ask(put(5, b"Expect: 100-continue").replace(b"1.1", b"1.0") + b"hello")
    assert answer.body == b"/o hello"


def test_a_conversation_of_two_phases_has_two_100s_with_headers() -> None:
    def read(body: Any) -> tuple[bytes, bytes]:
        body.set_hundred_continue_response_headers(
            [("X-Obj-Metadata-Footer", "yes"), ("X-obj-multiphase-commit", "yes")]
        )
        data = body.read()
        body.send_hundred_continue_response()
        return data, body.read()

    app, results = reading(read)
    promised = {"X-Obj-Metadata-Footer": "yes", "X-Obj-Multiphase-Commit": "yes"}
    with running(app) as server, server.client() as client:
        client.send(CHUNKED.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert client.answer() == Answer(100, promised, b"")
        client.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert client.answer() == Answer(100, promised, b"")
        client.send(b"6\r\ncommit\r\n0\r\n\r\n")
        assert client.answer().status == 200
        assert client.send(CHUNKED + b"0\r\n\r\n").answer().status == 100
    assert results[0] == (b"hello", b"commit")


def test_an_answer_can_begin_before_the_body_ends() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        for line in environ["wsgi.input"]:
            yield b"got " + line

    with running(app) as server, server.client() as client:
        client.send(CHUNKED + b"2\r\na\n\r\n").receive_head()
        assert client.receive(len(b"6\r\ngot a\n\r\n")) == b"6\r\ngot a\n\r\n"
        client.send(b"2\r\nb\n\r\n0\r\n\r\n")
        assert client.receive(len(b"6\r\ngot b\n\r\n0\r\n\r\n")) == b"6\r\ngot b\n\r\n0\r\n\r\n"


# --- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem, format_ = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, format_, serialization.NoEncryption()))
    return path


def over_tls(certificate: Path) -> Callable[[Any], Any]:
    context = concurrency.ssl.SSLContext(concurrency.ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    return lambda sock: context.wrap_socket(sock, server_hostname="127.0.0.1")


def test_tls_carries_requests_bodies_and_files(certificate: Path, tmp_path: Path) -> None:
    content = os.urandom(1_000_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    recorder = Recorder()

    def app(environ: Environ, start_response: StartResponse) -> Any:
        assert environ["wsgi.url_scheme"] == "https"
        if environ["REQUEST_METHOD"] == "PUT":
            return recorder(environ, start_response)
        start_response("200 OK", [("Content-Length", str(len(content)))])
        return FileBody(path.open("rb"))

    with running(app, cert_file=str(certificate)) as server, server.client(over_tls(certificate)) as client:
        assert client.send(put(len(content)), content).answer().body == b"/o " + content
        assert client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").answer().body == content
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.answer().body == content
        assert client.rest() == b""


def test_something_else_than_tls_is_closed_and_others_are_served(certificate: Path) -> None:
    with running(Recorder(), cert_file=str(certificate), header_timeout=0.05) as server:
        with server.client() as client:
            client.send(put(0)).rest()
        with server.client() as silent:
            assert silent.rest() == b""
        with server.client() as client:
            client.send(b"\x16\x03\x01").sock.close()
        with server.client(over_tls(certificate)) as client:
            assert client.send(put(0)).answer().status == 200


def test_a_slow_client_over_tls_gets_its_408(certificate: Path) -> None:
    with (
        running(Recorder(), cert_file=str(certificate), client_timeout=0.05) as server,
        server.client(over_tls(certificate)) as client,
    ):
        assert client.send(put(5) + b"hi").answer().status == 408
