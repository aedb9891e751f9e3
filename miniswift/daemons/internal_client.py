"""Requests of a daemon's own, sent straight to a proxy in this process: nobody is asked for permission.

1. Infos are good for a second: no worker tells this process what it changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from miniswift.backend import Transport
from miniswift.cluster import Cluster
from miniswift.errors import MiniswiftError
from miniswift.proxy import Application
from miniswift.proxy.settings import ProxySettings
from miniswift.responses import Response
from miniswift.wsgi import Request, WSGIApp, blank_environ


class Refused(MiniswiftError):
    """Raised when an answer is none of those that a daemon can go on with."""

    def __init__(self, method: str, path: str, status: int) -> None:
        super().__init__(f"{method} {path} was answered {status}")
        self.status = status


class InternalClient:
    """Asks a proxy application; names are text."""

    def __init__(self, app: WSGIApp, name: str) -> None:
        self._app = app
        self._name = name

    @classmethod
    def of(cls, cluster: Cluster, transport: Transport, name: str) -> InternalClient:
        """With a proxy of its own."""
        settings = ProxySettings(
            account_autocreate=True, recheck_account_existence=1, recheck_container_existence=1
        )
        return cls(Application(settings, cluster, transport), name)

    def request(
        self, method: str, *names: str, headers: Mapping[str, str] | None = None, query: str = ""
    ) -> Response:
        """The answer for an account, container or object, whose body is the caller's to close."""
        sent = {"User-Agent": f"{self._name} {os.getpid()}", "X-Backend-Allow-Reserved-Names": "true"}
        return Request(blank_environ(_path(*names) + query, method, {**sent, **(headers or {})})).call(
            self._app
        )

    def delete(self, *names: str, headers: Mapping[str, str] | None = None) -> int:
        """The status of a DELETE."""
        response = self.request("DELETE", *names, headers=headers)
        response.close()
        return response.status

    def listing(self, *names: str, **parameters: str) -> Iterator[dict[str, Any]]:
        """The rows of an account or container, page by page; none when it is not there. Raises Refused."""
        marker = ""
        while True:
            query = urlencode({"format": "json", "marker": marker, **parameters})
            response = self.request("GET", *names, query=f"?{query}")
            body = response.read()
            if response.status == 404:
                return
            if response.status // 100 != 2:
                raise Refused("GET", _path(*names), response.status)
            rows: list[dict[str, Any]] = json.loads(body) if body else []
            if not rows:
                return
            yield from rows
            marker = rows[-1]["name"]


def _path(*names: str) -> str:
    return "/v1/" + "/".join(quote(name, errors="surrogateescape") for name in names)
