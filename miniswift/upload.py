"""The body of an upload on its way from one client to several nodes.

`Upload` reads the client once, counts and limits. Each node gets a `Feed`: what a `Transport` reads.
A feed tells when its node first reads, which is when the node has checked the request and wants the
body; until then the node can be replaced by another at no cost.

1. With one replica the feed is the client's own input: nothing is copied, no green thread is started.
2. With several, a node that is slow holds the others back only when its queue is full.
3. When the client fails, every feed raises the client's error, so no node keeps a partial object.
"""

from __future__ import annotations

from collections.abc import Callable

from miniswift.backend import Readable
from miniswift.concurrency import Event, LightQueue, Timeout
from miniswift.errors import ClientDisconnected, MiniswiftError
from miniswift.responses import HTTPError

# Chunks. With those on their way into a queue and out of it they are the memory of an upload, which all nodes
# share: 200 uploads of one worker took 280 MiB with a queue of 16 and 60 with one of 2, in the same time.
QUEUE_LENGTH = 2


class UploadAbandoned(MiniswiftError):
    """Raised in a feed when the upload was given up: too few nodes were left."""


class Upload:
    """A client's body. Raises 413 beyond `max_size` and ClientDisconnected short of `length` (bytes)."""

    def __init__(self, source: Readable, length: int | None, max_size: int) -> None:
        self._source = source
        self._length = length
        self._max_size = max_size
        self.received = 0

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._source.read(size)
        self.received += len(chunk)
        if self.received > self._max_size:
            raise HTTPError(413, "Your request is too large.")
        if not chunk and self._length is not None and self.received < self._length:
            raise ClientDisconnected(f"{self.received} of {self._length} bytes came")
        return chunk


class DirectFeed:
    """The only node's view of the upload."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self.started = False

    def read(self, size: int = -1, /) -> bytes:
        self.started = True
        return self._upload.read(size)

    def close(self) -> None:
        """Nothing waits on this feed."""


class QueueFeed:
    """One of several nodes' view of the upload, filled by whoever reads the client."""

    def __init__(self, on_start: Callable[[], None]) -> None:
        self._on_start = on_start
        self._queue = LightQueue(QUEUE_LENGTH)
        self._left = b""
        self._error: BaseException | None = None
        self._ended = False
        self.started = False
        self.closed = False

    def read(self, size: int = -1, /) -> bytes:
        if not self.started:
            self.started = True
            self._on_start()
        if not self._left and not self._ended:
            item = self._queue.get()
            if isinstance(item, BaseException):
                self._error = item
                self._ended = True
            elif not item:
                self._ended = True
            else:
                self._left = item
        if self._error is not None:
            raise self._error
        if size < 0 or size >= len(self._left):
            block, self._left = self._left, b""
        else:
            block, self._left = self._left[:size], self._left[size:]
        return block

    def put(self, item: bytes | BaseException, timeout_s: float) -> bool:
        """Hand over a chunk, `b""` for the end, or an error. False if the node does not take it in time."""
        if self.closed:
            return False
        timer = Timeout(timeout_s)
        try:
            self._queue.put(item)
        except Timeout as expired:
            if expired is not timer:
                raise
            return False
        finally:
            timer.cancel()
        return not self.closed

    def close(self) -> None:
        """The node is done with it, well or not: whoever is putting something goes on."""
        self.closed = True
        while not self._queue.empty():
            self._queue.get_nowait()


class Signal:
    """Something that happens again and again, to be waited for."""

    def __init__(self) -> None:
        self._event = Event()

    def set(self) -> None:
        event, self._event = self._event, Event()
        event.send(None)

    def wait(self) -> None:
        """Wait until `set` is called after now."""
        self._event.wait()
