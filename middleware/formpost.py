"""Form uploads: a page of anybody's sends files straight to a container, by a form that its owner signed.

    <form action="…/v1/a/c/<start of the names>" method="POST" enctype="multipart/form-data">
      redirect, max_file_size, max_file_count, expires, signature, x_delete_at, x_delete_after: hidden fields
      <input type="file" …> fields last

    signed:  /v1/a/c/<start> \\n redirect \\n max_file_size \\n max_file_count \\n expires

The answer sends the browser to `redirect`, with ?status=…&message=…, or says the same in a line of text.

1. A form is read as it comes: no file is held in memory, however big.
2. A file that is longer than allowed, or breaks off, leaves no object; those before it stay.
3. Keys and hashes are those of temporary URLs.
"""

from __future__ import annotations

import html
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

import multipart

from miniswift import info
from miniswift.errors import ClientDisconnected, MiniswiftError
from miniswift.responses import REASONS, Environ, Headers, Response, StartResponse
from miniswift.wsgi import INFO_CACHE, WSGIApp, make_preauthed_subrequest, split_path, to_wsgi

from .authorization import challenge, realm_of
from .temporary_keys import DigestSettings, Key, Signature, keys_of

logger = logging.getLogger(__name__)

_SOURCE = "FP"
_CHUNK = 65536  # bytes, read from the client at once
_MAX_FIELD = 4096  # bytes of a field that is no file
_MAX_FIELDS = 1000  # fields and files of a form
_API_VERSIONS = ("v1", "v1.0")


class _FormError(MiniswiftError):
    """Raised for a form that cannot be accepted; the client is told why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class FormPost:
    """The filter."""

    def __init__(
        self, app: WSGIApp, settings: DigestSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._app = app
        self._settings = settings
        self._clock = clock

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST" or "form-data" not in environ.get("CONTENT_TYPE", "").lower():
            return self._app(environ, start_response)
        kind, options = multipart.parse_options_header(environ["CONTENT_TYPE"])
        if kind != "multipart/form-data" or not options.get("boundary"):
            return self._app(environ, start_response)
        agent = environ.get("HTTP_USER_AGENT", "")
        environ["HTTP_USER_AGENT"] = f"{agent} FormPost".strip()
        try:
            response = self._upload(environ, options["boundary"])
        except _FormError as error:
            logger.info("form refused: %s", error)
            headers = challenge(realm_of(environ)) if error.status == 401 else {}
            response = _text(error.status, f"FormPost: {error}", headers)
        except multipart.MultipartError as error:
            logger.info("form refused: %s", error)
            response = _text(400, f"FormPost: {error}")
        return response(environ, start_response)

    def _upload(self, environ: Environ, boundary: str) -> Response:
        """Store the files of a form. Raises _FormError, MultipartError, and what reading a client raises."""
        keys = self._keys(environ)
        form = _Form(environ["wsgi.input"], boundary)
        fields: dict[str, bytes] = {}
        count = 0
        response: Response | None = None
        message = ""
        for part in form.parts():
            if not part.filename:
                fields[(part.name or "").lower()] = part.field()
                continue
            count += 1
            if count > _number(fields, "max_file_count"):
                response, message = Response(400), "max file count exceeded"
                break
            self._check(environ, fields, keys)
            response = self._store(environ, fields, part)
            if response.status // 100 != 2:
                break
        if response is None:
            response, message = Response(400), "no files to process"
        return _verdict(fields, response, message)

    # --- checks ----------------------------------------------------------------------------------

    def _keys(self, environ: Environ) -> list[Key]:
        try:
            version = split_path(environ["PATH_INFO"], 3, 4, True)[0]
        except ValueError:
            return []
        return keys_of(environ, self._app, _SOURCE) if version in _API_VERSIONS else []

    def _check(self, environ: Environ, fields: dict[str, bytes], keys: list[Key]) -> None:
        """Whether the fields so far were signed. Raises _FormError."""
        if _number(fields, "expires") < self._clock():
            raise _FormError("Form Expired", 401)
        signed = [environ["PATH_INFO"].encode("latin-1"), fields.get("redirect") or b""]
        signed += [fields.get(name) or b"0" for name in ("max_file_size", "max_file_count", "expires")]
        try:
            signature = Signature.parse(fields.get("signature", b"").decode("latin-1"))
        except ValueError:
            raise _FormError("Invalid Signature", 401) from None
        is_allowed = signature.digest in self._settings.allowed_digests
        if not is_allowed or signature.signer(keys, [b"\n".join(signed)]) is None:
            if not keys:
                logger.info("neither the account nor the container has a key")
            raise _FormError("Invalid Signature", 401)

    # --- files -----------------------------------------------------------------------------------

    def _store(self, environ: Environ, fields: dict[str, bytes], part: _Part) -> Response:
        path = environ["PATH_INFO"]
        if not path.endswith("/") and path.count("/") < 4:
            path += "/"
        request = make_preauthed_subrequest(environ, "PUT", path + to_wsgi(part.filename), source=_SOURCE)
        request.environ.setdefault(INFO_CACHE, {})
        del request.environ["CONTENT_LENGTH"]
        request.environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        request.environ.update(_file_headers(fields, part))
        body = _FileBody(part, _number(fields, "max_file_size"))
        request.environ["wsgi.input"] = body
        try:
            response = request.call(self._app)
            response.read()
            while response.status // 100 == 2 and body.read(_CHUNK):
                pass  # an application need not look for the end
        except ClientDisconnected:
            if body.error is None:
                raise
        if body.error is not None:  # the application had to give up, in its own way
            raise body.error
        return response


def _file_headers(fields: dict[str, bytes], part: _Part) -> dict[str, str]:
    """Headers of the object, as environ keys."""
    headers = {}
    for name, kind in (("x_delete_at", "Unix timestamp"), ("x_delete_after", "Number of seconds")):
        if fields.get(name):
            headers[f"HTTP_{name.upper()}"] = str(
                _number(fields, name, f"{name} not an integer: {kind} required.")
            )
    for name, key in (("content-type", "CONTENT_TYPE"), ("content-encoding", "HTTP_CONTENT_ENCODING")):
        if name in fields:
            value = fields[name].decode("latin-1")
        else:
            value = to_wsgi(part.headers.get(name, ""))
        if value.isprintable() and value:
            headers[key] = value
    headers.setdefault("CONTENT_TYPE", "application/octet-stream")
    return headers


class _FileBody:
    """A file of a form as the body of a request. `error` is what kept it from being read to its end."""

    def __init__(self, part: _Part, max_size: int) -> None:
        self._chunks = part.chunks()
        self._left = max_size
        self._held = b""
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Some bytes, at most `size` of them; b"" is the end. Raises what `error` is from then on."""
        if self.error is not None:
            raise self.error
        try:
            if not self._held:
                self._held = next(self._chunks, b"")
                self._left -= len(self._held)
                if self._left < 0:
                    raise _FormError("max_file_size exceeded")
        except (MiniswiftError, multipart.MultipartError) as error:
            self.error = error
            # An error that every application takes for what it is: its client has gone.
            raise ClientDisconnected(str(error)) from None
        if size < 0 or size >= len(self._held):
            chunk, self._held = self._held, b""
        else:
            chunk, self._held = self._held[:size], self._held[size:]
        return chunk


# --- forms ---------------------------------------------------------------------------------------


class _Part:
    """A field or a file, to be read before the next one."""

    def __init__(self, segment: Any, events: Iterator[Any]) -> None:
        self.name: str = segment.name
        self.filename: str = segment.filename or ""
        self.headers = {name.lower(): value for name, value in segment.headerlist}
        self._events = events

    def chunks(self) -> Iterator[bytes]:
        for event in self._events:
            if event is None:
                return
            yield bytes(event)

    def field(self) -> bytes:
        """The value of a field. Raises _FormError for one that is too long."""
        value = b""
        for chunk in self.chunks():
            value += chunk
            if len(value) > _MAX_FIELD:
                raise _FormError(f"the field {self.name!r} is longer than {_MAX_FIELD} bytes")
        return value


class _Form:
    """A form's parts, read from a client as they are wanted."""

    def __init__(self, source: Any, boundary: str) -> None:
        self._source = source
        self._parser = multipart.PushMultipartParser(
            boundary, max_segment_count=_MAX_FIELDS, header_charset="utf8"
        )
        self._events = self._read()

    def parts(self) -> Iterator[_Part]:
        """Each is to be read to its end. Raises MultipartError."""
        for segment in self._events:
            yield _Part(segment, self._events)

    def _read(self) -> Iterator[Any]:
        while not self._parser.closed:
            chunk = self._source.read(_CHUNK)
            yield from self._parser.parse(chunk)
            if not chunk:
                return


def _number(fields: dict[str, bytes], name: str, complaint: str = "") -> int:
    """A field that is a whole number, 0 when absent or empty. Raises _FormError."""
    try:
        return int(fields.get(name) or b"0")
    except ValueError:
        raise _FormError(complaint or f"{name} not an integer") from None


# --- answers -------------------------------------------------------------------------------------


def _verdict(fields: dict[str, bytes], response: Response, message: str) -> Response:
    """What the browser is told of the last file's answer."""
    kept = {
        name: value for name, value in response.headers.items() if name.lower().startswith("access-control")
    }
    redirect = fields.get("redirect", b"").decode("latin-1")
    if redirect and redirect.isprintable():
        target = (
            f"{redirect}{'&' if '?' in redirect else '?'}status={response.status}&message={quote(message)}"
        )
        page = f'<html><body><p><a href="{html.escape(target)}">Click to continue...</a></p></body></html>'
        return Response(303, {**kept, "Location": target}, page)
    status = f"{response.status} {REASONS.get(response.status, '')}".strip()
    if message:
        return _text(response.status, f"{status}\r\nFormPost: {message.title()}", kept)
    if response.status // 100 != 2:
        return _text(response.status, response.read().decode("utf-8", "replace") or status, kept)
    return _text(response.status, status, kept)


def _text(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return Response(
        status, Headers({"Content-Type": "text/plain; charset=UTF-8", **(headers or {})}), message
    )


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], FormPost]:
    settings = DigestSettings.from_conf({**global_conf, **local_conf}, local_conf)
    info.register_swift_info("formpost", **settings.as_info())
    return lambda app: FormPost(app, settings)
