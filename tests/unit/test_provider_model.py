"""The simulated provider: what it lets in against a brute-force oracle, what it says against what is, what it adds up."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.provider import (
    Accounting,
    Answer,
    Call,
    Concurrency,
    Dialect,
    Dimension,
    Latency,
    Limit,
    Mischief,
    Provider,
    ProviderSpec,
    Shape,
    Sky,
    Slope,
    Tenant,
    WaitForm,
    Weather,
    as_exception,
    preset,
)
from scheduler.errors import (
    AIProviderError,
    ContextTooLongError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitError,
)
from scheduler.pools.answers import error_from_answer, error_from_exception
from scheduler.pools.headers import duration_s, retry_after_s, until_reset_s
from scheduler.pools.said import read_answer

START = 1_700_000_000.0  # 20 s into a minute of the wall clock
EXACT = Latency(base_s=2.0, per_output_token_s=0.01, sigma=0.0)
SMALL = Call(input_tokens=10, max_tokens=20, output_tokens=5)
SHAPES = list(Shape)
BURSTS = [60.0, 10.0, 1.0]


def provider(*limits: Limit, start: float = START, seed: int = 1, **spec: Any) -> Provider:
    return Provider(ProviderSpec(limits=limits, **{"latency": EXACT, **spec}), random.Random(seed), start=start)


def requests(amount: float, shape: Shape = Shape.BUCKET, **limit: Any) -> Limit:
    return Limit(Dimension.REQUESTS, amount, shape, **limit)


def tokens(amount: float, shape: Shape = Shape.BUCKET, **limit: Any) -> Limit:
    return Limit(Dimension.TOKENS, amount, shape, **limit)


def let_in(one: Provider, now: float, call: Call = SMALL, at_most: int = 10_000) -> int:
    """How many calls of this moment are let in before one is refused."""
    return next((number for number in range(at_most) if one.call(call, now).status != 200), at_most)


class Oracle:
    """One limit from its definition alone: looks at everything that was ever charged, each time anew."""

    def __init__(self, limit: Limit, accounting: Accounting) -> None:
        self.limit, self.accounting = limit, accounting
        self.charges: list[tuple[float, float, float, float]] = []  # at, charged, settles at, real

    def add(self, call: Call, now: float, ends_at: float) -> None:
        written = min(call.output_tokens, call.max_tokens)
        if self.limit.dimension is Dimension.REQUESTS:
            self.charges.append((now, 1, ends_at, 1))
        elif self.accounting is Accounting.RESERVE:
            self.charges.append((now, self.first(call), ends_at, call.input_tokens + written))
        else:
            self.charges += [(now, call.input_tokens, ends_at, call.input_tokens), (ends_at, written, ends_at, written)]

    def first(self, call: Call) -> int:
        if self.limit.dimension is Dimension.REQUESTS:
            return 1
        return call.input_tokens + (max(call.max_tokens, 16) if self.accounting is Accounting.RESERVE else 0)

    def left(self, now: float) -> float:
        if self.limit.shape is Shape.BUCKET:
            return self._bucket(now)
        return self.limit.amount - sum(real if end <= now else charged for at, charged, end, real in self._remembered(now))

    def admits(self, call: Call, now: float) -> bool:
        need = max(self.first(call), 1)
        if need > self.limit.amount:
            return False
        return min(need, self.capacity) <= self.left(now) + 1e-3 if self.limit.shape is Shape.BUCKET else need <= self.left(now)

    @property
    def capacity(self) -> float:
        burst_s = 60.0 if self.limit.burst_s is None else self.limit.burst_s
        return max(self.limit.amount / 60 * burst_s, 1.0 if self.limit.dimension is Dimension.REQUESTS else 0.0)

    def _bucket(self, now: float) -> float:
        """Between any past moment and now no more than a full bucket and the refill can have been there."""
        events = [(at, charged) for at, charged, _, _ in self.charges if at <= now]
        events += [(end, real - charged) for _, charged, end, real in self.charges if end <= now and real != charged]
        events.sort(key=lambda event: event[0])
        left, since = self.capacity, 0.0
        for at, amount in reversed(events):
            since += amount
            left = min(left, self.capacity + self.limit.amount / 60 * (now - at) - since)
        return left

    def _remembered(self, now: float) -> list[tuple[float, float, float, float]]:
        past = sorted(charge for charge in self.charges if charge[0] <= now)
        if self.limit.shape is Shape.WALL_CLOCK:
            return [charge for charge in past if charge[0] // 60 == now // 60]
        if self.limit.shape is Shape.SLIDING:
            return [charge for charge in past if charge[0] > now - 60]
        begin = -math.inf
        for at, *_ in past:
            begin = at if at >= begin + 60 else begin
        return [charge for charge in past if charge[0] >= begin] if now < begin + 60 else []


# quarters of seconds are exact in floats, so that the oracle and the model see the same moments at the edges
CALLS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0, 3.0, 17.0, 60.0]),
        st.builds(Call, st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 25, 50])),
    ),
    max_size=60,
)


class TestWhatIsLetIn:
    @pytest.mark.parametrize("accounting", list(Accounting))
    @pytest.mark.parametrize("dimension", [Dimension.REQUESTS, Dimension.TOKENS])
    @pytest.mark.parametrize(("shape", "burst_s"), [*((Shape.BUCKET, burst_s) for burst_s in BURSTS), *((shape, None) for shape in SHAPES)])
    @settings(max_examples=15, deadline=None)
    @given(calls=CALLS, latency_s=st.sampled_from([2.0, 45.0]))
    def test_it_is_what_the_definition_of_the_shape_lets_in(
        self,
        accounting: Accounting,
        dimension: Dimension,
        shape: Shape,
        burst_s: float | None,
        calls: list[tuple[float, Call]],
        latency_s: float,
    ) -> None:
        limit = Limit(dimension, 6.0 if dimension is Dimension.REQUESTS else 120.0, shape, burst_s=burst_s)
        one, now = provider(limit, accounting=accounting, latency=Latency(latency_s, 0.0, 0.0)), START
        oracle = Oracle(limit, accounting)
        for gap_s, call in calls:
            now += gap_s
            expected = oracle.admits(call, now)
            answer = one.call(call, now)
            assert (answer.status == 200) is expected, f"at {now - START}: {oracle.left(now)} left for {call}"
            if expected:
                oracle.add(call, now, now + answer.latency_s)

    @pytest.mark.parametrize("shape", SHAPES)
    @settings(max_examples=25, deadline=None)
    @given(gaps=st.lists(st.floats(0, 20), max_size=120))
    def test_no_window_ever_holds_more_than_the_limit_promises(self, shape: Shape, gaps: list[float]) -> None:
        one, now = provider(requests(12, shape, burst_s=10.0)), START
        for gap_s in gaps:
            now += gap_s
            one.call(SMALL, now)
        times = [admission.at for admission in one.admissions]
        for first in range(len(times)):
            for last in range(first, len(times)):
                count, span_s = last - first + 1, times[last] - times[first]
                if shape is Shape.BUCKET:
                    assert count <= 2 + 12 / 60 * span_s + 1e-6
                elif self.is_one_window(shape, times[first], times[last]):
                    assert count <= 12
                elif shape is Shape.ANCHORED and span_s < 60 - 1e-5:
                    assert count <= 24  # the end of one window and the begin of the next

    @staticmethod
    def is_one_window(shape: Shape, first: float, last: float) -> bool:
        last += 1e-5  # the model forgets a microsecond early
        return last - first < 60 if shape is Shape.SLIDING else shape is Shape.WALL_CLOCK and first // 60 == last // 60

    @pytest.mark.parametrize(("burst_s", "at_once"), [(60.0, 60), (10.0, 10), (1.0, 1), (0.1, 1)])
    def test_a_bucket_holds_its_burst_and_at_least_one_request(self, burst_s: float, at_once: int) -> None:
        one = provider(requests(60, burst_s=burst_s))
        assert let_in(one, START) == at_once
        assert let_in(one, START + 3_600) == at_once  # a rest saves nothing up

    def test_a_window_of_the_wall_clock_ends_with_the_minute(self) -> None:
        one = provider(requests(5, Shape.WALL_CLOCK))
        assert [let_in(one, START + s) for s in (0, 39.9, 40, 41, 100)] == [5, 0, 5, 0, 5]

    def test_an_anchored_window_begins_with_its_first_request(self) -> None:
        one = provider(requests(5, Shape.ANCHORED))
        assert [let_in(one, START + s) for s in (7, 66.9, 67, 126.9, 200)] == [5, 0, 5, 0, 5]

    def test_a_call_that_another_limit_refuses_anchors_nothing(self) -> None:
        one = provider(requests(5, Shape.ANCHORED), tokens(100, Shape.SLIDING), accounting=Accounting.ACTUAL)
        assert one.call(Call(101, 1, 1), START).status == 429
        assert [let_in(one, START + s) for s in (30, 89.9, 90)] == [5, 0, 5]

    @pytest.mark.parametrize("shape", [Shape.WALL_CLOCK, Shape.ANCHORED])
    def test_what_settles_after_its_window_gives_nothing_back(self, shape: Shape) -> None:
        one = provider(tokens(100, shape), latency=replace(EXACT, base_s=45.0))
        sizes = {0: 17, 30: 60, 61: 100, 80: 20, 107: 20}  # that of 30 settles at 75, amid the next window
        assert [one.call(Call(1, size - 1, 0), START + s).status for s, size in sizes.items()] == [200, 200, 200, 429, 200]

    def test_a_sliding_log_forgets_one_by_one(self) -> None:
        one = provider(requests(2, Shape.SLIDING))
        assert [one.call(SMALL, START + s).status for s in (0, 30, 59, 60, 61, 90)] == [200, 200, 429, 200, 429, 200]

    def test_a_call_greater_than_the_burst_waits_for_a_full_bucket_and_leaves_debt(self) -> None:
        one, big = provider(tokens(6_000, burst_s=1.0), accounting=Accounting.ACTUAL), Call(1_000, 10, 0)
        assert [one.call(big, START + s).status for s in (0, 9.9, 10)] == [200, 429, 200]

    def test_all_limits_must_agree_and_none_is_charged_for_a_refusal(self) -> None:
        one = provider(requests(60), tokens(100), accounting=Accounting.ACTUAL)
        assert let_in(one, START) == 10  # of ten tokens each
        assert one.call(Call(0, 5, 0), START).status == 429  # not even one is left
        assert one.call(SMALL, START).headers["x-ratelimit-remaining-requests"] == "50"

    def test_a_daily_cap_stands_beside_the_limit_of_the_minute(self) -> None:
        one = provider(requests(10, Shape.WALL_CLOCK), requests(15, Shape.WALL_CLOCK, per_s=86_400.0))
        assert [let_in(one, START + s) for s in (0, 40, 100, 86_400)] == [10, 5, 0, 10]

    @pytest.mark.parametrize("shape", SHAPES)
    def test_refused_calls_use_the_limit_up_where_failures_count(self, shape: Shape) -> None:
        let = {}
        for counting in (False, True):
            one = provider(requests(60, shape), failures_count=counting)
            let_in(one, START)
            let[counting] = sum(one.call(SMALL, START + tick / 2).status == 200 for tick in range(1, 400))
        assert let[False] >= 150
        # who hammers a bucket or a log keeps it empty; a window forgets its failures too
        assert let[True] == (0 if shape in (Shape.BUCKET, Shape.SLIDING) else let[False])

    def test_a_call_in_the_past_is_an_error_that_says_so(self) -> None:
        one = provider()
        one.call(SMALL, START + 1)
        with pytest.raises(ValueError, match="never decreases"):
            one.call(SMALL, START)


class TestChangingLimits:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_limit_that_halves_and_doubles_lets_in_half_and_double(self, shape: Shape) -> None:
        one = provider(requests(60, shape, burst_s=1.0), schedule=((640.0, 0.5), (1_240.0, 2.0)))
        for tick in range(400, 18_400, 2):
            one.call(SMALL, START + tick / 10)
        counted = [one.used(START + t0, START + t0 + 600)["requests"] for t0 in (40, 640, 1_240)]
        assert counted == pytest.approx([600, 300, 1_200], rel=0.01)
        offered = [one.offered(START + t0, START + t0 + 600)["requests"] for t0 in (40, 640, 1_240)]
        assert offered == pytest.approx([600, 300, 1_200])

    def test_a_bucket_that_shrinks_loses_its_surplus(self) -> None:
        assert let_in(provider(requests(60), schedule=((10.0, 0.5),)), START + 10) == 30

    def test_offered_integrates_over_changes(self) -> None:
        one = provider(requests(60), schedule=((30.0, 0.5), (90.0, 3.0)))
        assert one.offered(START, START + 120)["requests"] == pytest.approx(30 + 30 + 90)
        assert one.offered(START + 60, START + 100)["requests"] == pytest.approx(15 + 30)


class TestAccounting:
    def test_reserving_charges_the_longest_answer_and_settles_to_the_real_one(self) -> None:
        one = provider(tokens(6_000), latency=replace(EXACT, base_s=0.5, per_output_token_s=0.0))
        assert one.call(Call(100, 900, 50), START).headers["x-ratelimit-remaining-tokens"] == "5000"
        assert one.call(Call(100, 0, 50), START).headers["x-ratelimit-remaining-tokens"] == str(5_000 - 116)
        assert one.admissions[1].charged == {"tokens": 116.0}
        # 300 tokens of real use, of which the refill gave back 100 in a second
        assert one.call(Call(100, 900, 900), START + 1).headers["x-ratelimit-remaining-tokens"] == str(6_000 - 300 + 100 - 1_000)

    def test_actual_accounting_charges_output_when_it_is_written(self) -> None:
        one = provider(Limit(Dimension.OUTPUT, 600), Limit(Dimension.INPUT, 6_000), accounting=Accounting.ACTUAL, output_pieces=2)
        answer = one.call(Call(100, 900, 800), START)
        assert answer.latency_s == 10.0  # half of the answer is there after 5 s
        after = [one.call(Call(1, 1, 0), START + s).headers.get("x-ratelimit-remaining-output-tokens") for s in (4.9, 5.0, 10.0)]
        assert after == ["600", "200", "0"]
        assert one.call(Call(1, 1, 0), START + 10).status == 429
        assert one.call(Call(1, 1, 0), START + 25.2).status == 200  # 150 of debt at 10 a second, and one more

    @settings(max_examples=40, deadline=None)
    @given(calls=CALLS, accounting=st.sampled_from(list(Accounting)), pieces=st.integers(1, 4))
    def test_what_is_used_is_what_answers_say(self, calls: list[tuple[float, Call]], accounting: Accounting, pieces: int) -> None:
        limits = [Limit(dimension, 400) for dimension in Dimension]
        one, now, said = provider(*limits, accounting=accounting, output_pieces=pieces), START, [0, 0, 0]
        for gap_s, call in calls:
            now += gap_s
            usage = one.call(call, now).usage
            if usage:
                said = [said[0] + 1, said[1] + usage[0], said[2] + usage[1]]
        used = one.used(START, now + 100)
        expected = {"requests": said[0], "tokens": said[1] + said[2], "input_tokens": said[1], "output_tokens": said[2]}
        assert used == expected
        assert one.in_flight == 0
        assert one.counts() | {"admitted": said[0], "rejected": len(calls) - said[0]} == one.counts()

    def test_spans_are_half_open_and_add_up(self) -> None:
        one = provider(requests(60))
        for second in range(10):
            one.call(SMALL, START + second)
        whole = one.used(START, START + 10)["requests"]
        assert whole == 10 == sum(one.used(START + a, START + b)["requests"] for a, b in pairwise([0, 3, 7, 10]))
        assert one.counts(START, START + 3)["admitted"] == 3


class TestShare:
    def test_it_is_used_over_offered_of_the_dimension_that_binds(self) -> None:
        one = provider(requests(60), tokens(6_000), accounting=Accounting.ACTUAL)
        for tick in range(30):
            one.call(Call(150, 50, 0), START + 2 * tick)
        assert one.used(START, START + 60) == {"requests": 30, "tokens": 4_500}
        assert one.offered(START, START + 60) == {"requests": 60, "tokens": 6_000}
        assert one.share(START, START + 60) == pytest.approx(0.75)

    def test_a_daily_cap_does_not_count_beside_a_limit_of_the_minute(self) -> None:
        one = provider(requests(60), requests(1_000, per_s=86_400.0))
        one.call(SMALL, START)
        assert one.share(START, START + 60) == pytest.approx(1 / 60)

    def test_without_limits_there_is_no_share(self) -> None:
        assert provider().share(START, START + 60) == 0.0

    @pytest.mark.parametrize("poisson", [False, True])
    def test_another_tenant_takes_its_share_while_it_is_there(self, poisson: bool) -> None:
        tenant = Tenant(share=0.4, start_s=600.0, end_s=1_200.0, poisson=poisson, input_tokens=5, output_tokens=5)
        one = provider(requests(120, burst_s=1.0), tokens(1_000_000), tenants=(tenant,))
        for tick in range(9_000):
            one.call(SMALL, START + tick / 5)
        spans = [(START + t0, START + t0 + 600) for t0 in (0, 600, 1_200)]
        taken = [one.taken(*span)["requests"] for span in spans]
        assert taken[0] == taken[2] == 0
        if not poisson:
            assert taken[1] > 120 * 10 * 0.4 * 0.4  # it competes with a caller that hammers
        for span, gone in zip(spans, taken, strict=True):
            assert one.offered(*span)["requests"] == 1_200 - gone
            assert one.share(*span) == pytest.approx(1.0, abs=0.01)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_tenant_that_insists_gets_its_share_whoever_else_calls(self, shape: Shape) -> None:
        one = provider(tokens(12_000, shape), tenants=(Tenant(0.3, insists=True),), accounting=Accounting.ACTUAL)
        for tick in range(12_000):
            one.call(SMALL, START + tick / 12)
        span = (START + 100, START + 1_000)
        assert one.taken(*span)["tokens"] == pytest.approx(0.3 * 12_000 * 15, rel=0.02)
        assert one.share(*span) == pytest.approx(1.0, abs=0.1)

    @pytest.mark.parametrize("poisson", [False, True])
    def test_alone_a_tenant_takes_what_it_asks_for(self, poisson: bool) -> None:
        one = provider(requests(600), tokens(12_000), tenants=(Tenant(0.25, poisson=poisson),), schedule=((600.0, 2.0),))
        # 600 tokens a call: tokens bind, at 20 calls a minute
        assert one.taken(START, START + 600)["requests"] == pytest.approx(50, rel=0.35 if poisson else 0.03)
        assert one.taken(START + 600, START + 1_200)["tokens"] == pytest.approx(60_000, rel=0.35 if poisson else 0.03)


class TestOtherLimits:
    @pytest.mark.parametrize("status", [429, 503])
    def test_no_more_calls_are_in_flight_than_the_cap(self, status: Any) -> None:
        one = provider(concurrency=Concurrency(3, status), latency=replace(EXACT, per_output_token_s=0.0))
        answers = [one.call(SMALL, START + s) for s in (0, 0.5, 1, 1.5, 1.99, 2)]
        assert [answer.status for answer in answers] == [200, 200, 200, status, status, 200]
        assert isinstance(error_from_exception(as_exception(answers[3]), START), OverloadedError)
        assert one.rejected == 2

    def test_traffic_may_grow_by_half_in_a_quarter_of_an_hour(self) -> None:
        one = provider(slope=Slope(floor_per_min=600.0), latency=replace(EXACT, base_s=0.1))
        refused: list[Answer] = []
        for minute in range(50):
            for _ in range(300):
                answer = one.call(SMALL, START + 40 + 60 * minute)
                refused += [answer] if answer.status != 200 else []
        carried = [sum(1 for each in one.admissions if each.at == START + 40 + 60 * m) for m in range(50)]
        assert carried[:15] == [60] * 15
        assert carried[15:30] == [90] * 15
        assert carried[30:45] == [135] * 15
        assert carried[45] == 202
        assert refused[0].body["error"]["code"] == "slow_down"  # type: ignore[index, call-overload]

    def test_a_quiet_hour_takes_the_slope_back_to_its_floor(self) -> None:
        one = provider(slope=Slope(floor_per_min=600.0), latency=EXACT)
        let_in(one, START)
        assert let_in(one, START + 900, at_most=1_000) == 90
        assert let_in(one, START + 3_600, at_most=1_000) == 60


KINDS = [
    (Sky.STORM, OverloadedError),
    (Sky.BILLING, QuotaExhaustedError),
]


class TestWhatIsSaid:
    @pytest.mark.parametrize("dialect", list(Dialect))
    @pytest.mark.parametrize("dimension", [Dimension.REQUESTS, Dimension.TOKENS])
    def test_a_rate_limit_is_read_as_one(self, dialect: Dialect, dimension: Dimension) -> None:
        limit = requests(1) if dimension is Dimension.REQUESTS else tokens(70)
        one = Provider(replace(preset(dialect), limits=(limit,), latency=EXACT), random.Random(1), start=START)
        one.call(Call(45, 10, 5), START)
        answer = one.call(Call(45, 10, 5), START + 1)
        assert answer.status == 429
        for error in (
            error_from_answer(answer.status, answer.headers, answer.body, START),
            error_from_exception(as_exception(answer), START),
        ):
            assert type(error) is RateLimitError
            silent = dialect in (Dialect.MISTRAL, Dialect.SILENT, Dialect.PROSE)
            assert (error.retry_after_s is None) is silent

    @pytest.mark.parametrize("dialect", list(Dialect))
    @pytest.mark.parametrize(("sky", "kind"), KINDS)
    def test_weather_is_read_as_what_it_is(self, dialect: Dialect, sky: Sky, kind: type[AIProviderError]) -> None:
        one = Provider(preset(dialect, weather=(Weather(sky),)), random.Random(1), start=START)
        answer = one.call(SMALL, START)
        assert type(error_from_answer(answer.status, answer.headers, answer.body, START)) is kind
        assert type(error_from_exception(as_exception(answer), START)) is kind
        assert one.failed == 1

    def test_storms_have_the_codes_of_their_dialects(self) -> None:
        def error(dialect: Dialect) -> Any:
            body = Provider(preset(dialect, weather=(Weather(Sky.STORM),)), start=START).call(SMALL, START).body
            assert isinstance(body, dict)
            return body["error"]

        assert error(Dialect.OPENAI)["code"] == "server_is_overloaded"
        assert error(Dialect.ANTHROPIC)["type"] == "overloaded_error"
        assert error(Dialect.GEMINI)["status"] == "UNAVAILABLE"

    @pytest.mark.parametrize("dialect", [one for one in Dialect if one is not Dialect.SILENT])
    @pytest.mark.parametrize("status", [429, 503])
    def test_too_many_in_flight_is_read_as_overload(self, dialect: Dialect, status: Any) -> None:
        one = Provider(preset(dialect, concurrency=Concurrency(0, status)), random.Random(1), start=START)
        answer = one.call(SMALL, START)
        assert answer.status == status
        assert type(error_from_exception(as_exception(answer), START)) is OverloadedError

    def test_gemini_names_a_day_and_groq_a_call_that_never_fits(self) -> None:
        day = Provider(preset(Dialect.GEMINI, rpd=0.5), start=START).call(SMALL, START)
        assert type(error_from_exception(as_exception(day), START)) is QuotaExhaustedError
        large = Provider(preset(Dialect.GROQ, tpm=5), start=START).call(SMALL, START)
        assert large.status == 413
        assert type(error_from_exception(as_exception(large), START)) is ContextTooLongError

    def test_prose_and_openai_speak_openais_words(self) -> None:
        for dialect in (Dialect.OPENAI, Dialect.PROSE):
            one = Provider(preset(dialect, tpm=60_000, failures_count=False), start=START)
            one.call(Call(59_000, 857, 857), START)
            said = one.call(Call(700, 70, 70), START)
            message = read_answer(said.status, said.headers, said.body, START).message
            assert "Limit 60000, Used 59857, Requested 770. Please try again in 627ms." in message
            assert bool(said.headers) is (dialect is Dialect.OPENAI)

    @pytest.mark.parametrize("shape", SHAPES)
    @settings(max_examples=25, deadline=None)
    @given(gaps=st.lists(st.floats(0, 9), min_size=1, max_size=40), amount=st.integers(1, 90))
    def test_remaining_reset_and_wait_are_true(self, shape: Shape, gaps: list[float], amount: int) -> None:
        """What remains fits and one more does not; after the wait a call fits; after the reset nothing is used."""
        made: list[float] = []

        def again() -> Provider:
            one = Provider(preset(Dialect.CEREBRAS, rpm=amount, shape=shape), random.Random(1), start=START)
            for at in made:
                one.call(SMALL, at)
            return one

        now, answer = START, again().call(SMALL, START)
        for gap_s in gaps:
            now += gap_s
            answer = again().call(SMALL, now)
            made.append(now)
        assert let_in(again(), now) == int(answer.headers["x-ratelimit-remaining-requests-minute"])
        reset_s = float(answer.headers["x-ratelimit-reset-requests-minute"])
        later = again().call(SMALL, now + reset_s + 1e-3)
        assert int(later.headers["x-ratelimit-remaining-requests-minute"]) == amount - 1
        if answer.status == 429:
            wait_s = again().call(SMALL, now).headers["retry-after"]
            assert again().call(SMALL, now + float(wait_s)).status == 200

    @pytest.mark.parametrize("form", [form for form in WaitForm if form is not WaitForm.ABSENT])
    @pytest.mark.parametrize("times", [0.3, 1.0, 3.0])
    def test_the_wait_has_every_form_and_may_lie(self, form: WaitForm, times: float) -> None:
        limits = (requests(7, burst_s=1.0),)
        one = Provider(ProviderSpec(limits, Dialect.GEMINI, wait_form=form, mischief=Mischief(wait_times=times)), start=START)
        one.call(SMALL, START)
        answer = one.call(SMALL, START)
        wait_s = read_answer(429, answer.headers, answer.body, START).retry_after_s
        coarse_s = 1.0 if form in (WaitForm.SECONDS, WaitForm.HTTP_DATE) else 0.001
        assert wait_s is not None
        assert 60 / 7 * times - 1e-6 <= wait_s <= 60 / 7 * times + coarse_s
        if form is WaitForm.HTTP_DATE:
            assert parsedate_to_datetime(answer.headers["retry-after"]).timestamp() == START + math.ceil(60 / 7 * times)

    def test_resets_are_spelled_as_each_dialect_does(self) -> None:
        call = Call(input_tokens=2_500, max_tokens=1, output_tokens=1)

        def headers(dialect: Dialect, **limits: float) -> dict[str, str]:
            spec = preset(dialect, **limits, accounting=Accounting.ACTUAL)
            return Provider(spec, start=START).call(call, START).headers

        openai = headers(Dialect.OPENAI, rpm=10_000, tpm=60_000)
        assert openai["x-ratelimit-reset-requests"] == "6ms"
        assert openai["x-ratelimit-reset-tokens"] == "2s500ms"
        anthropic = headers(Dialect.ANTHROPIC, rpm=50, itpm=10_000)
        assert anthropic["anthropic-ratelimit-input-tokens-reset"] == "2023-11-14T22:13:35Z"
        assert until_reset_s(anthropic["anthropic-ratelimit-input-tokens-reset"], START) == 15.0
        assert anthropic["anthropic-ratelimit-input-tokens-remaining"] == "8000"  # 7500, to the nearest thousand
        groq = headers(Dialect.GROQ, rpm=30, tpm=20_000, rpd=1_000)
        assert groq["x-ratelimit-limit-requests"] == "1000"
        assert duration_s(groq["x-ratelimit-reset-tokens"]) == 7.5
        mistral = headers(Dialect.MISTRAL, rpm=60, tpm=50_000)
        assert mistral == {
            "x-ratelimit-limit-req-minute": "60",
            "x-ratelimit-remaining-req-minute": "59",
            "x-ratelimit-limit-tokens-minute": "50000",
            "x-ratelimit-remaining-tokens-minute": "47500",
        }
        azure = headers(Dialect.AZURE, rpm=60, tpm=50_000)
        assert azure["x-ratelimit-limit-tokens"] == azure["x-ratelimit-remaining-tokens"] == "-1"
        assert "x-ratelimit-reset-tokens" not in azure

    @pytest.mark.parametrize(
        ("mischief", "expected"),
        [
            (Mischief(), ("60", "57", "9000", "8490")),
            (Mischief(stale_s=2.0), ("60", "59", "9000", "8830")),
            (Mischief(rounded_to=1_000), ("60", "57", "9000", "8000")),
            (Mischief(missing=("remaining", "reset")), ("60", None, "9000", None)),
            (Mischief(minus_one=(Dimension.REQUESTS,)), ("-1", "-1", "9000", "8490")),
            (Mischief(limit_times=2.0), ("120", "57", "18000", "8490")),
        ],
    )
    def test_each_mischief_does_what_it_says(self, mischief: Mischief, expected: tuple[str | None, ...]) -> None:
        limits = (requests(60, Shape.SLIDING), tokens(9_000, Shape.SLIDING))
        one = provider(*limits, mischief=mischief, latency=replace(EXACT, base_s=60.0))
        for second in range(3):
            headers = one.call(Call(100, 70, 70), START + second).headers
        names = [f"x-ratelimit-{part}-{word}" for word in ("requests", "tokens") for part in ("limit", "remaining")]
        assert tuple(headers.get(name) for name in names) == expected


class TestWeather:
    def test_a_storm_strikes_with_its_probability_while_it_lasts(self) -> None:
        one = provider(requests(100_000), weather=(Weather(Sky.STORM, 10.0, 20.0, probability=0.3),))
        for tick in range(3_000):
            one.call(SMALL, START + tick / 100)
        counts = [one.counts(START + t0, START + t0 + 10)["overloaded"] for t0 in (0, 10, 20)]
        assert counts[0] == counts[2] == 0
        assert counts[1] == pytest.approx(300, abs=60)
        assert one.used(START, START + 30)["requests"] == 3_000 - counts[1]  # what is not let in is not charged

    def test_an_outage_answers_500_or_loses_the_connection(self) -> None:
        one = provider(weather=(Weather(Sky.OUTAGE, lost=0.5),))
        answers = [one.call(SMALL, START) for _ in range(100)]
        assert {(answer.status, answer.fate) for answer in answers} == {(500, "answer"), (0, "disconnect")}
        assert {type(error_from_exception(as_exception(answer), START)) for answer in answers} == {AIProviderError}
        assert all(0.04 <= answer.latency_s <= 0.08 for answer in answers)

    def test_flapping_is_an_outage_every_other_half(self) -> None:
        one = provider(weather=(Weather(Sky.FLAPPING, 10.0, 40.0, period_s=10.0, lost=0.0),))
        assert [one.call(SMALL, START + s).status for s in (9, 10, 14, 15, 19, 20, 40)] == [200, 500, 500, 200, 200, 500, 200]

    @pytest.mark.parametrize(
        ("sky", "fate", "kind"),
        [
            (Sky.HANG, "hang", AIProviderError),
            (Sky.DISCONNECT, "disconnect", AIProviderError),
            (Sky.GARBAGE, "garbage", AIProviderError),
        ],
    )
    def test_spoiled_answers_were_let_in_and_are_charged(self, sky: Sky, fate: str, kind: type[AIProviderError]) -> None:
        one = provider(requests(60), weather=(Weather(sky),), hang_s=30.0)
        answer = one.call(SMALL, START)
        assert (answer.status, answer.fate, answer.usage) == (200, fate, None)
        assert answer.latency_s == (30.0 if sky is Sky.HANG else pytest.approx(2.05))
        assert type(error_from_exception(as_exception(answer), START)) is kind
        assert one.used(START, START + 60)["requests"] == 1

    def test_longer_answers_take_longer_and_the_median_is_as_asked(self) -> None:
        one = provider(latency=Latency(base_s=0.5, per_output_token_s=0.01, sigma=0.5))
        for output, expected_s in ((0, 0.5), (150, 2.0)):
            times = sorted(one.call(Call(1, 200, output), START).latency_s for _ in range(2_001))
            assert times[1_000] == pytest.approx(expected_s, rel=0.1)
            assert times[1_900] > 1.5 * times[1_000]

    def test_the_same_seed_gives_the_same_provider(self) -> None:
        spec: dict[str, Any] = {"tenants": (Tenant(0.5, poisson=True),), "weather": (Weather(Sky.STORM, probability=0.2),)}

        def run() -> list[Answer]:
            one = provider(requests(30), latency=Latency(), **spec)
            return [one.call(SMALL, START + s) for s in range(200)]

        assert run() == run()

    def test_a_good_answer_is_no_exception(self) -> None:
        with pytest.raises(ValueError, match="good answer"):
            as_exception(provider().call(SMALL, START))


def test_the_wait_header_reads_back_as_the_wait_that_helps_even_where_failures_count() -> None:
    one = provider(requests(60, burst_s=10.0), failures_count=True)
    now = START
    let_in(one, now)
    for _ in range(5):
        now += 0.5  # half of a request is there, and the failure takes it
        refused = one.call(SMALL, now)
        wait_s = retry_after_s(refused.headers, now)
        assert wait_s is not None
        now += wait_s
        assert one.call(SMALL, now).status == 200
