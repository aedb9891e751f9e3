"""A profile of what requests cost, shown by the filter itself."""

from __future__ import annotations

import json
import pstats

import pytest
import yappi

from miniswift.errors import ConfigError
from miniswift.middleware import xprofile
from miniswift.responses import Response
from miniswift.wsgi import Request


def busy_work(environ, start_response):
    total = sum(number * number for number in range(20_000))
    return Response(200, {}, str(total))(environ, start_response)


@pytest.fixture
def ask(tmp_path):
    conf = {"log_filename_prefix": str(tmp_path / "profiles" / "p"), "dump_interval": "0"}
    app = xprofile.filter_factory({}, **conf)(busy_work)

    def ask(path, method="GET"):
        response = Request.blank(path, method, {}).call(app)
        response.body = [response.read()]
        return response

    yield ask
    yappi.stop()
    yappi.clear_stats()


def test_what_requests_cost_is_shown(ask):
    for _ in range(3):
        assert ask("/v1/AUTH_a/c/o").status == 200
    page = ask("/__profile__?sort=time")
    assert page.headers["Content-Type"].startswith("text/plain")
    assert "busy_work" in page.read().decode()


def test_it_can_be_had_as_json_and_as_a_file_for_pstats(ask, tmp_path):
    for _ in range(3):
        ask("/v1/AUTH_a/c/o")
    rows = json.loads(ask("/__profile__?format=json&limit=500").read())
    (row,) = [row for row in rows if row["function"] == "busy_work"]
    assert row["calls"] == 3
    file = tmp_path / "saved"
    file.write_bytes(ask("/__profile__?format=pstats").read())
    assert any(name == "busy_work" for _, _, name in pstats.Stats(str(file)).stats)


def test_it_can_be_forgotten(ask):
    ask("/v1/AUTH_a/c/o")
    assert ask("/__profile__", "DELETE").status == 204
    assert "busy_work" not in ask("/__profile__").read().decode()


@pytest.mark.parametrize("query", ["sort=beauty", "limit=many", "format=svg"])
def test_what_it_does_not_know_is_refused(ask, query):
    assert ask(f"/__profile__?{query}").status == 400
    assert ask("/__profile__", "PUT").status == 405


def test_a_clock_that_is_none_is_a_bad_option():
    with pytest.raises(ConfigError, match="clock"):
        xprofile.filter_factory({}, clock="sun")
