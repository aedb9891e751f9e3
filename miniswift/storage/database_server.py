"""What the account and the container server share, beyond any storage server.

A handler finds its broker by path, asks it, and answers; what brokers raise becomes a status here:
missing 404, metadata refused 400, busy 503, a broken device 507, a database just quarantined 500.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from typing import Any, ClassVar

from miniswift.cluster import Cluster
from miniswift.config import is_true
from miniswift.responses import HTTPError, Response
from miniswift.storage import StorageServer, StorageSettings, Target
from miniswift.storage.broker import DatabaseMalformed
from miniswift.storage.database_cache import DatabaseBusy, DatabaseCache, DatabaseMissing, DeviceFailed
from miniswift.storage.database_replication import DatabaseReplication
from miniswift.storage.listing import Query
from miniswift.storage.metadata import MetadataHeaders, MetadataLimits, MetadataRefused
from miniswift.transport import Transport
from miniswift.wsgi import Request, from_wsgi

logger = logging.getLogger(__name__)

# HEAD and GET wait this long for pending rows, and then answer without them.
STALE_AFTER_S = 0.1
# A request of the proxy's waits less for a lock than a daemon's.
REQUEST_WAIT_S = 3.0
MAX_RPC_BODY = 64 * 1024 * 1024  # bytes of a REPLICATE or UPDATE; Swift sends 1000 rows at a time


class DatabaseServer(StorageServer):
    """The front of the two servers that keep databases."""

    stored_headers: ClassVar[MetadataHeaders]
    replication: ClassVar[type[DatabaseReplication[Any]]]
    listing_limit: int  # most rows of a page

    def __init__(self, settings: StorageSettings, cluster: Cluster, transport: Transport) -> None:
        super().__init__(settings, cluster, transport)
        self.databases = DatabaseCache()
        self.limits = MetadataLimits.of(cluster.constraints)

    def close(self) -> None:
        """Close what this process holds open."""
        self.databases.close()

    def _answer(self, request: Request) -> Response:
        try:
            return super()._answer(request)
        except DatabaseMissing:
            return Response(404)
        except MetadataRefused as error:
            return Response(400, body=str(error))
        except DatabaseBusy as error:
            logger.warning("%s %s is refused: %s", request.method, request.path, error)
            return Response(503, body="The database is busy")
        except DatabaseMalformed:
            return Response(500, body="The database was malformed and is quarantined")
        except sqlite3.DatabaseError as error:
            logger.error("%s %s failed: %s", request.method, request.path, error)
            return Response(500)
        except (DeviceFailed, OSError) as error:
            logger.error("%s %s failed: %s", request.method, request.path, error)
            return Response(507)

    def db_file(self, target: Target, digest: str) -> str:
        """Where the database with this hash lies."""
        return (
            f"{self.settings.devices}/{target.device}/{self.kind}s/{target.part}"
            f"/{digest[-3:]}/{digest}/{digest}.db"
        )

    def REPLICATE(self, target: Target, request: Request) -> Response:
        digest = target.account or ""
        if target.container or len(digest) != 32 or digest.strip("0123456789abcdef"):
            raise HTTPError(400, f"Invalid path: {request.path}")
        self.check_space(target.device)
        replication = self.replication(
            f"{self.settings.devices}/{target.device}", self.db_file(target, digest), self.databases
        )
        return replication.call(json_body(request))


def json_body(request: Request) -> Any:
    """The JSON of a request's body. Raises 400, and 413 for more than a peer sends."""
    length = request.content_length
    if length is None and not request.is_chunked:
        length = 0
    if length is not None and length > MAX_RPC_BODY:
        raise HTTPError(413)
    body = request.body_file.read(MAX_RPC_BODY + 1 if length is None else length)
    if len(body) > MAX_RPC_BODY:
        raise HTTPError(413)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPError(400, f"Invalid JSON: {error}") from None


# --- what requests say --------------------------------------------------------------------------------


def text_param(params: dict[str, str], name: str) -> str | None:
    """A parameter of the query as text. Raises 400 when it is not UTF-8."""
    value = params.get(name)
    try:
        return value and from_wsgi(value)
    except UnicodeDecodeError:
        raise HTTPError(400, f'"{name}" parameter not valid UTF-8') from None


def listing_query(request: Request, params: dict[str, str], max_limit: int, *, with_path: bool) -> Query:
    """What a GET asks of a listing. Raises 412 for a limit above `max_limit`."""
    limit = max_limit
    given = params.get("limit", "")
    if given.isdecimal() and given.isascii():  # anything else is no limit
        limit = int(given) if len(given) < 20 else max_limit + 1
    if limit > max_limit:
        raise HTTPError(412, f"Maximum limit is {max_limit}")
    return Query(
        limit,
        text_param(params, "marker") or "",
        text_param(params, "end_marker") or "",
        text_param(params, "prefix") or "",
        text_param(params, "delimiter") or "",
        text_param(params, "path") if with_path else None,
        is_true(params.get("reverse")),
        is_true(request.environ.get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES")),
    )
