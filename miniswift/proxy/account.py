"""The account controller."""

from __future__ import annotations

import json

from miniswift.backend import BackendRequest
from miniswift.info import INFO_ONLY
from miniswift.proxy.constraints import check_metadata, check_name_length, refuse
from miniswift.proxy.controller import Controller
from miniswift.responses import Headers, Response
from miniswift.timestamp import Timestamp
from miniswift.wsgi import OWNER, from_wsgi

ACCESS_CONTROL_SYSMETA = "X-Account-Sysmeta-Core-Access-Control"


class AccountController(Controller):
    """Requests for an account."""

    kind = "account"
    verbs = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")

    def allowed_verbs(self) -> tuple[str, ...]:
        if self.app.settings.allow_account_management:
            return self.verbs
        return tuple(verb for verb in self.verbs if verb not in ("PUT", "DELETE"))

    def GET(self) -> Response:
        if INFO_ONLY in self.environ:
            return Response(self.app.infos.account(self.environ, self.account)["status"], body=b"")
        self._check_name()
        ring = self.app.account_ring
        part = self.app.cluster.part(ring, self.account)
        version = self.app.infos.account_version(self.account)
        response = self.read_listing(ring, part, f"/{self.account}")
        is_missing = response.status == 404
        if is_missing:
            response = self._missing(response)
        self.app.infos.note_account(self.environ, self.account, response, version)
        if self.environ.get(OWNER):
            self._show_access_control(response)
        if not is_missing:
            self.word_listing(response)
        return response

    HEAD = GET

    def PUT(self) -> Response:
        self._check_name()
        check_metadata(self.request, "account", self.app.cluster.constraints)
        return self._write("PUT")

    def POST(self) -> Response:
        self._check_name()
        check_metadata(self.request, "account", self.app.cluster.constraints)
        response = self._write("POST")
        if response.status == 404 and self.app.settings.account_autocreate and not _is_deleted(response):
            self.app.create_account(self)
            response = self._write("POST")
        return response

    def DELETE(self) -> Response:
        if self.request.query_string:
            # A mistyped query was probably meant for a filter (bulk delete), not for the whole account.
            raise refuse(400, "DELETE of an account takes no query")
        return self._write("DELETE")

    def _check_name(self) -> None:
        check_name_length("Account", self.account, self.app.name_limit("account", self.account))

    def _write(self, verb: str) -> Response:
        ring = self.app.account_ring
        part = self.app.cluster.part(ring, self.account)
        headers = self.base_headers() if verb == "DELETE" else self.metadata_headers()
        response = self.app.client.write(
            ring, part, lambda _: BackendRequest(verb, part, f"/{self.account}", headers)
        )
        self.app.infos.forget_account(self.environ, self.account)
        if self.environ.get(OWNER):
            self._show_access_control(response)
        return response

    def _missing(self, response: Response) -> Response:
        """410 for a deleted account; one that was never written to looks empty if it can be made."""
        if _is_deleted(response):
            return Response(410, response.headers)
        if not self.app.settings.account_autocreate:
            return response
        stamp = Timestamp.now().normal
        headers = Headers(
            {
                "X-Account-Container-Count": "0",
                "X-Account-Object-Count": "0",
                "X-Account-Bytes-Used": "0",
                "X-Timestamp": stamp,
                "X-Put-Timestamp": stamp,
                "X-Backend-Fake-Account-Listing": "yes",
                "Content-Type": "application/json; charset=utf-8",
            }
        )
        if self.request.method == "HEAD":
            return Response(200, headers, [])
        return Response(200, headers, b"[]")

    def _show_access_control(self, response: Response) -> None:
        shown = _canonical_acl(response.headers.get(ACCESS_CONTROL_SYSMETA, ""))
        if shown:
            response.headers["X-Account-Access-Control"] = shown


def _canonical_acl(stored: str) -> str:
    """An account's stored list as its owner is shown it: JSON in ASCII, or nothing where it lists nobody."""
    try:
        acl = json.loads(from_wsgi(stored)) if stored else None
    except ValueError:  # nor does it admit anybody
        return ""
    return json.dumps(acl, separators=(",", ":"), sort_keys=True) if acl and isinstance(acl, dict) else ""


def _is_deleted(response: Response) -> bool:
    return bool(response.headers.get("X-Account-Status", "").lower() == "deleted")
