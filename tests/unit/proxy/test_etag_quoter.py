"""ETags in quotes where somebody asked for them."""

from __future__ import annotations

import pytest

from miniswift.middleware.etag_quoter import EtagQuoter, EtagQuoterSettings
from miniswift.wsgi import Request

MD5 = "5d41402abc4b2a76b9719d911017c592"


class Pipeline:
    def __init__(self, store, **options):
        self.app = EtagQuoter(store.app, EtagQuoterSettings(**options))

    def __call__(self, method, path="/c/o", headers=None, body=b""):
        request = Request.blank(f"/v1/AUTH_a{path}", method, headers or {}, body)
        request.environ["swift_owner"] = True
        response = request.call(self.app)
        response.read()
        return response

    @property
    def etags(self):
        return [self(method).headers["Etag"] for method in ("HEAD", "GET")]


@pytest.fixture
def ask(make_store):
    ask = Pipeline(make_store())
    ask("PUT", "/c")
    ask("PUT", "/c/o", {}, b"hello")
    return ask


def test_etags_are_bare_by_default(ask):
    assert ask.etags == [MD5, MD5]


def test_the_default_is_an_option(make_store):
    ask = Pipeline(make_store(), enable_by_default=True)
    ask("PUT", "/c")
    ask("PUT", "/c/o", {}, b"hello")
    assert ask.etags == [f'"{MD5}"'] * 2


def test_the_containers_word_counts_before_the_accounts(ask):
    ask("POST", "", {"X-Account-Rfc-Compliant-Etags": "t"})
    assert ask.etags == [f'"{MD5}"'] * 2
    ask("POST", "/c", {"X-Container-Rfc-Compliant-Etags": "f"})
    assert ask.etags == [MD5, MD5]
    assert ask("HEAD", "/c").headers["X-Container-Rfc-Compliant-Etags"] == "False"
    ask("POST", "/c", {"X-Container-Rfc-Compliant-Etags": ""})
    assert ask.etags == [f'"{MD5}"'] * 2
    ask("POST", "", {"X-Remove-Account-Rfc-Compliant-Etags": "x"})
    assert ask.etags == [MD5, MD5]


def test_quoted_etags_still_match(ask):
    ask("POST", "/c", {"X-Container-Rfc-Compliant-Etags": "t"})
    assert ask("GET", headers={"If-None-Match": f'"{MD5}"'}).status == 304
    assert ask("GET", headers={"If-Match": f'"{MD5}"'}).status == 200


def test_what_is_no_object_passes(ask):
    assert ask("GET", "/c").status == 200
    assert ask("GET", "/nowhere/o").status == 404
