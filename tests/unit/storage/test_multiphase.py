"""PUTs whose body is a MIME document."""

from __future__ import annotations

import io
import json
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.errors import ClientDisconnected
from miniswift.responses import HTTPError
from miniswift.storage.multiphase import MimeParts
from miniswift.wsgi import Request, blank_environ

from .object_node import OBJECT, ObjectNode, body_of

BOUNDARY = b"deadbeef"
FOOTERS = {"X-Object-Meta-A": "footer", "X-Object-Sysmeta-B": "2", "Etag": md5(b"hello").hexdigest()}


@pytest.fixture
def node(tmp_path):
    node = ObjectNode(tmp_path)
    yield node
    assert node.problems() == []


class PhasedInput:
    """A body in two phases: the second one comes after a second 100 Continue."""

    def __init__(self, first, second=b""):
        self.phase = io.BytesIO(first)
        self.second = second
        self.announced = None

    def read(self, size=-1):
        return self.phase.read(size)

    def set_hundred_continue_response_headers(self, headers):
        self.announced = headers

    def send_hundred_continue_response(self):
        self.phase = io.BytesIO(self.second)


def document(head, body):
    lines = b"".join(b"%s: %s\r\n" % line for line in head)
    return b"--%s\r\n%s\r\n%s\r\n" % (BOUNDARY, lines, body)


def object_document(body=b"hello"):
    return document([(b"X-Document", b"object body")], body)


def footer_document(footers=None, digest=None):
    body = json.dumps(FOOTERS if footers is None else footers).encode()
    digest = digest or md5(body).hexdigest().encode()
    return document([(b"X-Document", b"object metadata"), (b"Content-MD5", digest)], body)


COMMIT = b"X-Document: put commit\r\n\r\nput_commit_confirmation\r\n--%s--" % BOUNDARY


def put(node, phases, **headers):
    sent = {
        "X-Timestamp": node.time(),
        "Content-Type": "text/plain",
        "X-Object-Meta-A": "header",
        "X-Backend-Obj-Metadata-Footer": "yes",
        "X-Backend-Obj-Multipart-Mime-Boundary": BOUNDARY.decode(),
        "Transfer-Encoding": "chunked",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    environ = blank_environ(OBJECT, "PUT", sent)
    del environ["CONTENT_LENGTH"]
    environ["wsgi.input"] = phases
    return Request(environ).call(node.server)


def test_footers_win_over_headers(node):
    phases = PhasedInput(object_document() + footer_document() + b"--%s--\r\n" % BOUNDARY)
    assert put(node, phases, X_Backend_Obj_Content_Length="5").status == 201
    response = node.get()
    assert body_of(response) == b"hello"
    assert response.headers["X-Object-Meta-A"] == "footer"
    assert response.headers["X-Object-Sysmeta-B"] == "2"
    assert phases.announced == [("X-Obj-Metadata-Footer", "yes")]


def test_footers_say_what_the_row_should_be(node):
    footers = {**FOOTERS, "X-Object-Sysmeta-Container-Update-Override-Etag": "other"}
    phases = PhasedInput(object_document() + footer_document(footers) + b"--%s--" % BOUNDARY)
    container = {"X-Container-Host": "1.2.3.4:1", "X-Container-Device": "d", "X-Container-Partition": "1"}
    put(node, phases, **container)
    assert node.containers.sent[0][1].headers["X-Etag"] == "other"


def test_a_commit_waits_for_the_word(node):
    first = object_document() + footer_document() + b"--%s\r\n" % BOUNDARY
    phases = PhasedInput(first, COMMIT)
    assert put(node, phases, X_Backend_Obj_Multiphase_Commit="yes").status == 201
    assert phases.announced == [("X-Obj-Multiphase-Commit", "yes"), ("X-Obj-Metadata-Footer", "yes")]
    assert body_of(node.get()) == b"hello"


@pytest.mark.parametrize("second", [b"", b"X-Document: something else\r\n\r\n\r\n--deadbeef--"])
def test_without_the_word_to_commit_nothing_is_stored(node, second):
    phases = PhasedInput(object_document() + footer_document() + b"--%s\r\n" % BOUNDARY, second)
    assert put(node, phases, X_Backend_Obj_Multiphase_Commit="yes").status in (400, 499)
    assert node.files("objects/*/???") == []


END = b"--%s--" % BOUNDARY
BAD_BODIES = {
    "nothing": (b"", 499),
    "no object": (END, 400),
    "no end of the object": (object_document()[:-2], 499),
    "no footers": (object_document() + END, 400),
    "damaged footers": (object_document() + footer_document(digest=b"0" * 32) + END, 422),
    "footers without MD5": (object_document() + document([], b"{}") + END, 400),
    "footers that are a list": (object_document() + footer_document([]) + END, 400),
    "footers that are no headers": (
        object_document() + footer_document({"X-Object-Meta-A": "\u2603"}) + END,
        400,
    ),
    "footers of two lines": (
        object_document() + footer_document({"X-Object-Meta-A": "a\r\nb: c"}) + END,
        400,
    ),
    "an ETag of something else": (object_document() + footer_document({"ETag": "0" * 32}) + END, 422),
    "a size of something else": (object_document(b"hell") + footer_document({}) + END, 499),
    "endless headers": (b"--%s\r\n" % BOUNDARY + b"a: b\r\n" * 5000, 400),
}


@pytest.mark.parametrize(("body", "status"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_document_is_refused_and_leaves_nothing(node, body, status):
    assert put(node, PhasedInput(body), X_Backend_Obj_Content_Length="5").status == status
    assert node.files("objects/*/???") == []


@pytest.mark.parametrize(
    "headers", [{"X_Backend_Obj_Multipart_Mime_Boundary": ""}, {"X_Backend_Obj_Content_Length": "x"}]
)
def test_bad_announcements_are_refused(node, headers):
    assert put(node, PhasedInput(object_document()), **headers).status == 400


class Trickle:
    """A body that comes in pieces of other sizes than asked for."""

    def __init__(self, body, sizes):
        self.body = io.BytesIO(body)
        self.sizes = sizes

    def read(self, size):
        return self.body.read(min(size, self.sizes.pop() if self.sizes else size))


@given(
    st.lists(st.binary(max_size=40) | st.text("\r\n-deadbf").map(str.encode), min_size=1, max_size=4),
    st.lists(st.integers(1, 10)),
    st.integers(1, 50),
)
def test_parts_come_as_they_were_sent_however_they_arrive(bodies, sizes, block):
    bodies = [body for body in bodies if BOUNDARY not in body]
    sent = b"".join(document([(b"N", b"%d" % number)], body) for number, body in enumerate(bodies)) + END
    parts = MimeParts(Trickle(sent, sizes).read, BOUNDARY)
    received = []
    while (head := parts.next_part()) is not None:
        assert head["N"] == str(len(received))
        received.append(b"".join(iter(lambda: parts.read(block), b"")))
    assert received == bodies


@given(st.binary(max_size=100) | st.text("\r\n-deadbf: ").map(str.encode))
def test_any_document_is_read_or_refused(body):
    parts = MimeParts(io.BytesIO(body).read, BOUNDARY)
    try:
        while parts.next_part() is not None:
            parts.read_all(1000)
    except (HTTPError, ClientDisconnected):
        pass
