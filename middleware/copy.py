"""Server-side copy: COPY, and PUT with X-Copy-From, as one GET streamed into one PUT.

    COPY /v1/a/c/o  Destination: c2/o2      is rewritten as
    PUT /v1/a/c2/o2 X-Copy-From: /c/o       which becomes  GET /v1/a/c/o → PUT /v1/a/c2/o2

1. Both halves go on down the pipeline as ordinary requests of the same client: who may not read the
   source or write the destination cannot copy either.
2. The object is never held; a source that breaks off breaks the PUT off.
3. Where the copy must be byte for byte the source, the PUT carries the source's ETag and is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from miniswift.config import Settings, is_true
from miniswift.errors import ClientDisconnected
from miniswift.responses import Environ, Headers, HTTPError, Response, StartResponse
from miniswift.wsgi import (
    ORIGINAL_METHOD,
    SOURCE,
    Request,
    WSGIApp,
    environ_key,
    make_subrequest,
    split_path,
)

from .places import checked_account, container_and_object, quoted
from .stand_ins import is_object

_OWN_METADATA = ("X-Object-Meta-", "X-Object-Sysmeta-", "X-Object-Transient-Sysmeta-")
_SYSMETA = "X-Object-Sysmeta-"
_LISTING_OVERRIDE = "HTTP_X_OBJECT_SYSMETA_CONTAINER_UPDATE_OVERRIDE_"

# What describes the source's answer, not the object, and so is not carried over to the copy.
_NOT_CARRIED_OVER = frozenset(
    ["Accept-Ranges", "Age", "Connection", "Content-Length", "Content-Range", "Content-Type", "Date"]
    + ["Etag", "Keep-Alive", "Last-Modified", "Server", "Set-Cookie", "Transfer-Encoding", "Vary", "Via"]
    + ["X-Object-Manifest", "X-Object-Version-Id", "X-Openstack-Request-Id", "X-Static-Large-Object"]
    + ["X-Timestamp", "X-Trans-Id"]
)
_NEVER_CARRIED_OVER = ("X-Backend-", "Access-Control-", "X-Copied-From")

# What in the client's request is about the PUT, not about reading the source.
_NOT_FOR_SOURCE = frozenset(
    ["HTTP_X_BACKEND_STORAGE_POLICY_INDEX", "HTTP_X_COPY_FROM", "HTTP_X_COPY_FROM_ACCOUNT"]
    + ["HTTP_TRANSFER_ENCODING", "HTTP_EXPECT"]
)


class Copy:
    """The filter."""

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        copies = method == "COPY" or (method == "PUT" and environ.get("HTTP_X_COPY_FROM"))
        if not (copies or method == "OPTIONS") or not is_object(environ["PATH_INFO"]):
            return self._app(environ, start_response)
        try:
            if method == "OPTIONS":
                return self._options(environ)(environ, start_response)
            if method == "COPY":
                _rewrite_as_put(environ)
            return self._copy(environ)(environ, start_response)
        except HTTPError as error:
            return error.response(environ, start_response)

    def _options(self, environ: Environ) -> Response:
        response = Request(environ).call(self._app)
        for name in ("Allow", "Access-Control-Allow-Methods"):
            methods = response.headers.get(name)
            if response.status // 100 == 2 and methods and "COPY" not in methods:
                response.headers[name] = f"{methods}, COPY"
        return response

    def _copy(self, environ: Environ) -> Response:
        """Carry out a PUT with X-Copy-From. Raises HTTPError."""
        if environ.get("CONTENT_LENGTH") not in (None, "", "0"):
            raise HTTPError(400, "Copy requests require a zero byte body", {"Content-Type": "text/plain"})
        path = _source_path(environ)
        source = self._get(environ, path)
        if source.status >= 300:
            return source
        try:
            sink = _sink(environ, source)
            response = sink.call(self._app)
        finally:
            source.close()
        if response.status // 100 == 2:
            response.headers.update(_copied_from(path, source))
            response.headers.update(_metadata_of(sink.environ))
        return response

    def _get(self, environ: Environ, path: str) -> Response:
        """Ask for the source as the client would. Raises a 413 for one of unknown length."""
        params = _params(environ)
        if params.get("multipart-manifest") == "get":
            params["format"] = "raw"  # a manifest as its client wrote it, which a PUT takes again
        query = urlencode(params, encoding="latin-1")
        request = make_subrequest(environ, "GET", path, source="SSC", query=query)
        for key, value in environ.items():
            if key.startswith("HTTP_") and key not in _NOT_FOR_SOURCE:
                request.environ[key] = value
        request.environ["HTTP_X_NEWEST"] = "true"
        source = request.call(self._app)
        if source.status < 300 and not str(source.headers.get("Content-Length", "")).isdecimal():
            source.close()
            raise HTTPError(413, "The size of the source is not known.")
        return source


# --- paths ---------------------------------------------------------------------------------------------


def _rewrite_as_put(environ: Environ) -> None:
    """Make a COPY the PUT that it means. Raises a 412 for a destination that is none."""
    version, account, container, obj = split_path(environ["PATH_INFO"], 4, 4, True)
    if not environ.get("HTTP_DESTINATION"):
        raise HTTPError(412, "Destination header required")
    destination_account = account
    if "HTTP_DESTINATION_ACCOUNT" in environ:
        destination_account = checked_account(environ.pop("HTTP_DESTINATION_ACCOUNT"))
        environ["HTTP_X_COPY_FROM_ACCOUNT"] = quoted(account or "")
    place = container_and_object(environ.pop("HTTP_DESTINATION"), "Destination")
    environ[ORIGINAL_METHOD] = "COPY"
    environ["REQUEST_METHOD"] = "PUT"
    environ["PATH_INFO"] = f"/{version}/{destination_account}/{place}"
    environ["CONTENT_LENGTH"] = "0"
    environ["HTTP_X_COPY_FROM"] = quoted(f"/{container}/{obj}")


def _source_path(environ: Environ) -> str:
    """The path of the object to read, as a WSGI string. Raises a 412."""
    version, account, _ = split_path(environ["PATH_INFO"], 2, 3, True)
    if environ.get("HTTP_X_COPY_FROM_ACCOUNT"):
        account = checked_account(environ["HTTP_X_COPY_FROM_ACCOUNT"])
    return f"/{version}/{account}/{container_and_object(environ['HTTP_X_COPY_FROM'], 'X-Copy-From')}"


def _params(environ: Environ) -> dict[str, str]:
    query = environ.get("QUERY_STRING")
    return dict(parse_qsl(query, keep_blank_values=True, encoding="latin-1")) if query else {}


# --- the PUT -------------------------------------------------------------------------------------------


def _sink(environ: Environ, source: Response) -> Request:
    """The PUT that stores what `source` brings."""
    made = dict(environ)
    length = int(source.headers["Content-Length"])
    made[SOURCE] = "SSC"
    made["wsgi.input"] = BodyInput(source.body, length)
    made["CONTENT_LENGTH"] = str(length)
    for key in ("HTTP_X_COPY_FROM", "HTTP_X_COPY_FROM_ACCOUNT", "HTTP_TRANSFER_ENCODING", "HTTP_RANGE"):
        made.pop(key, None)
    is_fresh = is_true(environ.get("HTTP_X_FRESH_METADATA"))
    for name, value in source.headers.items():
        key = environ_key(name)
        if _is_carried_over(name, is_fresh) and key not in environ:
            made[key] = value
    if not made.get("CONTENT_TYPE"):
        made["CONTENT_TYPE"] = source.headers.get("Content-Type", "")
    asks_for_manifest = _params(environ).get("multipart-manifest") == "get"
    _copy_query(made, source, asks_for_manifest)
    _copy_etag(made, source, asks_for_manifest)
    return Request(made)


def _is_carried_over(name: str, is_fresh: bool) -> bool:
    """Whether a header of the source is one of its copy, unless the client gives another.

    With X-Fresh-Metadata only what filters have recorded is. Headers that nobody stores do no harm,
    and which ones the object servers store is for their configuration to say.
    """
    if is_fresh:
        return name.startswith(_SYSMETA)
    return name not in _NOT_CARRIED_OVER and not name.startswith(_NEVER_CARRIED_OVER)


def _copy_query(made: Environ, source: Response, asks_for_manifest: bool) -> None:
    """See to it that the copy of a manifest, where that was asked for, is a manifest again."""
    params = _params(made)
    if asks_for_manifest and "X-Static-Large-Object" in source.headers:
        params["multipart-manifest"] = "put"
    if asks_for_manifest and "X-Object-Manifest" in source.headers:
        params.pop("multipart-manifest", None)
        made["HTTP_X_OBJECT_MANIFEST"] = source.headers["X-Object-Manifest"]
    params.pop("version-id", None)  # which version to read; the copy becomes a version of its own
    made["QUERY_STRING"] = urlencode(params, encoding="latin-1")


def _copy_etag(made: Environ, source: Response, asks_for_manifest: bool) -> None:
    """Have the copy checked against the source's ETag, if that is the MD5 of what is being copied."""
    is_slo = "X-Static-Large-Object" in source.headers
    is_joined_dlo = "X-Object-Manifest" in source.headers and not asks_for_manifest
    if source.status == 200 and not is_slo and not is_joined_dlo:
        if "Etag" in source.headers:
            made["HTTP_ETAG"] = source.headers["Etag"].strip('"')
        return
    for key in [key for key in made if key.startswith(_LISTING_OVERRIDE)]:
        del made[key]  # it speaks of a whole that this copy is not


class BodyInput:
    """The source's body as the input of a request."""

    def __init__(self, body: Iterable[bytes], length: int) -> None:
        self._chunks = iter(body)
        self._left = length
        self._buffer = b""

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes, all if negative. Raises ClientDisconnected when the source broke off."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(65536), b""))
        if not self._buffer and self._left and size:
            self._buffer = next(filter(None, self._chunks), b"")
            if not self._buffer:
                raise ClientDisconnected("the source of the copy ended too early")
        chunk, self._buffer = self._buffer[:size], self._buffer[size:]
        self._left -= len(chunk)
        return chunk

    def readline(self, size: int | None = -1) -> bytes:
        line = b""
        while not line.endswith(b"\n") and (size is None or size < 0 or len(line) < size):
            byte = self.read(1)
            if not byte:
                break
            line += byte
        return line


# --- the answer ----------------------------------------------------------------------------------------


def _copied_from(path: str, source: Response) -> dict[str, str]:
    _, _, account, place = path.split("/", 3)
    headers = {"X-Copied-From-Account": quoted(account), "X-Copied-From": quoted(place)}
    if "Last-Modified" in source.headers:
        headers["X-Copied-From-Last-Modified"] = source.headers["Last-Modified"]
    if "X-Object-Version-Id" in source.headers:
        headers["X-Copied-From-Version-Id"] = source.headers["X-Object-Version-Id"]
    return headers


def _metadata_of(environ: Environ) -> dict[str, Any]:
    """The metadata that the copy was stored with."""
    headers = Headers(Request(environ).headers)
    return {
        name: value
        for name, value in headers.items()
        if name.startswith(_OWN_METADATA) or name == "X-Delete-At"
    }


def filter_factory(_global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    Settings.from_conf({}, local_conf)  # there are no options, which is said of any given
    return Copy
