"""The store under test: `miniswift serve` as its first start makes it, but with the users of Swift's sample.

Beyond the users the tests want a second storage policy and a second reseller prefix, whose accounts need a
service token. Everything else stays as a user gets it.
"""

from __future__ import annotations

import configparser
import shutil
from pathlib import Path

from tests.functional.cluster import ServeProcess, made_root, set_options

USERS = {
    "user_admin_admin": "admin .admin .reseller_admin",
    "user_test_tester": "testing .admin",
    "user_test_tester2": "testing2 .admin",
    "user_test_tester3": "testing3",
    "user_test2_tester2": "testing2 .admin",
    "user_test5_tester5": "testing5 service",
    "user_test_tester6": "testing6 .reseller_admin",
}


def make_store(root: Path, workers: int = 2) -> ServeProcess:
    """The store, made and not yet started."""
    process = made_root(root, workers=workers)
    etc = root / "etc"
    _use_tempauth(etc / "proxy-server.conf")
    _add_policy(etc)
    return process


def _use_tempauth(conf: Path) -> None:
    parser = configparser.RawConfigParser()
    parser.read(conf)
    pipeline = parser["pipeline:main"]["pipeline"].split()
    names = ["tempauth" if name == "keystoneauth" else name for name in pipeline if name != "authtoken"]
    set_options(conf, "pipeline:main", pipeline=" ".join(names))
    prefixes = {"reseller_prefix": "AUTH, SERVICE", "SERVICE_require_group": "service"}
    set_options(conf, "filter:tempauth", use="egg:miniswift#tempauth", **prefixes, **USERS)
    set_options(conf, "app:proxy-server", allow_open_expired="true")


def _add_policy(etc: Path) -> None:
    set_options(etc / "swift.conf", "storage-policy:1", name="silver", policy_type="replication")
    shutil.copy(etc / "object.ring.gz", etc / "object-1.ring.gz")
