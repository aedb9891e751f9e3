"""The HTTP server: accepts connections and serves a WSGI application on them.

    listener → Server (one green thread a connection) → Connection → application

The parts: `http_wire` moves bytes, `http_head` reads a request strictly, `http_input` is its body,
`http_output` sends the answer, `http_connection` is one client's sequence of them.

1. A worker serves at most `max_clients` connections; further ones wait in the kernel's backlog.
2. A slow or silent client holds its own connection and nothing else, and that for a limited time.
3. After `stop` no request is begun, and those that run may finish.

Not here: processes and signals (supervisor), access logs (the proxy_logging filter).
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import socket
import ssl
import sys
from time import monotonic
from typing import Any

from miniswift import VERSION
from miniswift.concurrency import (
    Event,
    NativeSocket,
    Semaphore,
    Timeout,
    patch,
    sleep,
    spawn,
    spawn_n,
    trampoline,
)
from miniswift.config import Settings, option, option_names, port, positive, seconds, text, workers
from miniswift.errors import ConfigError
from miniswift.http_connection import Connection
from miniswift.http_head import Limits
from miniswift.http_wire import TLSWire, Wire
from miniswift.responses import Environ, FileBody
from miniswift.wsgi import FILE_WRAPPER, WSGIApp

logger = logging.getLogger(__name__)

REAP_S = 1.0  # between looks at the connections' deadlines, and so how late a timeout may be
CLEAN_UP_S = 1.0  # that connections cut by `stop` have to close their bodies and files


@dataclasses.dataclass(frozen=True)
class ServerSettings(Settings):
    """How connections are served: in [DEFAULT], or in the server's own section."""

    max_clients: int = option(positive, "1024", "connections served at a time by a worker")
    keepalive_timeout: float = option(seconds, "60", "seconds an idle connection is kept")
    client_timeout: float = option(
        seconds, "60", "seconds to wait for more of a body, or for an answer to be taken"
    )
    header_timeout: float = option(seconds, "10", "seconds a request's line and headers may take together")
    max_request_line: int = option(positive, "8192", "bytes of the request line")
    # Twice the longest value that Swift's constraints allow, so that the application says what is wrong.
    max_header_line: int = option(positive, "16384", "bytes of a header", "max_header_size")
    max_header_count: int = option(positive, "256", "headers of a request")
    max_head_size: int = option(positive, "131072", "bytes of the request line and all headers together")
    cert_file: str = option(text, "", "TLS certificate chain, PEM; plain HTTP when empty")
    key_file: str = option(text, "", "TLS private key, PEM; in cert_file when empty")


class Server:
    """Serves `app` on one listening socket. `is_tls` is by default whether there is a certificate."""

    def __init__(
        self, app: WSGIApp, settings: ServerSettings, *, is_tls: bool | None = None, server_name: str = ""
    ) -> None:
        self.app = app
        self.settings = settings
        self.server_name = server_name
        self.header_timeout = settings.header_timeout
        self.keepalive_timeout = settings.keepalive_timeout
        self.limits = Limits(
            settings.max_request_line,
            settings.max_header_line,
            settings.max_header_count,
            settings.max_head_size,
        )
        self.is_stopping = False
        self._tls = (
            _tls_context(settings) if (bool(settings.cert_file) if is_tls is None else is_tls) else None
        )
        self._connections: set[Connection] = set()
        self._free = Semaphore(settings.max_clients)
        self._acceptor: Any = None  # the green thread that waits for connections
        self._emptied = Event()  # after `stop`: no connection is left
        self._stopped = Event()

    def __repr__(self) -> str:
        idle = sum(connection.is_idle for connection in self._connections)
        return f"<Server [connections: {len(self._connections)}, {idle} of them idle]>"

    def serve(self, listener: socket.socket) -> None:
        """Serve connections until `stop` has ended the last of them."""
        native = NativeSocket(fileno=os.dup(listener.fileno()))
        native.setblocking(False)
        # Accepted sockets inherit it: an answer's last segment must not wait for an acknowledgement.
        native.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._acceptor = spawn(self._accept, native)
        reaper = spawn(self._reap)
        try:
            self._stopped.wait()
        finally:
            reaper.kill()
            self._acceptor.kill()
            native.close()

    def stop(self, grace_s: float) -> None:
        """Accept nothing more, let running requests finish for up to `grace_s`, and make `serve` return."""
        self.is_stopping = True
        if self._acceptor is not None:
            self._acceptor.kill()
        for connection in self._connections:
            connection.retire()
        if self._connections:
            self._emptied.wait(grace_s)
        if self._connections:
            logger.warning("%d connections are cut after %g s", len(self._connections), grace_s)
            for connection in self._connections:
                connection.wire.abort()
            self._emptied.wait(CLEAN_UP_S)
        if not self._stopped.ready():
            self._stopped.send()

    def _accept(self, native: socket.socket) -> None:
        address = native.getsockname()
        template = self._make_template(address[0], address[1])
        while True:
            self._free.acquire()
            sock, address = self._next_client(native)
            sock.setblocking(False)
            environ = template.copy()
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = address[0], str(address[1])
            connection = Connection(self, self._make_wire(sock), environ)
            self._connections.add(connection)
            spawn_n(self._run, connection)

    def _next_client(self, native: socket.socket) -> tuple[socket.socket, Any]:
        while True:
            # One a turn of the hub: a worker that took all it can get would leave the others idle.
            trampoline(native, read=True)
            try:
                return native.accept()
            except (BlockingIOError, ConnectionError):  # another worker was faster, or the client left
                continue
            except OSError as error:  # out of descriptors or of memory
                if error.errno != errno.EINVAL:  # the master has shut the listener: it is about to stop us
                    logger.error("cannot accept connections: %s", error.strerror)
                sleep(REAP_S)

    def _run(self, connection: Connection) -> None:
        try:
            connection.serve()
        except (Exception, Timeout):
            logger.exception("a connection failed")
        finally:
            self._connections.discard(connection)
            self._free.release()
            if self.is_stopping and not self._connections and not self._emptied.ready():
                self._emptied.send()

    def _reap(self) -> None:
        """End every wait that is past its deadline; see http_wire."""
        shortest = min(self.header_timeout, self.keepalive_timeout, self.settings.client_timeout)
        while True:
            sleep(max(0.005, min(REAP_S, shortest / 4)))
            now = monotonic()
            for connection in self._connections:
                if connection.wire.deadline < now:
                    connection.wire.expire()

    def _make_wire(self, sock: socket.socket) -> Wire:
        if self._tls is None:
            return Wire(sock, self.settings.client_timeout)
        return TLSWire(sock, self.settings.client_timeout, self._tls)

    def _make_template(self, host: str, port: int) -> Environ:
        return {
            "SERVER_NAME": self.server_name or host,
            "SERVER_PORT": str(port),
            "SERVER_SOFTWARE": f"miniswift/{VERSION}",
            "SCRIPT_NAME": "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http" if self._tls is None else "https",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            FILE_WRAPPER: FileBody,
        }


def _tls_context(settings: ServerSettings) -> ssl.SSLContext:
    """The server's certificate, ready to be shown. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file or None)
    except OSError as error:  # ssl.SSLError is one
        file = settings.cert_file
        problem = f"no usable TLS certificate and key: {error.strerror or error}"
        raise ConfigError(problem, file=file, option="cert_file") from None
    return context


# --- for paste -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ListenSettings(Settings):
    """Where `egg:miniswift#server` listens: in paste's [server:…] section."""

    host: str = option(text, "127.0.0.1", "address to listen on", "bind_ip")
    port: int = option(port, "8080", "port to listen on", "bind_port")
    backlog: int = option(positive, "4096", "connections that may wait to be accepted")
    workers: int = option(workers, "auto", "worker processes; auto is one a core")


def run_paste_server(app: WSGIApp, global_conf: dict[str, str], **local_conf: str) -> None:
    """Serve `app` as a [server:main] section says: paste's server runner. Returns after SIGTERM."""
    # supervisor knows this module, so it cannot be known by it before both are loaded.
    from miniswift.supervisor import Child, Service, Supervisor, bind_listener, serve_forever

    patch()
    conf = {**global_conf, **local_conf}
    listen = ListenSettings.from_conf(conf, local_conf, also=tuple(option_names(ServerSettings)))
    settings = ServerSettings.from_conf(conf)
    listener = bind_listener(listen.host, listen.port, listen.backlog)
    service = Service("server", listener, app, settings)
    numbers = range(1, (listen.workers or os.cpu_count() or 1) + 1)
    Supervisor(listeners=[listener]).run(
        [Child(f"server {number}", lambda: serve_forever([service])) for number in numbers]
    )
