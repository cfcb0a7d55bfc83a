"""What is shown of a pool: its limits with their signals, the pace, what holds it, and the sentence."""

from __future__ import annotations

import math
from datetime import UTC
from random import Random
from typing import Any

import pytest

from scheduler.pauses import MANUAL, PauseWindow
from scheduler.pools.blind import START_PACE
from scheduler.pools.desks import SILENT_S
from scheduler.pools.hold import PROBE_LOST_S, Door
from scheduler.pools.messages import Cost, Limits, Rejected, Report, Used
from scheduler.pools.meter import HEADROOM
from scheduler.pools.portrait import portrait, portraits
from scheduler.pools.prose import Prose
from scheduler.pools.quota import PROSE, Quota
from scheduler.pools.quotas import Dimension, Reading
from scheduler.pools.records import ALONE, CONFIGURED, KnownLimit, Portrait, State
from scheduler.pools.rejection import Kind, Rejection
from scheduler.pools.sentence import clock_time, count, figure
from tests.support.jobs import T0

#: ``T0`` is 22:13:20 in UTC.
RPM, TPM, RPD = "x-ratelimit-limit-requests", "x-ratelimit-limit-tokens", "ratelimit-limit"
NOTHING = Limits()
COST = Cost(300.0, 200.0)


def a_reading(limit: float | None = 600.0, remaining: float | None = 590.0, source: str = RPM, **fields: Any) -> Reading:
    dimension = Dimension.TOKENS if source == TPM else Dimension.REQUESTS
    plain = {"reset_s": None, "period_s": 60.0, "rounding": 0.0}
    return Reading(dimension, limit, remaining, source=source, **{**plain, **fields})


def a_rejection(kind: Kind = "rate", retry_after_s: float | None = None, prose: Prose | None = None) -> Rejected:
    return Rejected(T0 - 0.5, Rejection(kind, retry_after_s, (), prose, None), COST)


def after(*reports: Report, limits: Limits = NOTHING, at: float = T0, quota: Quota | None = None) -> Quota:
    """A pool that took in ``reports``, all at once."""
    quota = quota or Quota()
    for report in reports:
        quota.exchange(report, limits, at, Random(1))
    return quota


def a_report(worker: str = "w", **fields: Any) -> Report:
    return Report(worker, **fields)


def heard(*readings: Reading, **fields: Any) -> Report:
    return a_report(heard=[(T0 - 1.0, reading) for reading in readings], **fields)


def seen(quota: Quota, limits: Limits = NOTHING, window: PauseWindow | None = None, now: float = T0) -> Portrait:
    return portrait("main", quota, limits, window, now, UTC)


def a_window(reason: str, until: float, **fields: Any) -> PauseWindow:
    return PauseWindow("pool:main", until, reason, T0 - 5.0, **fields)


def limit_of(quota: Quota, signal: str, limits: Limits = NOTHING, now: float = T0) -> KnownLimit:
    (found,) = [one for one in seen(quota, limits, now=now).limits if one.signal == signal]
    return found


class TestLimits:
    def test_what_is_configured_stands_before_what_was_said(self) -> None:
        limits = Limits({"requests": 300.0, "tokens": 90_000.0}, requests_per_day=1_000.0)
        found = [(str(one.dimension), one.limit, one.period_s, one.signal) for one in seen(after(heard(a_reading())), limits).limits]
        assert found == [
            ("requests", 300.0, 60.0, CONFIGURED),
            ("tokens", 90_000.0, 60.0, CONFIGURED),
            ("requests", 1_000.0, 86_400.0, CONFIGURED),
            ("requests", 600.0, 60.0, RPM),
        ]

    def test_a_header_tells_what_is_left_and_how_long_ago(self) -> None:
        found = limit_of(after(heard(a_reading())), RPM, now=T0 + 3.0)
        assert (found.remaining, found.remaining_age_s, found.kind) == (590.0, 4.0, None)
        assert found.pace_per_minute == found.calls_per_minute == pytest.approx(600 * HEADROOM)

    def test_a_header_that_only_tells_what_is_left_is_no_limit(self) -> None:
        found = limit_of(after(heard(a_reading(limit=None, source=RPD))), RPD)
        assert (found.limit, found.period_s, found.remaining, found.pace_per_minute, found.binds) == (None, None, 590.0, None, False)

    def test_a_long_quota_is_counted_and_not_spread(self) -> None:
        found = limit_of(after(heard(a_reading(10_000.0, 9_000.0, RPD, period_s=86_400.0))), RPD)
        assert (found.limit, found.pace_per_minute, found.binds) == (10_000.0, None, False)

    @pytest.mark.parametrize(("reset_s", "kind"), [(3.0, "bucket"), (41.0, "window")])
    def test_window_or_bucket_is_told_once_it_is_known(self, reset_s: float, kind: str) -> None:
        readings = [heard(a_reading(600.0, 570.0 - number, reset_s=reset_s)) for number in range(8)]
        assert limit_of(after(*readings), RPM).kind == kind

    def test_what_a_429_says_is_a_limit_too(self) -> None:
        prose = Prose(Dimension.REQUESTS, 20.0, 60.0)
        found = limit_of(after(a_report(rejections=[a_rejection(prose=prose)])), PROSE)
        assert (found.limit, found.period_s, found.binds) == (20.0, 60.0, True)

    def test_nothing_known_is_a_search(self) -> None:
        (found,) = seen(Quota()).limits
        assert (found.signal, found.limit, found.pace_per_minute, found.binds) == (ALONE, None, 60 * START_PACE, True)

    def test_a_rejection_makes_the_search_a_limit(self) -> None:
        (found,) = seen(after(a_report(rejections=[a_rejection()]))).limits
        assert found.signal == ALONE
        assert found.limit == found.calls_per_minute == pytest.approx(60 * START_PACE * 0.6)

    def test_use_is_of_the_last_minute_and_of_today(self) -> None:
        limits = Limits({"requests": 6_000.0}, requests_per_day=100.0, tokens_per_day=1e6)
        quota = after(a_report(wants=[COST] * 5, waiting=5), limits=limits)
        used = [(str(one.dimension), one.used_last_minute, one.used_today) for one in seen(quota, limits).limits]
        assert used == [("requests", 5.0, None), ("requests", 5.0, 5.0), ("tokens", 2_500.0, 2_500.0)]
        assert [one.used_today for one in seen(quota, limits, now=T0 + 86_400).limits] == [None, 0.0, 0.0]
        assert [one.used_last_minute for one in seen(quota, limits, now=T0 + 300).limits] == [0.0, 0.0, 0.0]


LIMITS = [NOTHING, Limits({"requests": 500.0}), Limits({"tokens": 50_000.0}, requests_per_day=50.0), Limits(max_in_flight=3)]


def a_random_report(rng: Random, now: float) -> Report:
    sort = rng.random()
    reading = a_reading(600.0, rng.uniform(0, 600), rng.choice([RPM, TPM]), reset_s=9.5)
    kind: Kind = rng.choice(["rate", "overload", "quota"])
    rejected = Rejected(now - 0.1, Rejection(kind, rng.choice([None, 0.5, 30.0]), (), None, None), COST)
    return a_report(
        rng.choice("ab"),
        wants=[COST] * rng.randrange(4),
        waiting=3,
        flying=rng.randrange(6),
        answered=rng.randrange(3),
        used=[Used("t", COST, 400.0, Cost(rng.uniform(1, 900), 50.0))] if sort < 0.5 else [],
        heard=[(now - 0.5, reading)] if sort < 0.3 else [],
        rejections=[rejected] if sort > 0.8 else [],
        let_in_at=now - 0.2 if sort < 0.6 else None,
    )


class TestPace:
    def test_the_lowest_in_calls_of_the_usual_size_binds(self) -> None:
        used = [Used("t", COST, None, COST)]
        quota = after(heard(a_reading(), a_reading(100_000.0, 99_000.0, TPM), used=used))
        portrait_ = seen(quota)
        assert portrait_.binding is not None
        assert portrait_.binding.signal == TPM
        assert portrait_.calls_per_minute == pytest.approx(100_000 * HEADROOM / 500)
        assert (portrait_.mean_call and (portrait_.mean_call.input_tokens, portrait_.mean_call.calls)) == (300.0, 1)

    def test_tokens_bind_although_the_size_of_a_call_is_unknown(self) -> None:
        portrait_ = seen(Quota(), Limits({"tokens": 90_000.0}))
        assert portrait_.calls_per_minute is None
        assert portrait_.binding is not None
        assert portrait_.summary == "paced at 89,730 tokens a minute by the configured tokens_per_minute; no call yet"

    def test_it_is_slowed_when_little_is_left(self) -> None:
        quota = after(heard(a_reading(600.0, 600.0), a_reading(600.0, 30.0)))
        assert limit_of(quota, RPM).is_slowed
        assert seen(quota).summary == f"slowed to 120 calls a minute: {RPM} says 30 of 600 requests left; idle"

    @pytest.mark.parametrize("seed", range(30))
    def test_it_is_the_pace_that_calls_are_booked_at(self, seed: int) -> None:
        """Whatever happened to a pool: what is shown is what the next exchange goes by, and showing changes nothing."""
        rng, quota, now = Random(seed), Quota(), T0
        limits = rng.choice(LIMITS)
        for _ in range(40):
            now += rng.uniform(0.01, 20.0)
            report = a_random_report(rng, now)
            quota.exchange(report, limits, now, rng)
            document = quota.to_json()
            shown = seen(quota, limits, now=now)
            assert quota.to_json() == document
            mean = quota.costs.mean
            paces = [(pace, mean.of(quota.meters[name].dimension)) for name, pace in quota.paces(limits, now).items()]
            booked_at = min((60 * pace / per_call for pace, per_call in paces if per_call > 0), default=None)
            assert shown.calls_per_minute == (None if booked_at is None else pytest.approx(booked_at))
            assert (shown.state is State.HELD) == (quota.hold.door(now) is Door.SHUT)
            assert shown.in_flight == quota.desks.flying
            assert sum(one.binds for one in shown.limits) == 1
            assert shown.summary


class TestWorkers:
    def test_those_that_fell_silent_are_not_counted(self) -> None:
        quota = after(a_report("old", flying=3, waiting=4), at=T0)
        after(a_report("new", flying=1, waiting=2), at=T0 + SILENT_S - 1, quota=quota)
        at = seen(quota, now=T0 + SILENT_S - 1)
        assert ([one.worker for one in at.workers], at.in_flight, at.waiting) == (["new", "old"], 4, 6)
        later = seen(quota, now=T0 + SILENT_S + 1)
        assert ([one.worker for one in later.workers], later.in_flight, later.waiting) == (["new"], 1, 2)

    @pytest.mark.parametrize(
        ("configured", "learned", "shown"),
        [
            (None, None, (None, None)),
            (9, None, (9, CONFIGURED)),
            (None, 4, (4, "learned")),
            (9, 4, (4, "learned")),
            (3, 4, (3, CONFIGURED)),
        ],
    )
    def test_the_lower_number_in_flight_holds(self, configured: int | None, learned: int | None, shown: tuple[Any, Any]) -> None:
        quota = Quota()
        quota.in_flight.limit = learned
        found = seen(quota, Limits(max_in_flight=configured))
        assert (found.max_in_flight, found.max_in_flight_from) == shown


HELD_TO = T0 + 600.0  # 22:23:20


def held(kind: Kind, retry_after_s: float = 600.0) -> Quota:
    quota = after(a_report(rejections=[a_rejection(kind, retry_after_s)]))
    quota.hold.until = T0 + retry_after_s  # without the dice
    return quota


def trying() -> Quota:
    quota = held("rate")
    quota.hold.try_one("w", HELD_TO + 1.0)
    return quota


def busy(flying: int, waiting: int, *readings: Reading, max_in_flight: int | None = None) -> tuple[Quota, Limits]:
    return after(heard(*readings, flying=flying, waiting=waiting)), Limits(max_in_flight=max_in_flight)


def distrusted() -> Quota:
    quota = after(heard(a_reading()))
    quota.distrusted, quota.blind.searching, quota.blind.pace = True, False, 4.0
    return quota


def found_out() -> Quota:
    quota = after(a_report(flying=2))
    quota.blind.searching, quota.blind.pace = False, 9.0
    return quota


class TestSentence:
    @pytest.mark.parametrize(
        ("quota", "limits", "sentence"),
        [
            (Quota(), NOTHING, "nothing is known of its limits yet: it begins with 2.0 calls a second; no call yet"),
            (
                after(a_report()),
                NOTHING,
                "nothing is known of its limits yet: trying 2.0 calls a second, more while nothing is rejected; idle",
            ),
            (
                after(a_report(flying=1)),
                Limits(requests_per_day=100.0),
                "nothing is known of the pace that it allows yet: trying 2.0 calls a second, more while nothing is rejected; "
                "1 in flight, 0 waiting",
            ),
            (Quota(), Limits({"requests": 600.0}), "paced at 598 calls a minute by the configured requests_per_minute; no call yet"),
            (*busy(12, 40, a_reading()), f"paced at 598 calls a minute by {RPM}; 12 in flight, 40 waiting"),
            (
                *busy(12, 40, a_reading(), max_in_flight=12),
                "12 in flight, as many as may be (as configured), 40 waiting; the pace would allow 598 calls a minute",
            ),
            (*busy(12, 0, a_reading(), max_in_flight=12), f"paced at 598 calls a minute by {RPM}; 12 in flight, 0 waiting"),
            (found_out(), NOTHING, "paced at 540 calls a minute by what 429s alone show; 2 in flight, 0 waiting"),
            (distrusted(), NOTHING, f"paced at 240 calls a minute by what 429s alone show, for {RPM} proved untrue; idle"),
            (
                after(a_report(rejections=[a_rejection("rate", 0.0, Prose(Dimension.REQUESTS, 20.0, 60.0))])),
                NOTHING,
                "was held: rate_limited; its time is up, the next call goes alone to see whether it is open again",
            ),
        ],
    )
    def test_open(self, quota: Quota, limits: Limits, sentence: str) -> None:
        assert portrait("main", quota, limits, None, T0 + 0.1, UTC).summary == sentence

    @pytest.mark.parametrize(
        ("quota", "window", "state", "sentence"),
        [
            (held("rate"), None, State.HELD, "held until 22:23:20: rate_limited; one call tries again then"),
            (held("overload"), None, State.HELD, "held until 22:23:20: overloaded; one call tries again then"),
            (held("quota"), None, State.HELD, "held until 22:23:20: quota_exhausted; `scheduler resume pool:main` tries again"),
            (
                held("quota", 86_400.0),
                None,
                State.HELD,
                "held until 2023-11-15 22:13:20: quota_exhausted; `scheduler resume pool:main` tries again",
            ),
            (
                # the jobs that were put off closed it for a little longer, and know less
                held("quota"),
                a_window("rate_limited", HELD_TO + 1.0),
                State.HELD,
                "held until 22:23:21: quota_exhausted; `scheduler resume pool:main` tries again",
            ),
            (Quota(), a_window("rate_limited", HELD_TO), State.HELD, "held until 22:23:20: rate_limited; one call tries again then"),
            (
                Quota(),
                a_window("outage", HELD_TO),
                State.HELD,
                "closed until 22:23:20: outage, for job after job failed; one job tries again then, `scheduler resume pool:main` tries now",
            ),
            (Quota(), a_window(MANUAL, math.inf), State.PAUSED, "paused by hand; `scheduler resume pool:main` opens it"),
            (Quota(), a_window(MANUAL, HELD_TO), State.PAUSED, "paused by hand until 22:23:20; `scheduler resume pool:main` opens it"),
            (held("rate"), a_window(MANUAL, math.inf), State.PAUSED, "paused by hand; `scheduler resume pool:main` opens it"),
            (held("rate"), a_window(MANUAL, T0 + 60), State.HELD, "held until 22:23:20: rate_limited; one call tries again then"),
        ],
    )
    def test_closed(self, quota: Quota, window: PauseWindow | None, state: State, sentence: str) -> None:
        found = seen(quota, window=window)
        assert (found.state, found.summary) == (state, sentence)

    @pytest.mark.parametrize(
        ("quota", "window", "now", "sentence"),
        [
            (held("rate"), None, HELD_TO + 1, "the next call goes alone"),
            (trying(), None, HELD_TO + 2, "one call is under way"),
            (trying(), None, HELD_TO + 2 + PROBE_LOST_S, "the next call goes alone"),
            (Quota(), a_window("outage", HELD_TO), HELD_TO + 1, "was held: outage; its time is up, the next job goes alone"),
            (Quota(), a_window("outage", HELD_TO, probe="job"), HELD_TO + 1, "was held: outage; one job is under way"),
        ],
    )
    def test_trying(self, quota: Quota, window: PauseWindow | None, now: float, sentence: str) -> None:
        found = seen(quota, window=window, now=now)
        assert found.state is State.TRYING
        assert sentence in found.summary

    def test_a_pause_by_hand_that_ended_is_none(self) -> None:
        found = seen(Quota(), window=a_window(MANUAL, T0 - 1))
        assert (found.state, found.pause) == (State.OPEN, None)

    def test_a_name_that_a_shell_would_take_apart_is_quoted(self) -> None:
        found = portrait("two words", held("quota"), NOTHING, None, T0, UTC)
        assert "`scheduler resume 'pool:two words'` tries again" in found.summary

    @pytest.mark.parametrize("until", [1e15, 1e300, math.inf])
    def test_no_time_is_too_late_to_tell(self, until: float) -> None:
        quota = held("quota")
        quota.hold.until = until
        assert seen(quota).summary.startswith("held")


def test_the_last_rejection_is_told_with_its_kind() -> None:
    quota = after(a_report(rejections=[a_rejection(), a_rejection("overload")], flying=4))
    found = seen(quota, now=T0 + 9)
    assert found.last_rejection is not None
    assert (found.rejections, found.last_rejection.reason, found.last_rejection.at) == (2, "overloaded", T0)


def test_pools_are_those_that_anybody_knows() -> None:
    windows = [
        PauseWindow("pool:paused", math.inf, MANUAL, T0),
        PauseWindow("pool:over", T0 - 1, MANUAL, T0 - 9),
        PauseWindow("lane", math.inf, MANUAL, T0),
    ]
    documents = {"stored": after(a_report(flying=2)).to_json(), "broken": "{"}
    found = portraits(documents, windows, ["named"], lambda name: NOTHING, T0, UTC)
    assert [(one.name, one.state, one.in_flight) for one in found] == [
        ("broken", State.OPEN, 0),
        ("named", State.OPEN, 0),
        ("paused", State.PAUSED, 0),
        ("stored", State.OPEN, 2),
    ]


@pytest.mark.parametrize(
    ("amount", "shown"), [(0, "0"), (0.0421, "0.042"), (0.25, "0.25"), (2, "2.0"), (42.46, "42.5"), (598.2, "598"), (12_345.6, "12,346")]
)
def test_a_figure_is_as_exact_as_anybody_reads_it(amount: float, shown: str) -> None:
    assert figure(amount) == shown


@pytest.mark.parametrize(("amount", "shown"), [(0.0, "0"), (40.0, "40"), (60_000.0, "60,000"), (0.5, "0.5")])
def test_a_count_is_whole_where_it_can_be(amount: float, shown: str) -> None:
    assert count(amount) == shown


def test_a_time_has_its_date_unless_it_is_today() -> None:
    assert clock_time(T0, T0, UTC) == "22:13:20"
    assert clock_time(T0 + 7_200, T0, UTC) == "2023-11-15 00:13:20"
