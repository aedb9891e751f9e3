"""Listings as the client wants them: JSON from the back ends, turned into text or XML on the way out.

1. Back ends are always asked for JSON; it is parsed only if something else was wanted.
2. Names in the reserved namespace do not get out, whatever a back end answers.
3. What is no listing of ours (a static web page, an error) passes through as it came.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from miniswift.config import Settings, is_true
from miniswift.responses import Environ, HTTPError, Response, StartResponse
from miniswift.wsgi import FORMAT_LISTING, Request, WSGIApp, from_wsgi, split_path

from .accept import OFFERS, best_offer

logger = logging.getLogger(__name__)

Listing = list[dict[str, Any]]

_API_VERSIONS = ("v1", "v1.0")
_JSON = "application/json"
_BY_FORMAT = {"plain": "text/plain", "json": _JSON, "xml": "application/xml"}

# A longer body is no listing: 10 000 names of 1 KiB, and as much for the rest of the rows.
_MAX_LISTING_BYTES = 1024 * 10_000 * 2

_RESERVED = "\0"
_RESERVED_IN_JSON = b"\\u0000"


class ListingFormats:
    """The filter."""

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        names = _listing_path(environ)
        if names is None:
            return self._app(environ, start_response)
        try:
            response = self._answer(environ, *names)
        except HTTPError as error:
            response = error.response
        return response(environ, start_response)

    def _answer(self, environ: Environ, account: str, container: str | None) -> Response:
        params = _params(environ)
        wanted = _wanted_type(params, environ.get("HTTP_ACCEPT"))
        varies = "format" not in params
        if params.get("format") != "json":
            params["format"] = "json"
            environ["QUERY_STRING"] = urlencode(params, encoding="latin-1")
        environ.setdefault(FORMAT_LISTING, True)
        response = Request(environ).call(self._app)
        if not environ[FORMAT_LISTING] or response.status not in (200, 204):
            return response
        if varies:
            _add_vary(response)
        if response.headers.get("Content-Type", "").partition(";")[0] != _JSON:
            return response
        if environ["REQUEST_METHOD"] == "HEAD":
            response.headers["Content-Type"] = f"{wanted}; charset=utf-8"
            response.headers["Content-Length"] = "0"
            return response
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_LISTING_BYTES:
            return response
        shows_reserved = is_true(environ.get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"))
        return _convert(response, wanted, account, container, shows_reserved)


def _listing_path(environ: Environ) -> tuple[str, str | None] | None:
    """(account, container) as WSGI strings if the request may be for a listing."""
    path: str = environ["PATH_INFO"]
    segments = path.split("/", 4)
    is_object = len(segments) == 5 and segments[4]
    if is_object or len(segments) < 3 or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return None
    if segments[1] not in _API_VERSIONS:
        return None
    try:
        _, account, container = split_path(path, 2, 3)
    except ValueError:
        return None
    return account or "", container


# --- what the client wants -----------------------------------------------------------------------------


def _params(environ: Environ) -> dict[str, str]:
    query = environ.get("QUERY_STRING")
    return dict(parse_qsl(query, keep_blank_values=True, encoding="latin-1")) if query else {}


def _wanted_type(params: dict[str, str], accept: str | None) -> str:
    """The content type to answer with. Raises a 400 or 406."""
    try:
        query_format = from_wsgi(params.get("format", ""))
    except UnicodeDecodeError:
        raise HTTPError(400, '"format" parameter not valid UTF-8') from None
    if query_format:
        return _BY_FORMAT.get(query_format.lower(), "text/plain")
    try:
        wanted = best_offer(accept) if accept else OFFERS[0]
    except ValueError:
        raise HTTPError(400, "Invalid Accept header") from None
    if wanted is None:
        raise HTTPError(406, f"A listing can be had as {', '.join(OFFERS)}.")
    return wanted


# --- what the client gets ------------------------------------------------------------------------------


def _add_vary(response: Response) -> None:
    vary = response.headers.get("Vary")
    if not vary:
        response.headers["Vary"] = "Accept"
    elif "accept" not in (name.strip().lower() for name in vary.split(",")):
        response.headers["Vary"] = f"{vary}, Accept"


def _convert(
    response: Response, wanted: str, account: str, container: str | None, shows_reserved: bool
) -> Response:
    body = response.read()
    if wanted != _JSON or (_RESERVED_IN_JSON in body and not shows_reserved):
        try:
            listing = _parse(body)
            if not shows_reserved:
                listing = _without_reserved(listing, account, container)
            converted = _render(listing, wanted, account, container)
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ):  # JSON, but no listing: somebody's static web page
            return Response(response.status, response.headers, body)
    else:
        converted = body
    response.headers["Content-Type"] = f"{wanted}; charset=utf-8"
    return Response(200 if converted else 204, response.headers, converted)


def _parse(body: bytes) -> Listing:
    listing = json.loads(body)
    if not isinstance(listing, list) or not all(isinstance(row, dict) for row in listing):
        raise ValueError("not a list of rows")
    return listing


def _without_reserved(listing: Listing, account: str, container: str | None) -> Listing:
    shown = [row for row in listing if _RESERVED not in row.get("name", "") + row.get("subdir", "")]
    if len(shown) < len(listing):
        place = "/".join(filter(None, (account, container)))
        logger.warning("listing of %s had %d reserved names", place, len(listing) - len(shown))
    return shown


def _render(listing: Listing, wanted: str, account: str, container: str | None) -> bytes:
    """Raises LookupError for rows that are none of an account or container."""
    if wanted == _JSON:
        return json.dumps(listing).encode("ascii")
    if wanted == "text/plain":
        names = (row["name"] if "name" in row else row["subdir"] for row in listing)
        text = "".join(f"{name}\n" for name in names)
    elif container is None:
        text = _account_xml(listing, account)
    else:
        text = _container_xml(listing, container)
    return text.encode("utf-8", "surrogatepass")


_XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_CONTAINER_FIELDS = ("name", "count", "bytes", "last_modified")
_OBJECT_FIELDS = ("name", "hash", "bytes", "content_type", "last_modified")


def _account_xml(listing: Listing, account: str) -> str:
    rows = []
    for row in listing:
        if "subdir" in row:
            rows.append(f"<subdir name={_attribute(row['subdir'])} />\n")
            continue
        fields = [_element(field, row[field]) for field in _CONTAINER_FIELDS]
        if "storage_policy" in row:
            fields.append(_element("storage_policy", row["storage_policy"]))
        rows.append(f"<container>{''.join(fields)}</container>\n")
    return f"{_XML_DECLARATION}<account name={_attribute(_text(account))}>\n{''.join(rows)}</account>"


def _container_xml(listing: Listing, container: str) -> str:
    rows = []
    for row in listing:
        if "subdir" in row:
            name = row["subdir"]
            rows.append(f"<subdir name={_attribute(name)}>{_element('name', name)}</subdir>")
        else:
            rows.append(
                f"<object>{''.join(_element(field, row[field]) for field in _OBJECT_FIELDS)}</object>"
            )
    start = f"{_XML_DECLARATION}<container name={_attribute(_text(container))}"
    return f"{start}>{''.join(rows)}</container>" if rows else f"{start} />"


def _element(name: str, value: Any) -> str:
    text = escape(str(value))
    return f"<{name}>{text}</{name}>" if text else f"<{name} />"


def _attribute(value: str) -> str:
    # White space would come back from a parser as blanks (XML 1.0, 3.3.3).
    return f'''"{escape(value, {'"': "&quot;", chr(13): "&#13;", chr(10): "&#10;", chr(9): "&#09;"})}"'''


def _text(wsgi_string: str) -> str:
    return wsgi_string.encode("latin-1").decode("utf-8", "replace")


def filter_factory(_global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    Settings.from_conf({}, local_conf)  # there are no options, which is said of any given
    return ListingFormats
