"""The commands: `miniswift …` and the four stand-alone servers.

What is known to be wrong is said in one line on standard error, with exit status 1 (2 for the
command line itself).
"""

from __future__ import annotations

from miniswift import concurrency

concurrency.patch()  # before anything imports socket, so that its sockets are green

import argparse  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import pwd  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402

from miniswift import VERSION, logs  # noqa: E402
from miniswift.config import ProcessSettings, reading  # noqa: E402
from miniswift.errors import ConfigError, MiniswiftError  # noqa: E402

_PORTS = {"proxy-server": 8080, "object-server": 6200, "container-server": 6201, "account-server": 6202}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `miniswift` with its command line; the exit status."""
    from miniswift import serve
    from miniswift.daemons import commands as daemon_commands
    from miniswift.identity import commands as user_commands

    parser = argparse.ArgumentParser(
        prog="miniswift", description="An OpenStack Swift object store for one machine."
    )
    parser.add_argument("--version", action="version", version=f"miniswift {VERSION}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve_parser = subparsers.add_parser("serve", help="start the whole store; make it if it is not there")
    serve.add_arguments(serve_parser)
    serve_parser.set_defaults(run=serve.run)
    user_commands.add_arguments(subparsers)
    daemon_commands.add_arguments(subparsers)
    options = parser.parse_args(arguments)
    return _run(lambda: int(options.run(options)))


def run_server(name: str, arguments: Sequence[str] | None = None) -> int:
    """Run one server (`proxy-server`, `object-server`, …) from its conf file; the exit status."""
    parser = argparse.ArgumentParser(
        prog=f"miniswift-{name}", description=f"The {name} alone, from a Swift-format configuration file."
    )
    parser.add_argument("conf", metavar="CONF", help=f"for example /etc/swift/{name}.conf")
    parser.add_argument("--verbose", "-v", action="store_true", help="log DEBUG lines too")
    options = parser.parse_args(arguments)
    return _run(lambda: _serve_conf(name, options.conf, options.verbose))


def _serve_conf(name: str, conf_file: str, verbose: bool) -> int:
    from miniswift.pipeline import load_app, read_section
    from miniswift.server import ServerSettings
    from miniswift.supervisor import Child, Service, Supervisor, bind_listener, serve_forever

    conf = read_section(conf_file)
    logs.setup(conf | ({"log_level": "DEBUG"} if verbose else {}), name)
    with reading(conf_file, "DEFAULT"):
        settings = ProcessSettings.from_conf(conf)
        server_settings = ServerSettings.from_conf(conf)
    port = settings.bind_port or _PORTS[name]
    listener = bind_listener(settings.bind_ip, port, settings.backlog, settings.bind_timeout)
    app = load_app(conf_file)
    _become(settings.user)
    services = [Service(name, listener, app, server_settings)]
    workers = settings.workers or os.cpu_count() or 1
    children = [
        Child(f"{name} {number}", lambda: serve_forever(services)) for number in range(1, workers + 1)
    ]
    log = logging.getLogger(__name__)
    ready = f"{name} listens on {settings.bind_ip}:{port} with {workers} workers"
    return Supervisor(on_ready=lambda: log.info("%s", ready), listeners=[listener]).run(children)


def _become(user: str) -> None:
    """Drop root's rights for those of `user`, when there are any to drop. Raises ConfigError."""
    if not user or os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"there is no user {user!r}", section="DEFAULT", option="user") from None
    if entry.pw_uid == 0:
        return
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def _run(command: Callable[[], int]) -> int:
    try:
        return command()
    except MiniswiftError as error:
        print(f"miniswift: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
