"""What daemons tell of their last pass: recon_cache_path/{account,container,object}.recon, JSON as in Swift.

Daemons of a real Swift may write the same files: each replaces its own keys, under a lock.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

SERVERS = ("account", "container", "object")


def cache_file(folder: str, server: str) -> str:
    return os.path.join(folder, f"{server}.recon")


def dump(folder: str, server: str, values: Mapping[str, Any]) -> None:
    """Put values into a server's file; what cannot be written is only logged: no daemon lives for that."""
    path = cache_file(folder, server)
    try:
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            _replace(path, {**load(path), **values})
        finally:
            os.close(fd)
    except OSError as error:
        logger.debug("%s cannot be written: %s", path, error)


def load(path: str) -> dict[str, Any]:
    """What is in a file, nothing if it is not there or garbled. Raises OSError."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError:
        logger.warning("%s is no JSON; it is begun anew", path)
        return {}
    return content if isinstance(content, dict) else {}


def _replace(path: str, content: Mapping[str, Any]) -> None:
    fd, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}.")
    try:
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(content, file)
            os.fchmod(fd, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
