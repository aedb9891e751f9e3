"""How headers and manifests name an account, or an object in a container."""

from __future__ import annotations

from urllib.parse import quote, unquote

from miniswift.responses import HTTPError
from miniswift.wsgi import split_path


def container_and_object(value: str, header: str) -> str:
    """`container/object` as a WSGI string, of a quoted value. Raises a 412 that names the header."""
    place = unquoted(value).removeprefix("/")
    try:
        split_path(f"/{place}", 2, 2, True)
    except ValueError:
        message = f"{header} header must be of the form <container name>/<object name>"
        raise HTTPError(412, message) from None
    return place


def checked_account(value: str) -> str:
    """An account's name as a WSGI string, of a quoted value. Raises a 412."""
    account = unquoted(value)
    if not account:
        raise HTTPError(412, "Account name cannot be empty")
    if "/" in account:
        raise HTTPError(412, "Account name cannot contain slashes")
    return account


def quoted(wsgi_string: str) -> str:
    return quote(wsgi_string.encode("latin-1"))


def unquoted(value: str) -> str:
    return unquote(value, encoding="latin-1")
