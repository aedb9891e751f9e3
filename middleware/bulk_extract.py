"""Archives into objects: each file of a tar becomes an object while the archive is being received.

1. Nothing is held but the block that is on its way; how big an archive is does not matter.
2. Containers are made as they are needed; what cannot be stored is told in the report, one by one.
3. Metadata may stand in the archive's extended attributes: user.mime_type, user.meta.<name>.
"""

from __future__ import annotations

import dataclasses
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from miniswift import info
from miniswift.errors import ClientDisconnected, ClientTimeout
from miniswift.responses import Environ, HTTPError, Response, status_line
from miniswift.wsgi import Request, WSGIApp, environ_key, make_subrequest, split_path, to_wsgi

from .places import quoted
from .reports import Report

COMPRESSIONS = {"tar": "", "tar.gz": "gz", "tar.bz2": "bz2"}

_SOURCE = "EA"
_ATTRIBUTES = ("SCHILY.xattr.user.", "LIBARCHIVE.xattr.user.")
_MAX_SHOWN = 1282  # characters of a name in the report: the longest path of a container and an object
_BROKEN = (tarfile.TarError, zlib.error, EOFError, OSError)


@dataclasses.dataclass(frozen=True)
class Extractor:
    """Extracts, and tells."""

    app: WSGIApp
    max_containers: int = 10000
    max_failures: int = 1000
    beat_s: float = 10
    clock: Callable[[], float] = time.monotonic

    def run(self, environ: Environ, content_type: str | None, compression: str) -> Iterator[bytes]:
        """The body of the answer."""
        report = Report("extract", content_type, Number_Files_Created=0)
        report.fail(201)
        try:
            if content_type is None:
                raise HTTPError(406)
            request = Request(environ)
            if request.content_length is None and not request.is_chunked:
                raise HTTPError(411)
            yield from _Extraction(self, environ, report).run(compression)
        except HTTPError as error:
            report.fail(error.response.status, error.response.read().decode("utf-8", "replace"))
        yield report.render()


class _Extraction:
    """One archive."""

    def __init__(self, options: Extractor, environ: Environ, report: Report) -> None:
        """Raises a 404 for a path that names no account."""
        self._options = options
        self._environ = environ
        self._report = report
        try:
            version, account, base = split_path(environ["PATH_INFO"], 2, 3, True)
        except ValueError:
            raise HTTPError(404) from None
        self._account = f"/{version}/{account}"
        self._base = (base or "").rstrip("/")
        self._limits = info.get_swift_info().get("swift", {})
        self._known: set[str] = set()  # containers
        self._made = 0
        self._failed_status = 400
        self._next_beat = options.clock() + options.beat_s

    def run(self, compression: str) -> Iterator[bytes]:
        report = self._report
        try:
            with tarfile.open(mode=f"r|{compression}", fileobj=self._environ["wsgi.input"]) as archive:  # type: ignore[call-overload]
                for member in archive:
                    if self._options.clock() >= self._next_beat:
                        self._next_beat = self._options.clock() + self._options.beat_s
                        yield report.beat()
                    if member.isfile():
                        self._store(archive, member)
                    if len(report.errors) >= self._options.max_failures:
                        break
        except (ClientDisconnected, ClientTimeout):
            raise
        except _BROKEN as error:
            raise HTTPError(400, f"Invalid Tar File: {error}") from None
        if report.errors:
            report.fail(self._failed_status)
        elif not report.fields["Number Files Created"]:
            report.fail(400, "Invalid Tar File: No Valid Files")

    def _store(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Make an object of a file. Raises a 401 once the client may do nothing."""
        name = member.name.encode("utf-8", "surrogateescape").decode("latin-1").removeprefix("./").lstrip("/")
        place = f"{self._base}/{name}" if self._base else name
        container, slash, _ = place.partition("/")
        if not slash:
            return None  # a file beside the containers
        if not _is_utf8(place):
            return self._fail(place, 412)
        if member.size > self._limits.get("max_file_size", member.size):
            return self._fail(place, 413)
        refused = self._make_container(container)
        response = self._put(place, archive.extractfile(member), member)
        self._known.add(container)
        if response.status // 100 == 2:
            self._report.fields["Number Files Created"] += 1
            return None
        if refused:
            self._fail(container, refused)
        if response.status // 100 == 5:
            self._failed_status = 502
        self._fail(place, response.status)
        if response.status == 401:
            raise HTTPError(401)
        return None

    def _fail(self, place: str, status: int) -> None:
        self._report.errors.append((quoted(place[:_MAX_SHOWN]), status_line(status)))

    def _make_container(self, container: str) -> int | None:
        """See to it that the container is there; the status if it cannot be made. Raises 400 and 401."""
        if container in self._known:
            return None
        path = f"{self._account}/{container}"
        status = self._ask("HEAD", path).status
        if status == 404:
            status = self._ask("PUT", path).status
            self._made += status // 100 == 2
            if self._made > self._options.max_containers:
                limit = self._options.max_containers
                raise HTTPError(400, f"More than {limit} containers to create from tar.")
        if status == 401:
            raise HTTPError(401)
        # A PUT of an object may be allowed by its ACL all the same.
        return None if status // 100 == 2 else status

    def _ask(self, method: str, path: str) -> Response:
        response = make_subrequest(self._environ, method, path, source=_SOURCE, headers=self._token()).call(
            self._options.app
        )
        response.close()
        return response

    def _put(self, place: str, file: IO[bytes] | None, member: tarfile.TarInfo) -> Response:
        headers = self._token()
        for name, value in Request(self._environ).headers.items():
            if name in ("X-Delete-At", "X-Delete-After") or name.startswith("X-Object-Meta-"):
                headers[name] = value
        for attribute, value in member.pax_headers.items():
            header = _header_of(attribute)
            if header:
                headers[header] = to_wsgi(value)
        path = f"{self._account}/{place}"
        request = make_subrequest(self._environ, "PUT", path, source=_SOURCE, headers=headers)
        request.environ["CONTENT_LENGTH"] = str(member.size)
        request.environ["wsgi.input"] = file
        response = request.call(self._options.app)
        response.close()
        return response

    def _token(self) -> dict[str, str]:
        token = self._environ.get(environ_key("X-Auth-Token"))
        return {"X-Auth-Token": token} if token else {}


def _header_of(attribute: str) -> str | None:
    """The header that an extended attribute in an archive stands for."""
    for start in _ATTRIBUTES:
        name = attribute.removeprefix(start)
        if name != attribute:
            if name == "mime_type":
                return "Content-Type"
            if name.startswith("meta."):
                return to_wsgi(f"X-Object-Meta-{name[5:]}")
    return None


def _is_utf8(wsgi_string: str) -> bool:
    try:
        return bool(wsgi_string.encode("latin-1").decode("utf-8"))
    except UnicodeDecodeError:
        return False
