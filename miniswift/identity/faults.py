"""Refusals: what the identity service answers instead of what was asked.

Each is raised where the reason is known and becomes an HTTP answer in one place, the application.
Its message goes to the client, so it never tells whether a user exists or which part of a login was wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from miniswift.errors import MiniswiftError


class Fault(MiniswiftError):
    """The base of all refusals: a status, a message for the client, and headers."""

    status = 500

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase


class BadRequest(Fault):
    """Raised when a request cannot be understood."""

    status = 400


class Unauthorized(Fault):
    """Raised when a login or a caller's token is not good."""

    status = 401

    def __init__(self, message: str = "These credentials are not valid.") -> None:
        super().__init__(message)


class Forbidden(Fault):
    """Raised when a caller is known and may not do this."""

    status = 403

    def __init__(self, message: str = "This token does not allow that.") -> None:
        super().__init__(message)


class NotFound(Fault):
    """Raised when there is nothing at a path, or no such valid token."""

    status = 404

    def __init__(self, message: str = "There is nothing here.") -> None:
        super().__init__(message)


class MethodNotAllowed(Fault):
    """Raised when a path exists and the method does not."""

    status = 405


class TooLarge(Fault):
    """Raised when a request body is longer than any login is."""

    status = 413


class TooManyRequests(Fault):
    """Raised when a user's logins from one address failed too often. Carries Retry-After, in seconds."""

    status = 429

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("Too many failed logins; try again later.", {"Retry-After": str(retry_after_s)})


class Unavailable(Fault):
    """Raised when the service cannot answer now: too many logins at once, or its database is gone."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message, {"Retry-After": "1"})
