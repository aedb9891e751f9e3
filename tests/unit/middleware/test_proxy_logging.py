"""The access log: what a line says, who writes it, and what became of the request."""

import io
import logging
import os
import socket
import time

import pytest

from miniswift.errors import ClientDisconnected, ConfigError
from miniswift.logs import ACCESS_LOGGER
from miniswift.middleware import proxy_logging
from miniswift.middleware.proxy_logging import ProxyLogging
from miniswift.responses import FileBody, HTTPError, Response
from miniswift.wsgi import Request


@pytest.fixture
def lines(caplog):
    """The access log's lines so far."""
    caplog.set_level(logging.INFO, ACCESS_LOGGER)

    class Lines(list):
        def __iter__(self):
            return (record.getMessage() for record in caplog.records if record.name == ACCESS_LOGGER)

        def __getitem__(self, index):
            return list(self)[index]

    return Lines()


@pytest.fixture(autouse=True)
def logger_as_it_was():
    logger = logging.getLogger(ACCESS_LOGGER)
    yield
    for handler in list(logger.handlers):
        handler.close()
        logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def logged(app, template=None, **conf):
    conf |= {"log_msg_template": template} if template else {}
    return proxy_logging.filter_factory({}, **conf)(app)


def request(method="GET", path="/v1/AUTH_t/c/o", headers=None, body=b"", **environ):
    made = Request.blank(path, method, headers, body)
    made.environ.update({"REMOTE_ADDR": "10.1.2.3", "swift.trans_id": "tx1-2"})
    made.environ.update({"HTTP_HOST": "swift.example.com:8080"} | environ)
    return made


def serve(app, made):
    """Call as a server does: send the whole body, then close it."""
    response = made.call(app)
    response.read()
    return response


def test_the_default_line_has_swifts_fields_in_their_order(lines):
    headers = {
        "User-Agent": "curl/7 (x)",
        "Referer": "http://a/?b",
        "X-Auth-Token": "AUTH_tk0123456789abcdef",
    }
    made = request("PUT", "/v1/AUTH_t/c/o?x=1", headers | {"Etag": "e"}, b"hello")

    def app(environ, start_response):
        environ["wsgi.input"].read()
        answer = Response(201, {"X-Backend-Storage-Policy-Index": "1"}, b"ok!")
        return answer(environ, start_response)

    before = time.time()
    serve(logged(app), made)
    fields = lines[0].split(" ")
    date, duration, start, end = fields[2], fields[15], fields[18], fields[19]
    assert before - 0.001 < float(start) <= float(end) < time.time() + 0.001
    assert date in [time.strftime("%d/%b/%Y/%H/%M/%S", time.gmtime(t)) for t in (before, time.time())]
    assert float(duration) == pytest.approx(float(end) - float(start), abs=0.0001)
    del fields[18:20], fields[15], fields[2]
    assert " ".join(fields) == (
        "10.1.2.3 10.1.2.3 PUT /v1/AUTH_t/c/o%3Fx%3D1 HTTP/1.1 201 http://a/%3Fb curl/7%20%28x%29 "
        "AUTH_tk012345678... 5 3 e tx1-2 - - - 1 -"
    )


# Each line was compared with that of Swift's own proxy-logging.
@pytest.mark.parametrize(
    ("made", "template", "line"),
    [
        (
            request(path="/v1/a/c/sp%20ace:%E2%98%83?q=a%20b"),
            "{path}",
            "/v1/a/c/sp%2520ace%253A%25E2%2598%2583%3Fq%3Da%2520b",
        ),
        (request(path="/v1/a/c/%00%ff"), "{path}", "/v1/a/c/%2500%25FF"),
        (request(), "{account} {container} {object} {domain}", "AUTH_t c o swift.example.com"),
        (request(path="/v1.0/a/c/"), "{account} {container} {object}", "a c -"),
        (request(path="/healthcheck"), "{account} {container} {object} {path}", "- - - /healthcheck"),
        (
            request(path="/bucket/key", **{"swift.backend_path": "/v1/AUTH_s3/bucket/key"}),
            "{account} {container} {object} {path}",
            "AUTH_s3 bucket key /bucket/key",
        ),
        (
            request(headers={"X-Forwarded-For": "1.2.3.4, 5.6.7.8"}),
            "{client_ip} {remote_addr}",
            "1.2.3.4 10.1.2.3",
        ),
        (request(headers={"X-Cluster-Client-Ip": "9.9.9.9"}), "{client_ip}", "9.9.9.9"),
        (
            request(**{"swift.log_info": ["a b", "c:d"], "swift.source": "SW"}),
            "{log_info} {source}",
            "a%20b%2Cc:d SW",
        ),
        (request(**{"swift.access_logging": {"user_id": "me you"}}), "{access_user_id}", "me%20you"),
        (request("PUT", **{"swift.orig_req_method": "COPY"}), "{method}", "COPY"),
        (request(**{"swift.proxy_logging_status": 418}), "{status_int} {wire_status_int}", "418 200"),
        (
            request(path="/v1/a?temp_url_sig=0123456789abcdef01234&t=1"),
            "{path}",
            "/v1/a%3Ftemp_url_sig%3D0123456789abcdef...%26t%3D1",
        ),
        (
            request(path="/v1/a?temp%5furl_sig=0123456789abcdef01234"),
            "{path}",
            "/v1/a%3Ftemp%255furl_sig%3D0123456789abcdef...",
        ),
        (request(headers={"X-Auth-Token": "short"}), "{auth_token}", "short"),
        (request(), "{path.anonymized}", "{MD5}239992b298a54cf673a14c08a9a6c40a"),
        (request(), "{referer.anonymized} {referer}", "- -"),
        (request(), "{ttfb:.0f}|{pid}", f"0|{os.getpid()}"),
        (request("HEAD"), "{ttfb} literal", "- literal"),
    ],
)
def test_fields(lines, made, template, line):
    serve(logged(Response(200, {}, b"hello"), template), made)
    assert lines[0] == line


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("", "1700000000.123456955"),
        (".datetime", "14/Nov/2023/22/13/20"),
        (".iso8601", "2023-11-14T22:13:20"),
        (".asctime", "Tue%20Nov%2014%2022:13:20%202023"),
        (".s", "1700000000"),
        (".ms", "123"),
        (".us", "123456"),
        (".ns", "123456955"),
        (".Y", "2023"),
        (".b", "Nov"),
    ],
)
def test_times(lines, monkeypatch, part, text):
    monkeypatch.setattr(proxy_logging.time, "time", lambda: 1700000000.123457)
    serve(logged(Response(200), f"{{end_time{part}}} {{start_time{part}}}"), request())
    assert lines[0] == f"{text} {text}"


def test_a_salt_is_marked(lines):
    conf = {"log_anonymization_method": "SHA256", "log_anonymization_salt": "pepper"}
    serve(logged(Response(200), "{account.anonymized}", **conf), request(path="/v1/a"))
    assert lines[0] == "{SSHA256}fb8da7c36f20f5b8ba6d0bc9a48de23ded12995435364e39efb226ed8e81cce6"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("log_msg_template", "{no_such_field}"),
        ("log_msg_template", "{method.anonymized}"),
        ("log_msg_template", "{end_time.Q}"),
        ("log_msg_template", "{path!r}"),
        ("log_msg_template", "{path"),
        ("log_anonymization_method", "rot13"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused_at_start(option, value):
    with pytest.raises(ConfigError, match=option):
        logged(Response(200), **{option: value})


def test_headers_are_logged_where_asked_with_tokens_cut(lines):
    headers = {"X-Auth-Token": "0123456789abcdefghi", "Authorization": "AWS key:0123456789abc", "X-B": "b"}
    made = request(headers=headers)
    made.environ.pop("HTTP_HOST")
    serve(logged(Response(200), "{headers}", log_headers="yes"), made)
    assert lines[0] == (
        "X-Auth-Token:%200123456789abcdef...%0AAuthorization:%20AWS%20key:01234567...%0AX-B:%20b"
    )


def test_only_some_headers_are_logged_where_asked(lines):
    conf = {"access_log_headers": "yes", "access_log_headers_only": "x-b, Host"}
    serve(logged(Response(200), "{headers}", **conf), request(headers={"X-B": "b", "X-C": "c"}))
    assert sorted(lines[0].split("%0A")) == ["Host:%20swift.example.com:8080", "X-B:%20b"]


def test_how_much_of_a_token_is_shown_can_be_said(lines):
    made = request(headers={"X-Auth-Token": "0123456789"})
    serve(logged(Response(200), "{auth_token}", reveal_sensitive_prefix="0"), made)
    assert lines[0] == "..."


# --- who logs ---------------------------------------------------------------------------------------


def test_a_request_is_logged_once_by_the_outer_of_two(lines):
    serve(logged(logged(Response(200), "inner"), "outer"), request())
    assert list(lines) == ["outer"]


def test_a_subrequest_is_logged_by_the_inner_of_two(lines):
    inner = logged(Response(200, {}, b"index"), "inner {method} {path} {source}")

    def website(environ, start_response):
        made = request(path="/v1/AUTH_t/c/index.html", **{"swift.source": "SW"})
        return Response(200, {}, serve(inner, made).body)(environ, start_response)

    serve(logged(website, "outer {path}"), request())
    assert list(lines) == ["inner GET /v1/AUTH_t/c/index.html SW", "outer /v1/AUTH_t/c/o"]


def test_nothing_is_counted_or_marked_while_the_log_is_off():
    logging.getLogger(ACCESS_LOGGER).setLevel(logging.WARNING)
    made = request("PUT", body=b"x")
    body = made.environ["wsgi.input"]
    serve(ProxyLogging(Response(200)), made)
    assert made.environ["wsgi.input"] is body
    assert "swift.proxy_access_log_made" not in made.environ


def test_the_level_can_switch_the_log_off(lines):
    serve(logged(Response(200), access_log_level="WARNING"), request())
    assert list(lines) == []


def test_the_log_can_go_somewhere_else(tmp_path):
    address = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(address)
        conf = {
            "access_log_name": "access",
            "access_log_address": address,
            "access_log_facility": "LOG_LOCAL3",
        }
        serve(logged(Response(200), "{method}", **conf, access_log_level="INFO"), request())
        line = syslog.recv(1000).decode()
    assert line.startswith(f"<{19 * 8 + 6}>")
    assert "access[" in line
    assert "GET" in line


# --- what became of it ----------------------------------------------------------------------------------

OUTCOME = "{status_int} {wire_status_int} {bytes_recvd} {bytes_sent}"


def test_a_body_in_chunks_is_logged_when_it_was_sent(lines):
    response = request().call(logged(Response(200, {}, iter([b"ab", b"cde"])), OUTCOME))
    chunks = iter(response.body)
    next(chunks)
    assert list(lines) == []
    assert b"".join(chunks) == b"cde"
    response.close()
    response.close()
    assert list(lines) == ["200 200 - 5"]


def test_a_client_that_leaves_during_the_answer_is_a_499(lines):
    response = request().call(logged(Response(200, {}, iter([b"ab", b"cde"])), OUTCOME))
    next(iter(response.body))
    response.close()
    assert list(lines) == ["499 200 - 2"]


def test_a_body_that_fails_is_a_500(lines):
    def chunks():
        yield b"ab"
        raise RuntimeError

    response = request().call(logged(Response(200, {}, chunks()), OUTCOME))
    with pytest.raises(RuntimeError):
        response.read()
    response.close()
    assert list(lines) == ["500 200 - 2"]


@pytest.mark.parametrize(("sent", "status"), [(5, 200), (2, 499)])
def test_a_file_is_not_wrapped_and_logged_when_it_was_sent(lines, tmp_path, sent, status):
    (tmp_path / "f").write_bytes(b"hello")
    body = FileBody((tmp_path / "f").open("rb"))
    response = request().call(logged(Response(200, {}, body), OUTCOME))
    assert response.body is body
    body.sent = sent
    body.close()
    assert list(lines) == [f"{status} 200 - {sent}"]


def test_a_head_sends_nothing(lines):
    app = logged(Response(200, {"Content-Length": "5"}, b"hello"), OUTCOME)
    request("HEAD").call(app)
    assert list(lines) == ["200 200 - -"]


def test_the_unasked_body_of_a_head_is_no_disconnect(lines):
    def app(environ, start_response):
        start_response("200 OK", [])
        return iter([])

    request("HEAD").call(logged(app, OUTCOME)).close()
    assert list(lines) == ["200 200 - -"]


def test_what_is_read_is_counted(lines):
    def app(environ, start_response):
        body = environ["wsgi.input"]
        assert (body.read(2), body.readline(), list(body)) == (b"ab", b"c\n", [b"d\n", b"e"])
        assert body.getvalue() == b"abc\nd\ne"  # whatever else the server's input can do
        return Response(201, {}, b"")(environ, start_response)

    serve(logged(app, OUTCOME), request("PUT", body=b"abc\nd\ne"))
    assert lines[0] == "201 201 7 -"


def test_a_client_that_leaves_during_its_body_is_a_499(lines):
    class Gone(io.BytesIO):
        def read(self, size=-1):
            raise ClientDisconnected

    def app(environ, start_response):
        with pytest.raises(ClientDisconnected):
            environ["wsgi.input"].read(10)
        return Response(503, {}, b"")(environ, start_response)

    serve(logged(app, OUTCOME), request("PUT", HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input": Gone()}))
    assert lines[0] == "499 503 - -"


@pytest.mark.parametrize(("error", "status"), [(RuntimeError(), 500), (HTTPError(412), 412)])
def test_an_error_is_logged_and_goes_on(lines, error, status):
    def app(environ, start_response):
        raise error

    with pytest.raises(type(error)):
        request().call(logged(app, OUTCOME))
    assert list(lines) == [f"{status} {status} - -"]
