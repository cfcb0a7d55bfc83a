"""The limit as 429s alone show it: search by halves, then what was let in between two rejections, then small steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.blind import SEARCH_EVERY_S, SEARCH_FACTOR, SPAN_CALLS, SPAN_S, START_PACE, STEP, STEP_EVERY_S, STEP_MAX, Blind
from tests.support.jobs import T0


def settled(limit: float) -> Blind:
    """After two rejections with nothing but ``limit`` calls a second let in between."""
    blind = Blind(pace=limit * 1.3, searching=False, rejected_at=T0)
    blind.resumed(T0)
    span_s = 2 * max(SPAN_S, SPAN_CALLS / limit)
    blind.let_in = limit * span_s
    blind.rejected(T0 + span_s)
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
    @given(st.floats(min_value=0.05, max_value=500.0))
    def test_what_was_let_in_between_two_rejections_is_the_limit(self, limit: float) -> None:
        assert settled(limit).pace == pytest.approx(limit, rel=0.05)
        assert settled(limit).pace <= limit

    @given(st.floats(min_value=0.05, max_value=500.0), st.floats(min_value=0.0, max_value=1.0))
    def test_short_pauses_between_count_as_time_of_the_provider(self, limit: float, paused_s: float) -> None:
        blind = Blind(pace=limit * 1.3, searching=False, rejected_at=T0)
        blind.resumed(T0 + paused_s)
        span_s = 10 * max(SPAN_S, SPAN_CALLS / limit)
        blind.let_in = limit * (span_s + paused_s)
        blind.rejected(T0 + paused_s + span_s)
        assert blind.pace == pytest.approx(limit, rel=0.05)

    def test_after_a_long_pause_the_truth_lies_between(self) -> None:
        blind = Blind(pace=20.0, searching=False, rejected_at=T0)
        blind.resumed(T0 + 60.0)
        blind.let_in = 60 * 10.0
        blind.rejected(T0 + 60.0 + 60.0)
        assert 5.0 * 0.9 < blind.pace < 10.0

    @pytest.mark.parametrize(("span_s", "let_in"), [(SPAN_S / 2, 1e6), (SPAN_S * 2, SPAN_CALLS / 2)])
    def test_little_seen_is_not_measured(self, span_s: float, let_in: float) -> None:
        blind = Blind(pace=10.0, searching=False, rejected_at=T0)
        blind.resumed(T0)
        blind.let_in = let_in
        blind.rejected(T0 + span_s)
        assert 5.0 < blind.pace < 10.0

    @given(
        st.floats(0.01, 100.0),
        st.lists(st.tuples(st.floats(0.0, 200.0), st.floats(-5.0, 5_000.0), st.booleans()), min_size=1, max_size=50),
    )
    def test_a_rejection_never_speeds_up_and_the_pace_stays_a_positive_number(
        self, pace: float, moves: list[tuple[float, float, bool]]
    ) -> None:
        blind, now = Blind(pace=pace), T0
        blind.began(now)
        for gap, let_in, resumes in moves:
            now += gap
            blind.let_in += let_in
            before = blind.pace
            blind.rejected(now)
            assert 0.0 < blind.pace <= max(before, 1e-4)
            assert math.isfinite(blind.pace)
            if resumes:
                blind.resumed(now)


class TestSteps:
    def test_after_a_measurement_steps_are_small_and_grow_up_to_a_bound(self) -> None:
        blind, now = settled(10.0), T0 + 1_000.0
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
        blind, now = settled(10.0), T0 + 1_000.0
        for _ in range(20):
            now += STEP_EVERY_S
            blind.grow(now)
        blind.rejected(now)
        assert blind.step == STEP

    def test_it_does_not_step_right_after_calls_flow_again(self) -> None:
        blind = settled(10.0)
        blind.resumed(T0 + 1_000.0)
        assert not blind.grow(T0 + 1_000.0 + STEP_EVERY_S * 0.5)

    @pytest.mark.parametrize("factor", [0.5, 2.0])
    def test_a_limit_that_changes_is_followed_both_ways(self, factor: float) -> None:
        """A provider without any burst: it turns away whatever is above its limit, at once."""
        blind, now, limit = settled(10.0), T0 + 1_000.0, 10.0 * factor
        blind.resumed(now)
        for _ in range(2_000):
            now += 1.0
            blind.let_in += min(blind.pace, limit)
            if blind.pace > limit:
                blind.rejected(now)
                blind.resumed(now)
            else:
                blind.grow(now)
        assert blind.pace == pytest.approx(limit, rel=0.25)

    def test_a_clock_that_was_set_moves_all_of_it(self) -> None:
        blind = Blind()
        blind.began(T0)
        blind.shift(-1e7)
        assert not blind.grow(T0 - 1e7 + 1.0)
        assert blind.grow(T0 - 1e7 + SEARCH_EVERY_S)
