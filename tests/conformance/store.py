"""The store under test: `miniswift serve` as its first start makes it, plus what the tests expect to find.

That is users, a second storage policy, and a second reseller prefix, whose accounts need a service token.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.auth import Auth
from tests.functional.client import Client
from tests.functional.cluster import ServeProcess, made_root, set_options
from tests.interop.clusters import SWIFT_BIN


def make_store(root: Path, auth: Auth, workers: int = 2) -> ServeProcess:
    """The store, made and not yet started."""
    process = made_root(root, workers=workers)
    auth.prepare(root)
    _add_policy(root / "etc")
    return process


def make_accounts(store: ServeProcess, auth: Auth) -> None:
    """Make the two accounts that most tests use.

    One test expects 204 to a HEAD, and Swift too answers 200 until something was written: in the whole suite
    other tests have done that before, in a part of it perhaps not.
    """
    for user, key in (("test:tester", "testing"), ("test2:tester2", "testing2")):
        with Client.login((auth.url(store), user, key)) as client:
            assert client.post().status == 204


def use_swifts_filters(store: ServeProcess, names: Sequence[str]) -> None:
    """Put filters of a real Swift in the place of ours: the stopped store then runs where Swift is."""
    conf = store.root / "etc/proxy-server.conf"
    for name in names:
        factory = f"swift.common.middleware.{name}:filter_factory"
        set_options(conf, f"filter:{name}", use=None, **{"paste.filter_factory": factory})
    if names:
        store.command[0] = str(SWIFT_BIN / "miniswift")


def _add_policy(etc: Path) -> None:
    set_options(etc / "swift.conf", "storage-policy:1", name="silver", policy_type="replication")
    shutil.copy(etc / "object.ring.gz", etc / "object-1.ring.gz")
