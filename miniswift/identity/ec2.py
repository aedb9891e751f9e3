"""EC2 credentials: pairs of an access key and a secret, with which a user signs instead of sending a token.

Users make, list and remove their own, admins everybody's. Servers to whom a signature was sent (S3, EC2)
ask here whether it is good and whom it means: `s3tokens` and `ec2tokens`, in both versions of the API.

1. Only users with the role admin or service are told what a signature means: it can be replayed by whoever
   sees it, a URL for instance, and must not buy a token.
2. A key that is unknown and a signature that is wrong get the same answer.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import webob

from miniswift.concurrency import in_native_thread
from miniswift.errors import ConfigError
from miniswift.identity.authority import ADMIN_ROLE, SERVICE_ROLE, Authority, Grant
from miniswift.identity.aws_signatures import is_ec2_signature, is_s3_signature
from miniswift.identity.directory import Credential, Directory, User
from miniswift.identity.documents import Document
from miniswift.identity.faults import BadRequest, Forbidden, NotFound, Unauthorized, Unavailable
from miniswift.identity.v2 import access_body
from miniswift.identity.v3 import token_body
from miniswift.identity.web import Route, answer, base_url, header_text, host_name, read_json

logger = logging.getLogger(__name__)

_METHOD = "ec2credential"  # how a token tells that its user proved themselves
_WRAPPERS = ("credentials", "credential", "ec2Credentials")


class EC2:
    """The routes of both API versions."""

    def __init__(self, authority: Authority, clock: Callable[[], float]) -> None:
        self._authority = authority
        self._clock = clock

    def routes(self) -> list[Route]:
        listing, one = {"POST": self.make, "GET": self.list}, {"GET": self.show, "DELETE": self.remove}
        return [
            *(
                Route(f"/{version}/users/{{user_id}}/credentials/OS-EC2{more}", handlers)
                for version in ("v2.0", "v3")
                for more, handlers in (("", listing), ("/{access}", one))
            ),
            Route("/v2.0/s3tokens", {"POST": lambda request: self._v2(request, self._s3_grant(request))}),
            Route("/v3/s3tokens", {"POST": self.s3_v3}),
            Route("/v2.0/ec2tokens", {"POST": lambda request: self._v2(request, self._ec2_grant(request))}),
            Route("/v3/ec2tokens", {"POST": self.ec2_v3}),
        ]

    # --- credentials -------------------------------------------------------------------------------

    def make(self, request: webob.Request, user_id: str) -> webob.Response:
        user = self._user(request, user_id)
        body = read_json(request)
        project_id = body.text("tenant_id" if "tenant_id" in body else "project_id")
        if not user.project_roles.get(project_id):
            raise Forbidden("The user has no role in that project.")
        credential = Credential(secrets.token_hex(16), secrets.token_hex(16), project_id)
        self._change(user, lambda held: (*held, credential))
        logger.info("user %r has the new access key %s", user.name, credential.access)
        status = 200 if request.path_info.startswith("/v2.0") else 201
        return answer({"credential": _entry(request, user, credential)}, status)

    def list(self, request: webob.Request, user_id: str) -> webob.Response:
        user = self._user(request, user_id)
        entries = [_entry(request, user, credential) for credential in user.credentials]
        links = {"self": f"{base_url(request)}{request.path_info}", "next": None, "previous": None}
        return answer({"credentials": entries, "links": links})

    def show(self, request: webob.Request, user_id: str, access: str) -> webob.Response:
        user = self._user(request, user_id)
        return answer({"credential": _entry(request, user, _find(user, access))})

    def remove(self, request: webob.Request, user_id: str, access: str) -> webob.Response:
        user = self._user(request, user_id)
        gone = _find(user, access)
        self._change(user, lambda held: tuple(each for each in held if each != gone))
        logger.info("access key %s of user %r is removed", access, user.name)
        return answer(None, 204)

    def _user(self, request: webob.Request, user_id: str) -> User:
        """The user whose credentials these are. Raises Unauthorized, Forbidden and NotFound."""
        caller = self._authority.caller(header_text(request, "X-Auth-Token"))
        if user_id != caller.user.id and not caller.has_role(ADMIN_ROLE):
            raise Forbidden
        user = caller.directory.get_user(user_id)
        if user is None:
            raise NotFound("There is no such user.")
        return user

    def _change(self, user: User, change: Callable[[tuple[Credential, ...]], tuple[Credential, ...]]) -> None:
        def edit(directory: Directory) -> Directory:
            now = directory.get_user(user.id)
            if now is None:
                raise NotFound("There is no such user.")
            return directory.with_user(replace(now, credentials=change(now.credentials)))

        try:
            in_native_thread(self._authority.store.edit, edit)
        except ConfigError as error:
            logger.error("the identity file cannot be changed: %s", error)
            raise Unavailable("The identity file cannot be changed now.") from None

    # --- signatures --------------------------------------------------------------------------------

    def s3_v3(self, request: webob.Request) -> webob.Response:
        # Without X-Subject-Token, as Keystone's: whoever asked has no use for a token.
        return answer(token_body(self._s3_grant(request), host_name(request)))

    def ec2_v3(self, request: webob.Request) -> webob.Response:
        host = host_name(request)
        proven = self._ec2_grant(request)
        text, grant = self._authority.issue(
            proven.user, proven.scope, (_METHOD,), lambda grant: token_body(grant, host)
        )
        return answer(token_body(grant, host), headers={"X-Subject-Token": text})

    def _v2(self, request: webob.Request, proven: Grant) -> webob.Response:
        host = host_name(request)
        text, grant = self._authority.issue(
            proven.user, proven.scope, (_METHOD,), lambda grant: access_body(grant, host)
        )
        return answer(access_body(grant, host, text))

    def _s3_grant(self, request: webob.Request) -> Grant:
        return self._grant(request, is_s3_signature)

    def _ec2_grant(self, request: webob.Request) -> Grant:
        now = self._clock()
        return self._grant(request, lambda document, secret: is_ec2_signature(document, secret, now))

    def _grant(self, request: webob.Request, is_good: Callable[[Document, str], bool]) -> Grant:
        """Whom a signature means, for a caller who may know. Raises Unauthorized and Forbidden."""
        caller = self._authority.caller(header_text(request, "X-Auth-Token"))
        if not caller.has_role(ADMIN_ROLE, SERVICE_ROLE):
            raise Forbidden
        body = read_json(request)
        wrapper = next((name for name in _WRAPPERS if name in body), None)
        if wrapper is None:
            raise BadRequest(f"The body needs one of {', '.join(_WRAPPERS)}.")
        credentials = body.object(wrapper)
        found = caller.directory.find_credential(credentials.text("access"))
        # Of nobody, too: an unknown key must not be told from a wrong signature.
        is_right = is_good(credentials, found[1].secret if found else secrets.token_hex(16))
        if found is None or not is_right:
            logger.info("signature refused: %s", "it is wrong, or too old" if found else "no such access key")
            raise Unauthorized
        user, credential = found
        project = caller.directory.get_project(credential.project_id)
        return self._authority.describe(user, project, (_METHOD,))


def _find(user: User, access: str) -> Credential:
    for credential in user.credentials:
        if credential.access == access:
            return credential
    raise NotFound("There is no such access key.")


def _entry(request: webob.Request, user: User, credential: Credential) -> Mapping[str, Any]:
    place = f"{base_url(request)}/v3/users/{user.id}/credentials/OS-EC2/{credential.access}"
    return {
        "access": credential.access,
        "secret": credential.secret,
        "tenant_id": credential.project_id,
        "user_id": user.id,
        "trust_id": None,
        "links": {"self": place},
    }
