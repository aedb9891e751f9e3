"""Tests that cannot pass yet, by the feature they need; nothing else may fail.

Most tests of a filter that is not there skip themselves, as /info does not name it; the others stand here.
Names are as the report prints them, with shell-style wildcards.
"""

from __future__ import annotations

KNOWN: dict[str, str] = {}
