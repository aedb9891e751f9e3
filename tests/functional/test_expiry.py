"""An object's last second: readers miss it at once, disk and listing after one pass of the expirer."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.functional.client import Client
from tests.functional.cluster import BIN, ServeProcess
from tests.functional.processes import wait_until


def test_an_expired_object_goes(scratch: Path) -> None:
    options = ["--without", "expirer"]
    with (
        ServeProcess(scratch / "data", devices=3, replicas=3, options=options) as store,
        Client.login(store.auth) as client,
    ):
        client.put("/c")
        assert client.put("/c/o", b"content", {"X-Delete-After": "1"}).status == 201
        assert client.get("/c/o").status == 200
        wait_until(lambda: client.get("/c/o").status == 404, what="the object's last second")
        assert [row["name"] for row in client.listing("/c")] == ["o"]  # as in Swift, until it is removed
        wait_until(lambda: "1 objects expired" in one_pass(store.root), what="the queue to be known")
        assert client.listing("/c") == []
        assert list(store.root.glob("devices/**/*.data")) == []


def one_pass(root: Path) -> str:
    command = [BIN / "miniswift", "expirer", "--once", "--root", root]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr
