"""The memcached client, against a real memcached that is stopped and started again."""

import contextlib
import hashlib
import logging
import pickle
import socket
import threading
import time

import pytest

from miniswift.concurrency import GreenPool, sleep
from miniswift.middleware import memcached
from miniswift.middleware.memcached import CacheError, Limits, Memcached
from tests.unit.middleware.memcached_server import MemcachedServer, free_port


@pytest.fixture(scope="module")
def running():
    server = MemcachedServer()
    yield server
    server.stop()


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def disconnect(client):
    for server in set(client._servers):
        while server._idle.qsize():
            server._idle.get().connection.close_socket()


@pytest.fixture
def server(running):
    """An empty memcached, running at the start of the test."""
    if running._process is None:
        running.start()
    running.command("flush_all")
    return running


@pytest.fixture
def client_of(clock):
    clients = []

    def make(*addresses, **limits):
        clients.append(Memcached(addresses, Limits(**limits), clock))
        return clients[-1]

    yield make
    for client in clients:
        disconnect(client)


@pytest.fixture
def client(client_of, server):
    return client_of(server.address)


def hashed(key):
    return hashlib.md5(key.encode()).hexdigest()


@pytest.mark.parametrize("value", [{"a": [1, None, "☃"]}, [], 0, "text", True, 1.5, {}])
def test_what_is_set_is_got(client, value):
    client.set("key", value, time=60)
    assert client.get("key") == value


def test_a_missing_key_is_none(client):
    assert client.get("key") is None


def test_bytes_are_taken_for_text(client):
    client.set("key", "☃".encode())
    assert client.get("key") == "☃"


def test_keys_are_hashed_and_json_is_marked_as_swift_does(client, server):
    client.set("container/AUTH_test/c", {"bytes": 1})
    key = hashed("container/AUTH_test/c")
    assert server.command(f"get {key}") == f'VALUE {key} 2 12\r\n{{"bytes": 1}}\r\nEND\r\n'.encode()


def test_keys_need_not_be_text(client):
    client.set("a\udcff b\r\n", 1)
    assert client.get("a\udcff b\r\n") == 1


def test_a_value_can_be_kept_as_it_is(client):
    client.set("bytes", b"\0\xff", serialize=False)
    client.set("number", 5, serialize=False)
    assert (client.get("bytes"), client.get("number")) == (b"\0\xff", b"5")


def test_pickles_are_not_loaded(client, server):
    data = pickle.dumps("code")
    server.command(f"set {hashed('key')} 1 0 {len(data)}", data)
    assert client.get("key") is None
    assert client.get_multi(["key"], "key") == [None]


def test_broken_json_is_a_miss(client, server):
    server.command(f"set {hashed('key')} 2 0 3", b"{x}")
    assert client.get("key") is None
    client.set("key", 1)
    assert client.get("key") == 1


def test_what_is_deleted_is_gone(client):
    client.set("key", 1)
    client.delete("key")
    client.delete("key")
    assert client.get("key") is None


def test_counters(client):
    assert client.incr("n", 5, time=60) == 5
    assert client.incr("n") == 6
    assert client.decr("n", 2) == 4
    assert client.incr("n", -3) == 1
    assert client.decr("n", 9) == 0
    assert client.decr("other") == 0
    assert int(client.get("n")) == 0


def test_a_number_that_was_set_can_be_counted_on(client):
    client.set("n", 5)
    assert client.incr("n", 2) == 7
    assert client.get("n") == 7


def test_what_is_no_number_counts_from_the_start(client):
    client.set("n", "text")
    assert client.incr("n", 3) == 3
    assert client.get("n") == "text"


def test_several_at_once(client):
    client.set_multi({"a": 1, "b": [2], "☃": "c"}, "together", time=60)
    assert client.get_multi(["a", "none", "☃", "b"], "together") == [1, None, "c", [2]]
    client.set_multi({}, "together")
    assert client.get_multi([], "together") == []


def test_a_value_larger_than_memcached_takes_is_not_kept(client):
    client.set("key", "x" * 1024 * 1024)
    assert client.get("key") is None


@pytest.mark.parametrize(
    ("seconds", "sent"), [(0, 0), (60.9, 60), (2592000, 2592000), (2592001, 1700000000 + 2592001)]
)
def test_more_than_thirty_days_are_sent_as_a_date(monkeypatch, seconds, sent):
    monkeypatch.setattr(memcached.time, "time", lambda: 1700000000)
    assert memcached._ttl(seconds) == sent


# --- several servers ----------------------------------------------------------------------------------

# The servers of four that Swift tries for a key, in that order.
SWIFT_ORDER = [
    ("account/AUTH_test", [2, 3, 4]),
    ("container/AUTH_test/c", [4, 3, 1]),
    ("a", [1, 3, 4]),
    ("b", [4, 2, 3]),
    ("AUTH_/token/AUTH_tk1", [2, 4, 3]),
    ("☃", [2, 1, 4]),
]


@pytest.mark.parametrize(("key", "order"), SWIFT_ORDER)
def test_a_key_is_on_the_server_where_swift_looks(client_of, key, order):
    client = client_of(*[f"127.0.0.1:{number}" for number in (1, 2, 3, 4)])
    found = client._candidates(memcached._hashed(key))
    assert [int(server._address[-1]) for server in found] == order


def test_the_next_server_stands_in_for_a_dead_one(client_of, server):
    client = client_of(server.address, f"127.0.0.1:{free_port()}")
    for number in range(20):
        client.set(f"key{number}", number)
    assert [client.get(f"key{number}") for number in range(20)] == list(range(20))


# --- a server that is not there -----------------------------------------------------------------------


def test_a_dead_server_is_a_miss_and_one_line(client_of, caplog):
    address = f"127.0.0.1:{free_port()}"
    client = client_of(address)
    for _ in range(5):
        client.set("key", 1)
        client.delete("key")
        client.set_multi({"a": 1}, "a")
        assert client.get("key") is None
        assert client.get_multi(["a", "b"], "a") == [None, None]
        assert client.incr("n", 3) == 3
        assert client.decr("n", 3) == 0
    (line,) = caplog.messages
    assert line.startswith(f"memcached {address} is left alone for a while: ")


def test_a_failure_can_be_asked_for(client_of):
    client = client_of(f"127.0.0.1:{free_port()}")
    with pytest.raises(CacheError):
        client.get("key", raise_on_error=True)
    with pytest.raises(CacheError):
        client.set("key", 1, raise_on_error=True)


def test_a_server_that_comes_back_is_found_after_a_pause(client, server, clock, caplog):
    client.set("key", 1)
    server.stop()
    assert client.get("key") is None
    server.start()
    assert client.get("key") is None
    clock.now += 1
    client.set("key", 2)
    assert client.get("key") == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert caplog.messages[1] == f"memcached {server.address} answers again"


@pytest.mark.parametrize(
    "question",
    [
        lambda client: client.get("key"),
        lambda client: client.set("key", 1),
        lambda client: client.incr("n"),
        lambda client: client.delete("key"),
        lambda client: client.get_multi(["key"], "key"),
        lambda client: client.set_multi({"key": 1}, "key"),
    ],
)
def test_a_server_that_was_restarted_is_not_noticed(client, server, caplog, question):
    client.set("other", 1)
    server.stop()
    server.start()
    question(client)
    client.set("key", 2)
    assert client.get("key") == 2
    assert not caplog.messages


def test_a_server_rests_longer_after_too_many_failures(client_of, clock):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        client = client_of(f"127.0.0.1:{listener.getsockname()[1]}", error_limit=3, error_interval=60)
        (server,) = client._servers
        for _ in range(4):
            clock.now += 1
            client.get("key")
        assert server._failures == 4
        clock.now += 59
        client.get("key")
        assert server._failures == 4
        clock.now += 1
        client.get("key")
        assert server._failures == 5


@contextlib.contextmanager
def odd_server(answer):
    """A server that answers anything with `answer`, or not at all when that is None."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        while connection.recv(4096):
                            if answer is not None:
                                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_a_server_that_hangs_is_waited_for_once(client_of, caplog):
    with odd_server(None) as address:
        client = client_of(address, io_timeout=0.05)
        start = time.monotonic()
        for _ in range(10):
            assert client.get("key") is None
        assert time.monotonic() - start < 1
        assert caplog.messages == [f"memcached {address} is left alone for a while: timed out"]
        disconnect(client)


@pytest.mark.parametrize("answer", [b"VALUE x\r\nEND\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_of_something_else_is_a_miss(client_of, answer):
    with odd_server(answer) as address:
        client = client_of(address, io_timeout=0.05)
        assert client.get("key") is None
        assert client.incr("n", 3) == 3
        disconnect(client)


@pytest.mark.parametrize("address", ["", ":11211", "host:port", "[::1]:x"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match="not an address"):
        Memcached([address])


@pytest.mark.parametrize(
    ("address", "as_library"),
    [
        ("cache", "cache:11211"),
        ("10.0.0.1:1", "10.0.0.1:1"),
        ("[::1]:1", "inet6:[::1]:1"),
        ("[::1]", "inet6:[::1]:11211"),
        ("::1", "inet6:[::1]:11211"),
    ],
)
def test_addresses(address, as_library):
    assert memcached._library_address(address) == as_library


# --- connections --------------------------------------------------------------------------------------


def connections(server):
    line = next(line for line in server.command("stats").split(b"\r\n") if b"curr_connections" in line)
    return int(line.split()[2])


def test_green_threads_share_a_few_connections(client_of, server):
    client = client_of(server.address, max_connections=2)
    before = connections(server)
    pool = GreenPool(50)
    answers = []

    def work(number):
        client.set(f"key{number}", number)
        sleep(0)
        answers.append(client.get(f"key{number}") == number)

    for number in range(50):
        pool.spawn(work, number)
    pool.waitall()
    assert answers == [True] * 50
    assert connections(server) - before <= 2


def test_nobody_waits_long_for_a_connection(client_of, server):
    client = client_of(server.address, max_connections=1, pool_timeout=0.01)
    (pool,) = client._servers
    taken = pool._take()
    assert client.get("key") is None
    pool._idle.put(taken)
    client.set("key", 1)
    assert client.get("key") == 1
