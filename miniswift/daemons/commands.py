"""The commands `miniswift updater`, …: a daemon in the foreground, or one pass of it.

`miniswift serve` runs all of them unless it is told not to. A stand-alone server's daemons are started by
these commands, each with the server's conf file, of which it reads its own section.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

from miniswift import daemons, logs
from miniswift.concurrency import restart_hub_after_fork
from miniswift.daemons import Daemon
from miniswift.errors import ConfigError
from miniswift.pipeline import read_section, section_names


@dataclasses.dataclass(frozen=True)
class Kind:
    """A daemon, or those of several servers that are one to the user."""

    name: str
    help: str
    # Sections of conf files, and the module:function that makes a daemon of such a file.
    parts: Sequence[tuple[str, str]]

    @property
    def sections(self) -> list[str]:
        return list(dict(self.parts))

    def of_root(self, root: Path) -> list[Daemon]:
        """The daemons of an installation. Raises ConfigError."""
        return [_make(_conf_of(root, section), function) for section, function in self.parts]

    def of_confs(self, confs: Sequence[Path]) -> list[Daemon]:
        """A daemon for each of our sections in the files. Raises ConfigError."""
        made = []
        for conf in confs:
            named = section_names(conf)
            found = [_make(conf, function) for section, function in self.parts if section in named]
            if not found:
                sections = " or ".join(f"[{section}]" for section in self.sections)
                raise ConfigError(f"has no section {sections}, which the {self.name} needs", file=str(conf))
            made += found
        return made


KINDS = (
    Kind(
        "updater",
        "deliver what servers could not tell containers, and what containers could not tell accounts",
        [("object-updater", "miniswift.daemons.updater:make_updater")],
    ),
    Kind(
        "expirer",
        "remove the objects whose time (X-Delete-At) has come",
        [("object-expirer", "miniswift.daemons.expirer:make_expirer")],
    ),
    Kind(
        "auditor",
        "look for damaged objects and databases, and quarantine them",
        [
            ("account-auditor", "miniswift.daemons.database_auditor:make_account_auditor"),
            ("container-auditor", "miniswift.daemons.database_auditor:make_container_auditor"),
            ("object-auditor", "miniswift.daemons.auditor:make_zero_byte_auditor"),
            ("object-auditor", "miniswift.daemons.auditor:make_auditor"),
        ],
    ),
    Kind(
        "reaper",
        "empty the accounts that were deleted",
        [("account-reaper", "miniswift.daemons.reaper:make_reaper")],
    ),
)
NAMES = tuple(kind.name for kind in KINDS)


def add_arguments(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare a command for each daemon below a command line's subparsers."""
    for kind in KINDS:
        parser = subparsers.add_parser(kind.name, help=kind.help, description=f"To {kind.help}.")
        parser.add_argument(
            "conf",
            nargs="*",
            type=Path,
            metavar="CONF",
            help="the stand-alone server's conf file, with a section "
            + " or ".join(f"[{section}]" for section in kind.sections),
        )
        parser.add_argument(
            "--root",
            type=Path,
            default=Path("miniswift-data"),
            metavar="DIR",
            help="without CONF: the folder of `miniswift serve` (default: ./miniswift-data)",
        )
        parser.add_argument("--once", action="store_true", help="one pass, then end")
        parser.add_argument("--verbose", "-v", action="store_true", help="log DEBUG lines too")
        parser.set_defaults(run=run, kind=kind)


def run(options: argparse.Namespace) -> int:
    """Run a daemon until SIGTERM, or once; the exit status. Raises ConfigError."""
    kind: Kind = options.kind
    confs = options.conf or [_conf_of(options.root, section) for section in kind.sections]
    logs.setup(read_section(confs[0]) | ({"log_level": "DEBUG"} if options.verbose else {}), kind.name)
    made = kind.of_confs(options.conf) if options.conf else kind.of_root(options.root)
    if not options.once:
        daemons.run_forever(made)
        return 0
    for daemon in made:
        daemon.progress_interval_s = 2.0
    return 0 if daemons.run_once(made) else 1


def run_of_root(kind: Kind, root: Path) -> None:
    """Run an installation's daemon until SIGTERM: the main of a child process."""
    restart_hub_after_fork()
    daemons.run_forever(kind.of_root(root))


def _make(conf: Path, function: str) -> Daemon:
    module, _, name = function.partition(":")
    maker: Callable[[str], Daemon] = getattr(importlib.import_module(module), name)
    return maker(str(conf))


def _conf_of(root: Path, section: str) -> Path:
    """The file that has a section in an installation: that of the server it works for."""
    return root / "etc" / f"{section.partition('-')[0]}-server.conf"
