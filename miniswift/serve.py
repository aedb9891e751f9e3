"""`miniswift serve`: every service of one machine, under one master process.

The master reads the configuration, builds the applications and binds the ports, all before it forks;
so whatever is wrong is said once, on one line, and the workers share what was loaded. Each worker holds
the pipeline, the proxy, the storage servers and the identity service, and serves all their ports.

1. A request of the proxy for a device of this machine is a call, not a connection (`LocalTransport`).
2. Nothing that must not be shared (databases, connections, the event loop) is opened before the fork.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import os
import socket
from pathlib import Path

from miniswift import demo, file_system, logs
from miniswift.cluster import Cluster
from miniswift.daemons.commands import KINDS, NAMES, run_of_root
from miniswift.errors import ConfigError
from miniswift.installation import STORAGE_IP, STORAGE_KINDS, Addresses, Installation
from miniswift.pipeline import load_app, read_section
from miniswift.server import ServerSettings
from miniswift.supervisor import Child, Service, Supervisor, bind_listener, serve_forever
from miniswift.transport import serve_locally

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `miniswift serve`."""
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("miniswift-data"),
        metavar="DIR",
        help="where everything is kept; made at the first start (default: ./miniswift-data)",
    )
    parser.add_argument("--bind", metavar="IP", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="N", help="port of the object store (default: 8080)")
    parser.add_argument(
        "--identity-port", type=int, metavar="N", help="port of the identity service (default: 5000)"
    )
    parser.add_argument(
        "--storage-port",
        type=int,
        metavar="N",
        help="first of three ports for the object, container and account servers, on 127.0.0.1; "
        "counts at the first start (default: 6200)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes (default: one a core)")
    parser.add_argument(
        "--devices", type=int, default=1, metavar="N", help="devices to make at the first start (default: 1)"
    )
    parser.add_argument(
        "--replicas", type=int, metavar="N", help="copies of everything, at the first start (default: 1)"
    )
    parser.add_argument(
        "--policy",
        action="append",
        metavar="NAME",
        help="a storage policy, at the first start; may be repeated, the first is the default one "
        "(default: standard)",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=NAMES,
        metavar="DAEMON",
        help=f"do not run one of: {', '.join(NAMES)}; may be repeated",
    )
    parser.add_argument(
        "--access-log",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write a line for each request, to FILE or with the rest of the log",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="put a page that uploads from the browser into a public container, and print its address",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM. Raises ConfigError for what can be said before starting."""
    logs.setup({"log_level": "INFO"})
    _set_up_access_log(options.access_log)
    installation, addresses = _prepare(options)
    services = _services(installation, addresses)
    workers = options.workers or os.cpu_count() or 1
    children = [
        Child(f"worker {number}", lambda: serve_forever(services)) for number in range(1, workers + 1)
    ]
    children += [
        Child(kind.name, functools.partial(run_of_root, kind, installation.root), announces_ready=False)
        for kind in KINDS
        if kind.name not in options.without
    ]
    return Supervisor(
        on_ready=lambda: _announce(installation, addresses, workers, options.demo),
        listeners=[service.listener for service in services],
    ).run(children)


def _prepare(options: argparse.Namespace) -> tuple[Installation, Addresses]:
    installation = Installation(options.root)
    is_new = not installation.exists
    known = Addresses() if is_new else installation.addresses()
    given = {
        name: getattr(options, name)
        for name in ("bind", "port", "identity_port", "storage_port")
        if getattr(options, name) is not None
    }
    addresses = dataclasses.replace(known, **given)
    if is_new:
        replicas = options.replicas or min(options.devices, 3)
        installation.create(addresses, options.devices, replicas, options.policy or ["standard"])
    elif addresses != known:
        if addresses.storage_port != known.storage_port:
            raise ConfigError(
                f"the rings of {installation.root} say {known.storage_port}", option="--storage-port"
            )
        installation.move(addresses)
    return installation, addresses


def _services(installation: Installation, addresses: Addresses) -> list[Service]:
    """The five services, their ports bound before anything is loaded.

    The storage servers are loaded first, because the proxy calls them.
    """
    places = [
        (f"{kind}-server", STORAGE_IP, addresses.storage_port + offset)
        for offset, kind in enumerate(STORAGE_KINDS)
    ]
    places.append(("identity", addresses.bind, addresses.identity_port))
    places.append(("proxy-server", addresses.bind, addresses.port))
    listeners = [bind_listener(ip, port) for _, ip, port in places]
    return [
        _service(installation, *place, listener) for place, listener in zip(places, listeners, strict=True)
    ]


def _service(installation: Installation, name: str, ip: str, port: int, listener: socket.socket) -> Service:
    conf = installation.conf(name)
    app = load_app(conf)
    if name.removesuffix("-server") in STORAGE_KINDS:
        serve_locally([(ip, port)], app)
    return Service(name, listener, app, ServerSettings.from_conf(read_section(conf)))


def _set_up_access_log(target: str | None) -> None:
    access = logging.getLogger(logs.ACCESS_LOGGER)
    if target is None:
        access.setLevel(logging.WARNING)
    elif target != "-":
        try:
            handler = logging.FileHandler(target)
        except OSError as error:
            raise ConfigError(
                f"cannot be written: {error.strerror}", file=target, option="--access-log"
            ) from None
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        access.addHandler(handler)
        access.propagate = False


def _file_system(installation: Installation) -> str:
    limits = Cluster.load(installation.etc).constraints
    return file_system.verdict(sorted(installation.devices.iterdir()), limits)


def _announce(installation: Installation, addresses: Addresses, workers: int, with_demo: bool) -> None:
    _print_banner(installation, addresses, workers)
    if with_demo:
        try:
            address = demo.set_up(installation, addresses)
        except demo.DemoError as error:
            logger.error("the demonstration could not be made: %s", error)
        else:
            print(f"Upload from a browser; the address is good for a day:\n\n  {address}\n", flush=True)


def _print_banner(installation: Installation, addresses: Addresses, workers: int) -> None:
    openrc = os.path.relpath(installation.openrc)
    if openrc.startswith(".."):
        openrc = str(installation.openrc)
    print(
        f"""
miniswift is ready: {addresses.url}  (identity: {addresses.identity_url}, {workers} workers)

  data, configuration   {installation.root}
  credentials           {openrc}
  file system           {_file_system(installation)}

Try it in another shell:

  source {openrc}
  swift upload photos *.jpg
  swift list photos
""",
        flush=True,
    )
