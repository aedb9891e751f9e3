"""One storage server, asked directly about one name."""

from __future__ import annotations

import http.client
from dataclasses import dataclass, replace
from urllib.parse import quote

from miniswift.ring import Node
from miniswift.timestamp import Timestamp
from tests.functional.client import Answer

TIMEOUT_S = 30


@dataclass(frozen=True)
class NodeClient:
    """What a proxy is to a storage node; without the node's own duties to others, which it is not told."""

    node: Node
    part: int
    names: tuple[str, ...]

    def below(self, name: str) -> NodeClient:
        """The same server and partition, asked about a row of the account or container."""
        return replace(self, names=(*self.names, name))

    def __call__(
        self,
        method: str,
        timestamp: Timestamp | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        query: str = "",
    ) -> Answer:
        path = quote("/".join(["", self.node.device, str(self.part), *self.names]))
        sent = {**({"X-Timestamp": timestamp.internal} if timestamp else {}), **(headers or {})}
        connection = http.client.HTTPConnection(self.node.ip, self.node.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, f"{path}?{query}" if query else path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
