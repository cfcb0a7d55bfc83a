"""Pools through the whole engine: calls are paced, a 429 holds them all and burns nothing, workers share one quota."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import pytest

from benchmarks.provider import Call, Dialect, Provider, as_exception, preset
from scheduler import JobContext, NewJob, OverloadedError, QuotaExhaustedError, RateLimitError, Registry, Status
from scheduler.booth import PATIENT_S
from scheduler.clock import LoopClock, SystemClock
from scheduler.errors import PoolHeldError
from scheduler.events import Event, JobRateLimited, PoolHeld, PoolInFlightChanged, PoolLimitLearned, PoolOpened
from scheduler.pools.desks import SILENT_S
from scheduler.pools.quota import Quota, quota_from
from tests.support.engine import Engine, engine, in_real_time
from tests.support.virtual_time import in_virtual_time


@dataclass
class Desk:
    """A provider's front desk: notes each call with its time; ``refuse`` says with which error, if any, it is turned away."""

    takes_s: float = 0.2
    refuse: Callable[[float], Exception | None] = lambda at: None
    calls: list[tuple[float, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def ask(self, job: JobContext) -> str:
        at = anyio.current_time()
        self.calls.append((at, job.job_id))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            refused = self.refuse(at)
            await anyio.sleep(0.05 if refused else self.takes_s)
            if refused is not None:
                raise refused
        finally:
            self.at_once -= 1
        return "answer"

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.calls]

    def most_within(self, span_s: float) -> int:
        return max(len([at for at in self.times if start <= at < start + span_s]) for start in self.times)


def until(end_s: float, error: Callable[[], Exception], start_s: float = 0.0) -> Callable[[float], Exception | None]:
    """Refuse until a moment."""
    return lambda at: error() if start_s <= at < end_s else None


def calling(desk: Desk, **options: Any) -> Registry:
    """``ask`` and ``tell`` call within the pool, ``plain`` draws on it without a word, ``other`` is nobody's business."""
    routes = Registry()

    async def call(job: JobContext) -> str:
        async with job.pool.request(tokens=100) as call:
            answer = await desk.ask(job)
            call.observe((80, 20))
            return answer

    @routes.handler("ask", pool="main", **options)
    async def ask(job: JobContext) -> str:
        return await call(job)

    @routes.handler("tell", pool="main", **options)
    async def tell(job: JobContext) -> str:
        return await call(job)

    @routes.handler("plain", pool="main")
    async def plain(job: JobContext) -> str:
        return "done"

    @routes.handler("other")
    async def other(job: JobContext) -> str:
        await anyio.sleep(1.0)
        return "done"

    return routes


def pool(**settings: Any) -> dict[str, Any]:
    return {"main": settings}


async def document(at: Engine) -> Quota:
    return quota_from((await at.scheduler.store.shared()).get("main"))


async def drained(at: Engine, limit_s: float = 3_600.0) -> float:
    """Run until nothing is left; for how long that took."""
    began = anyio.current_time()
    with anyio.fail_after(limit_s):
        await at.scheduler.run(until_empty=True)
    return anyio.current_time() - began


async def all_completed(at: Engine, attempts: int = 1) -> None:
    jobs = await at.scheduler.jobs(limit=1_000)
    assert {(job.status, job.attempts) for job in jobs} == {(Status.COMPLETED, attempts)}


@in_virtual_time
async def test_calls_of_a_configured_pool_keep_its_pace_and_use_all_of_it(store: str) -> None:
    desk = Desk()
    async with engine(calling(desk), store, scheduler={"concurrency": 50}, pools=pool(requests_per_minute=600)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(100))
        took_s = await drained(at)
        await all_completed(at)
    assert desk.most_within(1.0) <= 12
    assert 9.5 <= took_s <= 12.5


@in_virtual_time
async def test_tokens_pace_as_well_and_what_was_really_used_is_what_counts(store: str) -> None:
    desk = Desk()
    async with engine(calling(desk), store, scheduler={"concurrency": 50}, pools=pool(tokens_per_minute=30_000)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(100))
        took_s = await drained(at)
    assert 18.0 <= took_s <= 24.0, "100 tokens each at 500 a second"


@in_virtual_time
async def test_task_types_share_a_pool(store: str) -> None:
    desk = Desk()
    async with engine(calling(desk), store, scheduler={"concurrency": 50}, pools=pool(requests_per_minute=600)) as at:
        await at.scheduler.enqueue_many(NewJob(name) for _ in range(40) for name in ("ask", "tell"))
        took_s = await drained(at)
        await all_completed(at)
    assert desk.most_within(1.0) <= 12
    assert 7.5 <= took_s <= 10.5


@in_virtual_time
async def test_a_handler_that_never_asks_its_pool_is_not_slowed_by_it(store: str) -> None:
    desk = Desk()
    async with engine(calling(desk), store, scheduler={"concurrency": 50}, pools=pool(requests_per_minute=60)) as at, at.running():
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(100))
        await at.until(lambda: len(desk.calls) >= 3)
        plain = await at.scheduler.enqueue_many(NewJob("plain") for _ in range(100))
        began = anyio.current_time()
        for receipt in plain:
            await at.until_status(receipt.job_id, Status.COMPLETED)
        assert anyio.current_time() - began < 3.0
        at.scheduler.stop(grace_s=0.0)


@in_virtual_time
async def test_jobs_that_wait_for_budget_leave_the_slots_to_other_lanes(store: str) -> None:
    desk = Desk()
    async with engine(calling(desk), store, scheduler={"concurrency": 50}, pools=pool(requests_per_minute=60)) as at, at.running():
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(200))
        for moment in (0.5, 5.0, 30.0, 100.0):
            await at.until(lambda moment=moment: anyio.current_time() >= moment)
            assert len(at.scheduler._service.dispatcher.running) <= 6, f"at {moment} s"  # type: ignore[union-attr]
            other = await at.scheduler.enqueue_many(NewJob("other") for _ in range(40))
            began = anyio.current_time()
            for receipt in other:
                await at.until_status(receipt.job_id, Status.COMPLETED, limit_s=60.0)
            assert anyio.current_time() - began < 1.5, f"at {moment} s"
        assert desk.times[-1] >= 95.0
        assert len(desk.calls) == pytest.approx(100, abs=5)
        at.scheduler.stop(grace_s=0.0)


@in_virtual_time
async def test_a_429_inside_the_block_burns_no_attempt_holds_the_pool_and_one_call_tries(store: str) -> None:
    desk = Desk(takes_s=1.0, refuse=until(1.0, lambda: RateLimitError(retry_after_s=30.0)))
    async with engine(calling(desk), store, scheduler={"concurrency": 10}, pools=pool(requests_per_minute=600)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(40))
        await drained(at)
        await all_completed(at)
        assert all(event.transition.refund for event in at.history.of(JobRateLimited))
        assert [event.reason for event in at.history.of(PoolHeld)] == ["rate_limited"]
        assert len(at.history.of(PoolOpened)) == 1
    early = [at for at in desk.times if at < 1.5]
    later = [at for at in desk.times if at >= 1.5]
    assert len(early) <= 3
    assert later[0] >= 30.0
    assert later[0] <= 32.5
    assert later[1] - later[0] >= 0.2, "one goes first"
    assert later[-1] - later[1] <= 40 / 10 + 2.0, "then they flow"
    assert len([at for at in later if at < later[1] + 1.0]) <= 13, "and do not come in a burst"


@in_virtual_time
async def test_a_clients_own_error_leaves_the_block_as_ours(store: str) -> None:
    provider = Provider(preset(Dialect.OPENAI, rpm=2, burst_s=1.0), Random(1), 1_700_000_000.0)
    seen: list[Exception] = []
    routes = Registry()

    @routes.handler("ask", pool="main")
    async def ask(job: JobContext) -> str:
        try:
            async with job.pool.request(tokens=30) as call:
                answer = provider.call(Call(20, 10, 5), 1_700_000_000.0 + anyio.current_time())
                await anyio.sleep(answer.latency_s)
                if not answer.is_good:
                    raise as_exception(answer)
                call.observe(answer.usage, answer.headers)
        except Exception as error:
            seen.append(error)
            raise
        return "answer"

    async with engine(routes, store) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(4))
        await drained(at)
        await all_completed(at)
        assert (await document(at)).meters["x-ratelimit-limit-requests"].limit == 2.0
    assert seen
    for error in seen:
        assert isinstance(error, RateLimitError)
        assert error.retry_after_s is not None
        assert isinstance(error, PoolHeldError) or type(error.__cause__).__name__ == "SimulatedError"


@in_virtual_time
async def test_waiting_for_a_place_does_not_use_up_the_time_limit(store: str) -> None:
    desk = Desk(takes_s=2.0)
    routes = calling(desk, timeout_s=5.0)
    async with engine(routes, store, scheduler={"concurrency": 10}, pools=pool(requests_per_minute=4)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(5))
        took_s = await drained(at)
        await all_completed(at)
    assert took_s >= 55.0


@in_real_time
async def test_nor_does_it_in_a_thread() -> None:
    routes = Registry()

    @routes.handler("ask", pool="main", timeout_s=0.4)
    def ask(job: JobContext) -> str:
        with job.pool.request(tokens=100) as call:  # type: ignore[attr-defined]
            call.observe((80, 20))
        return "done"

    async with engine(routes, clock=SystemClock(), pools=pool(requests_per_minute=60)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(3))
        took_s = await drained(at, 10.0)
        await all_completed(at)
    assert took_s >= 1.7


@in_virtual_time
async def test_the_time_limit_goes_on_once_the_call_is_under_way(store: str) -> None:
    desk = Desk(takes_s=20.0)
    routes = calling(desk, timeout_s=5.0, max_attempts=1)
    async with engine(routes, store, scheduler={"concurrency": 10}, pools=pool(requests_per_minute=4)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(2))
        await drained(at)
        assert {job.status for job in await at.scheduler.jobs()} == {Status.FAILED_TIMEOUT}
    assert len(desk.calls) == 2


@in_virtual_time
async def test_several_calls_of_one_handler_may_wait_at_the_same_time(store: str) -> None:
    routes, desk = Registry(), Desk(takes_s=1.0)

    @routes.handler("ask", pool="main", timeout_s=10.0, max_attempts=1)
    async def ask(job: JobContext) -> str:
        async def one(after_s: float) -> None:
            await anyio.sleep(after_s)
            async with job.pool.request(tokens=100):
                await desk.ask(job)

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(one, number * 0.5)
        return "done"

    async with engine(routes, store, pools=pool(requests_per_minute=6)) as at:
        await at.scheduler.enqueue("ask")
        await drained(at)
        await all_completed(at)
    assert len(desk.calls) == 6


@in_virtual_time
async def test_a_call_that_is_cancelled_while_it_waits_gives_its_place_back(store: str) -> None:
    desk = Desk()
    async with engine(calling(desk), store, scheduler={"concurrency": 10}, pools=pool(requests_per_minute=30)) as at, at.running():
        receipts = await at.scheduler.enqueue_many(NewJob("ask") for _ in range(8))
        await at.until(lambda: len(desk.calls) == 2)
        started = {job_id for _, job_id in desk.calls}
        waiting = [receipt.job_id for receipt in receipts if receipt.job_id not in started]
        for job_id in waiting[:-1]:
            await at.scheduler.cancel(job_id)
        cancelled_at = anyio.current_time()
        await at.until_status(waiting[-1], Status.COMPLETED)
        assert desk.times[-1] - cancelled_at <= 2.5
        await anyio.sleep(3.0)
        assert (await document(at)).day.calls == pytest.approx(len(desk.calls))


@in_real_time
async def test_sync_handlers_call_from_their_threads(store: str) -> None:
    routes, calls = Registry(), []

    @routes.handler("ask", pool="main")
    def ask(job: JobContext) -> str:
        with job.pool.request(tokens=100) as call:  # type: ignore[attr-defined]
            calls.append(time.monotonic())
            if len(calls) == 3:
                raise Refused(429, {"retry-after": "1"}, {"error": {"code": "rate_limit_exceeded"}})
            call.observe({"prompt_tokens": 30, "completion_tokens": 10})
        return "done"

    async with engine(routes, store, clock=SystemClock(), pools=pool(requests_per_minute=1_200)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(10))
        await drained(at, 20.0)
        await all_completed(at)
        assert (await document(at)).costs.by_type["ask"].input_tokens == 30.0
        assert len(at.history.of(PoolHeld)) == 1
    assert len(calls) == 11
    assert max(later - earlier for earlier, later in pairwise(calls)) >= 1.0


@in_virtual_time
async def test_handlers_that_wait_while_the_pool_is_held_for_long_are_put_off_with_their_attempts(store: str) -> None:
    desk = Desk(refuse=until(1.0, lambda: RateLimitError(retry_after_s=PATIENT_S * 20)))
    async with engine(calling(desk), store, scheduler={"concurrency": 10}) as at, at.running():
        receipts = await at.scheduler.enqueue_many(NewJob("ask") for _ in range(6))
        await at.until(lambda: len(desk.calls) >= 1)
        await at.until(lambda: len(at.history.of(JobRateLimited)) >= 6, limit_s=5.0)
        for receipt in receipts:
            job = await at.job(receipt.job_id)
            assert (job.status, job.reason, job.attempts) == (Status.RATE_LIMITED, "rate_limited", 0)
        assert not at.scheduler._service.dispatcher.running  # type: ignore[union-attr]
        for receipt in receipts:
            await at.until_status(receipt.job_id, Status.COMPLETED)
        assert desk.times[1] >= PATIENT_S * 20


@in_virtual_time
async def test_a_short_hold_is_waited_out_in_the_slot(store: str) -> None:
    desk = Desk(refuse=until(0.5, lambda: RateLimitError(retry_after_s=PATIENT_S / 2)))
    async with engine(calling(desk), store, scheduler={"concurrency": 10}, pools=pool(requests_per_minute=300)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(10))
        await drained(at)
        refused = len([at for at in desk.times if at < 0.5])
        assert len(at.history.of(JobRateLimited)) == refused


@in_virtual_time
async def test_overload_lets_fewer_in_at_once_and_the_pace_alone(store: str) -> None:
    desk = Desk(takes_s=2.0)
    desk.refuse = lambda at: OverloadedError() if desk.at_once > 8 else None
    async with engine(calling(desk), store, scheduler={"concurrency": 50}, pools=pool(requests_per_minute=6_000)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(400))
        took_s = await drained(at)
        await all_completed(at)
        changes = at.history.of(PoolInFlightChanged)
        assert {event.reason for event in changes} == {"overloaded", "clean"}
        pace = (await document(at)).paces(at.scheduler.settings.limits("main"), at.scheduler.clock.now())["requests"]
    assert pace == pytest.approx(100.0, rel=0.01)
    assert took_s < 1.2 * 400 / 8 * 2.0
    assert len(desk.calls) <= 400 + 20


@in_virtual_time
async def test_a_quota_that_is_used_up_parks_the_pool_and_resume_tries_again(store: str) -> None:
    desk = Desk(refuse=until(100.0, QuotaExhaustedError))
    async with engine(calling(desk), store) as at, at.running():
        receipt = await at.scheduler.enqueue("ask")
        job = await at.until_status(receipt.job_id, Status.RATE_LIMITED)
        assert (job.reason, job.attempts) == ("quota_exhausted", 0)
        (window,) = await at.scheduler.pauses()
        assert (window.scope, window.reason) == ("pool:main", "quota_exhausted")
        await at.until(lambda: anyio.current_time() > 200.0)
        assert len(desk.calls) == 1, "parked for long"
        assert await at.scheduler.resume("pool:main") is not None
        await at.until_status(receipt.job_id, Status.COMPLETED, limit_s=10.0)
        other = await at.scheduler.enqueue("tell")
        await at.until_status(other.job_id, Status.COMPLETED, limit_s=10.0)
        assert await at.scheduler.pauses() == []


@in_virtual_time
async def test_resumed_too_early_it_is_parked_again(store: str) -> None:
    desk = Desk(refuse=until(1e6, QuotaExhaustedError))
    async with engine(calling(desk), store) as at, at.running():
        receipt = await at.scheduler.enqueue("ask")
        await at.until_status(receipt.job_id, Status.RATE_LIMITED)
        await at.scheduler.resume("pool:main")
        await at.until(lambda: len(desk.calls) == 2, limit_s=10.0)
        job = await at.until_status(receipt.job_id, Status.RATE_LIMITED)
        assert job.attempts == 0
        await anyio.sleep(600.0)
        assert len(desk.calls) == 2
        await at.scheduler.cancel(receipt.job_id)


@in_virtual_time
async def test_a_days_requests_that_are_used_up_wait_for_midnight(store: str) -> None:
    desk = Desk()
    async with engine(calling(desk), store, pools=pool(requests_per_minute=600, requests_per_day=10)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(15))
        await drained(at, 200_000.0)
        await all_completed(at)
    midnight_s = 86_400.0 - 1_700_000_000.0 % 86_400.0
    before = [at for at in desk.times if at < midnight_s]
    assert len(before) == 10
    assert len(desk.calls) == 15
    assert max(before) < 60.0


@pytest.mark.parametrize("calls", [1, 4, 16])
@in_virtual_time
async def test_as_many_calls_as_may_be_in_flight_are_in_flight(store: str, calls: int) -> None:
    desk = Desk(takes_s=1.0)
    async with engine(
        calling(desk), store, scheduler={"concurrency": 50}, pools=pool(requests_per_minute=60_000, max_in_flight=calls)
    ) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(calls * 20))
        took_s = await drained(at)
        await all_completed(at)
    assert desk.most_at_once == calls
    assert took_s < 30.0  # 20 at the least


@pytest.mark.parametrize("calls", [4, 16])
@in_virtual_time
async def test_so_they_are_after_a_quiet_time_with_a_call_now_and_then(store: str, calls: int) -> None:
    desk = Desk(takes_s=1.0)
    async with engine(
        calling(desk), store, scheduler={"concurrency": 50}, pools=pool(requests_per_minute=60_000, max_in_flight=calls)
    ) as at:
        async with at.running():
            for _ in range(10):
                receipt = await at.scheduler.enqueue("ask")
                await at.until_status(receipt.job_id, Status.COMPLETED)
                await anyio.sleep(6.0)
            began = anyio.current_time()
            await at.scheduler.enqueue_many(NewJob("ask") for _ in range(calls * 20))
            await at.until(lambda: len(desk.calls) == 10 + calls * 20, limit_s=1_000.0)
        assert anyio.current_time() - began < 26.0
    assert desk.most_at_once == calls


@pytest.mark.parametrize("how", ["fails otherwise", "is cancelled"])
@in_virtual_time
async def test_a_call_that_goes_first_and_shows_nothing_hands_on_to_the_next(store: str, how: str) -> None:
    desk = Desk(takes_s=0.5, refuse=until(1.0, lambda: RateLimitError(retry_after_s=1.5)))
    routes, probes = calling(desk, max_attempts=1), []

    @routes.handler("odd", pool="main", max_attempts=1)
    async def odd(job: JobContext) -> str:
        async with job.pool.request(tokens=100):
            probes.append(anyio.current_time())
            if how == "is cancelled":
                await anyio.sleep(100.0)
            raise ValueError("our own fault")

    async with engine(routes, store, scheduler={"concurrency": 1}, pools=pool(requests_per_minute=600)) as at, at.running():
        await at.scheduler.pause("odd")
        first = await at.scheduler.enqueue("ask")
        await at.until_status(first.job_id, Status.RATE_LIMITED)
        await at.scheduler.cancel(first.job_id)
        strange = await at.scheduler.enqueue("odd")
        await at.scheduler.resume("odd")
        if how == "is cancelled":
            await at.until(lambda: bool(probes))
            await at.scheduler.cancel(strange.job_id)
        else:
            await at.until_status(strange.job_id, Status.FAILED_JOB_LOGIC)
        receipt = await at.scheduler.enqueue("ask")
        await at.until_status(receipt.job_id, Status.COMPLETED, limit_s=15.0)


@pytest.mark.parametrize("back_s", [3_600.0, 365 * 86_400.0])
@in_virtual_time
async def test_a_clock_that_is_set_back_does_not_keep_calls_waiting(store: str, back_s: float) -> None:
    desk, clock = Desk(), LoopClock()
    async with engine(calling(desk), store, clock=clock, scheduler={"concurrency": 10}) as at, at.running():
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(8))
        await at.until(lambda: len(desk.calls) == 3)
        clock.epoch -= back_s
        set_at = anyio.current_time()
        await at.until(lambda: len(desk.calls) == 8, limit_s=20.0)
        assert 1.0 <= anyio.current_time() - set_at <= 10.0, "at the pace that a pool begins with"


class Refused(Exception):
    """What a client raises."""

    def __init__(self, status_code: int, headers: dict[str, str], body: object) -> None:
        super().__init__(f"Error code: {status_code}")
        self.status_code, self.headers, self.body = status_code, headers, body


class Several:
    """Services on one file, in one loop."""

    def __init__(self, engines: list[Engine]) -> None:
        self.engines = engines
        self.first = engines[0]

    def events(self, kind: type[Event]) -> list[Any]:
        return [event for each in self.engines for event in each.history.of(kind)]

    async def drained(self, limit_s: float = 3_600.0) -> float:
        began = anyio.current_time()
        with anyio.fail_after(limit_s):
            async with anyio.create_task_group() as tasks:
                for each in self.engines:
                    tasks.start_soon(lambda each=each: each.scheduler.run(until_empty=True))
        return anyio.current_time() - began


async def several(stack: AsyncExitStack, count: int, routes: Callable[[], Registry], url: str, **tables: dict[str, Any]) -> Several:
    # Their hearts beat in real time: in the loop's they would take each other for dead.
    tables["scheduler"] = {"lease_s": 1e6, **tables.get("scheduler", {})}
    engines = [await stack.enter_async_context(engine(routes(), url, seed=number, **tables)) for number in range(count)]
    for each in engines:
        each.alone = False
    return Several(engines)


@pytest.mark.parametrize("workers", [2, 4])
@in_virtual_time
async def test_several_services_together_keep_one_pace_and_use_all_of_it(sqlite: str, workers: int) -> None:
    desk = Desk()
    async with AsyncExitStack() as stack:
        services = await several(
            stack, workers, lambda: calling(desk), sqlite, scheduler={"concurrency": 20}, pools=pool(requests_per_minute=600)
        )
        await services.first.scheduler.enqueue_many(NewJob("ask") for _ in range(150))
        took_s = await services.drained()
        await all_completed(services.first)
    assert desk.most_within(1.0) <= 12
    assert 14.0 <= took_s <= 20.0


@in_virtual_time
async def test_what_may_be_in_flight_is_one_number_for_all_services(sqlite: str) -> None:
    desk = Desk(takes_s=1.0)
    async with AsyncExitStack() as stack:
        settings = {"scheduler": {"concurrency": 20}, "pools": pool(requests_per_minute=60_000, max_in_flight=3)}
        services = await several(stack, 2, lambda: calling(desk), sqlite, **settings)
        await services.first.scheduler.enqueue_many(NewJob("ask") for _ in range(60))
        took_s = await services.drained()
        await all_completed(services.first)
    assert desk.most_at_once == 3
    assert took_s <= 40.0, "sixty seconds of calls, three at once"


@in_virtual_time
async def test_a_call_that_failed_hands_its_place_on_to_another_service_soon(sqlite: str) -> None:
    """One place in flight; the first service's call fails with an error that has nothing to do with quotas, and it has no more to do."""
    desk = Desk(takes_s=1.0)
    failing, healthy = Registry(), calling(desk)

    @failing.handler("fail", pool="main", max_attempts=1)
    async def fail(job: JobContext) -> str:
        async with job.pool.request(tokens=100):
            await desk.ask(job)
            raise ValueError("our own fault")

    async with AsyncExitStack() as stack:
        settings = {"scheduler": {"unknown_routes": "leave", "lease_s": 1e6}, "pools": pool(max_in_flight=1)}
        one = await stack.enter_async_context(engine(failing, sqlite, **settings))
        two = await stack.enter_async_context(engine(healthy, sqlite, **settings))
        one.alone = two.alone = False
        async with one.running(), two.running():
            await one.scheduler.enqueue("fail")
            await one.until(lambda: desk.at_once == 1)
            receipt = await two.scheduler.enqueue("ask")
            await two.until_status(receipt.job_id, Status.COMPLETED, limit_s=SILENT_S / 4)
    assert desk.most_at_once == 1


@in_virtual_time
async def test_each_change_of_mind_is_told_once_whoever_noticed_it(sqlite: str) -> None:
    provider = Provider(preset(Dialect.OPENAI, rpm=600, schedule=((60.0, 0.5),)), Random(1), 1_700_000_000.0)
    rejected: list[float] = []

    def routes() -> Registry:
        made = Registry()

        @made.handler("ask", pool="main")
        async def ask(job: JobContext) -> str:
            async with job.pool.request(tokens=100) as call:
                now = anyio.current_time()
                answer = provider.call(Call(80, 20, 20), 1_700_000_000.0 + now)
                await anyio.sleep(answer.latency_s)
                if 20.0 <= now < 20.3:
                    rejected.append(now)
                    raise RateLimitError(retry_after_s=5.0)
                if not answer.is_good:
                    raise as_exception(answer)
                call.observe(answer.usage, answer.headers)
            return "answer"

        return made

    async with AsyncExitStack() as stack:
        services = await several(stack, 2, routes, sqlite, scheduler={"concurrency": 20})
        await services.first.scheduler.enqueue_many(NewJob("ask") for _ in range(900))
        await services.drained()
        limits = [(event.dimension, event.limit) for event in services.events(PoolLimitLearned)]
        assert sorted(limits) == [("requests", 300.0), ("requests", 600.0)]
        held, opened = services.events(PoolHeld), services.events(PoolOpened)
        assert len(rejected) >= 2
        assert len([event for event in held if event.at < 1_700_000_000.0 + 25.0]) == 1
        assert len([event for event in opened if event.at < 1_700_000_000.0 + 30.0]) == 1
        assert json.dumps([event.fields() for event in (*held, *opened)])


@in_virtual_time
async def test_a_service_that_stops_hands_back_calls_that_wait(store: str) -> None:
    desk = Desk(takes_s=1.0)
    async with engine(calling(desk), store, scheduler={"concurrency": 10}, pools=pool(requests_per_minute=6)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(10))
        async with at.running():
            await at.until(lambda: len(desk.calls) == 1 and desk.at_once == 0)
            stopping = anyio.current_time()
            at.scheduler.stop(grace_s=2.0)
        assert anyio.current_time() - stopping <= 4.0
        jobs = await at.scheduler.jobs()
        assert sorted((str(job.status), job.attempts) for job in jobs) == [("completed", 1)] * len(desk.calls) + [("pending", 0)] * (
            10 - len(desk.calls)
        )


@in_virtual_time
async def test_a_service_that_stops_lets_a_call_that_soon_has_its_place_finish(store: str) -> None:
    desk = Desk(takes_s=1.0)
    async with engine(calling(desk), store, scheduler={"concurrency": 10}, pools=pool(requests_per_minute=30)) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(5))
        async with at.running():
            await at.until(lambda: len(desk.calls) == 1)
            at.scheduler.stop(grace_s=60.0)
        jobs = await at.scheduler.jobs()
        assert {job.status for job in jobs} <= {Status.COMPLETED, Status.PENDING}
        assert len([job for job in jobs if job.status is Status.COMPLETED]) == len(desk.calls) > 1
