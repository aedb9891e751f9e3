"""One life, told to any Swift: accounts, containers and objects from their making to their end.

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
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from miniswift.timestamp import Timestamp
from tests.functional.client import Answer, Client
from tests.interop.clusters import Proxy
from tests.interop.nodes import NodeClient

BODY = b"The quick brown fox jumps over the lazy dog. " * 200
ETAG = hashlib.md5(BODY).hexdigest()
EMPTY_ETAG = hashlib.md5(b"").hexdigest()
TEXT = {"Content-Type": "text/plain"}

# Headers of an answer that describe its error page.
_OF_THE_PAGE = ("content-length", "content-type", "last-modified")

Headers = dict[str, str]
Body = bytes | list[bytes] | None


@dataclass(frozen=True)
class Scene:
    """One request and what is comparable of its answer."""

    asked: str
    status: int
    headers: dict[str, str]
    body: Any

    def __str__(self) -> str:
        return f"{self.asked} -> {self.status}"


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

    def nodes(self, kind: str, *names: str) -> list[NodeClient]:
        """The primaries of a name, to be spoken to without the proxy."""
        part, nodes = self.proxy.backends.primaries(kind, self.account, *names)
        return [NodeClient(node, part, (self.account, *names)) for node in nodes]

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


# --- the chapters ------------------------------------------------------------------------------------


def account(ask: Teller) -> None:
    """Made by its first container; empty before, with metadata afterwards."""
    ask(204, "GET", "")
    ask(200, "GET", "?format=json")
    ask(200, "GET", "?format=xml")
    ask(200, "HEAD", "")
    ask(204, "POST", "", {"X-Account-Meta-Colour": "blue", "X-Account-Meta-Size": wsgi("große")})
    ask(204, "HEAD", "")
    ask(204, "POST", "", {"X-Remove-Account-Meta-Colour": "x", "X-Account-Meta-Shape": "round"})
    ask(204, "HEAD", "")
    ask(400, "POST", "", {"X-Account-Meta-" + "n" * 129: "too long a name"})
    ask(400, "POST", "", {"X-Account-Meta-Long": "v" * 257})
    ask(204, "POST", "", {"X-Account-Meta-Shape": ""})
    for name in ("alpha", "beta", "beta-2", "gamma/", "schön"):
        ask(201, "PUT", f"/{name.rstrip('/')}")
    for query in ("", "?format=json", "?format=xml", "?limit=2", "?marker=beta", "?end_marker=beta-2"):
        ask(200, "GET", query)
    for query in ("?prefix=beta", "?prefix=b&delimiter=-", "?delimiter=-&format=json", "?reverse=on"):
        ask(200, "GET", query)
    ask(204, "GET", "?prefix=nothing")
    ask(412, "GET", "?limit=10001")
    ask(200, "GET", "", {"Accept": "application/json"})
    ask(200, "GET", "", {"Accept": "text/xml"})
    ask(406, "GET", "", {"Accept": "image/png"})
    for name in ("alpha", "beta", "beta-2", "gamma", "schön"):
        ask(204, "DELETE", f"/{name}")
    ask(204, "GET", "")


def container(ask: Teller) -> None:
    """Metadata, policies, names that are no names, and the two ways a DELETE can fail."""
    ask(404, "HEAD", "/box")
    ask(404, "GET", "/box")
    ask(404, "POST", "/box", {"X-Container-Meta-A": "1"})
    ask(404, "DELETE", "/box")
    ask(201, "PUT", "/box", {"X-Container-Meta-A": "1", "X-Container-Meta-B": "2"})
    ask(202, "PUT", "/box", {"X-Container-Meta-B": "3"})
    ask(204, "HEAD", "/box")
    ask(204, "GET", "/box")
    ask(200, "GET", "/box?format=json")
    ask(200, "GET", "/box?format=xml")
    ask(204, "POST", "/box", {"X-Remove-Container-Meta-A": "x", "X-Container-Meta-C": wsgi("über")})
    ask(204, "HEAD", "/box")
    ask(400, "POST", "/box", {"X-Container-Meta-" + "n" * 129: "too long a name"})
    ask(400, "PUT", "/" + "c" * 257)
    ask(412, "PUT", "/%ff")
    ask(405, "COPY", "/box")
    ask(201, "PUT", "/box/o", TEXT, BODY)
    ask(409, "DELETE", "/box")
    ask(204, "HEAD", "/box")
    ask(202, "PUT", "/box")  # which reports what it holds to the account
    ask(204, "HEAD", "")
    ask(200, "GET", "?format=json")
    ask(204, "DELETE", "/box/o")
    ask(204, "HEAD", "/box")
    ask(204, "DELETE", "/box")
    ask(404, "DELETE", "/box")
    ask(404, "GET", "/box?format=json")
    ask(201, "PUT", "/box", {"X-Container-Meta-D": "born again"})
    ask(204, "HEAD", "/box")
    ask(204, "DELETE", "/box")
    ask(204, "HEAD", "")


def policies(ask: Teller) -> None:
    """A container keeps the policy it was made with, and its objects follow."""
    ask(201, "PUT", "/gold", {"X-Storage-Policy": "Gold"})
    ask(201, "PUT", "/silver", {"X-Storage-Policy": "silver"})
    ask(400, "PUT", "/lead", {"X-Storage-Policy": "lead"})
    ask(202, "PUT", "/silver")
    ask(202, "PUT", "/silver", {"X-Storage-Policy": "silver"})
    ask(409, "PUT", "/silver", {"X-Storage-Policy": "gold"})
    ask(204, "HEAD", "/silver")
    ask(201, "PUT", "/silver/o", TEXT, BODY)
    ask(200, "GET", "/silver/o")
    ask(200, "GET", "/silver?format=json")
    ask(201, "COPY", "/silver/o", {"Destination": "gold/o"})
    ask(200, "HEAD", "/gold/o")
    ask(202, "PUT", "/silver")
    ask(202, "PUT", "/gold")
    ask(204, "HEAD", "")
    ask(200, "GET", "?format=json")
    for name in ("silver", "gold"):
        ask(204, "DELETE", f"/{name}/o")
        ask(204, "DELETE", f"/{name}")
    ask(201, "PUT", "/silver", {"X-Storage-Policy": "gold"})
    ask(204, "HEAD", "/silver")
    ask(204, "DELETE", "/silver")


def access(ask: Teller) -> None:
    """Who may read and write, said by the container's ACLs and seen by its owner only."""
    anonymous = ask.nobody
    ask(201, "PUT", "/shared")
    ask(201, "PUT", "/shared/o", TEXT, BODY)
    ask(401, "GET", "/shared/o", by=anonymous)
    ask(403, "GET", "/shared/o", by=ask.guest)
    ask(403, "PUT", "/shared/p", by=ask.guest)
    ask(403, "GET", "", by=ask.guest)
    ask(400, "POST", "/shared", {"X-Container-Read": ".r:"})
    ask(400, "POST", "/shared", {"X-Container-Write": ".r:*"})
    ask(204, "POST", "/shared", {"X-Container-Read": ".referrer:*, .rlistings"})
    ask(204, "HEAD", "/shared")
    ask(200, "GET", "/shared/o", by=anonymous)
    ask(200, "HEAD", "/shared/o", by=anonymous)
    ask(200, "GET", "/shared", by=anonymous)
    ask(204, "HEAD", "/shared", by=anonymous)
    ask(401, "PUT", "/shared/p", by=anonymous)
    ask(404, "GET", "/shared/missing", by=anonymous)
    ask(401, "GET", "/missing/o", by=anonymous)
    ask(204, "POST", "/shared", {"X-Container-Read": "", "X-Container-Write": f"{ask.proxy.account_name}:guest"})
    ask(204, "HEAD", "/shared")
    ask(201, "PUT", "/shared/p", TEXT, b"the guest's", by=ask.guest)
    ask(403, "GET", "/shared/p", by=ask.guest)
    ask(204, "DELETE", "/shared/p", by=ask.guest)
    ask(204, "POST", "/shared", {"X-Remove-Container-Write": "x", "X-Container-Read": f"{ask.proxy.account_name}:guest"})
    ask(200, "GET", "/shared/o", by=ask.guest)
    ask(200, "GET", "/shared", by=ask.guest)
    ask(204, "HEAD", "/shared", by=ask.guest)
    ask(403, "POST", "/shared", {"X-Container-Read": ".r:*"}, by=ask.guest)
    ask(204, "DELETE", "/shared/o")
    ask(204, "DELETE", "/shared")


def uploads(ask: Teller) -> None:
    """Bodies of all lengths, and uploads that are refused."""
    ask(404, "PUT", "/up/early", TEXT, b"no container yet")
    ask(201, "PUT", "/up")
    ask(201, "PUT", "/up/whole", {**TEXT, "X-Object-Meta-Pages": "7"}, BODY)
    ask(201, "PUT", "/up/empty", TEXT, b"")
    ask(201, "PUT", "/up/chunked", TEXT, [BODY[:1000], BODY[1000:]])
    ask(201, "PUT", "/up/chunked-empty", TEXT, [])
    ask(201, "PUT", "/up/checked", {**TEXT, "ETag": ETAG}, BODY)
    ask(201, "PUT", "/up/large", {"Content-Type": "application/x-large"}, BODY * 40)
    ask(201, "PUT", "/up/guessed.html", {}, b"<p>")
    ask(201, "PUT", "/up/detected.png", {"X-Detect-Content-Type": "yes", **TEXT}, b"x")
    ask(201, "PUT", "/up/typed", {"Content-Type": "text/plain; charset=utf-8"}, b"x")
    ask(201, "PUT", "/up/described", {
        **TEXT, "Content-Encoding": "gzip", "Content-Disposition": 'attachment; filename="a b"',
        "Content-Language": "de", "Cache-Control": "no-cache", "Expires": "Tue, 24 Nov 2026 03:33:39 GMT",
        "X-Robots-Tag": "noindex", "X-Unknown": "not kept",
    }, BODY)  # fmt: skip
    for name in ("whole", "empty", "chunked", "chunked-empty", "checked", "large", "guessed.html"):
        ask(200, "GET", f"/up/{name}")
        ask(200, "HEAD", f"/up/{name}")
    for name in ("detected.png", "typed", "described"):
        ask(200, "GET", f"/up/{name}")
    ask(422, "PUT", "/up/wrong", {**TEXT, "ETag": "0" * 32}, BODY)
    ask(422, "PUT", "/up/wrong", {**TEXT, "ETag": "no digest"}, BODY)
    ask(400, "PUT", "/up/wrong", {**TEXT, "X-Object-Meta-" + "n" * 129: "too long a name"}, BODY)
    ask(400, "PUT", "/up/wrong", {**TEXT, "X-Object-Meta-": "no name"}, BODY)
    ask(400, "PUT", "/up/" + "o" * 1025, TEXT, BODY)
    ask(404, "GET", "/up/wrong")
    ask(412, "PUT", "/up/whole", {**TEXT, "If-None-Match": "*"}, b"other")
    ask(201, "PUT", "/up/new", {**TEXT, "If-None-Match": "*"}, b"new")
    ask(400, "PUT", "/up/new", {**TEXT, "If-None-Match": ETAG}, b"new")
    ask(400, "PUT", "/up/wrong", {**TEXT, "X-Delete-At": "soon"}, BODY)
    ask(400, "PUT", "/up/wrong", {**TEXT, "X-Delete-At": "1"}, BODY)
    ask(400, "PUT", "/up/wrong", {**TEXT, "X-Delete-After": "-1"}, BODY)
    ask(201, "PUT", "/up/whole", TEXT, b"the second version")
    ask(200, "GET", "/up/whole")
    ask(200, "GET", "/up?format=json")
    _end(ask, "/up")


def downloads(ask: Teller) -> None:
    """Conditions and ranges."""
    ask(201, "PUT", "/down")
    ask(201, "PUT", "/down/o", TEXT, BODY)
    before, after = "Sat, 01 Jan 2000 00:00:00 GMT", "Thu, 01 Jan 2099 00:00:00 GMT"
    for method in ("GET", "HEAD"):
        ask(200, method, "/down/o", {"If-Match": ETAG})
        ask(200, method, "/down/o", {"If-Match": f'"{ETAG}"'})
        ask(200, method, "/down/o", {"If-Match": "*"})
        ask(412, method, "/down/o", {"If-Match": "0" * 32})
        ask(304, method, "/down/o", {"If-None-Match": f'"{"0" * 32}", "{ETAG}"'})
        ask(200, method, "/down/o", {"If-None-Match": "0" * 32})
        ask(304, method, "/down/o", {"If-None-Match": "*"})
        ask(304, method, "/down/o", {"If-Modified-Since": after})
        ask(200, method, "/down/o", {"If-Modified-Since": before})
        ask(200, method, "/down/o", {"If-Unmodified-Since": after})
        ask(412, method, "/down/o", {"If-Unmodified-Since": before})
        ask(200, method, "/down/o", {"If-Modified-Since": "no date"})
        ask(412, method, "/down/missing", {"If-Match": "*"})
        ask(404, method, "/down/missing", {"If-None-Match": "*"})
    for wanted in ("0-0", "4-8", "-9", "8990-", "8990-99999"):
        ask(206, "GET", "/down/o", {"Range": f"bytes={wanted}"})
    ask(206, "GET", "/down/o", {"Range": "bytes=0-3,10-13"})
    ask(206, "GET", "/down/o", {"Range": "bytes=0-3,9000-9001"})
    ask(206, "GET", "/down/o", {"Range": "bytes=-4,0-3"})
    ask(416, "GET", "/down/o", {"Range": "bytes=9000-"})
    ask(416, "GET", "/down/o", {"Range": "bytes=-0"})
    for senseless in ("bytes=8-4", "bytes=a-b", "lines=0-3", "bytes="):
        ask(200, "GET", "/down/o", {"Range": senseless})
    ask(200, "HEAD", "/down/o", {"Range": "bytes=4-8"})
    ask(206, "GET", "/down/o", {"Range": "bytes=4-8", "If-Range": f'"{ETAG}"'})
    ask(412, "GET", "/down/o", {"Range": "bytes=4-8", "If-Match": "0" * 32})
    ask(304, "GET", "/down/o", {"Range": "bytes=4-8", "If-None-Match": ETAG})
    ask(201, "PUT", "/down/empty", TEXT, b"")
    ask(416, "GET", "/down/empty", {"Range": "bytes=0-0"})
    ask(200, "GET", "/down/o", {"X-Newest": "true"})
    ask(200, "GET", "/down/o?multipart-manifest=get&other=1")
    _end(ask, "/down")


def metadata(ask: Teller) -> None:
    """POST replaces what users may say and keeps what the upload said."""
    ask(201, "PUT", "/meta")
    ask(404, "POST", "/meta/o", {"X-Object-Meta-A": "1"})
    kept = {**TEXT, "Content-Disposition": "inline", "Content-Encoding": "identity", "X-Object-Meta-A": "1"}
    ask(201, "PUT", "/meta/o", kept, BODY)
    ask(202, "POST", "/meta/o", {"X-Object-Meta-B": "2"})
    ask(200, "HEAD", "/meta/o")
    ask(202, "POST", "/meta/o", {"Content-Type": "application/x-other", "Content-Encoding": "gzip"})
    ask(200, "GET", "/meta/o")
    ask(200, "GET", "/meta?format=json")
    ask(202, "POST", "/meta/o", {"X-Object-Meta-C": "3", "Content-Type": ""})
    ask(200, "HEAD", "/meta/o")
    ask(202, "POST", "/meta/o")
    ask(200, "HEAD", "/meta/o")
    ask(400, "POST", "/meta/o", {"X-Object-Meta-Long": "v" * 257})
    ask(400, "POST", "/meta/o", {f"X-Object-Meta-{number}": "too many" for number in range(91)})
    ask(400, "POST", "/meta/o", {f"X-Object-Meta-{number}": "v" * 256 for number in range(17)})
    ask(400, "POST", "/meta/o", {"X-Delete-At": "1"})
    ask(200, "GET", "/meta?format=json")
    _end(ask, "/meta")


def copies(ask: Teller) -> None:
    """COPY and X-Copy-From."""
    ask(201, "PUT", "/from")
    ask(201, "PUT", "/to")
    ask(201, "PUT", "/from/o", {**TEXT, "X-Object-Meta-A": "1", "Content-Encoding": "gzip"}, BODY)
    ask(201, "COPY", "/from/o", {"Destination": "to/copied"})
    ask(200, "GET", "/to/copied")
    ask(201, "COPY", "/from/o", {"Destination": "/to/other", "Content-Type": "x/y", "X-Object-Meta-B": "2"})
    ask(200, "HEAD", "/to/other")
    ask(201, "COPY", "/from/o", {"Destination": "to/fresh", "X-Fresh-Metadata": "true", "X-Object-Meta-B": "2"})
    ask(200, "HEAD", "/to/fresh")
    ask(201, "PUT", "/to/pulled", {"X-Copy-From": "/from/o"})
    ask(200, "HEAD", "/to/pulled")
    ask(201, "PUT", "/to/part", {"X-Copy-From": "/from/o", "Range": "bytes=4-8"})
    ask(200, "GET", "/to/part")
    ask(201, "COPY", "/from/o", {"Destination": "from/o", "X-Object-Meta-C": "3"})
    ask(200, "HEAD", "/from/o")
    ask(201, "COPY", "/from/o", {"Destination": "to/here", "Destination-Account": ask.account})
    ask(404, "COPY", "/from/missing", {"Destination": "to/x"})
    ask(404, "COPY", "/from/o", {"Destination": "missing/x"})
    ask(412, "COPY", "/from/o", {"Destination": "to"})
    ask(412, "COPY", "/from/o")
    ask(412, "PUT", "/to/x", {"X-Copy-From": "from"})
    ask(400, "PUT", "/to/x", {"X-Copy-From": "/from/o"}, b"a body of its own")
    ask(412, "COPY", "/from/o", {"Destination": "to/x", "If-Match": "0" * 32})
    ask(200, "GET", "/to?format=json")
    _end(ask, "/from")
    _end(ask, "/to")


def listings(ask: Teller) -> None:
    """A container's objects in every form and selection."""
    ask(201, "PUT", "/list")
    names = ("a", "b/1", "b/2/x", "b/2/y", "b", "c d", "c&d<e>", "ü/ä", "日本語", "z")
    for name in names:
        ask(201, "PUT", f"/list/{name}", TEXT, name.encode())
    for form in ("", "&format=json", "&format=xml", "&format=plain"):
        ask(200, "GET", f"/list?limit=100{form}")
        ask(200, "GET", f"/list?delimiter=/{form}")
        ask(200, "GET", f"/list?prefix=b/&delimiter=/{form}")
    for query in (
        "limit=3", "limit=3&marker=b/1", "marker=b/2/x&limit=2", "end_marker=b/2", "prefix=b", "prefix=b/&limit=1",
        "prefix=ü&delimiter=ä", "reverse=true", "reverse=true&marker=c d", "reverse=true&end_marker=c d&delimiter=/",
        "path=b", "path=b/2", "path=", "delimiter=2/", "delimiter=/&marker=b/", "delimiter=/&prefix=b&end_marker=c",
        "marker=z&end_marker=日", "limit=x",
    ):  # fmt: skip
        ask(200, "GET", f"/list?{query.replace(' ', '%20')}")
    for query in ("limit=0", "prefix=missing", "marker=日本語", "path=missing"):
        ask(204, "GET", f"/list?{query}")
    ask(200, "GET", "/list?prefix=missing&format=json")
    ask(200, "GET", "/list?prefix=missing&format=xml")
    ask(412, "GET", "/list?limit=10001")
    ask(400, "GET", "/list?prefix=%ff")
    ask(400, "GET", "/list?delimiter=%ff")
    ask(200, "GET", "/list", {"Accept": "application/xml;q=0.9, application/json;q=0.5"})
    ask(200, "GET", "/list", {"Accept": "*/*"})
    ask(406, "GET", "/list", {"Accept": "image/png"})
    ask(204, "HEAD", "/list")
    ask(204, "HEAD", "/list?format=json")
    ask(204, "DELETE", "/list/z")
    ask(200, "GET", "/list?marker=c")
    _end(ask, "/list")


def unicode_names(ask: Teller) -> None:
    """Names and metadata that are not ASCII, and spaces, and percent signs."""
    ask(201, "PUT", "/bücher", {"X-Container-Meta-Feet": wsgi("zwei Füße")})
    names = ("für Elise", "☃/снег", "100%25", "a//b", "tail/", "emoji 😀", "?query", "plus+and&amp")
    value = wsgi("grün ☃")
    for name in names:
        path = f"/bücher/{quote(name)}"
        ask(201, "PUT", path, {**TEXT, "X-Object-Meta-Farbe": value}, BODY)
        ask(200, "GET", path)
        ask(202, "POST", path, {"X-Object-Meta-Farbe": value + "!"})
        ask(200, "HEAD", path)
    ask(204, "HEAD", "/bücher")
    for form in ("", "?format=json", "?format=xml"):
        ask(200, "GET", f"/bücher{form}")
        ask(200, "GET", form)
    ask(201, "COPY", f"/bücher/{quote('für Elise')}", {"Destination": quote("bücher/für Luise")})
    ask(200, "GET", f"/bücher/{quote('für Luise')}")
    ask(412, "PUT", "/b%00c")
    ask(412, "PUT", "/bücher/%00")
    ask(412, "GET", "/bücher/%ff%fe")
    _end(ask, "/bücher")


def expiry(ask: Teller) -> None:
    """Objects with an end: set, changed, dropped, and reached."""
    ask(201, "PUT", "/mortal")
    ask(201, "PUT", "/mortal/o", {**TEXT, "X-Delete-At": "4000000000"}, BODY)
    ask(200, "HEAD", "/mortal/o")
    ask(202, "POST", "/mortal/o", {"X-Delete-At": "4000000001"})
    ask(200, "GET", "/mortal/o")
    ask(202, "POST", "/mortal/o", {"X-Object-Meta-A": "1"})
    ask(200, "HEAD", "/mortal/o")
    ask(201, "PUT", "/mortal/after", {**TEXT, "X-Delete-After": "86400"}, BODY)
    assert 0 <= int(ask.owner.head("/mortal/after").headers["X-Delete-At"]) - time.time() - 86395 <= 5
    # One that has expired already: as an upload from an hour ago leaves it.
    an_hour_ago = Timestamp.at(time.time() - 3600)
    for node in ask.nodes("object", "mortal", "late"):
        ended = {**TEXT, "X-Delete-At": str(int(an_hour_ago.seconds) + 60)}
        assert node("PUT", an_hour_ago, ended, BODY).status == 201
    ask(404, "GET", "/mortal/late")
    ask(404, "HEAD", "/mortal/late")
    ask(404, "POST", "/mortal/late", {"X-Object-Meta-A": "1"})
    ask(404, "COPY", "/mortal/late", {"Destination": "mortal/copy"})
    ask(201, "PUT", "/mortal/late", {**TEXT, "If-None-Match": "*"}, b"alive again")
    ask(200, "GET", "/mortal/late")
    ask(204, "HEAD", "/mortal")
    _end(ask, "/mortal")


def conflicts(ask: Teller) -> None:
    """Writes that meet something newer, as when a clock is behind: put there past the proxy."""
    ask(201, "PUT", "/newer")
    soon = Timestamp.at(time.time() + 3600)
    for node in ask.nodes("object", "newer", "o"):
        assert node("PUT", soon, {**TEXT, "X-Object-Meta-From": "later"}, BODY).status == 201
        assert node("PUT", soon, TEXT, b"same time").status == 409
    ask(202, "PUT", "/newer/o", TEXT, b"too late")
    ask(409, "POST", "/newer/o", {"X-Object-Meta-A": "1"})
    ask(409, "DELETE", "/newer/o")
    ask(200, "GET", "/newer/o")
    for node in ask.nodes("object", "newer", "o"):
        assert node("DELETE", Timestamp.at(soon.seconds + 1)).status == 204
    ask(404, "GET", "/newer/o")
    ask(202, "PUT", "/newer/o", TEXT, b"too late")
    ask(404, "POST", "/newer/o", {"X-Object-Meta-A": "1"})
    ask(404, "DELETE", "/newer/o")
    # One replica has a version that the others lack.
    ask(201, "PUT", "/newer/ahead", TEXT, BODY)
    assert ask.nodes("object", "newer", "ahead")[2]("PUT", Timestamp.now(), TEXT, b"ahead").status == 201
    ask(200, "GET", "/newer/ahead", {"X-Newest": "true"})
    ask(200, "HEAD", "/newer/ahead", {"X-Newest": "true"})
    # A container that was deleted in the future cannot be made now.
    for node in ask.nodes("container", "gone"):
        assert node("PUT", soon).status == 201
        assert node("DELETE", Timestamp.at(soon.seconds + 1)).status == 204
    ask(404, "HEAD", "/gone")
    ask(409, "PUT", "/gone")
    ask(404, "GET", "/gone")


def deletion(ask: Teller) -> None:
    """The end of an object, of a container and of the account."""
    ask(201, "PUT", "/last")
    ask(201, "PUT", "/last/o", TEXT, BODY)
    ask(204, "DELETE", "/last/o")
    ask(404, "DELETE", "/last/o")
    ask(404, "GET", "/last/o")
    ask(404, "HEAD", "/last/o")
    ask(404, "POST", "/last/o", {"X-Object-Meta-A": "1"})
    ask(404, "DELETE", "/last/never")
    ask(404, "DELETE", "/missing/o")
    ask(404, "GET", "/missing/o")
    ask(201, "PUT", "/last/o", TEXT, b"again")
    ask(200, "GET", "/last/o")
    ask(204, "DELETE", "/last/o")
    ask(204, "GET", "/last")
    ask(204, "DELETE", "/last")
    ask(405, "PATCH", "/last")
    ask(200, "OPTIONS", "/last/o")
    ask(200, "OPTIONS", "")
    ask(403, "DELETE", "")
    ask(403, "PUT", "", by=ask.guest)
    ask(204, "DELETE", "", by=ask.reseller)
    ask(410, "GET", "")
    ask(410, "HEAD", "")
    ask(503, "PUT", "/c")


CHAPTERS: tuple[Chapter, ...] = (
    account, container, policies, access, uploads, downloads, metadata, copies, listings, unicode_names, expiry,
    conflicts, deletion,
)  # fmt: skip


def wsgi(text: str) -> str:
    """Text as a header's value: each character one byte of its UTF-8."""
    return text.encode().decode("latin-1")


def _end(ask: Teller, container_path: str) -> None:
    """Delete a container and whatever is in it."""
    for row in ask.owner.listing(quote(container_path)):
        ask.owner.delete(f"{quote(container_path)}/{quote(row['name'])}")
    ask(204, "DELETE", container_path)


def names() -> Iterator[str]:
    """What the chapters are called."""
    for chapter in CHAPTERS:
        yield chapter.__name__
