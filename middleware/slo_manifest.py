"""Manifests of static large objects: as clients write them, and as they are kept.

    a client's   [{"path": "/container/object", "etag", "size_bytes", "range": "0-99"}, {"data": "<Base64>"}]
    kept         [{"name", "bytes", "hash", "content_type", "last_modified", "range"?, "sub_slo"?}, {"data"}]

The ETag of the whole is the MD5 of those of its parts, written one behind the other; of a part's range that
is `<etag>:<first>-<last>;`.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Iterable, Mapping
from email.message import Message
from hashlib import md5
from typing import Any

from miniswift import conditions
from miniswift.config import is_true
from miniswift.responses import HTTPError

_PLAIN = {"Content-Type": "text/plain"}
_OPTIONAL = {"path": {"range", "etag", "size_bytes"}, "data": set[str]()}


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """A part of a large object, as the kept manifest has it."""

    name: str = ""  # /container/object
    size: int = 0  # bytes of the object
    etag: str = ""
    span: tuple[int, int] | None = None  # first and last byte; None for all of it
    is_manifest: bool = False
    data: bytes | None = None  # what it is, if it is in the manifest itself

    @classmethod
    def of_kept(cls, entry: Mapping[str, Any]) -> Segment:
        """Raises ValueError, TypeError or KeyError for what is none."""
        if "data" in entry:
            return cls(data=base64.b64decode(entry["data"]))
        is_manifest = is_true(str(entry.get("sub_slo", "")))
        size = int(entry["bytes"])
        if is_manifest:  # whose own size an old one has here; the whole's stands in its type
            size = _swift_bytes(str(entry.get("content_type", ""))) or size
        span = None
        if entry.get("range"):
            first, _, last = str(entry["range"]).partition("-")
            span = int(first), int(last)
        return cls(str(entry["name"]), size, str(entry["hash"]), span, is_manifest)

    @property
    def length(self) -> int:
        """The bytes that it contributes."""
        if self.data is not None:
            return len(self.data)
        return self.size if self.span is None else self.span[1] - self.span[0] + 1

    @property
    def shown_etag(self) -> str:
        """What it contributes to the ETag of the whole."""
        if self.data is not None:
            return md5(self.data, usedforsecurity=False).hexdigest()
        return self.etag if self.span is None else f"{self.etag}:{self.span[0]}-{self.span[1]};"


def _swift_bytes(content_type: str) -> int | None:
    message = Message()
    message["Content-Type"] = content_type
    value = message.get_param("swift_bytes")
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def read_kept(body: bytes) -> list[Segment]:
    """The segments of a kept manifest. Raises a 500 if it is none."""
    try:
        return [Segment.of_kept(entry) for entry in json.loads(body)]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise HTTPError(500, "Unable to load SLO manifest") from None


def etag_of(segments: Iterable[Segment]) -> str:
    return md5("".join(each.shown_etag for each in segments).encode(), usedforsecurity=False).hexdigest()


def as_written(body: bytes) -> bytes:
    """A kept manifest in the form that clients write."""
    try:
        entries = json.loads(body)
        shown = [entry if "data" in entry else _as_written(entry) for entry in entries]
    except (ValueError, TypeError, KeyError):
        raise HTTPError(500, "Unable to load SLO manifest") from None
    return json.dumps(shown, sort_keys=True).encode()


def _as_written(entry: Mapping[str, Any]) -> dict[str, Any]:
    written = {"path": entry["name"], "size_bytes": entry["bytes"], "etag": entry["hash"]}
    return {**written, "range": entry["range"]} if entry.get("range") else written


# --- what clients write -------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class Wanted:
    """An entry of a client's manifest."""

    index: int
    path: str = ""  # container/object with any slashes in front
    etag: str | None = None
    size: int | None = None
    range: str | None = None  # as after bytes=
    data: bytes | None = None

    @property
    def kept_data(self) -> dict[str, str]:
        return {"data": base64.b64encode(self.data or b"").decode()}


def read_written(body: bytes, own_path: str) -> list[Wanted]:
    """The entries of a manifest for the object at `own_path` (text). Raises a 400 with all mistakes."""
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPError(400, "Manifest must be valid JSON.\n") from None
    if not isinstance(entries, list):
        raise HTTPError(400, "Manifest must be a list.\n")
    wanted: list[Wanted] = []
    mistakes: list[str] = []
    for index, entry in enumerate(entries):
        try:
            wanted.append(_wanted(index, entry, own_path, is_last=index == len(entries) - 1))
        except ValueError as mistake:
            mistakes.append(f"Index {index}: {mistake}\n")
    if entries and all(isinstance(entry, dict) and "data" in entry for entry in entries):
        mistakes.append("Inline data segments require at least one object-backed segment.\n")
    if mistakes:
        raise HTTPError(400, "".join(mistakes), _PLAIN)
    return wanted


def _wanted(index: int, entry: Any, own_path: str, *, is_last: bool) -> Wanted:
    """Raises ValueError with what is wrong."""
    if not isinstance(entry, dict):
        raise ValueError("not a JSON object")
    kind = next((kind for kind in _OPTIONAL if kind in entry), None)
    if kind is None:
        raise ValueError("expected keys to include one of 'path' or 'data'")
    extraneous = sorted(set(entry) - _OPTIONAL[kind] - {kind})
    if extraneous:
        raise ValueError(f"extraneous keys {', '.join(map(json.dumps, extraneous))}")
    if kind == "data":
        return Wanted(index, data=_checked_data(entry["data"]))
    path, etag = entry["path"], entry.get("etag")
    if not isinstance(path, str):
        raise ValueError('"path" must be a string')
    if etag is not None and not isinstance(etag, str):
        raise ValueError('"etag" must be a string or null (if provided)')
    if "/" not in path.strip("/"):
        raise ValueError("path does not refer to an object. Path must be of the form /container/object.")
    if any("\ud800" <= char <= "\udfff" for char in path):
        raise ValueError("path must be well-formed Unicode")
    size = _checked_size(entry.get("size_bytes"), is_last)
    if f"{own_path.rsplit('/', own_path.count('/') - 2)[0]}/{path.lstrip('/')}" == own_path:
        raise ValueError("manifest must not include itself as a segment")
    return Wanted(index, path, etag, size, _checked_range(entry.get("range"), size))


def _checked_data(value: Any) -> bytes:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        data = None
    if data is None:
        raise ValueError("data must be valid base64")
    if not data:
        raise ValueError("too small; each segment must be at least 1 byte.")
    return data


def _checked_size(value: Any, is_last: bool) -> int | None:
    if value is None:
        return None
    try:
        size = int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("invalid size_bytes") from None
    if size < 1 and not is_last:
        raise ValueError("too small; each segment must be at least 1 byte.")
    return size


def _checked_range(value: Any, size: int | None) -> str | None:
    if not value:
        return None
    parsed = conditions.parse_range(f"bytes={value}") if isinstance(value, str) else None
    if parsed is None:
        raise ValueError("invalid range")
    if len(parsed) > 1:
        raise ValueError("multiple ranges (only one allowed)")
    if size is not None and span_of(value, size) is None:
        raise ValueError("unsatisfiable range")
    return str(value)


def span_of(value: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a range, as after bytes=, of `size` bytes; None if it has none."""
    found = conditions.ranges_asked({"HTTP_RANGE": f"bytes={value}"}, size, "", 0)
    return (found[0][0], found[0][1] - 1) if found else None
