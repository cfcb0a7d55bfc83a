"""The limit as 429s alone show it: search by halves, then what was let in between two rejections, then small steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.blind import SEARCH_EVERY_S, SEARCH_FACTOR, SPAN_CALLS, SPAN_S, START_PACE, STEP, STEP_EVERY_S, STEP_MAX, Blind
from tests.support.jobs import T0


def driven(limit: float, burst_s: float, for_s: float, *, change: float = 1.0) -> tuple[Blind, float, float]:
    """A blind pace against a bucket of ``limit`` calls a second, which is ``change`` times that in the second half, with a caller who
    always has more to do. Returns it with the shares of the quota used and of calls rejected in the last quarter.
    """
    blind, now, left, at = Blind(pace=limit), T0, 0.0, T0
    blind.began(now)
    let_in = rejected = 0
    while now < T0 + for_s:
        now += 1.0 / blind.pace
        rate = limit * (change if now > T0 + for_s / 2 else 1.0)
        left, at = min(max(1.0, rate * burst_s), left + (now - at) * rate), now
        counts = now > T0 + 0.75 * for_s
        if left >= 1.0:
            left -= 1.0
            blind.let_in += 1.0
            let_in += counts
            blind.grow(now)
        else:
            rejected += counts
            blind.rejected(now)
            now += 2.0 / limit
            blind.resumed(now)
    return blind, let_in / (limit * change * 0.25 * for_s), rejected / max(let_in + rejected, 1)


def after_a_rejection(pace: float) -> Blind:
    blind = Blind(pace=pace)
    blind.began(T0)
    blind.rejected(T0 + 1.0)
    return blind


class TestSearching:
    def test_it_grows_only_while_calls_wait_and_not_too_often(self) -> None:
        blind = Blind()
        blind.began(T0)
        assert not blind.grow(T0 + SEARCH_EVERY_S * 0.9)
        assert blind.grow(T0 + SEARCH_EVERY_S)
        assert blind.pace == START_PACE * SEARCH_FACTOR
        assert not blind.grow(T0 + SEARCH_EVERY_S * 1.5)

    def test_the_first_rejection_ends_the_search_below_where_it_was(self) -> None:
        blind = Blind(pace=50.0)
        blind.began(T0)
        blind.rejected(T0 + 1.0)
        assert not blind.searching
        assert START_PACE <= blind.pace < 50.0


class TestMeasuring:
    @pytest.mark.parametrize("limit", [0.5, 10.0, 100.0])
    @pytest.mark.parametrize("burst_s", [1.0, 10.0, 60.0])
    def test_it_comes_to_the_limit_and_is_hardly_ever_rejected(self, limit: float, burst_s: float) -> None:
        blind, share, rejected = driven(limit, burst_s, max(3_600.0, 600.0 / limit))
        assert blind.pace == pytest.approx(limit, rel=0.25)
        assert share > 0.85
        assert rejected < 0.05

    @pytest.mark.parametrize(("span_s", "let_in"), [(SPAN_S / 2, 1e6), (SPAN_S * 2, SPAN_CALLS / 2)])
    def test_little_seen_is_not_measured(self, span_s: float, let_in: float) -> None:
        blind = Blind(pace=10.0, searching=False, rejected_at=T0)
        blind.resumed(T0)
        blind.let_in = let_in
        blind.rejected(T0 + span_s)
        assert 5.0 < blind.pace < 10.0

    @given(
        st.floats(0.01, 100.0),
        st.lists(st.tuples(st.floats(0.001, 200.0), st.floats(-0.1, 1.0), st.booleans()), min_size=1, max_size=50),
    )
    def test_a_rejection_never_speeds_up_and_the_pace_stays_a_positive_number(
        self, pace: float, moves: list[tuple[float, float, bool]]
    ) -> None:
        blind, now = Blind(pace=pace), T0
        blind.began(now)
        for gap, used, resumes in moves:
            now += gap
            blind.let_in += used * gap * blind.pace
            before = blind.pace
            blind.rejected(now)
            assert 0.0 < blind.pace <= max(before, 1e-4)
            assert math.isfinite(blind.pace)
            if resumes:
                blind.resumed(now)


class TestSteps:
    def test_after_a_measurement_steps_are_small_and_grow_up_to_a_bound(self) -> None:
        blind, now = after_a_rejection(10.0), T0 + 1_000.0
        blind.resumed(now)
        steps = []
        for _ in range(40):
            now += STEP_EVERY_S
            before = blind.pace
            assert blind.grow(now)
            steps.append(blind.pace / before - 1.0)
        assert steps[0] == pytest.approx(STEP)
        assert steps == sorted(steps)
        assert steps[-1] == pytest.approx(STEP_MAX)

    def test_a_rejection_makes_steps_small_again(self) -> None:
        blind, now = after_a_rejection(10.0), T0 + 1_000.0
        for _ in range(20):
            now += STEP_EVERY_S
            blind.grow(now)
        blind.rejected(now)
        assert blind.step == STEP

    def test_it_does_not_step_right_after_calls_flow_again(self) -> None:
        blind = after_a_rejection(10.0)
        blind.resumed(T0 + 1_000.0)
        assert not blind.grow(T0 + 1_000.0 + STEP_EVERY_S * 0.5)

    @pytest.mark.parametrize("change", [0.5, 2.0])
    def test_a_limit_that_changes_is_followed_both_ways(self, change: float) -> None:
        blind, share, rejected = driven(10.0, 10.0, 3_600.0, change=change)
        assert blind.pace == pytest.approx(10.0 * change, rel=0.25)
        assert share > 0.85
        assert rejected < 0.05

    def test_a_clock_that_was_set_moves_all_of_it(self) -> None:
        blind = Blind()
        blind.began(T0)
        blind.shift(-1e7)
        assert not blind.grow(T0 - 1e7 + 1.0)
        assert blind.grow(T0 - 1e7 + SEARCH_EVERY_S)
