"""What was charged since when: exact at the moments that are kept, never more for a later moment; and a day's count."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.ledger import DAY_S, EVERY_S, KEPT, Day, Ledger
from scheduler.pools.quotas import Dimension
from tests.support.jobs import T0

some_tokens = st.floats(min_value=0, max_value=1e5)
charges = st.lists(
    st.tuples(
        st.floats(min_value=0.01, max_value=8.0),
        st.integers(0, 3),
        st.floats(min_value=0, max_value=1e5),
        st.floats(min_value=0, max_value=1e5),
    ),
    min_size=1,
    max_size=120,
)


def filled(charges: list[tuple[float, int, float, float]]) -> tuple[Ledger, list[tuple[float, int, float, float]]]:
    ledger, now, log = Ledger(), T0, []
    ledger.charge(0, 0.0, 0.0, now)
    for gap, calls, took, gave in charges:
        now += gap
        ledger.charge(calls, took, gave, now)
        log.append((now, calls, took, gave))
    return ledger, log


class TestLedger:
    @given(charges)
    def test_since_is_exact_at_every_moment_that_is_kept(self, charges: list[tuple[float, int, float, float]]) -> None:
        ledger, log = filled(charges)
        for at in {total[0] for total in ledger.totals} - {T0}:  # the first moment is that before the first charge
            after = [charge for charge in log if charge[0] > at]
            assert ledger.since(Dimension.REQUESTS, at) == pytest.approx(sum(charge[1] for charge in after), abs=1e-3)
            assert ledger.since(Dimension.INPUT_TOKENS, at) == pytest.approx(sum(charge[2] for charge in after), abs=1e-3)
            assert ledger.since(Dimension.OUTPUT_TOKENS, at) == pytest.approx(sum(charge[3] for charge in after), abs=1e-3)

    @given(charges, st.lists(st.floats(min_value=-100, max_value=1_000), min_size=2, max_size=20))
    def test_a_later_moment_never_shows_more(self, charges: list[tuple[float, int, float, float]], moments: list[float]) -> None:
        ledger, _ = filled(charges)
        for dimension in Dimension:
            since = [ledger.since(dimension, T0 + moment) for moment in sorted(moments)]
            assert all(earlier >= later - 1e-3 for earlier, later in pairwise(since))
            assert since[-1] >= 0.0

    @given(charges, st.floats(min_value=0, max_value=60))
    def test_between_two_moments_it_is_off_by_no_more_than_was_charged_between_them(
        self, charges: list[tuple[float, int, float, float]], back_s: float
    ) -> None:
        ledger, log = filled(charges)
        at = log[-1][0] - back_s
        slack = max(2 * EVERY_S, max(gap for gap, *_ in charges))
        least = sum(charge[1] for charge in log if charge[0] > at + slack)
        most = sum(charge[1] for charge in log if charge[0] > at - slack)
        assert least - 1e-6 <= ledger.since(Dimension.REQUESTS, at) <= most + 1e-6

    @given(charges)
    def test_tokens_are_input_and_output_together(self, charges: list[tuple[float, int, float, float]]) -> None:
        ledger, _ = filled(charges)
        both = ledger.since(Dimension.INPUT_TOKENS, T0) + ledger.since(Dimension.OUTPUT_TOKENS, T0)
        assert ledger.since(Dimension.TOKENS, T0) == pytest.approx(both)

    def test_what_is_given_back_no_longer_counts(self) -> None:
        ledger = Ledger()
        ledger.charge(1, 100, 50, T0)
        ledger.charge(-1, -100, -50, T0 + 1)
        assert [ledger.since(dimension, T0 - 1) for dimension in Dimension] == [0.0] * 4

    def test_an_empty_ledger_knows_of_nothing(self) -> None:
        assert Ledger().since(Dimension.TOKENS, T0) == 0.0

    def test_a_minute_is_kept_whole_and_no_more_than_a_few_moments_of_it(self) -> None:
        ledger, now = Ledger(), T0
        for _ in range(10_000):
            now += 0.1
            ledger.charge(1, 0, 0, now)
        assert len(ledger.totals) <= KEPT
        assert ledger.since(Dimension.REQUESTS, now - 60.0) == pytest.approx(600, abs=EVERY_S * 10)

    def test_a_clock_that_was_set_moves_all_of_it(self) -> None:
        ledger, _ = filled([(1.0, 1, 10.0, 5.0)] * 40)
        before = [ledger.since(Dimension.REQUESTS, T0 + second) for second in range(41)]
        ledger.shift(-3_600.0)
        assert [ledger.since(Dimension.REQUESTS, T0 + second - 3_600.0) for second in range(41)] == pytest.approx(before, abs=1e-3)


class TestDay:
    midnight = (T0 // DAY_S) * DAY_S

    def test_it_is_used_up_at_its_limit_until_midnight(self) -> None:
        day = Day()
        for second in range(10):
            assert day.used_up_until(10, None, self.midnight + second) is None
            day.charge(1, 100, self.midnight + second)
        assert day.used_up_until(10, None, self.midnight + 50) == self.midnight + DAY_S
        assert day.used_up_until(None, 1_000, self.midnight + 50) == self.midnight + DAY_S
        assert day.used_up_until(11, 1_001, self.midnight + 50) is None
        assert day.used_up_until(None, None, self.midnight + 50) is None

    def test_a_new_day_starts_anew(self) -> None:
        day = Day()
        day.charge(10, 0, self.midnight)
        assert day.used_up_until(10, None, self.midnight + DAY_S) is None
        day.charge(1, 0, self.midnight + DAY_S)
        assert day.calls == 1
