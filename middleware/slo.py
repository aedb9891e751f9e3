"""Static large objects: a manifest names segments, and is read as one object.

    PUT     ?multipart-manifest=put      with a list of segments in JSON, which are looked at; &heartbeat=on
                                         keeps the connection alive meanwhile
    GET     is of the whole, with ranges; ?part-number=N of one segment;
            ?multipart-manifest=get of the manifest, &format=raw as a client would write it
    DELETE  ?multipart-manifest=delete   of the segments as well

1. Whoever reads one must be allowed to read its segments.
2. What a manifest says of a segment is checked when it is made and when it is read.

Not here: manifests (slo_manifest), making (slo_put), reading (slo_get).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from hashlib import md5
from typing import Any

from miniswift import info
from miniswift.config import Settings, count, is_true, option, positive, seconds
from miniswift.responses import Environ, Headers, HTTPError, Response, StartResponse, close_body
from miniswift.wsgi import (
    SLO_OVERRIDE,
    Request,
    WSGIApp,
    make_subrequest,
    split_path,
    to_wsgi,
)

from . import slo_put
from .bulk_delete import Deleter, Doomed
from .reports import Report, wanted_format
from .segments import handed_on
from .slo_get import ETAG_HEADER, SOURCE, LargeObject, Pace, kept_size, refusal
from .slo_manifest import as_written
from .stand_ins import Answer, ignore_range_of, is_object, shown_listing

_HEADER = "X-Static-Large-Object"
_ETAG_IS_AT = "HTTP_X_BACKEND_ETAG_IS_AT"
_MAX_AT_ONCE = 1000
_MAX_BUFFERED = 10  # times max_manifest_segments, of manifests within manifests to be deleted


@dataclasses.dataclass(frozen=True)
class SloSettings(Settings):
    """The options of [filter:slo]."""

    max_manifest_segments: int = option(count, "1000", "segments of a new manifest")
    max_manifest_size: int = option(count, "8388608", "bytes of a new manifest")
    yield_frequency: float = option(seconds, "10", "seconds between signs of life, with heartbeat=on")
    rate_limit_under_size: int = option(count, "1048576", "bytes: segments of less are held back")
    rate_limit_after_segment: int = option(count, "10", "small segments of an answer that are not held back")
    rate_limit_segments_per_sec: int = option(count, "1", "small segments a second after that; 0: no limit")
    max_get_time: float = option(seconds, "86400", "seconds that an answer may take")
    concurrency: int = option(positive, "2", "segments that are looked at, at the same time")
    delete_concurrency: int = option(count, "0", "segments deleted at the same time; 0 is as concurrency")


class Slo:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: SloSettings) -> None:
        self._app = app
        self._settings = settings
        at_once = min(_MAX_AT_ONCE, settings.concurrency)
        self._maker = slo_put.Maker(
            app,
            self,
            max_segments=settings.max_manifest_segments,
            max_size=settings.max_manifest_size,
            at_once=at_once,
            beat_s=settings.yield_frequency,
        )
        self._deleter = Deleter(
            app,
            source=SOURCE,
            at_once=min(_MAX_AT_ONCE, settings.delete_concurrency or at_once),
            beat_s=settings.yield_frequency,
        )
        self._pace = Pace(
            settings.rate_limit_after_segment,
            settings.rate_limit_segments_per_sec,
            settings.rate_limit_under_size,
            settings.max_get_time,
        )

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get(SLO_OVERRIDE):
            return self._app(environ, start_response)
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        try:
            if is_object(path):
                asked = _parameters(environ).get("multipart-manifest")
                if method in ("GET", "HEAD"):
                    return self._get(environ, start_response, asked == "get")
                if method == "PUT" and asked == "put":
                    return self._put(environ)(environ, start_response)
                if method == "DELETE" and asked == "delete":
                    return self._delete(environ)(environ, start_response)
                if "HTTP_X_STATIC_LARGE_OBJECT" in environ:
                    message = "To make a static large object, PUT its manifest with multipart-manifest=put."
                    raise HTTPError(400, f"{_HEADER} is a reserved header. {message}")
            elif method == "GET":
                return shown_listing(self._app, environ, b"slo_etag", _shown_row)(environ, start_response)
        except HTTPError as error:
            return error.response(environ, start_response)
        return self._app(environ, start_response)

    # --- reading ---------------------------------------------------------------------------------

    def _get(self, environ: Environ, start_response: StartResponse, is_manifest: bool) -> Iterable[bytes]:
        """Answer a GET or HEAD. Raises HTTPError before the answer is started."""
        if not is_manifest:
            ignore_range_of(environ, _HEADER)
            known = environ.get(_ETAG_IS_AT)
            environ[_ETAG_IS_AT] = f"{known},{ETAG_HEADER}" if known else ETAG_HEADER
        found = Answer(_HEADER, start_response, is_true)
        body = found.of(self._app, environ)
        if found.value is None:
            return body
        manifest = Response(found.status, Headers.of_list(found.headers), body)
        response = self._shown(environ, manifest) if is_manifest else self._whole(environ, manifest)
        return response(environ, start_response)

    def _shown(self, environ: Environ, manifest: Response) -> Response:
        """The manifest itself."""
        if manifest.status != 200:
            return manifest
        if _parameters(environ).get("format") != "raw":
            manifest.headers["Content-Type"] = "application/json; charset=utf-8"
            return manifest
        # With the type of the whole: so a copy is what the client wrote.
        if environ["REQUEST_METHOD"] == "HEAD":
            manifest = self._again(environ, manifest)
        body = as_written(manifest.read())
        manifest.headers["Etag"] = md5(body, usedforsecurity=False).hexdigest()
        return Response(200, manifest.headers, body)

    def _whole(self, environ: Environ, manifest: Response) -> Response:
        """What the manifest stands for. Raises HTTPError."""
        part_number = _part_number(environ)
        is_known = kept_size(manifest.headers) is not None and ETAG_HEADER in manifest.headers
        if manifest.status in (304, 412) and is_known:
            close_body(manifest.body)
            manifest.headers["Etag"] = f'"{manifest.headers[ETAG_HEADER]}"'
            return refusal(manifest.headers, manifest.status)
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        needs_body = not is_head or not is_known or part_number is not None
        if needs_body and (is_head or manifest.status != 200):
            manifest = self._again(environ, manifest)
            if not is_true(manifest.headers.get(_HEADER)):
                return manifest  # it was replaced meanwhile
        body = manifest.read() if needs_body else None
        manifest.close()
        large = LargeObject(self._app, environ, manifest.headers, self._pace, part_number)
        return large.answer(body)

    def _again(self, environ: Environ, manifest: Response) -> Response:
        """The manifest as a whole, where a HEAD, a range or a condition kept it from us. Raises a 503."""
        manifest.close()
        version = environ.get("QUERY_STRING", "")
        request = make_subrequest(
            environ, "GET", environ["PATH_INFO"], source=SOURCE, query=version, headers=handed_on(environ)
        )
        found = request.call(self._app)
        stamps = [each.headers.get("X-Backend-Timestamp", "") for each in (found, manifest)]
        if not is_true(found.headers.get(_HEADER)) and stamps[0] < stamps[1]:
            found.close()
            raise HTTPError(503)
        return found

    # --- making and deleting ---------------------------------------------------------------------

    def _put(self, environ: Environ) -> Response:
        wanted = self._maker.read(environ)
        content_type = wanted_format(environ) or "text/plain"
        report = Report("upload", content_type)
        work = self._maker.make(environ, wanted, report)
        if is_true(_parameters(environ).get("heartbeat")):
            # Not 201: what has become of it is told in the body.
            return Response(202, {"Content-Type": content_type}, slo_put.heartbeat(work, report))
        while True:
            try:
                next(work)
            except StopIteration as done:
                response: Response = done.value
                return slo_put.problems_answer(report, content_type) if report.errors else response

    def _delete(self, environ: Environ) -> Response:
        content_type = wanted_format(environ)
        environ.pop("CONTENT_TYPE", None)
        body = self._deleter.run(environ, content_type, lambda: self._doomed(environ))
        return Response(200, {"Content-Type": content_type or "text/plain"}, body)

    def _doomed(self, environ: Environ) -> Iterator[Doomed]:
        """The segments of a manifest, those of manifests within it, and each manifest behind its own."""
        version_id = _parameters(environ).get("version-id")
        _, _, container, obj = split_path(environ["PATH_INFO"], 4, 4, True)
        waiting = [(Doomed(f"{container}/{obj}", version_id), True)]
        while waiting:
            if len(waiting) > _MAX_BUFFERED * self._settings.max_manifest_segments:
                raise HTTPError(400, "Too many buffered slo segments to delete.")
            thing, is_manifest = waiting.pop(0)
            if not is_manifest:
                yield thing
                continue
            try:
                waiting += self._named_in(environ, thing)
            except HTTPError as error:
                message = error.response.read().decode("utf-8", "replace")
                thing = dataclasses.replace(thing, error=(error.status, message))
            waiting.append((thing, False))

    def _named_in(self, environ: Environ, manifest: Doomed) -> list[tuple[Doomed, bool]]:
        """(segment, whether it is a manifest itself) of a manifest. Raises HTTPError if it is none."""
        version, account, _ = split_path(environ["PATH_INFO"], 2, 3, True)
        query = "multipart-manifest=get"
        if manifest.version_id is not None:
            query += f"&version-id={manifest.version_id}"
        path = f"/{version}/{account}/{manifest.name.lstrip('/')}"
        headers = handed_on(environ)
        request = make_subrequest(environ, "GET", path, source=SOURCE, query=query, headers=headers)
        request.environ["HTTP_RANGE"] = "bytes=-1"  # enough of what is no manifest
        ignore_range_of(request.environ, _HEADER)
        response = request.call(self._app)
        body = response.read()
        if response.status // 100 != 2:
            known = {404: "SLO manifest not found", 401: "401 Unauthorized"}
            message = known.get(response.status, "Unable to load SLO manifest or segment.")
            raise HTTPError(response.status if response.status in known else 500, message)
        if not is_true(response.headers.get(_HEADER)):
            raise HTTPError(400, "Not an SLO manifest")
        try:
            entries = [entry for entry in json.loads(body) if "data" not in entry]
            return [(Doomed(to_wsgi(entry["name"])), bool(entry.get("sub_slo"))) for entry in entries]
        except (ValueError, TypeError, KeyError):
            raise HTTPError(500, "Unable to load SLO manifest") from None


def _parameters(environ: Environ) -> dict[str, str]:
    return Request(environ).params if environ.get("QUERY_STRING") else {}


def _part_number(environ: Environ) -> int | None:
    """Which segment is wanted, from 1. Raises a 400."""
    value = _parameters(environ).get("part-number")
    if value is None:
        return None
    if not value.isdecimal() or not value.isascii() or len(value) > 10 or int(value) < 1:
        raise HTTPError(400, "Part number must be an integer greater than 0")
    if "HTTP_RANGE" in environ:
        raise HTTPError(400, "Range requests are not supported with part number queries")
    return int(value)


def _shown_row(row: dict[str, Any]) -> None:
    """Show the ETag of the whole, which is kept behind the manifest's own."""
    etag, *params = (part.strip() for part in row["hash"].split(";"))
    fields = dict(param.partition("=")[::2] for param in params)
    if "slo_etag" in fields:
        row["slo_etag"] = f'"{fields["slo_etag"]}"'
    row["hash"] = "; ".join([etag, *(param for param in params if not param.startswith("slo_etag="))])


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], Slo]:
    settings = SloSettings.from_conf({**global_conf, **local_conf}, local_conf)
    info.register_swift_info(
        "slo",
        max_manifest_segments=settings.max_manifest_segments,
        max_manifest_size=settings.max_manifest_size,
        yield_frequency=int(settings.yield_frequency),
        min_segment_size=1,
        allow_async_delete=False,
    )
    return lambda app: Slo(app, settings)
