"""Pipelines: a proxy-server.conf made into a WSGI application.

The file is Swift's, read by PasteDeploy. Three things are added to what paste does:

1. `use = egg:swift#NAME` means our filter of that name, where we have it and `[DEFAULT]
   prefer_miniswift` (default true) does not say otherwise; `egg:miniswift#NAME` is the native spelling.
2. A filter that the proxy cannot do without is inserted where it belongs, with a log line.
3. A bad option is reported with its file, section and name.

Not here: servers and workers (supervisor), the options themselves (each filter's Settings).
"""

from __future__ import annotations

import configparser
import importlib.metadata
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from paste.deploy import loadwsgi

from miniswift.config import Settings, boolean, reading
from miniswift.errors import ConfigError
from miniswift.wsgi import WSGIApp

S = TypeVar("S", bound=Settings)

logger = logging.getLogger(__name__)

_SWIFT_EGG = re.compile(r"egg:swift#(\w[\w.-]*)")

_OUTSIDE_COPY = ("catch_errors", "gatekeeper", "authtoken", "tempauth", "keystoneauth", "staticweb")
# A filter that must be there, and the filters that it must stand behind, as Swift has it (whose proxy does
# itself what cors does).
_REQUIRED = (
    ("catch_errors", ()),
    ("gatekeeper", ("catch_errors",)),
    ("cors", ("catch_errors", "gatekeeper", "healthcheck", "proxy_logging", "memcache", "cache")),
    ("listing_formats", ("catch_errors", "gatekeeper", "proxy_logging", "memcache", "cache")),
    ("copy", _OUTSIDE_COPY),
    ("dlo", (*_OUTSIDE_COPY, "copy", "proxy_logging")),
    ("versioned_writes", (*_OUTSIDE_COPY, "copy", "slo", "dlo", "proxy_logging")),
)


def load_app(conf_file: str | Path, name: str = "main", global_conf: dict[str, str] | None = None) -> WSGIApp:
    """The application that [pipeline:NAME] or [app:NAME] of a file describes. Raises ConfigError."""
    loader = _Loader(str(conf_file))
    context = loader.get_context(loadwsgi.APP, name, global_conf or {})
    if context.object_type is not loadwsgi.PIPELINE:
        app: WSGIApp = _create(context, str(conf_file))
        return app
    filters = list(context.filter_contexts)
    if context.app_context.entry_point_name == "proxy":
        filters = [*_with_required(loader, filters, str(conf_file))]
    return _compose(context.app_context, filters, str(conf_file))


def _compose(app_context: Any, filter_contexts: list[Any], file: str) -> WSGIApp:
    final = _create(app_context, file)
    app: WSGIApp = final
    logging_app: Any = None
    made: list[Any] = []
    for context in reversed(filter_contexts):
        make_filter = _create(context, file)
        if logging_app is None and _filter_name(context) == "proxy_logging":
            logging_app = make_filter(final)
            _introduce([logging_app, final], logging_app)
        app = make_filter(app)
        made.insert(0, app)
    _introduce([*made, final], logging_app or final)
    logger.debug("pipeline of %s: %s", file, " ".join(map(_filter_name, filter_contexts)))
    return app


def _introduce(pipeline: list[Any], logging_app: Any) -> None:
    """Tell each part what Swift's filters look for on themselves: who else is there.

    They send their own questions about accounts and containers to `logging_app`: the proxy with nothing but
    an access log in front, so that no filter changes what they ask for.
    """
    for part in pipeline:
        if hasattr(part, "__dict__"):  # an application without attributes goes without
            part._pipeline = pipeline
            part._pipeline_final_app = pipeline[-1]
            part._pipeline_request_logging_app = logging_app


def _create(context: Any, file: str) -> Any:
    section = context.section
    with reading(file, section):
        try:
            return context.create()
        except ConfigError as error:
            raise error.within(file=file, section=section) from None


def _with_required(loader: _Loader, filters: list[Any], file: str) -> Iterator[Any]:
    contexts = list(filters)
    for name, predecessors in _REQUIRED:
        names = [_filter_name(context) for context in contexts]
        if name in names:
            continue
        # A predecessor that comes twice (proxy_logging does) counts where it comes first.
        after = [names.index(other) for other in predecessors if other in names]
        position = max(after) + 1 if after else 0
        contexts.insert(position, loader.get_context(loadwsgi.FILTER, f"egg:miniswift#{name}", {}))
        logger.info("%s: filter %s is missing in the pipeline and was inserted", file, name)
    yield from contexts


def _filter_name(context: Any) -> str:
    """The entry point that a filter comes from; one given as package.module:factory has none."""
    return str(context.entry_point_name or context.section)


class _Loader(loadwsgi.ConfigLoader):  # type: ignore[misc]
    """Paste's loader of a file, with Swift's names for our parts."""

    def __init__(self, file: str) -> None:
        if not Path(file).is_file():
            raise ConfigError("is not there or is no file", file=file)
        try:
            super().__init__(file)
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}", file=file) from None
        ours = _our_names()
        prefer = self._prefers_miniswift()
        for section in self.parser.sections():
            if not self.parser.has_option(section, "use"):
                continue
            use = self.parser.get(section, "use")
            match = _SWIFT_EGG.fullmatch(use.strip())
            if match and match[1] in ours and (prefer or not _has_swift()):
                self.parser.set(section, "use", f"egg:miniswift#{match[1]}")

    def get_context(self, object_type: Any, name: str | None = None, global_conf: Any = None) -> Any:
        """Paste's context, which also knows the section it came from. Raises ConfigError."""
        if self.absolute_name(name):
            context = super().get_context(object_type, name, global_conf)
            context.section = str(name)
            return context
        section = str(name)
        try:
            section = self.find_config_section(object_type, name)
            context = super().get_context(object_type, name, global_conf)
        except (LookupError, ImportError) as error:
            raise ConfigError(self._explain(section, error), file=self.filename, section=section) from None
        context.section = section
        return context

    def _explain(self, section: str, error: Exception) -> str:
        use = self.parser.get(section, "use", fallback="") if self.parser.has_section(section) else ""
        if use.startswith("egg:swift#") and not _has_swift():
            return f"{use} is no filter of miniswift's own, and the swift package is not installed"
        return str(error)

    def _prefers_miniswift(self) -> bool:
        return boolean(self.parser.defaults().get("prefer_miniswift", "true"))


def _our_names() -> set[str]:
    entry_points = importlib.metadata.distribution("miniswift").entry_points
    return {entry.name for entry in entry_points if entry.group.startswith("paste.")}


def _has_swift() -> bool:
    try:
        importlib.metadata.distribution("swift")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def section_names(conf_file: str | Path) -> list[str]:
    """The sections of a file, but [DEFAULT]. Raises ConfigError."""
    return _parsed(conf_file).sections()


def read_section(
    conf_file: str | Path, section: str = "DEFAULT", *, is_optional: bool = False
) -> dict[str, str]:
    """The options of one section (with those of [DEFAULT]) as text. Raises ConfigError.

    One that `is_optional` and missing has those of [DEFAULT].
    """
    parser = _parsed(conf_file)
    if section == "DEFAULT" or (is_optional and not parser.has_section(section)):
        return dict(parser.defaults())
    if not parser.has_section(section):
        raise ConfigError("this section is missing", file=str(conf_file), section=section)
    return dict(parser[section])


def read_settings(table: type[S], conf_file: str | Path, section: str) -> S:
    """A section's table, of [DEFAULT] alone where a file lacks the section. Raises ConfigError."""
    with reading(str(conf_file), section):
        return table.from_conf(read_section(conf_file, section, is_optional=True))


def _parsed(conf_file: str | Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(Path(conf_file).read_text(), str(conf_file))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(conf_file)) from None
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=str(conf_file)) from None
    return parser
