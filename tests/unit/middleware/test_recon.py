"""/recon: what a monitor learns of a storage server's machine."""

from __future__ import annotations

import json
import threading
from hashlib import md5

import pytest

from miniswift import recon_cache
from miniswift.middleware import recon
from miniswift.responses import Response
from miniswift.wsgi import Request
from tests.unit.proxy.conftest import Store


def through(environ, start_response):
    return Response(200, {}, b"through")(environ, start_response)


class Server:
    def __init__(self, root):
        self.root = root
        self.store = Store(root, devices=2)
        (root / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = changeme\n")
        self.cache = root / "cache"
        self.cache.mkdir()
        self.app = recon.filter_factory(
            {},
            devices=str(self.store.devices),
            mount_check="false",
            swift_dir=str(root),
            recon_cache_path=str(self.cache),
        )(through)

    def ask(self, path, method="GET"):
        response = Request.blank(path, method, {}).call(self.app)
        response.body = [response.read()]
        return response

    def json(self, path):
        answer = self.ask(f"/recon/{path}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        return json.loads(answer.read())


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


def test_what_daemons_noted_is_told(server):
    recon_cache.dump(str(server.cache), "object", {"async_pending": 3, "async_pending_last": 1.5, "other": 1})
    assert server.json("async") == {"async_pending": 3, "async_pending_last": 1.5}
    assert server.json("expirer/object") == {"object_expiration_pass": None, "expired_last_pass": None}
    assert server.json("replication") == server.json("replication/object")


@pytest.mark.parametrize("path", sorted(recon._CACHED))
def test_every_cached_path_answers_before_any_daemon_ran(server, path):
    assert set(server.json(path).values()) == {None}


def test_the_machine_is_looked_at(server):
    assert "MemTotal" in server.json("mem")
    assert set(server.json("load")) == {"1m", "5m", "15m", "tasks", "processes"}
    assert {"tcp_in_use", "time_wait"} <= set(server.json("sockstat"))
    assert any(mount["path"] == "/" for mount in server.json("mounted"))
    assert server.json("time") > 1e9
    assert server.json("version")["version"]


def test_devices_are_looked_at(server):
    assert server.json("devices") == {str(server.store.devices): ["d0", "d1"]}
    usage = server.json("diskusage")
    assert [row["device"] for row in usage] == ["d0", "d1"]
    assert usage[0]["size"] >= usage[0]["used"] + usage[0]["avail"] > 0
    assert server.json("unmounted") == []


def test_devices_that_are_no_mounts_are_named(tmp_path):
    server = Server(tmp_path)
    app = recon.filter_factory({}, devices=str(server.store.devices), swift_dir=str(tmp_path))(through)
    answer = Request.blank("/recon/unmounted", "GET", {}).call(app)
    assert json.loads(answer.read()) == [{"device": name, "mounted": False} for name in ("d0", "d1")]


def test_quarantined_things_are_counted(server):
    for kind, names in (("objects", "ab"), ("objects-1", "c"), ("containers", "d"), ("accounts", "")):
        for name in names:
            (server.store.devices / "d1" / "quarantined" / kind / name).mkdir(parents=True)
    assert server.json("quarantined") == {
        "objects": 3, "containers": 1, "accounts": 0, "policies": {"0": {"objects": 2}, "1": {"objects": 1}},
    }  # fmt: skip


def test_rings_and_swift_conf_have_sums(server):
    ring = server.root / "account.ring.gz"
    assert server.json("ringmd5")[str(ring)] == md5(ring.read_bytes()).hexdigest()
    conf = server.root / "swift.conf"
    assert server.json("swiftconfmd5") == {str(conf): md5(conf.read_bytes()).hexdigest()}


def test_unknown_paths_and_methods_are_refused(server):
    answer = server.ask("/recon/nothing")
    assert (answer.status, answer.read()) == (404, b"Invalid path: /recon/nothing")
    assert server.ask("/recon/mem", "PUT").status == 405
    assert server.ask("/sda/1/a/c/o").read() == b"through"


def test_a_device_folder_that_is_gone_is_a_500_without_a_traceback(server):
    server.store.devices.rename(server.root / "away")
    assert server.ask("/recon/devices").read() == b"Internal server error."


# --- the cache ---------------------------------------------------------------------------------------


def test_daemons_do_not_take_each_others_notes_away(tmp_path):
    threads = [
        threading.Thread(target=recon_cache.dump, args=(str(tmp_path), "object", {f"k{number}": number}))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recon_cache.load(recon_cache.cache_file(str(tmp_path), "object")) == {
        f"k{n}": n for n in range(20)
    }


def test_a_garbled_file_is_begun_anew(tmp_path):
    (tmp_path / "object.recon").write_text("{")
    recon_cache.dump(str(tmp_path), "object", {"a": 1})
    assert recon_cache.load(recon_cache.cache_file(str(tmp_path), "object")) == {"a": 1}


def test_a_folder_that_is_not_there_stops_nobody(tmp_path):
    recon_cache.dump(str(tmp_path / "none"), "object", {"a": 1})
