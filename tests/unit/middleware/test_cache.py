"""The cache filter: where its client comes from, and that a pipeline works without one."""

import pytest

from miniswift.errors import ConfigError
from miniswift.middleware import cache
from miniswift.responses import Response
from miniswift.wsgi import Request
from tests.unit.middleware.memcached_server import MemcachedServer


@pytest.fixture(scope="module")
def server():
    server = MemcachedServer()
    yield server
    server.stop()


def client_in(app):
    """The client that a request finds in its environ."""
    request = Request.blank("/")
    request.call(app)
    return request.environ.get("swift.cache")


def close(client):
    for server in client._servers:
        while server._idle.qsize():
            server._idle.get().connection.close_socket()


def test_requests_find_a_working_client(server):
    client = client_in(cache.filter_factory({}, memcache_servers=server.address)(Response(204)))
    client.set("key", [1])
    assert client.get("key") == [1]
    close(client)


def test_all_requests_share_the_client():
    app = cache.filter_factory({}, memcache_servers="127.0.0.1:1, 127.0.0.1:2")(Response(204))
    assert client_in(app) is client_in(app)


def test_without_servers_there_is_no_filter(tmp_path):
    app = Response(204)
    assert cache.filter_factory({"swift_dir": str(tmp_path)})(app) is app


def test_servers_may_stand_in_memcache_conf(tmp_path, server):
    (tmp_path / "memcache.conf").write_text(
        f"[memcache]\nmemcache_servers = {server.address}\nmemcache_max_connections = 7\nio_timeout = 9\n"
    )
    client = client_in(cache.filter_factory({"swift_dir": str(tmp_path)}, io_timeout="5")(Response(204)))
    limits = client._servers[0]._limits
    assert (limits.max_connections, limits.io_timeout) == (7, 5)
    client.set("key", 1)
    assert client.get("key") == 1
    close(client)


def test_memcache_conf_is_not_read_when_the_section_says_all(tmp_path):
    (tmp_path / "memcache.conf").write_text("[memcache]\nio_timeout = 9\n")
    conf = {"memcache_servers": "127.0.0.1:1", "memcache_max_connections": "0"}
    client = client_in(cache.filter_factory({"swift_dir": str(tmp_path)}, **conf)(Response(204)))
    limits = client._servers[0]._limits
    assert (limits.max_connections, limits.io_timeout) == (2, 2.0)


@pytest.mark.parametrize(
    ("conf", "problem"),
    [
        ({"memcache_servers": "host:port"}, "memcache_servers: 'host:port' is not an address"),
        ({"memcache_servers": "a", "io_timeout": "soon"}, "io_timeout: expected a number of seconds"),
        ({"memcache_servers": "a", "tls_enabled": "yes", "tls_cafile": "/none"}, "tls_cafile"),
    ],
)
def test_options_that_cannot_be_are_named(conf, problem):
    with pytest.raises(ConfigError, match=problem):
        cache.filter_factory({}, **conf)


def test_a_broken_memcache_conf_is_named(tmp_path):
    (tmp_path / "memcache.conf").write_text("memcache_servers = a\n")
    with pytest.raises(ConfigError, match=r"memcache\.conf: cannot be read"):
        cache.filter_factory({"swift_dir": str(tmp_path)})


def test_tls_is_taken_up():
    client = client_in(cache.filter_factory({}, memcache_servers="a", tls_enabled="yes")(Response(204)))
    assert client._servers[0]._limits.tls is not None
