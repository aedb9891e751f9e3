"""Many objects by one request: an archive to be unpacked, or a list of names to be deleted.

    PUT     /v1/a[/container[/start of the names]]?extract-archive=tar | tar.gz | tar.bz2
    POST    /v1/a?bulk-delete       (or DELETE); a name a line, quoted; a container's alone deletes it

The answer is a report; see reports for why its status says little.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from urllib.parse import unquote_to_bytes

from miniswift import info
from miniswift.config import Settings, count, option, positive, seconds
from miniswift.responses import Environ, HTTPError, Response, StartResponse
from miniswift.wsgi import Request, WSGIApp

from .bulk_delete import Deleter, Doomed
from .bulk_extract import COMPRESSIONS, Extractor
from .reports import wanted_format

_MAX_AT_ONCE = 1000


@dataclasses.dataclass(frozen=True)
class BulkSettings(Settings):
    """The options of [filter:bulk]."""

    max_containers_per_extraction: int = option(count, "10000", "containers that an archive may make")
    max_failed_extractions: int = option(count, "1000", "failed files after which an archive is given up")
    max_deletes_per_request: int = option(count, "10000", "names in a list")
    max_failed_deletes: int = option(count, "1000", "failed deletes after which a list is given up")
    yield_frequency: float = option(seconds, "10", "seconds between signs of life")
    delete_concurrency: int = option(positive, "2", "deletes at the same time")
    delete_container_retry_count: int = option(count, "0", "tries more for a container that is not empty")


class Bulk:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: BulkSettings) -> None:
        self._app = app
        self._settings = settings
        self._deleter = Deleter(
            app,
            source="BD",
            at_once=min(_MAX_AT_ONCE, settings.delete_concurrency),
            max_failures=settings.max_failed_deletes,
            beat_s=settings.yield_frequency,
            retries=settings.delete_container_retry_count,
        )
        self._extractor = Extractor(
            app,
            max_containers=settings.max_containers_per_extraction,
            max_failures=settings.max_failed_extractions,
            beat_s=settings.yield_frequency,
        )

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING")
        if not query or not ("bulk-delete" in query or "extract-archive" in query):
            return self._app(environ, start_response)
        params, method = Request(environ).params, environ["REQUEST_METHOD"]
        content_type = wanted_format(environ)
        body: Iterable[bytes]
        if method == "PUT" and "extract-archive" in params:
            compression = COMPRESSIONS.get(params["extract-archive"].lower().strip("."))
            if compression is None:
                return Response(400, {}, "Unsupported archive format")(environ, start_response)
            body = self._extractor.run(environ, content_type, compression)
        elif method in ("POST", "DELETE") and "bulk-delete" in params:
            body = self._deleter.run(environ, content_type, lambda: self._named(environ))
        else:
            return self._app(environ, start_response)
        return Response(200, {"Content-Type": content_type or "text/plain"}, body)(environ, start_response)

    def _named(self, environ: Environ) -> list[Doomed]:
        """What a request's body names. Raises HTTPError."""
        request = Request(environ)
        given = environ.get("CONTENT_TYPE")
        if given and not given.startswith("text/plain"):
            raise HTTPError(406)
        if request.content_length is None and not request.is_chunked:
            raise HTTPError(411)
        longest, limit = _longest_path(), self._settings.max_deletes_per_request
        found: list[Doomed] = []
        line = b""
        while data := request.body_file.read(longest):
            *lines, line = (line + data).split(b"\n")
            found += map(_doomed, lines)
            if len(found) > limit:
                break
            if len(line) > 2 * longest:
                raise HTTPError(400, "Invalid File Name")
        found.append(_doomed(line))
        named = [thing for thing in found if thing.name]
        if len(named) > limit:
            raise HTTPError(413, f"Maximum Bulk Deletes: {limit} per request")
        return named


def _longest_path() -> int:
    """Bytes of a container's and an object's name."""
    limits = info.get_swift_info().get("swift", {})
    return int(limits.get("max_container_name_length", 256) + limits.get("max_object_name_length", 1024) + 2)


def _doomed(line: bytes) -> Doomed:
    return Doomed(unquote_to_bytes(line.strip()).decode("latin-1"))


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], Bulk]:
    settings = BulkSettings.from_conf({**global_conf, **local_conf}, local_conf)
    info.register_swift_info(
        "bulk_upload",
        max_containers_per_extraction=settings.max_containers_per_extraction,
        max_failed_extractions=settings.max_failed_extractions,
    )
    info.register_swift_info(
        "bulk_delete",
        max_deletes_per_request=settings.max_deletes_per_request,
        max_failed_deletes=settings.max_failed_deletes,
    )
    return lambda app: Bulk(app, settings)
