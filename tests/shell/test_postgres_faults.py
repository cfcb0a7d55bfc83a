"""Workers, server and the way between them fail under load: nothing acknowledged is lost, recorded twice or stuck."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.job import TERMINAL
from tests.simulation.postgres_campaign import run_fault
from tests.support.own_postgres import OwnServer, own_server

pytestmark = pytest.mark.slow

#: Set it to replay a run; the message of a failure says which.
SEED = int(os.environ.get("FAULT_SEED", random.SystemRandom().randrange(10_000)))


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server() as made:
        yield made


#: A taste; the campaign (`python -m tests.simulation.postgres_campaign`) goes on for longer.
@pytest.mark.parametrize(("fault", "rounds"), [("kills", 4), ("restarts", 2), ("cuts", 3), ("answers", 2), ("partitions", 1)])
def test_no_rule_is_broken(tmp_path: Path, server: OwnServer, fault: str, rounds: int) -> None:
    report = run_fault(fault, tmp_path, server, rounds=rounds, seed=SEED)
    assert report.violations == [], f"FAULT_SEED={SEED}: " + "\n".join(report.lines())
    assert report.hit >= max(1, rounds // 3), "the faults must hit running jobs"
    assert report.acknowledged >= 10 * rounds, "there must be load"
    assert set(report.statuses) <= {str(status) for status in TERMINAL}
