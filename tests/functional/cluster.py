"""miniswift as its users run it: the whole of it by one command, or each server as a process of its own.

Both are `Storage`: something with an address and with credentials, which can be stopped, killed and
started again over the same root. What a test may do to either it does through that.
"""

from __future__ import annotations

import configparser
import functools
import http.client
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from tests.functional.client import Client
from tests.functional.processes import Program, accepts, free_ports

if TYPE_CHECKING:
    from typing_extensions import Self  # typing.Self is Python 3.11's

BIN = Path(sys.executable).parent  # of the virtual environment, where pip put the programs
READY_S = 30
USER, KEY = "test:tester", "testing"  # tempauth's


class Storage(Protocol):
    """What the tests of behaviour know of either way to run it."""

    root: Path

    @property
    def address(self) -> tuple[str, int]:
        """Where the proxy listens."""

    @property
    def auth(self) -> tuple[str, str, str]:
        """URL of the v1 authentication, user and key."""

    def start(self) -> None:
        """Return when it answers."""

    def stop(self) -> object:
        """End it as an operator does, by SIGTERM."""

    def kill_9(self) -> None:
        """End every process of it as a crash does."""


class ServeProcess(Program):
    """`miniswift serve` on free ports of the loopback address."""

    def __init__(
        self,
        root: Path,
        *,
        workers: int = 2,
        devices: int = 1,
        replicas: int = 1,
        storage_port: int = 0,
        options: Sequence[str] = (),
    ) -> None:
        first = free_ports(5)
        self.root = root
        self.port = first
        self.identity_port = first + 1
        self.storage_port = storage_port or first + 2
        command = [BIN / "miniswift", "serve", "--root", root, "--port", self.port]
        command += ["--identity-port", self.identity_port, "--storage-port", self.storage_port]
        command += ["--workers", workers, "--devices", devices, "--replicas", replicas]
        super().__init__([*map(str, command), *options], root.with_name(f"{root.name}.log"))

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def auth(self) -> tuple[str, str, str]:
        variables = self.openrc()
        return variables["ST_AUTH"], variables["ST_USER"], variables["ST_KEY"]

    def start(self) -> None:
        super().start()
        self.wait_for(lambda: is_healthy(self.address), READY_S, "/healthcheck")

    def openrc(self) -> dict[str, str]:
        """What a shell has in its environment after `source openrc`."""
        return sourced(self.root / "openrc")


def made_root(root: Path, *, workers: int = 2, devices: int = 1, replicas: int = 1) -> ServeProcess:
    """A root as the first start of `serve` leaves it, and the stopped process that made it."""
    with ServeProcess(root, workers=workers, devices=devices, replicas=replicas) as process:
        return process


class ServeWithTempauth(ServeProcess):
    """`serve` with the pipeline that `SeparateServers` has: tempauth in place of authtoken keystoneauth."""

    def __init__(self, root: Path, *, devices: int = 1, replicas: int = 1) -> None:
        maker = made_root(root, devices=devices, replicas=replicas)
        use_tempauth(root / "etc" / "proxy-server.conf")
        super().__init__(root, devices=devices, replicas=replicas, storage_port=maker.storage_port)

    @property
    def auth(self) -> tuple[str, str, str]:
        return f"{self.url}/auth/v1.0", USER, KEY


class SeparateServers:
    """The proxy, account, container and object server as processes of their own, talking HTTP.

    The root is one that `miniswift serve` made: its rings and the storage servers' conf files are used as
    they are. The proxy's gets tempauth, as no identity service runs.
    """

    KINDS = ("object", "container", "account", "proxy")  # the first three on consecutive ports

    def __init__(self, root: Path, *, devices: int = 1, replicas: int = 1) -> None:
        self.root = root
        maker = made_root(root, devices=devices, replicas=replicas)
        self.address = maker.address
        self._ports = {kind: maker.storage_port + offset for offset, kind in enumerate(self.KINDS[:3])}
        self._ports["proxy"] = maker.port
        use_tempauth(root / "etc" / "proxy-server.conf")
        self.servers = {kind: self._server(kind) for kind in self.KINDS}

    @property
    def auth(self) -> tuple[str, str, str]:
        return f"http://127.0.0.1:{self.address[1]}/auth/v1.0", USER, KEY

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
        for kind in self.KINDS:
            self.start_one(kind)

    def start_one(self, kind: str) -> None:
        server = self.servers[kind]
        server.start()
        server.wait_for(functools.partial(accepts, self._ports[kind]), READY_S, f"{kind} to listen")

    def stop(self) -> None:
        for server in reversed(self.servers.values()):
            server.stop()

    def kill_9(self) -> None:
        for server in self.servers.values():
            server.kill_9()

    def _server(self, kind: str) -> Program:
        conf = self.root / "etc" / f"{kind}-server.conf"
        return Program([BIN / f"miniswift-{kind}-server", conf], self.root.with_name(f"{kind}.log"))


def use_tempauth(conf: Path) -> None:
    """Put tempauth, with one user, in the place of authtoken keystoneauth."""
    parser = configparser.RawConfigParser()
    parser.read(conf)
    pipeline = parser["pipeline:main"]["pipeline"].split()
    names = ["tempauth" if name == "keystoneauth" else name for name in pipeline if name != "authtoken"]
    set_options(conf, "pipeline:main", pipeline=" ".join(names))
    user = {f"user_{USER.replace(':', '_')}": f"{KEY} .admin"}
    set_options(conf, "filter:tempauth", use="egg:miniswift#tempauth", **user)


def add_user(root: Path, name: str, project: str, role: str, password: str) -> None:
    """A user of `serve`'s identity file, or a new password and role for one who is there."""
    command = [BIN / "miniswift", "user", "add", name, "--project", project, "--role", role]
    command += ["--root", root, "--password-stdin"]
    subprocess.run(list(map(str, command)), input=f"{password}\n", text=True, check=True, capture_output=True)


def set_options(conf: Path, section: str, **options: str | None) -> None:
    """Change a conf file as an operator with an editor does; a section that is missing is added.

    An option that is None is removed.
    """
    parser = configparser.RawConfigParser(default_section="no section is one")
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # SERVICE_… is not service_…
    parser.read(conf)
    if not parser.has_section(section):
        parser.add_section(section)
    for name, value in options.items():
        if value is None:
            parser.remove_option(section, name)
        else:
            parser.set(section, name, value)
    with conf.open("w") as file:
        parser.write(file)


def is_healthy(address: tuple[str, int]) -> bool:
    """Whether the proxy answers /healthcheck."""
    try:
        with Client(f"http://{address[0]}:{address[1]}") as client:
            return client.get("/healthcheck").status == 200
    except (OSError, http.client.HTTPException):
        return False


def sourced(file: Path) -> dict[str, str]:
    """The variables that a shell exports after reading the file."""
    done = subprocess.run(
        ["bash", "-c", 'source "$1" && env -0', "bash", str(file)],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    pairs = (item.split("=", 1) for item in done.stdout.decode().split("\0") if item)
    return {name: value for name, value in pairs if name.startswith(("OS_", "ST_"))}
