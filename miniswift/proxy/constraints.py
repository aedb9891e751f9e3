"""What a client may not ask for: names, sizes and metadata beyond the cluster's constraints.

Every check raises an HTTPError whose body says which limit was passed; `check_metadata` is run on
the request's own headers only, the stored whole is checked by the servers that hold it.
"""

from __future__ import annotations

import time

from miniswift.cluster import Constraints
from miniswift.responses import HTTPError
from miniswift.wsgi import TYPE_OVERRIDDEN, Request, from_wsgi

_PLAIN = {"Content-Type": "text/plain; charset=UTF-8"}


def refuse(status: int, message: str) -> HTTPError:
    """The error for a client, its message as plain text."""
    return HTTPError(status, message, _PLAIN)


def check_metadata(request: Request, kind: str, limits: Constraints) -> None:
    """Raise 400 for metadata of `kind` (account, container or object) beyond the limits."""
    prefix = f"HTTP_X_{kind.upper()}_META_"
    items = 0
    size = 0
    for key, value in request.environ.items():
        if not key.startswith("HTTP_") or not isinstance(value, str):
            continue
        if len(value) > limits.max_header_size:
            raise refuse(400, f"Header value too long: {_shown(key)[: limits.max_meta_name_length]}")
        if key.startswith(prefix):
            items += 1
            size += len(key) - len(prefix) + len(value)
            _check_item(key[len(prefix) :], value, _shown(key), kind, limits)
    if items > limits.max_meta_count:
        raise refuse(400, f"Too many metadata items; max {limits.max_meta_count}")
    if size > limits.max_meta_overall_size:
        raise refuse(400, f"Total metadata too large; max {limits.max_meta_overall_size}")


def _check_item(name: str, value: str, shown: str, kind: str, limits: Constraints) -> None:
    if not name:
        raise refuse(400, "Metadata name cannot be empty")
    if kind != "object" and not (_is_utf8(name) and _is_utf8(value)):
        raise refuse(400, "Metadata must be valid UTF-8")
    if len(name) > limits.max_meta_name_length:
        raise refuse(400, f"Metadata name too long: {shown}")
    if len(value) > limits.max_meta_value_length:
        raise refuse(400, f"Metadata value longer than {limits.max_meta_value_length}: {shown}")


def _shown(key: str) -> str:
    return key[5:].replace("_", "-").lower()


def _is_utf8(wsgi_string: str) -> bool:
    try:
        return "\0" not in from_wsgi(wsgi_string)
    except UnicodeDecodeError:
        return False


def check_name_length(kind: str, name: str, limit: int) -> None:
    """Raise 400 for a name longer than `limit` bytes."""
    length = len(name) if name.isascii() else len(name.encode())
    if length > limit:
        # Of an object only Swift's proxy says so in plain text, and its clients may look.
        error = refuse if kind == "Object" else HTTPError
        raise error(400, f"{kind} name length of {length} longer than {limit}")


def check_object_upload(request: Request, obj: str, limits: Constraints) -> None:
    """Raise 400, 411 or 413 for an object PUT that cannot be stored; headers are complete by now."""
    length = request.content_length
    if length is None and not request.is_chunked:
        raise refuse(411, "Missing Content-Length header.")
    if length is not None and length > limits.max_file_size:
        raise refuse(413, "Your request is too large.")
    check_name_length("Object", obj, limits.max_object_name_length)
    content_type = request.environ.get("CONTENT_TYPE", "")
    if not _is_utf8(content_type):
        raise refuse(400, "Invalid Content-Type")
    if ";" in content_type and not request.environ.get(TYPE_OVERRIDDEN):
        parameters = (parameter.lstrip() for parameter in content_type.split(";")[1:])
        if any(parameter.startswith("swift_") for parameter in parameters):
            raise refuse(400, "Invalid Content-Type, swift_* is not a valid parameter name.")


def resolve_delete_at(request: Request) -> int | None:
    """Turn X-Delete-After into X-Delete-At, check it, and return it in Unix seconds; 400 if it cannot be."""
    environ = request.environ
    after = environ.pop("HTTP_X_DELETE_AFTER", None)
    now = int(time.time())
    if after:
        delta = _integer(after, "X-Delete-After")
        if delta <= 0:
            raise refuse(400, "X-Delete-After in past")
        environ["HTTP_X_DELETE_AT"] = str(now + delta)
    given = environ.get("HTTP_X_DELETE_AT")
    if not given:
        return None
    delete_at = min(_integer(given, "X-Delete-At"), 9999999999)
    if delete_at <= now and not environ.get("HTTP_X_BACKEND_REPLICATION"):
        raise refuse(400, "X-Delete-At in past")
    environ["HTTP_X_DELETE_AT"] = str(delete_at)
    return delete_at


def _integer(value: str, header: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise refuse(400, f"Non-integer {header}") from None
