"""tempauth beside authtoken and keystoneauth: each knows its own tokens, and decides for its own accounts."""

from __future__ import annotations

import pytest

from miniswift.middleware import authtoken, keystoneauth, tempauth
from miniswift.wsgi import Request
from tests.unit.middleware.keystone_server import Keystone, v3_body
from tests.unit.middleware.test_authtoken import new_options
from tests.unit.proxy.conftest import Store

ACCOUNTS = {"tempauth": "TEST_test", "keystone": "AUTH_p", "second prefix": "SERVICE_p"}


@pytest.fixture
def keystone():
    server = Keystone()
    server.tokens["owner-token"] = v3_body(roles=["swiftoperator"])
    server.tokens["reader-token"] = v3_body(roles=["Reader"])
    yield server
    server.stop()


class Shop:
    """A store with a private container `c` and a public one `open` in an account of each system."""

    def __init__(self, root, keystone, order):
        self.store = Store(root)
        for account in ACCOUNTS.values():
            for container, acl in (("c", ""), ("open", ".r:*")):
                path = f"/v1/{account}/{container}"
                assert self.store.request("PUT", path, {"X-Container-Read": acl}).status == 201
                assert self.store.request("PUT", f"{path}/o", {}, b"x").status == 201
        options = {**new_options(keystone), "delay_auth_decision": "true", "http_request_max_retries": "0"}
        filters = {
            "tempauth": tempauth.filter_factory(
                {}, reseller_prefix="TEST", user_test_tester="testing .admin", user_test_visitor="visiting"
            ),
            "keystone": lambda app: authtoken.make_filter(options, options)(
                keystoneauth.filter_factory({}, reseller_prefix="AUTH, SERVICE")(app)
            ),
        }
        self.app = self.store.app
        for name in reversed(order):
            self.app = filters[name](self.app)

    def status(self, who, where, container="c", method="GET"):
        headers = {"X-Auth-Token": self.token(who)} if who else {}
        path = f"/v1/{ACCOUNTS[where]}/{container}/o"
        response = Request.blank(path, method, headers).call(self.app)
        response.read()
        return response.status

    def token(self, who):
        if who in ("owner", "reader"):
            return f"{who}-token"
        key = {"tester": "testing", "visitor": "visiting"}[who]
        sign_in = {"X-Auth-User": f"test:{who}", "X-Auth-Key": key}
        response = Request.blank("/auth/v1.0", headers=sign_in).call(self.app)
        response.close()
        return response.headers["X-Auth-Token"]


@pytest.fixture(params=[("tempauth", "keystone"), ("keystone", "tempauth")], ids=" in front of ".join)
def shop(request, tmp_path, keystone):
    return Shop(tmp_path, keystone, request.param)


TABLE = [
    # who, in tempauth's account, keystone's, that of its second prefix
    ("tester", 200, (401, 403), (401, 403)),
    ("visitor", 403, (401, 403), (401, 403)),
    ("owner", 403, 200, 200),
    ("reader", 403, 403, 403),
    (None, 401, 401, 401),
]


@pytest.mark.parametrize(("who", "in_tempauth", "in_keystone", "in_second"), TABLE)
def test_owners_get_into_their_own_accounts_only(shop, who, in_tempauth, in_keystone, in_second):
    for where, expected in zip(ACCOUNTS, (in_tempauth, in_keystone, in_second), strict=True):
        status = shop.status(who, where)
        assert status == expected or status in (expected if isinstance(expected, tuple) else ()), where


@pytest.mark.parametrize("who", [None, "tester", "visitor", "owner", "reader"])
@pytest.mark.parametrize("where", ACCOUNTS)
def test_what_is_public_is_so_for_everybody(shop, who, where):
    assert shop.status(who, where, "open") == 200
    assert shop.status(who, where, "open", "DELETE") in (
        (204,) if shop.status(who, where) == 200 else (401, 403)
    )


def test_tempauth_in_front_needs_no_keystone(tmp_path, keystone):
    shop = Shop(tmp_path, keystone, ("tempauth", "keystone"))
    keystone.stop()
    assert shop.status("tester", "tempauth") == 200
    assert shop.status("owner", "keystone") == 503


def test_rubbish_is_refused_by_each(shop):
    for account in ACCOUNTS.values():
        for token in ("rubbish", "TEST_tkrubbish", "AUTH_tkrubbish"):
            request = Request.blank(f"/v1/{account}/c/o", headers={"X-Auth-Token": token})
            response = request.call(shop.app)
            response.close()
            assert response.status == 401, (account, token)
