"""A client's connection as bytes in and bytes out.

    socket  ⇄  Wire or TLSWire  ⇄  Connection, RequestBody, ResponseWriter

1. A call tries the socket first and gives way to others only when the kernel has nothing for it.
2. Waiting sets no timer: a wire carries the deadline of its one wait, and the server's reaper calls
   `expire` on wires that are past theirs.
3. Nobody but the green thread that owns a wire closes it; others only shut its socket down, which ends
   the owner's wait.

Not here: what the bytes mean.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from time import monotonic

from miniswift.concurrency import pause, trampoline
from miniswift.errors import ClientDisconnected, ClientTimeout

BLOCK = 65536  # bytes asked of the socket at a time
SENDFILE_BLOCK = 1 << 20  # bytes sent before others get their turn
TURN_S = 0.001  # that a connection with requests waiting may go on before others get their turn
NEVER = float("inf")


class Wire:
    """A TCP connection. `timeout_s` is how long the client may keep us waiting, either way."""

    __slots__ = (
        "_is_sending",
        "_sock",
        "buffer",
        "deadline",
        "is_expired",
        "last_turn",
        "may_be_kept",
        "timeout_s",
    )

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self._sock = sock
        self._is_sending = False  # what the current wait is for
        self.timeout_s = timeout_s
        self.buffer = b""  # received, and not yet taken by anybody
        self.deadline = NEVER  # of the current wait, on the monotonic clock
        self.last_turn = 0.0  # when others last had theirs, on the monotonic clock
        self.is_expired = False  # a wait was ended by the reaper
        self.may_be_kept = True  # for another request

    def start(self, timeout_s: float) -> None:
        """Whatever comes before the first byte: nothing without TLS."""

    def receive(self, timeout_s: float, size: int = BLOCK) -> bytes:
        """At most `size` bytes as soon as there are any; b"" at the end. Raises ClientTimeout."""
        while True:
            try:
                return self._sock.recv(size)
            except BlockingIOError:
                self._wait(timeout_s, is_sending=False)
            except OSError:  # reset by the client: nothing more will come
                return b""

    def take(self, size: int) -> bytes:
        """At most `size` bytes, those in the buffer first; b"" at the end. Raises ClientTimeout."""
        buffer = self.buffer
        if not buffer:
            return self.receive(self.timeout_s, min(size, BLOCK))
        if len(buffer) <= size:
            self.buffer = b""
            return buffer
        self.buffer = buffer[size:]
        return buffer[:size]

    def send(self, data: bytes, *, more_follows: bool = False) -> None:
        """Send all of `data`. Raises ClientDisconnected or ClientTimeout."""
        try:
            sent = self._sock.send(data, socket.MSG_MORE if more_follows else 0)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ClientDisconnected(error.errno, error.strerror) from None
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:])

    def _send_rest(self, rest: memoryview) -> None:
        while rest:
            self._wait(self.timeout_s, is_sending=True)
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise ClientDisconnected(error.errno, error.strerror) from None

    def send_from_file(self, fd: int, offset: int, size: int) -> int:
        """Send up to `size` bytes of a file; how many, 0 at the file's end. Raises as `send`, or OSError."""
        while True:
            try:
                return os.sendfile(self._sock.fileno(), fd, offset, min(size, SENDFILE_BLOCK))
            except BlockingIOError:
                self._wait(self.timeout_s, is_sending=True)
            except OSError as error:
                if error.errno == errno.EIO:  # the disk's fault, which somebody should hear of
                    raise
                raise ClientDisconnected(error.errno, error.strerror) from None

    def _wait(self, timeout_s: float, *, is_sending: bool) -> None:
        if self.is_expired or timeout_s <= 0:
            raise ClientTimeout
        self._is_sending = is_sending
        self.deadline = monotonic() + timeout_s
        try:
            if is_sending:
                trampoline(self._sock, write=True)
            else:
                trampoline(self._sock, read=True)
        finally:
            self.deadline = NEVER
            self.last_turn = monotonic()
        if self.is_expired:
            raise ClientTimeout

    def give_turn(self) -> None:
        """Let others run, unless they did in the last TURN_S: a turn costs as much as a read.

        A client whose next request is always there already must not keep the others waiting.
        """
        now = monotonic()
        if now - self.last_turn > TURN_S:
            pause()
            self.last_turn = now

    # --- ending ---

    def expire(self) -> None:
        """End the wait that is past its deadline. An answer can still be sent to one who sent too slowly."""
        self.is_expired = True
        self._shut_down(socket.SHUT_RDWR if self._is_sending else socket.SHUT_RD)

    def stop_receiving(self) -> None:
        """Let the owner find the end of the stream."""
        self._shut_down(socket.SHUT_RD)

    def has_arrivals(self) -> bool:
        """Whether the kernel holds bytes that nobody has received yet."""
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK))
        except OSError:  # BlockingIOError: nothing; others are met by the owner
            return False

    def abort(self) -> None:
        """Let everything the owner does with the socket fail."""
        self._shut_down(socket.SHUT_RDWR)

    def linger(self, total_s: float, silence_s: float) -> None:
        """Tell the client that this was all, and swallow what it still sends.

        Closing a socket that has unread input resets the connection, and the reset can overtake the
        answer. Gives up after `total_s`, or `silence_s` without a byte.
        """
        self._finish_sending()
        self.buffer = b""
        end = monotonic() + total_s
        try:
            while Wire.receive(self, min(silence_s, end - monotonic())) and monotonic() < end:
                pause()
        except ClientTimeout:
            return

    def close(self) -> None:
        self._sock.close()

    def _finish_sending(self) -> None:
        self._shut_down(socket.SHUT_WR)

    def _shut_down(self, how: int) -> None:
        try:
            self._sock.shutdown(how)
        except OSError:  # the client closed already
            return


class TLSWire(Wire):
    """A TCP connection with TLS on it. OpenSSL sees memory only, so waiting is the plain wire's."""

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, sock: socket.socket, timeout_s: float, context: ssl.SSLContext) -> None:
        super().__init__(sock, timeout_s)
        self._incoming = ssl.MemoryBIO()  # encrypted, to be read
        self._outgoing = ssl.MemoryBIO()  # encrypted, to be sent
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def start(self, timeout_s: float) -> None:
        """Shake hands. Raises ClientDisconnected when that fails, ClientTimeout after `timeout_s`."""
        deadline = monotonic() + timeout_s
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed(deadline - monotonic())
            except ssl.SSLError as error:
                self._flush()  # the alert that tells the client
                raise ClientDisconnected(f"no TLS: {error.reason}") from None
            else:
                self._flush()
                return

    def receive(self, timeout_s: float, size: int = BLOCK) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._flush()
                self._feed(timeout_s)
            except ssl.SSLError:  # closed with or without a word, or no longer TLS
                return b""

    def send(self, data: bytes, *, more_follows: bool = False) -> None:
        for start in range(0, len(data), BLOCK):
            try:
                self._tls.write(data[start : start + BLOCK])
            except ssl.SSLError as error:
                raise ClientDisconnected(f"no TLS: {error.reason}") from None
            self._flush()

    def send_from_file(self, fd: int, offset: int, size: int) -> int:
        block = os.pread(fd, min(size, BLOCK), offset)
        self.send(block)
        return len(block)

    def _feed(self, timeout_s: float) -> None:
        data = super().receive(timeout_s)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            super().send(self._outgoing.read())

    def _finish_sending(self) -> None:
        self._say_goodbye()
        super()._finish_sending()

    def close(self) -> None:
        self._say_goodbye()
        super().close()

    def _say_goodbye(self) -> None:
        """Send TLS's own end mark, as far as the socket takes it at once."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):  # the client's end mark is not waited for
            pass
        try:
            self._sock.send(self._outgoing.read())
        except OSError:
            return
