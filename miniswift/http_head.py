"""The head of a request: one strict reading of it, into a WSGI environ.

    POST /v1/AUTH_a/c%20d?x=y HTTP/1.1        REQUEST_METHOD PATH_INFO QUERY_STRING RAW_PATH_INFO
    Host: example.org                         HTTP_HOST …
    Content-Length: 5                         CONTENT_LENGTH, RequestHead.length

Whoever stands between a client and us must not be able to see other requests in the same bytes than
we do, so everything that two readers could read in two ways is refused:

1. Lines end in CR LF. No other control character is in a head, except TAB in a value.
2. A name is a token right before its colon; no line continues another.
3. A body has one Content-Length of digits, or `Transfer-Encoding: chunked`, never both.
4. HTTP/1.1 has exactly one Host.
5. Names with an underscore are dropped: in an environ `X_Foo` could pose as `X-Foo`.

llhttp is not used for requests: it knows a fixed list of methods without Swift's own (REPLICATE, SSYNC,
UPDATE), does not check these rules, and with a Python callback for each header costs twice as much.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import string
from urllib.parse import unquote_to_bytes

from miniswift.errors import MiniswiftError
from miniswift.responses import Environ
from miniswift.wsgi import HEADERS_RAW, RAW_PATH_INFO, environ_key

logger = logging.getLogger(__name__)

CRLF = b"\r\n"
# What may stand in a line: TAB, and everything from space on but DEL. Bytes above ASCII are UTF-8 or Latin-1.
LINE_BYTES = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))
TOKEN = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")  # RFC 9110 5.6.2
# Swift's metadata have names in UTF-8 too, which no other specification lets into a header.
NAME = TOKEN | {chr(byte) for byte in range(0x80, 0x100)}
_NOT_IN_HOST = frozenset(' \t,/\\?#@"<>')
MAX_LENGTH_DIGITS = 18
_ODD_BYTE = "The request has a control character, or a line that does not end in CR LF."


class Refused(MiniswiftError):
    """Raised when a request cannot be taken; it is answered with the status, and its connection closed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much of a head is read: bytes, and a number of headers."""

    request_line: int
    header_line: int
    header_count: int
    head: int


class RequestHead:
    """What the server itself wants to know of a request; the rest is in the environ."""

    __slots__ = (
        "asks_to_stay", "expects_continue", "is_chunked", "is_http11", "keep_alive", "length", "method",
    )  # fmt: skip

    def __init__(self, method: str, is_http11: bool) -> None:
        self.method = method
        self.is_http11 = is_http11
        self.length = 0  # bytes of the body; unknown if chunked
        self.is_chunked = False
        self.keep_alive = is_http11
        self.asks_to_stay = False  # by name, which is answered by name too
        self.expects_continue = False


def read_head(head: bytes, environ: Environ, limits: Limits) -> RequestHead:
    """Put the request of `head` (without its last empty line) into `environ`. Raises Refused."""
    request_line, *lines = head.decode("latin-1").split("\r\n")
    if len(head) > limits.request_line or len(head) > limits.header_line:
        _check_sizes(request_line, lines, len(head), limits)
    if len(lines) > limits.header_count:
        raise Refused(431, f"The request has more than {limits.header_count} headers.")
    if head.translate(None, LINE_BYTES) != CRLF * len(lines):
        raise Refused(400, _ODD_BYTE)
    method, target, is_http11 = _split_request_line(request_line)
    environ["SERVER_PROTOCOL"] = "HTTP/1.1" if is_http11 else "HTTP/1.0"
    _read_headers(lines, environ)
    _read_target(method, target, environ)
    return _read_framing(RequestHead(method, is_http11), environ)


def check_part(part: bytearray, start: int, limits: Limits) -> int:
    """Refuse a head as soon as it cannot become a good one.

    `part` is what has come so far, `start` the answer of the last call (0 at first): where the line
    begins that was not complete then. Raises Refused.
    """
    lines = bytes(part[start:]).split(CRLF)
    if start == 0 and len(lines) > 1:
        _split_request_line(lines[0].decode("latin-1"))
    _check_sizes("" if start else lines[0], lines if start else lines[1:], len(part), limits)
    # A CR at the very end may be the first half of a line's end.
    if any(line.translate(None, LINE_BYTES) for line in [*lines[:-1], lines[-1].removesuffix(b"\r")]):
        raise Refused(400, _ODD_BYTE)
    return len(part) - len(lines[-1])


def _check_sizes(
    request_line: str | bytes, lines: list[str] | list[bytes], size: int, limits: Limits
) -> None:
    if len(request_line) > limits.request_line:
        raise Refused(414, f"The request line is longer than {limits.request_line} bytes.")
    if any(len(line) > limits.header_line for line in lines):
        raise Refused(431, f"A header is longer than {limits.header_line} bytes.")
    if size > limits.head:
        raise Refused(431, f"The headers are longer than {limits.head} bytes.")


# --- the request line ----------------------------------------------------------------------------


def _split_request_line(line: str) -> tuple[str, str, bool]:
    """(method, target, True for HTTP/1.1)."""
    words = line.split(" ")
    if len(words) != 3:
        raise Refused(400, "The request line is not 'METHOD /path HTTP/1.1' with single spaces.")
    method, target, version = words
    if version != "HTTP/1.1" and version != "HTTP/1.0":
        digits = version.removeprefix("HTTP/")
        if len(version) == 8 and digits[0].isdecimal() and digits[1] == "." and digits[2].isdecimal():
            raise Refused(505, "This server speaks HTTP/1.1 and HTTP/1.0.")
        raise Refused(400, "The request line does not end in HTTP/1.1 or HTTP/1.0.")
    if not _is_token(method):
        raise Refused(400, "The method is not a word of ASCII letters.")
    return method, target, version == "HTTP/1.1"


@functools.lru_cache(maxsize=256)
def _is_token(text: str) -> bool:
    return bool(text) and TOKEN.issuperset(text)


def _read_target(method: str, target: str, environ: Environ) -> None:
    if not target.startswith("/"):
        target = _origin_form(method, target, environ)
    path, _, environ["QUERY_STRING"] = target.partition("?")
    if "\t" in target:
        raise Refused(400, "The path has a control character.")
    environ["REQUEST_METHOD"] = method
    environ[RAW_PATH_INFO] = path
    if "%" in path:
        path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
    environ["PATH_INFO"] = path


def _origin_form(method: str, target: str, environ: Environ) -> str:
    """The path and query of a target that does not start with them (RFC 9112 3.2)."""
    if target == "*" and method == "OPTIONS":
        return target
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise Refused(400, "The path does not start with a slash.")
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    if not rest[:end]:
        raise Refused(400, "The address has no host.")
    if "HTTP_HOST" in environ:  # which the address overrules (RFC 9112 3.2.2)
        environ["HTTP_HOST"] = rest[:end]
    return rest[end:] if rest[end : end + 1] == "/" else "/" + rest[end:]


# --- headers -------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=2048)
def header_key(name: str) -> str:
    """The environ key of a header's name; empty for a name that is to be dropped. Raises Refused."""
    if not name:
        raise Refused(400, "A header has no name.")
    if not NAME.issuperset(name):
        raise Refused(400, "A header's name has a character that does not belong there.")
    if "_" in name:
        logger.debug("header %s is dropped for its underscore", name)
        return ""
    return environ_key(name)


def _read_headers(lines: list[str], environ: Environ) -> None:
    raw = []
    for line in lines:
        name, colon, value = line.partition(":")
        key = header_key(name)
        if not colon:
            raise Refused(400, "A header has no colon.")
        if not key:
            continue
        value = value.strip(" \t")
        raw.append((name, value))
        environ[key] = _joined(key, environ[key], value) if key in environ else value
    environ[HEADERS_RAW] = tuple(raw)


def _joined(key: str, first: str, second: str) -> str:
    """The value of a header that came twice (RFC 9110 5.3)."""
    if key in ("HTTP_HOST", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"):
        name = key.removeprefix("HTTP_").replace("_", "-").title()
        raise Refused(400, f"The request has more than one {name} header.")
    return f"{first}; {second}" if key == "HTTP_COOKIE" else f"{first},{second}"


# --- where the request ends, and what follows ------------------------------------------------------


def _read_framing(head: RequestHead, environ: Environ) -> RequestHead:
    host = environ.get("HTTP_HOST")
    if host is None:
        if head.is_http11:
            raise Refused(400, "The request has no Host header.")
    elif not _NOT_IN_HOST.isdisjoint(host):
        raise Refused(400, "The Host header is not a host name.")
    if "HTTP_TRANSFER_ENCODING" in environ:
        _check_coding(environ["HTTP_TRANSFER_ENCODING"], head, environ)
        head.is_chunked = True
    elif "CONTENT_LENGTH" in environ:
        head.length = _body_length(environ["CONTENT_LENGTH"])
    if "HTTP_CONNECTION" in environ:
        options = environ["HTTP_CONNECTION"].lower()
        if options == "close" or options == "keep-alive":
            head.keep_alive = head.asks_to_stay = options == "keep-alive"
        else:
            _read_connection_options(options, head)
    if head.is_http11 and "HTTP_EXPECT" in environ:
        head.expects_continue = environ["HTTP_EXPECT"].lower() == "100-continue"
    return head


def _read_connection_options(options: str, head: RequestHead) -> None:
    named = {option.strip(" \t") for option in options.split(",")}
    if "close" in named:
        head.keep_alive = False
    elif "keep-alive" in named:
        head.keep_alive = head.asks_to_stay = True


def _check_coding(coding: str, head: RequestHead, environ: Environ) -> None:
    if "CONTENT_LENGTH" in environ:
        raise Refused(400, "The request has both a Content-Length and a Transfer-Encoding header.")
    if not head.is_http11:
        raise Refused(400, "HTTP/1.0 has no Transfer-Encoding.")
    if coding.lower() == "chunked":
        return
    names = [name.strip(" \t").lower() for name in coding.split(",")]
    if all(map(_is_token, names)) and set(names) != {"chunked"}:
        raise Refused(501, "The only transfer coding this server knows is chunked.")
    raise Refused(400, "The Transfer-Encoding header is not 'chunked'.")


def _body_length(text: str) -> int:
    # The words of Swift's own refusal, which its clients may know.
    if not (text.isascii() and text.isdecimal()) or len(text) > MAX_LENGTH_DIGITS:
        raise Refused(400, "Invalid Content-Length")
    return int(text)
