"""Users in the configuration: signing in, tokens in every form, who may do what."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.fernet import Fernet

from miniswift import info
from miniswift.errors import ConfigError
from miniswift.middleware import keystoneauth, tempauth
from miniswift.responses import Response
from miniswift.wsgi import ACL, AUTHORIZE, CACHE, OWNER, RESELLER_REQUEST, Request

USERS = {
    "user_test_tester": "testing .admin",
    "user_test_reader": "reading",
    "user_test2_tester2": "testing2 .admin",
    "user_admin_admin": "admin .admin .reseller_admin",
    "user_audit_audit": "audit .reseller_reader",
    "user_glance_glance": "glance .service",
    "user64_dW5kZXJfc2NvcmU_YV9i": "testing4 .admin",
    "user_far_away": "key .admin https://far.example/v1/AUTH_other",
}


class TinyProxy:
    """Asks swift.authorize as Swift's proxy does, then answers; the account's ACL is what the test says."""

    def __init__(self):
        self.account_acl = None
        self.seen = None

    def __call__(self, environ, start_response):
        if environ.get(info.INFO_ONLY):
            sysmeta = {"X-Account-Sysmeta-Core-Access-Control": self.account_acl} if self.account_acl else {}
            return Response(204, sysmeta)(environ, start_response)
        self.seen = environ
        denial = environ[AUTHORIZE](Request(environ))
        return (denial if denial is not None else Response(200))(environ, start_response)


class Memcache(dict):
    """A memcache client over a dictionary; values go through JSON as they do on the wire."""

    def get(self, key, default=None):
        return json.loads(super().get(key, "null"))

    def set(self, key, value, serialize=True, time=0):
        self[key] = json.dumps(value)


class DeadMemcache:
    def get(self, key):
        return None

    def set(self, key, value, serialize=True, time=0):
        pass


class Clock:
    def __init__(self, now=1_700_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def proxy():
    return TinyProxy()


@pytest.fixture(scope="session")
def swift_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swift")
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = changeme\n")
    return str(folder)


@pytest.fixture
def make(proxy, swift_dir):
    """Makes the filter in front of the tiny proxy: `make(option=value, …)`."""

    def make_filter(app=proxy, /, **options):
        return tempauth.filter_factory({"swift_dir": swift_dir}, **{**USERS, **options})(app)

    return make_filter


@pytest.fixture
def app(make):
    return make()


def sign_in(app, user="test:tester", key="testing", cache=None, path="/auth/v1.0", **headers):
    made = Request.blank(path, headers={"X-Auth-User": user, "X-Auth-Key": key, **headers})
    made.environ[CACHE] = cache
    return made.call(app)


def token_of(app, user="test:tester", key="testing", cache=None, **headers):
    return sign_in(app, user, key, cache, **headers).headers["X-Auth-Token"]


def ask(app, path, method="GET", token=None, cache=None, acl=None, **headers):
    made = Request.blank(path, method, {name.replace("_", "-"): value for name, value in headers.items()})
    made.environ[CACHE] = cache
    if token:
        made.headers["X-Auth-Token"] = token
    if acl is not None:
        made.environ[ACL] = acl
    return made.call(app)


# --- signing in -----------------------------------------------------------------------------------


def test_a_key_gets_a_token_and_a_storage_url(app):
    answer = sign_in(app)
    assert answer.status == 200
    assert answer.headers["X-Storage-Url"] == "http://localhost/v1/AUTH_test"
    assert answer.headers["X-Auth-Token"] == answer.headers["X-Storage-Token"]
    assert answer.headers["X-Auth-Token"].startswith("AUTH_")
    assert 86398 <= int(answer.headers["X-Auth-Token-Expires"]) <= 86400


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/auth/v1.0", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}, 200),
        ("/auth/v1.0/", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}, 200),
        ("/auth/auth", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}, 200),
        ("/auth/v1.0", {"X-Storage-User": "test:tester", "X-Storage-Pass": "testing"}, 200),
        ("/auth/v1/test/auth", {"X-Storage-User": "tester", "X-Storage-Pass": "testing"}, 200),
        ("/auth/v1/test/auth", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}, 200),
        ("/auth/v1/test2/auth", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}, 401),
        ("/auth/v1/test/auth", {"X-Auth-Key": "testing"}, 401),
        ("/auth/v1.0", {"X-Auth-User": "test:tester", "X-Auth-Key": "wrong"}, 401),
        ("/auth/v1.0", {"X-Auth-User": "test:nobody", "X-Auth-Key": "testing"}, 401),
        ("/auth/v1.0", {"X-Auth-User": "tester", "X-Auth-Key": "testing"}, 401),
        ("/auth/v1.0", {"X-Auth-User": "test:tester"}, 401),
        ("/auth/v1.0", {"X-Auth-User": ":tester", "X-Auth-Key": "testing"}, 401),
        ("/auth/v1.0", {"X-Auth-User": "test:tester", "X-Auth-Key": "\xff\xfe"}, 401),
        ("/auth/v1.0", {}, 401),
        ("/auth/v1/test", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}, 400),
        ("/auth/v7", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}, 400),
        ("/auth/", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}, 404),
    ],
)
def test_ways_to_sign_in(app, path, headers, status):
    assert Request.blank(path, headers=headers).call(app).status == status


def test_a_refused_sign_in_names_the_account(app):
    assert sign_in(app, key="wrong").headers["WWW-Authenticate"] == 'Swift realm="test"'
    assert sign_in(app, user="nobody").headers["WWW-Authenticate"] == 'Swift realm="unknown"'
    assert sign_in(app, user='"evil:x').headers["WWW-Authenticate"] == 'Swift realm="%22evil"'


def test_signing_in_is_a_get(app):
    answer = Request.blank(
        "/auth/v1.0", "POST", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
    ).call(app)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


def test_the_auth_prefix_may_be_moved(make):
    app = make(auth_prefix="login/here")
    assert sign_in(app, path="/login/here/v1.0").status == 200


@pytest.mark.parametrize(
    ("user", "key", "options", "url"),
    [
        ("far:away", "key", {}, "https://far.example/v1/AUTH_other"),
        ("test:tester", "testing", {"storage_url_scheme": "https"}, "https://localhost/v1/AUTH_test"),
        ("test:tester", "testing", {"reseller_prefix": "NEW, OLD"}, "http://localhost/v1/NEW_test"),
        ("test:tester", "testing", {"reseller_prefix": "''"}, "http://localhost/v1/test"),
        ("under_score:a_b", "testing4", {}, "http://localhost/v1/AUTH_under_score"),
    ],
)
def test_where_the_storage_is(make, user, key, options, url):
    assert sign_in(make(**options), user, key).headers["X-Storage-Url"] == url


@pytest.mark.parametrize(
    ("wanted", "status", "life"),
    [
        ("60", 200, 60),
        ("999999", 200, 86400),
        ("0", 400, 0),
        ("-5", 400, 0),
        ("soon", 400, 0),
        ("9" * 40, 400, 0),
    ],
)
@pytest.mark.parametrize("cache", [None, Memcache()])
def test_a_shorter_life_may_be_asked_for(app, cache, wanted, status, life):
    answer = sign_in(app, cache=cache, **{"X-Auth-Token-Lifetime": wanted})
    assert answer.status == status
    assert life - 2 <= int(answer.headers.get("X-Auth-Token-Expires", 0)) <= life


# --- tokens ---------------------------------------------------------------------------------------


def test_tokens_need_no_cache_and_count_in_every_worker(make):
    token = token_of(make())
    assert ask(make(), "/v1/AUTH_test/c", token=token).status == 200


def test_tokens_end_when_a_key_is_changed(make):
    token = token_of(make())
    assert ask(make(user_test_tester="changed .admin"), "/v1/AUTH_test/c", token=token).status == 401


def test_tokens_end_at_another_cluster(make, tmp_path):
    token = token_of(make())
    assert ask(make(swift_dir=str(tmp_path)), "/v1/AUTH_test/c", token=token).status == 401


def test_with_a_cache_tokens_are_kept_there_as_swift_keeps_them(app):
    cache = Memcache()
    token = token_of(app, cache=cache)
    assert token.startswith("AUTH_tk")
    expires, groups = cache.get(f"AUTH_/token/{token}")
    assert groups == "test,test:tester,AUTH_test"
    assert expires > 1_700_000_000
    assert cache.get("AUTH_/user/test:tester") == token


def test_a_kept_token_is_given_again(app):
    cache = Memcache()
    assert token_of(app, cache=cache) == token_of(app, cache=cache)


def test_a_kept_token_of_other_groups_is_not_given_again(make):
    cache = Memcache()
    before = token_of(make(), cache=cache)
    assert token_of(make(user_test_tester="testing .admin more"), cache=cache) != before


def test_a_kept_token_counts_for_whoever_shares_the_cache(make):
    cache = Memcache()
    token = token_of(make(), cache=cache)
    assert ask(make(), "/v1/AUTH_test/c", token=token, cache=cache).status == 200
    assert ask(make(), "/v1/AUTH_test/c", token=token).status == 401


def test_a_token_that_real_swift_kept_counts(app):
    cache = Memcache()
    cache.set("AUTH_/token/AUTH_tk00", (2e9, "test,test:x,AUTH_test"))
    assert ask(app, "/v1/AUTH_test/c", token="AUTH_tk00", cache=cache).status == 200


@pytest.mark.parametrize("entry", [None, [1.0, "test,AUTH_test"], "text", [2e9], [2e9, ""]])
def test_entries_that_are_no_good_tokens_are_refused(app, entry):
    cache = Memcache()
    cache.set("AUTH_/token/AUTH_tk00", entry)
    assert ask(app, "/v1/AUTH_test/c", token="AUTH_tk00", cache=cache).status == 401


def test_a_dead_cache_costs_nothing(app):
    token = token_of(app, cache=DeadMemcache())
    assert ask(app, "/v1/AUTH_test/c", token=token, cache=DeadMemcache()).status == 200


def test_configured_keys_make_tokens_as_in_swift(make):
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    token = token_of(make(fernet_key_a=old, active_fernet_key_id="a"), cache=Memcache())
    opened = Fernet(old).decrypt(token.removeprefix("AUTH_ftk").encode())
    assert opened == b"test,test:tester,AUTH_test"
    rotated = make(fernet_key_a=old, fernet_key_b=new, active_fernet_key_id="b")
    assert ask(rotated, "/v1/AUTH_test/c", token=token).status == 200
    assert ask(make(fernet_key_b=new), "/v1/AUTH_test/c", token=token).status == 401


def test_many_groups_are_compressed(make):
    groups = " ".join(f"group{number}" for number in range(50))
    app = make(user_test_many=f"key {groups}")
    token = token_of(app, "test:many", "key")
    assert token.startswith("AUTH_zftk")
    assert ask(app, "/v1/AUTH_test/c", token=token, acl="group49").status == 200


@pytest.mark.parametrize("cache", [None, Memcache()])
def test_a_token_ends_with_its_life(proxy, swift_dir, cache):
    clock = Clock()
    tokens = tempauth.Tokens("AUTH_", 100, {}, "", lambda: b"k" * 32, clock)
    user = tempauth.User("test:tester", "testing", ("test",), "$HOST/v1/AUTH_test")
    whole, short = tokens.issue(user, cache)[0], tokens.issue(user, cache, 30)[0]
    clock.now += 29
    assert tokens.groups_of(short, cache) == ("test",)
    clock.now += 2
    assert tokens.groups_of(short, cache) is None
    clock.now += 68
    assert tokens.groups_of(whole, cache) == ("test",)
    clock.now += 2
    assert tokens.groups_of(whole, cache) is None


@pytest.mark.parametrize(
    "token", ["AUTH_", "AUTH_tk", "AUTH_ftk", "AUTH_zftk", "AUTH_ftkgAAAA", "AUTH_ftk\xe9", "AUTH_x"]
)
def test_a_token_that_is_none_is_refused(app, token):
    answer = ask(app, "/v1/AUTH_test/c", token=token, acl=".r:*")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Swift realm="AUTH_test"')


def test_a_changed_token_is_refused(app):
    token = token_of(app)
    changed = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    assert ask(app, "/v1/AUTH_test/c", token=changed).status == 401


def test_the_old_name_of_the_token_header_is_read(app):
    assert ask(app, "/v1/AUTH_test/c", X_Storage_Token=token_of(app)).status == 200


# --- who may do what ------------------------------------------------------------------------------

ADMIN = ("test:tester", "testing")
PLAIN = ("test:reader", "reading")
STRANGER = ("test2:tester2", "testing2")
RESELLER = ("admin:admin", "admin")
AUDITOR = ("audit:audit", "audit")

MATRIX = [
    # who, method, path below /v1, the container's ACL, status
    (ADMIN, "GET", "AUTH_test", None, 200),
    (ADMIN, "POST", "AUTH_test", None, 200),
    (ADMIN, "PUT", "AUTH_test", None, 403),
    (ADMIN, "DELETE", "AUTH_test", None, 403),
    (ADMIN, "PUT", "AUTH_test/c", None, 200),
    (ADMIN, "DELETE", "AUTH_test/c/o", None, 200),
    (ADMIN, "GET", "AUTH_test2/c", None, 403),
    (ADMIN, "GET", "OTHER_test/c", None, 403),
    (PLAIN, "GET", "AUTH_test", None, 403),
    (PLAIN, "GET", "AUTH_test/c/o", None, 403),
    (PLAIN, "GET", "AUTH_test/c/o", "test", 200),
    (PLAIN, "GET", "AUTH_test/c/o", "test:reader", 200),
    (PLAIN, "GET", "AUTH_test/c/o", "test:other", 403),
    (STRANGER, "GET", "AUTH_test/c/o", "test2:tester2", 200),
    (STRANGER, "GET", "AUTH_test/c", ".r:*", 403),
    (STRANGER, "GET", "AUTH_test/c", ".r:*,.rlistings", 200),
    (RESELLER, "PUT", "AUTH_new", None, 200),
    (RESELLER, "DELETE", "AUTH_test", None, 200),
    (RESELLER, "GET", "AUTH_.internal", None, 403),
    (RESELLER, "GET", "AUTH_", None, 403),
    (RESELLER, "GET", "OTHER_x", None, 403),
    (AUDITOR, "GET", "AUTH_test/c/o", None, 200),
    (AUDITOR, "PUT", "AUTH_test/c/o", None, 403),
    (AUDITOR, "GET", "AUTH_.internal", None, 403),
    (None, "GET", "AUTH_test/c/o", None, 401),
    (None, "GET", "AUTH_test/c/o", ".r:*", 200),
    (None, "GET", "AUTH_test/c", ".r:*", 401),
    (None, "GET", "OTHER_test/c/o", ".r:*", 401),
    (None, "OPTIONS", "AUTH_test/c", None, 200),
    (None, "GET", "AUTH_test//o", None, 404),
]


@pytest.mark.parametrize(("who", "method", "path", "acl", "status"), MATRIX)
def test_who_may_do_what(app, who, method, path, acl, status):
    token = token_of(app, *who) if who else None
    assert ask(app, f"/v1/{path}", method, token, acl=acl).status == status


@pytest.mark.parametrize(
    ("who", "is_owner", "is_reseller"),
    [(ADMIN, True, False), (RESELLER, True, True), (AUDITOR, False, False)],
)
def test_admins_are_owners(app, proxy, who, is_owner, is_reseller):
    ask(app, "/v1/AUTH_test", token=token_of(app, *who))
    assert proxy.seen.get(OWNER, False) is is_owner
    assert proxy.seen.get(RESELLER_REQUEST, False) is is_reseller
    assert proxy.seen["swift.access_logging"] == {"user_id": who[0]}


@pytest.mark.parametrize(
    ("service_token_of", "status"),
    [(("glance:glance", "glance"), 200), (("test2:tester2", "testing2"), 403), (None, 403)],
)
def test_a_prefix_may_ask_for_a_group_of_a_service(make, service_token_of, status):
    app = make(reseller_prefix="AUTH, SERVICE", SERVICE_require_group=".service")
    headers = {"X_Service_Token": token_of(app, *service_token_of)} if service_token_of else {}
    token = token_of(app)
    assert ask(app, "/v1/SERVICE_test/c", token=token, **headers).status == status
    assert ask(app, "/v1/AUTH_test/c", token=token).status == 200


@pytest.mark.parametrize(("allow_overrides", "status"), [("yes", 200), ("no", 401)])
def test_trusted_filters_may_decide_instead(make, allow_overrides, status):
    made = Request.blank("/v1/AUTH_test/c/o")
    made.environ.update({"swift.authorize_override": True, AUTHORIZE: lambda request: None})
    assert made.call(make(allow_overrides=allow_overrides)).status == status


def test_a_sync_key_lets_another_cluster_in(app):
    made = Request.blank("/v1/AUTH_test/c/o", "PUT", {"X-Container-Sync-Key": "k", "X-Timestamp": "1"})
    made.environ["swift_sync_key"] = "k"
    assert made.call(app).status == 200


# --- account ACLs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "method", "path", "status", "is_owner"),
    [
        ("admin", "POST", "AUTH_test", 200, True),
        ("admin", "DELETE", "AUTH_test/c/o", 200, True),
        ("read-write", "GET", "AUTH_test", 200, False),
        ("read-write", "POST", "AUTH_test", 403, False),
        ("read-write", "PUT", "AUTH_test/c", 200, False),
        ("read-write", "PUT", "AUTH_test/c/o", 200, False),
        ("read-only", "GET", "AUTH_test/c/o", 200, False),
        ("read-only", "HEAD", "AUTH_test", 200, False),
        ("read-only", "PUT", "AUTH_test/c/o", 403, False),
        ("unknown", "GET", "AUTH_test", 403, False),
    ],
)
@pytest.mark.parametrize("grantee", ["test2:tester2", "test2"])
def test_account_acls_let_others_in(app, proxy, level, method, path, status, is_owner, grantee):
    proxy.account_acl = json.dumps({level: [grantee]})
    assert ask(app, f"/v1/{path}", method, token_of(app, *STRANGER)).status == status
    if status == 200:
        assert proxy.seen.get(OWNER, False) is is_owner


@pytest.mark.parametrize("stored", ["[]", "{", '{"admin": "test2"}', "\xff"])
def test_what_is_stored_and_no_acl_lets_nobody_in(app, proxy, stored):
    proxy.account_acl = stored
    assert ask(app, "/v1/AUTH_test", token=token_of(app, *STRANGER)).status == 403


def test_an_account_acl_is_stored_as_sysmeta(app, proxy):
    acl = '{"admin":["bob"]}'
    assert ask(app, "/v1/AUTH_test", "POST", token_of(app), X_Account_Access_Control=acl).status == 200
    assert proxy.seen["HTTP_X_ACCOUNT_SYSMETA_CORE_ACCESS_CONTROL"] == acl
    assert "HTTP_X_ACCOUNT_ACCESS_CONTROL" not in proxy.seen


def test_an_account_acl_that_is_none_is_refused_with_the_reason(app):
    answer = ask(app, "/v1/AUTH_test", "POST", token_of(app), X_Account_Access_Control='{"owner":[]}')
    assert answer.status == 400
    assert answer.read() == (
        b'X-Account-Access-Control invalid: Key "owner" not recognized\n\nInput: {"owner":[]}\n'
    )


# --- S3 -------------------------------------------------------------------------------------------


def s3_request(access_key, key, path=None, details="s3api.auth_details"):
    made = Request.blank(path or f"/v1/{access_key}/bucket/object")
    made.environ[details] = {"access_key": access_key, "check_signature": lambda secret: secret == key}
    return made


@pytest.mark.parametrize("details", ["s3api.auth_details", "swift3.auth_details"])
def test_a_signature_made_with_the_key_lets_in(app, proxy, details):
    assert s3_request("test:tester", "testing", details=details).call(app).status == 200
    assert proxy.seen["PATH_INFO"] == "/v1/AUTH_test/bucket/object"


@pytest.mark.parametrize(("access_key", "key"), [("test:tester", "wrong"), ("test:nobody", "testing")])
def test_any_other_signature_does_not(app, access_key, key):
    assert s3_request(access_key, key).call(app).status == 401


def test_details_without_a_way_to_check_let_nobody_in(app):
    made = Request.blank("/v1/test:tester/b")
    made.environ["s3api.auth_details"] = {"access_key": "test:tester", "signature": "x"}
    assert made.call(app).status == 401


# --- other auth systems in the pipeline -----------------------------------------------------------


def keystone_operator(path):
    made = Request.blank(path)
    made.environ.update(
        {
            "HTTP_X_IDENTITY_STATUS": "Confirmed",
            "HTTP_X_PROJECT_ID": "p",
            "HTTP_X_ROLES": "admin",
            "HTTP_X_AUTH_TOKEN": "gAAAA",
        }
    )
    return made


def test_each_auth_system_decides_for_its_own_accounts(make, proxy):
    app = keystoneauth.filter_factory({})(make(reseller_prefix="TEST"))
    token = token_of(app)
    assert token.startswith("TEST_")
    assert ask(app, "/v1/TEST_test/c", token=token).status == 200
    assert ask(app, "/v1/AUTH_p/c", token=token).status == 403
    assert keystone_operator("/v1/AUTH_p/c").call(app).status == 200
    assert keystone_operator("/v1/TEST_test/c").call(app).status == 403
    assert ask(app, "/v1/AUTH_p/c/o", acl=".r:*").status == 200
    assert ask(app, "/v1/TEST_test/c/o", acl=".r:*").status == 200
    assert ask(app, "/v1/OTHER_x/c/o", acl=".r:*").status == 401


def test_with_the_empty_prefix_others_go_first(make, proxy):
    app = make(reseller_prefix="''")
    assert ask(app, "/v1/test/c", token=token_of(app)).status == 200
    made = Request.blank("/v1/test/c", headers={"X-Auth-Token": "somebody-elses"})
    made.environ[AUTHORIZE] = lambda request: None
    assert made.call(app).status == 200
    assert ask(app, "/v1/test/c/o", token="somebody-elses").status == 401
    assert ask(app, "/v1/test/c/o", acl=".r:*").status == 200


# --- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"user_test": "key"},
        {"user_a_b_c": "key"},
        {"user_a_b": ""},
        {"user64_%%_a": "key"},
        {"user64_" + base64.b64encode(b"\xff").decode().rstrip("=") + "_YQ": "key"},
        {"fernet_key_a": "short"},
        {"active_fernet_key_id": "none"},
        {"token_life": "0"},
        {"auth_prefix": "/"},
        {"allow_overrides": "maybe"},
    ],
)
def test_a_section_that_makes_no_sense_is_refused_at_start(make, options):
    with pytest.raises(ConfigError):
        make(**options)


def test_the_filter_is_in_the_capabilities(app):
    assert info.get_swift_info()["tempauth"] == {"account_acls": True}


def test_logs_have_no_keys_and_no_tokens(app, caplog):
    caplog.set_level("DEBUG")
    token = token_of(app)
    ask(app, "/v1/AUTH_test2/c", token=token)
    ask(app, "/v1/AUTH_test/c", token=token[:-3] + "AAA")
    sign_in(app, key="guess")
    assert "refused" in caplog.text
    assert "guess" not in caplog.text
    assert "testing" not in caplog.text
    assert token[:20] not in caplog.text
