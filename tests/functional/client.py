"""An HTTP client for tests: says exactly what it is told, and shows exactly what came back."""

from __future__ import annotations

import http.client
import json
import select
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self  # typing.Self is Python 3.11's

TIMEOUT_S = 60


@dataclass(frozen=True)
class Answer:
    """A status, headers and the whole body."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One keep-alive connection; it is opened again when the server closed it between two requests."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self.url = url
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self.prefix = parts.path.rstrip("/")
        self.headers = headers or {}
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)

    @classmethod
    def login(cls, auth: tuple[str, str, str]) -> Client:
        """Authenticate as version 1 does with (URL, user, key); paths then start below the account."""
        url, user, key = auth
        with cls(url) as client:
            answer = client.get("", headers={"X-Auth-User": user, "X-Auth-Key": key})
        assert answer.status in (200, 204), f"authentication at {url}: {answer.status} {answer.text}"
        return cls(answer.headers["X-Storage-Url"], {"X-Auth-Token": answer.headers["X-Auth-Token"]})

    def again(self) -> Client:
        """The same on a connection of its own."""
        return Client(f"{self._origin}{self.prefix}", self.headers)

    def anonymous(self) -> Client:
        """A client of the same account without a token."""
        return Client(f"{self._origin}{self.prefix}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def request(
        self,
        method: str,
        path: str = "",
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send and read to the end. Raises OSError or http.client.HTTPException."""
        try:
            self._forget_closed_connection()
            self._connection.request(
                method, self.prefix + path or "/", body, {**self.headers, **(headers or {})}
            )
            response = self._connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except BaseException:
            self._connection.close()
            raise

    def _forget_closed_connection(self) -> None:
        sock = self._connection.sock
        # Between two requests nothing is due from the server but the end of the connection.
        if sock is not None and select.select([sock], [], [], 0)[0]:
            self._connection.close()

    def get(self, path: str = "", headers: dict[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def head(self, path: str = "", headers: dict[str, str] | None = None) -> Answer:
        return self.request("HEAD", path, headers=headers)

    def put(self, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        return self.request("PUT", path, body, headers)

    def post(self, path: str = "", headers: dict[str, str] | None = None) -> Answer:
        return self.request("POST", path, b"", headers)

    def delete(self, path: str) -> Answer:
        return self.request("DELETE", path)

    def listing(self, path: str = "", query: str = "") -> list[dict[str, Any]]:
        """All pages of a JSON listing."""
        rows: list[dict[str, Any]] = []
        marker = ""
        while True:
            answer = self.get(f"{path}?format=json&limit=1000&marker={marker}{query}")
            assert answer.status == 200, f"{path}: {answer.status} {answer.text}"
            page = answer.json()
            if not page:
                return rows
            rows += page
            marker = quote(page[-1].get("name") or page[-1]["subdir"])
