"""A real memcached on a free port, for tests."""

import contextlib
import socket
import subprocess


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class MemcachedServer:
    """A memcached process that can be stopped and started again on its port."""

    def __init__(self):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._process = None
        self.start()

    def start(self):
        self._process = subprocess.Popen(["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(self.port)])
        while True:
            assert self._process.poll() is None, "memcached ended by itself"
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return

    def stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def command(self, line, data=None):
        """What memcached itself says to a command of its text protocol."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(line.encode() + b"\r\n" + (data + b"\r\n" if data is not None else b""))
            answer = b""
            while not answer.endswith((b"END\r\n", b"STORED\r\n", b"OK\r\n")):
                answer += connection.recv(4096)
        return answer
