"""One client's connection: requests and their answers, one after another.

    wait → read the head → read_head → app(environ, start_response) → ResponseWriter.send
      ↑                                                                       │
      └──────────────── rest of the body drained, connection kept ────────────┘

1. Once a request was refused, or its body was not read to its end, no byte that follows is taken for a
   request: the connection closes.
2. An application's exception never reaches the client: it is logged, and answered with a bare 500.
3. Whatever happens, the body of the answer is closed and the request's post hooks are run.

Pipelined requests wait in the wire's buffer, and in the kernel, for their turn.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import monotonic
from typing import Any, Protocol

from miniswift.concurrency import Timeout
from miniswift.errors import BadRequestBody, ClientDisconnected, ClientTimeout
from miniswift.http_head import CRLF, Limits, Refused, check_part, read_head
from miniswift.http_input import ChunkedBody, RequestBody
from miniswift.http_output import ResponseWriter, plain_answer
from miniswift.http_wire import Wire
from miniswift.responses import Environ, close_body
from miniswift.wsgi import POST_HOOKS, WSGIApp

logger = logging.getLogger(__name__)

HEAD_END = b"\r\n\r\n"
LINGER_S = 30.0  # how long a client that was refused may go on sending
LINGER_SILENCE_S = 5.0  # and without sending anything


class Host(Protocol):
    """What a connection needs of its server."""

    app: WSGIApp
    limits: Limits
    header_timeout: float
    keepalive_timeout: float


class Connection:
    """Serves the requests that come over a wire."""

    __slots__ = ("_host", "_template", "is_idle", "wire")

    def __init__(self, host: Host, wire: Wire, template: Environ) -> None:
        self._host = host
        self._template = template  # what the environs of all its requests have in common
        self.wire = wire
        self.is_idle = True  # between requests, or after the last

    def serve(self) -> None:
        """Answer requests until either side has had enough, then close."""
        try:
            self.wire.start(self._host.header_timeout)
            while self._serve_request():
                self.is_idle = True
                self.wire.give_turn()
        except (ClientDisconnected, ClientTimeout) as error:
            logger.debug("connection from %s ended: %r", self._template["REMOTE_ADDR"], error)
        finally:
            self.wire.close()

    def retire(self) -> None:
        """Begin no further request; one that runs may finish."""
        self.wire.may_be_kept = False
        # What has arrived may be the beginning of a request, whose sender counts on an answer.
        if self.is_idle and not self.wire.has_arrivals():
            self.wire.stop_receiving()

    def _serve_request(self) -> bool:
        """Serve the next request; whether another one may follow it."""
        environ = self._template.copy()
        try:
            head = self._receive_head()
            if head is None:
                return False
            request = read_head(head, environ, self._host.limits)
        except Refused as refusal:
            logger.debug("refused %s: %d %s", environ["REMOTE_ADDR"], refusal.status, refusal.reason)
            self.wire.send(plain_answer(refusal.status, refusal.reason))
            self._linger()
            return False
        body = ChunkedBody(self.wire, request) if request.is_chunked else RequestBody(self.wire, request)
        environ["wsgi.input"] = body
        response = ResponseWriter(self.wire, request, body)
        self._answer(environ, response)
        if response.keep_alive and body.drain():
            return True
        if not body.is_complete:
            self._linger()
        return False

    def _linger(self) -> None:
        self.is_idle = True  # nobody needs to wait for it
        self.wire.linger(LINGER_S, LINGER_SILENCE_S)

    # --- the head ---

    def _receive_head(self) -> bytes | None:
        """The next head without its empty line; None when the client has no more. Raises Refused."""
        wire = self.wire
        buffer = wire.buffer
        if not buffer:
            buffer = wire.receive(self._host.keepalive_timeout)
            if not buffer:
                return None
        self.is_idle = False
        end = buffer.find(HEAD_END)
        if end <= 0 or buffer[0] == CRLF[0]:
            return self._receive_slow_head(buffer)
        wire.buffer = buffer[end + 4 :]
        return buffer[:end]

    def _receive_slow_head(self, start: bytes) -> bytes | None:
        """As `_receive_head`, for a head that comes in pieces or behind an empty line."""
        deadline = monotonic() + self._host.header_timeout
        part, more, line, may_skip_line = bytearray(), start, 0, True
        while more:
            part += more
            if may_skip_line and part.startswith(CRLF):  # RFC 9112 2.2 wants one to be ignored
                del part[:2]
                may_skip_line = False
            end = part.find(HEAD_END, max(line - 2, 0))
            if end > 0:
                self.wire.buffer = bytes(part[end + 4 :])
                return bytes(part[:end])
            line = check_part(part, line, self._host.limits)
            try:
                more = self.wire.receive(deadline - monotonic())
            except ClientTimeout:
                raise Refused(408, "The request took too long to arrive.") from None
        return None

    # --- the answer ---

    def _answer(self, environ: Environ, response: ResponseWriter) -> None:
        """Let the application answer, and clean up after it. Raises what sending raises."""
        hooks: list[Any] = []
        environ[POST_HOOKS] = hooks
        body: Iterable[bytes] = ()
        try:
            body = self._host.app(environ, response.start_response)
            response.send(body)
        except ClientDisconnected as error:
            response.keep_alive = False
            logger.debug("%s %s: %r", environ["REQUEST_METHOD"], environ["PATH_INFO"], error)
        except ClientTimeout:
            response.answer_instead(408, "The body of the request took too long to arrive.")
        except BadRequestBody as error:
            response.answer_instead(400, str(error))
        except (Exception, Timeout):
            logger.exception("%s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            response.answer_instead(500, "The server failed; its log has the reason.")
        finally:
            _clean_up(body, hooks, environ)


def _clean_up(body: Iterable[bytes], hooks: list[Any], environ: Environ) -> None:
    try:
        close_body(body)
        for function, args, kwargs in hooks:
            function(environ, *args, **kwargs)
    except (Exception, Timeout):
        logger.exception("cleaning up after %s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"])
