"""Backoff: exponential, jittered, capped, and never below what the provider asked for."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from scheduler.policy import Policy, backoff_s

attempts = st.integers(1, 10_000)
dice = st.integers().map(Random)
lengths = st.floats(min_value=0, max_value=1e6)


@given(attempts, dice, lengths, lengths)
def test_backoff_stays_between_zero_and_the_cap(attempt: int, rng: Random, base_s: float, max_s: float) -> None:
    wait_s = backoff_s(Policy(backoff_base_s=base_s, backoff_max_s=max_s), attempt, rng)
    assert 0 <= wait_s <= max_s
    assert wait_s <= base_s * 2.0 ** min(attempt - 1, 60)


@given(attempts, dice, lengths)
def test_a_retry_after_is_never_undercut(attempt: int, rng: Random, floor_s: float) -> None:
    policy = Policy()
    assert floor_s <= backoff_s(policy, attempt, rng, floor_s) <= floor_s + policy.backoff_max_s


def test_the_bound_doubles_with_each_attempt_up_to_the_cap() -> None:
    class Highest(Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    bounds = [backoff_s(Policy(), attempt, Highest()) for attempt in range(1, 11)]
    assert bounds == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_jitter_is_full_and_even() -> None:
    waits = [backoff_s(Policy(), 3, rng) for rng in [Random(5)] for _ in range(4_000)]
    assert min(waits) < 0.1
    assert max(waits) > 7.9
    assert 3.8 < sum(waits) / len(waits) < 4.2


def test_a_base_of_zero_retries_at_once() -> None:
    assert backoff_s(Policy(backoff_base_s=0), 9, Random(1)) == 0


def test_the_defaults_are_those_that_are_documented() -> None:
    policy = Policy()
    assert (policy.max_attempts, policy.backoff_base_s, policy.backoff_max_s) == (3, 2, 300)
    assert (policy.rate_limit_pause_s, policy.give_up_after_s, policy.max_crashes) == (60, 86_400, 3)
