"""Tokens into identities, against a Keystone that answers over HTTP and counts what it is asked."""

from __future__ import annotations

import json
import time
from hashlib import sha256

import pytest

from miniswift import concurrency, identity_keys
from miniswift.errors import ConfigError
from miniswift.middleware import authtoken, token_cache, token_validation
from miniswift.middleware.identity_headers import Identity, MalformedBody
from miniswift.middleware.token_binding import broken_binding
from miniswift.responses import Response
from miniswift.wsgi import Request
from tests.unit.middleware.keystone_server import SERVICE_PASSWORD, Keystone, v2_body, v3_body

TOKEN = "f00dfeedf00dfeedf00dfeedf00dfeed"


class Application:
    """Remembers the environ it was called with."""

    def __init__(self):
        self.status = 200
        self.environ = None

    def __call__(self, environ, start_response):
        self.environ = dict(environ)
        return Response(self.status)(environ, start_response)


class Memcache(dict):
    """A memcache client over a dictionary; values go through JSON as they do on the wire."""

    def get(self, key):
        return json.loads(super().get(key, "null"))

    def set(self, key, value, serialize=True, time=0):
        self[key] = json.dumps(value)


class Clock:
    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


@pytest.fixture
def keystone():
    server = Keystone()
    yield server
    server.stop()


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(keystone, application, clock):
    """Makes the filter: today's options, signing in to `keystone`, unless others are given."""

    def make_filter(pause=None, **options):
        generation = {} if {"admin_user", "admin_token"} & options.keys() else new_options(keystone)
        conf = {"http_request_max_retries": "0", "delay_auth_decision": "true", **generation, **options}
        return authtoken.make_filter(conf, conf, clock, pause)(application)

    return make_filter


@pytest.fixture
def app(make):
    return make()


def new_options(keystone):
    return {
        "auth_type": "password",
        "auth_url": keystone.url,
        "username": "swift",
        "password": SERVICE_PASSWORD,
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
    }


def old_options(keystone):
    return {
        "auth_protocol": "http",
        "auth_host": "127.0.0.1",
        "auth_port": keystone.url.rpartition(":")[2],
        "admin_user": "swift",
        "admin_password": SERVICE_PASSWORD,
        "admin_tenant_name": "service",
    }


def ask(app, token=TOKEN, environ=None, **headers):
    made = Request.blank(
        "/v1/AUTH_p", headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    made.environ.update(environ or {})
    if token is not None:
        made.headers["X-Auth-Token"] = token
    return made.call(app)


def identity_of(environ):
    return {
        key[5:].title().replace("_", "-"): value
        for key, value in environ.items()
        if key in identity_keys.KEYS
    }


# --- what an application is told ------------------------------------------------------------------

CATALOG = [
    {
        "type": "object-store",
        "name": "swift",
        "id": "s",
        "endpoints": [
            {"interface": "public", "region": "R", "region_id": "R", "url": "http://public/", "id": "1"},
            {"interface": "admin", "region": "R", "region_id": "R", "url": "http://admin/", "id": "2"},
            {"interface": "public", "region": "S", "region_id": "S", "url": "http://s/", "id": "3"},
        ],
    }
]
CATALOG_V2 = [
    {
        "type": "object-store",
        "name": "swift",
        "endpoints": [
            {"region": "R", "publicURL": "http://public/", "adminURL": "http://admin/"},
            {"region": "S", "publicURL": "http://s/"},
        ],
    }
]


def test_a_v3_token_becomes_headers(app, keystone, application):
    keystone.tokens[TOKEN] = v3_body(roles=["member", "admin"], catalog=CATALOG)
    assert ask(app).status == 200
    told = identity_of(application.environ)
    assert json.loads(told.pop("X-Service-Catalog")) == CATALOG_V2
    assert told == {
        "X-Identity-Status": "Confirmed",
        "X-User-Id": "u",
        "X-User-Name": "un",
        "X-User-Domain-Id": "ud",
        "X-User-Domain-Name": "udn",
        "X-Project-Id": "p",
        "X-Project-Name": "pn",
        "X-Project-Domain-Id": "pd",
        "X-Project-Domain-Name": "pdn",
        "X-Roles": "member,admin",
        "X-Is-Admin-Project": "True",
        "X-Tenant-Id": "p",
        "X-Tenant-Name": "pn",
        "X-Tenant": "pn",
        "X-User": "un",
        "X-Role": "member,admin",
    }
    assert application.environ["keystone.token_info"] == keystone.tokens[TOKEN]
    assert application.environ["keystone.token_auth"].user.project_id == "p"
    assert application.environ["keystone.token_auth"].has_user_token


def test_a_v2_token_becomes_headers(make, keystone, application):
    keystone.versions = ("v2.0",)
    keystone.tokens[TOKEN] = v2_body(roles=["admin"], catalog=CATALOG_V2)
    ask(make(**old_options(keystone)))
    told = identity_of(application.environ)
    assert json.loads(told.pop("X-Service-Catalog")) == CATALOG_V2
    assert told == {
        "X-Identity-Status": "Confirmed",
        "X-User-Id": "u",
        "X-User-Name": "un",
        "X-Project-Id": "p",
        "X-Project-Name": "pn",
        "X-Roles": "admin",
        "X-Is-Admin-Project": "True",
        "X-Tenant-Id": "p",
        "X-Tenant-Name": "pn",
        "X-Tenant": "pn",
        "X-User": "un",
        "X-Role": "admin",
    }


def test_a_system_token_says_so(app, keystone, application):
    keystone.tokens[TOKEN] = v3_body(project=None, system={"all": True})
    del keystone.tokens[TOKEN]["token"]["project"]
    ask(app)
    assert application.environ["HTTP_OPENSTACK_SYSTEM_SCOPE"] == "all"
    assert "HTTP_X_PROJECT_ID" not in application.environ


def test_a_domain_token_says_which(app, keystone, application):
    keystone.tokens[TOKEN] = v3_body(domain={"id": "d", "name": "dn"})
    del keystone.tokens[TOKEN]["token"]["project"]
    ask(app)
    assert (application.environ["HTTP_X_DOMAIN_ID"], application.environ["HTTP_X_DOMAIN_NAME"]) == ("d", "dn")


def test_names_are_safe_in_headers(app, keystone, application):
    user = {"id": "u", "name": "Jürgen\r\nX-Roles: admin", "domain": {"id": "ud", "name": "udn"}}
    keystone.tokens[TOKEN] = v3_body(user=user)
    ask(app)
    assert application.environ["HTTP_X_USER_NAME"] == "JÃ¼rgen%0D%0AX-Roles: admin"


def test_the_catalogue_may_be_left_out(make, keystone, application):
    keystone.tokens[TOKEN] = v3_body(catalog=CATALOG)
    ask(make(include_service_catalog="false"))
    assert "HTTP_X_SERVICE_CATALOG" not in application.environ
    assert keystone.asked["GET", "/v3/auth/tokens?nocatalog"] == 1


def test_a_clients_own_identity_headers_are_dropped(app, keystone, application):
    forged = dict.fromkeys(identity_keys.KEYS, "forged")
    keystone.tokens[TOKEN] = v3_body()
    for token in (None, "unknown", TOKEN):
        ask(app, token, forged)
        assert "forged" not in application.environ.values()


# --- who gets past --------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "unknown"])
def test_without_a_good_token_the_decision_is_left_to_others(app, application, token):
    assert ask(app, token).status == 200
    assert identity_of(application.environ) == {"X-Identity-Status": "Invalid"}


@pytest.mark.parametrize("token", [None, "", "unknown"])
def test_unless_it_is_not(make, keystone, application, token):
    answer = ask(make(delay_auth_decision="false", auth_uri="http://public:5000"), token)
    assert (answer.status, answer.read()) == (401, b"Authentication required")
    assert answer.headers["WWW-Authenticate"] == 'Keystone uri="http://public:5000"'
    assert application.environ is None


def test_refusals_from_further_down_say_where_tokens_are(app, keystone, application):
    application.status = 401
    assert ask(app).headers["WWW-Authenticate"] == f'Keystone uri="{keystone.url}"'


def test_the_old_name_of_the_token_header_is_read(app, keystone, application):
    keystone.tokens[TOKEN] = v3_body()
    ask(app, None, X_Storage_Token=f" {TOKEN} ")
    assert application.environ["HTTP_X_PROJECT_ID"] == "p"


@pytest.mark.parametrize("body", [v3_body(expires=1_700_000_000), v2_body(tenant=False)])
def test_expired_and_unscoped_tokens_are_refused(make, keystone, application, body):
    keystone.tokens[TOKEN] = body
    ask(make(auth_version="v2.0" if "access" in body else "v3"))
    assert identity_of(application.environ) == {"X-Identity-Status": "Invalid"}


@pytest.mark.parametrize(
    "token", ["..", ".", "../users", "a b", "a\r\nb", "a?b", "a%2e", "é", "=", "/", "\x00"]
)
@pytest.mark.parametrize("version", ["v2.0", "v3"])
def test_what_cannot_be_a_token_is_never_sent(make, keystone, application, token, version):
    keystone.tokens[token] = v3_body()
    app = make(auth_version=version)
    ask(app, token)
    assert keystone.validations == 0
    assert identity_of(application.environ) == {"X-Identity-Status": "Invalid"}


# --- caches ---------------------------------------------------------------------------------------


def test_a_known_token_costs_keystone_nothing(app, keystone):
    keystone.tokens[TOKEN] = v3_body()
    for _ in range(5):
        assert ask(app).status == 200
    assert (keystone.validations, keystone.sign_ins) == (1, 1)


def test_an_answer_is_asked_for_again_after_its_time(app, keystone, clock):
    keystone.tokens[TOKEN] = v3_body()
    ask(app)
    clock.now += 299
    ask(app)
    assert keystone.validations == 1
    clock.now += 2
    ask(app)
    assert keystone.validations == 2


def test_a_cached_token_expires_when_it_does(app, keystone, application, clock):
    keystone.tokens[TOKEN] = v3_body(expires=clock.now + 100)
    ask(app)
    clock.now += 101
    ask(app)
    assert identity_of(application.environ) == {"X-Identity-Status": "Invalid"}
    assert keystone.validations == 1


def test_a_refused_token_is_asked_for_again_soon(app, keystone, application, clock):
    ask(app)
    keystone.tokens[TOKEN] = v3_body()
    ask(app)
    assert (keystone.validations, application.environ["HTTP_X_IDENTITY_STATUS"]) == (1, "Invalid")
    clock.now += 11
    ask(app)
    assert (keystone.validations, application.environ["HTTP_X_IDENTITY_STATUS"]) == (2, "Confirmed")


def test_no_time_means_no_cache(make, keystone):
    app = make(token_cache_time="0")
    keystone.tokens[TOKEN] = v3_body()
    ask(app)
    ask(app)
    assert keystone.validations == 2


def test_answers_are_shared_under_a_hash(make, keystone, application):
    cache = Memcache()
    keystone.tokens[TOKEN] = v3_body()
    ask(make(cache="swift.cache"), environ={"swift.cache": cache})
    key = f"tokens/{sha256(TOKEN.encode()).hexdigest()}"
    assert json.loads(cache.get(key)) == keystone.tokens[TOKEN]
    assert TOKEN not in str(cache)
    ask(make(cache="swift.cache"), environ={"swift.cache": cache})
    assert application.environ["HTTP_X_PROJECT_ID"] == "p"
    assert keystone.validations == 1


def test_refusals_are_shared_too(make, keystone, application):
    cache = Memcache()
    for _ in range(2):
        ask(make(cache="swift.cache"), environ={"swift.cache": cache})
        assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Invalid"
    assert keystone.validations == 1


def test_what_others_shared_is_kept_here_for_a_short_time_only(make, keystone, clock):
    cache = Memcache()
    keystone.tokens[TOKEN] = v3_body()
    app, other = make(cache="swift.cache"), make(cache="swift.cache")
    ask(other, environ={"swift.cache": cache})
    ask(app, environ={"swift.cache": cache})
    cache.clear()
    clock.now += 29
    ask(app, environ={"swift.cache": cache})
    assert keystone.validations == 1
    clock.now += 2
    ask(app, environ={"swift.cache": cache})
    assert keystone.validations == 2


@pytest.mark.parametrize(
    "kept", ["{", "null", 5, "[]", '{"token": {}}', '{"token": []}', '{"other": 1}', '"text"']
)
def test_garbage_in_the_shared_cache_is_not_believed(make, keystone, application, kept):
    cache = Memcache()
    cache.set(f"tokens/{sha256(TOKEN.encode()).hexdigest()}", kept)
    keystone.tokens[TOKEN] = v3_body()
    ask(make(cache="swift.cache"), environ={"swift.cache": cache})
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    assert keystone.validations == 1


def test_the_old_form_of_shared_answers_is_read(make, keystone, application):
    cache = Memcache()
    cache.set(f"tokens/{sha256(TOKEN.encode()).hexdigest()}", json.dumps([v2_body(), "2099-01-01T00:00:00Z"]))
    ask(make(cache="swift.cache"), environ={"swift.cache": cache})
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    assert keystone.validations == 0


@pytest.mark.parametrize("options", [{}, {"cache": "swift.cache", "memcache_security_strategy": "ENCRYPT"}])
def test_nothing_is_shared_unless_it_may_be(make, keystone, options):
    cache = Memcache()
    keystone.tokens[TOKEN] = v3_body()
    ask(make(**options), environ={"swift.cache": cache})
    assert cache == {}


def test_requests_with_one_token_wait_for_one_answer():
    flights, calls = token_cache.SingleFlight(), []

    def answer():
        calls.append(1)
        concurrency.pause()
        return "identity"

    threads = [concurrency.spawn(flights.call, "key", answer) for _ in range(20)]
    assert {thread.wait() for thread in threads} == {"identity"}
    assert len(calls) == 1


def test_requests_with_one_token_share_a_refusal():
    flights, calls = token_cache.SingleFlight(), []

    def refuse():
        calls.append(1)
        concurrency.pause()
        raise token_validation.InvalidToken("it is unknown")

    threads = [concurrency.spawn(flights.call, "key", refuse) for _ in range(5)]
    for thread in threads:
        with pytest.raises(token_validation.InvalidToken, match="it is unknown"):
            thread.wait()
    assert len(calls) == 1


def test_when_the_first_to_ask_goes_away_the_next_one_asks():
    flights, calls = token_cache.SingleFlight(), []

    def answer():
        calls.append(1)
        if len(calls) == 1:
            concurrency.sleep(60)
        return "identity"

    first, second = (concurrency.spawn(flights.call, "key", answer) for _ in range(2))
    concurrency.pause()
    first.kill()
    assert second.wait() == "identity"


def test_the_cache_forgets_what_was_used_longest_ago():
    cache = token_cache.LocalCache(max_entries=2)
    cache.put("a", 1, 60)
    cache.put("b", 2, 60)
    cache.get("a")
    cache.put("c", 3, 60)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


# --- Keystone as it may be ------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [new_options, old_options])
@pytest.mark.parametrize(
    ("versions", "wanted", "path"),
    [
        (("v3", "v2.0"), "", "/v3/auth/tokens"),
        (("v3",), "", "/v3/auth/tokens"),
        (("v3", "v2.0"), "v3.0", "/v3/auth/tokens"),
        (("v3", "v2.0"), "v2.0", "/v2.0/tokens/…"),
    ],
)
def test_either_generation_of_options_finds_either_api(
    make, keystone, application, generation, versions, wanted, path
):
    keystone.versions = versions
    keystone.tokens[TOKEN] = v2_body() if "v2.0" in path else v3_body()
    ask(make(**generation(keystone), auth_version=wanted))
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    assert keystone.asked["GET", path] == 1


@pytest.mark.parametrize(
    "options",
    [
        lambda url: {"identity_uri": f"{url}/", "admin_token": "ADMIN"},
        lambda url: {"identity_uri": url, "admin_token": "ADMIN", "auth_version": "v2.0"},
        lambda url: {
            "auth_type": "admin_token",
            "endpoint": f"{url}/v3",
            "token": "ADMIN",
            "admin_token": "",
        },
    ],
)
def test_a_fixed_token_may_be_used_instead_of_a_user(make, keystone, application, options):
    keystone._service_tokens.add("ADMIN")
    conf = options(keystone.url)
    keystone.tokens[TOKEN] = v2_body() if conf.get("auth_version") == "v2.0" else v3_body()
    ask(make(**conf))
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    assert keystone.sign_ins == 0


def test_keystone_is_asked_where_its_catalogue_says(make, keystone, application):
    other = Keystone(versions=("v3",))
    try:
        other._service_tokens = keystone._service_tokens
        keystone.catalogue_url, other.tokens[TOKEN] = f"{other.url}/v3", v3_body()
        ask(make())
        assert (keystone.validations, other.validations) == (0, 1)
        assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    finally:
        other.stop()


def test_the_service_users_token_is_renewed_once(app, keystone, application):
    keystone.tokens |= {TOKEN: v3_body(), "another": v3_body()}
    ask(app)
    keystone.expire_service_tokens()
    ask(app, "another")
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    assert keystone.sign_ins == 2


def test_without_keystone_new_tokens_get_503_and_known_ones_work(app, keystone, application):
    keystone.tokens[TOKEN] = v3_body()
    ask(app)
    keystone.stop()
    answer = ask(app, "another")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert ask(app).status == 200
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    assert ask(app, None).status == 200


@pytest.mark.parametrize("status", [401, 403, 418, 500, 503])
def test_what_keystone_does_not_say_is_not_held_against_the_token(app, keystone, status):
    keystone.tokens[TOKEN] = status
    assert ask(app).status == 503
    keystone.tokens[TOKEN] = v3_body()
    assert ask(app).status == 200


@pytest.mark.parametrize(
    "body", [[], {}, {"token": {}}, {"token": None}, {"access": {"token": {}}}, "text", None]
)
def test_an_answer_that_makes_no_sense_is_no_answer(app, keystone, body):
    keystone.tokens[TOKEN] = body
    assert ask(app).status == 503


def test_a_refused_service_user_is_our_trouble_not_the_clients(app, keystone):
    keystone.refuses_service = True
    assert ask(app).status == 503


def test_a_keystone_without_versions_is_no_keystone(app, keystone):
    keystone.versions = ()
    assert ask(app).status == 503


def test_a_failing_keystone_is_tried_again(make, keystone, application):
    waits = []
    keystone.tokens[TOKEN] = 503

    def pause(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            keystone.tokens[TOKEN] = v3_body()

    ask(make(pause, http_request_max_retries="3"))
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    assert waits == [0.5, 1.0]


def test_logs_say_why_and_never_which(make, keystone, caplog):
    caplog.set_level("DEBUG")
    for version in ("v2.0", "v3"):
        app = make(auth_version=version)
        ask(app, "secret-one")
        keystone.tokens["secret-two"] = 500
        ask(app, "secret-two")
    keystone.stop()
    ask(app, "secret-three")
    assert "token refused: Keystone does not know it" in caplog.text
    assert "answered 503: it answered 500" in caplog.text
    assert "secret" not in caplog.text
    assert SERVICE_PASSWORD not in caplog.text


# --- service tokens -------------------------------------------------------------------------------


def test_a_service_token_becomes_headers_of_its_own(app, keystone, application):
    keystone.tokens |= {TOKEN: v3_body(), "service": v3_body(roles=["service"])}
    ask(app, X_Service_Token="service")
    told = identity_of(application.environ)
    assert told["X-Service-Identity-Status"] == "Confirmed"
    assert told["X-Service-Roles"] == "service"
    assert told["X-Service-Project-Domain-Id"] == "pd"
    assert told["X-Roles"] == "member"
    assert application.environ["keystone.token_auth"].service.role_names == ["service"]


@pytest.mark.parametrize(
    ("roles", "options", "status"),
    [
        (["service"], {}, "Confirmed"),
        (["member"], {}, "Invalid"),
        (["member"], {"service_token_roles_required": "false"}, "Confirmed"),
        (["glance"], {"service_token_roles": "cinder, glance"}, "Confirmed"),
        (None, {}, "Invalid"),
    ],
)
def test_a_service_token_needs_a_role_of_a_service(make, keystone, application, roles, options, status):
    keystone.tokens[TOKEN] = v3_body()
    if roles:
        keystone.tokens["service"] = v3_body(roles=roles)
    ask(make(**options), X_Service_Token="service")
    assert application.environ["HTTP_X_SERVICE_IDENTITY_STATUS"] == status
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    assert ask(make(delay_auth_decision="false", **options), X_Service_Token="service").status == (
        200 if status == "Confirmed" else 401
    )


def test_a_service_may_go_on_with_a_token_that_has_expired(app, keystone, application, clock):
    keystone.tokens |= {TOKEN: v3_body(expires=1_700_000_000), "service": v3_body(roles=["service"])}
    ask(app)
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Invalid"
    ask(app, X_Service_Token="service")
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    ask(app)
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Invalid"


def test_keystone_is_asked_again_for_a_service_about_what_it_refused(app, keystone, application):
    ask(app)
    keystone.tokens |= {TOKEN: v3_body(expires=1_700_000_000), "service": v3_body(roles=["service"])}
    ask(app, X_Service_Token="service")
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    assert keystone.asked["GET", "/v3/auth/tokens?allow_expired=1"] == 1


# --- bound tokens ---------------------------------------------------------------------------------

KERBEROS = {"kerberos": "USER@REALM"}
NEGOTIATED = {"AUTH_TYPE": "Negotiate", "REMOTE_USER": "USER@REALM"}
BINDINGS = [
    ("disabled", KERBEROS, {}, True),
    ("permissive", {}, {}, True),
    ("permissive", KERBEROS, NEGOTIATED, True),
    ("permissive", KERBEROS, {}, False),
    ("permissive", KERBEROS, {**NEGOTIATED, "REMOTE_USER": "OTHER"}, False),
    ("permissive", {"x509": "x"}, {}, True),
    ("strict", {}, {}, True),
    ("strict", {"x509": "x"}, {}, False),
    ("strict", KERBEROS, NEGOTIATED, True),
    ("required", {}, {}, False),
    ("required", KERBEROS, NEGOTIATED, True),
    ("kerberos", {"x509": "x"}, NEGOTIATED, False),
    ("kerberos", KERBEROS, NEGOTIATED, True),
]


@pytest.mark.parametrize(("enforced", "bindings", "environ", "holds"), BINDINGS)
def test_bindings(enforced, bindings, environ, holds):
    assert (broken_binding(enforced, bindings, environ) is None) is holds


@pytest.mark.parametrize(
    ("options", "bind", "environ", "status"),
    [
        ({}, KERBEROS, {}, "Invalid"),
        ({}, KERBEROS, NEGOTIATED, "Confirmed"),
        ({"enforce_token_bind": "required"}, None, {}, "Invalid"),
    ],
)
def test_a_bound_token_needs_its_user(make, keystone, application, options, bind, environ, status):
    keystone.tokens[TOKEN] = v3_body(**{"bind": bind} if bind else {})
    ask(make(**options), environ=environ)
    assert application.environ["HTTP_X_IDENTITY_STATUS"] == status


# --- forms of tokens, and configuration -----------------------------------------------------------


def test_a_validator_is_picked_by_how_the_token_begins():
    class Fixed:
        def __init__(self, body):
            self.body = body

        def validate(self, token, allow_expired=False):
            return self.body

    by_form = token_validation.ValidatorByForm(Fixed("online"), Fixed("signed"))
    told = [by_form.validate(token) for token in ("MIIabc-+=", "PKIZ_abc", "gAAAAabc", "PKI")]
    assert told == ["signed", "signed", "online", "online"]


@pytest.mark.parametrize(
    "body", [None, [], {}, {"token": []}, {"access": {}}, {"token": {"expires_at": "soon"}}]
)
def test_bodies_that_are_none(body):
    with pytest.raises(MalformedBody):
        Identity.from_body(body, "token")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "no service user"),
        ({"auth_type": "no_such_plugin"}, "auth_type"),
        ({"auth_type": "password"}, "auth_type"),
        ({"admin_user": "u", "auth_version": "v9"}, "auth_version"),
        ({"admin_user": "u", "enforce_token_bind": "maybe"}, "enforce_token_bind"),
        ({"admin_user": "u", "cache": "swift.cache", "token_cache_time": "0"}, "token_cache_time"),
        ({"admin_user": "u", "auth_port": "many"}, "auth_port"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused_at_start(options, named):
    with pytest.raises(ConfigError, match=named):
        authtoken.filter_factory({}, **options)


def test_options_of_the_plugin_are_known_and_others_are_named(caplog, keystone):
    options = {**new_options(keystone), "memcached_servers": "127.0.0.1:11211", "passwort": "typo"}
    authtoken.filter_factory({}, **options)
    assert [record.getMessage() for record in caplog.records if "unknown option" in record.getMessage()] == [
        "configuration: []: unknown option passwort is ignored"
    ]
    assert "memcached_servers" not in caplog.text
