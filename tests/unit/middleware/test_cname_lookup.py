"""Hosts whose CNAME leads to a storage domain, with a name server that really answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from miniswift.errors import ConfigError
from miniswift.middleware import cname_lookup
from miniswift.responses import Response
from miniswift.wsgi import CACHE, Request

RECORDS = {
    "photos.example.org.": "c.auth-account.example.com.",
    "far.example.org.": "photos.example.org.",
    "loop.example.org.": "loop.example.org.",
    "elsewhere.example.org.": "www.example.net.",
}


class NameServer:
    """Answers for CNAMEs over UDP on the loopback address."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.asked: list[str] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            data, address = self.socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            name = query.question[0].name.to_text()
            self.asked.append(name)
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.AA
            if name in RECORDS:
                answer.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", RECORDS[name]))
            else:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self.socket.sendto(answer.to_wire(), address)

    def stop(self) -> None:
        self.socket.sendto(b"", ("127.0.0.1", self.port))
        self.thread.join(10)
        self.socket.close()


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.stop()


class Cache(dict):
    def set(self, key, value, time):
        self[key] = value


def inner(environ, start_response):
    """Says what Host it was given, and redirects there."""
    host = environ["HTTP_HOST"]
    return Response(200, {"Location": f"http://{host}/v1/"}, host.encode())(environ, start_response)


@pytest.fixture
def ask(server):
    def ask(host, cache=None, **options):
        conf = {"nameservers": f"127.0.0.1:{server.port}", **options}
        request = Request.blank("/o", "GET", {"Host": host})
        if cache is not None:
            request.environ[CACHE] = cache
        response = request.call(cname_lookup.filter_factory({}, **conf)(inner))
        response.body = [response.read()]
        return response

    return ask


def test_a_host_becomes_what_its_cname_says(ask):
    answer = ask("photos.example.org:8080")
    assert answer.read() == b"c.auth-account.example.com:8080"
    assert answer.headers["Location"] == "http://photos.example.org:8080/v1/"


@pytest.mark.parametrize(
    "host", ["c.account.example.com", "Account.Example.com:80", "127.0.0.1:80", "[::1]:80"]
)
def test_hosts_of_ours_and_addresses_are_not_looked_up(ask, server, host):
    assert ask(host).read() == host.encode()
    assert server.asked == []


@pytest.mark.parametrize(
    "host", ["none.example.org", "elsewhere.example.org", "loop.example.org", "far.example.org"]
)
def test_what_leads_nowhere_is_refused(ask, host, caplog):
    caplog.set_level("INFO")
    answer = ask(host)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "text/plain")
    assert f"host {host} refused" in caplog.text


def test_several_cnames_are_followed_if_the_depth_allows(ask):
    assert ask("far.example.org", lookup_depth="2").read() == b"c.auth-account.example.com"


def test_what_the_server_said_is_kept_refusals_too(ask, server):
    cache = Cache()
    for _ in range(3):
        ask("photos.example.org", cache)
        ask("none.example.org", cache)
    assert sorted(server.asked) == ["none.example.org.", "photos.example.org."]


def test_a_name_server_that_is_not_there_is_a_refusal_and_is_not_kept(ask, caplog):
    cache = Cache()
    assert ask("photos.example.org" * 30, cache).status == 400
    assert cache == {}


@pytest.mark.parametrize("servers", ["ns.example.org", "1.2.3.4:dns", "1.2.3.4:5:6"])
def test_name_servers_are_addresses(servers):
    with pytest.raises(ConfigError, match="nameservers"):
        cname_lookup.filter_factory({}, nameservers=servers)
