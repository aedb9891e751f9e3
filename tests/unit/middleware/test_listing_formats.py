"""Listings in every form; expected bodies are those of Swift's own filter."""

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.middleware.listing_formats import ListingFormats
from miniswift.responses import Response
from miniswift.wsgi import Request

CONTAINERS = [
    {"name": "c1", "count": 1, "bytes": 5, "last_modified": "2023-11-14T22:13:20.123450"},
    {"name": '☃ & <x> "q"\n', "count": 0, "bytes": 0, "last_modified": "x", "storage_policy": "gold"},
    {"subdir": 'a\t&"<\r\n/'},
]
ACCOUNT_XML = """<?xml version="1.0" encoding="UTF-8"?>
<account name="a">
<container><name>c1</name><count>1</count><bytes>5</bytes>\
<last_modified>2023-11-14T22:13:20.123450</last_modified></container>
<container><name>☃ &amp; &lt;x&gt; "q"
</name><count>0</count><bytes>0</bytes><last_modified>x</last_modified>\
<storage_policy>gold</storage_policy></container>
<subdir name="a&#09;&amp;&quot;&lt;&#13;&#10;/" />
</account>"""
OBJECTS = [
    {"name": "o☃&", "hash": "h", "bytes": 5, "content_type": 'text/plain; a="b"', "last_modified": "2023"},
    {"subdir": "sub☃&/"},
    {"name": "z", "hash": "", "bytes": 0, "content_type": "t", "last_modified": "t"},
]
CONTAINER_XML = """<?xml version="1.0" encoding="UTF-8"?>
<container name="c"><object><name>o☃&amp;</name><hash>h</hash><bytes>5</bytes>\
<content_type>text/plain; a="b"</content_type><last_modified>2023</last_modified></object>\
<subdir name="sub☃&amp;/"><name>sub☃&amp;/</name></subdir>\
<object><name>z</name><hash /><bytes>0</bytes><content_type>t</content_type>\
<last_modified>t</last_modified></object></container>"""


class BackEnd:
    """Answers every request with one body, and keeps the query it was asked with."""

    def __init__(self, listing=(), status=200, content_type="application/json; charset=utf-8", **headers):
        body = listing if isinstance(listing, bytes) else json.dumps(list(listing)).encode()
        self.body = body
        self.status = status
        self.headers = {"Content-Type": content_type, **headers}
        self.query = None

    def __call__(self, environ, start_response):
        self.query = environ["QUERY_STRING"]
        return Response(self.status, self.headers.items(), self.body)(environ, start_response)


def ask(back_end, path="/v1/a/c", accept=None, method="GET", **environ):
    request = Request.blank(path, method)
    request.environ.update(environ)
    if accept is not None:
        request.environ["HTTP_ACCEPT"] = accept
    return request.call(ListingFormats(back_end))


@pytest.mark.parametrize(
    ("listing", "path", "content_type", "body"),
    [
        (CONTAINERS, "/v1/a?format=xml", "application/xml", ACCOUNT_XML),
        (CONTAINERS, "/v1/a/?format=XML", "application/xml", ACCOUNT_XML),
        (CONTAINERS, "/v1.0/a", "text/plain", 'c1\n☃ & <x> "q"\n\na\t&"<\r\n/\n'),
        (OBJECTS, "/v1/a/c?format=xml", "application/xml", CONTAINER_XML),
        (OBJECTS, "/v1/a/c/?format=xml", "application/xml", CONTAINER_XML),
        (OBJECTS, "/v1/a/c", "text/plain", "o☃&\nsub☃&/\nz\n"),
        (OBJECTS, "/v1/a/c?format=plain", "text/plain", "o☃&\nsub☃&/\nz\n"),
        (OBJECTS, "/v1/a/c?format=other", "text/plain", "o☃&\nsub☃&/\nz\n"),
        (OBJECTS, "/v1/a/c?format=json", "application/json", json.dumps(OBJECTS)),
    ],
)
def test_a_listing_is_converted(listing, path, content_type, body):
    response = ask(BackEnd(listing), path)
    text = response.read()
    assert response.status == 200
    assert response.headers["Content-Type"] == f"{content_type}; charset=utf-8"
    assert response.headers["Content-Length"] == str(len(text))
    assert text.decode() == body


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/v1/a/c", 204, ""),
        ("/v1/a/c?format=json", 200, "[]"),
        ("/v1/a/c?format=xml", 200, '<?xml version="1.0" encoding="UTF-8"?>\n<container name="c" />'),
        ("/v1/a?format=xml", 200, '<?xml version="1.0" encoding="UTF-8"?>\n<account name="a">\n</account>'),
    ],
)
def test_an_empty_listing(path, status, body):
    response = ask(BackEnd([]), path)
    assert (response.status, response.read().decode()) == (status, body)


def test_the_name_in_the_path_is_escaped():
    path = "/v1/a/%E2%98%83%22%26%3C%0A"
    body = ask(BackEnd([]), path, accept="text/xml").read().decode()
    assert body.endswith('<container name="☃&quot;&amp;&lt;&#10;" />')


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/*", "text/plain"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        ("application/xml", "application/xml"),
        ("text/xml", "text/xml"),
        ("TEXT/XML", "text/xml"),
        ("image/png, text/xml;q=.2", "text/xml"),
        ("text/plain;q=0.1, application/json", "application/json"),
        ("text/xml;q=0.8,application/xml;q=0.9", "application/xml"),
        ("*/*,text/xml", "text/xml"),
        ("*/*;q=0.5,text/xml;q=0.4", "text/plain"),
        ("*/*, text/plain;q=0", "application/json"),
        (' text/xml ; q = 0.5 ; a="b" , application/json', "application/json"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_accept_header_decides(accept, content_type, method):
    response = ask(BackEnd(OBJECTS), accept=accept, method=method)
    assert response.status == 200
    assert response.headers["Content-Type"] == f"{content_type}; charset=utf-8"
    assert response.headers["Vary"] == "Accept"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("image/png", 406),
        ("text/plain;q=0", 406),
        ("garbage", 400),
        ("text/plain;q=x", 400),
        ("text/plain;q", 400),
        ("text/plain,,text/xml", 400),
        ("text/plain/x", 400),
    ],
)
def test_an_accept_header_that_leaves_nothing_is_refused(accept, status):
    back_end = BackEnd(OBJECTS)
    assert ask(back_end, accept=accept).status == status
    assert back_end.query is None


def test_a_format_comes_before_the_accept_header():
    response = ask(BackEnd(OBJECTS), "/v1/a/c?format=xml", accept="garbage")
    assert response.headers["Content-Type"] == "application/xml; charset=utf-8"
    assert "Vary" not in response.headers


def test_a_format_that_is_no_utf8_is_refused():
    response = ask(BackEnd(OBJECTS), "/v1/a/c?format=%ff")
    assert (response.status, response.read()) == (400, b'"format" parameter not valid UTF-8')


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", "format=json"),
        ("format=xml&limit=2", "format=json&limit=2"),
        ("prefix=%E2%98%83&delimiter=", "prefix=%E2%98%83&delimiter=&format=json"),
        ("format=json&marker=a%2Fb", "format=json&marker=a%2Fb"),
        ("format=", "format=json"),
    ],
)
def test_back_ends_are_asked_for_json(query, asked):
    back_end = BackEnd(OBJECTS)
    ask(back_end, f"/v1/a/c?{query}" if query else "/v1/a/c")
    assert back_end.query == asked


@pytest.mark.parametrize(
    ("there", "sent"), [("Origin", "Origin, Accept"), ("Origin, accept", "Origin, accept"), ("", "Accept")]
)
def test_vary_is_added_to(there, sent):
    assert ask(BackEnd(OBJECTS, Vary=there)).headers["Vary"] == sent


def test_a_head_has_the_type_of_the_get_and_no_length():
    response = ask(
        BackEnd(b"", status=204, content_type="application/json"), "/v1/a?format=xml", method="HEAD"
    )
    assert response.status == 204
    assert response.headers["Content-Type"] == "application/xml; charset=utf-8"
    assert response.headers["Content-Length"] == "0"


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/a/c/o", "GET"),
        ("/v1/a/c/o/", "GET"),
        ("/v1/a/c", "PUT"),
        ("/v2/a", "GET"),
        ("/v1", "GET"),
        ("/", "GET"),
        ("/v1//c", "GET"),
        ("/info", "GET"),
    ],
)
def test_other_requests_pass(path, method):
    back_end = BackEnd(OBJECTS)
    response = ask(back_end, path, accept="garbage", method=method)
    assert (response.read(), back_end.query) == (back_end.body, "")


def test_a_filter_can_keep_its_own_listing():
    response = ask(BackEnd(OBJECTS), **{"swift.format_listing": False})
    assert response.read() == BackEnd(OBJECTS).body
    assert "Vary" not in response.headers


@pytest.mark.parametrize(
    "back_end",
    [
        BackEnd(OBJECTS, status=404),
        BackEnd(b"<html>", content_type="text/html"),
        BackEnd(b'{"a": 1}'),
        BackEnd(b"[1, 2]"),
        BackEnd(b"no json"),
        BackEnd([{"x": 1}]),
        BackEnd([{"subdir": 5}]),
        BackEnd([{"name": ["x"]}]),
    ],
)
def test_what_is_no_listing_passes_as_it_came(back_end):
    response = ask(back_end, accept="text/xml")
    assert (response.status, response.read()) == (back_end.status, back_end.body)
    assert response.headers["Content-Type"] == back_end.headers["Content-Type"]


def test_a_body_of_unknown_length_passes_as_it_came():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return iter([b"[", b"]"])

    assert ask(app).read() == b"[]"


def test_json_is_handed_on_byte_for_byte():
    body = b'[ {"name":"a" ,"anything": 1e0} ]'
    assert ask(BackEnd(body), "/v1/a/c?format=json").read() == body


@pytest.mark.parametrize("path", ["/v1/a/c", "/v1/a/c?format=json", "/v1/a/c?format=xml"])
def test_reserved_names_do_not_get_out(path, caplog):
    hidden = [OBJECTS[0] | {"name": "\0versions\0x"}, {"subdir": "a\0"}]
    assert ask(BackEnd(hidden + OBJECTS), path).read() == ask(BackEnd(OBJECTS), path).read()
    assert caplog.messages == ["listing of a/c had 2 reserved names"]


def test_reserved_names_get_out_where_allowed():
    response = ask(BackEnd([{"name": "\0r"}]), HTTP_X_BACKEND_ALLOW_RESERVED_NAMES="true")
    assert response.read() == b"\0r\n"


NAMES = st.text(
    st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"),
    min_size=1,
)


@given(names=st.lists(NAMES, max_size=5), container=NAMES.filter(lambda name: "/" not in name))
def test_any_name_survives_xml_and_text(names, container):
    rows = [OBJECTS[0] | {"name": name} for name in names] + [{"subdir": f"{name}/"} for name in names]
    path = "/v1/a/" + "".join(f"%{byte:02x}" for byte in container.encode())
    document = ElementTree.fromstring(ask(BackEnd(rows), path, accept="text/xml").read())
    assert document.get("name") == container
    assert [element.findtext("name") for element in document] == [*names, *(f"{name}/" for name in names)]
    assert [element.get("name") for element in document.findall("subdir")] == [f"{name}/" for name in names]
    text = ask(BackEnd(rows), path).read().decode()
    assert text == "".join(f"{name}\n" for name in [*names, *(f"{name}/" for name in names)])
