"""A quota as a line of time: never faster than the pace, nothing saved up, large calls pay with debt."""

from __future__ import annotations

from itertools import cycle, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.timeline import LARGE_S, SLACK_S, Timeline
from tests.support.jobs import T0

#: Sums of floats near 1.7e9 are this exact.
EXACT = 1e-5
gaps = st.floats(min_value=0.0, max_value=20.0)
small = st.floats(min_value=0.001, max_value=LARGE_S)
large = st.floats(min_value=LARGE_S, max_value=60.0)
turns = st.lists(st.tuples(gaps, small | large), min_size=1, max_size=60)


def booked(turns: list[tuple[float, float]], ahead_s: float) -> list[tuple[float, float]]:
    """When each call starts and what it is worth, for a booker that takes what starts within ``ahead_s`` and waits for the rest."""
    line, now, starts = Timeline(), T0, []
    for gap, worth in turns:
        now += gap
        free_at = line.free_at(worth, now)
        now = max(now, free_at - ahead_s)
        start = max(now, line.free_at(worth, now))
        assert start <= now + ahead_s + EXACT, "waiting brings the place nearer"
        line.book(worth, now)
        starts.append((start, worth))
    return starts


def worst_excess(starts: list[tuple[float, float]]) -> float:
    """By how much any interval holds more than its own length."""
    starts = sorted(starts)
    worst = 0.0
    for first in range(len(starts)):
        total = 0.0
        for start, worth in starts[first:]:
            total += worth
            worst = max(worst, total - (start - starts[first][0]))
    return worst


class TestPace:
    @given(turns=turns, ahead_s=st.sampled_from([0.0, 0.25, 1.0]))
    def test_no_interval_holds_more_than_its_length_the_slack_and_the_largest_call(
        self, turns: list[tuple[float, float]], ahead_s: float
    ) -> None:
        largest = max(worth for _, worth in turns)
        assert worst_excess(booked(turns, ahead_s)) <= largest + 2 * SLACK_S + ahead_s + EXACT

    @given(worth=st.floats(min_value=0.01, max_value=LARGE_S))
    def test_whoever_always_has_more_to_do_uses_all_of_it(self, worth: float) -> None:
        starts = booked([(0.0, worth)] * 50, 0.0)
        assert starts[-1][0] - starts[0][0] <= 49 * worth + EXACT

    def test_bookers_stand_behind_each_other(self) -> None:
        line = Timeline()
        places = []
        for _ in range(5):
            places.append(line.free_at(0.1, T0))
            line.book(0.1, T0)
        between = [later - earlier for earlier, later in pairwise(places)]
        assert between == [pytest.approx(0.1, abs=EXACT)] * 4


class TestNothingIsSavedUp:
    @pytest.mark.parametrize("idle_s", [0.0, 1.0, 60.0, 3_600.0, 1e8])
    def test_after_any_idle_time_only_the_slack_can_start_at_once(self, idle_s: float) -> None:
        line = Timeline()
        line.book(0.01, T0)
        now, at_once = T0 + idle_s, 0
        while line.free_at(0.01, now) <= now:
            line.book(0.01, now)
            at_once += 1
        assert at_once <= SLACK_S / 0.01 + 2

    @given(spent=st.lists(st.tuples(small, st.booleans()), max_size=20), frozen_s=st.floats(min_value=0.5, max_value=900.0))
    def test_after_a_freeze_too_whatever_was_booked_or_given_back_before_and_meanwhile(
        self, spent: list[tuple[float, bool]], frozen_s: float
    ) -> None:
        line, until = Timeline(), T0 + frozen_s
        for worth, _ in spent:
            line.book(worth, T0)
        line.freeze(until)
        assert line.free_at(0.01, T0) >= until
        for worth, gives_back in spent:
            if gives_back:
                line.give_back(worth)
        now, at_once = max(until, T0 + sum(worth for worth, _ in spent)), 0
        while line.free_at(0.01, now) <= now:
            line.book(0.01, now)
            at_once += 1
        assert at_once <= SLACK_S / 0.01 + 2

    def test_a_freeze_never_brings_anything_forward(self) -> None:
        line = Timeline(booked_until=T0 + 100.0)
        line.freeze(T0 + 10.0)
        assert line.free_at(0.1, T0) == T0 + 100.0

    def test_a_release_frees_at_once_what_was_frozen_and_forgets_debts(self) -> None:
        line = Timeline(debt_s=50.0)
        line.freeze(T0 + 900.0)
        line.release(T0)
        assert line.free_at(10.0, T0) == T0
        line.release(T0 + 60.0)
        assert line.free_at(0.1, T0) == T0, "a release never puts off"


class TestDebt:
    def test_a_large_call_starts_in_its_turn_and_blocks_small_ones_for_no_more_than_its_share(self) -> None:
        line = Timeline()
        line.book(60.0, T0)
        assert line.free_at(0.1, T0) <= T0 + LARGE_S
        line.book(0.1, T0)
        assert line.free_at(0.1, T0) <= T0 + LARGE_S + 0.2 + EXACT, "half the pace while the debt lasts"

    def test_a_second_large_call_waits_until_the_debt_is_paid(self) -> None:
        line = Timeline()
        line.book(60.0, T0)
        assert line.free_at(60.0, T0) == pytest.approx(T0 + 60.0, abs=SLACK_S + EXACT)
        assert line.free_at(60.0, T0 + 30.0) == pytest.approx(T0 + 60.0, abs=SLACK_S + EXACT), "idle time pays"
        assert line.free_at(60.0, T0 + 61.0) <= T0 + 61.0

    @given(
        worths=st.lists(st.floats(min_value=0.05, max_value=1.0), min_size=1, max_size=50), debt=st.floats(min_value=3.0, max_value=60.0)
    )
    def test_small_calls_flow_and_the_second_large_one_gets_its_turn_all_the_same(self, worths: list[float], debt: float) -> None:
        line, now, smalls = Timeline(), T0, 0.0
        line.book(debt, now)
        for worth in cycle(worths):
            now = max(now, line.free_at(worth, now))
            if line.free_at(debt, now) <= now:
                break
            line.book(worth, now)
            smalls += worth
            assert now <= T0 + 2 * debt, "it must not stand behind small ones for ever"
        assert smalls >= 0.25 * debt - LARGE_S, "nor they behind it"
        assert smalls + debt <= now - T0 + SLACK_S + max(worths) + EXACT, "all together keep to the pace"

    @given(turns=st.lists(small | large, min_size=1, max_size=40))
    def test_what_was_let_in_keeps_to_the_pace_once_everything_is_paid(self, turns: list[float]) -> None:
        line = Timeline()
        for worth in turns:
            line.book(worth, T0)
        assert line.booked_until + line.debt_s == pytest.approx(T0 - SLACK_S + sum(turns), abs=EXACT)


class TestGivingBack:
    @given(before=st.lists(small | large, max_size=10), worth=small | large)
    def test_giving_back_undoes_a_booking(self, before: list[float], worth: float) -> None:
        line = Timeline(booked_until=T0)
        for each in before:
            line.book(each, T0)
        owed = line.booked_until + line.debt_s
        line.book(worth, T0)
        line.give_back(worth)
        assert line.booked_until + line.debt_s == pytest.approx(owed, abs=EXACT)
        assert line.debt_s >= 0.0

    @given(worth=small)
    def test_without_debts_it_undoes_it_to_the_letter(self, worth: float) -> None:
        line = Timeline(booked_until=T0)
        line.book(worth, T0)
        line.give_back(worth)
        assert line.booked_until == pytest.approx(T0, abs=EXACT)
        assert line.debt_s == 0.0

    @given(worth=small, more=st.floats(min_value=0.0, max_value=LARGE_S))
    def test_more_used_than_booked_pushes_the_next_one_back(self, worth: float, more: float) -> None:
        line = Timeline(booked_until=T0)
        line.book(worth, T0)
        line.give_back(-more)
        assert line.free_at(0.1, T0) == pytest.approx(T0 + worth + more, abs=EXACT)

    def test_a_call_that_used_far_more_than_booked_does_not_block_small_ones_for_all_of_it(self) -> None:
        line = Timeline(booked_until=T0)
        line.book(0.1, T0)
        line.give_back(-100.0)
        assert line.free_at(0.1, T0) <= T0 + 0.1 + LARGE_S + EXACT
        assert line.booked_until + line.debt_s == pytest.approx(T0 + 100.1, abs=EXACT), "but all of it is paid"
