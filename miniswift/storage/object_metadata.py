"""Which headers of a request are kept with an object, and which of those an answer shows.

X-Object-Meta-*                 the user's; replaced by each POST
X-Object-Transient-Sysmeta-*    filters', replaced by each POST
X-Object-Sysmeta-*              filters', set by PUT only
those in `allowed_headers`      replaced by each POST
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping

from miniswift.cluster import Constraints
from miniswift.responses import Environ, HTTPError, title_case
from miniswift.wsgi import environ_key, header_name

_USER = "HTTP_X_OBJECT_META_"
_SYSTEM = "HTTP_X_OBJECT_SYSMETA_"
_TRANSIENT = "HTTP_X_OBJECT_TRANSIENT_SYSMETA_"
_KEPT_BY_PUT = (_USER, _TRANSIENT, _SYSTEM)
_KEPT_BY_POST = (_USER, _TRANSIENT)
_SHOWN = tuple(prefix[5:].replace("_", "-").lower() for prefix in _KEPT_BY_PUT)
# What describes the data is ours to say, whatever the configuration allows.
_NEVER_ALLOWED = frozenset({"content-length", "deleted", "etag"})


# RFC 9110 5.1 and 5.5, but for the bytes above ASCII that Swift's metadata names may have too.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z\x80-\xff-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def is_header(name: str, value: str) -> bool:
    """Whether these WSGI strings, which did not come as a header, could be sent as one."""
    return bool(_NAME.fullmatch(name) and _VALUE.fullmatch(value))


class KeptHeaders:
    """The rules above, for a list of allowed headers."""

    def __init__(self, allowed: tuple[str, ...], constraints: Constraints) -> None:
        self._constraints = constraints
        names = [name.lower() for name in allowed if name.lower() not in _NEVER_ALLOWED]
        self._allowed = [(environ_key(name), title_case(name)) for name in names]
        self._shown_name = _make_shown_name(frozenset(names))

    def of_put(self, environ: Environ) -> dict[str, str]:
        """The metadata a PUT brings."""
        return self._kept(environ, _KEPT_BY_PUT)

    def of_post(self, environ: Environ) -> dict[str, str]:
        """The metadata a POST replaces the old ones with."""
        return self._kept(environ, _KEPT_BY_POST)

    def _kept(self, environ: Environ, prefixes: tuple[str, ...]) -> dict[str, str]:
        kept = {
            header_name(key) or key: value
            for key, value in environ.items()
            if key.startswith("HTTP_X_OBJECT_") and key.startswith(prefixes) and key not in prefixes
        }
        for key, name in self._allowed:
            if key in environ:
                kept[name] = environ[key]
        listed = environ.get("HTTP_X_BACKEND_REPLICATION_HEADERS")
        for name in listed.split() if listed else ():  # ssync: what the sender has, verbatim
            if environ_key(name) in environ and name.lower() not in _NEVER_ALLOWED:
                kept[title_case(name)] = environ[environ_key(name)]
        return kept

    def of_footers(self, footers: Mapping[str, str]) -> dict[str, str]:
        """The metadata that footers bring; they win over headers."""
        return {
            title_case(name): value
            for name, value in footers.items()
            if name.lower().startswith(_SHOWN) and name.lower() not in _SHOWN
        }

    def shown(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The part of an object's metadata that answers carry."""
        shown_name = self._shown_name
        return {
            name: value
            for name, value in ((shown_name(key), value) for key, value in metadata.items())
            if name is not None
        }

    def check(self, environ: Environ) -> None:
        """Raise 400 for user metadata beyond the constraints."""
        limits = self._constraints
        number = size = 0
        for key in [key for key in environ if key.startswith("HTTP_X_OBJECT_")]:
            value = environ[key]
            if len(value) > limits.max_header_size:
                raise HTTPError(400, f"Header value too long: {_show(key)}")
            if not key.startswith(_USER):
                continue
            name_size = len(key) - len(_USER)
            number += 1
            size += name_size + len(value)
            if not name_size:
                raise HTTPError(400, "Metadata name cannot be empty")
            if name_size > limits.max_meta_name_length:
                raise HTTPError(400, f"Metadata name too long: {_show(key)}")
            if len(value) > limits.max_meta_value_length:
                longest = limits.max_meta_value_length
                raise HTTPError(400, f"Metadata value longer than {longest}: {_show(key)}")
        if number > limits.max_meta_count:
            raise HTTPError(400, f"Too many metadata items; max {limits.max_meta_count}")
        if size > limits.max_meta_overall_size:
            raise HTTPError(400, f"Total metadata too large; max {limits.max_meta_overall_size}")


def _show(key: str) -> str:
    return (header_name(key) or key)[:128].encode("ascii", "replace").decode("ascii")


def _make_shown_name(allowed: frozenset[str]) -> Callable[[str], str | None]:
    @functools.lru_cache(maxsize=8192)  # clients choose the names
    def shown_name(key: str) -> str | None:
        lowered = key.lower()
        is_shown = lowered in allowed or (lowered.startswith(_SHOWN) and lowered not in _SHOWN)
        return title_case(key) if is_shown else None

    return shown_name
