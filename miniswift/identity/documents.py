"""Documents: nested objects from JSON or YAML, read by name and checked while reading.

A `Document` wraps one object and knows its place in the whole, so that every complaint says where:
`auth.identity.methods must be a list`. An entry that is null counts as absent.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from miniswift.errors import MiniswiftError

_KINDS = {bool: "a truth value", int: "a number", float: "a number", list: "a list", dict: "an object"}


class DocumentError(MiniswiftError, ValueError):
    """Raised when an entry is missing or is not of the kind it must be. Says which, never its value."""


class Document:
    """An object whose entries are fetched with the type they must have."""

    __slots__ = ("_entries", "place")

    def __init__(self, value: object, place: str = "") -> None:
        """Wrap `value`, found at `place` of a larger document. Raises DocumentError if it is no object."""
        if not isinstance(value, Mapping):
            raise DocumentError(f"{place or 'the document'} must be an object")
        self._entries: Mapping[Any, Any] = value
        self.place = place

    def __contains__(self, name: str) -> bool:
        return self._entries.get(name) is not None

    def at(self, name: str) -> str:
        """The place of an entry, for messages."""
        return f"{self.place}.{name}" if self.place else name

    def value(self, name: str) -> Any:
        if name not in self:
            raise DocumentError(f"{self.at(name)} is missing")
        return self._entries[name]

    def text(self, name: str) -> str:
        return _as_text(self.value(name), self.at(name))

    def get_text(self, name: str, default: str = "") -> str:
        return self.text(name) if name in self else default

    def get_flag(self, name: str, default: bool) -> bool:
        if name not in self:
            return default
        value = self.value(name)
        if not isinstance(value, bool):
            raise DocumentError(f"{self.at(name)} must be true or false")
        return value

    def object(self, name: str) -> Document:
        return Document(self.value(name), self.at(name))

    def get_object(self, name: str) -> Document:
        """As `object`; an absent one is empty."""
        return self.object(name) if name in self else Document({}, self.at(name))

    def texts(self, name: str) -> list[str]:
        values = self._list(name)
        return [_as_text(value, f"{self.at(name)}[{index}]") for index, value in enumerate(values)]

    def objects(self, name: str) -> list[Document]:
        values = self._list(name)
        return [Document(value, f"{self.at(name)}[{index}]") for index, value in enumerate(values)]

    def names(self) -> list[str]:
        """The names of all entries. Raises DocumentError for one that is not text."""
        return [_as_text(name, f"a name in {self.place or 'the document'}") for name in self._entries]

    def check_names(self, known: Collection[str]) -> None:
        """Raise DocumentError for an entry that nobody reads: most often a misspelt name."""
        for name in self.names():
            if name not in known:
                nearest = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {nearest[0]}?" if nearest else f"; known are {', '.join(known)}"
                raise DocumentError(f"{self.at(name)} means nothing here{hint}")

    def _list(self, name: str) -> list[Any]:
        value = self.value(name) if name in self else []
        if not isinstance(value, list):
            raise DocumentError(f"{self.at(name)} must be a list")
        return value


def _as_text(value: object, place: str) -> str:
    if not isinstance(value, str):
        # In YAML, 12 and yes without quotes are no text: saying what they are taken for helps.
        raise DocumentError(f"{place} must be text, not {_KINDS.get(type(value), 'something else')}")
    # JSON can spell half of a surrogate pair, which no encoding can carry on.
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise DocumentError(f"{place} must be well-formed Unicode")
    return value
