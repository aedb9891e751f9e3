"""Writes slowed down: by account, by container size, and refused when the wait would be too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.errors import ConfigError
from miniswift.info import get_swift_info
from miniswift.middleware import ratelimit
from miniswift.middleware.ratelimit import Ratelimit, RatelimitSettings, Rates
from miniswift.wsgi import CACHE, Request
from tests.unit.proxy.conftest import Store


class Counters:
    """The part of a memcached client that ratelimit uses."""

    def __init__(self):
        self.kept = {}

    def get(self, key):
        return None

    def set(self, key, value, serialize=True, time=0):
        self.kept[key] = int(value) if key.startswith("ratelimit") else value

    def delete(self, key):
        self.kept.pop(key, None)

    def incr(self, key, delta=1, time=0):
        self.kept[key] = max(self.kept.get(key, 0) + delta, 0)
        return self.kept[key]

    def decr(self, key, delta=1, time=0):
        return self.incr(key, -delta)


class Line:
    """A store behind the filter, and a clock that stands still but for the filter's sleeping."""

    def __init__(self, root, containers=(), listings=(), **options):
        self.store = Store(root)
        self.now = 1000.0
        self.slept = []
        self.counters = Counters()
        settings = RatelimitSettings.from_conf(options)
        self.app = Ratelimit(
            self.store.app, settings, Rates(containers), Rates(listings), lambda: self.now, self.sleep
        )
        self.store.request("PUT", "/v1/AUTH_a/c")

    def sleep(self, seconds):
        self.slept.append(round(seconds, 3))
        self.now += seconds

    def ask(self, method, path, **environ):
        request = Request.blank(path, method, {})
        request.environ.update({CACHE: self.counters, "swift_owner": True, **environ})
        response = request.call(self.app)
        response.read()
        return response.status


@pytest.fixture
def line(tmp_path):
    return lambda *args, **options: Line(tmp_path, *args, **options)


def test_containers_of_an_account_are_made_at_its_rate(line):
    line = line(account_ratelimit="2")
    assert [line.ask("PUT", f"/v1/AUTH_a/c{number}") for number in range(5)] == [201] * 5
    assert line.slept == [0.5] * 4


def test_other_requests_are_not_slowed_down(line):
    line = line(account_ratelimit="0.1")
    for _ in range(5):
        line.ask("GET", "/v1/AUTH_a/c")
        line.ask("PUT", "/v1/AUTH_a/c/o")
        line.ask("POST", "/v1/AUTH_a/c")
        line.ask("HEAD", "/v1/AUTH_a")
    assert line.slept == []


def test_objects_are_written_at_the_rate_of_their_container(line):
    line = line(containers=[(0, 10)])
    for _ in range(4):
        line.ask("PUT", "/v1/AUTH_a/c/o")
    assert line.slept == [0.1] * 3


def test_listings_have_rates_of_their_own(line):
    line = line(listings=[(0, 4)])
    for _ in range(3):
        line.ask("GET", "/v1/AUTH_a/c")
        line.ask("PUT", "/v1/AUTH_a/c/o")
    assert line.slept == [0.25] * 2


def test_who_would_wait_too_long_is_refused_at_once(line, caplog):
    line = line(account_ratelimit="1", max_sleep_time_seconds="2")
    line.sleep = lambda seconds: line.slept.append(seconds)  # everybody comes at the same time
    line.app._sleep = line.sleep
    statuses = [line.ask("PUT", f"/v1/AUTH_a/c{number}") for number in range(6)]
    assert statuses == [201, 201, 498, 498, 498, 498]
    assert "it would wait 2.00 s" in caplog.text


def test_idleness_is_made_up_for_within_the_buffer(line):
    line = line(account_ratelimit="1", rate_buffer_seconds="3")
    line.ask("PUT", "/v1/AUTH_a/c0")
    line.now += 3
    for number in range(3):
        line.ask("PUT", f"/v1/AUTH_a/d{number}")
    assert line.slept == []


@pytest.mark.parametrize(
    ("value", "statuses", "slept"),
    [
        ("WHITELIST", [201] * 4, []),
        ("BLACKLIST", [497] * 4, [1.0] * 4),
        ("2", [201] * 4, [0.5] * 3),
        ("nonsense", [201] * 4, []),
    ],
)
def test_an_account_may_have_a_rate_of_its_own(line, value, statuses, slept):
    line = line(account_ratelimit="0")
    line.store.request("POST", "/v1/AUTH_a", {"X-Account-Sysmeta-Global-Write-Ratelimit": value})
    assert [line.ask("PUT", f"/v1/AUTH_a/c/{number}") for number in range(4)] == statuses
    assert line.slept == slept


def test_lists_of_accounts_in_the_options(line):
    line = line(account_ratelimit="0.01", account_whitelist="AUTH_a, AUTH_b", account_blacklist="AUTH_x")
    assert line.ask("PUT", "/v1/AUTH_a/1") == line.ask("PUT", "/v1/AUTH_a/2") == 201
    assert line.ask("GET", "/v1/AUTH_x") == 497


def test_a_request_waits_once_even_if_two_filters_are_in_the_pipeline(line):
    line = line(account_ratelimit="1")
    line.app = Ratelimit(
        line.app, RatelimitSettings.from_conf({"account_ratelimit": "1"}), Rates([]), Rates([])
    )
    line.app._sleep = line.sleep
    line.app._clock = lambda: line.now
    for number in range(3):
        line.ask("PUT", f"/v1/AUTH_a/c{number}")
    assert line.slept == [1.0] * 2


def test_without_memcached_nothing_is_limited_and_that_is_said_once(line, caplog):
    line = line(account_ratelimit="0.01")
    for number in range(3):
        assert line.ask("PUT", f"/v1/AUTH_a/c{number}", **{CACHE: None}) == 201
    assert line.slept == []
    assert caplog.text.count("need memcached") == 1


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.floats(1, 100)), min_size=1, unique_by=lambda p: p[0]),
    st.integers(0, 2000),
)
def test_rates_between_two_sizes_lie_between_their_rates(points, size):
    rates = Rates(points)
    below = [point for point in rates.points if point[0] <= size]
    above = [point for point in rates.points if point[0] > size]
    rate = rates.at(size)
    if not below:
        assert rate == 0
    elif not above:
        assert rate == below[-1][1]
    else:
        low, high = sorted((below[-1][1], above[0][1]))
        assert low - 1e-9 <= rate <= high + 1e-9


def test_options_by_size_are_read_and_shown():
    conf = {
        "container_ratelimit_100": "50",
        "container_ratelimit_0": "100",
        "container_listing_ratelimit_5": "9",
    }
    ratelimit.filter_factory({}, account_ratelimit="3", **conf)
    assert get_swift_info()["ratelimit"] == {
        "account_ratelimit": 3.0,
        "max_sleep_time_seconds": 60.0,
        "container_ratelimits": [(0, 100.0), (100, 50.0)],
        "container_listing_ratelimits": [(5, 9.0)],
    }


@pytest.mark.parametrize(
    "name", ["container_ratelimit_many", "container_ratelimit_", "container_ratelimit_-"]
)
def test_a_size_that_is_none_is_a_bad_option(name):
    with pytest.raises(ConfigError, match=name):
        ratelimit.filter_factory({}, **{name: "1"})
