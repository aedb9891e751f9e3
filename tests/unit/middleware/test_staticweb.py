"""Static web sites, with an auth filter in front and the real proxy and storage servers behind."""

from __future__ import annotations

import re

import pytest

from miniswift.info import get_swift_info
from miniswift.middleware import keystoneauth, staticweb, tempurl, web_listing
from miniswift.wsgi import AUTHORIZE, Request
from tests.unit.middleware.test_tempurl import EXPIRES, NOW, signature
from tests.unit.proxy.conftest import Store

SITE = "/v1/AUTH_a/site"


class Shop:
    """A store with a public site of some objects; visitors have no token."""

    def __init__(self, root, **options):
        self.store = Store(root)
        inner = keystoneauth.filter_factory({})(staticweb.filter_factory({}, **options)(self.store.app))
        settings = tempurl.TempURLSettings.from_conf({})
        self.app = tempurl.TempURL(inner, settings, clock=lambda: NOW)
        assert self.store.request("PUT", SITE, {"X-Container-Read": ".r:*,.rlistings"}).status == 201
        for name in ("a.txt", "dir/b.txt", "dir/sub/c.txt", "index.html", "dir/index.html"):
            self.put(name, name.encode())

    def put(self, name, body=b"", content_type="text/plain"):
        answer = self.store.request("PUT", f"{SITE}/{name}", {"Content-Type": content_type}, body)
        assert answer.status == 201

    def set(self, **meta):
        headers = {f"X-Container-Meta-Web-{name.replace('_', '-')}": value for name, value in meta.items()}
        assert self.store.request("POST", SITE, headers).status == 204

    def __call__(self, path="", method="GET", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = Request.blank(SITE + path, method, named).call(self.app)
        response.body = [response.read()]
        return response

    def shown(self, path="", **headers):
        """(name, link) of everything in a listing."""
        answer = self(path, **headers)
        assert (answer.status, answer.headers["Content-Type"]) == (200, web_listing.TYPE)
        return re.findall(r'<td class="colname"><a href="([^"]*)">([^<]*)</a>', answer.read().decode())


@pytest.fixture
def make(tmp_path):
    return lambda **options: Shop(tmp_path, **options)


@pytest.fixture
def shop(make):
    return make()


def test_container_that_is_no_site_is_listed_as_ever(shop):
    assert b"a.txt" in shop("?format=json").read()
    assert shop("/a.txt").read() == b"a.txt"
    assert shop("/none").status == 404


def test_index_is_shown_for_folders(shop):
    shop.set(Index="index.html")
    assert shop("/").read() == b"index.html"
    assert shop("/dir/").read() == b"dir/index.html"
    assert shop("/a.txt").read() == b"a.txt"
    assert shop("/dir/sub/").status == 404
    assert b"Web Listing Disabled" in shop("/dir/sub/").read()


@pytest.mark.parametrize("path", ["", "/dir"])
def test_folder_without_its_slash_is_sent_on(shop, path):
    shop.set(Index="index.html")
    answer = shop(path)
    assert (answer.status, answer.headers["Location"]) == (301, f"http://localhost{SITE}{path}/")


def test_redirects_may_name_another_host(make):
    shop = make(url_base="https://www.example.com")
    shop.set(Listings="true")
    assert shop().headers["Location"] == f"https://www.example.com{SITE}/"
    assert shop("/dir/sub").headers["Location"] == f"https://www.example.com{SITE}/dir/sub/"


def test_listing_of_a_folder(shop):
    shop.set(Listings="true")
    assert shop.shown("/") == [("./dir/", "dir/"), ("./a%2Etxt", "a.txt"), ("./index%2Ehtml", "index.html")]
    assert shop.shown("/dir/")[:3] == [("../", "../"), ("./sub/", "sub/"), ("./b%2Etxt", "b.txt")]
    page = shop("/dir/").read().decode()
    assert f"<title>Listing of {SITE}/dir/</title>" in page
    assert "<style>" in page
    assert "9 B" in page
    assert shop("/none/").status == 404


def test_names_cannot_break_out_of_a_listing(shop):
    shop.set(Listings="true", Listings_Label='"><b>')
    shop.put("x/%3Cscript%3E%22%27%26/..", b"", 'text/x"><i>')
    page = shop("/x/").read().decode() + shop("/x/%3Cscript%3E%22%27%26/").read().decode()
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert ("./%2E%2E", "..") in shop.shown("/x/%3Cscript%3E%22%27%26/")


def test_label_and_style_sheet(shop):
    shop.set(Listings="true", Listings_Label="My files", Listings_Css="style/a b.css")
    page = shop("/dir/sub/").read().decode()
    assert "Listing of My files/dir/sub/" in page
    assert 'href="../../style/a%20b.css"' in page
    assert "<style>" not in page
    shop.set(Listings_Css="https://style.example/x.css")
    assert 'href="https://style.example/x.css"' in shop("/dir/").read().decode()


def test_marker_of_a_folder_is_one(shop):
    shop.set(Listings="true")
    shop.put("marked", b"", "application/directory")
    shop.put("marked/x", b"")
    assert shop("/marked").status == 301
    shop.set(Directory_Type="text/directory")
    assert shop("/marked").read() == b""


def test_error_pages_of_the_site(shop):
    shop.set(Listings="true", Error="error.html")
    shop.put("404error.html", b"lost", "text/html")
    answer = shop("/none")
    assert (answer.status, answer.read(), answer.headers["Content-Type"]) == (404, b"lost", "text/html")
    shop.store.request("POST", SITE, {"X-Container-Read": ".r:page.example,.rlistings"})
    shop.put("401error.html", b"who are you", "text/html")
    assert shop("/").status == 401


def test_whoever_may_not_read_sees_nothing(shop):
    shop.set(Listings="true", Index="index.html")
    shop.store.request("POST", SITE, {"X-Container-Read": ".r:*"})
    assert shop("/dir/").read() == b"dir/index.html"
    assert shop("/").status == shop("/dir/sub/").status == 401  # which takes .rlistings, as in Swift
    shop.store.request("POST", SITE, {"X-Container-Read": ""})
    assert [shop(path).status for path in ("", "/", "/a.txt", "/dir/")] == [401] * 4


def test_owner_with_a_token_sees_the_store_unless_they_ask(shop):
    shop.set(Listings="true")
    inner = staticweb.filter_factory({})(shop.store.app)

    def ask(path, **headers):
        request = Request.blank(SITE + path, headers=headers)
        request.environ.update(
            {AUTHORIZE: lambda _request: None, "REMOTE_USER": ("p", "n"), "swift_owner": True}
        )
        response = request.call(inner)
        return response.headers.get("Content-Type"), response.read()

    assert b'"name"' in ask("/")[1] or b"a.txt" in ask("/")[1]
    assert ask("/", **{"X-Web-Mode": "true"})[0] == web_listing.TYPE


def test_asking_for_a_site_that_is_none(shop):
    assert shop("", X_Web_Mode="true").status == 404


def test_temporary_url_of_a_folder_shows_it(shop):
    shop.set(Listings="true")
    shop.store.request("POST", SITE, {"X-Container-Read": "", "X-Container-Meta-Temp-URL-Key": "key"})
    made = signature("key", "GET", f"prefix:{SITE}/dir/")
    query = f"?temp_url_prefix=dir/&temp_url_expires={EXPIRES}&temp_url_sig={made}&inline"
    links = shop.shown(f"/dir/{query}")
    assert [name for _, name in links] == ["sub/", "b.txt", "index.html"]
    inner = links[0][0].replace("&amp;", "&").removeprefix("./")
    links = shop.shown(f"/dir/{inner}")
    assert [name for _, name in links] == ["../", "c.txt"]
    assert shop(f"/dir/sub/{links[1][0].replace('&amp;', '&').removeprefix('./')}").read() == b"dir/sub/c.txt"


def test_head_has_the_headers_of_the_get(shop):
    shop.set(Listings="true")
    assert shop("/", "HEAD").headers["Content-Type"] == web_listing.TYPE


def test_other_methods_and_paths_pass(shop):
    shop.set(Listings="true")
    assert shop("/a.txt", "DELETE").status == 401
    assert Request.blank("/v1/AUTH_a").call(shop.app).status == 401


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (10**12, "931.3 GiB")],
)
def test_sizes_for_people(count, shown):
    assert web_listing.size(count) == shown


def test_info_tells_of_it():
    staticweb.filter_factory({})
    assert get_swift_info()["staticweb"] == {}
