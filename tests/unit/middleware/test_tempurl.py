"""Temporary URLs, with either auth system and the real proxy and storage servers behind the filter."""

from __future__ import annotations

import base64
import contextlib
import hmac
import logging
import time
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.errors import ConfigError
from miniswift.info import get_swift_info
from miniswift.middleware import copy, dlo, keystoneauth, tempauth, tempurl
from miniswift.middleware.temporary_keys import Signature
from miniswift.wsgi import Request
from tests.unit.proxy.conftest import Store

NOW = 1_700_000_000
EXPIRES = NOW + 100
ACCOUNT, OTHER = "/v1/AUTH_a", "/v1/AUTH_b"
KEYS = {"X-Account-Meta-Temp-URL-Key": "first", "X-Account-Meta-Temp-URL-Key-2": "second"}
CONTAINER_KEYS = {"X-Container-Meta-Temp-URL-Key": "third", "X-Container-Meta-Temp-URL-Key-2": "fourth"}


def signature(key, method, path, expires=EXPIRES, digest="sha256", ip="", encode=bytes.hex):
    message = f"{method}\n{expires}\n{path}"
    if ip:
        message = f"ip={ip}\n{message}"
    raw = hmac.digest(key.encode(), message.encode(), digest)
    return encode(raw)


def url(method="GET", path=f"{ACCOUNT}/c/o", key="first", expires=EXPIRES, signed=None, **more):
    made = {
        "temp_url_sig": signature(key, method, signed or path, expires, ip=more.get("temp_url_ip_range", ""))
    }
    return f"{quote(path)}?{urlencode({**made, 'temp_url_expires': expires, **more})}"


class Shop:
    """A store with containers `c` and `d` and another account, behind the filter and an auth system."""

    def __init__(self, root, auth, **options):
        self.store = Store(root)
        for account in (ACCOUNT, OTHER):
            assert self.store.request("PUT", f"{account}/c").status == 201
            assert self.store.request("PUT", f"{account}/d").status == 201
            assert self.put(f"{account}/c/o", b"hello").status == 201
            assert self.put(f"{account}/d/o", b"other").status == 201
        assert self.store.request("POST", ACCOUNT, KEYS).status == 204
        assert self.store.request("POST", f"{ACCOUNT}/c", CONTAINER_KEYS).status == 204
        auths = {
            "tempauth": tempauth.filter_factory({}, user_test_tester="testing .admin"),
            "keystoneauth": keystoneauth.filter_factory({}),
        }
        inner = auths[auth](copy.filter_factory({})(dlo.filter_factory({})(self._final)))
        settings = tempurl.TempURLSettings.from_conf(options)
        self.app = tempurl.TempURL(inner, settings, clock=lambda: NOW)
        self.seen = []  # what reached the proxy, but for requests of filters

    def _final(self, environ, start_response):
        if "swift.source" not in environ:
            self.seen.append(dict(environ))
        return self.store.app(environ, start_response)

    def put(self, path, body=b"", headers=None):
        return self.store.request("PUT", path, headers or {}, body)

    def __call__(self, path, method="GET", headers=None, body=b"", address="192.0.2.7"):
        request = Request.blank(path, method, headers or {}, body)
        request.environ["REMOTE_ADDR"] = address
        response = request.call(self.app)
        response.body = [response.read()]
        return response


@pytest.fixture(params=["tempauth", "keystoneauth"])
def shop(request, tmp_path):
    return Shop(tmp_path, request.param)


@pytest.fixture
def keystone_shop(tmp_path):
    return lambda **options: Shop(tmp_path, "keystoneauth", **options)


@pytest.fixture
def refused(caplog):
    """Asks, and returns why it was refused; a refusal tells its client nothing more."""
    caplog.set_level(logging.INFO, "miniswift.middleware")

    def ask(shop, path, method="GET", **more):
        caplog.clear()
        answer = shop(path, method, **more)
        assert answer.status == 401
        assert answer.read() == b"401 Unauthorized: Temp URL invalid\n"
        assert answer.headers["Www-Authenticate"].startswith("Swift realm=")
        told = [
            record.getMessage() for record in caplog.records if record.name == "miniswift.middleware.tempurl"
        ]
        assert len(told) == 1
        return told[0].removeprefix("temporary URL refused: ")

    return ask


# --- what a good one does -------------------------------------------------------------------------


def test_object_is_read_without_a_token(shop):
    assert shop(f"{ACCOUNT}/c/o").status == 401
    answer = shop(url())
    assert (answer.status, answer.read()) == (200, b"hello")
    assert answer.headers["Expires"] == "Tue, 14 Nov 2023 22:15:00 GMT"
    assert answer.headers["Content-Disposition"] == "attachment; filename=\"o\"; filename*=UTF-8''o"


def test_object_is_written_and_deleted_without_a_token(shop):
    path = f"{ACCOUNT}/c/new"
    assert shop(url("PUT", path), "PUT", body=b"new").status == 201
    assert shop(url("POST", path), "POST", {"X-Object-Meta-A": "b"}).status == 202
    assert shop.store.request("GET", path).read() == b"new"
    assert shop(url("DELETE", path), "DELETE").status == 204


@pytest.mark.parametrize("key", ["first", "second", "third", "fourth"])
def test_any_key_of_account_and_container_will_do(shop, key):
    assert shop(url(key=key)).status == 200


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "POST"])
def test_head_is_allowed_by_what_allows_more(shop, method):
    assert shop(url(method), "HEAD").status == 200


def test_head_is_not_allowed_by_a_delete(shop):
    assert shop(url("DELETE"), "HEAD").status == 401


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hexadecimal", "base64", "url-safe", "unpadded"])
def test_digests_and_encodings(shop, digest, encoding):
    encode = {
        "hexadecimal": bytes.hex,
        "base64": lambda raw: f"{digest}:{base64.b64encode(raw).decode()}",
        "url-safe": lambda raw: f"{digest}:{base64.urlsafe_b64encode(raw).decode()}",
        "unpadded": lambda raw: f"{digest}:{base64.b64encode(raw).decode().rstrip('=')}",
    }[encoding]
    made = signature("first", "GET", f"{ACCOUNT}/c/o", digest=digest, encode=encode)
    assert (
        shop(f"{ACCOUNT}/c/o?{urlencode({'temp_url_sig': made, 'temp_url_expires': EXPIRES})}").status == 200
    )


@pytest.mark.parametrize(
    ("made", "message_ip", "path"),
    [
        ("3994d403a1e371c61672cc49d49e3504805f4887", None, "/v1/AUTH_test/c/o"),
        ("7d8e44a645aab88cf197df39a844fc98555dad169375805007f6e9b55a5c9370", None, "/v1/AUTH_test/c/o"),
        (
            "247add8fe3eb808a9bcd02db5d9f6b45ba9f682dea86df4483f5d0ab6ba2253f",
            "10.0.0.0/8",
            "/v1/AUTH_test/c/o",
        ),
        (
            "8a88ce4b7b12c850fc1698a6959d00ba1231041016541e686c0d21485ec66002",
            None,
            "prefix:/v1/AUTH_test/c/pre",
        ),
    ],
)
def test_signatures_of_a_real_swift(made, message_ip, path):
    digest = "sha1" if len(made) == 40 else "sha256"
    assert signature("mykey", "GET", path, NOW, digest, ip=message_ip or "") == made
    assert Signature.parse(made).digest == digest


def test_expiry_in_words(shop):
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EXPIRES))
    made = signature("first", "GET", f"{ACCOUNT}/c/o")
    assert shop(f"{ACCOUNT}/c/o?{urlencode({'temp_url_sig': made, 'temp_url_expires': when})}").status == 200


def test_far_future(shop):
    assert shop(url(expires=10**20)).headers["Expires"] == "Fri, 31 Dec 9999 23:59:59 GMT"


def test_prefix_opens_all_that_begin_so(shop):
    shop.put(f"{ACCOUNT}/c/pre/1", b"one")
    signed = f"prefix:{ACCOUNT}/c/pre/"
    assert shop(url(path=f"{ACCOUNT}/c/pre/1", signed=signed, temp_url_prefix="pre/")).read() == b"one"
    assert shop(url("PUT", f"{ACCOUNT}/c/pre/2", signed=signed, temp_url_prefix="pre/"), "PUT").status == 201


def test_names_that_are_not_ascii(shop):
    path = f"{ACCOUNT}/c/☃ &?\n"
    shop.put(quote(path), b"snow")
    answer = shop(url(path=path))
    assert answer.read() == b"snow"
    named = "%E2%98%83%20%26%3F%0A"
    plain = "%E2%98%83 %26%3F%0A"
    assert (
        answer.headers["Content-Disposition"] == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{named}"
    )
    signed = f"prefix:{ACCOUNT}/c/☃"
    assert shop(url(path=path, signed=signed, temp_url_prefix="☃")).status == 200


def test_key_that_is_not_ascii(shop):
    shop.store.request(
        "POST", ACCOUNT, {"X-Account-Meta-Temp-URL-Key": "schlüssel".encode().decode("latin-1")}
    )
    assert shop(url(key="schlüssel")).status == 200


@pytest.mark.parametrize(
    ("query", "disposition"),
    [
        ({"filename": "a b/ü"}, "attachment; filename=\"a b/%C3%BC\"; filename*=UTF-8''a%20b/%C3%BC"),
        ({"filename": 'x"\r\nSet-Cookie: y'}, 'attachment; filename="x%22%0D%0ASet-Cookie%3A y"; filename*='),
        ({"inline": ""}, "inline"),
        ({"inline": "", "filename": "f"}, "inline; filename=\"f\"; filename*=UTF-8''f"),
    ],
)
def test_name_to_save_it_under(shop, query, disposition):
    assert shop(url(**query)).headers["Content-Disposition"].startswith(disposition)


def test_disposition_of_the_object_itself_stays(shop):
    shop.put(f"{ACCOUNT}/c/o", b"x", {"Content-Disposition": "attachment; filename=own"})
    assert shop(url()).headers["Content-Disposition"] == "attachment; filename=own"
    assert shop(url(filename="f")).headers["Content-Disposition"].startswith('attachment; filename="f"')


def test_answers_that_are_no_success_stay_as_they_are(shop):
    answer = shop(url(path=f"{ACCOUNT}/c/none"))
    assert answer.status == 404
    assert "Content-Disposition" not in answer.headers


def test_range_and_conditions(shop):
    assert shop(url(), headers={"Range": "bytes=1-2"}).read() == b"el"
    etag = shop(url()).headers["Etag"]
    assert shop(url(), headers={"If-None-Match": etag}).status == 304


def test_metadata_are_shown_only_if_public(shop):
    meta = {"X-Object-Meta-Secret": "1", "X-Object-Meta-Public-A": "2", "Content-Encoding": "gzip"}
    shop.put(f"{ACCOUNT}/c/o", b"x", meta)
    headers = shop(url()).headers
    assert "X-Object-Meta-Secret" not in headers
    assert headers["X-Object-Meta-Public-A"] == "2"
    assert headers["Content-Encoding"] == "gzip"


def test_header_rules_are_options(keystone_shop):
    shop = keystone_shop(
        incoming_remove_headers="x-object-meta-*",
        incoming_allow_headers="x-object-meta-ok",
        outgoing_remove_headers="content-encoding",
        outgoing_allow_headers="",
    )
    meta = {"X-Object-Meta-A": "1", "X-Object-Meta-Ok": "2", "Content-Encoding": "gzip"}
    assert shop(url("PUT"), "PUT", meta, b"x").status == 201
    headers = shop(url()).headers
    assert "X-Object-Meta-A" not in headers
    assert headers["X-Object-Meta-Ok"] == "2"
    assert "Content-Encoding" not in headers


def test_only_what_was_signed_reaches_others(shop):
    shop(url() + "&multipart-manifest=get&format=json")
    assert {part.partition("=")[0] for part in shop.seen[-1]["QUERY_STRING"].split("&")} == {
        "temp_url_sig",
        "temp_url_expires",
    }
    assert shop.seen[-1]["REMOTE_USER"] == ".wsgi.tempurl"


def test_address_range(shop):
    assert shop(url(temp_url_ip_range="192.0.2.0/24")).status == 200
    assert shop(url(temp_url_ip_range="192.0.2.7")).status == 200
    assert shop(url(temp_url_ip_range="2001:db8::/32"), address="2001:db8::1").status == 200


# --- what is refused, and what the log says --------------------------------------------------------


def test_refusals_say_why_in_the_log_only(shop, refused):
    other = f"{ACCOUNT}/c/other"
    assert refused(shop, url(expires=NOW - 1)) == "it has expired"
    assert refused(shop, url("GET"), "PUT") == "it is not for PUT"
    assert refused(shop, url(key="wrong")) == "the signature is not good"
    assert refused(shop, url(signed=other)) == "the signature is not good"
    assert refused(shop, url(path=f"{OTHER}/c/o")) == "neither the account nor the container has a key"
    assert "client is not in temp_url_ip_range" in refused(shop, url(temp_url_ip_range="10.0.0.0/8"))
    assert "temp_url_ip_range is none" in refused(shop, url(temp_url_ip_range="nonsense"))
    assert "does not begin with temp_url_prefix" in refused(
        shop, url(signed=f"prefix:{ACCOUNT}/c/x", temp_url_prefix="x")
    )
    assert "PATCH is not among the methods" in refused(shop, url("PATCH"), "PATCH")
    assert refused(shop, url(path=f"{ACCOUNT}/c")) == "the path names no object"
    assert refused(shop, url(path="/v1.0/AUTH_a/c/o")) == "the path names no object"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("temp_url_sig=ab", "temp_url_expires is missing"),
        (f"temp_url_expires={EXPIRES}", "temp_url_sig is missing"),
        (f"temp_url_sig=&temp_url_expires={EXPIRES}", "temp_url_sig is missing"),
        ("temp_url_sig=ab&temp_url_expires=", "no time"),
        ("temp_url_sig=ab&temp_url_expires=soon", "no time"),
        ("temp_url_sig=ab&temp_url_expires=" + "9" * 5000, "no time"),
        (f"temp_url_sig=zz&temp_url_expires={EXPIRES}", "neither hexadecimal nor"),
        (f"temp_url_sig=%E2%98%83&temp_url_expires={EXPIRES}", "neither hexadecimal nor"),
        (f"temp_url_sig=sha256:%00&temp_url_expires={EXPIRES}", "neither hexadecimal nor"),
        (f"temp_url_sig=md5:abcd&temp_url_expires={EXPIRES}", "not in allowed_digests"),
        (f"temp_url_sig={'a' * 32}&temp_url_expires={EXPIRES}", "not in allowed_digests"),
        (f"temp%5Furl%5Fsig={'a' * 40}&temp_url_expires={EXPIRES}", "the signature is not good"),
    ],
)
def test_malformed_ones(shop, refused, query, why):
    assert why in refused(shop, f"{ACCOUNT}/c/o?{query}")


def test_digest_that_is_not_allowed(keystone_shop, refused):
    shop = keystone_shop(allowed_digests="sha512")
    assert "not in allowed_digests" in refused(shop, url())


def test_signature_is_not_logged(shop, refused, caplog):
    made = signature("wrong", "GET", f"{ACCOUNT}/c/o")
    refused(shop, url(key="wrong"))
    assert made not in caplog.text


def test_removed_key_opens_nothing(shop, refused):
    shop.store.request("POST", ACCOUNT, {"X-Account-Meta-Temp-URL-Key": "newer"})
    assert refused(shop, url()) == "the signature is not good"
    assert shop(url(key="second")).status == 200
    assert shop(url(key="newer")).status == 200


def test_container_itself_is_for_staticweb_only(shop, refused):
    path = f"{ACCOUNT}/c"
    why = refused(shop, url(path=path, signed=f"prefix:{path}/", temp_url_prefix=""))
    assert "staticweb made no page" in why


@pytest.mark.parametrize("header", ["X-Object-Manifest", "X-Symlink-Target", "X-Copy-From"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_nothing_that_points_elsewhere_is_uploaded(shop, header, method):
    answer = shop(url(method), method, {header: "d/o"})
    assert answer.status == 400
    assert header.encode() in answer.read()
    assert shop.store.request("GET", f"{ACCOUNT}/c/o").read() == b"hello"


# --- what a key opens -----------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "status"), [("first", 200), ("third", 401)])
def test_manifest_leads_to_what_the_key_opens(shop, key, status):
    shop.put(f"{ACCOUNT}/c/big", b"", {"X-Object-Manifest": "d/o"})
    answer = shop(url(path=f"{ACCOUNT}/c/big", key=key))
    assert answer.status == status
    assert (answer.read() == b"other") == (status == 200)


@pytest.mark.parametrize(
    ("key", "destination", "account", "status"),
    [
        ("first", "c/copy", None, 201),
        ("first", "d/copy", None, 201),
        ("third", "c/copy", None, 201),
        ("third", "d/copy", None, 401),
        ("first", "c/copy", "AUTH_b", 401),
        ("third", "c/copy", "AUTH_b", 401),
    ],
)
def test_copy_goes_where_the_key_opens(keystone_shop, key, destination, account, status):
    shop = keystone_shop(methods="GET COPY")
    headers = {"Destination": destination} | ({"Destination-Account": account} if account else {})
    assert shop(url("COPY", key=key), "COPY", headers).status == status


def test_container_key_of_one_does_not_open_the_same_name_elsewhere(shop, refused):
    """The container's key in another account is another key, whatever the name."""
    assert refused(shop, url(path=f"{OTHER}/c/o", key="third"))


# --- requests that are none -----------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?format=json", "?filename=x", "?temp_url_prefix=x", "?a=%20"])
def test_other_requests_pass_untouched(shop, query):
    assert shop(f"{ACCOUNT}/c/o{query}").status == 401
    assert shop.seen == [] or shop.seen[-1]["QUERY_STRING"] == query[1:]


def test_browsers_may_ask_first(shop):
    assert shop(url("GET"), "OPTIONS").status == 200


def test_info_tells_of_it():
    tempurl.filter_factory({})
    shown = get_swift_info()["tempurl"]
    assert shown == {
        "methods": ["GET", "HEAD", "PUT", "POST", "DELETE"],
        "incoming_remove_headers": ["x-timestamp", "x-open-expired"],
        "incoming_allow_headers": [],
        "outgoing_remove_headers": ["x-object-meta-*"],
        "outgoing_allow_headers": ["x-object-meta-public-*"],
        "allowed_digests": ["sha1", "sha256", "sha512"],
        "deprecated_digests": ["sha1"],
    }


def test_digests_that_are_not_supported_are_left_out(caplog):
    settings = tempurl.TempURLSettings.from_conf({"allowed_digests": "md5 sha256"})
    assert settings.allowed_digests == ("sha256",)
    assert "md5" in caplog.text
    with pytest.raises(ConfigError, match="allowed_digests"):
        tempurl.TempURLSettings.from_conf({"allowed_digests": "md5"})


@given(text=st.text(max_size=80))
def test_any_signature_is_read_without_a_crash(text):
    with contextlib.suppress(ValueError):
        assert isinstance(Signature.parse(text).value, bytes)
