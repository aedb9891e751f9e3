"""Objects that stand for others: what manifests and symlinks have in common on their way out.

A filter that follows them looks at each answer for the header by which it knows one. Answers without it are
passed on as they come; one that has it is held back, for the filter to answer in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from miniswift.responses import Environ, HeaderList, Response, StartResponse
from miniswift.wsgi import Primed, Request, WSGIApp, split_path

_IGNORE_RANGE_KEY = "HTTP_X_BACKEND_IGNORE_RANGE_IF_METADATA_PRESENT"


def is_object(path: str) -> bool:
    try:
        split_path(path, 4, 4, True)
    except ValueError:
        return False
    return True


def ignore_range_of(environ: Environ, header: str) -> None:
    """Have objects with this metadata sent whole: a range is of what they stand for."""
    if "HTTP_RANGE" in environ:
        ignored = environ.get(_IGNORE_RANGE_KEY)
        environ[_IGNORE_RANGE_KEY] = f"{ignored},{header}" if ignored else header


def shown_listing(
    app: WSGIApp, environ: Environ, mark: bytes, show: Callable[[dict[str, Any]], None]
) -> WSGIApp:
    """The answer to a GET of a container; rows that have `mark` behind their hash are changed by `show`."""
    try:
        split_path(environ["PATH_INFO"], 3, 3)
    except ValueError:
        return app
    response = Request(environ).call(app)
    if response.status != 200 or not response.headers.get("Content-Type", "").startswith("application/json"):
        return response
    body = response.read()
    if mark not in body:
        return Response(200, response.headers, [body])
    rows = json.loads(body)
    for row in rows:
        if mark.decode() in row.get("hash", ""):
            show(row)
    return Response(200, response.headers, json.dumps(rows).encode())


class Answer:
    """What the inner application answers: passed on at once, unless it has the header and that counts."""

    __slots__ = ("_counts", "_name", "_start_response", "headers", "status", "value")

    def __init__(
        self, name: str, start_response: StartResponse, counts: Callable[[str], bool] = bool
    ) -> None:
        """`name` is in Title-Case; `counts` tells of a value whether it makes the object a stand-in."""
        self._name = name
        self._counts = counts
        self._start_response = start_response
        self.status = 0
        self.headers: HeaderList = []
        self.value: str | None = None  # of the header, if the object stands for others

    def of(self, app: WSGIApp, environ: Environ) -> Iterable[bytes]:
        """Send the request; the body of the answer, which is the stand-in's own if `value` is set."""
        body = app(environ, self._start)
        return body if self.status else Primed(body)  # PEP 3333: it may start with its first chunk

    def _start(self, status: str, headers: HeaderList, exc_info: Any = None) -> Any:
        self.status, self.headers = int(status[:3]), headers
        for name, value in headers:
            if len(name) == len(self._name) and name.title() == self._name and self._counts(value):
                self.value = value
                return None
        if exc_info is None:
            return self._start_response(status, headers)
        return self._start_response(status, headers, exc_info)
