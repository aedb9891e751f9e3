"""/recon/…: how a storage server's machine is doing, for swift-recon and other monitors, in JSON.

What daemons did stands in files that they write after each pass (`recon_cache`); the rest is looked up now.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import resource
import time
from collections.abc import Callable, Iterable
from hashlib import md5
from pathlib import Path
from typing import Any

from miniswift import VERSION, recon_cache
from miniswift.cluster import Cluster
from miniswift.config import Settings, boolean, option, text
from miniswift.responses import Environ, Response, StartResponse
from miniswift.wsgi import WSGIApp

logger = logging.getLogger(__name__)

_PREFIX = "/recon/"
_REPLICATION = ("replication_time", "replication_stats", "replication_last")

# Path → server, and the keys of its file that are the answer.
_CACHED: dict[str, tuple[str, tuple[str, ...]]] = {
    "async": ("object", ("async_pending", "async_pending_last")),
    "driveaudit": ("drive", ("drive_audit_errors",)),
    "sharding": ("container", ("sharding_stats", "sharding_time", "sharding_last")),
    "relinker": ("relinker", ("devices", "workers")),
    "reconstruction/object": ("object", ("object_reconstruction_last", "object_reconstruction_time")),
    "replication/account": ("account", _REPLICATION),
    "replication/container": ("container", _REPLICATION),
    "replication/object": (
        "object",
        (*_REPLICATION, "object_replication_time", "object_replication_last"),
    ),
    "updater/container": ("container", ("container_updater_sweep",)),
    "updater/object": (
        "object",
        ("object_updater_sweep", "object_updater_stats", "object_updater_last"),
    ),
    "expirer/object": ("object", ("object_expiration_pass", "expired_last_pass")),
    "auditor/object": ("object", ("object_auditor_stats_ALL", "object_auditor_stats_ZBF")),
    **{
        f"auditor/{kind}": (
            kind,
            tuple(
                f"{kind}_{what}"
                for what in ("audits_passed", "auditor_pass_completed", "audits_since", "audits_failed")
            ),
        )
        for kind in ("account", "container")
    },
}
_CACHED["replication"] = _CACHED["replication/object"]


@dataclasses.dataclass(frozen=True)
class ReconSettings(Settings):
    """The options of [filter:recon]."""

    recon_cache_path: str = option(text, "/var/cache/swift", "folder where daemons note what they did")
    devices: str = option(text, "/srv/node", "folder under which the devices are mounted")
    mount_check: bool = option(boolean, "true", "a device that is a plain folder counts as unmounted")
    swift_dir: str = option(text, "/etc/swift", "folder of swift.conf and the rings")


class Recon:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: ReconSettings) -> None:
        self._app = app
        self._settings = settings
        self._devices = Path(settings.devices)
        self._live: dict[str, Callable[[], Any]] = {
            "version": lambda: {"version": VERSION},
            "time": time.time,
            "mem": _memory,
            "load": _load,
            "sockstat": _sockets,
            "mounted": _mounts,
            "unmounted": self._unmounted,
            "devices": lambda: {settings.devices: [device.name for device in self._folders()]},
            "diskusage": lambda: [self._usage(device) for device in self._folders()],
            "quarantined": self._quarantined,
            "ringmd5": self._ring_sums,
            "swiftconfmd5": lambda: _sums([Path(settings.swift_dir) / "swift.conf"]),
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if not path.startswith(_PREFIX):
            return self._app(environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return Response(405, {"Allow": "GET, HEAD"})(environ, start_response)
        look_up = self._look_up(path[len(_PREFIX) :].strip("/"))
        if look_up is None:
            refusal = Response(404, {"Content-Type": "text/plain"}, f"Invalid path: {path}")
            return refusal(environ, start_response)
        try:
            content = json.dumps(look_up()).encode()
        except OSError as error:
            logger.error("%s cannot be answered: %s", path, error)
            refusal = Response(500, {"Content-Type": "text/plain"}, "Internal server error.")
            return refusal(environ, start_response)
        return Response(200, {"Content-Type": "application/json"}, content)(environ, start_response)

    def _look_up(self, name: str) -> Callable[[], Any] | None:
        if name in _CACHED:
            return functools.partial(self._cached, *_CACHED[name])
        return self._live.get(name)

    def _cached(self, server: str, keys: tuple[str, ...]) -> dict[str, Any]:
        content = recon_cache.load(recon_cache.cache_file(self._settings.recon_cache_path, server))
        return {key: content.get(key) for key in keys}

    # --- devices ---------------------------------------------------------------------------------

    def _folders(self) -> list[Path]:
        return sorted(path for path in self._devices.iterdir() if path.is_dir())

    def _is_mounted(self, device: Path) -> bool:
        return not self._settings.mount_check or device.is_mount()

    def _unmounted(self) -> list[dict[str, Any]]:
        gone = [device for device in self._folders() if not self._is_mounted(device)]
        return [{"device": device.name, "mounted": False} for device in gone]

    def _usage(self, device: Path) -> dict[str, Any]:
        if not self._is_mounted(device):
            return {"device": device.name, "mounted": False, "size": "", "used": "", "avail": ""}
        disk = os.statvfs(device)
        size, available = disk.f_bsize * disk.f_blocks, disk.f_bsize * disk.f_bavail
        used = size - disk.f_bsize * disk.f_bfree
        return {"device": device.name, "mounted": True, "size": size, "used": used, "avail": available}

    def _quarantined(self) -> dict[str, Any]:
        counts: dict[str, Any] = {"objects": 0, "containers": 0, "accounts": 0, "policies": {}}
        for folder in self._devices.glob("*/quarantined/*"):
            kind, _, policy = folder.name.partition("-")
            number = sum(1 for _ in folder.iterdir())
            if kind not in counts or not number:
                continue
            counts[kind] += number
            if kind == "objects":
                of_policy = counts["policies"].setdefault(policy or "0", {"objects": 0})
                of_policy["objects"] += number
        return counts

    def _ring_sums(self) -> dict[str, str]:
        folder = Path(self._settings.swift_dir)
        policies = Cluster.load(folder).policies
        names = ["account", "container", *(f"object{policy.suffix}" for policy in policies)]
        return _sums([folder / f"{name}.ring.gz" for name in names])


def _sums(files: list[Path]) -> dict[str, str]:
    """The MD5 of each file that is there."""
    there = [file for file in files if file.exists()]
    return {str(file): md5(file.read_bytes(), usedforsecurity=False).hexdigest() for file in there}


def _memory() -> dict[str, str]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _load() -> dict[str, Any]:
    one, five, fifteen, tasks, newest = Path("/proc/loadavg").read_text().split()
    averages = {"1m": float(one), "5m": float(five), "15m": float(fifteen)}
    return {**averages, "tasks": tasks, "processes": int(newest)}


def _mounts() -> list[dict[str, str]]:
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [{"device": words[0], "path": words[1]} for words in lines]


def _sockets() -> dict[str, int]:
    """Counts of TCP sockets; memory in bytes."""
    found: dict[str, int] = {}
    for words in _stat_lines("/proc/net/sockstat", "TCP:"):
        pairs = dict(zip(words[::2], map(int, words[1::2]), strict=False))
        found |= {
            "tcp_in_use": pairs["inuse"],
            "orphan": pairs["orphan"],
            "time_wait": pairs["tw"],
            "tcp_mem_allocated_bytes": pairs["mem"] * resource.getpagesize(),
        }
    for words in _stat_lines("/proc/net/sockstat6", "TCP6:"):
        found["tcp6_in_use"] = int(words[words.index("inuse") + 1])
    return found


def _stat_lines(path: str, start: str) -> list[list[str]]:
    """The words behind `start` on the lines that begin with it."""
    try:
        lines = Path(path).read_text().splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return []
    return [line.split()[1:] for line in lines if line.startswith(start)]


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], Recon]:
    settings = ReconSettings.from_conf({**global_conf, **local_conf}, local_conf)
    return lambda app: Recon(app, settings)
