"""Infos, and that no worker ever shows an old one after a change."""

from __future__ import annotations

import json
import os

import pytest

from miniswift import concurrency
from miniswift.cluster import Policy
from miniswift.info import (
    InfoCache,
    VersionTable,
    account_info,
    container_info,
    get_account_info,
    get_container_info,
    get_swift_info,
    register_swift_info,
)
from miniswift.responses import Headers, Response
from miniswift.wsgi import CACHE, INFO_CACHE, blank_environ


class Memcache:
    """The part of a memcache client that infos use."""

    def __init__(self):
        self.kept = {}

    def get(self, key):
        return self.kept.get(key)

    def set(self, key, value, serialize=True, time=0):
        self.kept[key] = value

    def delete(self, key):
        self.kept.pop(key, None)


@pytest.fixture
def environ():
    return blank_environ("/v1/AUTH_a/c/o", "GET", {})


def test_an_entry_is_found_until_its_time_is_over(environ):
    now = [0.0]
    cache = InfoCache(clock=lambda: now[0])
    cache.set("account/a", {"status": 200}, cache.version("account/a"), 60, environ)
    assert cache.get("account/a", {}) == {"status": 200}
    now[0] = 61
    assert cache.get("account/a", {}) is None


def test_a_change_in_another_process_is_seen_at_once():
    table = VersionTable()
    cache = InfoCache(table)
    cache.set("container/a/c", {"status": 200}, cache.version("container/a/c"), 60, {})
    child = concurrency.fork()
    if not child:
        InfoCache(table).forget("container/a/c", {})
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get("container/a/c", {}) is None


def test_an_answer_older_than_a_change_is_not_kept():
    cache = InfoCache()
    version = cache.version("container/a/c")
    cache.forget("container/a/c", {})  # a write is committed while the back end answers with the old state
    cache.set("container/a/c", {"status": 200, "read_acl": "old"}, version, 60, {})
    assert cache.get("container/a/c", {}) is None


def test_stamps_of_one_bucket_never_repeat():
    table = VersionTable()
    stamps = set()
    for _ in range(1000):
        table.stamp("k")
        stamps.add(table.read("k"))
    assert len(stamps) == 1000


def test_the_oldest_entries_make_room():
    cache = InfoCache(max_entries=2)
    for name in "abc":
        cache.set(name, {"status": 200}, cache.version(name), 60, {})
    assert [cache.get(name, {}) is None for name in "abc"] == [True, False, False]


def test_with_memcached_the_local_entry_lives_a_second():
    now = [0.0]
    memcache = Memcache()
    environ = {"swift.cache": memcache}
    cache = InfoCache(clock=lambda: now[0])
    cache.set("account/a", {"status": 200}, cache.version("account/a"), 60, environ)
    memcache.kept["account/a"] = {"status": 404}  # another host's proxy
    now[0] = 0.5
    assert cache.get("account/a", {"swift.cache": memcache}) == {"status": 200}
    now[0] = 1.5
    assert cache.get("account/a", {"swift.cache": memcache}) == {"status": 404}


def test_container_info_has_what_filters_read():
    info = container_info(
        204,
        Headers(
            {
                "X-Container-Read": ".r:*",
                "X-Container-Object-Count": "7",
                "X-Container-Bytes-Used": "70",
                "X-Container-Meta-Temp-URL-Key": "k",
                "X-Container-Meta-Access-Control-Allow-Origin": "*",
                "X-Container-Sysmeta-Quota": "1",
                "X-Backend-Storage-Policy-Index": "2",
            }
        ),
    )
    assert (info["status"], info["read_acl"], info["write_acl"]) == (204, ".r:*", None)
    assert (info["object_count"], info["bytes"], info["storage_policy"]) == (7, 70, "2")
    assert info["meta"]["temp-url-key"] == "k"
    assert info["sysmeta"] == {"quota": "1"}
    assert info["cors"]["allow_origin"] == "*"


def test_a_fake_account_listing_does_not_make_the_account_exist():
    assert account_info(204, Headers({"X-Account-Container-Count": "3"}))["account_really_exists"]
    fake = Headers({"X-Backend-Fake-Account-Listing": "yes"})
    assert not account_info(204, fake)["account_really_exists"]


def test_a_filter_asks_down_the_pipeline_once_and_preauthed(environ):
    asked = []

    def app(environ, start_response):
        asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["swift.authorize_override"]))
        return Response(204, Headers({"X-Container-Read": "r"}), [])(environ, start_response)

    assert get_container_info(environ, app)["read_acl"] == "r"
    assert get_container_info(environ, app)["read_acl"] == "r"
    assert asked == [("HEAD", "/v1/AUTH_a/c", True)]


def test_disallowed_sections_are_for_the_admin():
    register_swift_info("a_filter", shown=1, hidden=2)
    assert get_swift_info(disallowed=("a_filter.hidden",))["a_filter"] == {"shown": 1}
    assert "a_filter" not in get_swift_info(disallowed=("a_filter",))
    assert get_swift_info(admin=True)["a_filter"] == {"shown": 1, "hidden": 2}


def test_infos_are_text_as_in_swift():
    headers = Headers({"X-Account-Meta-Temp-Url-Key": "cl\xc3\xa9", "X-Account-Meta-Odd": "\xff"})
    assert account_info(200, headers)["meta"] == {"temp-url-key": "clé", "odd": "\udcff"}


def test_an_info_that_a_real_swift_left_in_the_environ_is_found_by_its_text_and_has_numbers():
    environ = blank_environ("/v1/AUTH_%C3%A9", "GET", {})
    policies = {"1": {"bytes": 3}}
    swifts = {"status": 200, "container_count": None, "bytes": "12", "storage_policies": policies}
    environ[INFO_CACHE] = {"account/AUTH_é": swifts}
    info = get_account_info(environ, lambda *_: pytest.fail("nobody need be asked"))
    assert (info["bytes"], info["container_count"]) == (12, 0)
    assert info["storage_policies"] == {1: {"bytes": 3}}


def test_policies_are_numbers_again_after_memcached():
    cache, memcache = InfoCache(), Memcache()
    info = account_info(200, Headers(), [Policy(1, "gold")])
    memcache.set("account/a", json.loads(json.dumps(info)))
    assert cache.get("account/a", {CACHE: memcache}) == info
