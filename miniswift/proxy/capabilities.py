"""`/info`: what this cluster can do, for clients that ask before they try."""

from __future__ import annotations

import hmac
import json
import time
from hashlib import sha1

from miniswift import VERSION
from miniswift.cluster import Cluster
from miniswift.info import get_swift_info, register_policies, register_swift_info
from miniswift.proxy.settings import ProxySettings
from miniswift.responses import Headers, HTTPError, Response
from miniswift.wsgi import Request

# A signature for GET also serves HEAD.
_SIGNED_METHODS = {"HEAD": ("HEAD", "GET"), "GET": ("GET",)}


def register(settings: ProxySettings, cluster: Cluster) -> None:
    """Say what the proxy itself can do and where its limits are."""
    limits = cluster.constraints
    register_policies(cluster.policies)
    register_swift_info(
        version=VERSION,
        strict_cors_mode=settings.strict_cors_mode,
        policies=[
            {"name": policy.name, "aliases": ", ".join((policy.name, *policy.aliases))}
            | ({"default": True} if policy.is_default else {})
            for policy in cluster.policies
            if not policy.is_deprecated
        ],
        allow_account_management=settings.allow_account_management,
        account_autocreate=settings.account_autocreate,
        allow_open_expired=settings.allow_open_expired,
        max_file_size=limits.max_file_size,
        max_meta_name_length=limits.max_meta_name_length,
        max_meta_value_length=limits.max_meta_value_length,
        max_meta_count=limits.max_meta_count,
        max_meta_overall_size=limits.max_meta_overall_size,
        max_header_size=limits.max_header_size,
        extra_header_count=limits.extra_header_count,
        max_object_name_length=limits.max_object_name_length,
        container_listing_limit=limits.container_listing_limit,
        account_listing_limit=limits.account_listing_limit,
        max_account_name_length=limits.max_account_name_length,
        max_container_name_length=limits.max_container_name_length,
        valid_api_versions=list(limits.valid_api_versions),
    )


def answer(request: Request, settings: ProxySettings) -> Response:
    """The answer to a request for /info. Raises 401, 403 and 405."""
    if request.method == "OPTIONS":
        return Response(200, Headers(Allow="GET, HEAD, OPTIONS"), b"")
    if request.method not in _SIGNED_METHODS:
        raise HTTPError(405, headers={"Allow": "GET, HEAD, OPTIONS"})
    if not settings.expose_info:
        raise HTTPError(403)
    is_admin = _is_signed(request, settings.admin_key)
    body = json.dumps(get_swift_info(is_admin, settings.disallowed_sections)).encode()
    headers = Headers({"Content-Type": "application/json; charset=UTF-8"})
    origin = request.headers.get("Origin")
    if origin:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = "x-trans-id"
    return Response(200, headers, body)


def _is_signed(request: Request, key: str) -> bool:
    """True for a good signature, False without one. Raises 401 and 403 for a bad one."""
    params = request.params
    signature, expires = params.get("swiftinfo_sig", ""), params.get("swiftinfo_expires", "")
    if not signature and not expires:
        return False
    if not key:
        raise HTTPError(403)
    if not expires.isdecimal() or int(expires) < time.time():
        raise HTTPError(401)
    for method in _SIGNED_METHODS[request.method]:
        message = f"{method}\n{expires}\n/info"
        expected = hmac.new(key.encode(), message.encode(), sha1).hexdigest()
        if hmac.compare_digest(expected.encode(), signature.encode("latin-1")):
            return True
    raise HTTPError(401)
