"""CORS: preflight requests, and what answers tell to browsers."""

from __future__ import annotations

import pytest

from miniswift.middleware.cors import Cors, CorsSettings, filter_factory
from miniswift.responses import Response
from miniswift.wsgi import AUTHORIZE_OVERRIDE, Request

PAGE, OTHER = "http://page.example", "http://other.example"
METHODS = "DELETE, GET, HEAD, OPTIONS, POST, PUT"
METHOD = "Access-Control-Request-Method"
PATHS = ["/v1/AUTH_a", "/v1/AUTH_a/c", "/v1/AUTH_a/c/o", "/auth/v1.0", "/v1/AUTH_a/c/o?temp_url_sig=bad"]


class Store:
    """Answers `answer` to what wants no token or has one, 401 to the rest, and tells of container c."""

    def __init__(self, answer=None, **metadata):
        self.answer = answer or Response(200, {"X-Object-Meta-Color": "red", "Etag": "e"}, b"body")
        self.metadata = {f"X-Container-Meta-Access-Control-{name}": v for name, v in metadata.items()}
        self.container_looks = 0
        self.last_path = None

    def __call__(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method == "HEAD" and environ.get(AUTHORIZE_OVERRIDE):
            self.container_looks += 1
            response = Response(204, self.metadata if path == "/v1/AUTH_a/c" else {})
        elif method == "OPTIONS":
            assert not any("ORIGIN" in key or "ACCESS_CONTROL" in key for key in environ)
            allow = "GET" if path.startswith("/auth") else METHODS
            response = Response(405 if path.startswith("/auth") else 200, {"Allow": allow}, b"")
        else:
            self.last_path, environ["PATH_INFO"] = path, "/v1/AUTH_x/rewritten/by-a-filter"
            response = self.answer
        return response(environ, start_response)


def ask(app, method="GET", path="/v1/AUTH_a/c/o", origin=PAGE, **headers):
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request.blank(path, method, sent | ({"Origin": origin} if origin else {})).call(app)


def preflight(app, path="/v1/AUTH_a/c/o", origin=PAGE, method="GET", **headers):
    return ask(app, "OPTIONS", path, origin, **headers, **({METHOD: method} if method else {}))


def cors_headers(response):
    return {name for name in response.headers if name.startswith("Access-Control-")}


# --- preflight ---------------------------------------------------------------------------------------


def test_a_preflight_tells_what_the_container_allows():
    app = Cors(Store(**{"Allow-Origin": f"{OTHER} {PAGE}", "Max-Age": "5"}))
    response = preflight(app, method="PUT", Access_Control_Request_Headers="x-auth-token, x-foo")
    assert (response.status, response.read()) == (200, b"")
    assert dict(response.headers) == {
        "Allow": METHODS,
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Headers": "x-auth-token, x-foo",
        "Access-Control-Max-Age": "5",
        "Content-Length": "0",
        "Vary": "Origin, Access-Control-Request-Headers",
    }


def test_a_container_may_allow_every_origin():
    response = preflight(Cors(Store(**{"Allow-Origin": "*"})))
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in response.headers


@pytest.mark.parametrize(
    ("allowed", "origin", "method"),
    [
        ("", PAGE, "GET"),
        (OTHER, PAGE, "GET"),
        (PAGE + "x", PAGE, "GET"),
        (PAGE, PAGE.upper(), "GET"),
        (PAGE, PAGE, "BREW"),
        (PAGE, PAGE, "get"),
        (PAGE, PAGE, None),
    ],
)
def test_a_preflight_is_refused_with_the_methods_and_nothing_else(allowed, origin, method):
    response = preflight(Cors(Store(**{"Allow-Origin": allowed})), origin=origin, method=method)
    assert (response.status, response.headers["Allow"]) == (401, METHODS)
    assert cors_headers(response) == set()


def test_a_preflight_of_an_unknown_container_is_refused():
    assert preflight(Cors(Store(**{"Allow-Origin": "*"})), "/v1/AUTH_a/d/o").status == 401


def test_options_without_an_origin_are_not_ours():
    response = preflight(Cors(Store()), origin=None, method=None)
    assert (response.status, response.headers["Allow"]) == (200, METHODS)


@pytest.mark.parametrize("path", PATHS)
def test_the_cluster_may_allow_an_origin_on_every_path(path):
    app = Cors(Store(), CorsSettings(cors_allow_origin=(PAGE,)))
    response = preflight(app, path)
    assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    assert response.headers["Access-Control-Allow-Methods"] == ("GET" if path == "/auth/v1.0" else METHODS)
    assert preflight(app, path, method="BREW").status == 401


def test_options_of_an_account_are_plain_for_origins_that_are_not_allowed():
    response = preflight(Cors(Store(**{"Allow-Origin": "*"})), "/v1/AUTH_a")
    assert (response.status, response.headers["Allow"], cors_headers(response)) == (200, METHODS, set())


def test_a_filter_that_wants_a_token_even_for_options_does_not_matter():
    class Strict(Store):
        def __call__(self, environ, start_response):
            if environ["REQUEST_METHOD"] == "OPTIONS":
                return Response(401)(environ, start_response)
            return super().__call__(environ, start_response)

    response = preflight(Cors(Strict(**{"Allow-Origin": PAGE})))
    assert (response.status, response.headers["Access-Control-Allow-Methods"]) == (200, METHODS)


# --- answers -----------------------------------------------------------------------------------------


def test_an_answer_tells_the_browser_what_the_page_may_read():
    app = Cors(Store(**{"Allow-Origin": PAGE, "Expose-Headers": "X-Foo x-bar"}))
    response = ask(app)
    assert response.read() == b"body"
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert response.headers["Vary"] == "Origin"
    exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"x-object-meta-color", "x-foo", "x-bar", "etag", "x-trans-id", "content-type"} <= set(exposed)
    assert "content-length" not in exposed


def test_a_filter_that_rewrites_the_path_does_not_change_whose_container_decides():
    store = Store(**{"Allow-Origin": PAGE})
    assert "Access-Control-Allow-Origin" in ask(Cors(store)).headers
    assert store.last_path == "/v1/AUTH_a/c/o"


@pytest.mark.parametrize("status", [401, 403, 404, 412, 422, 503])
@pytest.mark.parametrize("path", PATHS)
def test_errors_tell_it_too_so_that_a_page_sees_the_status(path, status):
    app = Cors(Store(Response(status)), CorsSettings(cors_allow_origin=(PAGE,)))
    response = ask(app, path=path)
    assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (status, PAGE)


def test_a_login_shows_its_token():
    answer = Response(200, {"X-Auth-Token": "t", "X-Auth-Token-Expires": "9", "X-Storage-Url": "u"}, b"")
    app = Cors(Store(answer), CorsSettings(cors_allow_origin=("*",)))
    exposed = ask(app, path="/auth/v1.0").headers["Access-Control-Expose-Headers"].split(", ")
    assert {"x-auth-token", "x-auth-token-expires", "x-storage-url"} <= set(exposed)


def test_headers_shown_everywhere():
    settings = CorsSettings(cors_allow_origin=(PAGE,), cors_expose_headers=("X-Everywhere",))
    exposed = ask(Cors(Store(), settings), path="/v1/AUTH_a").headers["Access-Control-Expose-Headers"]
    assert "x-everywhere" in exposed.split(", ")


def test_an_origin_that_is_not_allowed_is_told_nothing_but_caches_are():
    response = ask(Cors(Store(**{"Allow-Origin": OTHER})))
    assert (response.status, cors_headers(response), response.headers["Vary"]) == (200, set(), "Origin")
    assert "Vary" not in ask(Cors(Store())).headers


def test_without_strict_mode_every_origin_may_read_but_not_ask():
    app = Cors(Store(), CorsSettings(strict_cors_mode=False))
    response = ask(app)
    assert (response.headers["Access-Control-Allow-Origin"], response.headers["Vary"]) == (PAGE, "Origin")
    assert preflight(app).status == 401


def test_what_was_said_further_down_stands():
    said = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "x", "Vary": "Accept"}
    response = ask(Cors(Store(Response(200, said, b""), **{"Allow-Origin": PAGE})))
    assert {name: response.headers[name] for name in said} == said


def test_vary_keeps_what_it_says_already():
    answer = Response(200, {"Vary": "Accept"}, b"")
    response = ask(Cors(Store(answer, **{"Allow-Origin": PAGE})))
    assert response.headers["Vary"] == "Accept, Origin"


def test_without_an_origin_nothing_is_looked_up():
    store = Store(**{"Allow-Origin": "*"})
    response = ask(Cors(store), origin=None)
    assert (cors_headers(response), store.container_looks) == (set(), 0)


# --- options -----------------------------------------------------------------------------------------


class Proxy(Store):
    """The last application of a pipeline, with Swift's options on it."""

    cors_allow_origin = (OTHER,)
    cors_expose_headers = ("X-Swift",)
    strict_cors_mode = True


@pytest.mark.parametrize(
    ("conf", "origin", "exposed"),
    [
        ({}, OTHER, "x-swift"),
        ({"cors_allow_origin": PAGE}, PAGE, "x-swift"),
        ({"cors_expose_headers": "X-Own"}, OTHER, "x-own"),
    ],
)
def test_an_option_that_is_not_given_is_the_proxys(conf, origin, exposed):
    proxy = Proxy()
    app = filter_factory({}, **conf)(proxy)
    app._pipeline_final_app = proxy
    headers = ask(app, path="/v1/AUTH_a", origin=origin).headers
    assert headers["Access-Control-Allow-Origin"] == origin
    assert exposed in headers["Access-Control-Expose-Headers"].split(", ")
    refused = OTHER if origin == PAGE else PAGE
    assert cors_headers(ask(app, path="/v1/AUTH_a", origin=refused)) == set()


@pytest.mark.parametrize(("target", "told"), [("/v1/AUTH_a/c/%C3%BC", PAGE), ("/v1/AUTH_a/closed/o", None)])
def test_what_came_by_a_symlink_is_shown_to_whom_its_own_container_lets_in(target, told):
    store = Store(Response(200, {"Content-Location": target}, b"body"), **{"Allow-Origin": PAGE})
    assert ask(Cors(store)).headers.get("Access-Control-Allow-Origin") == told
