"""Devices that get more requests than they shall: 529, and the proxy goes elsewhere."""

from __future__ import annotations

import pytest

from miniswift.errors import ConfigError
from miniswift.middleware.backend_ratelimit import BackendRatelimit, filter_factory
from miniswift.responses import Response
from miniswift.wsgi import Request
from tests.faults.transport import FaultyTransport
from tests.unit.proxy.conftest import Store


def through(environ, start_response):
    return Response(200, {}, b"")(environ, start_response)


class Server:
    """A storage server's filter, and its clock."""

    def __init__(self, **conf):
        self.now = 0.0
        self.filter = BackendRatelimit(through, conf, lambda: self.now)

    def ask(self, method="GET", path="/sda/7/a/c/o"):
        return Request.blank(path, method, {}).call(self.filter).status


def test_a_device_gets_so_many_requests_a_second_and_no_more(tmp_path):
    server = Server(
        swift_dir=str(tmp_path), requests_per_device_per_second="2", requests_per_device_rate_buffer="0"
    )
    assert [server.ask() for _ in range(2)] == [200, 529]
    server.now += 0.5
    assert [server.ask("PUT"), server.ask("GET")] == [200, 529]
    assert server.ask(path="/sdb/7/a/c/o") == 200


def test_a_method_may_have_a_limit_of_its_own(tmp_path):
    conf = {"swift_dir": str(tmp_path), "requests_per_device_rate_buffer": "0"}
    server = Server(**conf, put_requests_per_device_per_second="1")
    assert [server.ask("PUT"), server.ask("PUT"), server.ask("GET"), server.ask("GET")] == [
        200,
        529,
        200,
        200,
    ]


@pytest.mark.parametrize("path", ["/healthcheck", "/recon/mem", "/sda/part/a", "/"])
def test_what_is_for_no_device_passes(tmp_path, path):
    server = Server(swift_dir=str(tmp_path), requests_per_device_per_second="0.001")
    assert [server.ask(path=path) for _ in range(3)] == [200] * 3


def test_the_file_comes_before_the_filters_options_and_is_read_again(tmp_path, caplog):
    caplog.set_level("INFO")
    file = tmp_path / "backend-ratelimit.conf"
    conf = {"swift_dir": str(tmp_path), "requests_per_device_rate_buffer": "0"}
    server = Server(**conf, requests_per_device_per_second="1")
    assert [server.ask(), server.ask()] == [200, 529]
    file.write_text("[backend_ratelimit]\nrequests_per_device_per_second = 0\n")
    server.now += 61
    assert [server.ask() for _ in range(5)] == [200] * 5
    file.write_text("[backend_ratelimit]\nrequests_per_device_per_second = soon\n")
    server.now += 61
    assert server.ask() == 200
    assert "the limits stay as they are" in caplog.text
    file.unlink()
    server.now += 61
    assert server.ask() == 200


def test_a_bad_option_is_said_at_once():
    with pytest.raises(ConfigError, match="requests_per_device_per_second"):
        filter_factory({}, requests_per_device_per_second="many")


def test_the_proxy_goes_to_another_node_and_lets_none_rest(tmp_path):
    store = Store(tmp_path, devices=3, replicas=3, transport=FaultyTransport)
    store.request("PUT", "/v1/AUTH_a/c")
    store.request("PUT", "/v1/AUTH_a/c/o", {}, b"content")
    store.transport.fault = lambda *_: Response(529, {}, b"")
    store.transport.places = [(port, device) for port in (6200, 6201) for device in ("d0", "d1")]
    for _ in range(30):  # more than error_suppression_limit
        assert store.request("GET", "/v1/AUTH_a/c/o").read() == b"content"
    store.transport.fault = None
    store.transport.asked.clear()
    assert store.request("PUT", "/v1/AUTH_a/c/o", {}, b"content").status == 201
    assert len([place for place in store.transport.asked if place[0] in (6200, 6201)]) >= 3
