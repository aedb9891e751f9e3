"""What the controllers share: authorization, owner's headers, the headers that go to the back end.

A controller serves one request. A handler is a method named after the verb, and has one shape: check,
authorize, ask the back end, word the answer. The application has asked `swift.authorize` once before; a
handler in `delays_denial` is run even when that said no, because only it can find the ACL to ask again with.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qsl, urlencode

from miniswift import identity_keys
from miniswift.backend import BackendRequest
from miniswift.config import is_true
from miniswift.proxy.constraints import refuse
from miniswift.responses import Headers, HTTPError, Response
from miniswift.ring import Ring
from miniswift.timestamp import Timestamp
from miniswift.wsgi import ACL, AUTHORIZE, CLEAN_ACL, OWNER, TRANS_ID, Request, environ_key, header_name

if TYPE_CHECKING:
    from miniswift.proxy import Application

# Headers that stop here: who is asking, credentials, and what speaks of this connection only.
_NEVER_FORWARDED = identity_keys.KEYS | frozenset(
    environ_key(name)
    for name in (
        "Authorization", "Connection", "Content-Length", "Cookie", "Expect", "Host", "Keep-Alive",
        "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "X-Auth-Token",
        "X-Service-Token", "X-Storage-Token",
    )
)  # fmt: skip


class Denied(Exception):
    """Raised to answer with what an authorize callable returned: any WSGI application."""

    def __init__(self, response: object) -> None:
        super().__init__()
        self.response = response


class Controller:
    """One request for an account, container or object. Names are text."""

    verbs: ClassVar[tuple[str, ...]] = ()
    delays_denial: ClassVar[frozenset[str]] = frozenset()
    kind: ClassVar[str] = ""

    def __init__(
        self, app: Application, request: Request, account: str, container: str = "", obj: str = ""
    ) -> None:
        self.app = app
        self.request = request
        self.environ = request.environ
        self.account = account
        self.container = container
        self.obj = obj
        self.timestamp = _request_timestamp(request)

    def allowed_verbs(self) -> tuple[str, ...]:
        """What Allow says; some depend on the settings."""
        return self.verbs

    def OPTIONS(self) -> Response:
        return Response(200, Headers(Allow=", ".join(sorted(self.allowed_verbs()))), "")

    # --- authorization -------------------------------------------------------------------------

    def authorize(self, acl: str | None) -> None:
        """Ask again with the container's ACL, unless access was granted before. Raises Denied."""
        authorize = self.environ.get(AUTHORIZE)
        if authorize is None:
            return
        self.environ[ACL] = acl
        response = authorize(self.request)
        if response is not None:
            raise Denied(response)

    def clean_acls(self) -> None:
        """Bring the ACL headers into canonical form. Raises 400 for what the auth filter cannot read."""
        clean = self.environ.get(CLEAN_ACL)
        if clean is None:
            return
        for header in ("X-Container-Read", "X-Container-Write"):
            key = environ_key(header)
            if key in self.environ:
                try:
                    self.environ[key] = clean(header.lower(), self.environ[key])
                except ValueError as error:
                    raise refuse(400, str(error)) from None

    def drop_owner_headers_of_request(self) -> None:
        if not self.environ.get(OWNER):
            for key in self.app.owner_header_keys:
                self.environ.pop(key, None)

    def word_listing(self, response: Response) -> None:
        """Show an account's or container's answer to its client as Swift's proxy does."""
        self.hide_owner_headers(response)
        response.headers.pop("X-Put-Timestamp", None)
        if response.status // 100 == 2:
            response.headers["Accept-Ranges"] = "bytes"

    def hide_owner_headers(self, response: Response) -> None:
        if not self.environ.get(OWNER):
            for name in self.app.settings.swift_owner_headers:
                response.headers.pop(name, None)

    # --- requests to the back end ----------------------------------------------------------------

    def base_headers(self) -> Headers:
        """The headers that every request to the back end has."""
        return Headers(
            {
                "X-Timestamp": self.timestamp.internal,
                "X-Trans-Id": self.environ.get(TRANS_ID, "-"),
                "User-Agent": f"proxy-server {os.getpid()}",
                "Referer": f"{self.request.method} {self.request.host_url}{self.request.path_qs}",
            }
        )

    def metadata_headers(self) -> Headers:
        """The base, and the client's metadata of an account or container; X-Remove-… become empty values."""
        kind = self.kind.upper()
        headers = self.base_headers()
        prefixes = (f"HTTP_X_{kind}_META_", f"HTTP_X_{kind}_SYSMETA_", "HTTP_X_BACKEND_")
        removals = tuple(f"HTTP_X_REMOVE_{prefix[7:]}" for prefix in prefixes[:2])
        for key, value in self.environ.items():
            if not key.startswith("HTTP_X_"):
                continue
            if key.startswith(prefixes) or key in self.app.pass_through_keys[self.kind]:
                headers[key[5:].replace("_", "-")] = value
            elif value and (key.startswith(removals) or key in self.app.removal_keys[self.kind]):
                headers[f"X-{key[14:].replace('_', '-')}"] = ""
        return headers

    def forwarded_headers(self) -> Headers:
        """The base, and everything the client sent that is about the resource itself."""
        environ = self.environ
        headers = Headers(
            {
                header_name(key) or key: environ[key]
                for key in environ
                if key.startswith("HTTP_") and key not in _NEVER_FORWARDED
            }
        )
        content_type = environ.get("CONTENT_TYPE")
        if content_type:
            headers["Content-Type"] = content_type
        headers.update(self.base_headers())
        return headers

    def read_listing(self, ring: Ring, part: int, path: str) -> Response:
        """The answer to a GET or HEAD of an account or container: JSON, which listing_formats converts."""
        headers = self.base_headers()
        for key in self.app.listing_header_keys & self.environ.keys():
            headers[key[5:].replace("_", "-")] = self.environ[key]
        request = BackendRequest(self.request.method, part, path, headers, self._listing_query())
        newest = is_true(self.environ.get("HTTP_X_NEWEST"))
        return self.app.client.read(ring, part, request, newest=newest, whole=True)

    def _listing_query(self) -> str:
        query = self.request.query_string
        if query in ("", "format=json"):
            return "format=json"
        given = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
        for name, value in given:
            if not _is_utf8(value):
                raise refuse(400, f'"{name}" parameter not valid UTF-8')
        kept = [(name, value) for name, value in given if name != "format"]
        return urlencode([*kept, ("format", "json")], encoding="latin-1")


def _is_utf8(wsgi_string: str) -> bool:
    try:
        wsgi_string.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return False
    return True


def _request_timestamp(request: Request) -> Timestamp:
    """When the request counts as made: now, or what a trusted filter restored (container sync)."""
    given = request.environ.get("HTTP_X_TIMESTAMP")
    if given is None:
        return Timestamp.now()
    try:
        return Timestamp.parse(given)
    except ValueError:
        raise HTTPError(400, "Invalid X-Timestamp header") from None
