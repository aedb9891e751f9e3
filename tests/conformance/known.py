"""Tests that cannot pass yet, by the feature they need; nothing else may fail.

Most tests of a filter that is not there skip themselves, as /info does not name it; the others stand here.
Names are as the report prints them, with shell-style wildcards.
"""

from __future__ import annotations

_NO_DLO = "there is no filter dlo yet: a manifest's GET answers the manifest"

KNOWN: dict[str, str] = {
    "test_object.py::TestObject::test_manifest": _NO_DLO,
    **{
        f"test_dlo.py::TestDlo*::{test}": _NO_DLO
        for test in (
            "test_copy*",
            "test_dlo_post_with*",
            "test_dlo_referer_on_segment_container",
            "test_get_manifest",
            "test_get_multiple_ranges",
            "test_get_range*",
        )
    },
}
