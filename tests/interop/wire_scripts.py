"""What the three storage servers are asked over the wire, each once with all that it must refuse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from tests.interop.wire import Wire


def any_server(ask: Wire) -> None:
    """What all three refuse alike."""
    ask("OPTIONS", "a")
    ask("PATCH", "a")
    ask("GET", "/wire")
    ask("GET", "/wire/7")
    ask("GET", "/")
    path = {"account": "a", "container": "a/c", "object": "a/c/o"}[ask.kind]
    ask("GET", f"/../7/{path}")
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        ask(method, f"/missing/7/{path}", 1, {"Content-Type": "text/plain"})
    ask("GET", f"%ff{path}")
    ask("HEAD", f"{path}%FE")


def accounts(ask: Wire) -> None:
    row = {
        "X-Put-Timestamp": ask.at(2),
        "X-Delete-Timestamp": "0",
        "X-Object-Count": "3",
        "X-Bytes-Used": "17",
    }
    ask("GET", "a")
    ask("HEAD", "a")
    ask("POST", "a", 1)
    ask("DELETE", "a", 1)
    ask("PUT", "a/c", None, row)
    ask("PUT", "a")
    ask("PUT", "a", None, {"X-Timestamp": "soon"})
    ask("PUT", "a", 1, {"X-Account-Meta-Colour": "blue", "X-Account-Sysmeta-Key": "k"})
    ask("PUT", "a", 1.5, {"X-Account-Meta-Shape": "round"})
    ask("HEAD", "a")
    ask("PUT", "a/c", None, row)
    ask("PUT", "a/c", None, {**row, "X-Trans-Id": "tx1", "X-Backend-Storage-Policy-Index": "1"})
    ask("PUT", "a/d%2Fe", None, row)
    ask("PUT", "a/%E2%98%83", None, row)
    ask("PUT", "a/gone", None, row)
    ask(
        "PUT",
        "a/gone",
        None,
        {**row, "X-Delete-Timestamp": ask.at(3), "X-Object-Count": "0", "X-Bytes-Used": "0"},
    )
    for query in ("", "?format=json", "?format=xml", "?format=odd", "?limit=1", "?limit=10001", "?limit=-1",
                  "?prefix=d", "?delimiter=/", "?delimiter=/&format=json", "?marker=c&format=json",
                  "?end_marker=d&reverse=yes", "?prefix=none", "?prefix=none&format=json", "?prefix=%ff",
                  "?prefix=none&format=xml"):  # fmt: skip
        ask("GET", f"a{query}")
    ask("GET", "a", None, {"Accept": "application/json"})
    ask("GET", "a", None, {"Accept": "application/xml"})
    ask("GET", "a", None, {"Accept": "image/png"})
    ask("HEAD", "a?format=json")
    ask("POST", "a")
    ask("POST", "a", 4, {"X-Account-Meta-Colour": "", "X-Account-Meta-Size": "L"})
    ask("POST", "a", 3.5, {"X-Account-Meta-Size": "too late"})
    ask("HEAD", "a")
    ask("POST", "a", 5, {"X-Account-Meta-" + "n" * 129: "x"})
    ask("DELETE", "a")
    ask("DELETE", "a", 6)
    ask("HEAD", "a")
    ask("GET", "a?format=json")
    ask("POST", "a", 7)
    ask("DELETE", "a", 7)
    ask("PUT", "a", 7)
    ask("PUT", "a/c", None, row)
    ask("PUT", "a/c", None, {**row, "X-Account-Override-Deleted": "yes"})
    ask("PUT", ".auto/c", None, row)
    ask("PUT", "%00reserved", 1)
    ask("PUT", "peered", 1)
    _replication(ask, "peered", {
        "ROWID": 3, "name": "c", "put_timestamp": ask.at(2), "delete_timestamp": "0", "object_count": 1,
        "bytes_used": 2, "deleted": 0, "storage_policy_index": 0,
    })  # fmt: skip
    ask("GET", "peered?format=json")


def containers(ask: Wire) -> None:
    silver = {"X-Backend-Storage-Policy-Index": "1"}
    ask("GET", "a/c")
    ask("HEAD", "a/c")
    ask("POST", "a/c", 1)
    ask("DELETE", "a/c", 1)
    ask("PUT", "a/c")
    ask("PUT", "a/c", None, {"X-Timestamp": "soon"})
    ask("PUT", "a/c", 1, {"X-Backend-Storage-Policy-Index": "7"})
    ask("PUT", "a/c", 1, {"X-Backend-Storage-Policy-Index": "one"})
    ask(
        "PUT",
        "a/c",
        1,
        {
            **silver,
            "X-Container-Meta-Colour": "blue",
            "X-Container-Read": ".r:*",
            "X-Container-Sysmeta-K": "v",
        },
    )
    ask("PUT", "a/c", 1)
    ask("PUT", "a/c", 2, {"X-Container-Meta-Shape": "round", "X-Backend-Storage-Policy-Default": "0"})
    ask(
        "PUT",
        "a/c",
        1,
        {"X-Account-Host": "127.0.0.1:1,127.0.0.1:1", "X-Account-Device": "d1", "X-Account-Partition": "1"},
    )
    ask("PUT", "a/c", 2.5, {"X-Backend-Storage-Policy-Index": "0"})
    ask("HEAD", "a/c")
    ask("GET", "a/c")
    ask("PUT", "a/sync", 1, {"X-Container-Sync-To": "http://elsewhere/v1/a/c"})
    for name in ("o", "o%2Fp", "o%2Fq%2Fr", "z", "%E2%98%83", "a%20b"):
        row = {"X-Size": "5", "X-Content-Type": "text/plain", "X-Etag": "e" * 32}
        ask("PUT", f"a/c/{name}", 3, {**row, **silver})
    ask("PUT", "a/c/other-policy", 3, row)
    ask("PUT", "a/c/sized", 3, {**row, **silver, "X-Content-Type": "text/plain;swift_bytes=77"})
    ask("PUT", "a/c/o", 2, {**row, **silver, "X-Size": "6"})
    ask(
        "PUT",
        "a/c/o",
        3,
        {
            **row,
            **silver,
            "X-Content-Type": "new/type",
            "X-Content-Type-Timestamp": ask.at(4),
            "X-Meta-Timestamp": ask.at(5),
        },
    )
    ask("PUT", "a/c/x", None, row)
    ask("DELETE", "a/c/z", 4, silver)
    ask("DELETE", "a/c/never", 4, silver)
    ask("DELETE", "a/c/z")
    ask("PUT", "a/missing/o", 3, row)
    ask("DELETE", "a/missing/o", 3)
    ask("PUT", ".auto/c/o", 3, row)
    ask("PUT", "a/auto/o", 3, {**row, "X-Backend-Auto-Create": "true"})
    for query in (
        "", "?format=json", "?format=xml", "?limit=2", "?limit=10001", "?prefix=o", "?prefix=o/&delimiter=/",
        "?delimiter=/&format=json", "?delimiter=/&format=xml", "?marker=o&format=json", "?end_marker=o",
        "?reverse=true", "?path=o", "?path=o&format=json", "?prefix=none", "?prefix=none&format=json",
        "?prefix=%ff", "?marker=%E2%98%83", "?states=listing&format=json", "?limit=0&format=json",
    ):  # fmt: skip
        ask("GET", f"a/c{query}")
    for headers in (
        {"X-Backend-Record-Type": "auto", "X-Backend-Record-Shard-Format": "namespace"},
        {"X-Backend-Record-Type": "object"}, {"X-Backend-Storage-Policy-Index": "0"},
        {"Accept": "application/json"}, {"Accept": "image/png"}, {"X-Backend-Override-Deleted": "true"},
    ):  # fmt: skip
        ask("GET", "a/c?format=json" if "Accept" not in headers else "a/c", None, headers)
    ask("POST", "a/c")
    ask("POST", "a/c", 5, {"X-Container-Meta-Colour": "", "X-Container-Read": "", "X-Container-Write": "w"})
    ask("POST", "a/c", 6, {"X-Container-Meta-Late": "1", "X-Backend-No-Timestamp-Update": "true"})
    ask("HEAD", "a/c")
    ask("DELETE", "a/c", 7)
    for name in ("o", "o%2Fp", "o%2Fq%2Fr", "%E2%98%83", "a%20b", "sized"):
        ask("DELETE", f"a/c/{name}", 8, silver)
    ask("DELETE", "a/c", 1)
    ask("DELETE", "a/c")
    ask("DELETE", "a/c", 9)
    ask("HEAD", "a/c")
    ask("GET", "a/c")
    ask("GET", "a/c?format=json", None, {"X-Backend-Override-Deleted": "true"})
    ask("POST", "a/c", 10)
    ask("DELETE", "a/c", 10)
    ask("PUT", "a/c/o", 10, {**row, **silver})
    ask("PUT", "a/c", 8)
    ask("PUT", "a/c", 11, {"X-Backend-Storage-Policy-Index": "0"})
    ask("HEAD", "a/c")
    items = [{"name": "merged", "created_at": ask.at(12), "size": 1, "content_type": "t/p", "etag": "e",
              "deleted": 0, "storage_policy_index": 0}]  # fmt: skip
    ask("UPDATE", "a/c", 12, None, json.dumps(items).encode())
    ask("UPDATE", "a/c", 12, None, b"no JSON")
    ask("GET", "a/c?format=json")
    ask("PUT", "a/%00c", 1)
    ask("PUT", "a/peered", 1)
    _replication(ask, "a/peered", {
        "ROWID": 3, "name": "o", "created_at": ask.at(2), "size": 1, "content_type": "text/plain",
        "etag": "e", "deleted": 0, "storage_policy_index": 0,
    })  # fmt: skip
    ask("GET", "a/peered?format=json")


def objects(ask: Wire) -> None:
    text = {"Content-Type": "text/plain"}
    body = b"0123456789" * 10
    etag = "f5c8e3c31c044bae0e65569560b54332"
    ask("GET", "a/c/o")
    ask("HEAD", "a/c/o")
    ask("POST", "a/c/o", 1)
    ask("PUT", "a/c/o", None, text, body)
    ask("PUT", "a/c/o", None, {**text, "X-Timestamp": "soon"}, body)
    ask("PUT", "a/c/o", 1, None, body)
    ask("PUT", "a/c/o", 1, {**text, "X-Backend-Storage-Policy-Index": "9"}, body)
    ask("GET", "a/c/o", 1, {"X-Backend-Storage-Policy-Index": "9"})
    ask("PUT", "a/c/o", 1, {**text, "ETag": "0" * 32}, body)
    ask("PUT", "a/c/o", 1, {**text, "X-Delete-At": "17"}, body)
    ask("PUT", "a/c/o", 1, {**text, "X-Delete-At": "soon"}, body)
    ask("PUT", "a/c/o", 1, {
        **text, "X-Object-Meta-A": "1", "X-Object-Sysmeta-S": "s", "X-Object-Transient-Sysmeta-T": "t",
        "Content-Encoding": "gzip", "X-Other": "dropped", "X-Delete-At": "4000000000",
    }, body)  # fmt: skip
    ask("PUT", "a/c/o", 1, text, body)
    ask("PUT", "a/c/o", 0.5, text, body)
    ask("PUT", "a/c/o", 2, {**text, "If-None-Match": "*"}, body)
    ask("PUT", "a/c/o", 2, {**text, "If-None-Match": etag}, body)
    ask("PUT", "a/c/o", 2, {**text, "If-None-Match": "other"}, body)
    ask("GET", "a/c/o")
    ask("HEAD", "a/c/o")
    ask("GET", "a/c/o", None, {"Range": "bytes=0-3"})
    ask("GET", "a/c/o", None, {"Range": "bytes=0-3,6-8"})
    ask("GET", "a/c/o", None, {"Range": "bytes=100-"})
    ask("HEAD", "a/c/o", None, {"Range": "bytes=0-3"})
    ask("GET", "a/c/o", None, {"If-Match": "other"})
    ask("GET", "a/c/o", None, {"If-None-Match": etag})
    ask("GET", "a/c/o", None, {"If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT"})
    ask("GET", "a/c/o", None, {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"})
    ask(
        "PUT", "a/c/m", 1, {**text, "X-Object-Sysmeta-Slo-Etag": "slo", "X-Static-Large-Object": "True"}, body
    )
    ask("GET", "a/c/m", None, {"X-Backend-Etag-Is-At": "X-None,X-Object-Sysmeta-Slo-Etag", "If-Match": "slo"})
    ask("GET", "a/c/m", None, {"X-Backend-Etag-Is-At": "X-Object-Sysmeta-Slo-Etag", "If-Match": etag})
    ask(
        "GET",
        "a/c/m",
        None,
        {"X-Backend-Ignore-Range-If-Metadata-Present": "X-Static-Large-Object", "Range": "bytes=0-1"},
    )
    ask("POST", "a/c/m", 2, {"X-Object-Meta-A": "1", "X-Object-Sysmeta-Slo-Etag": "changed"})
    ask("HEAD", "a/c/m")
    ask("POST", "a/c/o", None, {"X-Object-Meta-A": "2"})
    ask("POST", "a/c/o", 2, {"X-Object-Meta-A": "2"})
    ask("POST", "a/c/o", 3, {"X-Object-Meta-A": "2", "X-Delete-At": "17"})
    ask("POST", "a/c/o", 3, {"X-Object-Meta-A": "2", "X-Object-Sysmeta-S": "changed"})
    ask("HEAD", "a/c/o")
    ask("POST", "a/c/o", 4, {"Content-Type": "new/type", "Content-Disposition": "inline"})
    ask("HEAD", "a/c/o")
    ask("POST", "a/c/o", 5, {"X-Object-Meta-B": "3"})
    ask("HEAD", "a/c/o")
    ask("DELETE", "a/c/o")
    ask("DELETE", "a/c/o", 4.5)
    ask("DELETE", "a/c/o", 6, {"X-If-Delete-At": "soon"})
    ask("DELETE", "a/c/o", 6, {"X-If-Delete-At": "4000000000"})
    ask("DELETE", "a/c/o", 6)
    ask("GET", "a/c/o")
    ask("HEAD", "a/c/o")
    ask("POST", "a/c/o", 7)
    ask("DELETE", "a/c/o", 5)
    ask("DELETE", "a/c/o", 8)
    ask("PUT", "a/c/o", 7, text, body)
    ask("DELETE", "a/c/never", 1)
    ask("HEAD", "a/c/never")
    ask("PUT", "a/c/late", -30, {**text, "X-Delete-At": str(ask.base - 10)}, body)
    ask("GET", "a/c/late")
    ask("HEAD", "a/c/late")
    ask("POST", "a/c/late", 1)
    ask("GET", "a/c/late", None, {"X-Backend-Open-Expired": "true"})
    ask("HEAD", "a/c/late", None, {"X-Backend-Replication": "true"})
    ask("DELETE", "a/c/late", 1, {"X-If-Delete-At": "12"})
    ask("DELETE", "a/c/late", 1, {"X-If-Delete-At": str(ask.base - 10)})
    ask("PUT", "a/c/empty", 1, {**text, "Content-Length": "0"}, b"")
    ask("GET", "a/c/empty")
    ask("GET", "a/c/empty", None, {"Range": "bytes=0-1"})
    ask("GET", "a/c/empty", None, {"Range": "bytes=-1"})
    ask("PUT", "a/c/%E2%98%83", 1, {**text, "X-Object-Meta-A": "â\x98\x83"}, body)
    ask("HEAD", "a/c/%E2%98%83")
    ask("PUT", "a/c/offset", None, {**text, "X-Timestamp": f"{ask.at(1)}_0000000000000003"}, body)
    ask("HEAD", "a/c/offset")
    ask("PUT", "a/c/silver", 1, {**text, "X-Backend-Storage-Policy-Index": "1"}, body)
    ask("HEAD", "a/c/silver")
    ask("HEAD", "a/c/silver", None, {"X-Backend-Storage-Policy-Index": "1"})
    ask("PUT", "a/c", 1, text, body)
    ask("GET", "a/c")
    ask("PUT", "a/c/%00o", 1, text, body)


def _replication(ask: Wire, name: str, row: dict[str, object]) -> None:
    """A peer's replicator asks the copy of a database; `row` is one that it has."""
    stamps = [ask.at(0), ask.at(20), "0"]
    sync = [
        "sync",
        17,
        "0" * 32,
        "peer",
        *stamps,
        json.dumps({f"X-{ask.kind.title()}-Meta-Peer": ["1", ask.at(20)]}),
    ]
    calls: tuple[list[object], ...] = (
        [*sync],
        ["merge_items", [row], "peer"],
        ["merge_syncs", [{"remote_id": "third", "sync_point": 4}]],
        [*sync],
        ["complete_rsync", "never-sent"],
        ["rsync_then_merge", "never-sent"],
    )
    # hash_path: the suffix stands in the clusters' swift.conf.
    digest = hashlib.md5(f"/{name}interop".encode()).hexdigest()
    for call in calls:
        ask("REPLICATE", digest, None, None, json.dumps(call).encode())
    missing = hashlib.md5(b"missing").hexdigest()
    for call in calls:
        ask("REPLICATE", missing, None, None, json.dumps(call).encode())


SCRIPTS: dict[str, Callable[[Wire], None]] = {"account": accounts, "container": containers, "object": objects}
