"""The demonstration of `serve --demo`: a page that uploads from a browser, ready to be opened.

    page       a public container with examples/cors-upload; pages need no server of their own
    uploads    where the page sends files: read by anybody, written with a temporary URL of a day

1. It is made through the API, as any user would, with the credentials in openrc.
2. Making it again changes nothing but the page's files, which are today's; the key stays.
3. It waits for its answers in place: the master process, which calls it, has no event loop.
"""

from __future__ import annotations

import hmac
import http.client
import mimetypes
import secrets
import socket
import time
from importlib import resources
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from miniswift.concurrency import NativeSocket
from miniswift.errors import MiniswiftError
from miniswift.installation import Addresses, Installation

PAGE, UPLOADS = "page", "uploads"
_URL_LIFE_S = 86400
_TIMEOUT_S = 30
_KEY = "X-Account-Meta-Temp-Url-Key-2"  # the first is the user's own


class DemoError(MiniswiftError):
    """Raised when the demonstration cannot be made. Says what did not work."""


def set_up(installation: Installation, addresses: Addresses) -> str:
    """Make the containers and put the page there; the address to open. Raises DemoError."""
    account = _Account.of(installation)
    key = account.head("").get(_KEY) or secrets.token_hex(20)
    account.send("POST", "", {_KEY: key})
    account.send("PUT", f"/{PAGE}", {"X-Container-Read": ".r:*"})
    allowed = {
        "X-Container-Read": ".r:*,.rlistings",
        "X-Container-Meta-Access-Control-Allow-Origin": addresses.url,
    }
    account.send("PUT", f"/{UPLOADS}", allowed)
    for file in page_files():
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        account.send("PUT", f"/{PAGE}/{file.name}", {"Content-Type": kind}, file.read_bytes())
    temporary = _temporary_url(f"{account.path}/{UPLOADS}/", key)
    filled_in = urlencode({"way": "tempurl", "tempurl": addresses.url + temporary})
    return f"{account.url}/{PAGE}/index.html#{filled_in}"


def page_files() -> list[Path]:
    """The files of the page, in a checkout or as they were installed."""
    folder = Path(__file__).resolve().parent.parent / "examples" / "cors-upload"
    if not folder.is_dir():
        folder = Path(str(resources.files("miniswift") / "upload_page"))
    return [folder / name for name in ("index.html", "upload.js", "style.css")]


def _temporary_url(path: str, key: str) -> str:
    """A URL for uploads under any name that begins as `path` does."""
    expires = int(time.time()) + _URL_LIFE_S
    signature = hmac.digest(key.encode(), f"PUT\n{expires}\nprefix:{path}".encode(), "sha256").hex()
    query = {"temp_url_sig": signature, "temp_url_expires": expires, "temp_url_prefix": ""}
    return f"{path}?{urlencode(query)}"


class _Account:
    """The demo user's account."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.path = urlsplit(url).path
        self._token = token

    @classmethod
    def of(cls, installation: Installation) -> _Account:
        """Log in. Raises DemoError."""
        known = dict(
            line.removeprefix("export ").split("=", 1)
            for line in installation.openrc.read_text().splitlines()
            if line.startswith("export ST_")
        )
        headers = {"X-Auth-User": known["ST_USER"], "X-Auth-Key": known["ST_KEY"]}
        answer = _send("GET", known["ST_AUTH"], headers)
        return cls(answer["X-Storage-Url"], answer["X-Auth-Token"])

    def head(self, path: str) -> dict[str, str]:
        return _send("HEAD", self.url + path, {"X-Auth-Token": self._token})

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> None:
        _send(method, self.url + path, {"X-Auth-Token": self._token, **headers}, body)


def _send(method: str, url: str, headers: dict[str, str], body: bytes = b"") -> dict[str, str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = http.client.HTTPConnection(host, parts.port)
    try:
        connection.sock = NativeSocket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        connection.sock.settimeout(_TIMEOUT_S)
        connection.sock.connect((host, parts.port))
        connection.request(method, parts.path, body, headers)
        answer = connection.getresponse()
        answer.read()
    except OSError as error:
        raise DemoError(f"{method} {url}: {error}") from None
    finally:
        connection.close()
    if answer.status // 100 != 2:
        raise DemoError(f"{method} {url}: {answer.status} {answer.reason}")
    return {name.title(): value for name, value in answer.getheaders()}
