"""Answers: header names, pages, files as bodies."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.responses import FileBody, Headers, HTTPError, Response, close_body, status_line, title_case


def serve(app, method="GET"):
    """(status line, headers, body) as a server would send them."""
    started = []
    body = app({"REQUEST_METHOD": method}, lambda *args: started.append(args))
    (status, headers) = started[0]
    try:
        return status, dict(headers), b"".join(body)
    finally:
        close_body(body)


# --- headers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("content-type", "Content-Type"),
        ("ETAG", "Etag"),
        ("x-object-meta-a1b", "X-Object-Meta-A1B"),
        ("x-\xe9t\xc9", "X-\xe9T\xc9"),
        ("x-\xdf", "X-\xdf"),
    ],
)
def test_names_are_title_cased_in_ascii_only(name, title):
    assert title_case(name) == title


def test_a_header_that_comes_again_is_joined():
    items = [
        ("WWW-Authenticate", "Swift"),
        ("Vary", "Origin"),
        ("www-authenticate", "Keystone"),
        ("vary", "Origin"),
    ]
    assert Headers.of_list(items) == {"Www-Authenticate": "Swift, Keystone", "Vary": "Origin"}
    assert Headers.of_list([("a", "1"), ("b", "2")]) == {"A": "1", "B": "2"}


@given(st.text(st.characters(max_codepoint=255)))
def test_a_title_cased_name_stays(name):
    assert title_case(title_case(name)) == title_case(name)


def test_names_compare_without_case():
    headers = Headers({"content-type": "a"}, x_trans_id="t")
    headers["ETAG"] = "e"
    headers.update([("etag", "f"), ("x-b", "b")])
    assert list(headers.items()) == [("Content-Type", "a"), ("X-Trans-Id", "t"), ("Etag", "f"), ("X-B", "b")]
    assert headers["EtAg"] == headers.get("eTaG") == "f"
    assert "x-B" in headers
    assert headers.get("none") is None
    assert headers.setdefault("x-b", "c") == "b"
    assert headers.pop("X-b") == "b"
    assert headers.pop("X-b", None) is None
    del headers["etag"]
    assert "Etag" not in headers


def test_a_copy_is_a_copy():
    headers = Headers({"a": "1"})
    copied = headers.copy()
    copied["a"] = "2"
    assert (type(copied), headers["A"]) == (Headers, "1")


# --- responses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, "200 OK"),
        (408, "408 Request Timeout"),
        (416, "416 Requested Range Not Satisfiable"),
        (422, "422 Unprocessable Entity"),
        (499, "499 Client Disconnect"),
        (507, "507 Insufficient Storage"),
        (299, "299 Unknown"),
    ],
)
def test_status_lines_are_swifts(status, line):
    assert status_line(status) == line


def test_bytes_are_sized():
    assert serve(Response(200, {"x-a": "1"}, b"abc")) == (
        "200 OK",
        {"X-A": "1", "Content-Length": "3"},
        b"abc",
    )


def test_text_is_html():
    assert serve(Response(400, (), "é")) == (
        "400 Bad Request",
        {"Content-Type": "text/html; charset=UTF-8", "Content-Length": "2"},
        "é".encode(),
    )


def test_text_may_be_something_else():
    assert serve(Response(400, {"content-type": "text/plain"}, "a"))[1]["Content-Type"] == "text/plain"


def test_an_answer_without_a_body_gets_a_page():
    status, headers, body = serve(Response(404))
    assert status == "404 Not Found"
    assert body == b"<html><h1>Not Found</h1><p>There is nothing at this address.</p></html>"
    assert headers["Content-Length"] == str(len(body))


EMPTY_PAGE = {"Content-Type": "text/html; charset=UTF-8", "Content-Length": "0"}


@pytest.mark.parametrize(("status", "headers"), [(204, {}), (304, {}), (200, EMPTY_PAGE), (201, EMPTY_PAGE)])
def test_an_answer_that_needs_none_gets_no_page(status, headers):
    assert serve(Response(status))[1:] == (headers, b"")


def test_chunks_are_handed_on_unsized():
    assert serve(Response(200, (), iter([b"a", b"b"]))) == ("200 OK", {}, b"ab")


def test_a_head_announces_the_length_without_the_body():
    assert serve(Response(200, (), b"abc"), "HEAD") == ("200 OK", {"Content-Length": "3"}, b"")


class Chunks:
    closed = 0

    def __iter__(self):
        return iter([b"a", b"b"])

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(
    "use",
    [
        lambda response: response.read(),
        lambda response: response.close(),
        lambda response: serve(response, "HEAD"),
    ],
)
def test_a_body_is_closed(use):
    body = Chunks()
    use(Response(200, (), body))
    assert body.closed == 1


def test_a_body_that_was_read_can_still_be_sent():
    response = Response(200, {"Content-Length": "2"}, Chunks())
    assert response.read() == response.read() == serve(response)[2] == b"ab"


def test_an_error_carries_its_answer():
    error = HTTPError(405, None, {"allow": "GET"})
    status, headers, body = serve(error.response)
    assert (error.status, status, headers["Allow"]) == (405, "405 Method Not Allowed", "GET")
    assert b"Method Not Allowed" in body
    assert serve(HTTPError(412, "Bad <URL>").response)[2] == b"Bad <URL>"


# --- files --------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb") as opened:
        yield opened


@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        ({}, b"0123456789"),
        ({"offset": 3}, b"3456789"),
        ({"offset": 3, "length": 4}, b"3456"),
        ({"length": 0}, b""),
        ({"offset": 10}, b""),
    ],
)
def test_a_file_is_sent_from_offset_to_length(file, arguments, content):
    body = FileBody(file, block_size=3, **arguments)
    assert body.length == len(content)
    chunks = list(body)
    assert b"".join(chunks) == content
    assert all(len(chunk) <= 3 for chunk in chunks)
    assert body.sent == len(content)


def test_a_refusal_may_be_called_or_raised():
    """As Swift's filters do with what an authorize callable returns."""
    refusal = HTTPError(403)
    assert serve(refusal)[0] == "403 Forbidden"
    with pytest.raises(HTTPError):
        raise refusal


def test_a_file_tells_once_how_much_was_sent(file):
    told = []
    body = FileBody(file, block_size=4)
    body.on_close(told.append)
    body.on_close(lambda sent: told.append(-sent))
    next(iter(body))
    body.close()
    body.close()
    assert told == [4, -4]
    assert file.closed


def test_a_file_cut_short_under_us_ends_early(file):
    body = FileBody(file, block_size=4)
    chunks = iter(body)
    next(chunks)
    os.truncate(file.name, 6)
    assert list(chunks) == [b"45"]
    assert (body.sent, body.length) == (6, 10)
