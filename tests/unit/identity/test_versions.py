"""Version documents and the catalogue's URLs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from miniswift.identity.directory import Directory, Service
from tests.unit.identity.conftest import Identity


@pytest.mark.parametrize("path", ["/", ""])
def test_root_offers_both_versions(identity: Identity, path: str) -> None:
    answer = identity.call("GET", path, Host="id.example.com:5000")
    assert answer.status == 300
    values = answer.json["versions"]["values"]
    assert {value["id"]: value["links"][0]["href"] for value in values} == {
        "v3.14": "http://id.example.com:5000/v3/",
        "v2.0": "http://id.example.com:5000/v2.0/",
    }
    assert answer.headers["Location"] == "http://id.example.com:5000/v3/"


@pytest.mark.parametrize(("path", "version"), [("/v3", "v3.14"), ("/v3/", "v3.14"), ("/v2.0/", "v2.0")])
def test_each_version_describes_itself(identity: Identity, path: str, version: str) -> None:
    answer = identity.call("GET", path)
    assert answer.status == 200
    document = answer.json["version"]
    assert document["id"] == version
    assert document["media-types"][0]["base"] == "application/json"
    assert document["links"][0]["rel"] == "self"


def store_at(directory: Directory, url: str) -> Directory:
    service = Service("object-store", "swift", url, url, "http://admin.example.com")
    return replace(directory, services=(service,))


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("http://s/v1/AUTH_%(project_id)s", "http://s/v1/AUTH_p-demo"),
        ("http://s/v1/AUTH_%(tenant_id)s", "http://s/v1/AUTH_p-demo"),
        ("http://s/v1/AUTH_$(project_id)s", "http://s/v1/AUTH_p-demo"),
        ("http://%(host)s:8080/v1/AUTH_%(project_id)s", "http://id.example.com:8080/v1/AUTH_p-demo"),
        ("http://s/100%", "http://s/100%"),
    ],
)
def test_placeholders_of_a_url_are_filled(identity: Identity, template: str, url: str) -> None:
    identity.edit(lambda directory: store_at(directory, template))
    scope = {"project": {"id": "p-demo"}}
    token = identity.v3("demo", scope=scope).headers["X-Subject-Token"]
    answer = identity.call(
        "GET", "/v3/auth/tokens", token=token, X_Subject_Token=token, Host="id.example.com:5000"
    )
    (service,) = answer.json["token"]["catalog"]
    urls = {endpoint["interface"]: endpoint["url"] for endpoint in service["endpoints"]}
    assert urls == {"public": url, "internal": url, "admin": "http://admin.example.com"}


def test_host_may_be_an_ipv6_address(identity: Identity) -> None:
    identity.edit(lambda directory: store_at(directory, "http://%(host)s:8080/v1/AUTH_%(project_id)s"))
    answer = identity.call(
        "GET", "/auth/v1.0", X_Auth_User="demo:demo", X_Auth_Key="demo-password", Host="[::1]:5000"
    )
    assert answer.headers["X-Storage-Url"] == "http://[::1]:8080/v1/AUTH_p-demo"
