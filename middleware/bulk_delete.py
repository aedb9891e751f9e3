"""Deleting many objects for one request: what `bulk` and `slo` share.

Objects go before containers, a few at a time; what cannot be deleted is told in the report, one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlencode

from miniswift.concurrency import sleep
from miniswift.responses import Environ, HTTPError, status_line
from miniswift.wsgi import WSGIApp, make_subrequest, split_path

from .places import quoted
from .reports import Report, in_parallel

_RETRY_BASE_S = 1.5  # to the power of the attempt


@dataclasses.dataclass(frozen=True)
class Doomed:
    """Something to delete."""

    name: str  # container/object or container, a WSGI string
    version_id: str | None = None
    error: tuple[int, str] | None = None  # (status, message): why it will not be tried

    @property
    def is_object(self) -> bool:
        return "/" in self.name.strip("/")


@dataclasses.dataclass(frozen=True)
class Deleter:
    """Deletes, and tells."""

    app: WSGIApp
    source: str
    at_once: int = 2
    max_failures: int = 1000
    beat_s: float = 10
    retries: int = 0  # of a container that is not empty yet
    pause: Callable[[float], object] = sleep

    def run(
        self, environ: Environ, content_type: str | None, things: Callable[[], Iterable[Doomed]]
    ) -> Iterator[bytes]:
        """The body of the answer. `things` may raise HTTPError, which becomes the report's status."""
        report = Report("delete", content_type, Number_Deleted=0, Number_Not_Found=0)
        report.fail(200)
        try:
            if content_type is None:
                raise HTTPError(406)
            yield from self._delete(environ, things(), report)
        except HTTPError as error:
            report.fail(error.response.status, error.response.read().decode("utf-8", "replace"))
        yield report.render()

    def _delete(self, environ: Environ, things: Iterable[Doomed], report: Report) -> Iterator[bytes]:
        try:
            version, account, _ = split_path(environ["PATH_INFO"], 2, 3, True)
        except ValueError:
            raise HTTPError(404) from None
        containers: list[Doomed] = []
        failed_status = 400

        def objects() -> Iterator[Doomed]:
            for thing in things:
                if thing.is_object:
                    yield thing
                elif thing.name:
                    containers.append(thing)

        def delete(thing: Doomed) -> tuple[Doomed, int]:
            return thing, self._status(environ, f"/{version}/{account}", thing)

        for part in (objects(), containers):
            for result in in_parallel(delete, part, self.at_once, self.beat_s):
                if result is None:
                    yield report.beat()
                    continue
                thing, status = result
                if status // 100 == 2:
                    report.fields["Number Deleted"] += 1
                elif status == 404:
                    report.fields["Number Not Found"] += 1
                else:
                    failed_status = 502 if status // 100 == 5 else failed_status
                    why = thing.error[1] if thing.error else status_line(status)
                    report.errors.append((quoted(thing.name), why))
                if len(report.errors) >= self.max_failures:
                    raise HTTPError(400, "Max delete failures exceeded")
        if report.errors:
            report.fail(failed_status)
        elif not report.fields["Number Deleted"] and not report.fields["Number Not Found"]:
            report.fail(400, "Invalid bulk delete.")

    def _status(self, environ: Environ, account: str, thing: Doomed) -> int:
        if thing.error:
            return thing.error[0]
        if not _is_utf8(thing.name):
            return 412
        path = f"{account}/{thing.name.lstrip('/')}"
        query = urlencode({"version-id": thing.version_id}) if thing.version_id is not None else ""
        token = environ.get("HTTP_X_AUTH_TOKEN")
        headers = {"X-Auth-Token": token} if token else {}
        for attempt in range(self.retries + 1):
            request = make_subrequest(
                environ, "DELETE", path, source=self.source, query=query, headers=headers
            )
            response = request.call(self.app)
            response.close()
            if response.status != 409 or attempt == self.retries:
                break
            self.pause(_RETRY_BASE_S ** (attempt + 1))
        return response.status


def _is_utf8(wsgi_string: str) -> bool:
    try:
        return "\0" not in wsgi_string.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return False
