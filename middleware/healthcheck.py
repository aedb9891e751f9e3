"""/healthcheck: tells a load balancer whether to send requests here.

An operator takes a server out of service by making the file named by `disable_path`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable

from miniswift.config import Settings, option, text
from miniswift.responses import Environ, Response, StartResponse
from miniswift.wsgi import WSGIApp


@dataclasses.dataclass(frozen=True)
class HealthcheckSettings(Settings):
    """The options of [filter:healthcheck]."""

    disable_path: str = option(text, "", "answer 503 while a file is there; never when empty")


class Healthcheck:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: HealthcheckSettings | None = None) -> None:
        self._app = app
        self._disable_path = (settings or HealthcheckSettings()).disable_path

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthcheck":
            return self._app(environ, start_response)
        return self._answer()(environ, start_response)

    def _answer(self) -> Response:
        headers = {"Content-Type": "text/plain; charset=UTF-8"}
        if self._disable_path and os.path.exists(self._disable_path):
            return Response(503, headers, b"DISABLED BY FILE")
        return Response(200, headers, b"OK")


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    settings = HealthcheckSettings.from_conf({**global_conf, **local_conf}, local_conf)
    return lambda app: Healthcheck(app, settings)
