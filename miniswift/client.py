"""Requests to a partition: fan-out, retries and quorum, in one place.

`read` asks one node after another until one has it. `write` and `upload` ask as many nodes as there
are replicas, at the same time, replace those that fail by handoffs, and answer by quorum. Controllers
only decide what to ask and how to word the answer.

1. A write is acknowledged when a quorum of nodes acknowledged it, never before.
2. A node that gives no answer, or a 5xx, is counted against in `ErrorLimiter` and another is tried.
   Not so a 507 for metadata that do not fit: any client could rest our devices with a few headers.
3. With one replica everything happens in the caller's green thread.

Not here: which headers to send and what a client may see (the controllers), which answer counts (quorum).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator

from miniswift import concurrency, logs
from miniswift.backend import BackendRequest, Transport, TransportError
from miniswift.config import Settings, count, option, positive, seconds
from miniswift.errors import BadRequestBody, ClientDisconnected, ClientTimeout
from miniswift.nodes import ErrorLimiter, Nodes
from miniswift.quorum import (
    NotOnHandoff,
    best_response,
    have_quorum,
    is_about_request,
    is_found,
    newer,
    quorum,
    stamp_of,
)
from miniswift.responses import HTTPError, Response
from miniswift.resume import ResumingBody
from miniswift.ring import Node, Ring
from miniswift.timestamp import ZERO
from miniswift.upload import DirectFeed, QueueFeed, Signal, Upload, UploadAbandoned

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ClientSettings(Settings):
    """How patient the proxy is with storage nodes."""

    conn_timeout: float = option(seconds, "0.5", "seconds to connect to a storage node")
    node_timeout: float = option(seconds, "10", "seconds to wait for a storage node each time")
    recoverable_node_timeout: float = option(seconds, "10", "the same for reads, which can go elsewhere")
    error_suppression_interval: float = option(seconds, "60", "seconds that a failing node rests")
    error_suppression_limit: int = option(count, "10", "errors after which a node rests")
    post_quorum_timeout: float = option(seconds, "0.5", "seconds to wait for the rest after a quorum")
    object_chunk_size: int = option(positive, "65536", "bytes read from a client and sent to nodes at once")


RequestFor = Callable[[int], BackendRequest]  # the request for the n-th replica


class Client:
    """Asks the nodes of a partition over a transport."""

    def __init__(
        self, transport: Transport, settings: ClientSettings, limiter: ErrorLimiter | None = None
    ) -> None:
        self.transport = transport
        self.settings = settings
        self.limiter = limiter or ErrorLimiter(
            settings.error_suppression_limit, settings.error_suppression_interval
        )

    # --- reading -------------------------------------------------------------------------------

    def read(
        self, ring: Ring, part: int, request: BackendRequest, *, newest: bool = False, whole: bool = False
    ) -> Response:
        """The answer of the first node that has it; with `newest`, of the one that has the newest.

        Nobody having it, the best of the refusals: see `best_response`. With `whole` an answer counts once
        its body is here: a listing cannot go on from another node, but be asked for again.
        """
        nodes = Nodes(ring, part, self.limiter, shuffle=True)
        refusals: list[Response] = []
        found: Response | None = None
        newest_tombstone = ZERO
        for node, response in self._answers(nodes, request, whole):
            if is_found(response.status):
                if newest_tombstone and stamp_of(response) < newest_tombstone:
                    response.close()
                    refusals.append(Response(404, response.headers))
                elif not newest:
                    return self._resumable(response, nodes, request)
                else:
                    found = newer(found, response)
                continue
            if response.status == 404 and node.handoff_index is not None and not stamp_of(response):
                response.close()  # a handoff that never heard of it knows nothing
                continue
            if response.status == 404:
                newest_tombstone = max(newest_tombstone, stamp_of(response))
            refusals.append(response)
        if found is not None and not stamp_of(found) < newest_tombstone:
            return found
        return best_response(refusals, ring.replica_count, needed=1)

    def _answers(
        self, nodes: Nodes, request: BackendRequest, read_body: bool = False
    ) -> Iterator[tuple[Node, Response]]:
        """Each node with its answer, as long as it has one that is no 5xx."""
        for node in nodes:
            response = self._ask(node, request, read_body)
            if response is not None:
                yield node, response

    def _ask(self, node: Node, request: BackendRequest, read_body: bool = False) -> Response | None:
        """A node's answer, its body read if it is to be kept; None for none, and for a 5xx."""
        try:
            response = self.transport.send(node, request)
            if read_body:
                response.body = [response.read()]
        except TransportError as error:
            self.limiter.note(node, f"{request.method} {error}")
            return None
        if response.status < 500 or is_about_request(response):
            return response
        self._note_failure(node, request, response)
        return None

    def _note_failure(self, node: Node, request: BackendRequest, response: Response) -> None:
        if response.status == 529:
            logger.debug("node %s:%d/%s has enough to do", node.ip, node.port, node.device)
        elif response.status == 507:
            self.limiter.limit(node, f"{request.method} answered 507, its device is missing or full")
        else:
            self.limiter.note(node, f"{request.method} answered {response.status}")
        response.close()

    def _resumable(self, response: Response, nodes: Nodes, request: BackendRequest) -> Response:
        """Let a GET's body go on from another node when the first one fails in the middle."""
        if request.method == "GET" and ResumingBody.can_resume(response):
            response.body = ResumingBody(response, request, self._answers(nodes, request))
        return response

    # --- writing -------------------------------------------------------------------------------

    def write(
        self, ring: Ring, part: int, request_for: RequestFor, overrides: dict[int, int] | None = None
    ) -> Response:
        """Send a write without a body to every replica; the answer that a quorum gives.

        `overrides` maps statuses to what they count as when the plain statuses find no quorum.
        """
        responses = self.write_all(ring, part, request_for)
        return best_response(responses, ring.replica_count, overrides=overrides)

    def write_all(self, ring: Ring, part: int, request_for: RequestFor) -> list[Response]:
        """As `write`, with every answer that came in time."""
        nodes = Nodes(ring, part, self.limiter)
        count = len(nodes.primaries)
        if count == 1:
            return [self._write_one(nodes, request_for(0))]
        results = _Results(count)
        for index in range(count):
            results.spawn(self._write_one, nodes, request_for(index))
        return results.wait(quorum(count), self.settings.post_quorum_timeout)

    def _write_one(self, nodes: Nodes, request: BackendRequest) -> Response:
        for node in nodes:
            response = self._ask(node, request, read_body=True)
            if response is not None and response.status == 404 and node.handoff_index is not None:
                return NotOnHandoff(404, response.headers, response.body)
            if response is not None:
                return response
        return Response(503)

    def upload(self, ring: Ring, part: int, request_for: RequestFor, body: Upload) -> list[Response]:
        """Send a PUT with a body to every replica; the answers that came in time.

        Errors of the client pass through: ClientDisconnected, ClientTimeout, BadRequestBody, HTTPError.
        """
        nodes = Nodes(ring, part, self.limiter)
        if len(nodes.primaries) == 1:
            feed = DirectFeed(body)
            return [self._upload_one(nodes, request_for(0), lambda: feed)]
        return _FanOut(self, nodes, body).run(request_for)

    def _upload_one(
        self, nodes: Nodes, request: BackendRequest, make_feed: Callable[[], DirectFeed | QueueFeed]
    ) -> Response:
        """Send one replica's copy; to another node as long as the first did not begin to read it."""
        for node in nodes:
            feed = make_feed()
            request.body = feed
            try:
                response = self._ask(node, request, read_body=True)
            finally:
                feed.close()
            if response is not None:
                return response
            if feed.started:
                break
        return Response(503)


class _Results:
    """Green threads that each bring a response."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._transaction = logs.trans_id.get()
        self.responses: list[Response] = []
        self.changed = Signal()

    def spawn(self, function: Callable[..., Response], *args: object) -> None:
        concurrency.spawn_n(self._run, function, *args)

    def _run(self, function: Callable[..., Response], *args: object) -> None:
        logs.trans_id.set(self._transaction)  # a green thread starts without one
        response = Response(500)  # of an error that nobody foresaw: it must not keep the others waiting
        try:
            response = function(*args)
        except (ClientDisconnected, ClientTimeout, BadRequestBody, HTTPError, UploadAbandoned):
            response = Response(499)  # whoever reads the client has the error itself
        finally:
            self.responses.append(response)
            self.changed.set()

    @property
    def all_in(self) -> bool:
        return len(self.responses) == self._count

    def wait(self, needed: int, post_quorum_timeout_s: float) -> list[Response]:
        """All responses; those that are in `post_quorum_timeout_s` after `needed` agreed suffice."""
        while not self.all_in and not have_quorum(self.responses, needed):
            self.changed.wait()
        timer = concurrency.Timeout(post_quorum_timeout_s)
        try:
            while not self.all_in:
                self.changed.wait()
        except concurrency.Timeout as expired:
            if expired is not timer:
                raise
        finally:
            timer.cancel()
        return list(self.responses)


class _FanOut:
    """One upload to several nodes."""

    def __init__(self, client: Client, nodes: Nodes, body: Upload) -> None:
        self._client = client
        self._nodes = nodes
        self._body = body
        self._count = len(nodes.primaries)
        self._results = _Results(self._count)
        self._feeds: list[QueueFeed] = []
        self._settled: set[int] = set()

    def run(self, request_for: RequestFor) -> list[Response]:
        for index in range(self._count):
            self._results.spawn(self._send, index, request_for(index))
        while len(self._settled) < self._count:
            self._results.changed.wait()
        if len(self._taking()) >= quorum(self._count):
            try:
                self._pump()
            except BaseException as error:
                self._end(error)
                raise
        else:
            self._end(UploadAbandoned())
        settings = self._client.settings
        return self._results.wait(quorum(self._count), settings.post_quorum_timeout)

    def _send(self, index: int, request: BackendRequest) -> Response:
        def make_feed() -> QueueFeed:
            feed = QueueFeed(on_start=lambda: self._settle(index))
            self._feeds.append(feed)
            return feed

        try:
            return self._client._upload_one(self._nodes, request, make_feed)
        finally:
            self._settle(index)

    def _settle(self, index: int) -> None:
        """Replica `index` has a node that takes the body, or its answer without."""
        self._settled.add(index)
        self._results.changed.set()

    def _taking(self) -> list[QueueFeed]:
        return [feed for feed in self._feeds if feed.started and not feed.closed]

    def _pump(self) -> None:
        """Copy the client's body to every node that takes it, as long as a quorum of them can succeed."""
        feeds = self._taking()
        timeout_s = self._client.settings.node_timeout
        while True:
            chunk = self._body.read(self._client.settings.object_chunk_size)
            feeds = [feed for feed in feeds if feed.put(chunk, timeout_s)]
            failed = sum(1 for response in self._results.responses if response.status // 100 != 2)
            if len(feeds) < quorum(self._count) or failed > self._count - quorum(self._count):
                self._end(UploadAbandoned())
                return
            if not chunk:
                return

    def _end(self, error: BaseException) -> None:
        for feed in self._feeds:
            feed.put(error, timeout_s=0.1)
