"""Every request with every fault, over real storage servers in this process.

A store has three replicas, on three devices or on five; of five, two are handoffs. A fault strikes the
primaries: one of the three, or two. What a request may answer then follows from a quorum of two:

                        three devices              five devices
    one primary fails   as if nothing was          as if nothing was
    two primaries fail  writes 503, reads as ever  as if nothing was, but for changes of what handoffs do not
                                                   have, and uploads that break in the middle: 503
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from miniswift.backend import BackendRequest
from miniswift.responses import Response
from miniswift.storage.check import check_devices
from miniswift.wsgi import Request
from tests.faults import transport as faults
from tests.faults.transport import NODE_TIMEOUT_S, Fault, FaultyTransport
from tests.unit.proxy.conftest import Store

ACCOUNT = "/v1/AUTH_a"
CONTAINER = f"{ACCOUNT}/c"
OLD, NEW = b"old content " * 1000, b"new content " * 1500
GARBLED = bytes([NEW[0] ^ 0xFF]) + NEW[1:]
DELETED_AT = "X-Backend-Delete-Timestamp"
CHUNK = 4096  # bytes; so that bodies are several
SLACK_S = 2.0  # for a busy machine


@dataclass(frozen=True)
class Verb:
    """A request, and what it answers when all is well."""

    name: str
    method: str
    path: str
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    is_chunked: bool = False

    @property
    def is_write(self) -> bool:
        return self.method in ("PUT", "POST", "DELETE")

    @property
    def is_upload(self) -> bool:
        return self.method == "PUT" and bool(self.body)


META = (("X-Object-Meta-Set", "new"),)
VERBS = [
    Verb("object PUT", "PUT", f"{CONTAINER}/new", 201, META, NEW),
    Verb("object PUT, chunked", "PUT", f"{CONTAINER}/chunked", 201, META, NEW, is_chunked=True),
    Verb("object PUT again", "PUT", f"{CONTAINER}/again", 201, META, NEW),
    Verb("object GET", "GET", f"{CONTAINER}/get", 200),
    Verb("object GET, a range", "GET", f"{CONTAINER}/get", 206, (("Range", "bytes=5-9000"),)),
    Verb("object HEAD", "HEAD", f"{CONTAINER}/get", 200),
    Verb("object POST", "POST", f"{CONTAINER}/post", 202, META),
    Verb("object DELETE", "DELETE", f"{CONTAINER}/delete", 204),
    Verb("container PUT", "PUT", f"{ACCOUNT}/c2", 201),
    Verb("container GET", "GET", CONTAINER, 200),
    Verb("container HEAD", "HEAD", CONTAINER, 204),
    Verb("container POST", "POST", CONTAINER, 204, (("X-Container-Meta-Set", "new"),)),
    Verb("container DELETE", "DELETE", f"{ACCOUNT}/empty", 204),
    Verb("account GET", "GET", ACCOUNT, 200),
    Verb("account HEAD", "HEAD", ACCOUNT, 204),
    Verb("account POST", "POST", ACCOUNT, 204, (("X-Account-Meta-Set", "new"),)),
]
FAULTS: dict[str, Fault] = {
    "down": faults.down,
    "stalled": faults.stalled,
    "stops reading": faults.stops_reading,
    "507": faults.says_507,
    "503": faults.says_503,
    "breaks off in mid-body": faults.breaks_off,
    "stalls in mid-answer": faults.stalls_in_its_answer,
    "garbles uploads": faults.garbles_uploads,
}
# They change what handoffs do not have. (An object's DELETE leaves a tombstone there, and counts.)
NOT_FOR_HANDOFFS = ("object POST", "container POST", "container DELETE", "account POST")
# Those that strike once an upload has begun, when no other node can take it any more.
IN_MID_UPLOAD = ("stops reading", "breaks off in mid-body")
CASES = [(fault, failing, devices) for fault in FAULTS for failing in (1, 2) for devices in (3, 5)]


@dataclass(frozen=True)
class Row:
    """What a request with a fault came to."""

    verb: Verb
    status: int
    seconds: float
    problems: tuple[str, ...]  # what should not be, seen once all nodes are well again


def expected_status(verb: Verb, fault: str, failing: int, devices: int) -> int:
    """What a client is told; see the table above."""
    if fault == "garbles uploads":
        return 500 if verb.is_upload else verb.status  # copies that differ are no success
    if fault == "stalls in mid-answer" or (fault == "stops reading" and not verb.is_upload):
        return verb.status
    if not verb.is_write or failing == 1:
        return verb.status
    if devices == 3 or (verb.is_upload and fault in IN_MID_UPLOAD) or verb.name in NOT_FOR_HANDOFFS:
        return 503
    return verb.status


def time_limit_s(failing: int, devices: int) -> float:
    """No answer may take longer: each failing node is waited for at most once a replica, and once after."""
    return NODE_TIMEOUT_S * (failing + 1) * devices + SLACK_S


def rows(root: Path, fault: str, failing: int, devices: int) -> Iterator[Row]:
    """Send every request with the fault; the store is made new for them."""
    bed = TestBed(root, devices)
    for verb in VERBS:
        bed.break_nodes(FAULTS[fault], failing, verb.path)
        started = time.monotonic()
        response = bed.send(verb)
        seconds = time.monotonic() - started
        bed.mend()
        yield Row(verb, response.status, seconds, tuple(bed.problems(verb, response)))
    left = check_devices(bed.store.devices, bed.store.cluster, after_crash=True)
    assert not left, left


class TestBed:
    """A store with something of everything in it."""

    __test__ = False

    def __init__(self, root: Path, devices: int) -> None:
        self.store = Store(
            root,
            devices=devices,
            replicas=3,
            transport=FaultyTransport,
            object_chunk_size=CHUNK,
            node_timeout=NODE_TIMEOUT_S,
            post_quorum_timeout=NODE_TIMEOUT_S,
            error_suppression_interval=0.0,  # each request shall meet the fault
        )
        self.transport: FaultyTransport = self.store.transport
        for container in ("c", "empty"):
            self._make(f"{ACCOUNT}/{container}")
        for name in ("again", "get", "post", "delete"):
            self._make(f"{CONTAINER}/{name}", OLD)

    def _make(self, path: str, body: bytes = b"") -> None:
        headers = {"X-Object-Meta-Set": "old"} if body else {}
        assert self.store.request("PUT", path, headers, body).status == 201

    def break_nodes(self, fault: Fault, failing: int, path: str) -> None:
        """Let the first `failing` primaries of what `path` names have the fault."""
        names = path.split("/", 4)[2:]
        kind, port = [("account", 6203), ("container", 6202), ("object", 6200)][len(names) - 1]
        ring = self.store.cluster.ring(kind)
        primaries = ring.primaries(self.store.cluster.part(ring, *names))
        self.transport.places = {(port, node.device) for node in primaries[:failing]}
        self.transport.fault = fault
        self.is_garbling = fault is faults.garbles_uploads

    def mend(self) -> None:
        self.transport.fault = None

    def send(self, verb: Verb) -> Response:
        """The answer, its body read."""
        headers = dict(verb.headers)
        request = Request.blank(verb.path, verb.method, headers, verb.body)
        if verb.is_chunked:
            request.environ["HTTP_TRANSFER_ENCODING"] = "chunked"
            del request.environ["CONTENT_LENGTH"]
            request.environ["wsgi.input"] = io.BytesIO(verb.body)
        request.environ.update(self.store.environ)
        response = request.call(self.store.app)
        response.body = [response.read()]
        return response

    # --- afterwards -------------------------------------------------------------------------------

    def problems(self, verb: Verb, answer: Response) -> Iterator[str]:
        """What contradicts the answer. Replicas may differ until a replicator runs: the newest counts."""
        if verb.method == "GET" and verb.path.startswith(f"{CONTAINER}/"):
            expected = OLD[5:9001] if verb.status == 206 else OLD
            if answer.status == verb.status and answer.body != [expected]:
                yield f"{len(answer.body[0])} bytes came, which are not those that were asked for"
        elif verb.is_write and len(verb.path.split("/")) == 5:
            yield from self._object_problems(verb, acknowledged=answer.status // 100 == 2)
        elif verb.is_write and answer.status // 100 == 2:
            yield from self._database_problems(verb)

    def _object_problems(self, verb: Verb, acknowledged: bool) -> Iterator[str]:
        newest = {"X-Newest": "true"}
        found = self.store.request("GET", verb.path, newest)
        allowed = {("PUT", 200, NEW, "new"), ("POST", 200, OLD, "new"), ("DELETE", 404, None, None)}
        states = [state[1:] for state in allowed if state[0] == verb.method]
        if not acknowledged:  # then it may have happened or not, but nothing in between
            before = [] if verb.path.endswith(("new", "chunked")) else [(200, OLD, "old")]
            states += before or [(404, None, None)]
            if self.is_garbling:
                states.append((200, GARBLED, "new"))
        body = found.body[0] if found.status == 200 else None
        state = (found.status, body, found.headers.get("X-Object-Meta-Set"))
        if state not in states:
            yield f"{verb.path} is now {state[0]}, {len(body or b'')} bytes, {state[2]!r}"
        if body is not None and hashlib.md5(body).hexdigest() != found.headers["Etag"].strip('"'):
            yield f"{verb.path} is not what its ETag says"

    def _database_problems(self, verb: Verb) -> Iterator[str]:
        """An acknowledged change is on two nodes; replicators bring it to the third."""
        found = list(self._on_every_node(verb.path.split("/")[2:]))
        if verb.method == "DELETE":
            agreeing = [each for each in found if each.status == 404 and DELETED_AT in each.headers]
        else:
            living = [each for each in found if each.status == 204]
            agreeing = [each for each in living if dict(verb.headers).items() <= each.headers.items()]
        if len(agreeing) < 2:
            yield f"{verb.name} was acknowledged and is on {len(agreeing)} nodes"

    def _on_every_node(self, names: list[str]) -> Iterator[Response]:
        kind = "container" if len(names) == 2 else "account"
        ring = self.store.cluster.ring(kind)
        part = self.store.cluster.part(ring, *names)
        for node in (*ring.primaries(part), *ring.handoffs(part)):
            yield self.transport.send(node, BackendRequest("HEAD", part, f"/{'/'.join(names)}"))


def markdown(told: Callable[[str, int, int], list[Row]]) -> str:
    """The matrix for people: a row for each request, a column for each fault and number of nodes with it."""
    columns = [(fault, failing) for fault in FAULTS for failing in (1, 2)]
    lines = []
    for devices in (3, 5):
        handoffs = "no handoffs" if devices == 3 else f"{devices - 3} handoffs"
        lines += [f"### Three replicas on {devices} devices: {handoffs}", ""]
        lines.append("| | " + " | ".join(f"{failing} x {fault}" for fault, failing in columns) + " |")
        lines.append("|---|" + "---|" * len(columns))
        table = [told(fault, failing, devices) for fault, failing in columns]
        for number, verb in enumerate(VERBS):
            cells = [
                f"{column[number].status} in {1000 * column[number].seconds:.0f} ms"
                + "".join(f"; LOST: {problem}" for problem in column[number].problems)
                for column in table
            ]
            lines.append(f"| {verb.name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)
