"""The sample configuration files in `etc/`, written from the tables that read them.

    python -m miniswift.samples etc

Each section shows every option at its default, commented, with one line on what it means; so a sample
cannot disagree with the code, and a test sees to it that `etc/` is what this module writes.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import textwrap
from pathlib import Path

from miniswift.config import ProcessSettings, Settings, option_names, sample

# Where the tables of a section are: module, colon, name.
_FILTERS = (
    ("catch_errors", "catch_errors", ()),
    ("gatekeeper", "gatekeeper", ()),
    ("healthcheck", "healthcheck", ()),
    ("proxy-logging", "proxy_logging", ()),
    ("cache", "memcache", ()),
    ("listing_formats", "listing_formats", ()),
    ("authtoken", "authtoken", ()),
    ("keystoneauth", "keystoneauth", ()),
    ("tempauth", "tempauth", ()),
    ("copy", "copy", ()),
)


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a sample: the lines that are in force, then the tables of options."""

    name: str
    lines: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    about: str = ""

    def render(self) -> str:
        parts = [textwrap.indent(textwrap.fill(self.about, 90), "# ")] if self.about else []
        parts += [f"[{self.name}]", *self.lines, ""]
        shown: set[str] = set()
        for table in map(_load, self.tables):
            parts.append(sample(table, leave_out=frozenset(shown)))
            shown.update(option_names(table))
        return "\n".join(parts).rstrip() + "\n"


def _load(where: str) -> type[Settings]:
    module, _, name = where.partition(":")
    table = getattr(importlib.import_module(module), name)
    assert issubclass(table, Settings)
    return table


_PROCESS = ("miniswift.config:ProcessSettings", "miniswift.server:ServerSettings")


def _server(kind: str, port: int, tables: tuple[str, ...], *more: Section) -> list[Section]:
    return [
        Section("DEFAULT", (f"bind_port = {port}",), _PROCESS),
        Section("pipeline:main", (f"pipeline = healthcheck {kind}-server",)),
        Section(f"app:{kind}-server", (f"use = egg:miniswift#{kind}",), tables),
        Section("filter:healthcheck", ("use = egg:miniswift#healthcheck",), _filter_tables("healthcheck")),
        *more,
    ]


def _filter_tables(name: str) -> tuple[str, ...]:
    module = importlib.import_module(f"miniswift.middleware.{name}")
    return tuple(f"{module.__name__}:{table}" for table in getattr(module, "TABLES", ()))


def samples() -> dict[str, str]:
    """File name → text, for every sample."""
    filters = [
        Section(f"filter:{name}", (f"use = egg:miniswift#{entry}",), _filter_tables(entry))
        for name, entry, _ in _FILTERS
    ]
    pipeline = (
        "pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats authtoken",
        "    keystoneauth copy proxy-logging proxy-server",
    )
    files = {
        "proxy-server.conf": [
            Section("DEFAULT", ("bind_port = 8080",), _PROCESS),
            Section("pipeline:main", pipeline, about="Outermost first. tempauth replaces authtoken keystoneauth."),
            Section(
                "app:proxy-server",
                ("use = egg:miniswift#proxy", "account_autocreate = true"),
                ("miniswift.proxy.settings:ProxySettings",),
            ),
            *filters,
        ],
    }
    return {name: "\n".join(section.render() for section in sections) for name, sections in files.items()}


def main(folder: str) -> None:
    """Write every sample into `folder`."""
    for name, text in samples().items():
        (Path(folder) / name).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])

__all__ = ["ProcessSettings", "Section", "main", "samples"]
