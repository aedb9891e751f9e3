"""Requests: keys, paths, the view over an environ, subrequests."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.responses import HTTPError, Response
from miniswift.wsgi import (
    Primed,
    Request,
    environ_key,
    from_wsgi,
    header_name,
    make_preauthed_subrequest,
    make_subrequest,
    quote_path,
    split_path,
    to_wsgi,
)

SNOWMAN = "☃".encode().decode("latin-1")


# --- names and paths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "key", "name"),
    [
        ("X-Auth-Token", "HTTP_X_AUTH_TOKEN", "X-Auth-Token"),
        ("x-auth-token", "HTTP_X_AUTH_TOKEN", "X-Auth-Token"),
        ("content-type", "CONTENT_TYPE", "Content-Type"),
        ("Content-Length", "CONTENT_LENGTH", "Content-Length"),
        ("ETag", "HTTP_ETAG", "Etag"),
        ("X-M\xe9", "HTTP_X_M\xe9", "X-M\xe9"),
        ("X-\xdf", "HTTP_X_\xdf", "X-\xdf"),
    ],
)
def test_headers_and_their_environ_keys(header, key, name):
    assert environ_key(header) == key
    assert header_name(key) == name


@pytest.mark.parametrize("key", ["REQUEST_METHOD", "swift.cache", "wsgi.input", "SERVER_NAME"])
def test_other_keys_are_no_headers(key):
    assert header_name(key) is None


@given(st.text())
def test_text_survives_the_way_through_an_environ(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    assert from_wsgi(to_wsgi(text)) == text


def test_what_is_no_utf8_is_no_text():
    with pytest.raises(UnicodeDecodeError):
        from_wsgi("\xff")


def test_a_path_is_quoted_for_a_url():
    assert quote_path("a b/☃%~") == "a%20b/%E2%98%83%25~"


# As Swift's own function splits them.
@pytest.mark.parametrize(
    ("path", "minimum", "maximum", "rest", "names"),
    [
        ("/a", 1, 1, False, ["a"]),
        ("/a", 1, 3, False, ["a", None, None]),
        ("/a/", 1, 1, False, ["a"]),
        ("/a/b/", 1, 2, False, ["a", "b"]),
        ("/v1/a/c/o/p//q/", 4, 4, True, ["v1", "a", "c", "o/p//q/"]),
        ("/v1/a/c/", 2, 3, False, ["v1", "a", "c"]),
        ("/v1/a/c", 1, 4, True, ["v1", "a", "c", None]),
        ("/a//b", 1, 2, True, ["a", "/b"]),
    ],
)
def test_paths_that_fit(path, minimum, maximum, rest, names):
    assert split_path(path, minimum, maximum, rest) == names


@pytest.mark.parametrize(
    ("path", "minimum", "maximum", "rest"),
    [
        ("", 1, 1, False),
        ("a", 1, 1, False),
        ("/", 1, 1, False),
        ("//a", 1, 2, False),
        ("/a", 2, 2, False),
        ("/a/b", 1, 1, False),
        ("/a//b", 3, 3, False),
        ("/a/", 2, 2, True),
        ("/a/b/c/", 4, 4, True),
    ],
)
def test_paths_that_do_not_fit(path, minimum, maximum, rest):
    with pytest.raises(ValueError, match="invalid path"):
        split_path(path, minimum, maximum, rest)


# --- the view -----------------------------------------------------------------------------------------


def test_a_request_is_a_view_of_its_environ():
    request = Request.blank("/v1/a/sp%20ace?x=1&y=&x=2", "PUT", {"X-A": "1"}, b"body")
    same = Request(request.environ)
    request.method = "POST"
    request.path_info = f"/v1/{SNOWMAN}"
    request.query_string = "z=%E2%98%83"
    request.remote_user = "me"
    request.acl = ".r:*"
    assert (same.method, same.path_info, same.path_qs) == (
        "POST",
        f"/v1/{SNOWMAN}",
        "/v1/%E2%98%83?z=%E2%98%83",
    )
    assert same.params == {"z": SNOWMAN}
    assert (same.remote_user, same.acl, same.body_file.read()) == ("me", ".r:*", b"body")


def test_a_blank_request_has_what_wsgi_requires():
    request = Request.blank("/v1/a/sp%20ace%E2%98%83?x=1&y=&x=2")
    assert request.path_info == f"/v1/a/sp ace{SNOWMAN}"
    assert request.environ["RAW_PATH_INFO"] == "/v1/a/sp%20ace%E2%98%83"
    assert request.params == {"x": "2", "y": ""}
    assert request.path == "/v1/a/sp%20ace%E2%98%83"
    assert request.split_path(2, 3) == ["v1", "a", f"sp ace{SNOWMAN}"]
    assert request.host_url == "http://localhost"
    assert request.content_length is None
    assert (request.trans_id, request.referer, request.remote_addr, request.acl) == ("", None, None, None)


def test_headers_are_read_from_and_written_to_the_environ():
    request = Request.blank("/", "PUT", {"X-A": "1"})
    headers = request.headers
    headers["content-type"] = "text/plain"
    headers["X-Number"] = 5
    assert request.environ["CONTENT_TYPE"] == "text/plain"
    assert request.environ["HTTP_X_NUMBER"] == "5"
    assert (headers["x-a"], "X-A" in headers, headers.get("None")) == ("1", True, None)
    assert sorted(headers) == ["Content-Length", "Content-Type", "Host", "X-A", "X-Number"]
    assert len(headers) == 5
    del headers["X-A"]
    headers["X-Number"] = None
    assert "HTTP_X_A" not in request.environ
    assert "X-Number" not in headers


@pytest.mark.parametrize(
    ("given", "host_url"),
    [
        ({"HTTP_HOST": "h:8080"}, "http://h:8080"),
        ({"HTTP_HOST": "h:80"}, "http://h"),
        ({"HTTP_HOST": "h:443", "wsgi.url_scheme": "https"}, "https://h"),
        ({"HTTP_HOST": "", "SERVER_NAME": "s", "SERVER_PORT": "1"}, "http://s:1"),
    ],
)
def test_the_host_of_a_request(given, host_url):
    request = Request.blank("/")
    request.environ.update(given)
    assert request.host_url == host_url


@pytest.mark.parametrize(("text", "length"), [("0", 0), ("17", 17), ("", None), (None, None)])
def test_a_content_length(text, length):
    assert Request({"CONTENT_LENGTH": text}).content_length == length


@pytest.mark.parametrize("text", ["-1", "+1", "1.0", "x", "1 ", "\xb2", "٣"])
def test_a_content_length_that_is_none_is_refused(text):
    with pytest.raises(HTTPError) as caught:
        Request({"CONTENT_LENGTH": text}).content_length  # noqa: B018
    assert caught.value.status == 400


@pytest.mark.parametrize(("coding", "chunked"), [("chunked", True), ("gzip, Chunked", True), ("", False)])
def test_a_chunked_body_is_known(coding, chunked):
    assert Request({"HTTP_TRANSFER_ENCODING": coding}).is_chunked is chunked


# --- calling applications -----------------------------------------------------------------------------


def test_what_several_filters_say_to_a_refused_client_is_kept():
    def app(environ, start_response):
        start_response("401 Unauthorized", [("WWW-Authenticate", "Swift"), ("WWW-Authenticate", "Keystone")])
        return []

    assert Request.blank("/").call(app).headers["WWW-Authenticate"] == "Swift, Keystone"


def test_an_application_is_called():
    response = Request.blank("/").call(Response(201, {"x-a": "1"}, b"made"))
    assert (response.status, response.headers["X-A"], response.read()) == (201, "1", b"made")


class LazyBody:
    """The body of an application that starts its response with the first chunk."""

    def __init__(self, start_response):
        self.start_response = start_response
        self.closed = False

    def __iter__(self):
        self.start_response("200 OK", [("X-A", "1")])
        yield b"a"
        yield b"b"

    def close(self):
        self.closed = True


@pytest.mark.parametrize("is_read", [True, False])
def test_an_application_may_start_its_response_late(is_read):
    bodies = []

    def app(environ, start_response):
        bodies.append(LazyBody(start_response))
        return bodies[0]

    response = Request.blank("/").call(app)
    assert (response.status, response.headers["X-A"]) == (200, "1")
    if is_read:
        assert response.read() == b"ab"
    else:
        response.close()
    assert bodies[0].closed


def test_a_primed_body_may_be_empty():
    assert list(Primed(iter([]))) == []


# --- subrequests --------------------------------------------------------------------------------------


@pytest.fixture
def environ():
    request = Request.blank("/v1/a/c/o?x=1", "PUT", {"X-Auth-Token": "t", "X-Object-Meta-A": "1"}, b"body")
    request.environ.update(
        {
            "SCRIPT_NAME": "/mounted",
            "REMOTE_USER": "me",
            "REMOTE_ADDR": "10.0.0.1",
            "HTTP_REFERER": "r",
            "swift.trans_id": "tx1",
            "swift.infocache": {},
            "swift.cache": object(),
            "swift.authorize": lambda request: None,
            "swift.source": "XX",
            "swift.proxy_access_log_made": True,
            "swift_owner": True,
            "keystone.identity": {},
        }
    )
    return request.environ


def test_a_subrequest_has_the_rights_and_caches_of_its_request(environ):
    made = make_subrequest(environ, "GET", f"/v1/a/{SNOWMAN}").environ
    for key in ("swift.trans_id", "swift.infocache", "swift.cache", "swift.authorize", "REMOTE_USER"):
        assert made[key] is environ[key]
    assert (made["REMOTE_ADDR"], made["HTTP_REFERER"], made["swift.source"]) == ("10.0.0.1", "r", "XX")


def test_a_subrequest_is_a_request_of_its_own(environ):
    request = make_subrequest(
        environ, "GET", f"/v1/a/{SNOWMAN}", source="SW", query="y=2", headers={"X-Newest": "true"}
    )
    made = request.environ
    assert (request.method, request.path_qs) == ("GET", "/v1/a/%E2%98%83?y=2")
    assert made["RAW_PATH_INFO"] == "/v1/a/%E2%98%83"
    assert (made["swift.source"], made["HTTP_X_NEWEST"]) == ("SW", "true")
    assert (made["CONTENT_LENGTH"], made["wsgi.input"].read()) == ("0", b"")
    for key in ("HTTP_X_AUTH_TOKEN", "HTTP_X_OBJECT_META_A", "swift.proxy_access_log_made", "swift_owner"):
        assert key not in made


def test_a_preauthed_subrequest_may_do_anything(environ):
    made = make_preauthed_subrequest(environ, "GET", "/v1/b", source="SW").environ
    assert made["swift.authorize"](Request(made)) is None
    assert made["swift.authorize"] is not environ["swift.authorize"]
    assert made["swift.authorize_override"] is True
    assert made["REMOTE_USER"] == ".wsgi.pre_authed"
    assert environ["REMOTE_USER"] == "me"
    assert isinstance(made["wsgi.input"], io.BytesIO)
