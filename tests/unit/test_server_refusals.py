"""Requests that are refused: each with its answer, and never with a byte behind it taken for a request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.raw_http import Recorder, Running, running

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"PUT /chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def echo(recorder: Recorder) -> Iterator[Running]:
    with running(
        recorder, max_request_line=200, max_header_line=300, max_header_count=5, header_timeout=0.1
    ) as it:
        yield it


@pytest.fixture(autouse=True)
def _forget(recorder: Recorder) -> None:
    recorder.environs.clear()


def get(*headers: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: h\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


MALFORMED = [
    # Two ways to find the end of the body.
    (get(b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400, b"both"),
    (get(b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400, b"both"),
    (get(b"Content-Length: 5", b"Content-Length: 5"), 400, b"more than one Content-Length"),
    (get(b"Content-Length: 5", b"content-length: 6"), 400, b"more than one Content-Length"),
    (get(b"Content-Length: 5, 5"), 400, b"Invalid Content-Length"),
    (get(b"Content-Length: -1"), 400, b"Invalid Content-Length"),
    (get(b"Content-Length: +1"), 400, b"Invalid Content-Length"),
    (get(b"Content-Length: 0x1"), 400, b"Invalid Content-Length"),
    (get(b"Content-Length: 1_0"), 400, b"Invalid Content-Length"),
    (get(b"Content-Length: 1 0"), 400, b"Invalid Content-Length"),
    (get(b"Content-Length: \xb2"), 400, b"Invalid Content-Length"),
    (get(b"Content-Length:"), 400, b"Invalid Content-Length"),
    (get(b"Content-Length: " + b"9" * 19), 400, b"Invalid Content-Length"),
    (get(*[b"Transfer-Encoding: chunked"] * 2), 400, b"more than one Transfer-Encoding"),
    (get(b"Transfer-Encoding: chunked, chunked"), 400, b"not 'chunked'"),
    (get(b"Transfer-Encoding: chunked;q=1"), 400, b"not 'chunked'"),
    (get(b"Transfer-Encoding: \"chunked\""), 400, b"not 'chunked'"),
    (get(b"Transfer-Encoding:"), 400, b"not 'chunked'"),
    (get(b"Transfer-Encoding: gzip"), 501, b"chunked"),
    (get(b"Transfer-Encoding: gzip, chunked"), 501, b"chunked"),
    (get(b"Transfer-Encoding: chunked, identity"), 501, b"chunked"),
    (get(b"Transfer-Encoding: xchunked"), 501, b"chunked"),
    (get(b"Transfer-Encoding: chunked", line=b"PUT / HTTP/1.0"), 400, b"HTTP/1.0"),
    # Two ways to find the end of a line or of a name.
    (b"GET / HTTP/1.1\nHost: h\n\n", 400, b"CR LF"),
    (b"GET / HTTP/1.1\r\nHost: h\n\r\n", 400, b"CR LF"),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: 1\nContent-Length: 5\r\n\r\n", 400, b"CR LF"),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: 1\rContent-Length: 5\r\n\r\n", 400, b"CR LF"),
    (b"GET / HTTP/1.1\rHost: h\r\n\r\n", 400, b"CR LF"),
    (b"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", 400, b"CR LF"),
    (b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, b"CR LF"),
    (get(b"X: 1", b" folded"), 400, b"name"),
    (get(b"X: 1", b"\tfolded: 2"), 400, b"name"),
    (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400, b"name"),
    (get(b"Content-Length : 5"), 400, b"name"),
    (get(b"X y: 5"), 400, b"name"),
    (get(b": 5"), 400, b"no name"),
    (get(b"X"), 400, b"no colon"),
    (get(b"X(y): 5"), 400, b"name"),
    *((get(b"X" + byte + b": 5"), 400, b"control character") for byte in (b"\0", b"\x01", b"\x7f")),
    *((get(b"X: a" + byte), 400, b"control character") for byte in (b"\0", b"\x01", b"\x1f", b"\x7f")),
    # Two ways to find the host.
    (get(host=b""), 400, b"no Host"),
    (get(b"Host: h"), 400, b"more than one Host"),
    (get(b"Host: h", line=b"GET / HTTP/1.0"), 400, b"more than one Host"),
    (get(host=b"Host: a b\r\n"), 400, b"host name"),
    (get(host=b"Host: a,b\r\n"), 400, b"host name"),
    (get(host=b"Host: a/b\r\n"), 400, b"host name"),
    (get(line=b"GET http://a@b/ HTTP/1.1"), 400, b"host name"),
    # The request line.
    (b"\r\n\r\n", 400, b"single spaces"),
    (b"hello\r\n\r\n", 400, b"single spaces"),
    (get(line=b"GET  / HTTP/1.1"), 400, b"single spaces"),
    (get(line=b"GET / HTTP/1.1 "), 400, b"single spaces"),
    (get(line=b" GET / HTTP/1.1"), 400, b"single spaces"),
    (get(line=b"GET /a b HTTP/1.1"), 400, b"single spaces"),
    (get(line=b"GET /"), 400, b"single spaces"),
    (get(line=b"GET\t/\tHTTP/1.1"), 400, b"single spaces"),
    (get(line=b"GET /a\tb HTTP/1.1"), 400, b"control character"),
    (get(line=b"GET /a\0b HTTP/1.1"), 400, b"control character"),
    (get(line=b"GET /a\x7f HTTP/1.1"), 400, b"control character"),
    (get(line=b"G@T / HTTP/1.1"), 400, b"method"),
    (get(line=b"G\xc3\xa9T / HTTP/1.1"), 400, b"method"),
    (get(line=b"GET path HTTP/1.1"), 400, b"slash"),
    (get(line=b"GET * HTTP/1.1"), 400, b"slash"),
    (get(line=b"GET ftp://h/ HTTP/1.1"), 400, b"slash"),
    (get(line=b"CONNECT h:80 HTTP/1.1"), 400, b"slash"),
    (get(line=b"GET http:///path HTTP/1.1"), 400, b"no host"),
    (get(line=b"GET / http/1.1"), 400, b"HTTP/1.1"),
    (get(line=b"GET / HTTP/1.1.1"), 400, b"HTTP/1.1"),
    (get(line=b"GET / HTTP/11"), 400, b"HTTP/1.1"),
    (get(line=b"GET / HTTP/ 1.1"), 400, b"single spaces"),
    (get(line=b"GET / HTTP/1.2"), 505, b"HTTP/1.1"),
    (get(line=b"GET / HTTP/0.9"), 505, b"HTTP/1.1"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, b"HTTP/1.1"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x99" * 50, 400, b"control character"),
    # Limits.
    (get(line=b"GET /" + b"a" * 200 + b" HTTP/1.1"), 414, b"200 bytes"),
    (b"GET /" + b"a" * 500, 414, b"200 bytes"),
    (get(b"X: " + b"a" * 300), 431, b"300 bytes"),
    (get()[:-2] + b"X: " + b"a" * 500, 431, b"300 bytes"),
    (get(*[b"X: 1"] * 5), 431, b"5 headers"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "reason"), MALFORMED)
def test_malformed_requests_are_refused_and_nothing_behind_them_is_read(
    echo: Running, recorder: Recorder, request_: bytes, status: int, reason: bytes
) -> None:
    with echo.client() as client:
        answer = client.send(request_ + SMUGGLED).answer()
        assert (answer.status, reason in answer.body) == (status, True), answer
        assert answer.headers["Connection"] == "close"
        assert client.finish_sending().rest() == b""
    assert recorder.paths == []
    assert echo.ask(get()).status == 200


MALFORMED_CHUNKS = [
    b"-1\r\n", b"+1\r\na\r\n", b"0x1\r\na\r\n", b" 1\r\na\r\n", b"1 \r\na\r\n", b"\r\n", b"g\r\n", b"1_0\r\n",
    b"00000000000000001\r\na\r\n", b"f" * 17 + b"\r\n", b"1" * 5000, b"\xb2\r\naa\r\n", b"1\r\na\r\n-1\r\n",
    b"1\na\r\n", b"1\ra\r\n", b"1\r\na\n", b"1\r\na\r0\r\n", b"1\r\nab\r\n", b"1\r\na0\r\n\r\n", b"0\n\r\n",
    b"1;\r\na\r\n", b"1; a\r\na\r\n", b'1;a="b"\r\na\r\n', b"1;a\nb\r\na\r\n",
    b"1;" + b"a" * 300 + b"\r\na\r\n", b"0\r\nX\r\n\r\n", b"0\r\n X: 1\r\n\r\n", b"0\r\n: 1\r\n\r\n",
    b"0\r\nX: a\0\r\n\r\n", b"0\r\nX: a\r\r\n\r\n", b"0\r\nX: a\n\r\n", b"0\r\n" + b"X: 1\r\n" * 100,
]  # fmt: skip


@pytest.mark.parametrize("chunks", MALFORMED_CHUNKS)
def test_malformed_chunks_are_refused_and_nothing_behind_them_is_read(
    echo: Running, recorder: Recorder, chunks: bytes
) -> None:
    with echo.client() as client:
        answer = client.send(CHUNKED + chunks + SMUGGLED).answer()
        assert answer.status == 400
        assert answer.headers["Connection"] == "close"
        assert client.finish_sending().rest() == b""
    assert recorder.paths == []
    assert echo.ask(get()).status == 200


@pytest.mark.parametrize("chunks", [b"3\r\nabc\r\n0\r\n\r\n", b"3;x=1;y\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\n"])
def test_good_chunks_are_not_refused(echo: Running, recorder: Recorder, chunks: bytes) -> None:
    with echo.client() as client:
        assert client.send(CHUNKED + chunks + get()).answer().body == b"/chunked abc"
        assert client.answer().body == b"/ "


def test_a_refusal_is_seen_by_a_client_that_goes_on_sending(echo: Running, recorder: Recorder) -> None:
    with echo.client() as client:
        client.send(get(b"Content-Length: -1"))
        for _ in range(40):
            client.send(SMUGGLED * 1000)
        assert client.answer().status == 400
    assert recorder.paths == []


def test_a_slow_head_is_refused(echo: Running) -> None:
    assert echo.ask(b"GET / HTTP/1.1\r\nHost: h\r\n").status == 408
    assert echo.ask(b"GET / HTT").status == 408


def test_the_whole_head_counts_not_each_piece(echo: Running, recorder: Recorder) -> None:
    with echo.client() as client:
        status = 0
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
        for _ in range(250):
            client.send(b"a")
            client.sock.settimeout(0.01)
            try:
                status = client.answer().status
                break
            except TimeoutError:
                continue
        assert status == 408
    assert recorder.paths == []


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from(
                [b"\r\n", b"\n", b"\r", b"GET ", b"/", b" HTTP/1.1", b"Host: h", b"\r\n\r\n", b":"]
            ),
            st.sampled_from(
                [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"1\r\na\r\n", b"0\r\n\r\n"]
            ),
        ),
        max_size=12,
    ).map(b"".join)
)
@example(b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0")
def test_garbage_is_answered_or_forgotten_but_never_a_500(echo: Running, garbage: bytes) -> None:
    with echo.client() as client:
        statuses = []
        client.send(garbage).finish_sending()
        try:
            while True:
                statuses.append(client.answer().status)
        except EOFError:
            pass
    assert set(statuses) <= {200, 400, 408, 414, 431, 501, 505}
