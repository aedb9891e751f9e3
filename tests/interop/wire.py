"""What passes between proxies and storage servers, as a list of requests to one device.

`Wire` sends each to a server of either implementation and remembers the answer. What is not compared:

1. Dates, and headers of the connection.
2. The page that explains an error, what describes it, and the words of short notes.
3. The order of the keys of JSON and of the methods in Allow.
4. When an answer says that it has no body: Swift leaves some without Content-Length, which a client must
   not miss (RFC 9112 6.3).
5. `X-Timestamp` of an account or container, and what else is the moment at which a server made a database.
6. What ours says and Swift's does not: Allow with a 405 (RFC 9110 15.5.6), and with a POST's 404 the time
   of the tombstone. What ours does not say: SSYNC.

Not asked is what makes Swift fail with a traceback; ours answers 400.
"""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.functional.client import Answer
from tests.interop.scenes import Scene

TIMEOUT_S = 30
DEVICE = "wire"
# What a database's answer to a replicator says of the copy alone.
_OWN_FIELDS = frozenset({"created_at", "hash", "id", "status_changed_at"})
# What no replicator looks for in it.
_UNREAD_FIELDS = frozenset({"db_state", "reconciler_sync_point", "status"})
_MOMENTS = frozenset({"last-modified", "x-backend-status-changed-at", "x-backend-timestamp", "x-timestamp"})


@dataclass
class Wire:
    """Asks one storage server; `base` is the time that the script's timestamps count from, in seconds."""

    port: int
    kind: str
    base: int
    scenes: list[Scene] = field(default_factory=list)

    def at(self, offset: float) -> str:
        """A timestamp that many seconds after the base."""
        return f"{self.base + offset:016.5f}"

    def __call__(
        self,
        method: str,
        path: str,
        at: float | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Ask for `path` (quoted, below the device and partition unless it starts with a slash)."""
        sent = {**({} if at is None else {"X-Timestamp": self.at(at)}), **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            target = path if path.startswith("/") else f"/{DEVICE}/7/{path}"
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        self.scenes.append(self._scene(f"{method} {path} {at} {headers or ''}", method, answer))
        return answer

    def _scene(self, asked: str, method: str, answer: Answer) -> Scene:
        headers = self._comparable_headers(method, answer)
        text = answer.body.decode("utf-8", "surrogateescape")
        content_type = headers.get("content-type", "")
        body: Any = None
        if method == "REPLICATE":
            headers.clear()
            body = _of_all_copies(text) if text.startswith("{") else None  # what is pickled, tests compare
        elif answer.status < 400 and method in ("GET", "HEAD") and text:
            if content_type.startswith("multipart/byteranges"):
                boundary = content_type.partition("boundary=")[2]
                body = text.replace(boundary, "BOUNDARY")
                headers["content-type"] = content_type.replace(boundary, "BOUNDARY")
            elif content_type.startswith("application/json"):
                body = json.loads(text)
                del headers["content-length"]
            else:
                body = re.sub(r"<last_modified>[^<]*<", "<last_modified>a moment<", text)
        elif method != "HEAD" or answer.status >= 400 or headers.get("content-length") == "0":
            headers.pop("content-length", None)
            if method not in ("GET", "HEAD") or answer.status >= 400:
                headers.pop("content-type", None)
        return Scene(asked, answer.status, headers, body)

    def _comparable_headers(self, method: str, answer: Answer) -> dict[str, str]:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        for name in ("connection", "keep-alive", "date", "server"):
            headers.pop(name, None)
        if answer.status == 405:
            headers.pop("allow", None)
        if method == "POST" and answer.status == 404:
            headers.pop("x-backend-timestamp", None)
        if "allow" in headers:
            headers["allow"] = ", ".join(sorted({*headers["allow"].split(", ")} - {"SSYNC"}))
        if self.kind != "object":
            for name in _MOMENTS & headers.keys():
                if not headers[name].startswith("0000000000"):
                    headers[name] = "a moment"
        return headers


def _of_all_copies(text: str) -> Any:
    """What a database's answer to a replicator says that is no copy's own."""
    left_out = _OWN_FIELDS | _UNREAD_FIELDS
    return {name: value for name, value in json.loads(text).items() if name not in left_out}
