"""Configuration: one table of typed options a server or filter, read from Swift-format files.

A table is a frozen dataclass whose fields are made by `option(cast, default, help)`. Everything else
in miniswift receives the finished object; nobody parses a string twice.

1. Names, units and defaults are Swift's, so an existing file keeps its meaning.
2. A bad value is a ConfigError that names file, section and option. An unknown option is a warning
   with the nearest known name: files written for Swift carry options of parts we do not have.
"""

from __future__ import annotations

import contextvars
import dataclasses
import difflib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from miniswift.errors import ConfigError

logger = logging.getLogger(__name__)

S = TypeVar("S", bound="Settings")

# (file, section) being read, for the messages of factories that paste calls without telling them.
_place: contextvars.ContextVar[tuple[str, str]] = contextvars.ContextVar("place", default=("", ""))

# Options that any section may carry: paste's own, logging's and the server's.
EVERYWHERE = frozenset(
    [
        "use",
        "paste.filter_factory",
        "paste.app_factory",
        "paste.filter_app_factory",
        "set",
        "__file__",
        "here",
    ]
    + ["log_name", "log_level", "log_facility", "log_address", "log_headers", "log_udp_host", "log_udp_port"]
    + ["log_statsd_host", "log_statsd_port", "log_custom_handlers", "set log_name", "set log_level"]
    + ["set log_facility", "set log_address", "set log_headers", "nice_priority", "ionice_class"]
)


# --- casts: text → value, raising ValueError with what was expected -----------------------------


def text(value: str) -> str:
    return value.strip()


TRUE_WORDS = frozenset(["true", "1", "yes", "on", "t", "y"])


def is_true(value: str | None) -> bool:
    """Whether a header or a query parameter says yes. Anything else is no, and never an error."""
    return value is not None and value.strip().lower() in TRUE_WORDS


def boolean(value: str) -> bool:
    word = value.strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in ("false", "0", "no", "off", "f", "n", ""):
        return False
    raise ValueError("expected true or false")


def seconds(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError("expected a number of seconds") from None
    if not 0 <= number < math.inf:
        raise ValueError("expected a number of seconds, zero or more")
    return number


def count(value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        raise ValueError("expected a whole number") from None
    if number < 0:
        raise ValueError("expected a whole number, zero or more")
    return number


def positive(value: str) -> int:
    number = count(value)
    if not number:
        raise ValueError("expected a whole number, one or more")
    return number


def port(value: str) -> int:
    number = count(value)
    if number > 65535:
        raise ValueError("expected a port number, 0 to 65535")
    return number


def words(value: str) -> tuple[str, ...]:
    """A list separated by commas."""
    return tuple(word.strip() for word in value.split(",") if word.strip())


def spaced_words(value: str) -> tuple[str, ...]:
    """A list separated by white space or commas."""
    return tuple(value.replace(",", " ").split())


def workers(value: str) -> int:
    """A number of processes; `auto` is 0, one a core."""
    return 0 if value.strip().lower() == "auto" else count(value)


def bytes_or_percent(value: str) -> tuple[float, bool]:
    """(number, True if it is a percentage), as fallocate_reserve has it."""
    word = value.strip()
    try:
        number = float(word[:-1] if word.endswith("%") else word)
    except ValueError:
        raise ValueError("expected a number of bytes or a percentage") from None
    if not 0 <= number < math.inf or (word.endswith("%") and number > 100):
        raise ValueError("expected a number of bytes, or a percentage from 0% to 100%")
    return number, word.endswith("%")


# --- tables --------------------------------------------------------------------------------------


def option(
    cast: Callable[[str], Any],
    default: str,
    help: str,  # noqa: A002 - the word every options table uses
    *aliases: str,
    name: str = "",
) -> Any:
    """A field of a table. `default` is text as in a file; `name` when the option is no identifier."""
    return dataclasses.field(
        default_factory=lambda: cast(default),
        metadata={"cast": cast, "default": default, "help": help, "aliases": aliases, "name": name},
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """The base of every table."""

    @classmethod
    def from_conf(
        cls: type[S],
        conf: Mapping[str, str],
        own: Mapping[str, str] | None = None,
        also: tuple[str, ...] = (),
    ) -> S:
        """Read the table from `conf`; warn of unknown names in `own` (the section without defaults).

        `also` lists further names, or prefixes ending in `*`, that somebody else reads.
        Raises ConfigError for a bad value.
        """
        values: dict[str, Any] = {}
        for field, names in _options(cls):
            given = next((name for name in names if name in conf), None)
            if given is not None:
                values[field.name] = _cast(field.metadata["cast"], conf[given], given)
        if own is not None:
            _warn_of_unknown(cls, own, also)
        return cls(**values)


def _options(table: type[Settings]) -> Iterator[tuple[dataclasses.Field[Any], tuple[str, ...]]]:
    for field in dataclasses.fields(table):
        if "cast" in field.metadata:
            yield field, (field.metadata["name"] or field.name, *field.metadata["aliases"])


def option_names(table: type[Settings]) -> list[str]:
    """Every name that the table reads, aliases too."""
    return [name for _, names in _options(table) for name in names]


def sample(table: type[Settings], leave_out: frozenset[str] = frozenset()) -> str:
    """The table as commented lines of a conf file, each option at its default but those in `leave_out`."""
    lines: list[str] = []
    for field, names in _options(table):
        if names[0] in leave_out:
            continue
        lines += [f"# {field.metadata['help']}", f"# {names[0]} = {field.metadata['default']}".rstrip(), ""]
    return "\n".join(lines)


def _cast(cast: Callable[[str], Any], value: str, name: str) -> Any:
    try:
        return cast(value)
    except ValueError as error:
        file, section = _place.get()
        raise ConfigError(f"{error}, not {value!r}", file=file, section=section, option=name) from None


def _warn_of_unknown(table: type[Settings], own: Mapping[str, str], also: tuple[str, ...]) -> None:
    known = option_names(table)
    prefixes = tuple(name[:-1] for name in also if name.endswith("*"))
    for name in sorted(own):
        if name in known or name in EVERYWHERE or name in also or name.startswith(prefixes or ("\0",)):
            continue
        file, section = _place.get()
        nearest = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        logger.warning(
            "%s: [%s]: unknown option %s is ignored%s", file or "configuration", section, name, hint
        )


@contextmanager
def reading(file: str, section: str) -> Iterator[None]:
    """Tell messages about options where they stand."""
    token = _place.set((file, section))
    try:
        yield
    finally:
        _place.reset(token)


# --- what every server's [DEFAULT] has -------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ProcessSettings(Settings):
    """The options of [DEFAULT] in any server's file."""

    bind_ip: str = option(text, "0.0.0.0", "address to listen on")
    bind_port: int = option(port, "0", "port to listen on; the server's usual one when 0")
    bind_timeout: float = option(seconds, "30", "seconds to wait for the port to be free")
    backlog: int = option(positive, "4096", "connections that may wait to be accepted")
    workers: int = option(workers, "auto", "worker processes; auto is one a core")
    user: str = option(text, "", "user to run as when started by root; unchanged when empty")
    swift_dir: str = option(text, "/etc/swift", "folder of swift.conf and the rings")
    log_level: str = option(text, "INFO", "DEBUG, INFO, WARNING or ERROR")
    log_name: str = option(text, "miniswift", "name in front of each log line")
