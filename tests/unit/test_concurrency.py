"""Green threads keep to those who asked for them."""

from __future__ import annotations

import subprocess
import sys


def test_import_leaves_the_standard_library_as_it_is() -> None:
    code = "import miniswift.concurrency, http.client, socket; print(http.client.socket is socket)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
