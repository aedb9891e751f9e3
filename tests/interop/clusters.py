"""Storage servers of Swift and of miniswift behind one ring, and a proxy of either in front of them.

    root/etc/          swift.conf, rings by Swift's own builder, one conf file for each process
    root/devices/      d1, d2, d3: one replica on each
    root/log/          what each process printed

1. Both implementations are started with the same text of a conf file: only the port differs.
2. A ring knows a device by its server's port; nothing else tells which implementation has it.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from benchmarks.real_swift import CHECKOUT, LAUNCHER
from miniswift.cluster import Cluster
from miniswift.ring import Node
from tests.functional.processes import Program, accepts, free_ports

if TYPE_CHECKING:
    from typing_extensions import Self  # typing.Self is Python 3.11's

SWIFT, MINISWIFT = "swift", "miniswift"
KINDS = ("account", "container", "object")
DEVICES = ("d1", "d2", "d3")
# Who serves which device, in the three rings that are tested.
RINGS = {
    "swift": dict.fromkeys(DEVICES, SWIFT),
    "miniswift": dict.fromkeys(DEVICES, MINISWIFT),
    "mixed": dict(zip(DEVICES, (SWIFT, MINISWIFT, MINISWIFT), strict=True)),
}
READY_S = 60
KEY = "testing"

SWIFT_BIN = CHECKOUT / ".venv-swift" / "bin"
OUR_BIN = Path(sys.executable).parent

SWIFT_CONF = """\
[swift-hash]
swift_hash_path_suffix = interop

[storage-policy:0]
name = gold
default = yes

[storage-policy:1]
name = silver
"""

# Runs the builder once for each line of its input: starting Python costs more than making a ring.
BUILD_RINGS = """\
import contextlib, io, shlex, sys
from swift.cli.ringbuilder import main
for line in sys.stdin:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            main(["swift-ring-builder", *shlex.split(line)])
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{line}: {printed.getvalue()}")
"""


def command(implementation: str, program: str, root: Path, conf: Path, *options: str) -> list[str | Path]:
    """How to start one of an implementation's programs, named as Swift names it (`object-server`)."""
    if implementation == MINISWIFT:
        return [OUR_BIN / f"miniswift-{program}", conf, *options]
    # Swift looks for swift.conf in /etc/swift before it reads any other file: the launcher tells it better.
    launch = [SWIFT_BIN / "python", root / "launch.py", root / "etc"]
    return [*launch, SWIFT_BIN / f"swift-{program}", conf, *options]


def stop_all(programs: Collection[Program]) -> None:
    """End them all at the same time: most of the time that a Swift server takes to end, it waits."""
    if programs:
        with ThreadPoolExecutor(len(programs)) as pool:
            list(pool.map(Program.stop, programs))


class Backends:
    """The account, container and object servers of three devices.

    `served_by` says for each device whose servers have it; those that share an implementation share
    its three processes.
    """

    def __init__(self, root: Path, served_by: Mapping[str, str]) -> None:
        assert SWIFT_BIN.is_dir(), f"no real Swift in {SWIFT_BIN}: run `make interop`"
        self.root = root
        self.etc = root / "etc"
        self.devices = root / "devices"
        self.served_by = dict(served_by)
        self.implementations = sorted(set(served_by.values()))
        pairs = [(implementation, kind) for implementation in self.implementations for kind in KINDS]
        first = free_ports(len(pairs))
        self.ports = {pair: first + number for number, pair in enumerate(pairs)}
        self.servers: dict[tuple[str, str], Program] = {}
        self._make_root()
        self.cluster = Cluster.load(self.etc)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            self.start()
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every server; all listen when this returns."""
        for implementation, kind in self.ports:
            server = Program(
                command(implementation, f"{kind}-server", self.root, self.conf(implementation, kind)),
                self.root / "log" / f"{implementation}-{kind}.log",
                {**os.environ, "PYTHONWARNINGS": "ignore"},
            )
            self.servers[implementation, kind] = server
            server.start()
        for pair, server in self.servers.items():
            server.wait_for(functools.partial(accepts, self.ports[pair]), READY_S, f"{pair} to listen")

    def stop(self) -> None:
        stop_all(self.servers.values())
        self.servers.clear()

    def conf(self, implementation: str, kind: str) -> Path:
        return self.etc / f"{implementation}-{kind}-server.conf"

    def primaries(self, kind: str, *names: str) -> tuple[int, list[Node]]:
        """The partition of a name and the nodes that have it."""
        ring = self.cluster.ring(kind)
        part = self.cluster.part(ring, *names)
        return part, list(ring.primaries(part))

    # --- making the root -----------------------------------------------------------------------------

    def _make_root(self) -> None:
        for folder in ("etc", "log", "cache", "lock", *(f"devices/{device}" for device in self.served_by)):
            (self.root / folder).mkdir(parents=True)
        (self.root / "launch.py").write_text(LAUNCHER)
        (self.etc / "swift.conf").write_text(SWIFT_CONF)
        for implementation, kind in self.ports:
            text = self.default_section(self.ports[implementation, kind]) + self._server_sections(kind)
            self.conf(implementation, kind).write_text(text)
        self._make_rings()

    def default_section(self, port: int) -> str:
        return f"""\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 1
user = {getpass.getuser()}
swift_dir = {self.etc}
devices = {self.devices}
mount_check = false
log_level = INFO
log_address = {self.root}/no-syslog
recon_cache_path = {self.root}/cache
"""

    def _server_sections(self, kind: str) -> str:
        return f"""
[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
conn_timeout = 5
node_timeout = 30
{"container_update_timeout = 30" if kind == "object" else ""}
"""

    def _make_rings(self) -> None:
        lines = []
        for kind in KINDS:
            builder = self.etc / f"{kind}.builder"
            devices = [
                f"r1z{number}-127.0.0.1:{self.ports[implementation, kind]}/{device} 1"
                for number, (device, implementation) in enumerate(self.served_by.items(), 1)
            ]
            lines.append(f"{builder} create 4 {len(devices)} 1")
            lines.append(f"{builder} add {' '.join(devices)}")
            lines.append(f"{builder} rebalance")
        subprocess.run(
            [SWIFT_BIN / "python", "-c", BUILD_RINGS], input="\n".join(lines), text=True, check=True
        )
        shutil.copy(self.etc / "object.ring.gz", self.etc / "object-1.ring.gz")


class Proxy:
    """A proxy server of either implementation, and its memcached, in front of some `Backends`."""

    FILTERS = "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats tempauth copy"

    def __init__(self, backends: Backends, implementation: str, name: str = "") -> None:
        """`name` tells proxies of one implementation apart."""
        self.backends = backends
        self.implementation = implementation
        self.name = name or implementation
        # Both proxies may stand in front of the same servers: each has an account of its own, and
        # names of the same length keep the lengths of listings the same.
        self.account_name = {SWIFT: "sw", MINISWIFT: "ms"}[implementation]
        self.port = free_ports(2)
        self._programs: list[Program] = []
        self.conf = backends.etc / f"{self.name}-proxy-server.conf"
        self.conf.write_text(backends.default_section(self.port) + self._sections())

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            self.start()
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def auth(self, user: str = "owner") -> tuple[str, str, str]:
        """URL of the v1 authentication, user and key."""
        return f"http://127.0.0.1:{self.port}/auth/v1.0", f"{self.account_name}:{user}", KEY

    def start(self) -> None:
        root, where = self.backends.root, ["-l", "127.0.0.1", "-p", str(self.port + 1), "-U", "0"]
        memcached = ["memcached", *where, "-u", getpass.getuser()]
        proxy = self._command()
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
        for name, line in (("memcached", memcached), ("proxy", proxy)):
            program = Program(line, root / "log" / f"{self.name}-{name}.log", quiet)
            self._programs.append(program)
            program.start()
        for program, port in zip(self._programs, (self.port + 1, self.port), strict=True):
            program.wait_for(functools.partial(accepts, port), READY_S, "it to listen")

    def stop(self) -> None:
        stop_all(self._programs)
        self._programs.clear()

    def printed(self) -> str:
        """The proxy's log."""
        return self._programs[-1].printed()

    def _command(self) -> list[str | Path]:
        return command(self.implementation, "proxy-server", self.backends.root, self.conf)

    def _sections(self) -> str:
        return f"""
[pipeline:main]
pipeline = {self.FILTERS} proxy-logging proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
conn_timeout = 5
node_timeout = 30
post_quorum_timeout = 10

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:proxy-logging]
use = egg:swift#proxy_logging

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{self.port + 1}

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:copy]
use = egg:swift#copy

{self._auth_sections()}"""

    def _auth_sections(self) -> str:
        return f"""\
[filter:tempauth]
use = egg:swift#tempauth
user_{self.account_name}_owner = {KEY} .admin
user_{self.account_name}_guest = {KEY}
user_{self.account_name}_reseller = {KEY} .reseller_admin
"""
