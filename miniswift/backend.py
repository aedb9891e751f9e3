"""Requests to storage nodes: the vocabulary of the first waist.

`Transport.send(node, request)` is all the proxy and the storage servers know of each other.

1. An answer is a `Response`: the caller closes its body. A status of any kind is an answer.
2. No answer is a `TransportError`; which one says whether the node can be tried again.
3. `request.body` is read only when the node wants it (`Expect: 100-continue`), so a refusal costs
   nothing of the body. Errors of reading it (the client's) pass through unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from miniswift.errors import MiniswiftError
from miniswift.responses import Headers, Response
from miniswift.ring import Node

# In a 507 that is about the request and not about the device: the size (bytes) of metadata that do not fit.
METADATA_TOO_LARGE = "X-Backend-Metadata-Too-Large"


class TransportError(MiniswiftError):
    """Raised when a node gave no answer."""


class ConnectFailed(TransportError):
    """Raised when a node cannot be reached; nothing was sent."""


class TimedOut(TransportError):
    """Raised when a node did not answer in time."""


class BrokenAnswer(TransportError):
    """Raised when a node's answer stopped short or was no HTTP."""


class Readable(Protocol):
    """What a request's body must be able to do."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, `b""` at the end."""


@dataclass(slots=True)
class BackendRequest:
    """A request to a storage server; the device comes from the node it is sent to."""

    method: str
    part: int
    path: str  # /account[/container[/object]], text, not quoted
    headers: Headers = field(default_factory=Headers)
    query: str = ""  # already quoted
    body: Readable | None = None
    content_length: int | None = None  # None with a body: sent chunked


class Transport(Protocol):
    """Where requests to storage nodes go."""

    def send(self, node: Node, request: BackendRequest) -> Response:
        """Ask `node`. Raises TransportError when there is no answer."""
