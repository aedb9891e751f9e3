"""Refuses names that an operator does not want: by their characters, their length, or a regular expression.

What is looked at is the whole path, unquoted: account, container and object with the slashes between them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable

from miniswift import info
from miniswift.config import Settings, option, positive
from miniswift.responses import Environ, Response, StartResponse
from miniswift.wsgi import WSGIApp, as_text, to_wsgi


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a regular expression ({error})") from None
    return value.strip()


@dataclasses.dataclass(frozen=True)
class NameCheckSettings(Settings):
    """The options of [filter:name_check]."""

    forbidden_chars: str = option(str, "'\"`<>", "characters that no name may have")
    maximum_length: int = option(positive, "255", "bytes that a path may have")
    forbidden_regexp: str = option(
        _pattern, r"/\./|/\.\./|/\.$|/\.\.$", "what no path may contain; empty allows everything"
    )


class NameCheck:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: NameCheckSettings) -> None:
        self._app = app
        self._settings = settings
        self._forbidden = frozenset(settings.forbidden_chars)
        self._pattern = re.compile(settings.forbidden_regexp) if settings.forbidden_regexp else None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        problem = self._problem(as_text(environ["PATH_INFO"]))
        return (Response(400, {}, problem) if problem else self._app)(environ, start_response)

    def _problem(self, path: str) -> str:
        settings = self._settings
        if not self._forbidden.isdisjoint(path):
            return f"Object/Container/Account name contains forbidden chars from {settings.forbidden_chars}"
        if len(to_wsgi(path)) > settings.maximum_length:
            return f"Object/Container/Account name longer than the allowed maximum {settings.maximum_length}"
        if self._pattern and self._pattern.search(path):
            return (
                "Object/Container/Account name contains a forbidden substring from regular expression "
                f"{settings.forbidden_regexp}"
            )
        return ""


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], NameCheck]:
    settings = NameCheckSettings.from_conf({**global_conf, **local_conf}, local_conf)
    info.register_swift_info(
        "name_check",
        forbidden_chars=settings.forbidden_chars,
        maximum_length=settings.maximum_length,
        forbidden_regexp=settings.forbidden_regexp,
    )
    return lambda app: NameCheck(app, settings)
