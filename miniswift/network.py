"""The addresses of this machine."""

from __future__ import annotations

import functools
import ipaddress

import netifaces


@functools.lru_cache(maxsize=1)
def local_addresses() -> frozenset[str]:
    """The addresses of every interface, in their usual spelling."""
    return frozenset(
        _usual(entry["addr"])
        for interface in netifaces.interfaces()
        for family, entries in netifaces.ifaddresses(interface).items()
        if family in (netifaces.AF_INET, netifaces.AF_INET6)
        for entry in entries
    )


def is_local(ip: str) -> bool:
    """Whether an address of a ring is one of this machine's."""
    try:
        return _usual(ip) in local_addresses() or ipaddress.ip_address(ip).is_loopback
    except ValueError:
        return False  # a host name: rings should have addresses


def _usual(ip: str) -> str:
    return str(ipaddress.ip_address(ip.partition("%")[0]))  # without the scope of a link-local one
