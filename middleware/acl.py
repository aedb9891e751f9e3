"""Access control lists, as text in headers and as something to ask.

A container's list (`X-Container-Read`, `X-Container-Write`) is items separated by commas:

    group                     a group or role; `account:user` or `project:user` is one too
    .r:host  .r:.domain       whoever comes from a page there; `.r:*` anybody, `.r:-host` not from there
    .rlistings                those may list the container as well

An account's list (`X-Account-Access-Control`) is JSON: `{"admin": [], "read-write": [], "read-only": []}`.

1. What `clean_acl` returns it returns again when given it: what is stored is the canonical form.
2. Among referrer items the last one that matches decides, whatever the others say.
3. Parsing never fails: items stored by anybody else are groups that nobody is in.

Not here: who is in which group (the auth filters decide).
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

LISTINGS = ".rlistings"
ACCOUNT_LEVELS = ("admin", "read-write", "read-only")

_REFERRER_WORDS = frozenset([".r", ".ref", ".referer", ".referrer"])


@dataclass(frozen=True, slots=True)
class ContainerACL:
    """A parsed list: referrer rules without their `.r:`, and groups as text."""

    referrers: tuple[str, ...]
    groups: frozenset[str]
    folded: frozenset[str]  # the groups in lower case, for systems whose names have none

    @property
    def lists_to_referrers(self) -> bool:
        return LISTINGS in self.groups

    def admits_referrer(self, referer: str | None) -> bool:
        """Whether the page named by a Referer header may read objects."""
        if not self.referrers:
            return False
        host = _host_of(referer)
        admitted = False
        for rule in self.referrers:
            refuses = rule.startswith("-")
            if _host_matches(host, rule[1:] if refuses else rule, refuses):
                admitted = not refuses
        return admitted


@functools.lru_cache(maxsize=1024)
def parse_acl(value: str | None) -> ContainerACL:
    """Read a container's list from the header value that was stored, a WSGI string."""
    referrers: list[str] = []
    groups: list[str] = []
    for item in (value or "").split(","):
        if item.startswith(".r:"):
            referrers.append(item[3:])
        elif item:
            groups.append(_group(item))
    return ContainerACL(tuple(referrers), frozenset(groups), frozenset(group.lower() for group in groups))


def _group(item: str) -> str:
    """A group's name as text. Names with commas, or from tools that send ASCII only, come quoted."""
    if item.isascii() and "%" not in item:
        return item
    try:
        return unquote_to_bytes(item.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        return item


def _host_of(referer: str | None) -> str:
    try:
        return urlsplit(referer or "").hostname or "unknown"
    except ValueError:  # no URL at all, e.g. an unclosed [
        return "unknown"


def _host_matches(host: str, rule: str, refuses: bool) -> bool:
    rule = rule.lower()
    if rule == "*":
        return not refuses  # as in Swift, `.r:-*` means nothing
    return host == rule or (rule.startswith(".") and host.endswith(rule))


# --- cleaning ------------------------------------------------------------------------------------


def clean_acl(name: str, value: str) -> str:
    """The canonical form of a container's list sent in header `name`.

    Raises ValueError with the reason if it is none, or has referrers where they cannot be.
    """
    is_write = "write" in name.lower()
    items = (item.strip() for item in value.split(","))
    return ",".join(_clean_item(item, is_write) for item in items if item)


def _clean_item(item: str, is_write: bool) -> str:
    if item[0] in ":-":
        return _clean_role(item, is_write)
    if item[0] != "." or ":" not in item:
        return item
    word, _, host = item.partition(":")
    if word.strip() not in _REFERRER_WORDS:
        raise ValueError(f"Unknown designator {word.strip()!r} in ACL: {item!r}")
    return _clean_referrer(item, host.strip(), is_write)


def _clean_referrer(item: str, host: str, is_write: bool) -> str:
    if is_write:
        raise ValueError(f"Referrers are not allowed in a write ACL: {item!r}")
    minus = "-" if host.startswith("-") else ""
    host = host.removeprefix("-").strip()
    if host != "*":
        host = host.lstrip("* ")
    if not host.strip(".-"):
        raise ValueError(f"No host or domain after the referrer designator in ACL: {item!r}")
    return f".r:{minus}{host}"


def _clean_role(item: str, is_write: bool) -> str:
    """`:Role` is what `swift post -r:Role` sends, `-r:Role` the same spelled out; `*` is everybody."""
    role = item.removeprefix("-r").removeprefix(":").strip() if item.startswith((":", "-r:")) else ""
    if role == "*":
        return _clean_referrer(item, "*", is_write)
    if item.startswith("-r:") and is_write:
        raise ValueError(f"Readers are not allowed in a write ACL: {item!r}")
    if not role or ":" in role or role[0] in ".-":
        raise ValueError(f"Expected ':Role', '-r:Role' or '-r:*' in ACL: {item!r}")
    return role


# --- account lists -------------------------------------------------------------------------------


def parse_account_acl(value: str) -> dict[str, list[str]]:
    """Read an account's list as a client sends it. Raises ValueError with the reason."""
    acl = _json_object(value)
    for level, names in acl.items():
        if level not in ACCOUNT_LEVELS:
            raise ValueError(f"Key {json.dumps(level)} not recognized")
        if not isinstance(names, list):
            raise ValueError(f"Value for key {json.dumps(level)} must be a list")
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"Elements of {json.dumps(level)} list must be strings")
    return acl


def stored_account_acl(value: str | None) -> dict[str, frozenset[str]]:
    """The names on each level of a list kept in an account, which others may have put there.

    Keys that are no level of ours are left to whoever knows them. Raises ValueError.
    """
    acl = _json_object(value or "")
    lists = ((level, acl.get(level)) for level in ACCOUNT_LEVELS)
    return {
        level: frozenset(name for name in names if isinstance(name, str))
        if isinstance(names, list)
        else frozenset()
        for level, names in lists
    }


def _json_object(value: str) -> dict[str, Any]:
    try:
        acl = json.loads(value or "{}")
    except (ValueError, RecursionError):
        acl = None
    if not isinstance(acl, dict):
        raise ValueError(f"Syntax error in input ({value!r})")
    return acl


def format_account_acl(acl: dict[str, list[str]]) -> str:
    """An account's list as a header value: ASCII JSON without blanks."""
    return json.dumps(acl, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
