"""The chapters about accounts and containers."""

from __future__ import annotations

from tests.interop.teller import BODY, TEXT, Teller, wsgi


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
    anonymous, guest = ask.nobody, f"{ask.proxy.account_name}:guest"
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
    ask(204, "POST", "/shared", {"X-Container-Read": "", "X-Container-Write": guest})
    ask(204, "HEAD", "/shared")
    ask(201, "PUT", "/shared/p", TEXT, b"the guest's", by=ask.guest)
    ask(403, "GET", "/shared/p", by=ask.guest)
    ask(204, "DELETE", "/shared/p", by=ask.guest)
    ask(204, "POST", "/shared", {"X-Remove-Container-Write": "x", "X-Container-Read": guest})
    ask(200, "GET", "/shared/o", by=ask.guest)
    ask(200, "GET", "/shared", by=ask.guest)
    ask(204, "HEAD", "/shared", by=ask.guest)
    ask(403, "POST", "/shared", {"X-Container-Read": ".r:*"}, by=ask.guest)
    ask(204, "DELETE", "/shared/o")
    ask(204, "DELETE", "/shared")


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
        "limit=3", "limit=3&marker=b/1", "marker=b/2/x&limit=2", "end_marker=b/2", "prefix=b",
        "prefix=b/&limit=1", "prefix=ü&delimiter=ä", "reverse=true", "reverse=true&marker=c d",
        "reverse=true&end_marker=c d&delimiter=/", "path=b", "path=b/2", "path=", "delimiter=2/",
        "delimiter=/&marker=b/", "delimiter=/&prefix=b&end_marker=c", "marker=z&end_marker=日", "limit=x",
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
    ask.end("/list")


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
