"""Swift's own daemons, one pass at a time, over devices that somebody else wrote."""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tests.functional.processes import Program, accepts, free_ports
from tests.interop.clusters import KINDS, MINISWIFT, READY_S, SWIFT, Backends, command

if TYPE_CHECKING:
    from typing_extensions import Self  # typing.Self is Python 3.11's

PASS_S = 120


class Daemons:
    """Replicators, auditors and updaters for the devices of some `Backends`, and the rsync daemon they use.

    To find out which devices are its own a replicator looks for its address and port in the ring; here
    every device belongs to one server, so one pass looks after all of them.
    """

    def __init__(self, backends: Backends) -> None:
        self.backends = backends
        self.rsync_port = free_ports()
        root = backends.root
        conf = root / "etc" / "rsyncd.conf"
        conf.write_text(self._rsync_conf())
        listen = ["--daemon", "--no-detach", "--address=127.0.0.1", f"--port={self.rsync_port}"]
        self._rsync = Program(["rsync", *listen, f"--config={conf}"], root / "log" / "rsync.log")
        for kind in KINDS:
            self._conf(kind).write_text(self._sections(kind))

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self._rsync.stop)
            self._rsync.start()
            self._rsync.wait_for(functools.partial(accepts, self.rsync_port), READY_S, "rsync to listen")
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rsync.stop()

    def once(self, name: str, *, meets_damage: bool = False) -> str:
        """Let a daemon (`object-replicator`) do one pass; what it logged.

        An error that it logs fails the test, unless it is meant to meet one.
        """
        conf = self._conf(name.partition("-")[0])
        line = command(SWIFT, name, self.backends.root, conf, "once", "-v")
        done = subprocess.run(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PASS_S,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}"
        assert meets_damage or "ERROR" not in done.stdout, f"{name}: {done.stdout}"
        return done.stdout

    def _conf(self, kind: str) -> Path:
        return self.backends.etc / f"{kind}-daemons.conf"

    def _sections(self, kind: str) -> str:
        return f"""{self.backends.default_section(self.backends.ports[MINISWIFT, kind])}
[{kind}-replicator]
rsync_module = rsync://{{replication_ip}}:{self.rsync_port}/{kind}
recon_cache_path = {self.backends.root}/cache

[{kind}-auditor]
recon_cache_path = {self.backends.root}/cache

[{kind}-updater]
recon_cache_path = {self.backends.root}/cache
node_timeout = 30
conn_timeout = 5
"""

    def _rsync_conf(self) -> str:
        root = self.backends.root
        modules = "".join(
            f"[{kind}]\npath = {root}/devices\nread only = false\nlock file = {root}/lock/{kind}\n"
            for kind in KINDS
        )
        return f"uid = {getpass.getuser()}\nuse chroot = no\nmax connections = 8\n{modules}"
