"""Many objects by one request, with the real proxy and storage servers behind the filter."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift import concurrency
from miniswift.errors import ClientDisconnected
from miniswift.info import get_swift_info
from miniswift.middleware import bulk, reports
from miniswift.middleware.bulk_delete import Deleter, Doomed
from miniswift.middleware.bulk_extract import Extractor
from miniswift.responses import Response
from miniswift.wsgi import AUTHORIZE, Request
from tests.unit.proxy.conftest import Store

JSON = {"Accept": "application/json"}


class Shop:
    def __init__(self, root, **options):
        self.store = Store(root)
        self.app = bulk.filter_factory({}, **options)(self.store.app)
        for path in ("c", "d"):
            assert self.store.request("PUT", f"/v1/AUTH_a/{path}").status == 201

    def put(self, *names):
        for name in names:
            assert self.store.request("PUT", f"/v1/AUTH_a/{name}", {}, b"x").status == 201

    def names(self, container):
        rows = json.loads(self.store.request("GET", f"/v1/AUTH_a/{container}?format=json").read())
        return [row["name"] for row in rows]

    def __call__(self, method, path, body=b"", headers=None, **environ):
        request = Request.blank(f"/v1/AUTH_a{path}", method, {**JSON, **(headers or {})}, body)
        request.environ.update({"swift_owner": True, **environ})
        response = request.call(self.app)
        response.body = [response.read()]
        return response

    def delete(self, *lines, headers=None, **environ):
        answer = self("POST", "?bulk-delete", "\n".join(lines).encode(), headers, **environ)
        assert answer.status == 200
        return json.loads(answer.read())

    def extract(self, archive, path="/c", kind="tar", headers=None, **environ):
        answer = self("PUT", f"{path}?extract-archive={kind}", archive, headers, **environ)
        assert answer.status == 200
        return json.loads(answer.read())


@pytest.fixture
def make(tmp_path):
    return lambda **options: Shop(tmp_path, **options)


@pytest.fixture
def shop(make):
    return make()


def tar(*files, mode="w", pax=None):
    """An archive of (name, content)."""
    made = io.BytesIO()
    with tarfile.open(mode=mode, fileobj=made, format=tarfile.PAX_FORMAT) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.pax_headers = pax or {}
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


# --- deleting -------------------------------------------------------------------------------------


def test_named_objects_go_and_then_containers(shop):
    shop.put("c/a", "c/%C3%BC%0A", "d/b")
    report = shop.delete("c", "/c/a", "c/%C3%BC%0A", "c/none", "d/b", "")
    assert report == {
        "Response Status": "200 OK",
        "Response Body": "",
        "Number Deleted": 4,
        "Number Not Found": 1,
        "Errors": [],
    }
    assert shop.store.request("HEAD", "/v1/AUTH_a/c").status == 404
    assert shop.names("d") == []


def test_delete_method_and_a_body_in_pieces(shop):
    shop.put(*(f"c/{'n' * 200}{number}" for number in range(40)))
    lines = "\r\n".join(f"c/{'n' * 200}{number}" for number in range(40)).encode()
    report = json.loads(shop("DELETE", "?bulk-delete", lines).read())
    assert report["Number Deleted"] == 40


def test_what_fails_is_told(shop):
    shop.put("c/a", "d/secret")

    def authorize(request):
        return Response(403) if "secret" in request.environ["PATH_INFO"] else None

    report = shop.delete("c/a", "d/secret", "c/%FF", "d", **{AUTHORIZE: authorize})
    assert report["Response Status"] == "400 Bad Request"
    assert sorted(report["Errors"]) == [
        ["c/%FF", "412 Precondition Failed"],
        ["d", "409 Conflict"],
        ["d/secret", "403 Forbidden"],
    ]
    assert report["Number Deleted"] == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"", {}, "400 Bad Request", "Invalid bulk delete."),
        (b"\n\n", {}, "400 Bad Request", "Invalid bulk delete."),
        (b"a\nb\nc\nd", {}, "413 Request Entity Too Large", "Maximum Bulk Deletes: 3 per request"),
        (b"c/a", {"Content-Type": "application/json"}, "406 Not Acceptable", None),
        (b"x" * 5000, {}, "400 Bad Request", "Invalid File Name"),
    ],
)
def test_lists_that_cannot_be(make, body, headers, status, message):
    shop = make(max_deletes_per_request="3")
    report = json.loads(shop("POST", "?bulk-delete", body, headers).read())
    assert report["Response Status"] == status
    assert message is None or report["Response Body"] == message


def test_too_many_failures_end_it(make):
    shop = make(max_failed_deletes="2")
    report = shop.delete("c/%FF", "c/%FE", "c/%FD")
    assert (report["Response Status"], report["Response Body"]) == (
        "400 Bad Request",
        "Max delete failures exceeded",
    )
    assert len(report["Errors"]) == 2


def test_container_is_tried_again_while_it_is_not_empty():
    statuses, waited = [409, 409, 204], []

    def app(environ, start_response):
        return Response(statuses.pop(0))(environ, start_response)

    deleter = Deleter(app, "BD", retries=2, pause=waited.append)
    body = b"".join(deleter.run(Request.blank("/v1/a").environ, "application/json", lambda: [Doomed("c")]))
    assert json.loads(body)["Number Deleted"] == 1
    assert waited == [1.5, 2.25]


def test_server_errors_make_it_a_bad_gateway():
    def app(environ, start_response):
        return Response(503)(environ, start_response)

    body = b"".join(
        Deleter(app, "BD").run(Request.blank("/v1/a").environ, "text/plain", lambda: [Doomed("c/o")])
    )
    assert b"Response Status: 502 Bad Gateway" in body
    assert b"Errors:\nc/o, 503 Service Unavailable\n" in body


# --- extracting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "mode"), [("tar", "w"), ("tar.gz", "w:gz"), (".TAR.BZ2", "w:bz2")])
def test_files_become_objects(shop, kind, mode):
    report = shop.extract(tar(("./a", b"one"), ("b/ü", b"two"), ("empty", b""), mode=mode), kind=kind)
    assert (report["Response Status"], report["Number Files Created"]) == ("201 Created", 3)
    assert shop.names("c") == ["a", "b/ü", "empty"]
    assert shop.store.request("GET", "/v1/AUTH_a/c/a").read() == b"one"


def test_first_folders_become_containers_and_the_path_a_start_of_names(shop):
    shop.extract(tar(("new/a", b"1"), ("d/b", b"2"), ("beside", b"3")), path="")
    assert (shop.names("new"), shop.names("d")) == (["a"], ["b"])
    shop.extract(tar(("a", b"1")), path="/c/sub/")
    assert shop.names("c") == ["sub/a"]


def test_metadata_of_request_and_archive(shop):
    pax = {"SCHILY.xattr.user.mime_type": "text/x", "LIBARCHIVE.xattr.user.meta.colour": "grün", "atime": "1"}
    shop.extract(
        tar(("a", b"1"), pax=pax), headers={"X-Object-Meta-Shape": "round", "X-Delete-After": "1000"}
    )
    headers = shop.store.request("HEAD", "/v1/AUTH_a/c/a").headers
    assert headers["Content-Type"] == "text/x"
    assert headers["X-Object-Meta-Colour"].encode("latin-1").decode() == "grün"
    assert headers["X-Object-Meta-Shape"] == "round"
    assert "X-Delete-At" in headers


def test_files_that_cannot_be_stored_are_told(shop):
    def authorize(request):
        return Response(403) if request.environ["PATH_INFO"].endswith("secret") else None

    report = shop.extract(tar(("a", b"1"), ("secret", b"2")), **{AUTHORIZE: authorize})
    assert report["Response Status"] == "400 Bad Request"
    assert report["Errors"] == [["c/secret", "403 Forbidden"]]
    assert shop.names("c") == ["a"]


def test_unknown_user_is_told_so_at_once(shop):
    report = shop.extract(tar(("a", b"1"), ("b", b"2")), **{AUTHORIZE: lambda _request: Response(401)})
    assert report["Response Status"] == "401 Unauthorized"
    assert report["Number Files Created"] == 0


def test_too_many_containers_end_it(make):
    shop = make(max_containers_per_extraction="1")
    report = shop.extract(tar(("x/a", b""), ("y/a", b"")), path="")
    assert report["Response Body"] == "More than 1 containers to create from tar."


@pytest.mark.parametrize(
    ("archive", "kind"),
    [
        (b"", "tar"),
        (b"rubbish" * 100, "tar"),
        (b"rubbish" * 100, "tar.gz"),
        (b"rubbish" * 100, "tar.bz2"),
        (tar(("a", b"x" * 5000))[:3000], "tar"),
        (gzip.compress(tar(("a", b"x" * 5000)))[:60], "tar.gz"),
        (tar(), "tar"),
    ],
)
def test_broken_archives_leave_no_object(shop, archive, kind):
    report = shop.extract(archive, kind=kind)
    assert report["Response Status"] == "400 Bad Request"
    assert shop.names("c") == []


def test_other_kinds_are_refused(shop):
    assert shop("PUT", "/c?extract-archive=zip", b"x").status == 400


def test_client_that_goes_away_leaves_no_half_object(shop):
    class Leaving(io.BytesIO):
        def read(self, size=-1):
            chunk = super().read(size)
            if not chunk:
                raise ClientDisconnected("gone")
            return chunk

    archive = tar(("whole", b"1"), ("half", b"x" * 20_000))
    with pytest.raises(ClientDisconnected):
        shop.extract(archive[:12_000], **{"wsgi.input": Leaving(archive[:12_000])})
    assert shop.names("c") == ["whole"]


# --- reports --------------------------------------------------------------------------------------


def test_report_in_xml(shop):
    shop.put("c/a")
    answer = shop("POST", "?bulk-delete", b"c/a\nc/%FF%3C", {"Accept": "application/xml"})
    assert answer.headers["Content-Type"] == "application/xml"
    root = ElementTree.fromstring(answer.read())
    assert (root.tag, root.findtext("number_deleted")) == ("delete", "1")
    assert root.findtext("errors/object/name") == "c/%FF%3C"


def test_form_that_there_is_not(shop):
    report = shop("POST", "?bulk-delete", b"c/a", {"Accept": "image/png"}).read()
    assert b"Response Status: 406 Not Acceptable" in report


@pytest.mark.parametrize(
    ("content_type", "start"), [("text/plain", b" "), ("application/xml", b'<?xml version="1.0"')]
)
def test_signs_of_life_come_first(content_type, start):
    released = concurrency.Event()

    def app(environ, start_response):
        released.wait()
        return Response(204)(environ, start_response)

    deleter = Deleter(app, "BD", beat_s=0.01)
    body = deleter.run(Request.blank("/v1/a").environ, content_type, lambda: [Doomed("c/o")])
    first, second = next(body), next(body)
    released.send(None)
    rest = b"".join(body)
    assert first.startswith(start)
    assert second == b" "
    assert b"\r\n\r\n" in rest
    if content_type == "application/xml":
        assert ElementTree.fromstring(first + second + rest).findtext("number_deleted") == "1"


def test_extraction_shows_that_it_lives(tmp_path):
    store = Store(tmp_path)
    store.request("PUT", "/v1/AUTH_a/c")
    ticks = iter(range(100))
    extractor = Extractor(store.app, beat_s=1, clock=lambda: next(ticks))
    request = Request.blank("/v1/AUTH_a/c", "PUT", {}, tar(("a", b""), ("b", b"")))
    request.environ["swift_owner"] = True
    body = b"".join(extractor.run(request.environ, "text/plain", ""))
    assert body.startswith(b" ")
    assert b"Number Files Created: 2" in body


@given(items=st.lists(st.integers(), max_size=20), at_once=st.integers(1, 5))
def test_parallel_work_brings_every_result_once(items, at_once):
    running, most = 0, 0

    def work(item):
        nonlocal running, most
        running += 1
        most = max(most, running)
        concurrency.pause()
        running -= 1
        return item

    results = [result for result in reports.in_parallel(work, items, at_once, 10) if result is not None]
    assert sorted(results) == sorted(items)
    assert most <= at_once


def test_other_requests_pass(shop):
    assert shop("PUT", "/c/o?format=json", b"x").status == 201
    assert shop("GET", "/c/o?bulk-delete").read() == b"x"
    assert shop("GET", "/c/o?extract-archive=tar").read() == b"x"


def test_info_tells_of_it():
    bulk.filter_factory({})
    shown = get_swift_info()
    assert shown["bulk_upload"] == {"max_containers_per_extraction": 10000, "max_failed_extractions": 1000}
    assert shown["bulk_delete"] == {"max_deletes_per_request": 10000, "max_failed_deletes": 1000}
