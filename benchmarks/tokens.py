"""Measures what checking tokens costs: GETs with authtoken, and with a filter in its place that does nothing.

Both stores get the same requests with the same kind of token, in turns. What is printed is the server's CPU
per request, and how much more the check makes it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from benchmarks import load
from benchmarks.cpu import Meter
from benchmarks.operations import OPERATIONS, Workload
from benchmarks.real_swift import CHECKOUT
from miniswift.pipeline import read_section
from tests.functional.client import Client
from tests.functional.cluster import ServeProcess, made_root, set_options

GET = next(operation for operation in OPERATIONS if operation.name == "GET 1 KiB")
TURNS = 16
# What authtoken tells of a user besides, so that both have as much to carry.
OTHER_HEADERS = [
    *(f"X_{whose}_{what}" for whose in ("User", "User_Domain", "Project_Domain") for what in ("Id", "Name")),
    *("X_Project_Name", "X_Tenant_Id", "X_Tenant_Name", "X_Tenant", "X_User", "X_Role", "X_Is_Admin_Project"),
]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory("-benchmark") as folder, contextlib.ExitStack() as stack:
        stores = {
            name: stack.enter_context(_store(Path(folder) / name, options.format, name == "checked"))
            for name in ("checked", "unchecked")
        }
        cpu_s = _measure(stores, options.requests)
    per_request = {name: 1000 * spent / options.requests for name, spent in cpu_s.items()}
    more = per_request["checked"] / per_request["unchecked"] - 1
    shown = ", ".join(f"{name} {ms:.3f} ms" for name, ms in per_request.items())
    print(f"GET 1 KiB with {options.format} tokens, {options.requests} requests: {shown}: {more:+.1%}")
    return 0


def _store(root: Path, token_format: str, is_checked: bool) -> ServeProcess:
    """A store that issues tokens of the format."""
    process = made_root(root)
    set_options(root / "etc" / "identity.conf", "app:identity", token_format=token_format)
    if not is_checked:
        with process, Client.login(process.auth) as client:
            project_id = client.prefix.rpartition("AUTH_")[2]
        conf = root / "etc" / "proxy-server.conf"
        identity = {
            "X_Project_Id": project_id,
            **dict.fromkeys(OTHER_HEADERS, "x"),
            "X_Roles": "swiftoperator",
        }
        factory = {"paste.filter_factory": "benchmarks.unchecked:filter_factory"}
        set_options(conf, "filter:unchecked", **factory, **identity)
        pipeline = read_section(conf, "pipeline:main")["pipeline"].split()
        names = ["unchecked" if name == "authtoken" else name for name in pipeline]
        set_options(conf, "pipeline:main", pipeline=" ".join(names))
    process.environ = {"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"}
    return process


def _measure(stores: dict[str, ServeProcess], requests: int) -> dict[str, float]:
    """Server CPU seconds of so many GETs to each."""
    workloads = {name: Workload(store.address, store.auth) for name, store in stores.items()}
    meters = {name: Meter(store.pids) for name, store in stores.items()}
    count = requests // TURNS
    spent = dict.fromkeys(stores, 0.0)
    for workload in workloads.values():
        workload.prepare(GET, count)
        load.run(workload.requests(GET, count, 1))
    for turn in range(TURNS):
        for name in stores if turn % 2 else reversed(stores):
            meters[name].start()
            load.run(workloads[name].requests(GET, count, 1))
            spent[name] += meters[name].stop()
    return spent


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokens", description=__doc__)
    parser.add_argument(
        "--requests", metavar="N", type=int, default=20_000, help="GETs (default: %(default)s)"
    )
    parser.add_argument("--format", choices=("pki", "pkiz", "uuid"), default="pki", help="of the tokens")
    return parser


if __name__ == "__main__":
    sys.exit(main())
