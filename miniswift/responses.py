"""Answers: statuses, headers and bodies, as small as they can be.

A `Response` is a WSGI application, so the proxy, the filters and the storage servers can all return
one. `HTTPError` is the exception that carries one; whoever serves a request turns it into the answer.

1. Header names are kept in the form they have on the wire: Title-Case, one value a name.
2. Header values are WSGI strings (each character one byte), exactly as sent.
"""

from __future__ import annotations

import functools
import html
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, BinaryIO

StartResponse = Callable[..., Any]
Environ = dict[str, Any]
HeaderList = list[tuple[str, str]]

REASONS: dict[int, str] = {status.value: status.phrase for status in HTTPStatus} | {
    408: "Request Timeout",
    416: "Requested Range Not Satisfiable",
    422: "Unprocessable Entity",
    498: "Rate Limited",
    499: "Client Disconnect",
    507: "Insufficient Storage",
    529: "Too Many Backend Requests",
}

# One sentence a status, for the page that an answer without a body of its own gets.
_EXPLANATIONS = {
    202: "The request was accepted.",
    400: "The server cannot make sense of this request.",
    401: "This resource needs valid credentials.",
    403: "These credentials do not give access to this resource.",
    404: "There is nothing at this address.",
    405: "This method cannot be used on this resource.",
    408: "The server waited too long for the request.",
    409: "The request conflicts with what is stored.",
    410: "This resource was deleted.",
    411: "The request must say how long its body is.",
    412: "A precondition of the request does not hold.",
    413: "The body of the request is too large.",
    416: "The resource has no such range.",
    422: "The body is not what its headers announce.",
    499: "The client went away before its request was complete.",
    500: "The server failed; its log has the reason.",
    503: "The service cannot answer at the moment.",
    507: "There is no room, or no device, for this.",
}

BODILESS = frozenset({204, 304})


@functools.lru_cache(maxsize=8192)
def title_case(name: str) -> str:
    """A header name as it goes out. Only ASCII letters change; other bytes stay as they came."""
    return name.encode("latin-1").title().decode("latin-1")


# Names that are their own Title-Case, so that many can be looked at in one step.
_titled: set[str] = set()
_MAX_TITLED = 8192  # clients choose names


def _is_titled(names: Iterable[str]) -> bool:
    """Whether all names are known to be in Title-Case; those that are from now on are known."""
    if _titled.issuperset(names):
        return True
    unknown = [name for name in names if name not in _titled]
    if any(title_case(name) != name for name in unknown):
        return False
    if len(_titled) < _MAX_TITLED:
        _titled.update(unknown)
    return True


@functools.lru_cache(maxsize=128)
def status_line(status: int) -> str:
    return f"{status} {REASONS.get(status, 'Unknown')}"


class Headers(dict[str, str]):
    """Header name → value; names compare without case and are kept in Title-Case."""

    __slots__ = ()

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = (), **named: str) -> None:
        if items or named:
            self.update(items, **named)

    @classmethod
    def of_list(cls, items: HeaderList) -> Headers:
        """From what an application gave to start_response: a name that comes again there is a list here.

        RFC 9110 5.3; two filters that want different credentials each add a WWW-Authenticate.
        """
        headers = cls(items)
        if len(headers) < len(items):
            headers.clear()
            for name, value in items:
                known = headers.get(name)
                headers[name] = value if known in (None, value) else f"{known}, {value}"
        return headers

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(title_case(name), value)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(title_case(name))

    def __delitem__(self, name: str) -> None:
        super().__delitem__(title_case(name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(title_case(str(name)))

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(title_case(name), default)

    def pop(self, name: str, *default: Any) -> Any:
        return super().pop(title_case(name), *default)

    def setdefault(self, name: str, default: str = "") -> str:
        return super().setdefault(title_case(name), default)

    def update(self, items: Any = (), /, **named: str) -> None:
        pairs: Mapping[str, str] = items if isinstance(items, dict) else dict(items)
        if _is_titled(pairs):
            super().update(pairs)
        else:
            super().update((title_case(name), value) for name, value in pairs.items())
        for name, value in named.items():
            super().__setitem__(title_case(name.replace("_", "-")), value)

    def copy(self) -> Headers:
        return Headers(self)


class FileBody:
    """A slice of an open file as a response body: PEP 3333's wsgi.file_wrapper, with an offset.

    The server sends it by os.sendfile when it arrives there untouched; anything in between may
    simply iterate over it. It owns the file and closes it. A filter that only wants to know when
    and how much was sent adds a callback with `on_close` instead of wrapping the body.
    """

    __slots__ = ("_callbacks", "block_size", "file", "length", "offset", "sent")

    def __init__(
        self, file: BinaryIO, block_size: int = 65536, offset: int = 0, length: int | None = None
    ) -> None:
        self.file = file
        self.block_size = block_size
        self.offset = offset
        self.length = os.fstat(file.fileno()).st_size - offset if length is None else length
        self.sent = 0  # bytes handed out so far, by iteration or by the server's sendfile
        self._callbacks: list[Callable[[int], None]] = []

    def on_close(self, callback: Callable[[int], None]) -> None:
        """Call `callback(bytes sent)` once, when the body is closed."""
        self._callbacks.append(callback)

    def __iter__(self) -> Iterator[bytes]:
        fd = self.file.fileno()
        while self.sent < self.length:
            block = os.pread(fd, min(self.block_size, self.length - self.sent), self.offset + self.sent)
            if not block:  # truncated under us: the server sees a short body and drops the connection
                return
            self.sent += len(block)
            yield block

    def close(self) -> None:
        self.file.close()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self.sent)


class Response:
    """A status, headers and a body, callable as a WSGI application."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: Iterable[bytes] | bytes | str | None = None,
    ) -> None:
        self.status = status
        self.headers = headers if type(headers) is Headers else Headers(headers)
        self.body: Iterable[bytes]
        if body is None:
            self.body = self._page(status)
        elif isinstance(body, str):
            self.headers.setdefault("Content-Type", "text/html; charset=UTF-8")
            self.body = self._sized(body.encode())
        elif isinstance(body, bytes):
            self.body = self._sized(body)
        else:
            self.body = body

    def _sized(self, body: bytes) -> list[bytes]:
        self.headers["Content-Length"] = str(len(body))
        return [body]

    def _page(self, status: int) -> list[bytes]:
        if status in BODILESS:
            return []
        self.headers.setdefault("Content-Type", "text/html; charset=UTF-8")
        if status in _EXPLANATIONS:
            return self._sized(_error_page(status))
        self.headers.setdefault("Content-Length", "0")
        return []

    def read(self) -> bytes:
        """The whole body, which is closed; the response keeps it, to be sent on or read again."""
        try:
            content = b"".join(self.body)
        finally:
            close_body(self.body)
        self.body = [content]
        return content

    def close(self) -> None:
        """Close the body unread."""
        close_body(self.body)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status_line(self.status), list(self.headers.items()))
        if environ["REQUEST_METHOD"] == "HEAD":
            close_body(self.body)
            return []
        return self.body


@functools.lru_cache(maxsize=128)
def _error_page(status: int) -> bytes:
    reason, explanation = html.escape(REASONS[status]), html.escape(_EXPLANATIONS[status])
    return f"<html><h1>{reason}</h1><p>{explanation}</p></html>".encode()


class HTTPError(Exception):
    """Raised to answer a request at once with a status, and a page or a plain message as its body.

    It is a WSGI application too: what an authorize callable returns, Swift's filters may call or raise.
    """

    def __init__(
        self,
        status: int,
        message: str | bytes | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.response = Response(status, Headers(headers), message)

    @property
    def headers(self) -> Headers:
        return self.response.headers

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return self.response(environ, start_response)


def close_body(body: Iterable[bytes]) -> None:
    """Close a WSGI body if it can be closed (PEP 3333)."""
    close = getattr(body, "close", None)
    if close is not None:
        close()
