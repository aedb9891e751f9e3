"""Reports of long work: many requests made for one, with a sign of life while it goes on.

The answer has begun long before it is known what it says: its status is 200 or 202, and the real one stands
in the report at its end, as `Response Status`. Until then white space is sent now and then, so that neither
the client nor what is in between takes the connection for dead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar
from xml.sax.saxutils import escape

from miniswift.concurrency import Empty, LightQueue, spawn
from miniswift.responses import Environ, status_line

from .accept import OFFERS, best_offer

T = TypeVar("T")
R = TypeVar("R")

_XML_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'


def wanted_format(environ: Environ) -> str | None:
    """The content type that the client wants a report in; None if it is none that there is."""
    accept = environ.get("HTTP_ACCEPT")
    try:
        return best_offer(accept) if accept else OFFERS[0]
    except ValueError:
        return None


class Report:
    """What is to be told at the end."""

    def __init__(self, root: str, content_type: str | None, **fields: Any) -> None:
        """`root` is what XML calls it; `fields` are told besides, `_` for a blank."""
        self._root = root
        self._content_type = content_type or "text/plain"
        self._beats = 0
        self.fields: dict[str, Any] = {name.replace("_", " "): value for name, value in fields.items()}
        self.errors: list[tuple[str, str]] = []  # (quoted name, status line)

    def fail(self, status: int, body: str = "") -> None:
        self.fields["Response Status"] = status_line(status)
        self.fields["Response Body"] = body

    def beat(self) -> bytes:
        """A sign of life."""
        self._beats += 1
        is_first_of_xml = self._beats == 1 and self._content_type.endswith("/xml")
        return _XML_DECLARATION if is_first_of_xml else b" "

    def render(self) -> bytes:
        """The whole report."""
        separator = b"\r\n\r\n" if self._beats else b""
        return separator + self._body()

    def _body(self) -> bytes:
        if self._content_type == "application/json":
            return json.dumps({**self.fields, "Errors": self.errors}).encode("ascii")
        ordered = sorted(self.fields.items())
        if self._content_type.endswith("/xml"):
            lines = [f"<{_tag(name)}>{escape(str(value))}</{_tag(name)}>\n" for name, value in ordered]
            failed = [
                f"<object><name>{escape(name)}</name><status>{escape(status)}</status></object>\n"
                for name, status in self.errors
            ]
            errors = f"<errors>\n{''.join(failed)}</errors>\n"
            return f"<{self._root}>\n{''.join(lines)}{errors}</{self._root}>\n".encode()
        lines = [f"{name}: {value}\n" for name, value in ordered]
        failed = [f"{name}, {status}\n" for name, status in self.errors]
        return f"{''.join(lines)}Errors:\n{''.join(failed)}".encode()


def _tag(name: str) -> str:
    return name.replace(" ", "_").lower()


def in_parallel(
    function: Callable[[T], R], items: Iterable[T], at_once: int, beat_s: float
) -> Iterator[R | None]:
    """The results of `function` for all items, as they come; None whenever `beat_s` have passed without one.

    What `function` raises is raised here.
    """
    ended = LightQueue()  # green threads
    running = 0

    def next_result() -> Iterator[R | None]:
        while True:
            try:
                thread = ended.get(timeout=beat_s)
            except Empty:
                yield None
            else:
                yield thread.wait()
                return

    for item in items:
        if running >= at_once:
            yield from next_result()
            running -= 1
        spawn(function, item).link(ended.put)
        running += 1
    while running:
        yield from next_result()
        running -= 1
