"""kill -9 at random moments under load: nothing acknowledged is lost, nothing is recorded twice, nothing is stuck."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from scheduler.job import TERMINAL
from tests.simulation.kill_campaign import campaign

#: Set it to replay a run; the message of a failure says which.
SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10_000)))


@pytest.mark.slow
@pytest.mark.parametrize(("rounds", "services"), [(15, 1), (12, 2)])
def test_no_rule_is_broken_by_services_that_are_killed_again_and_again_under_load(tmp_path: Path, rounds: int, services: int) -> None:
    report = campaign(tmp_path, rounds=rounds, seed=SEED, services=services)
    assert report.violations == [], f"KILL_SEED={SEED}: " + "\n".join(report.lines())
    assert report.killed_running >= rounds // 3, "the kills must hit running jobs"
    assert report.acknowledged >= 20 * rounds, "there must be load"
    assert set(report.statuses) <= {str(status) for status in TERMINAL}
