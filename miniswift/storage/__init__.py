"""What the account, container and object servers share: the front of a storage server.

A request is `/<device>/<partition>/<account>[/<container>[/<object>]]`. Before a handler sees it the
method, the path and the device are checked here, so that all three servers refuse alike.

1. A handler is a method named after the verb; it takes a `Target` and a `Request`, returns a `Response`.
2. No device, no write: a device that is missing or not mounted answers 507 to everything.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from miniswift import VERSION, logs
from miniswift.cluster import Cluster
from miniswift.config import ProcessSettings, boolean, bytes_or_percent, option, seconds, text
from miniswift.errors import BadRequestBody, ClientDisconnected, ClientTimeout, TimestampError
from miniswift.responses import Environ, Headers, HTTPError, Response, StartResponse
from miniswift.timestamp import Timestamp
from miniswift.transport import Transport
from miniswift.wsgi import Request, environ_key, from_wsgi

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StorageSettings(ProcessSettings):
    """The options that every storage server has."""

    devices: str = option(text, "/srv/node", "folder under which the devices are mounted")
    mount_check: bool = option(boolean, "true", "refuse a device that is a plain folder, not a mount")
    fallocate_reserve: tuple[float, bool] = option(
        bytes_or_percent, "1%", "space to leave free on a device, bytes or a percentage"
    )
    conn_timeout: float = option(seconds, "0.5", "seconds to connect to another server")
    node_timeout: float = option(seconds, "3", "seconds to wait for another server's answer")
    log_requests: bool = option(boolean, "true", "one line a request")
    recon_cache_path: str = option(text, "/var/cache/swift", "folder where daemons note what they did")
    replication_server: str = option(
        text, "", "true: serve only replication verbs; false: all but them; empty: everything"
    )


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about. Names are text."""

    device: str
    part: int
    account: str | None = None
    container: str | None = None
    obj: str | None = None


Handler = Callable[[Target, Request], Response]


class StorageServer:
    """The WSGI application that its three subclasses fill with handlers."""

    kind: ClassVar[str] = ""  # "account", "container" or "object"
    verbs: ClassVar[tuple[str, ...]] = ("DELETE", "GET", "HEAD", "POST", "PUT", "REPLICATE")
    replication_verbs: ClassVar[frozenset[str]] = frozenset({"REPLICATE", "SSYNC"})

    def __init__(self, settings: StorageSettings, cluster: Cluster, transport: Transport) -> None:
        self.settings = settings
        self.cluster = cluster
        self.transport = transport
        self.devices = Path(settings.devices)
        self._root = str(self.devices)
        served = [verb for verb in self.verbs if self._is_served(verb)]
        self._handlers: dict[str, Handler] = {verb: getattr(self, verb) for verb in served}
        self.allow = ", ".join(sorted([*served, "OPTIONS"]))

    def _is_served(self, verb: str) -> bool:
        mode = self.settings.replication_server.lower()
        return not mode or (verb in self.replication_verbs) == (mode in ("true", "yes", "1", "on"))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        started = time.monotonic()
        token = logs.trans_id.set(environ.get("HTTP_X_TRANS_ID", ""))
        try:
            response = self._answer(request)
            if self.settings.log_requests:
                self._log(request, response, time.monotonic() - started)
            return response(environ, start_response)
        finally:
            logs.trans_id.reset(token)

    def _answer(self, request: Request) -> Response:
        try:
            if request.method == "OPTIONS":
                return Response(200, Headers(Allow=self.allow, Server=f"{self.kind}-server/{VERSION}"), b"")
            handler = self._handlers.get(request.method)
            if handler is None:
                raise HTTPError(405, headers={"Allow": self.allow})
            target = parse_target(request)
            self.check_device(target.device)
            return handler(target, request)
        except HTTPError as error:
            return error.response
        except ClientDisconnected:
            return Response(499)
        except ClientTimeout:
            return Response(408)
        except BadRequestBody as error:
            return Response(400, body=str(error))

    def check_device(self, device: str) -> None:
        """Raise 507 unless the device is there (and, with mount_check, mounted)."""
        if not self._is_usable(f"{self.settings.devices}/{device}"):
            logger.error("device %s is missing or not mounted under %s", device, self.devices)
            raise HTTPError(507, f"Missing or unmounted Drive: {device}")

    def _is_usable(self, path: str) -> bool:
        try:
            # lstat: a link to a folder elsewhere is no mount.
            status = os.lstat(path) if self.settings.mount_check else os.stat(path)
            # os.path.ismount, for a path whose parent is known: it takes ten times as long.
            is_mounted = not self.settings.mount_check or status.st_dev != os.stat(self._root).st_dev
        except (OSError, ValueError):
            return False
        return stat.S_ISDIR(status.st_mode) and is_mounted

    def check_space(self, device: str, needed: int = 0) -> None:
        """Raise 507 when `needed` bytes more would leave less than fallocate_reserve free."""
        free = os.statvfs(f"{self.settings.devices}/{device}")
        available = free.f_frsize * free.f_bavail - needed
        reserve, is_percent = self.settings.fallocate_reserve
        if is_percent:
            reserve = free.f_frsize * free.f_blocks * reserve / 100
        if available < reserve:
            logger.error("device %s has %d bytes free, which fallocate_reserve keeps", device, available)
            raise HTTPError(507, f"Full Drive: {device}")

    def _log(self, request: Request, response: Response, duration_s: float) -> None:
        environ = request.environ
        logger.info(
            '%s - - "%s %s" %d %s "%s" "%s" %.4f',
            environ.get("REMOTE_ADDR", "-"),
            request.method,
            request.path,
            response.status,
            response.headers.get("Content-Length", "-"),
            environ.get("HTTP_REFERER", "-"),
            environ.get("HTTP_USER_AGENT", "-"),
            duration_s,
        )


def parse_target(request: Request) -> Target:
    """Read the path. Raises 400 for a bad device or partition and 412 for bytes that are not UTF-8."""
    segments = request.path_info.split("/", 5)
    try:
        names = [from_wsgi(segment) for segment in segments]
    except UnicodeDecodeError:
        raise HTTPError(412, "Invalid UTF8 or contains NULL") from None
    if len(names) < 3 or names[0] or names[1] in ("", ".", "..") or not _is_partition(names[2]):
        raise HTTPError(400, f"Invalid path: {request.path}")
    rest = [name or None for name in names[3:]]
    return Target(names[1], int(names[2]), *rest)


def _is_partition(text: str) -> bool:
    return text.isdecimal() and len(text) <= 10  # an unsigned number of 32 bits


def check_reserved_names(target: Target, *, is_free: bool) -> None:
    """Raise 400 for a NUL that does not lead a name, and for names of two namespaces in one.

    Names with a NUL are the servers' own; `is_free` lets objects of internal accounts be named freely.
    """
    account, container, obj = target.account or "", target.container or "", target.obj or ""
    if "\0" not in account + container + obj:
        return
    named = (account, container) if is_free else (account, container, obj)
    if any("\0" in name and name[0] != "\0" for name in named):
        raise HTTPError(400, "Invalid reserved-namespace name")
    if obj and not is_free and (obj[0] == "\0") != (container[:1] == "\0"):
        raise HTTPError(400, "Invalid mix of reserved and user namespaces")


def required_timestamp(request: Request, header: str = "X-Timestamp") -> Timestamp:
    """The timestamp of a write. Raises 400 when it is missing or malformed."""
    value = request.environ.get(environ_key(header))
    if not value:
        raise HTTPError(400, f"Missing {header} header")
    try:
        return Timestamp.parse(value)
    except TimestampError:
        raise HTTPError(400, f"Invalid {header} header") from None
