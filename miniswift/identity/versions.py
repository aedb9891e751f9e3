"""Version documents: how clients find out that v2.0 and v3 are spoken here, and where."""

from __future__ import annotations

from typing import Any

import webob

from miniswift.identity.web import Route, answer, base_url, host_name

# What keystoneauth's discovery wants to know of each. v3.14 is the last Keystone has defined; v2.0 is
# marked as Keystone marked it while it still had it, which only makes clients prefer v3.
_VERSIONS = {
    "v3": {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z"},
    "v2.0": {"id": "v2.0", "status": "deprecated", "updated": "2016-08-04T00:00:00Z"},
}
_MEDIA_TYPES = {
    "v3": "application/vnd.openstack.identity-v3+json",
    "v2.0": "application/vnd.openstack.identity-v2.0+json",
}


class Versions:
    """The documents at `/`, `/v2.0` and `/v3`; they need no token."""

    def __init__(self, public_url: str = "") -> None:
        self._public_url = public_url.rstrip("/")  # empty: what the client wrote

    def routes(self) -> list[Route]:
        return [
            Route("/", {"GET": self.choices}),
            Route("", {"GET": self.choices}),
            Route("/v3", {"GET": self.v3}),
            Route("/v2.0", {"GET": self.v2}),
        ]

    def choices(self, request: webob.Request) -> webob.Response:
        values = [self._describe(request, name) for name in _VERSIONS]
        return answer({"versions": {"values": values}}, 300, {"Location": f"{self._base(request)}/v3/"})

    def v3(self, request: webob.Request) -> webob.Response:
        return answer({"version": self._describe(request, "v3")})

    def v2(self, request: webob.Request) -> webob.Response:
        return answer({"version": self._describe(request, "v2.0")})

    def _describe(self, request: webob.Request, name: str) -> dict[str, Any]:
        return {
            **_VERSIONS[name],
            "links": [{"rel": "self", "href": f"{self._base(request)}/{name}/"}],
            "media-types": [{"base": "application/json", "type": _MEDIA_TYPES[name]}],
        }

    def _base(self, request: webob.Request) -> str:
        if "%(host)s" in self._public_url:
            return self._public_url.replace("%(host)s", host_name(request))
        return self._public_url or base_url(request)
