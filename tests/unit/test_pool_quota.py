"""A pool's document: one step for all workers, survives its own JSON, any clock and any report, and stays small."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.pools.desks import SILENT_S
from scheduler.pools.hold import PROBE_LOST_S
from scheduler.pools.ledger import DAY_S
from scheduler.pools.messages import Cost, Grant, Limits, Rejected, Report, Used
from scheduler.pools.quota import CONTRADICTION_S, HORIZON_MOST_S, PROSE, Quota, quota_from
from scheduler.pools.quotas import Dimension, Reading, read_quotas
from scheduler.pools.rejection import Kind, Rejection, read_rejection
from scheduler.pools.timeline import SLACK_S
from tests.support.jobs import T0

ONE = Cost(300.0, 100.0)
LIMITS = Limits({"requests": 60.0})


def rejection(kind: Kind = "rate", retry_after_s: float | None = None, readings: tuple[Reading, ...] = ()) -> Rejection:
    return Rejection(kind, retry_after_s, readings, None, None)


class Thrown(Exception):
    """A client's error."""

    def __init__(self, status_code: int, headers: dict[str, str], body: object) -> None:
        super().__init__(f"Error code: {status_code}")
        self.status_code, self.headers, self.body = status_code, headers, body


class Pool:
    """A document that goes to the store and back between any two questions."""

    def __init__(self, limits: Limits = LIMITS, seed: int = 1) -> None:
        self.limits = limits
        self.rng = Random(seed)
        self.document: str | None = None
        self.news: list[str] = []

    @property
    def quota(self) -> Quota:
        return quota_from(self.document)

    def ask(self, now: float, worker: str = "w", calls: int = 0, **said: Any) -> Grant:
        quota = self.quota
        said.setdefault("waiting", calls)
        grant = quota.exchange(Report(worker, [ONE] * calls, **said), self.limits, now, self.rng)
        self.document = quota.to_json()
        self.news += [news.name for news in grant.news]
        return grant

    def until_started(self, now: float, worker: str = "w", within_s: float = 10.0, **said: Any) -> float:
        """Ask for one call as a keeper does, until it may start; when that is."""
        end = now + within_s
        while now <= end:
            grant = self.ask(now, worker, 1, **said)
            said = {}
            if grant.starts:
                return grant.starts[0][1]
            assert grant.again_at is not None, "somebody waits and was not told when to ask again"
            now = max(grant.again_at, now + 1e-3)
        raise AssertionError(f"nothing started within {within_s} s: {self.quota}")


class TestPacing:
    def test_places_are_a_pace_apart_and_none_is_far_ahead(self) -> None:
        pool, starts, now = Pool(Limits({"requests": 600.0})), [], T0
        while now < T0 + 10.0:
            grant = pool.ask(now, calls=20)
            assert all(now <= at <= now + HORIZON_MOST_S for _, at in grant.starts)
            starts += [at for _, at in grant.starts]
            assert grant.again_at is not None
            now = max(grant.again_at, now + 1e-3)
        assert len(starts) == pytest.approx(100, abs=12)
        assert len([at for at in starts if at < T0 + 1.0]) <= 12

    @given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0.0, 3.0), st.integers(0, 30)), min_size=1, max_size=60))
    @settings(max_examples=40)
    def test_however_many_workers_ask_and_whenever_together_they_keep_the_pace(self, moves: list[tuple[str, float, int]]) -> None:
        pool, starts, now = Pool(Limits({"requests": 600.0})), [], T0
        for worker, gap, calls in moves:
            now += gap
            starts += [at for _, at in pool.ask(now, worker, calls).starts]
        starts.sort()
        for first in range(len(starts)):
            for last in range(first, len(starts)):
                assert last - first + 1 <= (starts[last] - starts[first] + SLACK_S) * 10.0 + 1 + 1e-3

    def test_an_idle_hour_saves_up_nothing(self) -> None:
        pool = Pool(Limits({"requests": 600.0}))
        pool.ask(T0, calls=5)
        grant = pool.ask(T0 + 3_600.0, calls=200)
        assert len([at for _, at in grant.starts if at <= T0 + 3_600.0]) <= 2

    def test_what_was_used_is_charged_instead_of_what_was_booked(self) -> None:
        pool = Pool(Limits({"tokens": 60_000.0}))
        pool.ask(T0, calls=1)
        before = pool.quota.meters["tokens"].line.booked_until
        pool.ask(T0, used={"task": Used(1, ONE, Cost(300.0, 600.0), 400.0, 900.0)}, answered=1)
        assert pool.quota.meters["tokens"].line.booked_until - before == pytest.approx(0.5, rel=0.01)

    def test_a_call_that_never_started_gives_its_place_back(self) -> None:
        pool = Pool(Limits({"requests": 60.0}))
        for _ in range(2):
            assert pool.ask(T0, calls=1).starts
        assert not pool.ask(T0, calls=1).starts
        pool.ask(T0, unused=[ONE] * 2)
        assert pool.until_started(T0) == pytest.approx(T0, abs=0.1)
        assert pool.quota.day.calls == pytest.approx(1.0)

    def test_a_large_call_at_the_head_does_not_stand_in_the_way_of_small_ones(self) -> None:
        pool = Pool(Limits({"tokens": 60_000.0}))
        quota = pool.quota
        quota.exchange(Report("w", [Cost(60_000.0)], 1), pool.limits, T0, pool.rng)
        small = 0
        now = T0 + 2.0
        while now < T0 + 30.0:
            grant = quota.exchange(Report("w", [Cost(60_000.0), *[Cost(100.0)] * 5], 6), pool.limits, now, pool.rng)
            assert 0 not in [index for index, _ in grant.starts], "the second large one waits until the first is paid"
            small += len(grant.starts)
            now += 0.25
        assert small > 100


class TestLimits:
    def test_a_limit_that_headers_state_is_told_once(self) -> None:
        pool = Pool(Limits())
        heard = read_quotas({"x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "599"}, T0)
        for second in range(5):
            pool.ask(T0 + second, f"w{second % 2}", heard=[(T0 + second, reading) for reading in heard])
        assert pool.news.count("limit") == 1

    def test_a_model_outside_the_plan_says_a_limit_of_zero_and_breaks_nothing(self) -> None:
        pool = Pool(Limits())
        headers = {"x-ratelimit-limit-req-minute": "0", "x-ratelimit-remaining-req-minute": "0", "x-ratelimit-limit-requests": "0"}
        headers |= {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}
        pool.ask(T0, heard=[(T0, reading) for reading in read_quotas(headers, T0)])
        assert pool.until_started(T0 + 1.0)

    def test_what_only_a_429_says_in_words_is_learned(self) -> None:
        from_words = "Rate limit reached for gpt on requests per min (RPM): Limit 120, Used 120, Requested 1. Please try again in 500ms."
        error = Thrown(429, {}, {"error": {"message": from_words, "code": "rate_limit_exceeded"}})
        said = read_rejection(error, T0)
        assert said is not None
        pool = Pool(Limits())
        pool.ask(T0, calls=1)
        pool.ask(T0 + 1.0, rejections=[Rejected(T0 + 0.5, said, ONE)])
        assert pool.quota.meters["requests"].limit == 120.0
        assert pool.quota.meters["requests"].source == PROSE

    def test_a_limit_that_is_not_true_is_distrusted_and_found_out(self) -> None:
        pool, now = Pool(Limits({"requests": 6_000.0})), T0
        for _ in range(3):
            now += CONTRADICTION_S / 4
            pool.until_started(now, within_s=30.0)
            pool.ask(now + 0.1, rejections=[Rejected(now + 0.05, rejection(retry_after_s=0.5), ONE)])
            at = pool.until_started(now + 1.0, within_s=30.0)
            pool.ask(at + 0.1, let_in_at=at, answered=1)
        assert pool.quota.distrusted
        assert "distrust" in pool.news

    def test_a_days_quota_that_is_configured_shuts_until_midnight_and_is_told_once(self) -> None:
        pool, now, started = Pool(Limits({"requests": 6_000.0}, requests_per_day=10)), (T0 // DAY_S) * DAY_S + 100.0, 0
        for _ in range(100):
            now += 1.0
            grant = pool.ask(now, calls=5)
            started += len(grant.starts)
        assert 10 <= started <= 14
        assert grant.held_until == (T0 // DAY_S + 1) * DAY_S
        assert pool.news.count("held") == 1
        midnight = (T0 // DAY_S + 1) * DAY_S
        at = pool.until_started(midnight)
        pool.ask(at + 1.0, let_in_at=at, answered=1)
        assert pool.ask(at + 2.0, calls=5).starts
        assert pool.news.count("opened") == 1

    def test_a_days_bucket_that_headers_say_is_used_up_lets_one_in_at_a_time(self) -> None:
        pool, now = Pool(Limits()), T0
        headers = {"x-ratelimit-limit-requests": "14400", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "24h0m0s"}
        pool.ask(now, heard=[(now, reading) for reading in read_quotas(headers, now)])
        assert pool.quota.meters["x-ratelimit-limit-requests"].period_s == DAY_S
        assert pool.until_started(now, within_s=8.0) == pytest.approx(now + 6.0, abs=1.0)
        assert pool.news.count("held") == 1


class TestHolds:
    def test_one_call_goes_first_and_opens_the_pool(self) -> None:
        pool = Pool()
        pool.until_started(T0)
        grant = pool.ask(T0 + 1.0, calls=5, rejections=[Rejected(T0 + 0.5, rejection(retry_after_s=10.0), ONE)])
        assert grant.held_until is not None
        assert grant.held_until >= T0 + 11.0
        assert not pool.ask(T0 + 10.9, calls=5).starts
        grant = pool.ask(grant.held_until, "one", 5)
        assert (len(grant.starts), grant.probing) == (1, True)
        assert not pool.ask(grant.starts[0][1] + 0.1, "two", 5).starts
        grant = pool.ask(grant.starts[0][1] + 0.2, "one", let_in_at=grant.starts[0][1], answered=1)
        assert grant.reopened
        assert pool.ask(T0 + 15.0, "two", 5).starts
        assert pool.news == ["held", "opened"]

    def test_many_rejections_of_one_moment_are_one_hold_that_is_told_once(self) -> None:
        pool = Pool(Limits({"requests": 6_000.0}))
        pool.ask(T0, calls=20)
        for number in range(20):
            pool.ask(T0 + 1.0 + number / 1_000, f"w{number % 2}", rejections=[Rejected(T0 + 0.5, rejection(retry_after_s=30.0), ONE)])
        assert pool.quota.hold.strikes == 1
        assert pool.news.count("held") == 1

    def test_a_probe_whose_worker_died_is_lost_and_the_next_one_goes(self) -> None:
        pool = Pool()
        pool.ask(T0, rejections=[Rejected(T0, rejection(retry_after_s=1.0), ONE)])
        assert pool.ask(T0 + 2.0, "dead", 1).probing
        assert not pool.ask(T0 + 2.0 + PROBE_LOST_S - 1.0, "living", 1).starts
        assert pool.ask(T0 + 2.0 + PROBE_LOST_S, "living", 1).probing

    def test_released_by_hand_calls_flow_at_once_and_still_paced(self) -> None:
        pool = Pool(Limits({"requests": 600.0}))
        pool.ask(T0, rejections=[Rejected(T0, rejection("quota"), ONE)])
        assert not pool.ask(T0 + 60.0, calls=5).starts
        quota = pool.quota
        quota.release(T0 + 60.0)
        pool.document = quota.to_json()
        starts = pool.ask(T0 + 60.0, calls=100).starts
        assert starts[0][1] <= T0 + 60.1
        assert len(starts) <= 10

    def test_overload_leaves_the_pace_alone_and_cuts_how_many_are_in_flight(self) -> None:
        pool = Pool(Limits({"requests": 600.0}))
        pool.ask(T0, calls=20)
        before = pool.quota.paces(pool.limits, T0)
        pool.ask(T0 + 1.0, flying=19, rejections=[Rejected(T0 + 0.5, rejection("overload"), ONE)])
        assert pool.quota.in_flight.limit == 19
        assert pool.quota.paces(pool.limits, T0) == before

    @pytest.mark.parametrize("workers", [1, 3])
    def test_a_blind_pace_does_not_grow_while_places_in_flight_are_what_calls_wait_for(self, workers: int) -> None:
        pool, now = Pool(Limits(max_in_flight=3)), T0
        for _ in range(1_000):
            now += 5.0
            for worker in range(workers):
                pool.ask(now, f"w{worker}", 10, flying=2 // workers)
        assert pool.quota.blind.pace < 100.0

    def test_a_probe_that_ended_without_a_word_hands_on_to_the_next(self) -> None:
        pool = Pool()
        pool.ask(T0, rejections=[Rejected(T0, rejection(retry_after_s=1.0), ONE)])
        assert pool.ask(T0 + 2.0, "one", 1).probing
        assert not pool.ask(T0 + 2.1, "two", 1).starts
        pool.ask(T0 + 2.2, "one", probing=True)
        assert not pool.ask(T0 + 2.3, "two", 1).starts, "it is still under way"
        pool.ask(T0 + 2.4, "one")
        assert pool.ask(T0 + 2.5, "two", 1).probing


class TestInFlight:
    def test_configured_and_learned_limits_hold_the_lower_one(self) -> None:
        pool = Pool(Limits({"requests": 60_000.0}, max_in_flight=5))
        assert len(pool.ask(T0, calls=50).starts) == 5
        assert pool.ask(T0 + 0.1, calls=50, flying=5).starts == []

    def test_a_worker_that_booked_and_died_takes_its_places_with_it_for_a_while_only(self) -> None:
        pool = Pool(Limits({"requests": 60_000.0}, max_in_flight=5))
        assert len(pool.ask(T0, "dead", 3).starts) == 3
        flying, now = 0, T0
        while now < T0 + SILENT_S:
            now += 0.25
            flying += len(pool.ask(now, "living", 50, flying=flying).starts)
            assert flying <= 2
        while now < T0 + SILENT_S + 5.0:
            now += 0.25
            flying += len(pool.ask(now, "living", 50, flying=flying).starts)
        assert flying == 5

    def test_what_a_dead_worker_booked_stays_charged(self) -> None:
        pool = Pool(Limits({"requests": 60.0}))
        booked = sum(len(pool.ask(T0, "dead", 1).starts) for _ in range(3))
        assert pool.until_started(T0 + 0.01, "living") >= T0 + (booked - 1) * 0.99
        assert pool.quota.day.calls == booked + 1


hostile_amounts = st.none() | st.just(0.0) | st.floats(1e-90, 1e15) | st.floats(1.0, 1e5)
honest_amounts = st.none() | st.integers(0, 100_000).map(float)
costs = st.builds(Cost, st.floats(0.0, 1e6), st.floats(0.0, 1e6))


def moves_of(amounts: st.SearchStrategy[float | None]) -> st.SearchStrategy[list[tuple[float, float, dict[str, Any]]]]:
    """Seconds since the last one, and how long ago the calls were sent that it tells of; then the report."""
    readings = st.builds(
        Reading,
        st.sampled_from(list(Dimension)),
        amounts,
        amounts,
        amounts,
        st.none() | st.sampled_from([1.0, 60.0, 3_600.0, 86_400.0, 2_592_000.0]),
        st.sampled_from([0.0, 1_000.0]),
        st.sampled_from([f"header {number}" for number in range(20)]),
    )
    rejections = st.builds(
        Rejection,
        st.sampled_from(["rate", "overload", "quota"]),
        st.none() | st.floats(0.0, 86_400.0),
        st.lists(readings, max_size=2).map(tuple),
        st.none(),
        st.none(),
    )
    said = st.fixed_dictionaries(
        {
            "worker": st.sampled_from(["a", "b", "c"]),
            "wants": st.lists(costs, max_size=5),
            "flying": st.integers(0, 50),
            "answered": st.integers(0, 50),
            "used": st.dictionaries(
                st.sampled_from(["x", "y"]), st.builds(Used, st.integers(1, 50), costs, costs, st.floats(0, 1e6), st.floats(0, 1e6))
            ),
            "unused": st.lists(costs, max_size=3),
            "heard": st.lists(readings, max_size=3),
            "rejections": st.lists(rejections, max_size=2),
            "let_in": st.booleans(),
            "probing": st.booleans(),
        }
    )
    return st.lists(st.tuples(st.floats(0.0, 10.0) | st.floats(0.0, 1e5), st.floats(-0.5, 100.0), said), max_size=25)


limits = st.builds(
    Limits,
    st.dictionaries(st.sampled_from([str(dimension) for dimension in Dimension]), st.floats(0.01, 1e6), max_size=3),
    st.none() | st.floats(1.0, 1e4),
    st.none() | st.floats(1.0, 1e7),
    st.none() | st.integers(1, 50),
    st.booleans(),
    st.sampled_from([0.0, 5.0, 60.0]),
)


def reports(moves: list[tuple[float, float, dict[str, Any]]], now: float) -> Any:
    for gap, ago_s, said in moves:
        now += gap
        asked_at = now - ago_s
        yield (
            now,
            Report(
                said["worker"],
                said["wants"],
                len(said["wants"]),
                said["flying"],
                said["answered"],
                said["used"],
                said["unused"],
                [(asked_at, reading) for reading in said["heard"]],
                [Rejected(asked_at, one, ONE) for one in said["rejections"]],
                asked_at if said["let_in"] else None,
                said["probing"],
            ),
        )


class TestDocument:
    @given(moves_of(hostile_amounts), limits)
    @settings(max_examples=60)
    def test_whatever_was_reported_it_comes_back_from_its_json_as_it_was(self, moves: list[Any], limits: Limits) -> None:
        quota, rng = Quota(), Random(1)
        for now, report in reports(moves, T0):
            grant = quota.exchange(report, limits, now, rng)
            text = quota.to_json()
            assert quota_from(text) == quota
            assert not _odd_numbers(json.loads(text))
            assert all(now <= at < math.inf for _, at in grant.starts)
            assert {index for index, _ in grant.starts} <= set(range(len(report.wants)))
            assert grant.starts or not report.wants or (grant.again_at is not None and grant.again_at < math.inf)
            assert grant.max_flying is None or report.flying + len(grant.starts) <= max(grant.max_flying, report.flying)

    @pytest.mark.parametrize(
        "document",
        [
            "",
            "{",
            "null",
            "[]",
            "7",
            '"text"',
            '{"meters": 3}',
            '{"hold": {"until": "soon"}}',
            '{"blind": {"pace": null}}',
            '{"meters": {}}',
        ],
    )
    def test_one_that_cannot_be_read_starts_anew(self, document: str) -> None:
        quota = quota_from(document)
        assert quota.exchange(Report("w", [ONE], 1), LIMITS, T0, Random(1)).starts

    @given(
        st.text(max_size=50)
        | st.recursive(st.none() | st.floats() | st.text(max_size=3), lambda x: st.dictionaries(st.text(max_size=5), x))
    )
    def test_whatever_is_stored_there_a_worker_can_ask(self, stored: Any) -> None:
        quota = quota_from(stored if isinstance(stored, str) else json.dumps(stored))
        assert quota.exchange(Report("w", [ONE], 1), LIMITS, T0, Random(1)).starts

    def test_hostile_headers_a_thousand_task_types_and_a_thousand_dead_workers_leave_it_small(self) -> None:
        quota, rng, now = Quota(), Random(1), T0
        for number in range(1_000):
            now += rng.uniform(0.0, 10.0)
            heard = [
                Reading(
                    rng.choice(list(Dimension)),
                    rng.uniform(1, 1e9),
                    rng.uniform(0, 1e9),
                    rng.uniform(0, 1e5),
                    None,
                    0.0,
                    "x" * 90 + f"{each}",
                )
                for each in range(30)
            ]
            cost = Cost(rng.uniform(1, 1e4), rng.uniform(1, 1e4))
            name = f"task type {number} " + "of a very long name " * 20
            used = {name[:512]: Used(1, cost, cost, rng.uniform(1, 1e4), cost.tokens)}
            said = [Rejected(now, rejection(retry_after_s=rng.uniform(0, 2), readings=tuple(heard)), cost)] if number % 7 == 0 else []
            report = Report(
                f"some-host-name-{number}-{rng.getrandbits(64):x}", [cost] * 3, 3, 1, 1, used, [], [(now, each) for each in heard], said
            )
            quota.exchange(report, Limits(max_in_flight=100), now, rng)
        assert len(quota.to_json()) < 16_384


def _odd_numbers(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_odd_numbers(each) for each in value.values())
    if isinstance(value, list):
        return any(_odd_numbers(each) for each in value)
    return isinstance(value, float) and not math.isfinite(value)


class TestClock:
    @pytest.mark.parametrize("back_s", [2.0, 3_600.0, 365 * DAY_S])
    def test_set_back_the_next_call_starts_as_soon_as_it_would_have(self, back_s: float) -> None:
        pool, now = Pool(Limits({"requests": 600.0})), T0
        for _ in range(50):
            now = pool.until_started(now)
        at = pool.until_started(now - back_s, within_s=1.0)
        assert at <= now - back_s + 0.5

    @pytest.mark.parametrize("back_s", [2.0, 3_600.0, 365 * DAY_S])
    def test_set_back_during_a_hold_it_ends_as_soon_as_it_would_have(self, back_s: float) -> None:
        pool = Pool()
        pool.ask(T0, rejections=[Rejected(T0, rejection(retry_after_s=30.0), ONE)])
        pool.ask(T0 + 10.0)
        now = T0 + 10.0 - back_s
        at = pool.until_started(now, within_s=25.0)
        assert at - now == pytest.approx(20.0, abs=1.0)
        pool.ask(at + 0.1, let_in_at=at, answered=1)
        assert pool.ask(at + 3.0, calls=1).starts

    @pytest.mark.parametrize("on_s", [3_600.0, 365 * DAY_S])
    def test_set_forward_it_saves_up_nothing_and_goes_on(self, on_s: float) -> None:
        pool = Pool(Limits({"requests": 600.0}))
        pool.ask(T0, calls=5)
        assert len([at for _, at in pool.ask(T0 + on_s, calls=100).starts if at <= T0 + on_s]) <= 2

    @given(moves_of(honest_amounts), limits, st.sampled_from([-3_600.0, -365 * DAY_S, 3_600.0, 365 * DAY_S]))
    @settings(max_examples=40)
    def test_whatever_was_reported_a_clock_that_is_set_lengthens_no_hold(self, moves: list[Any], limits: Limits, by_s: float) -> None:
        quota, rng, now = Quota(), Random(1), T0
        for now, report in reports(moves, T0):
            quota.exchange(report, limits, now, rng)
        before = quota.exchange(Report("w"), limits, now, rng).held_until
        after = quota.exchange(Report("w"), limits, now + by_s, rng).held_until
        if after is not None:
            held_s = (before or now) - now
            # The end of the day, or of another long quota, is another one by the new clock.
            assert after - (now + by_s) <= max(held_s + 1.0, 100_000.0)
