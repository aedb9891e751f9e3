"""Three machines with a replica each, and a proxy in front of them: ten processes that talk HTTP.

    root/etc/         swift.conf, rings, the proxy's conf file
    root/m1/          a machine: its conf files, and devices/d1

A machine is stopped, killed and started as a whole, or one of its three servers alone.
"""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from miniswift.cluster import Cluster
from miniswift.daemons.updater import make_updater
from miniswift.ring_builder import RingBuilder
from miniswift.storage.check import check_devices
from tests.functional.client import Client
from tests.functional.cluster import BIN, KEY, READY_S, USER, is_healthy
from tests.functional.processes import Program, accepts, free_ports, send

if TYPE_CHECKING:
    from typing_extensions import Self  # typing.Self is Python 3.11's

KINDS = ("object", "container", "account")
COUNT = 3
NODE_TIMEOUT_S, CONN_TIMEOUT_S = 1, 0.5

STORAGE_CONF = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 1
swift_dir = {etc}
devices = {devices}
mount_check = {mount_check}
fallocate_reserve = 0

[pipeline:main]
pipeline = healthcheck {kind}-server

[app:{kind}-server]
use = egg:miniswift#{kind}
conn_timeout = {conn_timeout}
node_timeout = {node_timeout}
log_requests = false
{options}

[filter:healthcheck]
use = egg:miniswift#healthcheck

[object-updater]
"""
PROXY_CONF = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 1
swift_dir = {etc}

[pipeline:main]
pipeline = healthcheck tempauth proxy-server

[app:proxy-server]
use = egg:miniswift#proxy
account_autocreate = true
conn_timeout = {conn_timeout}
node_timeout = {node_timeout}
recoverable_node_timeout = {node_timeout}
error_suppression_interval = 0

[filter:healthcheck]
use = egg:miniswift#healthcheck

[filter:tempauth]
use = egg:miniswift#tempauth
{user} = {key} .admin
"""


class Machine:
    """The three storage servers of one device."""

    def __init__(
        self, folder: Path, etc: Path, number: int, ports: dict[str, int], mount_check: bool
    ) -> None:
        self.folder = folder
        self.number = number
        self.ports = ports
        self.devices = folder / "devices"
        self.device = self.devices / f"d{number}"
        self.device.mkdir(parents=True)
        self.servers = {kind: self._server(kind, etc, mount_check) for kind in KINDS}

    def _server(self, kind: str, etc: Path, mount_check: bool) -> Program:
        conf = self.folder / f"{kind}-server.conf"
        conf.write_text(
            STORAGE_CONF.format(
                kind=kind, port=self.ports[kind], etc=etc, devices=self.devices, mount_check=mount_check,
                conn_timeout=CONN_TIMEOUT_S, node_timeout=NODE_TIMEOUT_S,
                # An object server must give up its container servers before the proxy gives it up.
                options="container_update_timeout = 0.2" if kind == "object" else "",
            )
        )  # fmt: skip
        return Program([BIN / f"miniswift-{kind}-server", conf], self.folder / f"{kind}.log")

    def start(self, *kinds: str) -> None:
        """Start its servers, or those named; `wait` until they listen."""
        for kind in kinds or KINDS:
            self.servers[kind].start()

    def wait(self) -> None:
        for kind, server in self.servers.items():
            server.wait_for(functools.partial(accepts, self.ports[kind]), READY_S, f"{kind} to listen")

    def kill_9(self, *kinds: str) -> None:
        for kind in kinds or KINDS:
            self.servers[kind].kill_9()

    def freeze(self, number: signal.Signals = signal.SIGSTOP) -> None:
        """Let its processes stand still: they accept connections, as the kernel does, and never answer."""
        send(number, [pid for server in self.servers.values() for pid in server.pids()])

    def thaw(self) -> None:
        self.freeze(signal.SIGCONT)

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()

    def run_updater(self) -> str:
        """One pass of the updater over its device; what it says it did."""
        with contextlib.closing(make_updater(str(self.folder / "object-server.conf"))) as updater:
            return updater.run_once()


class Machines:
    """All of it."""

    def __init__(self, root: Path, *, mount_check: bool = False) -> None:
        self.root = root
        self.etc = root / "etc"
        self.etc.mkdir(parents=True)
        first = free_ports(COUNT * len(KINDS) + 1)
        (self.etc / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = faults\n")
        self.machines = [
            Machine(
                root / f"m{number}", self.etc, number,
                {kind: first + COUNT * offset + number - 1 for offset, kind in enumerate(KINDS)}, mount_check,
            )
            for number in range(1, COUNT + 1)
        ]  # fmt: skip
        for kind in KINDS:
            builder = RingBuilder(4, COUNT)
            for machine in self.machines:
                builder.add("127.0.0.1", machine.ports[kind], machine.device.name, zone=machine.number)
            builder.rebalance()
            builder.save(self.etc / f"{kind}.ring.gz")
        self.port = first + COUNT * len(KINDS)
        conf = self.etc / "proxy-server.conf"
        conf.write_text(
            PROXY_CONF.format(
                port=self.port, etc=self.etc, conn_timeout=CONN_TIMEOUT_S, node_timeout=NODE_TIMEOUT_S,
                user=f"user_{USER.replace(':', '_')}", key=KEY,
            )
        )  # fmt: skip
        self.proxy = Program([BIN / "miniswift-proxy-server", conf], root / "proxy.log")
        self.cluster = Cluster.load(self.etc)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            for machine in self.machines:
                machine.start()
            self.proxy.start()
            for machine in self.machines:
                machine.wait()
            self.proxy.wait_for(lambda: is_healthy(("127.0.0.1", self.port)), READY_S, "/healthcheck")
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self.proxy.stop()
        for machine in self.machines:
            machine.stop()

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        with Client.login((f"http://127.0.0.1:{self.port}/auth/v1.0", USER, KEY)) as client:
            yield client

    def problems(self) -> list[str]:
        """What contradicts itself on any device."""
        return [
            problem
            for machine in self.machines
            for problem in check_devices(machine.devices, self.cluster, after_crash=True)
        ]
