"""Form uploads, with the real proxy and storage servers behind the filter."""

from __future__ import annotations

import hmac
import io
import json
import logging
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniswift.errors import ClientDisconnected
from miniswift.info import get_swift_info
from miniswift.middleware import formpost, keystoneauth
from miniswift.middleware.temporary_keys import DigestSettings
from miniswift.wsgi import Request
from tests.unit.proxy.conftest import Store

NOW = 1_700_000_000
PATH = "/v1/AUTH_a/c/up-"
BOUNDARY = "xYzZY"


def signed(path=PATH, key="first", digest="sha256", **fields):
    """The fields of a form with their signature; values are text."""
    known = {
        "redirect": "",
        "max_file_size": "100",
        "max_file_count": "3",
        "expires": str(NOW + 10),
        **fields,
    }
    names = ("redirect", "max_file_size", "max_file_count", "expires")
    message = "\n".join([path, *(known[name] or ("" if name == "redirect" else "0") for name in names)])
    signature = hmac.digest(key.encode(), message.encode(), digest).hex()
    return {**known, "signature": signature}


def form(fields, files, boundary=BOUNDARY):
    """A form as a browser sends it; files are (name, content[, more headers])."""
    lines = []
    for name, value in fields.items():
        lines += [f"--{boundary}", f'Content-Disposition: form-data; name="{name}"', "", value]
    body = "\r\n".join([*lines, ""]).encode()
    for name, content, *more in files:
        head = [
            f"--{boundary}",
            f'Content-Disposition: form-data; name="f"; filename="{name}"',
            *more,
            "",
            "",
        ]
        body += "\r\n".join(head).encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


class Shop:
    """A store with a container `c` behind the filter."""

    def __init__(self, root):
        self.store = Store(root)
        for path in ("/v1/AUTH_a/c", "/v1/AUTH_b/c"):
            assert self.store.request("PUT", path).status == 201
        self.store.request("POST", "/v1/AUTH_a", {"X-Account-Meta-Temp-URL-Key": "first"})
        self.store.request("POST", "/v1/AUTH_a/c", {"X-Container-Meta-Temp-URL-Key-2": "fourth"})
        inner = keystoneauth.filter_factory({})(self.store.app)
        self.app = formpost.FormPost(inner, DigestSettings.from_conf({}), clock=lambda: NOW)

    def __call__(
        self, body, path=PATH, content_type=f"multipart/form-data; boundary={BOUNDARY}", source=None
    ):
        request = Request.blank(quote(path), "POST", {"Content-Type": content_type}, body)
        if source is not None:
            request.environ["wsgi.input"] = source
        response = request.call(self.app)
        response.body = [response.read()]
        return response

    def objects(self):
        """name → content of what is in the container."""
        rows = json.loads(self.store.request("GET", "/v1/AUTH_a/c?format=json").read())
        names = [row["name"] for row in rows]
        return {name: self.store.request("GET", f"/v1/AUTH_a/c/{quote(name)}").read() for name in names}

    def headers(self, name):
        return self.store.request("HEAD", f"/v1/AUTH_a/c/{name}").headers


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


@pytest.fixture(scope="module")
def lasting_shop(tmp_path_factory):
    """One for many examples."""
    return Shop(tmp_path_factory.mktemp("shop"))


# --- uploads --------------------------------------------------------------------------------------


def test_files_are_stored_under_the_forms_start(shop):
    answer = shop(form(signed(), [("a.txt", b"one"), ("b/ü.txt", b"two\r\n--xY"), ("empty", b"")]))
    assert (answer.status, answer.read()) == (201, b"201 Created")
    assert shop.objects() == {"up-a.txt": b"one", "up-b/ü.txt": b"two\r\n--xY", "up-empty": b""}


def test_path_of_the_container_alone(shop):
    path = "/v1/AUTH_a/c"
    assert shop(form(signed(path), [("a", b"one")]), path).status == 201
    assert shop.objects() == {"a": b"one"}


@pytest.mark.parametrize("key", ["first", "fourth"])
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
def test_keys_and_digests(shop, key, digest):
    assert shop(form(signed(key=key, digest=digest), [("a", b"one")])).status == 201


def test_browser_is_sent_back(shop):
    for redirect, joint in (("https://example/done", "?"), ("https://example/done?x=1", "&")):
        answer = shop(form(signed(redirect=redirect), [("a", b"one")]))
        assert answer.status == 303
        assert answer.headers["Location"] == f"{redirect}{joint}status=201&message="
        assert b"Click to continue" in answer.read()


def test_browser_is_told_what_went_wrong(shop):
    fields = signed(redirect="https://example/", max_file_count="1")
    answer = shop(form(fields, [("a", b"one"), ("b", b"two")]))
    assert answer.headers["Location"] == "https://example/?status=400&message=max%20file%20count%20exceeded"
    assert shop.objects() == {"up-a": b"one"}


def test_redirect_cannot_break_out_of_the_page_or_the_header(shop):
    answer = shop(form(signed(redirect='https://x/"><script>'), [("a", b"one")]))
    assert b"<script>" not in answer.read()
    answer = shop(form(signed(redirect="https://x/\nSet-Cookie: y"), [("a", b"one")]))
    assert (answer.status, answer.headers.get("Location")) == (201, None)


def test_type_and_encoding(shop):
    shop(form(signed(), [("a", b"1", "Content-Type: text/x", "Content-Encoding: gzip"), ("b", b"2")]))
    assert (shop.headers("up-a")["Content-Type"], shop.headers("up-a")["Content-Encoding"]) == (
        "text/x",
        "gzip",
    )
    assert shop.headers("up-b")["Content-Type"] == "application/octet-stream"
    shop(form({**signed(), "content-type": "text/y"}, [("a", b"1", "Content-Type: text/x")]))
    assert shop.headers("up-a")["Content-Type"] == "text/y"


def test_objects_may_expire(shop):
    far = "9999999999"
    shop(form({**signed(), "x_delete_at": far}, [("a", b"1")]))
    assert shop.headers("up-a")["X-Delete-At"] == far
    shop(form({**signed(), "x_delete_after": "1000"}, [("a", b"1")]))
    assert "X-Delete-At" in shop.headers("up-a")
    answer = shop(form({**signed(), "x_delete_at": "soon"}, [("a", b"1")]))
    assert (answer.status, answer.read()) == (
        400,
        b"FormPost: x_delete_at not an integer: Unix timestamp required.",
    )


def test_missing_container_is_the_stores_answer(shop):
    path = "/v1/AUTH_a/none/"
    assert shop(form(signed(path), [("a", b"one")]), path).status == 404


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"signature": "0" * 64}, 401, "Invalid Signature"),
        ({"signature": ""}, 401, "Invalid Signature"),
        ({"signature": "md5:AAAA"}, 401, "Invalid Signature"),
        ({"max_file_size": "101"}, 401, "Invalid Signature"),
        ({"max_file_count": "4"}, 401, "Invalid Signature"),
        ({"redirect": "https://elsewhere/"}, 401, "Invalid Signature"),
        ({"expires": str(NOW + 11)}, 401, "Invalid Signature"),
        ({"expires": str(NOW - 1)}, 401, "Form Expired"),
        ({"expires": "soon"}, 400, "expires not an integer"),
        ({"max_file_count": "many"}, 400, "max_file_count not an integer"),
        ({"max_file_count": ""}, 400, "400 Bad Request\r\nFormPost: Max File Count Exceeded"),
        ({"x": "y" * 5000}, 400, "the field 'x' is longer than 4096 bytes"),
    ],
)
def test_form_that_is_not_as_it_was_signed(shop, change, status, message):
    answer = shop(form({**signed(), **change}, [("a", b"one")]))
    assert answer.status == status
    assert message in answer.read().decode()
    assert shop.objects() == {}


def test_key_of_another_account(shop, caplog):
    caplog.set_level(logging.INFO)
    path = "/v1/AUTH_b/c/"
    assert shop(form(signed(path), [("a", b"one")]), path).status == 401
    assert "has a key" in caplog.text


@pytest.mark.parametrize("path", ["/v1/AUTH_a", "/v2/AUTH_a/c", "/info", "/"])
def test_paths_that_are_no_container(shop, path):
    assert shop(form(signed(path), [("a", b"one")]), path).status == 401


def test_form_without_files(shop):
    answer = shop(form(signed(), []))
    assert (answer.status, answer.read()) == (400, b"400 Bad Request\r\nFormPost: No Files To Process")


def test_file_that_is_too_long_leaves_nothing(shop):
    answer = shop(form(signed(max_file_size="5"), [("a", b"five!"), ("b", b"sixsix")]))
    assert (answer.status, answer.read()) == (400, b"FormPost: max_file_size exceeded")
    assert shop.objects() == {"up-a": b"five!"}


@pytest.mark.parametrize("cut", [1, 5, 12, 20, 60])
def test_form_that_breaks_off_leaves_no_object(shop, cut):
    whole = form(signed(), [("a", b"0123456789" * 5)])
    answer = shop(whole[:-cut])
    assert answer.status == (201 if cut <= 2 else 400)
    assert list(shop.objects()) == (["up-a"] if cut <= 2 else [])


class Leaving(io.BytesIO):
    """A client that goes away in the middle."""

    def read(self, size=-1):
        chunk = super().read(min(size, 50))
        if not chunk:
            raise ClientDisconnected("gone")
        return chunk


def test_client_that_goes_away_leaves_no_object(shop):
    whole = form(signed(), [("a", b"0123456789" * 5)])
    with pytest.raises(ClientDisconnected):
        shop(b"", source=Leaving(whole[:-20]))
    assert shop.objects() == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"rubbish",
        b"--xYzZY",
        b"--xYzZY\r\n\r\n",
        b"--xYzZY\r\nContent-Disposition: form-data\r\n\r\nx\r\n--xYzZY--",
        b'--xYzZY\r\nContent-Disposition: form-data; name="a\xff"\r\n\r\nx\r\n--xYzZY--',
        b"--xYzZY\r\nContent-Disposition: attachment; filename=x\r\n\r\nx\r\n--xYzZY--",
        b"--xYzZY\r\n" + b"A: b\r\n" * 100 + b"\r\n--xYzZY--",
        b"--xYzZY\r\nA" + b"b" * 100_000,
        b"--xYzZY\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 2000,
    ],
)
def test_malformed_forms(shop, body):
    answer = shop(body)
    assert answer.status in (400, 401)
    assert answer.read().startswith((b"FormPost: ", b"400 Bad Request\r\nFormPost: "))


@given(body=st.binary(max_size=300), fields=st.booleans())
@settings(max_examples=50)
def test_any_bytes_are_read_without_a_crash(lasting_shop, body, fields):
    start = form(signed(), [])[: -len(f"--{BOUNDARY}--\r\n")] if fields else b""
    assert lasting_shop(start + b"--xYzZY\r\n" + body).status in (201, 400, 401)


@given(
    files=st.lists(st.binary(max_size=80).map(lambda raw: raw + b"\r\n--xYzZ"), max_size=3),
    size=st.integers(1, 40),
)
def test_any_division_into_chunks_reads_the_same(files, size):
    class Slow(io.BytesIO):
        def read(self, _size=-1):
            return super().read(size)

    body = form({"k": "v"}, [(f"f{number}", content) for number, content in enumerate(files)])
    parts = formpost._Form(Slow(body), BOUNDARY).parts()
    assert [(part.filename or part.name, b"".join(part.chunks())) for part in parts] == [
        ("k", b"v"),
        *((f"f{number}", content) for number, content in enumerate(files)),
    ]


# --- requests that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "multipart/form-data", "multipart/mixed; boundary=x", "form-data"]
)
def test_other_posts_pass(shop, content_type):
    assert shop(b"x", content_type=content_type).status == 401  # the auth system's


def test_info_tells_of_it():
    formpost.filter_factory({})
    shown = get_swift_info()["formpost"]
    assert shown == {"allowed_digests": ["sha1", "sha256", "sha512"], "deprecated_digests": ["sha1"]}
