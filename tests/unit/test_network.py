"""Which addresses are this machine's."""

from __future__ import annotations

import pytest

from miniswift.network import is_local, local_addresses


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.3.2.1", "::1", "0:0:0:0:0:0:0:1"])
def test_loopback_is_local(ip):
    assert is_local(ip)


@pytest.mark.parametrize("ip", ["192.0.2.1", "2001:db8::1", "node.example", ""])
def test_others_are_not(ip):
    assert not is_local(ip)


def test_every_interface_is_asked():
    assert "127.0.0.1" in local_addresses()
    assert all(is_local(address) for address in local_addresses())
