"""A pool's door: shut after a rejection, one call tries, open again; hints are never undercut; clearing is learned."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.blind import LEAST_HOLD_S, Clearing
from scheduler.pools.hold import PROBE_LOST_S, REASONS, Door, Hold
from scheduler.pools.rejection import Kind, Rejection
from tests.support.jobs import T0

kinds: st.SearchStrategy[Kind] = st.sampled_from(["rate", "overload", "quota"])


def rejected(kind: Kind = "rate", retry_after_s: float | None = None) -> Rejection:
    return Rejection(kind, retry_after_s, (), None, None)


def held(hold: Hold, now: float, kind: Kind = "rate", retry_after_s: float | None = None, seed: int = 1) -> float:
    """Reject a call that is news at ``now``; returns for how long that holds."""
    rejection = rejected(kind, retry_after_s)
    hold.strike(rejection, now)
    length_s = hold.length_s(rejection, 60.0, Random(seed))
    hold.extend(now + length_s, REASONS[kind])
    return length_s


class TestDoor:
    def test_open_until_a_rejection_then_shut_then_one_then_trying_then_open(self) -> None:
        hold = Hold()
        assert hold.door(T0) is Door.OPEN
        held(hold, T0, retry_after_s=30.0)
        assert hold.door(T0 + 29.9) is Door.SHUT
        assert hold.until is not None
        now = hold.until
        assert hold.door(now) is Door.ONE
        hold.try_one("w", now)
        assert hold.door(now) is Door.TRYING
        assert hold.let_in(now + 0.01)
        hold.open(now)
        assert hold.door(now) is Door.OPEN

    def test_a_probe_that_nobody_reports_of_is_lost_and_the_next_one_goes(self) -> None:
        hold = Hold()
        held(hold, T0, retry_after_s=1.0)
        hold.try_one("dead", T0 + 2.0)
        assert hold.door(T0 + 2.0 + PROBE_LOST_S - 0.1) is Door.TRYING
        assert hold.door(T0 + 2.0 + PROBE_LOST_S) is Door.ONE

    def test_a_probe_that_is_turned_away_shuts_the_door_again(self) -> None:
        hold = Hold()
        held(hold, T0, retry_after_s=1.0)
        hold.try_one("w", T0 + 2.0)
        held(hold, T0 + 2.5, retry_after_s=1.0)
        assert hold.door(T0 + 3.0) is Door.SHUT
        assert hold.strikes == 2

    def test_calls_sent_before_the_hold_began_bring_no_news_and_open_nothing(self) -> None:
        hold = Hold()
        held(hold, T0, retry_after_s=1.0)
        assert not hold.is_news(T0 - 0.5)
        assert not hold.is_news(T0 + 0.5), "its worker had not heard of the hold yet"
        assert not hold.let_in(T0 - 0.5)
        assert not hold.let_in(T0 + 0.5), "nor does one that slipped through meanwhile"
        hold.try_one("w", T0 + 5.0)
        assert not hold.let_in(T0 - 0.5)
        assert not hold.is_news(T0 - 0.5)
        assert hold.is_news(T0 + 5.0)
        assert hold.let_in(T0 + 5.0)
        hold.open(T0 + 5.1)
        assert not hold.is_news(T0 + 5.0), "nor once calls flow"
        assert hold.is_news(T0 + 5.2)

    def test_a_hold_is_extended_and_never_shortened(self) -> None:
        hold = Hold()
        assert hold.extend(T0 + 60.0, "rate_limited")
        assert not hold.extend(T0 + 30.0, "overloaded")
        assert (hold.until, hold.reason) == (T0 + 60.0, "rate_limited")

    def test_an_imposed_hold_is_not_taken_for_a_lesson_about_clearing(self) -> None:
        hold = Hold()
        assert hold.impose(T0 + 3_600.0, REASONS["quota"], T0)
        assert not hold.impose(T0 + 3_600.0, REASONS["quota"], T0 + 1.0)
        hold.try_one("w", T0 + 3_600.0)
        assert hold.let_in(T0 + 3_600.0)
        assert hold.clearing.learned_s is None

    @given(
        st.lists(
            st.tuples(
                st.floats(0.0, 100.0), st.sampled_from(["ask", "let in", "reject", "reject old"]), kinds, st.none() | st.floats(0, 50)
            ),
            max_size=60,
        )
    )
    def test_whatever_happens_the_door_never_opens_before_its_time_and_never_stays_shut_for_ever(
        self, moves: list[tuple[float, str, Kind, float | None]]
    ) -> None:
        hold, now, asked_until = Hold(), T0, 0.0
        for gap, what, kind, hint in moves:
            now += gap
            door = hold.door(now)
            assert (door is Door.OPEN) == (hold.until is None)
            assert door in (Door.OPEN, Door.SHUT) or now >= asked_until
            if what == "ask" and door is Door.ONE:
                hold.try_one("w", now)
            elif what == "let in" and hold.let_in(now):
                assert now >= asked_until
                hold.open(now)
                asked_until = 0.0
            elif what == "reject" and hold.is_news(now):
                held(hold, now, kind, hint)
                asked_until = max(asked_until, now + (hint or 0.0))
            if hold.until is not None:
                assert hold.until - now <= 86_400.0 * 1.1
        later = now + 100_000.0
        assert hold.door(later) in (Door.OPEN, Door.ONE)

    def test_a_clock_that_was_set_moves_all_of_it(self) -> None:
        hold = Hold()
        held(hold, T0, retry_after_s=30.0)
        hold.shift(-3_600.0)
        assert hold.door(T0 - 3_600.0 + 29.0) is Door.SHUT
        assert hold.door(T0 - 3_600.0 + 31.0) is Door.ONE
        hold.try_one("w", T0 - 3_569.0)
        assert hold.is_news(T0 - 3_569.0)


class TestLength:
    @given(hint=st.floats(0.0, 86_400.0), strikes=st.integers(1, 30), kind=kinds, seed=st.integers(0, 1_000))
    def test_a_hint_is_never_undercut_and_jitter_only_goes_later(self, hint: float, strikes: int, kind: Kind, seed: int) -> None:
        hold = Hold(strikes=strikes)
        length_s = hold.length_s(rejected(kind, hint), 60.0, Random(seed))
        assert length_s >= hint
        if strikes == 1:
            assert length_s <= hint + 0.02 + min(0.02 * hint, 2.0)

    def test_a_hint_that_proved_too_short_is_stretched(self) -> None:
        hold, now, lengths = Hold(), T0, []
        for _ in range(5):
            lengths.append(held(hold, now, retry_after_s=10.0))
            now += lengths[-1]
            hold.try_one("w", now)
        assert all(later > 1.3 * earlier for earlier, later in pairwise(lengths))

    def test_after_an_opening_hints_are_believed_again(self) -> None:
        hold = Hold()
        for second in range(3):
            held(hold, T0 + second, retry_after_s=0.5)
            hold.try_one("w", T0 + second + 0.9)
        hold.open(T0 + 4.0)
        assert held(hold, T0 + 100.0, retry_after_s=10.0) < 10.5

    @pytest.mark.parametrize(("kind", "first_s", "most_s"), [("rate", 60.0, 900.0), ("overload", 0.25, 60.0), ("quota", 3_600.0, 86_400.0)])
    def test_without_a_hint_it_doubles_up_to_its_cap(self, kind: Kind, first_s: float, most_s: float) -> None:
        hold, now, lengths = Hold(), T0, []
        for _ in range(12):
            lengths.append(held(hold, now, kind))
            now += lengths[-1]
            hold.try_one("w", now)
        assert lengths[:3] == [first_s, 2 * first_s, 4 * first_s]
        assert all(later == min(2 * earlier, most_s) for earlier, later in pairwise(lengths))
        assert lengths[-1] == most_s

    def test_the_first_hold_is_as_configured(self) -> None:
        hold = Hold()
        hold.strike(rejected(), T0)
        assert hold.length_s(rejected(), 7.0, Random(1)) == 7.0
        assert hold.length_s(rejected(), 2_000.0, Random(1)) == 2_000.0, "also above the cap"


class TestClearing:
    def test_a_hold_that_proved_long_enough_is_halved_the_next_time(self) -> None:
        hold, now = Hold(), T0
        lengths = []
        for _ in range(20):
            lengths.append(held(hold, now))
            now += lengths[-1]
            hold.try_one("w", now)
            assert hold.let_in(now)
            hold.open(now)
            now += 100.0
        assert lengths[:4] == pytest.approx([60.0, 30.0, 15.0, 7.5])
        assert lengths[-1] == pytest.approx(LEAST_HOLD_S, rel=0.2)

    @given(clears_s=st.floats(0.1, 200.0))
    def test_it_settles_within_a_factor_of_two_of_what_it_takes(self, clears_s: float) -> None:
        hold, now, tries = Hold(), T0, 0
        for _ in range(30):
            began, tries = now, 1
            now += held(hold, now)
            hold.try_one("w", now)
            while now - began < clears_s:
                tries += 1
                now += held(hold, now)
                hold.try_one("w", now)
            assert hold.let_in(now)
            hold.open(now)
            assert hold.clearing.learned_s is not None
            now += 500.0
        assert hold.clearing.learned_s <= max(3.1 * clears_s, LEAST_HOLD_S * 2)
        assert tries <= 4

    def test_a_hint_teaches_nothing_about_clearing(self) -> None:
        hold = Hold()
        held(hold, T0, retry_after_s=5.0)
        hold.try_one("w", T0 + 6.0)
        assert hold.let_in(T0 + 6.0)
        assert hold.clearing.learned_s is None

    def test_overload_teaches_nothing_about_a_rates_clearing(self) -> None:
        hold = Hold()
        held(hold, T0, "overload")
        hold.try_one("w", T0 + 6.0)
        assert hold.let_in(T0 + 6.0)
        assert hold.clearing.learned_s is None

    @given(st.floats(0.0, 1e5), st.integers(1, 2_000))
    def test_no_hold_is_shorter_than_the_least_nor_longer_than_its_cap(self, after_s: float, strikes: int) -> None:
        clearing = Clearing()
        clearing.cleared(after_s)
        assert LEAST_HOLD_S <= clearing.hold_s(strikes, 60.0, 900.0) <= max(900.0, after_s)
