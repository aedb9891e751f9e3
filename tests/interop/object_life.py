"""The chapters about objects."""

from __future__ import annotations

import time
from urllib.parse import quote

from miniswift.timestamp import Timestamp
from tests.interop.teller import BODY, ETAG, TEXT, Teller, wsgi


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
    ask.end("/up")


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
    ask.end("/down")


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
    ask.end("/meta")


def copies(ask: Teller) -> None:
    """COPY and X-Copy-From."""
    ask(201, "PUT", "/from")
    ask(201, "PUT", "/to")
    ask(201, "PUT", "/from/o", {**TEXT, "X-Object-Meta-A": "1", "Content-Encoding": "gzip"}, BODY)
    ask(201, "COPY", "/from/o", {"Destination": "to/copied"})
    ask(200, "GET", "/to/copied")
    ask(201, "COPY", "/from/o", {"Destination": "/to/other", "Content-Type": "x/y", "X-Object-Meta-B": "2"})
    ask(200, "HEAD", "/to/other")
    fresh = {"X-Fresh-Metadata": "true", "X-Object-Meta-B": "2"}
    ask(201, "COPY", "/from/o", {"Destination": "to/fresh", **fresh})
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
    ask.end("/from")
    ask.end("/to")


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
    ask.end("/bücher")


def expiry(ask: Teller) -> None:
    """Objects with an end: set, changed, dropped, and reached."""
    ask(201, "PUT", "/mortal")
    ask(201, "PUT", "/mortal/o", {**TEXT, "X-Delete-At": "4000000000"}, BODY)
    ask.expirer_queue("mortal", "o", 4000000000)
    ask(200, "HEAD", "/mortal/o")
    ask(202, "POST", "/mortal/o", {"X-Delete-At": "4000000001"})
    ask.expirer_queue("mortal", "o", 4000000001)
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
    ask.end("/mortal")


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
