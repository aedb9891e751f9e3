"""In which form a client wants lists and reports: its Accept header (RFC 9110 12.5.1)."""

from __future__ import annotations

import functools
import re

OFFERS = ("text/plain", "application/json", "application/xml", "text/xml")

_TOKEN = r'[^()<>@,;:"/\[\]?={}\x00-\x20\x7f]+'
_parse_range = re.compile(rf"\s*({_TOKEN})/({_TOKEN})\s*((?:;[^;]*)*)").fullmatch


@functools.lru_cache(maxsize=256)
def best_offer(accept: str) -> str | None:
    """The offer that an Accept header likes best (RFC 9110 12.5.1). Raises ValueError if it is malformed.

    Of equal quality the exact range counts before a wildcard, and the earlier before the later.
    """
    ranges = [_media_range(item) for item in accept.split(",")]
    refused = {name for name, quality in ranges if not quality}
    ranges.sort(key=lambda item: (-item[1], "*" in item[0]))
    for name, quality in ranges:
        for offer in OFFERS:
            if quality and offer not in refused and _matches(name, offer):
                return offer
    return None


def _media_range(item: str) -> tuple[str, float]:
    parsed = _parse_range(item)
    if parsed is None:
        raise ValueError(f"{item!r} is not a media range")
    quality = 1.0
    for parameter in filter(None, map(str.strip, parsed[3].split(";"))):
        name, equals, value = parameter.partition("=")
        if not equals:
            raise ValueError(f"{parameter!r} is not a parameter")
        if name.strip().lower() == "q":
            quality = float(value)
    return f"{parsed[1]}/{parsed[2]}".lower(), quality


def _matches(media_range: str, offer: str) -> bool:
    kind, _, subtype = media_range.partition("/")
    offered_kind, _, offered_subtype = offer.partition("/")
    return kind in ("*", offered_kind) and subtype in ("*", offered_subtype)
