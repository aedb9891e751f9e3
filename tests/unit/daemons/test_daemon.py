"""Passes, again and again, until told to stop."""

from __future__ import annotations

import os
import signal

import pytest

from miniswift.concurrency import fork, restart_hub_after_fork
from miniswift.daemons import Daemon


class Counter(Daemon):
    """Writes a byte each pass; the second pass fails."""

    name = "counter"
    rest_factor = 0.0

    def __init__(self, fd):
        super().__init__(0.001)
        self.fd = fd
        self.passes = 0

    def run_once(self):
        self.passes += 1
        os.write(self.fd, b".")
        if self.passes == 2:
            raise ValueError("this pass fails")
        return "counted"


@pytest.fixture
def pipe():
    read_end, write_end = os.pipe()
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def test_a_daemon_outlives_a_failed_pass_and_stops_on_sigterm(pipe):
    read_end, write_end = pipe
    pid = fork()
    if not pid:
        try:
            restart_hub_after_fork()
            Counter(write_end).run_forever()
            os._exit(0)
        finally:
            os._exit(1)
    for _ in range(4):
        assert os.read(read_end, 1) == b"."
    os.kill(pid, signal.SIGTERM)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_pass_is_one_line_in_the_log_and_a_failed_one_has_its_traceback(pipe, caplog):
    caplog.set_level("INFO")
    counter = Counter(pipe[1])
    counter.run_logged()
    counter.run_logged()
    first, second = caplog.records
    assert first.getMessage().startswith("counter: counted in ")
    assert second.levelname == "ERROR"
    assert "this pass fails" in caplog.text
