"""Version 1 logins: `GET /auth/v1.0`, which every Swift client can do.

`X-Auth-User: project:user` (both of the default domain) and `X-Auth-Key` bring, as headers, the URL
of the project's account and a token that is the same as any other.
"""

from __future__ import annotations

import logging

import webob

from miniswift.identity.authority import Authority
from miniswift.identity.catalog import Catalog
from miniswift.identity.directory import DEFAULT_DOMAIN_ID, Reference
from miniswift.identity.faults import Unauthorized, Unavailable
from miniswift.identity.v3 import token_body
from miniswift.identity.web import Route, answer, header_text, host_name

logger = logging.getLogger(__name__)


class V1:
    """The v1 dialect."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def routes(self) -> list[Route]:
        return [Route("/auth/v1.0", {"GET": self.log_in})]

    def log_in(self, request: webob.Request) -> webob.Response:
        user_header = header_text(request, "X-Auth-User") or header_text(request, "X-Storage-User")
        password = header_text(request, "X-Auth-Key") or header_text(request, "X-Storage-Pass")
        project_name, separator, user_name = user_header.partition(":")
        if not (separator and project_name and user_name and password):
            logger.info("v1 login refused: X-Auth-User is not project:user, or X-Auth-Key is missing")
            raise Unauthorized
        host = host_name(request)

        who = Reference(name=user_name, domain_id=DEFAULT_DOMAIN_ID)
        user = self._authority.log_in(who, password, request.remote_addr or "")
        where = Reference(name=project_name, domain_id=DEFAULT_DOMAIN_ID)
        project = self._authority.store.directory().find_project(where)
        if project is None:
            logger.info("v1 login of %r refused: no project %r", user.name, project_name[:64])
            raise Unauthorized
        token, grant = self._authority.issue(
            user, project, ("password",), lambda grant: token_body(grant, host)
        )

        storage_url = Catalog(grant.directory, project, host).object_store_url()
        if storage_url is None:
            logger.error("%s has no service of type object-store", self._authority.store.path)
            raise Unavailable("This service knows no object store.")
        return answer(
            None,
            headers={
                "X-Storage-Url": storage_url,
                "X-Auth-Token": token,
                "X-Storage-Token": token,
                "X-Auth-Token-Expires": str(grant.token.expires_at - grant.token.issued_at),
            },
        )
