"""Tests that cannot pass yet, by the feature they need; nothing else may fail.

Most tests of a missing filter skip themselves, as /info does not tell of it; only the others stand here.
"""

from __future__ import annotations

KNOWN: dict[str, str] = {}
