"""Where a container may be synchronized to: the check of X-Container-Sync-To.

The server sends a container's objects wherever this header says, so only hosts an operator allows may
stand there.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from miniswift.responses import HTTPError


def check_sync_to(value: str, allowed_hosts: tuple[str, ...]) -> None:
    """Raise 400 unless `value` is a plain http(s) URL of an allowed host."""
    problem = _problem(value.rstrip("/"), allowed_hosts)
    if problem:
        raise HTTPError(400, f"{problem} in X-Container-Sync-To")


def _problem(value: str, allowed_hosts: tuple[str, ...]) -> str | None:
    if not value:
        return None
    if value.startswith("//"):
        return "No realm of this name"
    try:
        url = urlsplit(value)
        host = url.hostname
    except ValueError:
        return "Invalid URL"
    if url.scheme not in ("http", "https"):
        return "Invalid scheme"
    if not url.path:
        return "No path"
    if url.query or url.fragment or ";" in url.path:
        return "Parameters, query or fragment"
    if host not in allowed_hosts:
        return "Host that is not allowed"
    return None
