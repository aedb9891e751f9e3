"""The samples under etc/ are what the code reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from miniswift.pipeline import read_section
from miniswift.samples import samples

ETC = Path(__file__).parents[2] / "etc"


@pytest.mark.parametrize("name", sorted(samples()))
def test_a_sample_is_up_to_date(name):
    assert (ETC / name).read_text() == samples()[name], "run: python -m miniswift.samples etc"


@pytest.mark.parametrize("name", sorted(samples()))
def test_a_sample_can_be_read_with_every_option_uncommented(name, tmp_path):
    lines = []
    for line in samples()[name].splitlines():
        is_option = line.startswith("# ") and " = " in line and " " not in line[2:].partition(" = ")[0]
        lines.append(line[2:] if is_option else line)
    file = tmp_path / name
    file.write_text("\n".join(lines))
    read_section(file)
    assert len(lines) > 10


def test_the_proxys_sample_shows_its_options():
    text = samples()["proxy-server.conf"]
    assert "# node_timeout = 10\n" in text
    assert "# operator_roles = admin, swiftoperator\n" in text
