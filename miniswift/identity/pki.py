"""What others need to check signed tokens by themselves: certificates, and the list of revoked tokens.

Certificates are for everybody; the list is signed, and for users with the role admin or service.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

import webob

from miniswift import cms
from miniswift.errors import ConfigError
from miniswift.identity.authority import Authority
from miniswift.identity.faults import Unavailable
from miniswift.identity.signing_keys import SigningKeys
from miniswift.identity.web import Route, answer, header_text

logger = logging.getLogger(__name__)


class PKI:
    """The routes of both API versions."""

    def __init__(self, authority: Authority, keys: Callable[[], SigningKeys]) -> None:
        """`keys` reads them when they are first needed, and may raise ConfigError."""
        self._authority = authority
        self._load_keys = keys

    def routes(self) -> list[Route]:
        certificate, authority, revoked = {"GET": self.certificate}, {"GET": self.ca}, {"GET": self.revoked}
        return [
            Route("/v2.0/certificates/signing", certificate),
            Route("/v2.0/certificates/ca", authority),
            Route("/v2.0/tokens/revoked", revoked),
            Route("/v3/OS-SIMPLE-CERT/certificates", certificate),
            Route("/v3/OS-SIMPLE-CERT/ca", authority),
            Route("/v3/auth/tokens/OS-PKI/revoked", revoked),
        ]

    def certificate(self, request: webob.Request) -> webob.Response:
        return _pem(self._keys.certificate_pem)

    def ca(self, request: webob.Request) -> webob.Response:
        return _pem(self._keys.authority_pem)

    def revoked(self, request: webob.Request) -> webob.Response:
        caller = self._authority.caller(header_text(request, "X-Auth-Token"))
        entries = [
            {"id": each.short_id, "expires": _iso(each.expires_at), "audit_id": each.audit_id}
            for each in self._authority.revocations(caller)
        ]
        signed = self._keys.sign(json.dumps({"revoked": entries}).encode())
        return answer({"signed": cms.to_pem(signed)})

    @property
    def _keys(self) -> SigningKeys:
        try:
            return self._load_keys()
        except ConfigError as error:
            logger.error("signing keys: %s", error)
            raise Unavailable("This service has no signing keys.") from None


def _pem(content: bytes) -> webob.Response:
    return webob.Response(body=content, content_type="application/x-pem-file")


def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
