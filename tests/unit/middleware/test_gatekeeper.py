"""The gatekeeper: internal headers stay inside, however they are spelled."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.middleware import gatekeeper
from miniswift.middleware.gatekeeper import Gatekeeper
from miniswift.responses import Response
from miniswift.wsgi import Request, environ_key

# The rule as it stands in Swift's manual, to hold the filter's tables against.
INTERNAL = re.compile(
    r"x-(account|container|object)-sysmeta-|x-object-transient-sysmeta-|x-backend"
    r"|x-account-(host|device|partition)$"
    r"|x-container-(host|device|partition|root-db-state)$"
    r"|x-delete-at-(host|device|partition|container)$"
)

INTERNAL_NAMES = [
    "X-Account-Sysmeta-Core-Access-Control",
    "X-Container-Sysmeta-S3api-Acl",
    "X-Object-Sysmeta-Slo-Etag",
    "X-Object-Transient-Sysmeta-Crypto-Meta",
    "X-Backend-Storage-Policy-Index",
    "X-Backend-Allow-Reserved-Names",
    "X-Backend-Inbound-X-Timestamp",
    "X-Backendish",
    "X-Account-Host",
    "X-Account-Device",
    "X-Account-Partition",
    "X-Container-Host",
    "X-Container-Device",
    "X-Container-Partition",
    "X-Container-Root-Db-State",
    "X-Delete-At-Host",
    "X-Delete-At-Device",
    "X-Delete-At-Partition",
    "X-Delete-At-Container",
]
HARMLESS_NAMES = [
    "X-Auth-Token",
    "X-Account-Meta-Host",
    "X-Container-Meta-Sysmeta-A",
    "X-Container-Host-Name",
    "X-Object-Meta-X-Backend",
    "X-Delete-At",
    "X-Delete-At-Containers",
    "X-Copy-From",
    "X-Timestamps",
    "Content-Type",
    "Backend",
    "X-Meta-X-Backend-A",
]


def what_passes(environ_items, **conf):
    """The environ that an application behind the gatekeeper sees."""
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        return Response(204)(environ, start_response)

    request = Request.blank("/v1/a/c/o")
    request.environ.update(environ_items)
    request.call(gatekeeper.filter_factory({}, **conf)(app))
    return seen


def answer_of(headers, environ_items=None):
    """The header names and values that a client gets of an answer with `headers`."""

    def app(environ, start_response):
        start_response("200 OK", headers)
        return []

    request = Request.blank("/v1/a/c/o")
    request.environ.update(environ_items or {})
    got = []
    Gatekeeper(app)(request.environ, lambda status, headers: got.extend(headers))
    return got


@pytest.mark.parametrize("name", INTERNAL_NAMES)
@pytest.mark.parametrize("spell", [str, str.lower, str.upper, lambda name: name.replace("-", "_")])
def test_an_internal_header_from_a_client_is_dropped(name, spell):
    key = environ_key(spell(name))
    assert key not in what_passes({key: "forged"})


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_other_headers_from_a_client_pass(name):
    assert what_passes({environ_key(name): "value"})[environ_key(name)] == "value"


@pytest.mark.parametrize("name", INTERNAL_NAMES)
@pytest.mark.parametrize("spell", [str, str.lower, str.upper, lambda name: name.replace("-", "_")])
def test_an_internal_header_of_an_answer_is_dropped(name, spell):
    assert answer_of([("Etag", "e"), (spell(name), "secret"), ("X-B", "b")]) == [("Etag", "e"), ("X-B", "b")]


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_other_headers_of_an_answer_pass(name):
    assert answer_of([(name, "value")]) == [(name, "value")]


def test_a_name_once_dropped_is_dropped_again():
    """Harmless names are remembered; the others must not be."""
    seen = []

    def app(environ, start_response):
        seen.append(sorted(key for key in environ if key.startswith("HTTP_X_")))
        start_response("200 OK", [("X-Backend-A", "secret"), ("X-B", "b")])
        return []

    app = Gatekeeper(app)
    for _ in range(3):
        request = Request.blank("/", headers={"X-Backend-A": "1", "X-Object-Meta-A": "1"})
        assert list(request.call(app).headers) == ["X-B"]
    assert seen == [["HTTP_X_OBJECT_META_A"]] * 3


def test_more_names_than_are_remembered_still_pass_and_are_still_dropped(monkeypatch):
    monkeypatch.setattr(gatekeeper, "_MAX_REMEMBERED", 10)
    app = Gatekeeper(Response(204))
    for number in range(50):
        environ = Request.blank("/", headers={f"X-{number}": "1", f"X-Backend-{number}": "1"}).environ
        app(environ, lambda status, headers: None)
        assert f"HTTP_X_{number}" in environ
        assert f"HTTP_X_BACKEND_{number}" not in environ
    assert len(app._harmless_keys) == 10


def test_a_clients_timestamp_is_put_aside():
    seen = what_passes({"HTTP_X_TIMESTAMP": "9999999999.99999"})
    assert "HTTP_X_TIMESTAMP" not in seen
    assert seen["HTTP_X_BACKEND_INBOUND_X_TIMESTAMP"] == "9999999999.99999"


def test_a_timestamp_put_aside_cannot_be_forged():
    assert "HTTP_X_BACKEND_INBOUND_X_TIMESTAMP" not in what_passes(
        {"HTTP_X_BACKEND_INBOUND_X_TIMESTAMP": "1"}
    )


def test_shunting_can_be_switched_off():
    seen = what_passes({"HTTP_X_TIMESTAMP": "1"}, shunt_inbound_x_timestamp="false")
    assert seen["HTTP_X_TIMESTAMP"] == "1"
    assert "HTTP_X_BACKEND_INBOUND_X_TIMESTAMP" not in seen


def test_reserved_names_are_not_for_clients():
    seen = what_passes({"HTTP_X_ALLOW_RESERVED_NAMES": "true"})
    assert "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES" not in seen


def test_reserved_names_can_be_allowed():
    seen = what_passes({"HTTP_X_ALLOW_RESERVED_NAMES": "true"}, allow_reserved_names_header="yes")
    assert seen["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] == "true"


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("http://host:8080/v1/a/c/?x=1#f", "/v1/a/c/?x=1#f"),
        ("/v1/a", "/v1/a"),
    ],
)
def test_a_location_is_made_relative_where_a_filter_asks(location, sent):
    headers = [("location", location), ("X-Backend-A", "1")]
    assert answer_of(headers, {"swift.leave_relative_location": True}) == [("location", sent)]
    assert answer_of(headers) == [("location", location)]


def test_exc_info_is_handed_on():
    def app(environ, start_response):
        start_response("500 Oops", [], ("exc", "info", None))
        return []

    got = []
    Gatekeeper(app)(Request.blank("/").environ, lambda *args: got.append(args))
    assert got == [("500 Oops", [], ("exc", "info", None))]


WORDS = ["x", "account", "container", "object", "sysmeta", "transient", "backend", "host", "device"]
WORDS += ["partition", "root", "db", "state", "delete", "at", "meta", "a", ""]
NAMES = st.one_of(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from("-_")), min_size=1, max_size=6).map(
        lambda parts: "".join(word + dash for word, dash in parts)
    ),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map("-".join),
    st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters=":"), min_size=1),
)


def is_internal(name):
    ascii_lower = name.encode("latin-1").lower().decode("latin-1")
    return INTERNAL.match(ascii_lower.replace("_", "-")) is not None


@given(names=st.lists(st.tuples(NAMES, st.booleans()), max_size=6))
def test_both_directions_agree_with_the_rule(names):
    names = [name.upper() if upper and name.isascii() else name for name, upper in names]
    seen = what_passes({environ_key(name): "v" for name in names})
    assert {environ_key(name) for name in names if not is_internal(name)} - {"HTTP_X_TIMESTAMP"} <= set(seen)
    assert not any(environ_key(name) in seen for name in names if is_internal(name))
    assert answer_of([(name, "v") for name in names]) == [(n, "v") for n in names if not is_internal(n)]
