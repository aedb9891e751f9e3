"""Tokens that are bound to how their user signed in, e.g. to a Kerberos principal.

What happens to a bound token is the option `enforce_token_bind`:

    disabled      bindings are ignored
    permissive    a binding of a kind we cannot check is ignored, a known one must hold
    strict        a binding must hold, and be of a kind we can check
    required      strict, and every token must be bound
    <kind>        required, and bound to this kind: kerberos

Kerberos is checked by the web server in front of us, which says so in AUTH_TYPE and REMOTE_USER.
"""

from __future__ import annotations

from collections.abc import Mapping

from miniswift.responses import Environ

DISABLED = "disabled"
PERMISSIVE = "permissive"
REQUIRED = "required"
KERBEROS = "kerberos"
MODES = (DISABLED, PERMISSIVE, "strict", REQUIRED, KERBEROS)


def mode(value: str) -> str:
    word = value.strip().lower()
    if word not in MODES:
        raise ValueError(f"expected one of {', '.join(MODES)}")
    return word


def broken_binding(enforced: str, bindings: Mapping[str, str], environ: Environ) -> str | None:
    """Why a token with these bindings may not be used in this request; None if it may."""
    if enforced == DISABLED:
        return None
    if not bindings:
        return "it is not bound to anything" if enforced in (REQUIRED, KERBEROS) else None
    if enforced == KERBEROS and KERBEROS not in bindings:
        return "it is not bound to Kerberos"
    for kind, identifier in bindings.items():
        if kind == KERBEROS:
            if (
                environ.get("AUTH_TYPE", "").lower() != "negotiate"
                or environ.get("REMOTE_USER") != identifier
            ):
                return "it is bound to another Kerberos user"
        elif enforced != PERMISSIVE:
            return f"it is bound to something unknown, {kind!r}"
    return None
