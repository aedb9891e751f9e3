"""catch_errors: transaction ids, the 500 of last resort, and bodies of the announced length."""

import logging
import re

import pytest

from miniswift import logs
from miniswift.concurrency import Timeout
from miniswift.middleware import catch_errors
from miniswift.middleware.catch_errors import BadResponseLength, CatchErrors
from miniswift.responses import FileBody, HTTPError, Response
from miniswift.wsgi import Request

TRANS_ID = re.compile(r"tx[0-9a-f]{21}-[0-9a-f]{10}")


def get(app, path="/v1/a/c/o", method="GET", headers=None):
    return Request.blank(path, method, headers).call(CatchErrors(app))


def answering(body, length=None):
    """An application whose answer has this body, and announces this length."""

    def app(environ, start_response):
        headers = [] if length is None else [("Content-Length", str(length))]
        start_response("200 OK", headers)
        return body

    return app


def raising(error):
    def app(environ, start_response):
        raise error

    return app


def test_every_answer_carries_a_transaction_id_under_both_names():
    response = get(Response(200, {}, b"hello"))
    trans_id = response.headers["X-Trans-Id"]
    assert TRANS_ID.fullmatch(trans_id)
    assert response.headers["X-Openstack-Request-Id"] == trans_id
    assert response.read() == b"hello"


def test_the_transaction_id_is_in_the_environ_and_in_log_lines():
    seen = {}

    def app(environ, start_response):
        seen["environ"] = environ["swift.trans_id"]
        seen["logs"] = logs.trans_id.get()
        return Response(204)(environ, start_response)

    trans_id = get(app).headers["X-Trans-Id"]
    assert seen == {"environ": trans_id, "logs": trans_id}


def test_ids_differ():
    assert len({get(Response(204)).headers["X-Trans-Id"] for _ in range(20)}) == 20


def test_a_client_may_add_to_the_id_but_not_much():
    response = get(Response(204), headers={"X-Trans-Id-Extra": "a b" + "x" * 40})
    assert re.fullmatch(TRANS_ID.pattern + r"-a%20b" + "x" * 29, response.headers["X-Trans-Id"])


def test_the_configured_suffix_comes_before_what_the_client_adds():
    app = catch_errors.filter_factory({}, trans_id_suffix="-east")(Response(204))
    response = Request.blank("/", headers={"X-Trans-Id-Extra": "me"}).call(app)
    assert re.fullmatch(TRANS_ID.pattern + "-east-me", response.headers["X-Trans-Id"])


@pytest.mark.parametrize("error", [RuntimeError("boom"), Timeout()])
def test_an_uncaught_error_is_a_500_with_a_traceback_in_the_log_only(caplog, error):
    response = get(raising(error))
    assert response.status == 500
    assert response.read() == b"An error occurred"
    assert response.headers["X-Trans-Id"]
    (record,) = caplog.records
    assert record.getMessage() == "uncaught error in GET /v1/a/c/o"
    assert record.exc_info[1] is error


def test_an_error_before_the_first_chunk_of_a_generator_is_a_500(caplog):
    def app(environ, start_response):
        raise RuntimeError
        yield b""

    assert get(app).status == 500


def test_an_error_after_the_start_of_the_answer_tells_the_server_so():
    calls = []

    def app(environ, start_response):
        start_response("200 OK", [])
        raise RuntimeError("late")

    def start_response(status, headers, exc_info=None):
        calls.append((status, exc_info and exc_info[1].args))

    body = CatchErrors(app)(Request.blank("/").environ, start_response)
    assert b"".join(body) == b"An error occurred"
    assert calls == [("200 OK", None), ("500 Internal Server Error", ("late",))]


def test_an_answer_that_was_raised_is_given(caplog):
    response = get(raising(HTTPError(412, "Bad URL")))
    assert (response.status, response.read()) == (412, b"Bad URL")
    assert response.headers["X-Trans-Id"]
    assert not caplog.records


def test_an_application_may_start_its_answer_with_the_first_chunk():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "2")])
        yield b"a"
        yield b"b"

    response = get(app)
    assert (response.status, response.read()) == (200, b"ab")
    assert response.headers["X-Trans-Id"]


@pytest.mark.parametrize("make", [list, iter])
def test_a_body_that_ends_too_early_is_an_error(make):
    body = get(answering(make([b"abc"]), 5)).body
    chunks = iter(body)
    assert next(chunks) == b"abc"
    with pytest.raises(BadResponseLength, match="ends 2 bytes before the 5"):
        next(chunks)


@pytest.mark.parametrize("make", [list, iter])
def test_a_body_that_goes_on_is_cut_and_an_error(make):
    chunks = iter(get(answering(make([b"abc", b"def"]), 5)).body)
    assert [next(chunks), next(chunks)] == [b"abc", b"de"]
    with pytest.raises(BadResponseLength, match="goes on after the 5"):
        next(chunks)


@pytest.mark.parametrize("length", [None, 6, "six"])
@pytest.mark.parametrize("make", [list, iter])
def test_a_body_of_the_announced_or_of_unknown_length_passes(make, length):
    assert get(answering(make([b"abc", b"def"]), length)).read() == b"abcdef"


def test_a_head_may_announce_a_length_without_a_body():
    response = get(answering([], 5), method="HEAD")
    assert (response.headers["Content-Length"], response.read()) == ("5", b"")


def test_a_head_with_a_body_is_an_error():
    with pytest.raises(BadResponseLength):
        get(answering(iter([b"abc"]), 3), method="HEAD").read()


def test_a_body_is_closed():
    class Body:
        closed = False

        def __iter__(self):
            return iter([b"a"])

        def close(self):
            self.closed = True

    body = Body()
    get(answering(body, 1)).close()
    assert body.closed


def test_a_list_that_fits_and_a_file_pass_untouched(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    body = FileBody((tmp_path / "f").open("rb"))
    assert get(answering(body, 3)).body is body
    body.close()
    chunks = [b"abc"]
    assert get(answering(chunks, 3)).body is chunks


def test_unknown_options_are_named(caplog):
    catch_errors.filter_factory({}, trans_id_sufix="x")
    assert "did you mean trans_id_suffix?" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
