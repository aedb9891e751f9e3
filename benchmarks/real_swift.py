"""A real OpenStack Swift on one machine: memcached, account, container, object and proxy servers.

    root/etc/      swift.conf, rings made by swift-ring-builder, one conf file per server
    root/devices/  one device for each replica
    root/log/      what each process printed

1. Swift comes from a virtual environment of its own (the Makefile makes it), never from the caller's.
2. Options stand at Swift's defaults (a worker per core in every server, fsync included), but for those that
   name places, for longer connection timeouts (0.5 s turns into 503s on a busy machine) and for logging:
   errors only, as miniswift is measured without its access log.
3. Nothing outside root is read or written.
"""

from __future__ import annotations

import functools
import getpass
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tests.functional.processes import Program, accepts, free_ports

if TYPE_CHECKING:
    from typing_extensions import Self  # typing.Self is Python 3.11's

CHECKOUT = Path(__file__).resolve().parent.parent
USER, KEY = "test:tester", "testing"
PART_POWER = 10
PROCESSES = ("memcached", "account", "container", "object", "proxy")  # in the order of their start

# Swift reads its storage policies from /etc/swift while it is imported, whatever swift_dir says.
LAUNCHER = """\
import runpy, sys
from swift.common.utils import set_swift_dir
set_swift_dir(sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# What Swift's own sample configuration has in its pipeline; and of it what miniswift has.
PIPELINES = {
    "sample": "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats container_sync bulk"
    " tempurl ratelimit tempauth copy container-quotas account-quotas slo dlo versioned_writes symlink"
    " proxy-logging",
    "matching": "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats tempauth copy"
    " proxy-logging",
}
FILTER_OPTIONS = {
    "tempauth": f"user_{USER.replace(':', '_')} = {KEY} .admin",
    "proxy-logging": "access_log_level = ERROR",
}
FILTER_MODULES = {
    "cache": "memcache",
    "proxy-logging": "proxy_logging",
    "container-quotas": "container_quotas",
    "account-quotas": "account_quotas",
}


class SwiftMissing(Exception):
    """Raised when the environment with the real Swift, or memcached, is not there."""


class RealSwift:
    """The processes of one Swift, started and stopped together."""

    name = "swift"

    def __init__(
        self, root: Path, venv: Path = CHECKOUT / ".venv-swift", replicas: int = 1, pipeline: str = "sample"
    ) -> None:
        self.root = root
        self.bin = venv / "bin"
        self.replicas = replicas
        self.pipeline = pipeline
        self.etc = root / "etc"
        self.devices = root / "devices"
        self.log = root / "log"
        first = free_ports(len(PROCESSES))
        self.ports = {kind: first + offset for offset, kind in enumerate(PROCESSES)}
        self._programs: dict[str, Program] = {}

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.ports["proxy"]

    @property
    def auth(self) -> tuple[str, str, str]:
        """URL of the v1 authentication, user and key."""
        return f"http://127.0.0.1:{self.ports['proxy']}/auth/v1.0", USER, KEY

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Make whatever is missing under root, start everything, return when everything listens."""
        self._check_installation()
        if not (self.etc / "swift.conf").exists():
            self._make_root()
        for kind in PROCESSES:
            self._programs[kind] = self._program(kind)
            self._programs[kind].start()
        for kind, program in self._programs.items():
            program.wait_for(functools.partial(accepts, self.ports[kind]), 60, f"{kind} to listen")

    def stop(self) -> None:
        while self._programs:
            self._programs.popitem()[1].stop()

    def pids(self) -> list[int]:
        """Every process of it, memcached included."""
        return [pid for program in self._programs.values() for pid in program.pids()]

    def version(self) -> str:
        return self._run("python", "-c", "import swift; print(swift.__version__)").strip()

    # --- starting ------------------------------------------------------------------------------------

    def _check_installation(self) -> None:
        if not (self.bin / "swift-proxy-server").exists():
            raise SwiftMissing(f"no Swift in {self.bin.parent}; `make bench` and `make interop` install it")
        if not shutil.which("memcached"):
            raise SwiftMissing("no memcached; install the system package of that name")

    def _program(self, kind: str) -> Program:
        log = self.log / f"{kind}.log"
        if kind == "memcached":
            where = ["-l", "127.0.0.1", "-p", str(self.ports[kind]), "-U", "0"]
            return Program(["memcached", *where, "-u", getpass.getuser()], log)
        launch = [self.bin / "python", self.root / "launch.py", self.etc]
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
        return Program([*launch, self.bin / f"swift-{kind}-server", self._conf(kind)], log, quiet)

    # --- making the root -----------------------------------------------------------------------------

    def _conf(self, kind: str) -> Path:
        return self.etc / f"{kind}-server.conf"

    def _make_root(self) -> None:
        for folder in (self.etc, self.devices, self.log, self.root / "cache", self.root / "lock"):
            folder.mkdir(parents=True, exist_ok=True)
        for replica in range(self.replicas):
            (self.devices / f"d{replica}").mkdir()
        (self.root / "launch.py").write_text(LAUNCHER)
        for kind in ("account", "container", "object"):
            self._make_ring(kind)
            self._conf(kind).write_text(self._default_section(kind) + self._storage_sections(kind))
        self._conf("proxy").write_text(self._default_section("proxy") + self._proxy_sections())
        swift_conf = "[swift-hash]\nswift_hash_path_prefix = bench\nswift_hash_path_suffix = bench\n"
        (self.etc / "swift.conf").write_text(swift_conf)

    def _make_ring(self, kind: str) -> None:
        builder = str(self.etc / f"{kind}.builder")
        self._run("swift-ring-builder", builder, "create", str(PART_POWER), str(self.replicas), "1")
        for replica in range(self.replicas):
            device = f"r1z{replica + 1}-127.0.0.1:{self.ports[kind]}/d{replica}"
            self._run("swift-ring-builder", builder, "add", device, "1")
        self._run("swift-ring-builder", builder, "rebalance")

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run([self.bin / program, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def _default_section(self, kind: str) -> str:
        return f"""\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {self.ports[kind]}
user = {getpass.getuser()}
swift_dir = {self.etc}
devices = {self.devices}
mount_check = false
log_level = ERROR
log_address = {self.root}/no-syslog
recon_cache_path = {self.root}/cache
"""

    def _storage_sections(self, kind: str) -> str:
        return f"""
[pipeline:main]
pipeline = healthcheck recon {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
log_requests = false
conn_timeout = 5
node_timeout = 60

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:recon]
use = egg:swift#recon
recon_lock_path = {self.root}/lock
"""

    def _proxy_sections(self) -> str:
        filters = PIPELINES[self.pipeline]
        options = {**FILTER_OPTIONS, "cache": f"memcache_servers = 127.0.0.1:{self.ports['memcached']}"}
        sections = [
            f"[filter:{name}]\nuse = egg:swift#{FILTER_MODULES.get(name, name)}\n{options.get(name, '')}\n"
            for name in dict.fromkeys(filters.split())
        ]
        return f"""
[pipeline:main]
pipeline = {filters} proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 5
node_timeout = 60

{chr(10).join(sections)}"""
