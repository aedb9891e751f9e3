"""The master and its children, as real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paste.deploy import loadwsgi

from miniswift import concurrency
from miniswift.errors import ConfigError
from miniswift.responses import Environ, StartResponse
from miniswift.server import ServerSettings
from miniswift.supervisor import (
    Child,
    Service,
    Supervisor,
    announce_ready,
    bind_listener,
    serve_forever,
)
from tests.functional.processes import accepts, free_ports, is_running, process_tree, wait_until
from tests.unit.raw_http import Client

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Master:
    """A forked process that runs a supervisor, and writes to a file what there is to tell."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.pid = 0

    def start(self, supervisor: Supervisor, children: list[Child]) -> None:
        def note_ready() -> None:
            with self.log.open("a") as log:
                print("ready", [child.pid for child in children], file=log)

        supervisor.on_ready = note_ready
        self.start_function(lambda: supervisor.run(children))

    def start_function(self, function: Callable[[], int | None]) -> None:
        self.pid = concurrency.fork()
        if not self.pid:
            status: int | None = 99
            try:
                status = function()
            finally:
                os._exit(status or 0)

    def wait_for_log(self, words: str) -> None:
        wait_until(lambda: words in self.printed, what=f"{words!r} in the log")

    @property
    def printed(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def children(self) -> list[int]:
        return process_tree(self.pid)[1:]

    def wait(self) -> int:
        """Its exit status (negative: by a signal)."""
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    master = Master(tmp_path / "log")
    yield master
    if master.pid:
        tree = process_tree(master.pid)
        os.kill(master.pid, signal.SIGKILL)
        master.wait()
        wait_until(lambda: not any(map(is_running, tree)), what="the children to end with their master")


def who(environ: Environ, start_response: StartResponse) -> list[bytes]:
    environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]


@pytest.fixture
def port(master: Master) -> int:
    """A port that two workers of a master serve."""
    listener = bind_listener("127.0.0.1", 0)
    services = [Service("who", listener, who, ServerSettings())]
    worker: Callable[[], None] = lambda: serve_forever(services)  # noqa: E731
    master.start(Supervisor(), [Child("worker 1", worker), Child("worker 2", worker)])
    number: int = listener.getsockname()[1]
    listener.close()
    master.wait_for_log("ready")
    return number


def ask(port: int) -> int:
    """The process that answers."""
    with Client(port) as client:
        return int(client.send(GET).answer().body)


# --- serving ---------------------------------------------------------------------------------------


def test_workers_serve_when_the_master_says_that_they_are_ready(master: Master, port: int) -> None:
    assert ask(port) in master.children
    assert master.printed == f"ready {master.children}\n"


def test_both_workers_take_their_share(master: Master, port: int) -> None:
    clients: list[Client] = []

    def has_heard_both() -> bool:
        clients.append(Client(port))
        answered.add(int(clients[-1].send(GET).answer().body))
        return answered == set(master.children)

    answered: set[int] = set()
    wait_until(has_heard_both, what="an answer of each worker")
    for client in clients:
        client.sock.close()


def test_a_worker_that_is_killed_comes_back(master: Master, port: int) -> None:
    before = set(master.children)
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(set(master.children) - before) == 2, what="two new workers")
    assert ask(port) not in before


def test_sigterm_lets_a_running_request_finish(master: Master, port: int) -> None:
    with Client(port) as client, Client(port) as idle:
        idle.send(GET).answer()
        client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.answer().status == 100
        os.kill(master.pid, signal.SIGTERM)
        assert idle.rest() == b""
        assert client.send(b"hello").answer().status == 200
        assert client.rest() == b""
    assert master.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        Client(port)


def test_no_child_outlives_a_master_that_is_killed(master: Master, port: int) -> None:
    children = master.children
    assert len(children) == 2
    os.kill(master.pid, signal.SIGKILL)
    assert master.wait() == -signal.SIGKILL
    wait_until(lambda: not any(map(is_running, children)), what="the children to end")


# --- other children --------------------------------------------------------------------------------


def test_a_child_that_hangs_is_killed_after_the_grace(master: Master) -> None:
    def hang() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        announce_ready()
        while True:
            signal.pause()

    master.start(Supervisor(grace_s=0.05), [Child("hanging", hang)])
    master.wait_for_log("ready")
    children = master.children
    os.kill(master.pid, signal.SIGINT)
    assert master.wait() == 0
    assert not any(map(is_running, children))


def test_a_child_that_keeps_dying_is_started_with_growing_pauses(master: Master, tmp_path: Path) -> None:
    starts = tmp_path / "starts"

    def fail() -> None:
        with starts.open("a") as file:
            file.write(".")
        raise ConfigError("it cannot work")

    master.start(Supervisor(first_pause_s=0.05, longest_pause_s=1000), [Child("failing", fail)])
    wait_until(lambda: starts.exists() and len(starts.read_text()) >= 4, what="four starts")
    os.kill(master.pid, signal.SIGTERM)
    assert master.wait() == 0


def test_a_child_without_an_announcement_is_not_waited_for(master: Master) -> None:
    def sleep() -> None:
        signal.pause()

    master.start(Supervisor(), [Child("daemon", sleep, announces_ready=False)])
    master.wait_for_log("ready")
    os.kill(master.pid, signal.SIGTERM)
    assert master.wait() == 0


def test_paste_serves_an_application_with_our_server(master: Master, tmp_path: Path) -> None:
    port = free_ports()
    conf = tmp_path / "paste.ini"
    conf.write_text(f"[server:main]\nuse = egg:miniswift#server\nport = {port}\nworkers = 1\n")
    serve = loadwsgi.loadserver(f"config:{conf}")
    master.start_function(lambda: serve(who))
    wait_until(lambda: accepts(port), what="the server to accept")
    with Client(port) as client:
        assert client.send(GET).answer().status == 200
    os.kill(master.pid, signal.SIGTERM)
    assert master.wait() == 0


# --- listeners -------------------------------------------------------------------------------------


def test_a_taken_port_is_a_configuration_error_that_says_what_to_do() -> None:
    with bind_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f"^127.0.0.1:{port} is taken by another program: stop"
        ) as caught:
            bind_listener("127.0.0.1", port, timeout_s=0.11)
    assert "another port" in str(caught.value)
    bind_listener("127.0.0.1", port).close()


@pytest.mark.parametrize(
    ("ip", "problem"),
    [("192.0.2.1", "is not an address of this machine"), ("no.such.host.invalid", "cannot be bound")],
)
def test_an_impossible_address_is_a_configuration_error(ip: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        bind_listener(ip, 0)


def test_ipv6_is_understood() -> None:
    with bind_listener("::1", 0) as listener:
        assert listener.getsockname()[0] == "::1"
        with pytest.raises(ConfigError, match=r"^\[::1\]:\d+ is taken"):
            bind_listener("::1", listener.getsockname()[1])
