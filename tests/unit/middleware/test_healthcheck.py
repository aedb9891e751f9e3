"""healthcheck: up, out of service, and everybody else's paths."""

import pytest

from miniswift.middleware import healthcheck
from miniswift.responses import Response
from miniswift.wsgi import Request


def ask(path="/healthcheck", method="GET", **conf):
    app = healthcheck.filter_factory({}, **conf)(Response(299, {}, b"the application"))
    response = Request.blank(path, method).call(app)
    return response.status, response.read()


@pytest.mark.parametrize(("method", "body"), [("GET", b"OK"), ("HEAD", b""), ("OPTIONS", b"OK")])
def test_a_server_in_service_says_ok(method, body):
    assert ask(method=method) == (200, body)


def test_a_file_takes_the_server_out_of_service(tmp_path):
    switch = tmp_path / "disabled"
    assert ask(disable_path=str(switch)) == (200, b"OK")
    switch.touch()
    assert ask(disable_path=str(switch)) == (503, b"DISABLED BY FILE")


@pytest.mark.parametrize("path", ["/", "/healthcheck/", "/v1/healthcheck", "/HEALTHCHECK"])
def test_other_paths_pass(path):
    assert ask(path)[0] == 299
