"""Bodies of listings: text, JSON and XML, and which of them a request asks for.

JSON is put together from formatted rows with the C string encoder of `json`, which takes a third of
the time that `json.dumps` of dictionaries takes; a page of 1000 is what clients wait for.
"""

from __future__ import annotations

import functools
import logging
import re
from json.encoder import encode_basestring_ascii as json_string
from xml.sax.saxutils import escape, quoteattr

from miniswift.cluster import Policies
from miniswift.responses import HTTPError
from miniswift.storage.listing import Entries
from miniswift.storage.object_rows import split_swift_bytes
from miniswift.timestamp import RowTimes, Timestamp, iso_second
from miniswift.wsgi import Request

logger = logging.getLogger(__name__)

TEXT, JSON, XML = "text/plain", "application/json", "application/xml"
_OFFERED = (TEXT, JSON, XML, "text/xml")
_XML_START = b'<?xml version="1.0" encoding="UTF-8"?>\n'


# --- which format -----------------------------------------------------------------------------------


def content_type_of(request: Request, given_format: str | None) -> str:
    """The type to answer with: `format=` before Accept. Raises 406, and 400 for no valid Accept."""
    if given_format:
        return {"json": JSON, "xml": XML}.get(given_format.lower(), TEXT)
    accept = request.environ.get("HTTP_ACCEPT")
    if not accept or accept == "*/*":
        return TEXT
    try:
        chosen = _best_match(accept)
    except ValueError:
        raise HTTPError(400, "Invalid Accept header") from None
    if chosen is None:
        raise HTTPError(406)
    return chosen


_RANGE = re.compile(r"\s*([^\s;,/=]+)/([^\s;,/=]+)\s*((?:;[^;]*)*)$")


@functools.lru_cache(maxsize=256)
def _best_match(accept: str) -> str | None:
    """The offer for the range of highest quality, exact ones first (RFC 9110 12.5.1). Raises ValueError."""
    ranges = []
    for position, text in enumerate(accept.split(",")):
        match = _RANGE.match(text)
        if match is None:
            raise ValueError("no media range")
        kind, subkind, parameters = match.groups()
        quality = _quality(parameters)
        ranges.append((-quality, "*" in (kind, subkind), position, kind, subkind))
    for negative_quality, _, _, kind, subkind in sorted(ranges):
        for offer in _OFFERED if negative_quality else ():
            offered_kind, _, offered_subkind = offer.partition("/")
            if kind in ("*", offered_kind) and subkind in ("*", offered_subkind):
                return offer
    return None


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            return float(value)
    return 1.0


# --- containers' listings -----------------------------------------------------------------------------


def objects_body(entries: Entries, content_type: str, container: str) -> bytes:
    """A container's listing; empty text is no body."""
    if content_type == JSON:
        return _objects_json(entries)
    if content_type == TEXT:
        return _names(entries)
    return _objects_xml(entries, container)


def _objects_json(entries: Entries) -> bytes:
    rows = []
    for entry in entries:
        if isinstance(entry, str):
            rows.append(f'{{"subdir":{json_string(entry)}}}')
            continue
        name, at, size, content_type, etag = entry
        shown_type, shown_size = _shown(content_type)
        # One time and no offset, as nearly all have, without a call: what a page costs is this loop.
        when = f"{_iso_second(at[:10])}{at[10:]}0" if len(at) == 16 else _last_modified(at)
        rows.append(
            f'{{"bytes":{size if shown_size is None else shown_size},"hash":{json_string(etag)},'
            f'"name":{json_string(name)},"content_type":{shown_type},"last_modified":"{when}"}}'
        )
    return f"[{','.join(rows)}]".encode("ascii")


@functools.lru_cache(maxsize=1024)
def _shown(content_type: str) -> tuple[str, int | None]:
    """A stored type as JSON, and the size it carries for what a manifest stands for."""
    bare, swift_bytes = split_swift_bytes(content_type)
    try:
        size = None if swift_bytes is None else int(swift_bytes)
    except ValueError:
        logger.error("content type %r has no valid swift_bytes", content_type)
        size = None
    return json_string(bare), size


@functools.lru_cache(maxsize=4096)
def _iso_second(digits: str) -> str:
    return iso_second(int(digits))


def _last_modified(created_at: str) -> str:
    """The metadata time of a row's encoded times, as ISO."""
    if len(created_at) == 16:
        return f"{_iso_second(created_at[:10])}{created_at[10:]}0"
    return RowTimes.parse(created_at).meta.iso


def _objects_xml(entries: Entries, container: str) -> bytes:
    rows = []
    for entry in entries:
        if isinstance(entry, str):
            rows.append(f"<subdir name={quoteattr(entry)}><name>{escape(entry)}</name></subdir>")
            continue
        name, created_at, size, content_type, etag = entry
        bare, _ = split_swift_bytes(content_type)
        _, shown_size = _shown(content_type)
        rows.append(
            f"<object><name>{escape(name)}</name><hash>{escape(etag)}</hash>"
            f"<bytes>{size if shown_size is None else shown_size}</bytes>"
            f"<content_type>{escape(bare)}</content_type>"
            f"<last_modified>{_last_modified(created_at)}</last_modified></object>"
        )
    return _XML_START + f"<container name={quoteattr(container)}>{''.join(rows)}</container>".encode()


# --- accounts' listings -------------------------------------------------------------------------------


def containers_body(entries: Entries, content_type: str, account: str, policies: Policies) -> bytes:
    """An account's listing; empty text is no body."""
    if content_type == JSON:
        return _containers_json(entries, policies)
    if content_type == TEXT:
        return _names(entries)
    return _containers_xml(entries, account, policies)


def _containers_json(entries: Entries, policies: Policies) -> bytes:
    rows = []
    for entry in entries:
        if isinstance(entry, str):
            rows.append(f'{{"subdir":{json_string(entry)}}}')
            continue
        name, objects, size, put_at, policy_index = entry
        policy = policies.at(policy_index)
        # A policy that left the configuration has no name to show.
        shown_policy = f',"storage_policy":{json_string(policy.name)}' if policy else ""
        rows.append(
            f'{{"name":{json_string(name)},"count":{objects},"bytes":{size},'
            f'"last_modified":"{Timestamp.parse(put_at).iso}"{shown_policy}}}'
        )
    return f"[{','.join(rows)}]".encode("ascii")


def _containers_xml(entries: Entries, account: str, policies: Policies) -> bytes:
    rows = []
    for entry in entries:
        if isinstance(entry, str):
            rows.append(f"<subdir name={quoteattr(entry)} />\n")
            continue
        name, objects, size, put_at, policy_index = entry
        policy = policies.at(policy_index)
        shown_policy = f"<storage_policy>{escape(policy.name)}</storage_policy>" if policy else ""
        rows.append(
            f"<container><name>{escape(name)}</name><count>{objects}</count><bytes>{size}</bytes>"
            f"<last_modified>{Timestamp.parse(put_at).iso}</last_modified>{shown_policy}</container>\n"
        )
    return _XML_START + f"<account name={quoteattr(account)}>\n{''.join(rows)}</account>".encode()


def _names(entries: Entries) -> bytes:
    names = [entry if isinstance(entry, str) else entry[0] for entry in entries]
    return "".join(f"{name}\n" for name in names).encode()
