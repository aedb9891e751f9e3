"""Server-side copy: which GET and which PUT it becomes, and what is carried over."""

import io

import pytest

from miniswift.errors import ClientDisconnected
from miniswift.middleware import copy
from miniswift.middleware.copy import Copy
from miniswift.responses import FileBody, Response
from miniswift.wsgi import Request

SNOWMAN = "☃".encode().decode("latin-1")  # as it stands in a header or an environ
MD5 = "5d41402abc4b2a76b9719d911017c592"


class Store:
    """Has one object to read, takes any, and keeps the environs of the requests it got."""

    def __init__(self, status=200, put_status=201, body=(b"hello",), length="5", **headers):
        self.status = status
        self.put_status = put_status
        self.body = body
        self.headers = {"Content-Type": "text/x", "Etag": f'"{MD5}"', "Last-Modified": "Monday"}
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
        if length is not None:
            self.headers["Content-Length"] = length
        self.requests = []
        self.stored = None
        self.closed = 0

    def __call__(self, environ, start_response):
        self.requests.append(dict(environ))
        if environ["REQUEST_METHOD"] == "GET":
            return Response(self.status, self.headers, self)(environ, start_response)
        if environ["REQUEST_METHOD"] == "OPTIONS":
            headers = {"Allow": "GET, PUT", "Access-Control-Allow-Methods": "GET"}
            return Response(200, headers, b"")(environ, start_response)
        self.stored = environ["wsgi.input"].read()
        return Response(self.put_status, {"Etag": MD5}, b"")(environ, start_response)

    def __iter__(self):
        return iter(self.body)

    def close(self):
        self.closed += 1

    @property
    def get(self):
        return next(environ for environ in self.requests if environ["REQUEST_METHOD"] == "GET")

    @property
    def put(self):
        return next(environ for environ in self.requests if environ["REQUEST_METHOD"] == "PUT")


def send(store, method, path="/v1/a/c/o", headers=None, **environ):
    request = Request.blank(path, method)
    request.environ.update(environ)
    request.headers.update(headers or {})
    response = request.call(Copy(store))
    return response, request.environ


def put_from(store, source="/src/obj", path="/v1/a/c/o", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(store, "PUT", path, {"X-Copy-From": source, **named})[0]


def copy_to(store, destination="dst/obj", path="/v1/a/c/o", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(store, "COPY", path, {"Destination": destination, **named})[0]


# --- requests ---------------------------------------------------------------------------------------


def test_a_put_with_copy_from_stores_the_source():
    store = Store()
    response = put_from(store)
    assert (response.status, store.stored) == (201, b"hello")
    assert [(r["REQUEST_METHOD"], r["PATH_INFO"]) for r in store.requests] == [
        ("GET", "/v1/a/src/obj"),
        ("PUT", "/v1/a/c/o"),
    ]
    assert store.put["CONTENT_LENGTH"] == "5"
    assert store.put["HTTP_ETAG"] == MD5
    assert "HTTP_X_COPY_FROM" not in store.put
    assert store.closed == 1


def test_a_copy_stores_the_source_at_its_destination():
    store = Store()
    response, environ = send(store, "COPY", headers={"Destination": "/dst/obj"})
    assert (response.status, store.stored) == (201, b"hello")
    assert (store.get["PATH_INFO"], store.put["PATH_INFO"]) == ("/v1/a/c/o", "/v1/a/dst/obj")
    assert environ["swift.orig_req_method"] == "COPY"
    assert (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("PUT", "/v1/a/dst/obj")


@pytest.mark.parametrize("name", ["x%20y/z%E2%98%83", f"x y/z{SNOWMAN}", f"x%20y/z{SNOWMAN}"])
def test_names_are_unquoted_and_quoted_again(name):
    store = Store()
    response = put_from(store, f"src/{name}")
    assert store.get["PATH_INFO"] == f"/v1/a/src/x y/z{SNOWMAN}"
    assert response.headers["X-Copied-From"] == "src/x%20y/z%E2%98%83"
    store = Store()
    copy_to(store, f"dst/{name}", "/v1/a/c/%E2%98%83%2520")
    assert store.get["PATH_INFO"] == f"/v1/a/c/{SNOWMAN}%20"
    assert store.put["PATH_INFO"] == f"/v1/a/dst/x y/z{SNOWMAN}"


def test_the_source_may_be_in_another_account():
    store = Store()
    response = put_from(store, X_Copy_From_Account="b%E2%98%83")
    assert store.get["PATH_INFO"] == f"/v1/b{SNOWMAN}/src/obj"
    assert store.put["PATH_INFO"] == "/v1/a/c/o"
    assert response.headers["X-Copied-From-Account"] == "b%E2%98%83"


def test_the_destination_may_be_in_another_account():
    store = Store()
    copy_to(store, Destination_Account="b%E2%98%83")
    assert store.get["PATH_INFO"] == "/v1/a/c/o"
    assert store.put["PATH_INFO"] == f"/v1/b{SNOWMAN}/dst/obj"


def test_both_halves_are_the_clients_own_requests():
    """They carry the client's credentials and authorize callable, so both are checked as any other."""
    store = Store()

    def authorize(request):
        return None

    headers = {"X-Copy-From": "src/obj", "X-Auth-Token": "t", "Range": "bytes=1-2", "If-Match": "e"}
    send(store, "PUT", headers=headers, **{"swift.authorize": authorize, "swift.trans_id": "tx"})
    for environ in store.requests:
        assert environ["HTTP_X_AUTH_TOKEN"] == "t"
        assert environ["swift.authorize"] is authorize
        assert environ["swift.trans_id"] == "tx"
        assert environ["swift.source"] == "SSC"
        assert "swift.authorize_override" not in environ
    assert store.get["HTTP_RANGE"] == "bytes=1-2"
    assert store.get["HTTP_IF_MATCH"] == "e"
    assert store.get["HTTP_X_NEWEST"] == "true"


def test_the_sources_policy_is_its_containers():
    store = Store()
    put_from(store, X_Backend_Storage_Policy_Index="2")
    assert "HTTP_X_BACKEND_STORAGE_POLICY_INDEX" not in store.get


def test_a_source_that_cannot_be_read_is_the_answer():
    store = Store(status=403)
    response = put_from(store)
    assert (response.status, response.read()) == (403, b"hello")
    assert len(store.requests) == 1


def test_a_refused_put_is_the_answer_without_praise():
    store = Store(put_status=422)
    response = put_from(store)
    assert response.status == 422
    assert "X-Copied-From" not in response.headers
    assert store.closed == 1


def test_a_source_of_unknown_length_is_refused():
    store = Store(length=None)
    assert put_from(store).status == 413
    assert (len(store.requests), store.closed) == (1, 1)


# --- metadata -----------------------------------------------------------------------------------------

SOURCE_METADATA = {
    "X-Object-Meta-A": "1",
    "X-Object-Sysmeta-S": "s",
    "X-Object-Transient-Sysmeta-T": "t",
    "X-Delete-At": "123",
    "Content-Encoding": "gzip",
    "Content-Disposition": "inline",
    "X-Custom": "kept by servers that allow it",
}


def metadata(environ):
    keys = {name: f"HTTP_{name.upper().replace('-', '_')}" for name in SOURCE_METADATA}
    return {name: environ[key] for name, key in keys.items() if key in environ}


def test_metadata_is_carried_over():
    store = Store(**SOURCE_METADATA)
    response = put_from(store)
    assert metadata(store.put) == SOURCE_METADATA
    assert store.put["CONTENT_TYPE"] == "text/x"
    for name in ("X-Object-Meta-A", "X-Object-Sysmeta-S", "X-Object-Transient-Sysmeta-T", "X-Delete-At"):
        assert response.headers[name] == SOURCE_METADATA[name]
    assert "X-Custom" not in response.headers


def test_what_the_client_says_comes_first():
    store = Store(**SOURCE_METADATA)
    response = put_from(store, X_Object_Meta_A="2", X_Object_Meta_B="3", Content_Type="text/y")
    assert store.put["HTTP_X_OBJECT_META_A"] == "2"
    assert store.put["HTTP_X_OBJECT_META_B"] == "3"
    assert store.put["CONTENT_TYPE"] == "text/y"
    assert response.headers["X-Object-Meta-A"] == "2"
    assert response.headers["X-Object-Meta-B"] == "3"


@pytest.mark.parametrize(
    ("fresh", "kept"),
    [("true", {"X-Object-Sysmeta-S"}), ("yes", {"X-Object-Sysmeta-S"}), ("no", set(SOURCE_METADATA))],
)
def test_fresh_metadata_leaves_the_old_behind(fresh, kept):
    store = Store(**SOURCE_METADATA)
    put_from(store, X_Fresh_Metadata=fresh)
    assert set(metadata(store.put)) == kept
    assert store.put["CONTENT_TYPE"] == "text/x"


def test_headers_about_the_sources_answer_are_not_carried_over():
    about = {"X-Timestamp": "1", "X-Trans-Id": "t", "X-Backend-Timestamp": "1", "Content-Range": "x"}
    about |= {"Access-Control-Allow-Origin": "*", "Transfer-Encoding": "chunked", "Date": "today"}
    store = Store(**about, **SOURCE_METADATA)
    put_from(store)
    keys = {f"HTTP_{name.upper().replace('-', '_')}" for name in about}
    assert not keys & set(store.put)


def test_the_answer_tells_where_the_copy_is_from():
    response = put_from(Store(**{"X-Object-Version-Id": "v1"}))
    told = {name: value for name, value in response.headers.items() if name.startswith("X-Copied")}
    assert told == {
        "X-Copied-From-Account": "a",
        "X-Copied-From": "src/obj",
        "X-Copied-From-Last-Modified": "Monday",
        "X-Copied-From-Version-Id": "v1",
    }


# --- large objects, ranges, ETags -----------------------------------------------------------------------

OVERRIDE = {"X-Object-Sysmeta-Container-Update-Override-Etag": "whole"}
SLO = {"X-Static-Large-Object": "True"}
DLO = {"X-Object-Manifest": "c/segments"}


@pytest.mark.parametrize(
    ("query", "headers", "status", "source_query", "put_query", "etag", "manifest"),
    [
        ("", {}, 200, "", "", MD5, None),
        ("", {}, 206, "", "", None, None),
        ("", SLO, 200, "", "", None, None),
        ("", DLO, 200, "", "", None, None),
        (
            "multipart-manifest=get",
            SLO,
            200,
            "multipart-manifest=get&format=raw",
            "multipart-manifest=put",
            None,
            None,
        ),
        ("multipart-manifest=get", DLO, 200, "multipart-manifest=get&format=raw", "", MD5, "c/segments"),
        (
            "multipart-manifest=get",
            {},
            200,
            "multipart-manifest=get&format=raw",
            "multipart-manifest=get",
            MD5,
            None,
        ),
        ("version-id=7&x=%E2%98%83", {}, 200, "version-id=7&x=%E2%98%83", "x=%E2%98%83", MD5, None),
    ],
)
def test_large_objects_and_etags(query, headers, status, source_query, put_query, etag, manifest):
    store = Store(status=status, **headers, **OVERRIDE)
    copy_to(store, path=f"/v1/a/c/o?{query}")
    assert store.get["QUERY_STRING"] == source_query
    assert store.put["QUERY_STRING"] == put_query
    assert store.put.get("HTTP_ETAG") == etag
    assert store.put.get("HTTP_X_OBJECT_MANIFEST") == manifest
    assert "HTTP_X_STATIC_LARGE_OBJECT" not in store.put
    overrides = store.put.get("HTTP_X_OBJECT_SYSMETA_CONTAINER_UPDATE_OVERRIDE_ETAG")
    assert overrides == ("whole" if etag else None)


def test_a_clients_etag_stands_where_the_sources_cannot():
    store = Store(status=206)
    put_from(store, Etag="mine", Range="bytes=0-4")
    assert store.put["HTTP_ETAG"] == "mine"


# --- the stream ----------------------------------------------------------------------------------------


def test_the_source_is_read_as_the_put_reads():
    taken = []

    def chunks():
        for chunk in (b"ab", b"", b"cdef", b"g\nh"):
            taken.append(chunk)
            yield chunk

    class Slow(Store):
        def __call__(self, environ, start_response):
            if environ["REQUEST_METHOD"] == "PUT":
                body = environ["wsgi.input"]
                assert (body.read(1), len(taken)) == (b"a", 1)
                assert (body.read(9), len(taken)) == (b"b", 1)
                assert (body.read(2), len(taken)) == (b"cd", 3)
                assert body.read(0) == b""
                assert body.readline() == b"efg\n"
                assert body.readline(5) == b"h"
                assert (body.read(5), body.readline(), body.read()) == (b"", b"", b"")
                environ["wsgi.input"] = io.BytesIO()
            return super().__call__(environ, start_response)

    assert put_from(Slow(body=chunks(), length="9")).status == 201


def test_a_source_that_ends_too_early_breaks_the_put_off():
    store = Store(body=[b"hel"])
    with pytest.raises(ClientDisconnected):
        put_from(store)
    assert store.stored is None
    assert store.closed == 1


def test_a_file_is_copied_and_closed(tmp_path):
    (tmp_path / "f").write_bytes(b"hello")
    body = FileBody((tmp_path / "f").open("rb"), block_size=2)

    class Local(Store):
        def __call__(self, environ, start_response):
            if environ["REQUEST_METHOD"] == "GET":
                return Response(200, self.headers, body)(environ, start_response)
            return super().__call__(environ, start_response)

    store = Local()
    assert put_from(store).status == 201
    assert store.stored == b"hello"
    assert body.file.closed


# --- refusals and everything else ------------------------------------------------------------------------

COPY_FROM_FORM = b"X-Copy-From header must be of the form <container name>/<object name>"
SLASHES = b"Account name cannot contain slashes"
HAS_BODY = b"Copy requests require a zero byte body"
DESTINATION_FORM = b"Destination header must be of the form <container name>/<object name>"


@pytest.mark.parametrize(
    ("method", "headers", "status", "message"),
    [
        ("PUT", {"X-Copy-From": "src"}, 412, COPY_FROM_FORM),
        ("PUT", {"X-Copy-From": "src/"}, 412, COPY_FROM_FORM),
        ("PUT", {"X-Copy-From": "//obj"}, 412, COPY_FROM_FORM),
        ("PUT", {"X-Copy-From": "%2f%2fobj"}, 412, COPY_FROM_FORM),
        ("PUT", {"X-Copy-From": "s/o", "X-Copy-From-Account": "b%2Fc"}, 412, SLASHES),
        ("PUT", {"X-Copy-From": "s/o", "Content-Length": "5"}, 400, HAS_BODY),
        ("COPY", {}, 412, b"Destination header required"),
        ("COPY", {"Destination": ""}, 412, b"Destination header required"),
        ("COPY", {"Destination": "dst"}, 412, DESTINATION_FORM),
        ("COPY", {"Destination": "/dst/"}, 412, DESTINATION_FORM),
        ("COPY", {"Destination": "d/o", "Destination-Account": ""}, 412, b"Account name cannot be empty"),
        ("COPY", {"Destination": "d/o", "Destination-Account": "b/c"}, 412, SLASHES),
    ],
)
def test_a_copy_that_makes_no_sense_is_refused(method, headers, status, message):
    store = Store()
    response, _ = send(store, method, headers=headers)
    assert (response.status, response.read()) == (status, message)
    assert not store.requests


def test_the_body_of_a_copy_is_not_the_objects():
    store = Store()
    assert copy_to(store, Content_Length="7").status == 201
    assert store.stored == b"hello"


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/v1/a/c/o", {"X-Copy-From": "s/o"}),
        ("PUT", "/v1/a/c/o", {}),
        ("PUT", "/v1/a/c/o", {"X-Copy-From": ""}),
        ("PUT", "/v1/a/c", {"X-Copy-From": "s/o"}),
        ("POST", "/v1/a/c/o", {"X-Copy-From": "s/o"}),
        ("COPY", "/v1/a/c", {"Destination": "d/o"}),
        ("COPY", "/v1/a/c/", {"Destination": "d/o"}),
        ("OPTIONS", "/v1/a/c", {}),
    ],
)
def test_other_requests_pass(method, path, headers):
    store = Store()
    response, environ = send(store, method, path, headers)
    assert [request["REQUEST_METHOD"] for request in store.requests] == [method]
    assert environ["PATH_INFO"] == path
    assert "COPY" not in response.headers.get("Allow", "")


def test_options_of_an_object_name_copy():
    response, _ = send(Store(), "OPTIONS")
    assert response.headers["Allow"] == "GET, PUT, COPY"
    assert response.headers["Access-Control-Allow-Methods"] == "GET, COPY"


def test_unknown_options_are_named(caplog):
    assert copy.filter_factory({}, object_post_as_copy="true") is Copy
    assert "unknown option object_post_as_copy" in caplog.text
