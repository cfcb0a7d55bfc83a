"""One limit: bucket or window told from the numbers, slowed when little is left, stale and late answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.ledger import DAY_S, Ledger
from scheduler.pools.meter import EASE_DOWN, FRESH_S, HEADROOM, MINUTE_S, SLOWEST, VOTES, Meter
from scheduler.pools.quotas import Dimension, Reading
from tests.support.jobs import T0

SOURCE = "x-ratelimit-limit-requests"
#: Units of the usual call.
CALL = 1.0


def reading(
    limit: float | None = 600.0, remaining: float | None = None, reset_s: float | None = None, period_s: float | None = None, rounding=0.0
) -> Reading:
    return Reading(Dimension.REQUESTS, limit, remaining, reset_s, period_s, rounding, SOURCE)


def pace(meter: Meter, now: float, configured: float | None = None, ledger: Ledger | None = None) -> float:
    found = meter.pace(configured, CALL, ledger or Ledger(), now)
    assert found is not None
    return found


#: As ``read_quotas`` gives them: a number of so many digits, or none.
amounts = st.none() | st.just(0.0) | st.floats(1e-90, 1e15) | st.floats(0.1, 1e4)


class Bucket:
    """Fills all the time; resets are when it is full."""

    def __init__(self, limit: float, burst: float = 1.0) -> None:
        self.rate, self.holds, self.limit = limit / MINUTE_S, limit * burst, limit
        self.left, self.at = self.holds, T0

    def use(self, now: float) -> Reading:
        self.left, self.at = min(self.holds, self.left + (now - self.at) * self.rate), now
        self.left -= min(1.0, self.left)
        return reading(self.limit, float(int(self.left)), (self.holds - self.left) / self.rate)


class Window:
    """Starts anew each minute; resets are the rest of it."""

    def __init__(self, limit: float) -> None:
        self.limit, self.used, self.number = limit, 0.0, 0

    def use(self, now: float) -> Reading:
        number = int(now // MINUTE_S)
        if number != self.number:
            self.number, self.used = number, 0.0
        self.used += 1.0
        return reading(self.limit, max(0.0, self.limit - self.used), (number + 1) * MINUTE_S - now)


def driven(provider: Bucket | Window, per_s: float, for_s: float) -> Meter:
    meter, now = Meter(Dimension.REQUESTS), T0
    while now < T0 + for_s:
        now += 1.0 / per_s
        meter.hear(provider.use(now), now - 0.1, CALL, now)
    return meter


class TestBucketOrWindow:
    @given(limit=st.sampled_from([60.0, 600.0, 6_000.0]), load=st.floats(0.3, 1.2))
    def test_a_bucket_is_told_from_its_resets(self, limit: float, load: float) -> None:
        meter = driven(Bucket(limit), load * limit / MINUTE_S / (limit / 60.0), 180.0 if limit > 60 else 300.0)
        assert not meter.is_window

    @given(limit=st.sampled_from([60.0, 600.0]), load=st.floats(0.3, 1.0))
    def test_a_window_is_told_from_its_resets(self, limit: float, load: float) -> None:
        assert driven(Window(limit), min(load * limit / MINUTE_S, 3.0), 180.0).is_window

    def test_a_bucket_that_holds_less_than_a_periods_worth_is_one_all_the_same(self) -> None:
        assert not driven(Bucket(600.0, burst=1 / 6), 9.0, 120.0).is_window

    def test_a_single_odd_reading_settles_nothing(self) -> None:
        meter = driven(Bucket(600.0), 8.0, 120.0)
        meter.hear(reading(600.0, 599.0, 55.0), T0 + 130.0, CALL, T0 + 130.0)
        assert not meter.is_window

    def test_votes_are_bounded_so_that_a_change_of_kind_is_seen(self) -> None:
        meter, window = driven(Bucket(600.0), 8.0, 600.0), Window(600.0)
        assert abs(meter.votes) <= VOTES
        now = T0 + 660.0
        for _ in range(1_000):
            now += 0.125
            meter.hear(window.use(now), now - 0.1, CALL, now)
        assert meter.is_window


class TestLimit:
    def test_a_change_of_limit_is_told_once(self) -> None:
        meter = Meter(Dimension.REQUESTS)
        assert meter.hear(reading(600.0, 599.0, 0.1), T0, CALL, T0)
        assert not meter.hear(reading(600.0, 598.0, 0.2), T0 + 1, CALL, T0 + 1)
        assert meter.hear(reading(300.0, 299.0, 0.2), T0 + 2, CALL, T0 + 2)
        assert pace(meter, T0 + 2) == pytest.approx(5.0 * HEADROOM, rel=0.01)

    def test_the_lower_of_configured_and_said_holds(self) -> None:
        meter = Meter(Dimension.REQUESTS)
        assert meter.pace(None, CALL, Ledger(), T0) is None
        assert pace(meter, T0, configured=60.0) == pytest.approx(HEADROOM)
        meter.hear(reading(600.0), T0, CALL, T0)
        assert pace(meter, T0, configured=60.0) == pytest.approx(HEADROOM)
        assert pace(meter, T0, configured=6_000.0) == pytest.approx(10.0 * HEADROOM)

    @pytest.mark.parametrize("limit", [None, 0.0])
    def test_no_limit_or_one_of_zero_is_no_pace(self, limit: float | None) -> None:
        meter = Meter(Dimension.REQUESTS)
        assert not meter.hear(reading(limit, 0.0), T0, CALL, T0)
        assert meter.pace(None, CALL, Ledger(), T0) is None

    def test_a_period_that_is_said_is_believed(self) -> None:
        meter = Meter(Dimension.REQUESTS)
        meter.hear(reading(3_600.0, period_s=3_600.0 / 6), T0, CALL, T0)
        assert pace(meter, T0) == pytest.approx(6.0 * HEADROOM)

    def test_what_prose_states_is_a_limit_as_well_and_told_once(self) -> None:
        meter = Meter(Dimension.REQUESTS)
        assert meter.learn(120.0, MINUTE_S, "429 message", T0)
        assert not meter.learn(120.0, MINUTE_S, "429 message", T0 + 1)
        assert pace(meter, T0) == pytest.approx(2.0 * HEADROOM)


class TestSlowed:
    def bucket(self, remaining: float, for_s: float = 300.0) -> Meter:
        """A bucket that said all the time until ``T0`` that so much is left."""
        meter = Meter(Dimension.REQUESTS)
        meter.hear(reading(600.0, 600.0, 0.0), T0 - for_s - 1.0, CALL, T0 - for_s - 1.0)
        for second in range(int(for_s) + 1):
            at = T0 - for_s + second
            meter.hear(reading(600.0, remaining, (600.0 - remaining) / 10.0), at, CALL, at)
        return meter

    def test_a_bucket_that_stays_empty_slows_down_little_by_little_to_the_slowest(self) -> None:
        assert pace(self.bucket(0.0, 1.0), T0) > 10.0 * HEADROOM * (1 - 5 * EASE_DOWN)
        assert pace(self.bucket(0.0), T0) == pytest.approx(10.0 * HEADROOM * SLOWEST)

    def test_a_bucket_with_enough_left_slows_nothing_and_makes_good_what_was_slowed(self) -> None:
        assert pace(self.bucket(300.0), T0) >= 10.0 * HEADROOM
        meter = self.bucket(0.0)
        for second in range(300):
            meter.hear(reading(600.0, 300.0, 30.0), T0 + second, CALL, T0 + second)
        assert pace(meter, T0 + 300.0) >= 10.0 * HEADROOM

    def test_headers_are_believed_only_while_they_are_fresh(self) -> None:
        meter = self.bucket(0.0)
        assert pace(meter, T0 + FRESH_S * 0.9) == pytest.approx(10.0 * HEADROOM * SLOWEST)
        assert pace(meter, T0 + FRESH_S * 1.1) == pytest.approx(10.0 * HEADROOM)

    def test_answers_that_overtake_each_other_do_not_turn_back_time(self) -> None:
        meter = self.bucket(300.0)
        meter.hear(reading(600.0, 1.0, 59.9), T0 - 0.5, CALL, T0 + 5.0)
        assert meter.remaining == 300.0
        assert pace(meter, T0 + 5.0) >= 10.0 * HEADROOM

    def test_nor_is_the_limit_in_a_late_answer_news(self) -> None:
        meter = self.bucket(300.0)
        assert not meter.hear(reading(1_200.0, 1.0, 59.9), T0 - 0.5, CALL, T0 + 5.0)

    def test_in_a_window_what_is_left_is_spread_over_the_rest_of_it(self) -> None:
        meter = driven(Window(600.0), 3.0, 180.0)
        now = T0 + 200.0
        meter.hear(reading(600.0, 100.0, 30.0), now, CALL, now)
        assert pace(meter, now) == pytest.approx(100.0 / 30.0, rel=0.05)
        assert pace(meter, now + 31.0) == pytest.approx(10.0 * HEADROOM), "then it starts anew"

    def test_in_a_window_what_was_booked_since_is_no_longer_left(self) -> None:
        meter, ledger = driven(Window(600.0), 3.0, 180.0), Ledger()
        now = T0 + 200.0
        ledger.charge(0, 0, 0, now)
        meter.hear(reading(600.0, 100.0, 30.0), now, CALL, now)
        ledger.charge(60, 0, 0, now + 5.0)
        assert meter.left(ledger, now + 5.0) == pytest.approx(40.0)

    def test_a_count_that_is_all_rounding_slows_nothing(self) -> None:
        meter = Meter(Dimension.TOKENS)
        meter.hear(Reading(Dimension.TOKENS, 1_000.0, 0.0, 30.0, MINUTE_S, 1_000.0, "tokens"), T0, CALL, T0)
        assert pace(meter, T0) == pytest.approx(1_000.0 / MINUTE_S * HEADROOM)

    @given(
        st.lists(
            st.tuples(
                st.floats(0.0, 100.0),
                amounts,
                amounts,
                amounts,
                st.none() | st.sampled_from([1.0, 60.0, 3_600.0, 86_400.0]),
            ),
            max_size=40,
        )
    )
    def test_whatever_headers_say_a_pace_is_positive_and_not_above_what_is_said_or_configured(
        self, heard: list[tuple[float, float | None, float | None, float | None, float | None]]
    ) -> None:
        meter, now, ledger = Meter(Dimension.REQUESTS), T0, Ledger()
        for gap, limit, remaining, reset_s, period_s in heard:
            now += gap
            ledger.charge(1, 0, 0, now)
            meter.hear(reading(limit, remaining, reset_s, period_s), now, CALL, now)
            assert 0.0 < pace(meter, now, configured=60.0, ledger=ledger) <= 1.05
            shut = meter.shut_until(ledger, now)
            assert shut is None or shut >= now


class TestDays:
    def day(self, remaining: float, reset_s: float, *, window: bool = False) -> Meter:
        meter = Meter(Dimension.REQUESTS)
        meter.hear(reading(14_400.0, remaining, reset_s, DAY_S), T0, CALL, T0)
        meter.votes = -VOTES if window else VOTES
        return meter

    def test_a_days_quota_is_not_spread_out(self) -> None:
        assert self.day(10_000.0, 26_400.0).pace(None, CALL, Ledger(), T0) is None

    def test_a_limit_that_is_a_days_is_told_from_its_reset(self) -> None:
        meter = Meter(Dimension.REQUESTS)
        meter.hear(reading(14_400.0, 14_380.0, 120.0), T0, CALL, T0)
        assert meter.period_s == DAY_S
        assert meter.pace(None, CALL, Ledger(), T0) is None

    def test_used_up_a_window_shuts_until_it_starts_anew(self) -> None:
        assert self.day(0.0, 5_000.0, window=True).shut_until(Ledger(), T0 + 10.0) == T0 + 5_000.0
        assert self.day(0.0, 5_000.0, window=True).shut_until(Ledger(), T0 + 5_001.0) is None
        assert self.day(5.0, 5_000.0, window=True).shut_until(Ledger(), T0) is None

    def test_what_was_booked_since_the_last_answer_counts(self) -> None:
        ledger = Ledger()
        ledger.charge(0, 0, 0, T0)
        ledger.charge(5, 0, 0, T0 + 1.0)
        assert self.day(5.0, 5_000.0, window=True).shut_until(ledger, T0 + 2.0) is not None

    def test_a_bucket_of_a_day_that_is_used_up_fills_one_by_one(self) -> None:
        meter = self.day(0.0, DAY_S)
        shut = meter.shut_until(Ledger(), T0)
        assert shut == pytest.approx(T0 + 6.0)
        assert meter.shut_until(Ledger(), T0 + 6.5) is None, "one more is there by then"

    def test_a_clock_that_was_set_moves_all_of_it(self) -> None:
        meter = self.day(0.0, 5_000.0, window=True)
        meter.shift(-1e7)
        assert meter.shut_until(Ledger(), T0 - 1e7) == T0 - 1e7 + 5_000.0
