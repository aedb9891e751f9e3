"""Transaction ids and the last safety net: the outermost filter.

Every request gets a transaction id, which all log lines about it and both `X-Trans-Id` and
`X-Openstack-Request-Id` of its answer carry.

1. No traceback reaches a client: what nobody caught becomes a 500 and one log line.
2. A body has exactly the length its headers promised. One that ends too early, or would go on, is an
   error that makes the server drop the connection; the client must not take the next answer for the rest.
3. A FileBody passes through untouched. The server knows its length and sends it from the page cache.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from random import getrandbits
from typing import Any
from urllib.parse import quote

from miniswift import logs
from miniswift.concurrency import Timeout
from miniswift.config import Settings, option, text
from miniswift.errors import MiniswiftError
from miniswift.responses import (
    Environ,
    FileBody,
    HeaderList,
    HTTPError,
    Response,
    StartResponse,
    close_body,
)
from miniswift.wsgi import TRANS_ID, Primed, WSGIApp

logger = logging.getLogger(__name__)

_MAX_EXTRA = 32  # characters of a client's own id that are taken into ours, as Swift does


class BadResponseLength(MiniswiftError):
    """Raised by a body that is shorter or longer than the Content-Length sent ahead of it."""


@dataclasses.dataclass(frozen=True)
class CatchErrorsSettings(Settings):
    """The options of [filter:catch_errors]."""

    trans_id_suffix: str = option(text, "", "added to every transaction id, to tell clusters apart")


class CatchErrors:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: CatchErrorsSettings | None = None) -> None:
        self._app = app
        self._suffix = (settings or CatchErrorsSettings()).trans_id_suffix

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        trans_id = make_trans_id(self._suffix, environ.get("HTTP_X_TRANS_ID_EXTRA"))
        environ[TRANS_ID] = trans_id
        logs.trans_id.set(trans_id)
        answer = _Answer(trans_id, start_response)
        try:
            body = self._app(environ, answer.start)
            if not answer.is_started:  # an application may start with its first chunk (PEP 3333)
                body = Primed(body)
        except HTTPError as error:
            return error.response(environ, answer.start_over)
        except (Exception, Timeout):
            logger.exception("uncaught error in %s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            return _failure()(environ, answer.start_over)
        return answer.sized(body, is_head=environ["REQUEST_METHOD"] == "HEAD")


class _Answer:
    """What the inner application has said so far about its answer."""

    __slots__ = ("_length", "_start_response", "_trans_id", "is_started")

    def __init__(self, trans_id: str, start_response: StartResponse) -> None:
        self._trans_id = trans_id
        self._start_response = start_response
        self._length: int | None = None
        self.is_started = False

    def start(self, status: str, headers: HeaderList, exc_info: Any = None) -> Any:
        self.is_started = True
        self._length = _announced_length(headers)
        marked = [*headers, ("X-Trans-Id", self._trans_id), ("X-Openstack-Request-Id", self._trans_id)]
        if exc_info is None:
            return self._start_response(status, marked)
        return self._start_response(status, marked, exc_info)

    def start_over(self, status: str, headers: HeaderList) -> Any:
        """Start instead of whatever was started; the server refuses if headers have gone out."""
        return self.start(status, headers, sys.exc_info() if self.is_started else None)

    def sized(self, body: Iterable[bytes], is_head: bool) -> Iterable[bytes]:
        """The body, made to keep the announced length; itself where that is certain."""
        length = 0 if is_head else self._length
        if length is None or (isinstance(body, FileBody) and not is_head):
            return body
        if type(body) is list and sum(map(len, body)) == length:
            return body
        return _SizedBody(body, length)


class _SizedBody:
    """A body that raises BadResponseLength instead of ending too early or going on."""

    __slots__ = ("_body", "_length")

    def __init__(self, body: Iterable[bytes], length: int) -> None:
        self._body = body
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        left = self._length
        for chunk in self._body:
            if len(chunk) > left:
                if left:
                    yield chunk[:left]
                raise BadResponseLength(f"body goes on after the {self._length} bytes announced")
            left -= len(chunk)
            yield chunk
        if left:
            raise BadResponseLength(f"body ends {left} bytes before the {self._length} announced")

    def close(self) -> None:
        close_body(self._body)


def make_trans_id(suffix: str, extra: str | None) -> str:
    """`tx`, 21 random hex digits, the time in 10, the cluster's suffix and the client's own id."""
    if extra:
        suffix = f"{suffix}-{extra[:_MAX_EXTRA]}"
    # Ids need to be different and not secret. A forked worker's generator is seeded anew by Python.
    return f"tx{getrandbits(84):021x}-{int(time.time()):010x}{quote(suffix) if suffix else ''}"


def _announced_length(headers: HeaderList) -> int | None:
    for name, value in headers:
        if len(name) == 14 and name.lower() == "content-length":
            return int(value) if str(value).isdecimal() else None
    return None


def _failure() -> Response:
    return Response(500, {"Content-Type": "text/plain"}, b"An error occurred")


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    settings = CatchErrorsSettings.from_conf({**global_conf, **local_conf}, local_conf)
    return lambda app: CatchErrors(app, settings)
