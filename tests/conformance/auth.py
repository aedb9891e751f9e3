"""The two ways in which a store may know the users of Swift's sample `test.conf`.

`tempauth` has them in proxy-server.conf. `keystone` is the store as a user gets it: the identity service has
them, added by `miniswift user add`; there the tests of roles and domains run too, which skip themselves
with tempauth. Options on which tests come in two kinds, for true and for false, differ between the two.
"""

from __future__ import annotations

import configparser
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.functional.cluster import BIN, ServeProcess, set_options

TEMPAUTH_USERS = {
    "user_admin_admin": "admin .admin .reseller_admin",
    "user_test_tester": "testing .admin",
    "user_test_tester2": "testing2 .admin",
    "user_test_tester3": "testing3",
    "user_test2_tester2": "testing2 .admin",
    "user_test5_tester5": "testing5 service",
    "user_test_tester6": "testing6 .reseller_admin",
}
# (name, project, role, domain); the password of testerN is testingN
KEYSTONE_USERS = [
    ("tester", "test", "swiftoperator", "default"),
    ("tester2", "test2", "swiftoperator", "default"),
    ("tester2", "test", "swiftoperator", "default"),
    ("tester3", "test", "anotherrole", "default"),
    ("tester4", "test4", "swiftoperator", "test-domain"),
    ("tester5", "test5", "service", "default"),
    ("tester6", "test", "ResellerAdmin", "default"),
]


@dataclass(frozen=True)
class Tempauth:
    name: str = "tempauth"

    def prepare(self, root: Path) -> None:
        """Change a root that `serve` made and that nobody serves now."""
        conf = root / "etc/proxy-server.conf"
        parser = configparser.RawConfigParser()
        parser.read(conf)
        pipeline = parser["pipeline:main"]["pipeline"].split()
        names = ["tempauth" if name == "keystoneauth" else name for name in pipeline if name != "authtoken"]
        set_options(conf, "pipeline:main", pipeline=" ".join(names))
        add_optional_filters(conf)
        prefixes = {"reseller_prefix": "AUTH, SERVICE", "SERVICE_require_group": "service"}
        set_options(conf, "filter:tempauth", use="egg:miniswift#tempauth", **prefixes, **TEMPAUTH_USERS)
        set_options(conf, "app:proxy-server", allow_account_management="true", allow_open_expired="true")

    def url(self, store: ServeProcess) -> str:
        """Where users of version 1 sign in."""
        return f"{store.url}/auth/v1.0"

    def test_conf(self, store: ServeProcess) -> str:
        """What the tests are told of it."""
        return f"auth_uri = {self.url(store)}\n"


@dataclass(frozen=True)
class Keystone:
    name: str = "keystone"

    def prepare(self, root: Path) -> None:
        """Change a root that `serve` made and that nobody serves now."""
        identities = root / "etc/identity.yaml"
        content = yaml.safe_load(identities.read_text())
        content["domains"].append({"id": "testdomain", "name": "test-domain"})
        identities.write_text(yaml.safe_dump(content))
        for name, project, role, domain in KEYSTONE_USERS:
            password = name.replace("tester", "testing")
            command = [BIN / "miniswift", "user", "add", name, "--project", project, "--role", role]
            command += ["--domain", domain, "--password", password, "--root", root]
            subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
        conf = root / "etc/proxy-server.conf"
        add_optional_filters(conf)
        # Some tests send a user's token as a service's, to see that it does not help.
        set_options(conf, "filter:authtoken", service_token_roles_required="false")
        roles = {"SERVICE_operator_roles": "swiftoperator", "SERVICE_service_roles": "service"}
        set_options(conf, "filter:keystoneauth", reseller_prefix="AUTH, SERVICE", **roles)
        set_options(conf, "app:proxy-server", allow_account_management="false", allow_open_expired="false")

    def url(self, store: ServeProcess) -> str:
        """Where users of version 1 sign in."""
        return f"http://127.0.0.1:{store.identity_port}/auth/v1.0"

    def test_conf(self, store: ServeProcess) -> str:
        """What the tests are told of it."""
        return (
            f"auth_version = 3\nauth_uri = http://127.0.0.1:{store.identity_port}/v3/\nregion = RegionOne\n"
            "account4 = test4\nusername4 = tester4\npassword4 = testing4\ndomain4 = test-domain\n"
        )


def add_optional_filters(conf: Path) -> None:
    """Put filters that the tests ask for, and that `serve` does without, where they belong."""
    parser = configparser.RawConfigParser()
    parser.read(conf)
    pipeline = f" {' '.join(parser['pipeline:main']['pipeline'].split())} "
    pipeline = pipeline.replace(" cache ", " cache domain_remap etag-quoter ")
    pipeline = pipeline.replace(" copy ", " copy container-quotas account-quotas ")
    set_options(conf, "pipeline:main", pipeline=pipeline.strip())
    for name in ("domain_remap", "etag-quoter", "container-quotas", "account-quotas"):
        set_options(conf, f"filter:{name}", use=f"egg:miniswift#{name.replace('-', '_')}")


Auth = Tempauth | Keystone
AUTHS: dict[str, Auth] = {auth.name: auth for auth in (Tempauth(), Keystone())}
