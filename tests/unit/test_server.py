"""The server as clients see it: connections, requests, answers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miniswift import concurrency
from miniswift.cluster import Constraints
from miniswift.errors import ConfigError
from miniswift.http_wire import TURN_S
from miniswift.responses import Environ, FileBody, Response, StartResponse
from miniswift.server import Server, ServerSettings
from miniswift.wsgi import HEADERS_RAW, POST_HOOKS, RAW_PATH_INFO, WSGIApp
from tests.unit.raw_http import Recorder, Running, running, until

HELLO = b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def echo(recorder: Recorder) -> Iterator[Running]:
    with running(recorder) as server:
        yield server


@pytest.fixture(autouse=True)
def _forget(recorder: Recorder) -> None:
    recorder.environs.clear()
    recorder.bodies.clear()


def answering(status: str, headers: list[tuple[str, str]], body: Any) -> WSGIApp:
    def app(_environ: Environ, start_response: StartResponse) -> Any:
        start_response(status, headers)
        return body

    return app


# --- the environ -----------------------------------------------------------------------------------


def test_environ_has_what_swift_filters_read(echo: Running, recorder: Recorder) -> None:
    with echo.client() as client:
        client.send(
            b"PUT /v1/a%20b/%C3%A9?x=%20y&z HTTP/1.1\r\nHost: here:80\r\nContent-Type: a/b\r\n"
            b"x-object-meta-a: \t1 \r\nContent-Length: 2\r\n\r\nhi"
        )
        assert client.answer().body == b"/v1/a b/\xc3\xa9 hi"
        address = client.sock.getsockname()
    environ = recorder.environs[0]
    assert {key: value for key, value in environ.items() if not key.startswith(("wsgi.", "eventlet."))} == {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/v1/a b/\xc3\xa9",
        RAW_PATH_INFO: "/v1/a%20b/%C3%A9",
        "QUERY_STRING": "x=%20y&z",
        "CONTENT_TYPE": "a/b",
        "CONTENT_LENGTH": "2",
        "HTTP_HOST": "here:80",
        "HTTP_X_OBJECT_META_A": "1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(echo.port),
        "SERVER_SOFTWARE": environ["SERVER_SOFTWARE"],
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": str(address[1]),
        HEADERS_RAW: (
            ("Host", "here:80"), ("Content-Type", "a/b"), ("x-object-meta-a", "1"), ("Content-Length", "2"),
        ),
    }  # fmt: skip
    assert environ["wsgi.url_scheme"] == "http"


def test_a_request_without_content_type_gets_none(echo: Running, recorder: Recorder) -> None:
    echo.ask(HELLO)
    assert "CONTENT_TYPE" not in recorder.environs[0]
    assert "CONTENT_LENGTH" not in recorder.environs[0]


def test_repeated_headers_are_joined(echo: Running, recorder: Recorder) -> None:
    echo.ask(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n")
    assert recorder.environs[0]["HTTP_X_A"] == "1,2"
    assert recorder.environs[0]["HTTP_COOKIE"] == "a=1; b=2"


def test_a_header_with_an_underscore_cannot_pose_as_another(echo: Running, recorder: Recorder) -> None:
    echo.ask(b"GET / HTTP/1.1\r\nHost: h\r\nX_Auth_Token: stolen\r\nTransfer_Encoding: chunked\r\n\r\n")
    assert "HTTP_X_AUTH_TOKEN" not in recorder.environs[0]
    assert recorder.environs[0][HEADERS_RAW] == (("Host", "h"),)


@pytest.mark.parametrize(
    ("target", "host", "path", "query"),
    [
        (b"http://other.example:81/a%2Fb?c", "other.example:81", "/a/b", "c"),
        (b"HTTP://other?c", "other", "/", "c"),
        (b"/http://x/y", "here", "/http://x/y", ""),
        (b"//twice", "here", "//twice", ""),
        (b"/%zz%", "here", "/%zz%", ""),
        (b"/caf\xc3\xa9", "here", "/caf\xc3\xa9", ""),
        (b"/%00", "here", "/\0", ""),
    ],
)
def test_request_targets(
    echo: Running, recorder: Recorder, target: bytes, host: str, path: str, query: str
) -> None:
    assert echo.ask(b"GET " + target + b" HTTP/1.1\r\nHost: here\r\n\r\n").status == 200
    environ = recorder.environs[0]
    assert (environ["HTTP_HOST"], environ["PATH_INFO"], environ["QUERY_STRING"]) == (host, path, query)


def test_options_may_ask_for_the_server_itself(echo: Running, recorder: Recorder) -> None:
    assert echo.ask(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").status == 200
    assert recorder.paths == ["*"]


@pytest.mark.parametrize("method", ["REPLICATE", "SSYNC", "UPDATE", "COPY", "M-SEARCH"])
def test_any_method_reaches_the_application(echo: Running, recorder: Recorder, method: str) -> None:
    assert echo.ask(method.encode() + b" /d/1 HTTP/1.1\r\nHost: h\r\n\r\n").status == 200
    assert recorder.environs[0]["REQUEST_METHOD"] == method


# --- connections -----------------------------------------------------------------------------------


def test_requests_follow_each_other_on_a_connection(echo: Running) -> None:
    with echo.client() as client:
        for _ in range(3):
            answer = client.send(HELLO).answer()
            assert answer.status == 200
            assert "Connection" not in answer.headers


def test_pipelined_requests_are_answered_in_order(echo: Running) -> None:
    requests = [
        b"PUT /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nGET " % number for number in range(50)
    ]
    with echo.client() as client:
        client.send(b"".join(requests))
        assert [client.answer().body for _ in requests] == [b"/%d GET " % number for number in range(50)]


def test_connection_close_is_honoured(echo: Running) -> None:
    with echo.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n")
        assert client.answer().headers["Connection"] == "close"
        assert client.rest() == b""


def test_http_1_0_closes_unless_asked_to_stay(echo: Running) -> None:
    with echo.client() as client:
        assert client.send(b"GET / HTTP/1.0\r\n\r\n").answer().headers["Connection"] == "close"
        assert client.rest() == b""
    with echo.client() as client:
        client.send(b"GET /1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert client.answer().headers["Connection"] == "keep-alive"
        assert client.send(b"GET /2 HTTP/1.0\r\n\r\n").answer().body == b"/2 "


@pytest.mark.parametrize("options", ["keep-alive", "Keep-Alive", "foo, keep-alive"])
def test_http_1_1_is_told_that_it_stays_when_it_asks(echo: Running, options: str) -> None:
    with echo.client() as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: %b\r\n\r\n" % options.encode())
            assert client.answer().headers["Connection"] == "keep-alive"


def test_the_application_gets_headers_longer_than_swift_allows(echo: Running, recorder: Recorder) -> None:
    value = "v" * (Constraints().max_header_size + 100)
    assert echo.ask(b"GET / HTTP/1.1\r\nHost: h\r\nX-Long: %b\r\n\r\n" % value.encode()).status == 200
    assert recorder.environs[0]["HTTP_X_LONG"] == value


def test_one_empty_line_before_a_request_is_ignored(echo: Running) -> None:
    assert echo.ask(b"\r\n" + HELLO).status == 200
    assert echo.ask(b"\r", b"\n", HELLO).status == 200
    assert echo.ask(b"\r\n\r\n" + HELLO).status == 400


def test_a_client_that_closes_in_the_head_is_forgotten(echo: Running, recorder: Recorder) -> None:
    with echo.client() as client:
        assert client.send(HELLO[:-4]).finish_sending().rest() == b""
    assert recorder.paths == []


def test_no_more_than_max_clients_are_served_at_a_time() -> None:
    recorder = Recorder()
    with running(recorder, max_clients=1) as server, server.client() as first, server.client() as second:
        first.send(HELLO).answer()
        second.send(HELLO)
        concurrency.sleep(0.01)
        assert len(recorder.environs) == 1
        first.sock.close()
        assert second.answer().status == 200


def test_a_thousand_idle_connections_do_not_disturb() -> None:
    app = answering("200 OK", [], [b"hi"])
    with running(app, max_clients=2000) as server:
        clients = [server.client() for _ in range(1000)]
        until(lambda: "1000 of them idle" in repr(server.server))
        assert server.ask(HELLO).body == b"hi"
        for client in clients:
            client.sock.close()


ANSWERS = {
    HELLO: b"/hello ",
    b"\r\n" + HELLO: b"/hello ",
    b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nhello\r\n\r\nyou": b"/p hello\r\n\r\nyou",
    b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhel\r\n\r\n00a\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n": b"/c hel\r\n0123456789",
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(st.sampled_from(list(ANSWERS)), min_size=1, max_size=3), data=st.data())
def test_it_does_not_matter_where_a_request_is_split(
    echo: Running, recorder: Recorder, requests: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    recorder.environs.clear()
    with echo.client() as client:
        client.send(*filter(None, pieces))
        assert [client.answer().body for _ in requests] == [ANSWERS[request] for request in requests]
    assert len(recorder.environs) == len(requests)


# --- answers ---------------------------------------------------------------------------------------


def test_every_answer_has_a_date(echo: Running) -> None:
    assert echo.ask(HELLO).headers["Date"].endswith(" GMT")
    with running(answering("200 OK", [("date", "yesterday")], [])) as server:
        headers = server.ask(HELLO).headers
        assert headers["date"] == "yesterday"
        assert "Date" not in headers


def test_a_stream_of_unknown_length_is_chunked() -> None:
    with running(answering("200 OK", [], (block for block in [b"", b"ab", b"", b"c" * 100000]))) as server:
        answer = server.ask(HELLO)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.body == b"ab" + b"c" * 100000


def test_a_stream_of_unknown_length_ends_with_the_connection_in_http_1_0() -> None:
    def app(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"ab"
        yield b"c"

    with running(app) as server, server.client() as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = client.answer()
    assert answer.body == b"abc"
    assert answer.headers["Connection"] == "close"
    assert "Transfer-Encoding" not in answer.headers


def test_the_length_of_a_body_at_hand_is_announced() -> None:
    with running(answering("200 OK", [], [b"ab", b"c"])) as server:
        assert server.ask(HELLO).headers["Content-Length"] == "3"
    with running(answering("200 OK", [], iter(()))) as server:
        assert server.ask(HELLO).headers["Content-Length"] == "0"


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [
        ("HEAD", "200 OK", []),
        ("HEAD", "200 OK", [("Content-Length", "1000")]),
        ("HEAD", "404 Not Found", []),
        ("PUT", "204 No Content", []),
        ("PUT", "204 No Content", [("Content-Length", "0")]),
        ("GET", "304 Not Modified", [("Content-Length", "1000")]),
    ],
)
@pytest.mark.parametrize("body", [[], [b"hello"], "generator"])
def test_bodiless_answers_have_no_body_and_the_headers_they_were_given(
    method: str, status: str, headers: list[tuple[str, str]], body: Any
) -> None:
    app = answering(status, headers, body)
    if body == "generator":

        def app(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
            start_response(status, headers)
            yield b"hello"
            yield b"again"

    with running(app) as server, server.client() as client:
        client.send(method.encode() + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = client.answer(method)
        assert {name: value for name, value in answer.headers.items() if name != "Date"} == dict(headers)
        client.send(HELLO.replace(b"GET", method.encode()))
        assert client.answer(method).status == int(status[:3])


def test_a_body_shorter_than_announced_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    with (
        running(answering("200 OK", [("Content-Length", "5")], [b"abc"])) as server,
        server.client() as client,
    ):
        client.send(HELLO)
        assert client.receive_head()[0] == 200
        assert client.rest() == b"abc"
    assert "2 bytes shorter" in caplog.text


def test_a_body_longer_than_announced_is_cut() -> None:
    for body in ([b"abcdef"], iter([b"ab", b"cdef", b"gh"])):
        with (
            running(answering("200 OK", [("Content-Length", "3")], body)) as server,
            server.client() as client,
        ):
            assert client.send(HELLO).answer().body == b"abc"
            assert client.received == b""


def test_the_write_callable_works() -> None:
    def app(_environ: Environ, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"ab")
        write(b"cd")
        return [b"ef"]

    with running(app) as server:
        assert server.ask(HELLO).body == b"abcdef"


def test_a_response_object_can_be_served() -> None:
    with running(Response(404)) as server, server.client() as client:
        answer = client.send(HELLO).answer()
        assert answer.status == 404
        assert b"<h1>Not Found</h1>" in answer.body
        assert client.send(HELLO).answer() == answer


def test_a_large_body_reaches_a_client_that_reads_late() -> None:
    body = os.urandom(1 << 20) * 8
    with running(answering("200 OK", [], [body])) as server:
        assert server.ask(HELLO).body == body
    with running(answering("200 OK", [], (body for _ in "1"))) as server:
        assert server.ask(HELLO).body == body


@pytest.mark.parametrize("size", [0, 1, 1024, 65536, 65537, 5_000_000])
def test_a_file_is_sent_and_closed(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(b"xx" + content + b"yy")
    sent: list[int] = []

    def app(environ: Environ, start_response: StartResponse) -> FileBody:
        body: FileBody = environ["wsgi.file_wrapper"](path.open("rb"), offset=2, length=size)
        body.on_close(sent.append)
        start_response("200 OK", [("Content-Length", str(size))])
        return body

    with running(app) as server, server.client() as client:
        for method in ("GET", "HEAD", "GET"):
            client.send(method.encode() + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = client.answer(method)
            assert answer.headers["Content-Length"] == str(size)
            assert answer.body == (content if method == "GET" else b"")
    assert sent == [size, 0, size]


def test_a_file_that_shrinks_closes_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 100_000)

    def app(_environ: Environ, start_response: StartResponse) -> FileBody:
        start_response("200 OK", [("Content-Length", "200000")])
        return FileBody(path.open("rb"), length=200_000)

    with running(app) as server, server.client() as client:
        client.send(HELLO).receive_head()
        assert client.rest() == b"a" * 100_000


# --- applications that fail --------------------------------------------------------------------------


def failing_first(_environ: Environ, _start: StartResponse) -> list[bytes]:
    raise KeyError("secret")


def failing_in_the_body(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    raise KeyError("secret")
    yield b""


def never_starting(_environ: Environ, _start: StartResponse) -> list[bytes]:
    return [b"hello"]


def with_a_line_break(_environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("X-A", "1\r\nX-B: 2")])
    return [b"hello"]


def streaming_with_a_line_break(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("X-A", "1\n2")])
    yield b"hello"


def with_wide_text(_environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("X-A", "\u20ac")])
    return [b"hello"]


def running_out_of_time(_environ: Environ, start_response: StartResponse) -> list[bytes]:
    raise concurrency.Timeout(None)


@pytest.mark.parametrize(
    "app",
    [
        failing_first,
        failing_in_the_body,
        never_starting,
        with_a_line_break,
        streaming_with_a_line_break,
        with_wide_text,
        running_out_of_time,
    ],
)
def test_a_failing_application_is_a_plain_500_and_a_traceback_in_the_log(
    app: WSGIApp, caplog: pytest.LogCaptureFixture
) -> None:
    with running(app) as server:
        answer = server.ask(HELLO)
        assert server.ask(HELLO).status == 500
    assert answer.status == 500
    assert answer.body == b"The server failed; its log has the reason."
    assert "GET /hello failed" in caplog.text
    assert caplog.records[0].exc_info


def test_an_application_that_fails_in_the_middle_closes_the_connection() -> None:
    def app(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"hello"
        raise KeyError("secret")

    with running(app) as server, server.client() as client:
        client.send(HELLO)
        assert client.receive_head()[0] == 200
        assert client.rest() == b"5\r\nhello\r\n"


def test_start_response_may_be_corrected_until_the_head_is_sent() -> None:
    def app(_environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise KeyError("oh")
        except KeyError as error:
            start_response("503 Service Unavailable", [], (KeyError, error, error.__traceback__))
        return [b"no"]

    with running(app) as server:
        assert server.ask(HELLO).status == 503


# --- the end of a request ----------------------------------------------------------------------------


class Closable:
    """A body that tells when it was closed."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.blocks = blocks
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks

    def close(self) -> None:
        self.is_closed = True


def test_post_hooks_run_after_the_answer_with_the_environ() -> None:
    ran: list[Any] = []

    def hook(environ: Environ, *args: Any, **kwargs: Any) -> None:
        ran.append((environ["PATH_INFO"], args, kwargs))

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        environ[POST_HOOKS].append((hook, (1,), {"a": 2}))
        start_response("200 OK", [])
        return [b"hi"]

    with running(app) as server:
        server.ask(HELLO)
        until(lambda: ran)
    assert ran == [("/hello", (1,), {"a": 2})]


def test_a_client_that_goes_away_ends_the_answer_quietly(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []
    bodies: list[Closable] = []

    def app(environ: Environ, start_response: StartResponse) -> Closable:
        environ[POST_HOOKS].append((lambda _environ: ran.append("hook"), (), {}))
        start_response("200 OK", [("Content-Length", str(1 << 40))])
        bodies.append(Closable(iter(lambda: b"x" * 65536, b"")))
        return bodies[0]

    caplog.set_level(logging.INFO)
    with running(app) as server:
        with server.client() as client:
            client.send(HELLO).receive_head()
        until(lambda: ran)
    assert bodies[0].is_closed
    assert caplog.records == []


def test_a_body_that_cannot_be_closed_is_logged_and_harmless(caplog: pytest.LogCaptureFixture) -> None:
    class Unclosable(Closable):
        def close(self) -> None:
            raise KeyError("oh")

    with running(answering("200 OK", [("Content-Length", "2")], Unclosable(iter([b"hi"])))) as server:
        assert server.ask(HELLO).body == b"hi"
        until(lambda: "cleaning up after GET /hello failed" in caplog.text)


# --- stopping ----------------------------------------------------------------------------------------


def test_stop_closes_idle_connections_and_lets_a_running_request_finish() -> None:
    go_on = concurrency.Event()

    def app(_environ: Environ, start_response: StartResponse) -> list[bytes]:
        go_on.wait()
        start_response("200 OK", [])
        return [b"done"]

    server = Running(app, ServerSettings())
    with server.client() as idle, server.client() as busy:
        busy.send(HELLO)
        until(lambda: "2, 1 of them idle" in repr(server.server))
        stopping = concurrency.spawn(server.stop, 10)
        assert idle.rest() == b""
        assert not stopping.dead
        go_on.send()
        answer = busy.answer()
        assert answer.body == b"done"
        assert answer.headers["Connection"] == "close"
        assert busy.rest() == b""
        stopping.wait()


def test_stop_cuts_what_outlives_its_grace() -> None:
    body = Closable(iter(lambda: concurrency.sleep(0.001) or b"x", b""))
    server = Running(answering("200 OK", [], body), ServerSettings())
    with server.client() as client:
        client.send(HELLO).receive_head()
        server.stop(0.01)
        assert client.rest()
    assert body.is_closed


def test_a_certificate_that_cannot_be_read_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="no usable TLS certificate"):
        Server(answering("200 OK", [], []), ServerSettings(cert_file="/nowhere"))


def test_a_header_name_in_utf8_arrives_byte_for_byte(recorder):
    with running(recorder) as server:
        asked = server.ask(b"GET / HTTP/1.1\r\nHost: h\r\nX-Object-Meta-\xc3\xa9: 5\r\n\r\n")
    assert asked.status == 200
    assert recorder.environs[0]["HTTP_X_OBJECT_META_\xc3\xa9"] == "5"


def test_a_client_that_is_always_ready_does_not_keep_others_waiting(recorder):
    def takes_a_turn(environ, start_response):
        end = monotonic() + TURN_S
        while monotonic() < end:
            pass
        return recorder(environ, start_response)

    with running(takes_a_turn) as server, server.client() as busy, server.client() as other:
        busy.send(b"GET /busy HTTP/1.1\r\nHost: h\r\n\r\n" * 50)
        other.send(b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n").answer()
        assert recorder.paths.index("/other") < 10
