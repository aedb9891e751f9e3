"""Who may do what with identities from Keystone: who, what, verdict, through a proxy of six lines."""

from __future__ import annotations

import pytest

from miniswift import info
from miniswift.middleware import keystoneauth
from miniswift.responses import Response
from miniswift.wsgi import ACL, AUTHORIZE, INFO_CACHE, OWNER, RESELLER_REQUEST, SYNC_KEY, Request

CONFIRMED = {"HTTP_X_IDENTITY_STATUS": "Confirmed"}


class TinyProxy:
    """Asks swift.authorize as Swift's proxy does, then answers; accounts are what the test says."""

    def __init__(self):
        self.accounts = {}  # name → sysmeta
        self.account_heads = 0
        self.seen = None

    def __call__(self, environ, start_response):
        if environ.get(info.INFO_ONLY):
            self.account_heads += 1
            account = environ["PATH_INFO"].split("/")[2]
            sysmeta = self.accounts.get(account)
            headers = {f"X-Account-Sysmeta-{name}": value for name, value in (sysmeta or {}).items()}
            return Response(204 if sysmeta is not None else 404, headers)(environ, start_response)
        self.seen = environ
        denial = environ[AUTHORIZE](Request(environ))
        answer = (
            denial if denial is not None else Response(200, {"X-Account-Sysmeta-Project-Domain-Id": "d1"})
        )
        return answer(environ, start_response)


@pytest.fixture
def proxy():
    return TinyProxy()


@pytest.fixture
def keystone(proxy):
    """Makes the filter in front of the tiny proxy: `keystone(option=value, …)`."""

    def make(**options):
        return keystoneauth.filter_factory({}, **options)(proxy)

    return make


def identity(
    roles="",
    user="u",
    project="p",
    domain=None,
    service_roles=None,
    version=3,
    user_name="un",
    project_name="pn",
):
    """The environ that authtoken leaves for a user."""
    environ = {
        **CONFIRMED,
        "HTTP_X_USER_ID": user,
        "HTTP_X_USER_NAME": user_name,
        "HTTP_X_PROJECT_ID": project,
        "HTTP_X_PROJECT_NAME": project_name,
        "HTTP_X_ROLES": roles,
        "keystone.token_info": {"token": {}} if version == 3 else {"access": {}},
    }
    if domain:
        environ |= {"HTTP_X_USER_DOMAIN_ID": domain, "HTTP_X_PROJECT_DOMAIN_ID": domain}
    if service_roles is not None:
        environ |= {"HTTP_X_SERVICE_IDENTITY_STATUS": "Confirmed", "HTTP_X_SERVICE_ROLES": service_roles}
    return environ


def request(path, method="GET", environ=None, acl=None, **headers):
    made = Request.blank(path, method)
    made.environ.update(environ or {})
    for name, value in headers.items():
        made.environ[f"HTTP_{name.upper()}"] = value
    if acl is not None:
        made.environ[ACL] = acl
    return made


def status_of(app, *args, **kwargs):
    return request(*args, **kwargs).call(app).status


OPERATOR = identity("swiftoperator")
MEMBER = identity("member")
READER = identity("member,Reader")
STRANGER = identity("admin", user="u2", project="p2", user_name="un2", project_name="pn2")
RESELLER = identity("ResellerAdmin", project="elsewhere")
AUDITOR = identity("auditor", project="elsewhere")
PROJECT_READER = identity("watcher")
ANONYMOUS = {}

OPTIONS = {"system_reader_roles": "auditor", "project_reader_roles": "watcher"}

# who, method, path below /v1, the container's ACL or None, status
MATRIX = [
    (OPERATOR, "GET", "AUTH_p", None, 200),
    (OPERATOR, "POST", "AUTH_p", None, 200),
    (OPERATOR, "PUT", "AUTH_p/c", None, 200),
    (OPERATOR, "DELETE", "AUTH_p/c/o", None, 200),
    (OPERATOR, "DELETE", "AUTH_p", None, 403),
    (OPERATOR, "GET", "AUTH_p2/c/o", None, 403),
    (OPERATOR, "GET", "OTHER_p/c/o", None, 403),
    (OPERATOR, "GET", "p/c/o", None, 403),
    (MEMBER, "GET", "AUTH_p", None, 403),
    (MEMBER, "GET", "AUTH_p/c/o", None, 403),
    (MEMBER, "GET", "AUTH_p/c/o", "member", 200),
    (MEMBER, "GET", "AUTH_p/c/o", "MEMBER", 200),
    (MEMBER, "PUT", "AUTH_p/c/o", "other,member", 200),
    (READER, "GET", "AUTH_p/c", "Reader", 200),
    (READER, "GET", "AUTH_p2/c", "Reader", 403),
    (STRANGER, "GET", "AUTH_p/c/o", None, 403),
    (STRANGER, "GET", "AUTH_p/c/o", "admin", 403),
    (STRANGER, "GET", "AUTH_p/c/o", "p2:u2", 200),
    (STRANGER, "GET", "AUTH_p/c/o", "p2:*", 200),
    (STRANGER, "GET", "AUTH_p/c/o", "*:u2", 200),
    (STRANGER, "GET", "AUTH_p/c/o", "*:*", 200),
    (STRANGER, "GET", "AUTH_p/c/o", "p:u2", 403),
    (STRANGER, "GET", "AUTH_p/c/o", "p2:u", 403),
    (STRANGER, "GET", "AUTH_p/c/o", ".r:*", 200),
    (STRANGER, "GET", "AUTH_p/c", ".r:*", 403),
    (STRANGER, "GET", "AUTH_p/c", ".r:*,.rlistings", 200),
    (MEMBER, "GET", "AUTH_p/c", ".r:*,member", 403),  # a referrer rule without .rlistings is a no
    (MEMBER, "GET", "AUTH_p/c/o", ".r:-unknown,member", 200),
    (OPERATOR, "GET", "AUTH_p/c", ".r:*", 200),
    (RESELLER, "DELETE", "AUTH_p", None, 200),
    (RESELLER, "PUT", "ANY_x/c/o", None, 200),
    (AUDITOR, "GET", "AUTH_p/c/o", None, 200),
    (AUDITOR, "HEAD", "OTHER_x", None, 200),
    (AUDITOR, "PUT", "AUTH_p/c/o", None, 403),
    (PROJECT_READER, "GET", "AUTH_p", None, 200),
    (PROJECT_READER, "HEAD", "AUTH_p/c/o", None, 200),
    (PROJECT_READER, "POST", "AUTH_p/c/o", None, 403),
    (PROJECT_READER, "GET", "AUTH_p2/c/o", None, 403),
    (ANONYMOUS, "GET", "AUTH_p", None, 401),
    (ANONYMOUS, "GET", "AUTH_p/c/o", None, 401),
    (ANONYMOUS, "GET", "AUTH_p/c/o", ".r:*", 200),
    (ANONYMOUS, "GET", "AUTH_p/c", ".r:*", 401),
    (ANONYMOUS, "GET", "AUTH_p/c", ".r:*,.rlistings", 200),
    (ANONYMOUS, "GET", "AUTH_p/c/o", "*:*", 401),
    (ANONYMOUS, "GET", "OTHER_p/c/o", ".r:*", 401),
    (ANONYMOUS, "OPTIONS", "AUTH_p/c/o", None, 200),
    (MEMBER, "OPTIONS", "AUTH_p2/c/o", None, 200),
    (ANONYMOUS, "OPTIONS", "OTHER_p", None, 200),
]


@pytest.mark.parametrize(("who", "method", "path", "acl", "status"), MATRIX)
def test_who_may_do_what(keystone, who, method, path, acl, status):
    assert status_of(keystone(**OPTIONS), f"/v1/{path}", method, who, acl) == status


@pytest.mark.parametrize("path", ["/v1//c", "/v1/AUTH_p//o", "/"])
def test_a_path_that_names_nothing_is_not_found(keystone, path):
    assert status_of(keystone(), path, environ=OPERATOR) == 404
    assert status_of(keystone(), path) == 404


def test_a_refusal_challenges_only_those_who_are_not_signed_in(keystone):
    answer = request('/v1/AUTH_p"x/c').call(keystone())
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Swift realm="AUTH_p%22x"'
    assert "WWW-Authenticate" not in request("/v1/AUTH_p/c", environ=MEMBER).call(keystone()).headers


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({**OPERATOR, "HTTP_X_IDENTITY_STATUS": "Invalid"}, 401),
        ({**OPERATOR, "HTTP_X_SERVICE_IDENTITY_STATUS": "Invalid"}, 401),
        ({**OPERATOR, "HTTP_X_SERVICE_IDENTITY_STATUS": "Confirmed"}, 200),
    ],
)
def test_only_confirmed_identities_count(keystone, environ, status):
    assert status_of(keystone(), "/v1/AUTH_p", environ=environ) == status


# --- owners and what others are told --------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "path", "is_owner"),
    [
        (OPERATOR, "AUTH_p/c", True),
        (RESELLER, "AUTH_p/c", True),
        (AUDITOR, "AUTH_p/c", False),
        (PROJECT_READER, "AUTH_p/c", False),
        (STRANGER, "AUTH_p/c", False),
    ],
)
def test_operators_and_resellers_are_owners(keystone, proxy, who, path, is_owner):
    request(f"/v1/{path}", environ=who, acl="p2:u2").call(keystone(**OPTIONS))
    assert proxy.seen.get(OWNER, False) is is_owner


def test_ownership_does_not_outlive_the_request_it_was_granted_for(keystone, proxy):
    made = request("/v1/AUTH_p2/c/o", environ={**MEMBER, OWNER: True})
    made.call(keystone())
    assert OWNER not in proxy.seen


def test_the_identity_is_told_to_others(keystone, proxy):
    who = identity("a, b", domain="d", service_roles="s", user_name="Jürgen".encode().decode("latin-1"))
    request("/v1/AUTH_p", environ=who).call(keystone())
    assert proxy.seen["keystone.identity"] == {
        "user": ("u", "Jürgen"),
        "tenant": ("p", "pn"),
        "roles": ["a", "b"],
        "service_roles": ["s"],
        "user_domain": ("d", None),
        "project_domain": ("d", None),
        "auth_version": 3,
    }
    assert proxy.seen["REMOTE_USER"] == ("p", "pn")
    assert proxy.seen["swift.access_logging"] == {"user_id": "u"}
    assert RESELLER_REQUEST not in proxy.seen


def test_v2_tokens_have_no_domains(keystone, proxy):
    request("/v1/AUTH_p", environ=identity(domain="forged", version=2)).call(keystone())
    seen = proxy.seen["keystone.identity"]
    assert (seen["auth_version"], seen["user_domain"], seen["project_domain"]) == (
        2,
        (None, None),
        (None, None),
    )


def test_old_header_names_are_read(keystone):
    old = {**CONFIRMED, "HTTP_X_TENANT_ID": "p", "HTTP_X_TENANT_NAME": "pn", "HTTP_X_ROLES": "admin"}
    assert status_of(keystone(), "/v1/AUTH_p", environ=old) == 200


def test_reseller_admins_are_announced(keystone, proxy):
    request("/v1/AUTH_p", environ=RESELLER).call(keystone())
    assert proxy.seen[RESELLER_REQUEST] is True


def test_acls_are_cleaned_by_the_filter(keystone, proxy):
    request("/v1/AUTH_p").call(keystone())
    assert proxy.seen["swift.clean_acl"]("X-Container-Read", ":Reader, bob") == "Reader,bob"


@pytest.mark.parametrize(("allow_overrides", "status"), [("true", 200), ("false", 401)])
def test_trusted_filters_may_decide_instead(proxy, keystone, allow_overrides, status):
    app = keystone(allow_overrides=allow_overrides)
    trusted = {"swift.authorize_override": True, AUTHORIZE: lambda request: None}
    assert status_of(app, "/v1/AUTH_p", environ=trusted) == status


# --- container sync -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "sent", "stamp", "status"),
    [
        ("k", "k", "1", 200),
        ("k", "other", "1", 401),
        ("k", "k", None, 401),
        ("k", None, "1", 401),
        (None, "k", "1", 401),
        ("", "", "1", 401),
    ],
)
def test_a_sync_key_lets_another_cluster_in(keystone, key, sent, stamp, status):
    made = request("/v1/AUTH_p/c/o", "PUT", {SYNC_KEY: key} if key is not None else {})
    if sent is not None:
        made.headers["X-Container-Sync-Key"] = sent
    if stamp:
        made.headers["X-Timestamp"] = stamp
    assert made.call(keystone()).status == status


# --- reseller prefixes ----------------------------------------------------------------------------

SERVICE_OPTIONS = {
    "reseller_prefix": "AUTH, SERVICE_",
    "operator_roles": "admin",
    "SERVICE_operator_roles": "backupper",
    "SERVICE_service_roles": "service",
}


@pytest.mark.parametrize(
    ("roles", "service_roles", "account", "status"),
    [
        ("admin", None, "AUTH_p", 200),
        ("backupper", None, "AUTH_p", 403),
        ("swiftoperator", None, "AUTH_p", 403),
        ("backupper", "service", "SERVICE_p", 200),
        ("Backupper", "x,SERVICE", "SERVICE_p", 200),
        ("backupper", None, "SERVICE_p", 403),
        ("backupper", "other", "SERVICE_p", 403),
        ("admin", "service", "SERVICE_p", 403),
    ],
)
def test_each_prefix_has_its_own_roles(keystone, roles, service_roles, account, status):
    who = identity(roles, service_roles=service_roles)
    assert status_of(keystone(**SERVICE_OPTIONS), f"/v1/{account}", environ=who) == status


@pytest.mark.parametrize(
    ("prefixes", "account", "status"),
    [
        ("''", "p", 200),
        ("''", "AUTH_p", 403),
        ("AUTH, ''", "p", 200),
        ("AUTH, ''", "AUTH_p", 200),
        ("AUTH, ''", "OTHER_p", 403),
        ("", "p", 200),
        ("A,B", "B_p", 200),
    ],
)
def test_prefixes_may_be_many_or_empty(keystone, prefixes, account, status):
    assert status_of(keystone(reseller_prefix=prefixes), f"/v1/{account}", environ=OPERATOR) == status


def test_the_empty_prefix_has_rules_of_its_own(keystone):
    app = keystone(**{"reseller_prefix": "AUTH,''", "''operator_roles": "bare"})
    assert status_of(app, "/v1/p", environ=identity("bare")) == 200
    assert status_of(app, "/v1/AUTH_p", environ=identity("bare")) == 403


def test_a_project_without_an_id_owns_nothing(keystone):
    assert status_of(keystone(), "/v1/AUTH_", environ=identity("admin", project="")) == 403


# --- names in ACLs, and domains -------------------------------------------------------------------

NAMES = [
    # domain of user and project, sysmeta of the account (None: does not exist), status
    ("default", {}, 200),
    ("default", {"Project-Domain-Id": "default"}, 200),
    ("default", {"Project-Domain-Id": "d2"}, 403),
    ("default", {"Project-Domain-Id": "_unknown"}, 403),
    ("default", None, 403),
    ("d2", {}, 403),
    (None, {}, 200),
]


@pytest.mark.parametrize(("domain", "sysmeta", "status"), NAMES)
@pytest.mark.parametrize("acl", ["pn2:un2", "pn2:*", "*:un2", "p2:un2", "pn2:u2"])
def test_names_count_in_the_default_domain_only(keystone, proxy, domain, sysmeta, status, acl):
    if sysmeta is not None:
        proxy.accounts["AUTH_p"] = sysmeta
    who = identity("x", "u2", "p2", domain, user_name="un2", project_name="pn2")
    assert status_of(keystone(), "/v1/AUTH_p/c/o", environ=who, acl=acl) == status


def test_names_may_be_switched_off(keystone, proxy):
    proxy.accounts["AUTH_p"] = {}
    app = keystone(allow_names_in_acls="false")
    assert status_of(app, "/v1/AUTH_p/c/o", environ=STRANGER, acl="pn2:un2") == 403
    assert status_of(app, "/v1/AUTH_p/c/o", environ=STRANGER, acl="p2:u2") == 200


def test_names_count_within_ones_own_project(keystone, proxy):
    assert (
        status_of(keystone(), "/v1/AUTH_p/c/o", environ=identity("x", domain="default"), acl="pn:un") == 200
    )
    assert proxy.account_heads == 0


def test_names_are_compared_as_text(keystone, proxy):
    proxy.accounts["AUTH_p"] = {}
    who = identity("x", "u2", "p2", user_name="Jürgen".encode().decode("latin-1"), project_name="pn2")
    assert status_of(keystone(), "/v1/AUTH_p/c/o", environ=who, acl="pn2:J%C3%BCrgen") == 200


def test_the_account_is_looked_up_only_when_names_match(keystone, proxy):
    request("/v1/AUTH_p/c/o", environ=STRANGER, acl="other:name,p2:u2").call(keystone())
    assert proxy.account_heads == 0


NOTED = [
    # who, method, path, the account's sysmeta (None: does not exist), what is noted
    (identity("admin", domain="d1"), "PUT", "AUTH_p", None, "d1"),
    (identity("admin", domain="d1"), "PUT", "AUTH_p/c", None, "d1"),
    (identity("admin", domain="d1"), "POST", "AUTH_p", {}, None),
    (identity("admin", domain="default"), "POST", "AUTH_p", {}, "default"),
    (identity("admin", domain="d1"), "POST", "AUTH_p", {"Project-Domain-Id": "_unknown"}, "d1"),
    (identity("admin"), "POST", "AUTH_p", {"Project-Domain-Id": "_unknown"}, ""),
    (identity("admin", domain="d1"), "POST", "AUTH_p", {"Project-Domain-Id": "d2"}, None),
    (identity("admin"), "PUT", "AUTH_p", None, None),
    (RESELLER, "PUT", "AUTH_p", None, "_unknown"),
    (RESELLER, "POST", "AUTH_p", {"Project-Domain-Id": "_unknown"}, None),
    (identity("admin", domain="d1"), "PUT", "AUTH_p/c/o", None, None),
    (identity("admin", domain="d1"), "POST", "AUTH_p/c", None, None),
    (identity("admin", domain="d1"), "GET", "AUTH_p", None, None),
]


@pytest.mark.parametrize(("who", "method", "path", "sysmeta", "noted"), NOTED)
def test_an_account_remembers_its_projects_domain(keystone, proxy, who, method, path, sysmeta, noted):
    if sysmeta is not None:
        proxy.accounts["AUTH_p"] = sysmeta
    made = request(f"/v1/{path}", method, who)
    made.call(keystone())
    assert made.environ.get("HTTP_X_ACCOUNT_SYSMETA_PROJECT_DOMAIN_ID") == noted


def test_the_domain_is_shown_with_the_account_only(keystone):
    app = keystone()
    assert request("/v1/AUTH_p", environ=OPERATOR).call(app).headers["X-Account-Project-Domain-Id"] == "d1"
    assert "X-Account-Project-Domain-Id" not in request("/v1/AUTH_p/c", environ=OPERATOR).call(app).headers


def test_the_account_is_asked_for_once_a_request(keystone, proxy):
    made = request("/v1/AUTH_p", "PUT", identity("admin", domain="d1"))
    made.environ[INFO_CACHE] = {}
    app = keystone()
    made.call(app)
    made.call(app)
    assert proxy.account_heads == 1
