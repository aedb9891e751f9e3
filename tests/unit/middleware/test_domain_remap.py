"""Host names that mean accounts and containers."""

from __future__ import annotations

import pytest

from miniswift.info import get_swift_info
from miniswift.middleware import domain_remap
from miniswift.responses import Response
from miniswift.wsgi import Request


def ask(host, path="/o", location=None, **options):
    """(status, the path that the application saw, the Location that came back)."""
    seen = []

    def app(environ, start_response):
        seen.append(environ["PATH_INFO"])
        headers = {"Location": location.replace("PATH", environ["PATH_INFO"])} if location else {}
        return Response(200, headers)(environ, start_response)

    filtered = domain_remap.filter_factory({}, **options)(app)
    response = Request.blank(path, headers={"Host": host}).call(filtered)
    return response.status, seen[0] if seen else None, response.headers.get("Location")


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("c.AUTH_a.example.com", "/v1/AUTH_a/c/o"),
        ("c.auth-a.example.com:8080", "/v1/AUTH_a/c/o"),
        ("auth-a-b.EXAMPLE.com", "/v1/AUTH_a-b/o"),
        ("AUTH_a.example.com", "/v1/AUTH_a/o"),
        ("other-a.example.com", "/o"),
        ("example.com", "/o"),
        ("notexample.com", "/o"),
        ("localhost:8080", "/o"),
    ],
)
def test_host_is_put_into_the_path(host, path):
    assert ask(host)[:2] == (200, path)


@pytest.mark.parametrize("host", ["a.b.AUTH_c.example.com", ".example.com"])
def test_hosts_that_mean_nothing(host):
    assert ask(host)[:2] == (400, None)


def test_options():
    assert (
        ask("c.x.store.org", storage_domain="a.org, .store.org", default_reseller_prefix="KEY")[1]
        == "/v1/KEY_x/c/o"
    )
    assert ask("c.any.example.com", reseller_prefixes="")[1] == "/v1/any/c/o"
    assert ask("c.auth-a.example.com", path_root="v1.0")[1] == "/v1.0/AUTH_a/c/o"
    assert ask("c.auth-a.example.com", "/v1/o", mangle_client_paths="true")[1] == "/v1/AUTH_a/c/o"
    assert ask("c.auth-a.example.com", "/v1/o")[1] == "/v1/AUTH_a/c/v1/o"


def test_redirects_are_told_in_the_clients_terms():
    host = "c.auth-a.example.com"
    assert (
        ask(host, "/dir", "http://c.auth-a.example.com/v1/AUTH_a/c/dir/")[2]
        == "http://c.auth-a.example.com/dir/"
    )
    assert ask(host, "/dir", "http://elsewhere/x")[2] == "http://elsewhere/x"


def test_info_tells_of_it():
    domain_remap.filter_factory({}, default_reseller_prefix="KEY")
    assert get_swift_info()["domain_remap"] == {"default_reseller_prefix": "KEY"}
