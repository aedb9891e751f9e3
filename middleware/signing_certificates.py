"""The certificate that Keystone signs with, and its CA: fetched when missing or stale, and kept.

1. A message is checked against the certificate that we hold, never against one that it brings.
2. Certificates are fetched again when they have ended, and when somebody unknown signed a message, for
   then Keystone may have a new one; but not at every such message.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from miniswift import cms

from .keystone_client import V2, V3, IdentityUnavailable, Keystone
from .signing_files import SigningFiles
from .token_cache import SingleFlight

logger = logging.getLogger(__name__)

CERTIFICATE_FILE = "signing_cert.pem"
AUTHORITY_FILE = "cacert.pem"

_CERTIFICATE_PATHS = {V2: "/certificates/signing", V3: "/OS-SIMPLE-CERT/certificates"}
_AUTHORITY_PATHS = {V2: "/certificates/ca", V3: "/OS-SIMPLE-CERT/ca"}

RENEWAL_INTERVAL_S = 30.0  # between fetches: anybody can send a message by somebody unknown


class SigningCertificates:
    """Reads signed messages of Keystone's."""

    def __init__(
        self, keystone: Keystone, files: SigningFiles, clock: Callable[[], float] = time.time
    ) -> None:
        self._keystone = keystone
        self._files = files
        self._clock = clock
        self._signer: cms.Signer | None = None
        self._next_renewal = 0.0
        self._flights: SingleFlight[cms.Signer | None] = SingleFlight()

    def read(self, der: bytes) -> bytes:
        """What was signed. Raises CMSError, and IdentityUnavailable without certificates to check it by."""
        signer = self._current()
        try:
            return signer.read(der)
        except cms.UnknownSigner:
            renewed = self._renew()
            if renewed is None:
                raise
            return renewed.read(der)

    def _current(self) -> cms.Signer:
        if self._signer is None:
            self._signer = self._kept()
        if self._signer is None or not self._signer.is_valid_at(self._clock()):
            self._signer = self._renew()
            if self._signer is None:
                raise IdentityUnavailable("there are no certificates")
        return self._signer

    def _kept(self) -> cms.Signer | None:
        certificate, authority = self._files.read(CERTIFICATE_FILE), self._files.read(AUTHORITY_FILE)
        if not certificate or not authority:
            return None
        try:
            return cms.Signer.of_pem(certificate, authority)
        except cms.CertificateError as error:
            logger.warning("the certificate in signing_dir is not used: %s", error)
            return None

    def _renew(self) -> cms.Signer | None:
        """Certificates from Keystone; None if they were fetched a moment ago. Raises IdentityUnavailable."""
        return self._flights.call("", self._fetch)

    def _fetch(self) -> cms.Signer | None:
        now = self._clock()
        if now < self._next_renewal:
            return None
        self._next_renewal = now + RENEWAL_INTERVAL_S
        certificate, authority = self._get(_CERTIFICATE_PATHS), self._get(_AUTHORITY_PATHS)
        try:
            signer = cms.Signer.of_pem(certificate, authority)
        except cms.CertificateError as error:
            raise IdentityUnavailable(f"Keystone's signing certificate is no good: {error}") from None
        if not signer.is_valid_at(now):
            raise IdentityUnavailable("Keystone's signing certificate has ended, or not begun")
        self._files.write(CERTIFICATE_FILE, certificate, now)
        self._files.write(AUTHORITY_FILE, authority, now)
        logger.info("fetched Keystone's signing certificate, number %x", signer.certificate.serial_number)
        self._signer = signer
        return signer

    def _get(self, paths: dict[str, str]) -> bytes:
        response = self._keystone.get(paths, is_authenticated=False)
        if response.status_code != 200:
            raise IdentityUnavailable(f"Keystone has no signing certificate: {response.status_code}")
        content: bytes = response.content
        return content
