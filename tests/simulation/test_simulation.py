"""A few dozen random days; ``python -m tests.simulation.simulate --seeds N`` lives through thousands."""

from __future__ import annotations

import pytest

from tests.simulation.simulate import simulate
from tests.support.checker import Evidence


@pytest.mark.parametrize("first", range(0, 18, 3))
def test_no_rule_is_broken_on_any_of_these_days_and_everything_ends(first: int) -> None:
    for seed in range(first, first + 3):
        violations, evidence = simulate(seed)
        assert violations == [], f"seed {seed}"
        assert len(evidence.jobs) > 60


def test_a_seed_decides_everything() -> None:
    """Or a failure could not be replayed."""

    def story(evidence: Evidence) -> list[object]:
        numbers: dict[object, int] = {}
        return [
            (row["kind"], numbers.setdefault(row.get("job_id"), len(numbers)), row.get("was"), row.get("now"), row.get("started_us"))
            for row in evidence.audit
        ]

    assert story(simulate(7)[1]) == story(simulate(7)[1])
    assert story(simulate(7)[1]) != story(simulate(8)[1])


def test_the_days_together_see_every_status_and_every_kind_of_end() -> None:
    evidence = [simulate(seed)[1] for seed in range(50, 56)]
    statuses = {row["now"] for day in evidence for row in day.audit if row["kind"] == "move"}
    assert statuses >= {
        "processing",
        "rate_limited",
        "retry_ai",
        "completed",
        "failed_ai",
        "failed_job_logic",
        "failed_timeout",
        "cancelled",
        "pending",
    }
    reasons = {row["reason"] for day in evidence for row in day.audit if row["kind"] == "move"}
    assert reasons >= {
        "rate_limited",
        "overloaded",
        "provider_error",
        "refused",
        "handler_error",
        "timeout",
        "interrupted",
        "worker_lost",
        "cancelled",
    }
