"""`miniswift serve` as a program: starting, refusing to start, stopping, surviving its workers."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.cluster import BIN, ServeProcess, is_healthy, made_root
from tests.functional.processes import accepts, free_ports, is_running, send, wait_until

Serve = Callable[..., ServeProcess]

READY_S = 3
TOTALS_S = 10  # an idle machine needs 5


def refused(*options: object) -> str:
    """What a `serve` that cannot start says; it must be one line, and the status 1."""
    command: list[str | Path] = [BIN / "miniswift", "serve", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    return str(done.stderr)


def test_second_start_is_ready_in_three_seconds(tmp_path: Path) -> None:
    process = made_root(tmp_path / "data")
    started = time.monotonic()
    with process:
        assert time.monotonic() - started < READY_S


def test_banner_names_the_address_the_credentials_and_commands_to_try(serve: Serve) -> None:
    process = serve()
    process.wait_for(lambda: "swift upload" in process.printed(), 5, "the banner")
    banner = process.printed()
    assert process.url in banner
    assert "openrc" in banner
    assert str(process.root) in banner
    assert re.search(r"file system +\w+, which takes (all|\d+ of)", banner)
    assert "Traceback" not in banner


def test_secrets_are_for_the_owner_alone(serve: Serve) -> None:
    root = serve().root
    openrc = root / "openrc"
    assert stat.S_IMODE(openrc.stat().st_mode) == 0o600
    password = next(line for line in openrc.read_text().splitlines() if "OS_PASSWORD=" in line)
    secret = password.partition("=")[2].encode()
    readable = [
        file
        for file in root.rglob("*")
        if file.is_file() and file.stat().st_mode & 0o077 and secret in file.read_bytes()
    ]
    assert readable == []


def test_later_start_keeps_users_and_objects(serve: Serve) -> None:
    process = serve()
    before = process.openrc()
    with Client.login(process.auth) as client:
        client.put("/kept")
        client.put("/kept/object", b"content")
    process.stop()
    process.start()
    assert process.openrc() == before
    with Client.login(process.auth) as client:
        assert client.get("/kept/object").body == b"content"


def test_later_start_on_other_ports_gives_out_the_new_addresses(serve: Serve, tmp_path: Path) -> None:
    root = made_root(tmp_path / "data").root
    storage_port = next(
        int(line.partition("=")[2])
        for line in (root / "etc" / "object-server.conf").read_text().splitlines()
        if line.startswith("bind_port")
    )
    moved = ServeProcess(root, storage_port=storage_port)
    with moved, Client.login(moved.auth) as client:
        assert f":{moved.port}/" in client.url
        assert client.put("/moved").status == 201


@pytest.mark.parametrize("taken", ["--port", "--identity-port"])
def test_taken_port_is_said_in_one_line(tmp_path: Path, taken: str) -> None:
    first = free_ports(5)
    ports = {"--port": first, "--identity-port": first + 1, "--storage-port": first + 2}
    with socket.create_server(("127.0.0.1", ports[taken])):
        said = refused("--root", tmp_path / "data", *(word for pair in ports.items() for word in pair))
    assert str(ports[taken]) in said


def test_unwritable_root_is_said_in_one_line(tmp_path: Path) -> None:
    root = tmp_path / "file" / "data"
    root.parent.write_text("a file where a folder should be")
    assert str(root.parent) in refused("--root", root, "--port", free_ports())


def test_more_replicas_than_devices_is_said_in_one_line(tmp_path: Path) -> None:
    said = refused("--root", tmp_path / "data", "--devices", 1, "--replicas", 3)
    assert "replicas" in said


def test_sigterm_ends_every_process_with_status_0(serve: Serve) -> None:
    process = serve()
    tree = process.pids()
    assert len(tree) > 2
    send(signal.SIGTERM, [process.pid])
    wait_until(lambda: not any(map(is_running, tree)), 20, "all processes to end")
    assert process.wait() == 0
    assert not is_healthy(process.address)


def test_sigint_ends_every_process_without_a_traceback(serve: Serve) -> None:
    process = serve()
    tree = process.pids()
    send(signal.SIGINT, tree)  # as a terminal does: to the whole foreground group
    wait_until(lambda: not any(map(is_running, tree)), 20, "all processes to end")
    assert "Traceback" not in process.printed()


@contextlib.contextmanager
def half_sent_upload(client: Client) -> Iterator[tuple[Callable[[], None], list[int]]]:
    """An upload that waits in its middle; a function that lets it go on and end, and its status then."""
    client.put("/drained")
    half_sent, go_on = threading.Event(), threading.Event()
    statuses: list[int] = []

    def body() -> Iterator[bytes]:
        yield b"first half, "
        half_sent.set()
        assert go_on.wait(60)
        yield b"second half"

    def upload() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            statuses.append(client.request("PUT", "/drained/object", body()).status)

    def finish() -> None:
        go_on.set()
        thread.join()

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        assert half_sent.wait(60)
        yield finish, statuses
    finally:
        finish()


def test_sigterm_lets_an_upload_finish(serve: Serve) -> None:
    process = serve()
    with Client.login(process.auth) as client, half_sent_upload(client) as (finish, statuses):
        send(signal.SIGTERM, [process.pid])
        process.wait_for(lambda: "stopping" in process.printed(), 20, "it to begin")
        finish()
    assert statuses == [201]
    assert process.wait() == 0
    assert "ERROR" not in process.printed()
    process.start()
    with Client.login(process.auth) as client:
        assert client.get("/drained/object").body == b"first half, second half"


def test_sigterm_refuses_new_connections_while_an_upload_finishes(serve: Serve) -> None:
    process = serve()
    with Client.login(process.auth) as client, half_sent_upload(client) as (finish, statuses):
        send(signal.SIGTERM, [process.pid])
        process.wait_for(lambda: not accepts(process.port), 20, "new connections to be refused")
        finish()
    assert statuses == [201]


def test_killed_worker_comes_back(serve: Serve) -> None:
    process = serve()
    killed = process.workers()
    send(signal.SIGKILL, killed)
    wait_until(lambda: len(set(process.workers()) - set(killed)) >= len(killed), 20, "new workers")
    wait_until(lambda: is_healthy(process.address), 20, "them to serve")
    with Client.login(process.auth) as client:
        assert client.put("/after").status == 201


def test_account_totals_are_right_within_seconds(serve: Serve) -> None:
    process = serve()
    with Client.login(process.auth) as client:
        client.put("/counted")
        for number in range(10):
            client.put(f"/counted/{number}", b"12345")
        client.delete("/counted/0")

        def totals() -> tuple[str | None, str | None]:
            headers = client.head().headers
            return headers["X-Account-Object-Count"], headers["X-Account-Bytes-Used"]

        process.wait_for(lambda: totals() == ("9", "45"), TOTALS_S, "the totals")


def test_killed_master_leaves_no_worker_behind(serve: Serve) -> None:
    process = serve()
    workers = process.workers()
    send(signal.SIGKILL, [process.pid])
    try:
        wait_until(lambda: not any(map(is_running, workers)), 20, "the workers to end")
    finally:
        send(signal.SIGKILL, [pid for pid in workers if is_running(pid)])


def test_access_log_has_a_line_for_each_request_and_no_token(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    process = serve(options=("--access-log", str(log)))
    with Client.login(process.auth) as client:
        client.put("/logged")
        client.get("/logged/missing")
        token = client.headers["X-Auth-Token"]
    wait_until(lambda: "/logged/missing" in log.read_text(), 10, "the lines")
    assert " 404 " in log.read_text()
    assert token not in log.read_text() + process.printed()
