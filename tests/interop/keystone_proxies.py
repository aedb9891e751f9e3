"""Proxies whose users are a real Keystone's: either implementation, with either's filters in front of it.

miniswift             our proxy, our authtoken and keystoneauth
old options           the same, configured as in 2012: auth_host, admin_user, …
keystonemiddleware    our proxy, the real auth_token in place of ours
our filters           a real Swift's proxy, our filters in its pipeline
swift                 a real Swift's proxy with its own
"""

from __future__ import annotations

from pathlib import Path

from tests.interop.clusters import MINISWIFT, SWIFT, SWIFT_BIN, Backends, Proxy
from tests.interop.keystone import Keystone, User

OURS, OLD_OPTIONS, KEYSTONEMIDDLEWARE = "miniswift", "old options", "keystonemiddleware"
OUR_FILTERS, SWIFTS_OWN = "our filters", "swift"
PROXIES = (OURS, OLD_OPTIONS, KEYSTONEMIDDLEWARE, OUR_FILTERS, SWIFTS_OWN)

_OUR_AUTHTOKEN = "paste.filter_factory = miniswift.middleware.authtoken:filter_factory"
_REAL_AUTHTOKEN = "paste.filter_factory = keystonemiddleware.auth_token:filter_factory"


class KeystoneProxy(Proxy):
    """One of them, with a memcached of its own."""

    FILTERS = (
        "catch_errors gatekeeper healthcheck proxy-logging cache cors listing_formats tempurl"
        " formpost authtoken keystoneauth copy"
    )

    def __init__(
        self, kind: str, backends: Backends, keystone: Keystone, service_user: User, **options: str
    ) -> None:
        """`options` are authtoken's, added to those that let it sign in."""
        self.kind = kind
        self._keystone = keystone
        self._service_user = service_user
        self._options = options
        is_swift = kind in (OUR_FILTERS, SWIFTS_OWN)
        if kind == SWIFTS_OWN:
            self.FILTERS = self.FILTERS.replace(" cors", "")  # its proxy does it
        super().__init__(backends, SWIFT if is_swift else MINISWIFT, kind.replace(" ", "-"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _command(self) -> list[str | Path]:
        if self.kind == KEYSTONEMIDDLEWARE:  # which is installed there, as miniswift is
            return [SWIFT_BIN / "miniswift-proxy-server", self.conf]
        return super()._command()

    def _auth_sections(self) -> str:
        authtoken = _REAL_AUTHTOKEN if self.kind in (KEYSTONEMIDDLEWARE, SWIFTS_OWN) else _OUR_AUTHTOKEN
        ours = self.kind != SWIFTS_OWN
        sections = [
            f"[filter:{name}]\n{self._factory(name, ours)}\n{more}"
            for name, more in (
                ("cors", ""),
                ("tempurl", ""),
                ("formpost", ""),
                ("keystoneauth", KEYSTONEAUTH_OPTIONS),
            )
            if name != "cors" or ours
        ]
        options = {**self._sign_in_options(), "delay_auth_decision": "true", "cache": "swift.cache"}
        lines = [f"{name} = {value}" for name, value in {**options, **self._options}.items()]
        return "\n".join([*sections, "[filter:authtoken]", authtoken, *lines, ""])

    def _factory(self, name: str, is_ours: bool) -> str:
        if is_ours:
            return f"paste.filter_factory = miniswift.middleware.{name}:filter_factory"
        return f"use = egg:swift#{name}"

    def _sign_in_options(self) -> dict[str, str]:
        user = self._service_user
        if self.kind == OLD_OPTIONS:
            return {
                "auth_protocol": "http",
                "auth_host": "127.0.0.1",
                "auth_port": str(self._keystone.port),
                "admin_user": user.name,
                "admin_password": user.password,
                "admin_tenant_name": "service",
            }
        return {
            "www_authenticate_uri": self._keystone.url,
            "auth_type": "password",
            "auth_url": self._keystone.url,
            "username": user.name,
            "password": user.password,
            "project_name": "service",
            "user_domain_id": "default",
            "project_domain_id": "default",
        }


KEYSTONEAUTH_OPTIONS = """\
reseller_prefix = AUTH, SERVICE
operator_roles = swiftoperator
SERVICE_service_roles = service
project_reader_roles = reader
system_reader_roles = auditor
"""
