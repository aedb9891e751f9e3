"""SIGKILL to every process under a mixed load: what was acknowledged is there afterwards, whole and listed.

`make crash` does the same for longer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.run import LAYOUTS, Trial
from tests.functional.cluster import ServeProcess

CRASHES = 2
MOMENTS = (0.3, 1.0)  # seconds of load before a crash


@pytest.fixture(params=LAYOUTS)
def trial(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Trial]:
    devices, replicas = LAYOUTS[request.param]
    with ServeProcess(scratch / request.param, devices=devices, replicas=replicas) as process:
        yield Trial(process, replicas, random.getrandbits(32), MOMENTS)


@pytest.mark.slow
def test_acknowledged_writes_survive_kill_9_of_every_process(trial: Trial) -> None:
    for _ in range(CRASHES):
        problems = trial.crash()
        assert not problems, f"seed {trial.seed}"
    assert trial.answers["PUT 201"]
    assert trial.end() == []
