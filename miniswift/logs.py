"""Log lines: one format, with the transaction id of the request being served.

A line goes to standard error, or to syslog when `log_address` names its socket. Handlers are set up
once a process; modules use `logging.getLogger(__name__)` and never format ids themselves.
"""

from __future__ import annotations

import contextvars
import logging
import logging.handlers
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

# The transaction of the green thread at work; greenlets carry contexts of their own.
trans_id: contextvars.ContextVar[str] = contextvars.ContextVar("trans_id", default="")

# Access logs go through this logger, so that they can be sent elsewhere or switched off.
ACCESS_LOGGER = "miniswift.access"


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:  # Python 3.10 cannot subscript it
    _Adapter = logging.LoggerAdapter


class TransactionFormatter(logging.Formatter):
    """`time name[pid] LEVEL: message (txn: id)`, each event on one line."""

    def __init__(self, name: str) -> None:
        super().__init__(f"%(asctime)s {name}[%(process)d] %(levelname)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record).replace("\n", "#012")
        current = trans_id.get()
        return f"{line} (txn: {current})" if current and current not in line else line


class FilterLogger(_Adapter):
    """What Swift's filters expect of an application's logger: a log, and counters.

    We keep no counters for them.
    """

    thread_locals: tuple[object, ...] = ()  # which they hand from thread to thread; ours are contextvars

    def _ignore(self, *_values: object, **_options: object) -> None:
        pass

    increment = decrement = update_stats = timing = timing_since = transfer_rate = _ignore


def setup(conf: Mapping[str, str], name: str = "miniswift") -> None:
    """Send this process's log where `log_address`, `log_level` and `log_name` of `conf` say."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(make_handler(conf, name))
    root.setLevel(conf.get("log_level", "INFO").upper())


def make_handler(conf: Mapping[str, str], name: str = "miniswift") -> logging.Handler:
    """A handler for `log_udp_host`, for the socket `log_address`, or else for standard error."""
    address = conf.get("log_address", "")
    handler: logging.Handler
    if conf.get("log_udp_host"):
        server = conf["log_udp_host"], int(conf.get("log_udp_port") or 514)
        handler = logging.handlers.SysLogHandler(server, facility=_facility(conf))
    elif address and os.path.exists(address):
        handler = logging.handlers.SysLogHandler(address, facility=_facility(conf))
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TransactionFormatter(conf.get("log_name") or name))
    return handler


def _facility(conf: Mapping[str, str]) -> int:
    name = conf.get("log_facility", "LOG_LOCAL0").lower().removeprefix("log_")
    return logging.handlers.SysLogHandler.facility_names.get(name, logging.handlers.SysLogHandler.LOG_LOCAL0)
