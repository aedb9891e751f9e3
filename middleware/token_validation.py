"""Whether a token is valid, and as whom.

A validator turns a token into its body or says why not. `ValidatorByForm` picks one by how the token
begins; `OnlineValidator` asks Keystone, v3 or v2.0; `SignedTokenValidator` reads the token itself.

1. `InvalidToken` is the word of Keystone, or of its signature, that the token is no good. Whatever keeps
   us from finding out is `IdentityUnavailable`, and never held against the token.
2. A token that could be read as anything but one opaque word does not get into a URL or a header.
3. A signed token is good if Keystone signed it and its list of revoked tokens, which is not too old, does
   not have it. Where there is no telling, Keystone is asked.

Not here: keeping answers (token_cache), reading bodies (identity_headers), how to ask (keystone_client).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

from miniswift import signed_tokens
from miniswift.cms import CMSError
from miniswift.errors import MiniswiftError

from .keystone_client import V2, V3, IdentityUnavailable, Keystone, json_object
from .revocation_list import RevocationList
from .signing_certificates import SigningCertificates

logger = logging.getLogger(__name__)

# RFC 6750 2.1 b64token without its slash: UUIDs, Fernet, JWS, PKI and PKIZ are all of this form.
_OPAQUE_WORD = re.compile(r"[._~+-]*[A-Za-z0-9][A-Za-z0-9._~+-]*=*")


class InvalidToken(MiniswiftError):
    """Raised when a token is no good. Says why, never which."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class TokenValidator(Protocol):
    """Tells what a token stands for."""

    def validate(self, token: str, allow_expired: bool = False) -> Mapping[str, Any]:
        """The token's body in the form of its API version.

        Raises InvalidToken, or IdentityUnavailable when that could not be found out.
        """


class ValidatorByForm:
    """Hands each token to the validator for its form."""

    def __init__(self, opaque: TokenValidator, signed: TokenValidator) -> None:
        self._opaque = opaque
        self._signed = signed

    def validate(self, token: str, allow_expired: bool = False) -> Mapping[str, Any]:
        if not _OPAQUE_WORD.fullmatch(token):
            raise InvalidToken("it has characters that no token has")
        is_signed = token.startswith((signed_tokens.PKI_START, signed_tokens.PKIZ_START))
        return (self._signed if is_signed else self._opaque).validate(token, allow_expired)


class OnlineValidator:
    """Asks Keystone about each token."""

    def __init__(self, keystone: Keystone, with_catalog: bool) -> None:
        self._keystone = keystone
        self._with_catalog = with_catalog

    def validate(self, token: str, allow_expired: bool = False) -> Mapping[str, Any]:
        wanted = {"nocatalog": not self._with_catalog, "allow_expired=1": allow_expired}
        flags = "&".join(flag for flag, is_wanted in wanted.items() if is_wanted)
        paths = {
            V2: f"/tokens/{quote(token, safe='')}",
            # No OpenStack-Identity-Access-Rules header: so Keystone refuses application credentials that are
            # restricted by access rules, which nobody here would enforce.
            V3: f"/auth/tokens?{flags}" if flags else "/auth/tokens",
        }
        response = self._keystone.get(paths, {"X-Subject-Token": token})
        if response.status_code in (400, 404):
            raise InvalidToken("Keystone does not know it")
        if response.status_code in (401, 403):
            raise IdentityUnavailable(f"the service user may not validate tokens: {response.status_code}")
        return json_object(response)


class SignedTokenValidator:
    """Reads tokens that carry their body, signed by Keystone."""

    def __init__(
        self, certificates: SigningCertificates, revocations: RevocationList, online: TokenValidator
    ) -> None:
        self._certificates = certificates
        self._revocations = revocations
        self._online = online

    def validate(self, token: str, allow_expired: bool = False) -> Mapping[str, Any]:
        try:
            body = self._read(token)
            if self._revocations.has(token, body):
                raise InvalidToken("it is revoked")
        except CMSError as error:
            raise InvalidToken(str(error)) from None
        except IdentityUnavailable as error:
            logger.warning("signed tokens cannot be checked here (%s); asking Keystone", error)
            return self._online.validate(token, allow_expired)
        return body

    def _read(self, token: str) -> Mapping[str, Any]:
        content = self._certificates.read(signed_tokens.message_of(token))
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        # Keystone signs other things as well: a list of revoked tokens is no token.
        if not isinstance(body, dict) or ("access" in body) == ("token" in body):
            raise InvalidToken("what is signed is no token")
        return body
