"""How a life is told to any Swift, and what is remembered of its answers.

A `Teller` sends what a chapter says, checks the status, and writes down what came back as a `Scene`:
status, headers and body with everything normalised that no two tellings can share.

What is not compared, and why:

1. Dates, transaction ids and boundaries differ each time. Only their form is kept; a timestamp becomes
   its number in the order of first appearance, so that which one stands where is compared. Not so the
   X-Timestamp of an account or container: each replica has its own, the moment its database was made.
2. The page that explains an error is each implementation's own, and what describes that page: its type,
   its length, its date.
3. White space between the tokens of JSON, and the order of the keys.
4. Headers of the connection, which belong to the server (`Connection`, `Keep-Alive`).
5. The order of the methods in Allow.
6. `Content-Length: 0` of a 304. Swift sends it; RFC 9110 8.6 forbids it, and a cache would believe it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from miniswift.timestamp import Timestamp
from tests.functional.client import Answer, Client
from tests.interop.clusters import Proxy
from tests.interop.nodes import NodeClient
from tests.interop.scenes import Scene

TEXT = {"Content-Type": "text/plain"}
BODY = b"The quick brown fox jumps over the lazy dog. " * 200
ETAG = hashlib.md5(BODY).hexdigest()

# Headers of an answer that describe its error page.
_OF_THE_PAGE = ("content-length", "content-type", "last-modified")

Headers = dict[str, str]
Body = bytes | list[bytes] | None


@dataclass
class Teller:
    """Sends requests through a proxy and keeps the scenes of the chapter that is being told."""

    proxy: Proxy
    owner: Client
    nobody: Client
    guest: Client
    reseller: Client
    scenes: list[Scene] = field(default_factory=list)
    _stamps: dict[str, str] = field(default_factory=dict)

    @property
    def account(self) -> str:
        return f"AUTH_{self.proxy.account_name}"

    def __call__(
        self,
        status: int,
        method: str,
        path: str,
        headers: Headers | None = None,
        body: Body = None,
        *,
        by: Client | None = None,
    ) -> Answer:
        """Ask, insist on the status, remember the answer. `path` is text below the account."""
        target = path if path.startswith("?") else quote(path, safe="/?=&%~")
        given = iter(body) if isinstance(body, list) else body
        answer = (by or self.owner).request(method, target, given, headers)
        asked = f"{method} {path} {headers or ''}"
        assert answer.status == status, f"{asked}: {answer.status} {dict(answer.headers)} {answer.body!r}"
        self.scenes.append(self._scene(asked, method, answer))
        return answer

    def end(self, container_path: str) -> None:
        """Delete a container and whatever is in it."""
        for row in self.owner.listing(quote(container_path)):
            self.owner.delete(f"{quote(container_path)}/{quote(row['name'])}")
        self(204, "DELETE", container_path)

    def nodes(self, kind: str, *names: str, account: str = "") -> list[NodeClient]:
        """The primaries of a name, to be spoken to without the proxy."""
        path = (account or self.account, *names)
        part, nodes = self.proxy.backends.primaries(kind, *path)
        return [NodeClient(node, part, path) for node in nodes]

    def expirer_queue(self, container: str, obj: str, delete_at: int) -> None:
        """Remember what the container servers have in the queue that an object's expiry is noted in."""
        digest = self.proxy.backends.cluster.hash_path(self.account, container, obj)
        queue = f"{delete_at // 86400 * 86400 - int(digest, 16) % 100:010}"
        for node in self.nodes("container", queue, account=".expiring_objects"):
            answer = node("GET", query="format=json")
            rows = {self._plain(row["name"]): row["content_type"] for row in answer.json()}
            assert rows, queue
            self.scenes.append(Scene("the expirer's queue", answer.status, {}, rows))

    # --- what is comparable --------------------------------------------------------------------------

    def _scene(self, asked: str, method: str, answer: Answer) -> Scene:
        assert all(len(answer.headers.get_all(name, [])) == 1 for name in answer.headers), answer.headers
        headers = {name.lower(): value for name, value in answer.headers.items()}
        content_type = headers.get("content-type", "")
        body: Any = self._plain(answer.body.decode("utf-8", "surrogateescape"))
        if content_type.startswith("multipart/byteranges"):
            boundary = content_type.partition("boundary=")[2]
            body = body.replace(boundary, "BOUNDARY")
            headers["content-type"] = content_type.replace(boundary, "BOUNDARY")
        elif content_type.startswith("application/json") and body:
            body = json.loads(body)
            del headers["content-length"]
        elif answer.status >= 400:
            body = None
            for name in _OF_THE_PAGE:
                headers.pop(name, None)
        elif answer.status == 304:
            headers.pop("content-length", None)
        elif method != "GET" and body:
            body = "a note"
            del headers["content-length"]
        return Scene(asked, answer.status, self._comparable(headers), body)

    def _comparable(self, headers: dict[str, str]) -> dict[str, str]:
        for name in ("connection", "keep-alive"):
            headers.pop(name, None)
        assert parsedate_to_datetime(headers.pop("date"))
        transaction = headers.pop("x-trans-id")
        assert re.fullmatch(r"tx[0-9a-f]{21}-[0-9a-f]{10}", transaction), transaction
        assert headers.pop("x-openstack-request-id") == transaction
        if "etag" not in headers and "x-timestamp" in headers:
            assert re.fullmatch(r"\d{10}\.\d{5}", headers["x-timestamp"])
            headers["x-timestamp"] = "a timestamp"
        if "last-modified" in headers:
            headers["last-modified"] = self._last_modified(headers)
        if "x-copied-from-last-modified" in headers:
            assert parsedate_to_datetime(headers["x-copied-from-last-modified"])
            headers["x-copied-from-last-modified"] = "a date"
        if "allow" in headers:
            headers["allow"] = ", ".join(sorted(headers["allow"].split(", ")))
        return {name: self._plain(value) for name, value in headers.items()}

    def _last_modified(self, headers: dict[str, str]) -> str:
        seconds = parsedate_to_datetime(headers["last-modified"]).timestamp()
        if "etag" in headers and "x-timestamp" in headers:
            assert 0 <= seconds - float(headers["x-timestamp"]) < 1
            return "X-Timestamp, rounded up"
        return "a date"

    def _plain(self, text: str) -> str:
        """Text without what differs from telling to telling."""
        text = text.replace(self.proxy.account_name, "ACCOUNT").replace(str(self.proxy.port), "PORT")
        text = re.sub(r"\b\d{10}\.\d{5}\b", lambda match: self._stamp(match[0]), text)
        return re.sub(
            r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\b",
            lambda match: self._stamp(_parsed_iso(match[0])),
            text,
        )

    def _stamp(self, normal: str) -> str:
        return self._stamps.setdefault(normal, f"T{len(self._stamps)}")


def _parsed_iso(iso: str) -> str:
    """The normal form of an ISO 8601 time without a zone."""
    return Timestamp.at(datetime.fromisoformat(iso).replace(tzinfo=timezone.utc).timestamp()).normal


Chapter = Callable[[Teller], None]


def tell(proxy: Proxy, chapter: Chapter) -> list[Scene]:
    """The scenes of a chapter, told through `proxy`. Raises AssertionError where a status is another."""
    with (
        Client.login(proxy.auth()) as owner,
        owner.anonymous() as nobody,
        Client.login(proxy.auth("guest")) as guest,
        Client.login(proxy.auth("reseller")) as reseller,
    ):
        guest.prefix = reseller.prefix = owner.prefix
        teller = Teller(proxy, owner, nobody, guest, reseller)
        chapter(teller)
        return teller.scenes


def wsgi(text: str) -> str:
    """Text as a header's value: each character one byte of its UTF-8."""
    return text.encode().decode("latin-1")
