"""One life, from the making of an account to its end, in the order in which it is told."""

from __future__ import annotations

from tests.interop import container_life, object_life
from tests.interop.teller import Chapter

CHAPTERS: tuple[Chapter, ...] = (
    container_life.account,
    container_life.container,
    container_life.policies,
    container_life.access,
    container_life.listings,
    object_life.uploads,
    object_life.downloads,
    object_life.metadata,
    object_life.copies,
    object_life.unicode_names,
    object_life.expiry,
    object_life.conflicts,
    container_life.deletion,
)
