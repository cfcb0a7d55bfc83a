"""Pause windows: set by providers and by people, stored, extended, probed; never in anybody else's way."""

from __future__ import annotations

import anyio
import pytest

from scheduler import JobContext, NewJob, OverloadedError, QuotaExhaustedError, RateLimitError, Registry, SchedulerError, Status
from scheduler.events import JobStarted, LanePaused, LaneProbing, LaneResumed
from scheduler.stores.base import Want
from tests.support.engine import engine
from tests.support.virtual_time import in_virtual_time


class Provider:
    """A provider that says "later" until its window ends. ``calls`` notes when it was asked, and by which job."""

    def __init__(self, *, retry_after_s: float | None = None, limited_for_s: float = float("inf"), takes_s: float = 0.0) -> None:
        self.retry_after_s = retry_after_s
        self.limited_for_s = limited_for_s
        self.takes_s = takes_s
        self.calls: list[tuple[float, str]] = []

    async def ask(self, job: JobContext) -> str:
        self.calls.append((anyio.current_time(), job.job_id))
        limited = anyio.current_time() < self.limited_for_s
        await anyio.sleep(self.takes_s)
        if limited:
            raise RateLimitError("slow down", retry_after_s=self.retry_after_s)
        return "answer"

    @property
    def times(self) -> list[float]:
        return [round(at, 2) for at, _ in self.calls]


def asking(provider: Provider, *, pool: str | None = None) -> Registry:
    """``ask`` and ``tell`` draw on ``provider`` (and its pool); ``other`` is nobody's business."""
    routes = Registry()

    @routes.handler("ask", pool=pool)
    async def ask(job: JobContext) -> str:
        return await provider.ask(job)

    @routes.handler("tell", pool=pool)
    async def tell(job: JobContext) -> str:
        return await provider.ask(job)

    @routes.handler("other")
    async def other(job: JobContext) -> str:
        return "done"

    return routes


@in_virtual_time
async def test_a_rate_limit_closes_the_lane_until_the_time_the_provider_said(store: str) -> None:
    provider = Provider(retry_after_s=300.0, limited_for_s=1.0)
    async with engine(asking(provider), store, scheduler={"concurrency": 1}) as at:
        first = await at.scheduler.enqueue("ask")
        await at.scheduler.enqueue("ask")
        async with at.running():
            job = await at.until_status(first.job_id, Status.RATE_LIMITED)
            (window,) = await at.scheduler.pauses()
            assert (window.scope, window.reason, window.set_by) == ("ask", "rate_limited", first.job_id)
            assert (job.reason, job.attempts) == ("rate_limited", 0)
            await at.until_status(first.job_id, Status.COMPLETED)
    assert len(provider.calls) == 3
    assert provider.times[0] < 1.0
    assert provider.times[1] == pytest.approx(300.0, abs=1.0)


@in_virtual_time
async def test_without_a_hint_pauses_double_up_to_their_cap_and_start_anew_after_a_success(store: str) -> None:
    provider = Provider(limited_for_s=3_600.0)
    async with engine(asking(provider), store, scheduler={"poll_interval_s": 30.0}) as at:
        await at.scheduler.enqueue("ask")
        await at.scheduler.run(until_empty=True)
        paused_s = [event.fields()["paused_s"] for event in at.history.of(LanePaused)]
        assert paused_s[:6] == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
        assert await at.scheduler.pauses() == []
        provider.limited_for_s = anyio.current_time() + 1.0
        await at.scheduler.enqueue("ask")
        await at.scheduler.run(until_empty=True)
        assert at.history.of(LanePaused)[-1].fields()["paused_s"] == 60.0


@pytest.mark.parametrize(
    ("error", "paused_s"),
    [
        (RateLimitError(retry_after_s=10**9), 86_400.0),
        (RateLimitError(retry_after_s=0.5), 0.5),
        (OverloadedError(), 5.0),
        (QuotaExhaustedError(), 3_600.0),
    ],
)
@in_virtual_time
async def test_each_kind_of_limit_pauses_for_its_own_time(error: RateLimitError, paused_s: float) -> None:
    routes = Registry()

    @routes.handler("ask")
    async def ask(job: JobContext) -> None:
        raise error

    async with engine(routes) as at:
        receipt = await at.scheduler.enqueue("ask")
        async with at.running():
            await at.until(lambda: bool(at.history.of(LanePaused)), limit_s=5.0)
            assert at.history.of(LanePaused)[0].fields()["paused_s"] == pytest.approx(paused_s)
            await at.scheduler.cancel(receipt.job_id)


@in_virtual_time
async def test_a_pause_is_extended_by_a_later_rate_limit_and_never_shortened(store: str) -> None:
    routes = Registry()

    @routes.handler("ask")
    async def ask(job: JobContext) -> str:
        wait_s, hint_s = {"first": (1.0, 100.0), "shorter": (2.0, 10.0), "longer": (3.0, 200.0)}[job.target_id]
        began = anyio.current_time()
        await anyio.sleep(wait_s)
        if began > 50.0:
            return "done"
        raise RateLimitError(retry_after_s=hint_s)

    async with engine(routes, store) as at:
        for target in ("first", "shorter", "longer"):
            await at.scheduler.enqueue("ask", "", target)
        now = at.scheduler.clock.now()
        async with at.running():
            seen = []
            for target in ("first", "shorter", "longer"):
                (job,) = await at.scheduler.jobs(target_id=target)
                await at.until_status(job.job_id, Status.RATE_LIMITED)
                (window,) = await at.scheduler.pauses()
                seen.append(round(window.until - now))
            assert seen == [101, 101, 203]
            await at.until(lambda: anyio.current_time() > 202.0)
            assert len(at.history.of(JobStarted)) == 3


@in_virtual_time
async def test_a_pause_is_stored_and_binds_after_reopening(sqlite: str) -> None:
    provider = Provider(retry_after_s=500.0, limited_for_s=1.0)
    async with engine(asking(provider), sqlite) as at:
        receipt = await at.scheduler.enqueue("ask")
        async with at.running():
            await at.until_status(receipt.job_id, Status.RATE_LIMITED)
    async with engine(asking(provider), sqlite) as at:
        at.alone = False
        (window,) = await at.scheduler.pauses()
        assert (window.scope, window.reason, window.set_by) == ("ask", "rate_limited", receipt.job_id)
        await at.scheduler.enqueue("ask")
        await at.scheduler.run(until_empty=True)
    assert provider.times[1] >= 500.0
    assert len(provider.calls) == 3


@in_virtual_time
async def test_after_the_window_one_probe_goes_first_and_its_success_reopens_the_lane(store: str) -> None:
    provider = Provider(retry_after_s=100.0, limited_for_s=1.0, takes_s=10.0)
    async with engine(asking(provider), store) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(8))
        await at.scheduler.run(until_empty=True)
        assert len(at.history.of(LaneProbing)) == 1
        assert [(event.scope, event.reason) for event in at.history.of(LaneResumed)] == [("ask", "probe_succeeded")]
    after = provider.times[8:]
    assert after[0] == pytest.approx(110.0, abs=1.5)
    assert all(when >= after[0] + 10.0 for when in after[1:]), "nobody starts beside the probe"
    assert max(after[1:]) - min(after[1:]) < 0.1, "then everybody may"


@in_virtual_time
async def test_a_probe_that_is_limited_again_closes_the_lane_for_longer_without_any_other_call(store: str) -> None:
    provider = Provider(limited_for_s=150.0, takes_s=0.5)
    async with engine(asking(provider), store) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(5))
        await at.scheduler.run(until_empty=True)
    early = [when for when in provider.times if when < 150.0]
    assert len([when for when in early if when < 1.0]) == 5
    assert [when for when in early if when > 1.0] == [pytest.approx(60.0, abs=1.5)]
    assert min(when for when in provider.times if when > 150.0) >= 180.0


@in_virtual_time
async def test_a_probe_that_fails_otherwise_hands_on_to_the_next_probe(store: str) -> None:
    routes, starts = Registry(), []

    @routes.handler("ask", max_attempts=1)
    async def ask(job: JobContext) -> str:
        starts.append(anyio.current_time())
        if len(starts) == 1:
            raise RateLimitError(retry_after_s=100.0)
        await anyio.sleep(5.0)
        if len(starts) == 2:
            raise ValueError("the probe's own fault")
        return "done"

    async with engine(routes, store, scheduler={"concurrency": 1}) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(4))
        await at.scheduler.run(until_empty=True)
        assert len(at.history.of(LaneProbing)) == 2
        assert sorted(str(job.status) for job in await at.scheduler.jobs()) == ["completed"] * 3 + ["failed_job_logic"]


@in_virtual_time
async def test_a_pause_set_while_the_probe_runs_outlasts_the_probes_success(store: str) -> None:
    provider = Provider(retry_after_s=100.0, limited_for_s=1.0, takes_s=10.3)
    async with engine(asking(provider), store, scheduler={"concurrency": 1}) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(3))
        async with at.running():
            await at.until(lambda: bool(at.history.of(LaneProbing)))
            set_at = anyio.current_time()
            await at.scheduler.pause("ask", for_s=500.0)
            await at.until(lambda: anyio.current_time() > set_at + 490.0)
            assert [window.reason for window in await at.scheduler.pauses()] == ["manual"]
            assert len(provider.calls) == 2
            await at.until(lambda: len(provider.calls) == 4)
    assert provider.times[2] >= set_at + 499.9


@in_virtual_time
async def test_a_probe_whose_worker_died_does_not_keep_the_lane_closed(store: str) -> None:
    provider = Provider(retry_after_s=100.0, limited_for_s=1.0)
    async with engine(asking(provider), store, scheduler={"concurrency": 1}) as at:
        at.alone = False
        receipts = await at.scheduler.enqueue_many(NewJob("ask") for _ in range(3))
        async with at.running():
            await at.until_status(receipts[0].job_id, Status.RATE_LIMITED)
        await anyio.sleep(200.0)
        claims = await at.scheduler.store.claim([Want("ask", 1, ("ask",))], "a worker that died", at.scheduler.clock.now())
        assert claims.claims[0].lease.probing == ("ask",)
        with anyio.fail_after(100.0):
            await at.scheduler.run(until_empty=True)
        assert {job.status for job in await at.scheduler.jobs()} == {Status.COMPLETED}


@in_virtual_time
async def test_a_pool_is_paused_for_every_task_type_that_draws_on_it_and_for_no_other(store: str) -> None:
    provider = Provider(retry_after_s=100.0, limited_for_s=1.0)
    async with engine(asking(provider, pool="main"), store, scheduler={"concurrency": 1}) as at:
        first = await at.scheduler.enqueue("ask")
        async with at.running():
            await at.until_status(first.job_id, Status.RATE_LIMITED)
            assert [window.scope for window in await at.scheduler.pauses()] == ["pool:main"]
            told = await at.scheduler.enqueue("tell")
            other = await at.scheduler.enqueue("other")
            await at.until_status(other.job_id, Status.COMPLETED, limit_s=2.0)
            await at.until_status(told.job_id, Status.COMPLETED)
            assert min(provider.times[1:]) >= 100.0


@in_virtual_time
async def test_a_thousand_paused_jobs_never_hold_up_another_lane(store: str) -> None:
    provider = Provider(retry_after_s=3_000.0, limited_for_s=1.0)
    async with engine(asking(provider), store, scheduler={"batch_size": 10, "concurrency": 4}) as at:
        await at.scheduler.enqueue_many(NewJob("ask", priority=100) for _ in range(1_000))
        async with at.running():
            await at.until(lambda: bool(at.history.of(LanePaused)))
            others = await at.scheduler.enqueue_many(NewJob("other") for _ in range(50))
            began = anyio.current_time()
            await at.until_status(others[-1].job_id, Status.COMPLETED, limit_s=2.0)
            assert anyio.current_time() - began < 2.0
            assert len(provider.calls) <= 4


@in_virtual_time
async def test_paused_jobs_that_fall_due_together_do_not_hold_up_what_falls_due_after_them(store: str) -> None:
    async with engine(asking(Provider()), store) as at:
        await at.scheduler.pause("ask")
        soon = at.scheduler.clock.now() + 5.0
        await at.scheduler.enqueue_many(NewJob("ask", run_after=soon) for _ in range(5_000))
        other = await at.scheduler.enqueue("other", run_after=soon + 1.0)
        async with at.running():
            await anyio.sleep(6.0)
            await at.until_status(other.job_id, Status.COMPLETED, limit_s=2.0)


@in_virtual_time
async def test_a_pause_by_hand_holds_until_resumed_by_hand(store: str) -> None:
    provider = Provider(limited_for_s=0.0)
    async with engine(asking(provider), store) as at:
        await at.scheduler.pause("ask")
        receipt = await at.scheduler.enqueue("ask")
        async with at.running():
            await anyio.sleep(500.0)
            assert (await at.job(receipt.job_id)).status is Status.PENDING
            lifted = await at.scheduler.resume("ask")
            assert lifted is not None
            assert lifted.reason == "manual"
            await at.until_status(receipt.job_id, Status.COMPLETED, limit_s=1.0)
        assert await at.scheduler.resume("ask") is None


@in_virtual_time
async def test_a_pause_by_hand_with_an_end_opens_by_itself_and_needs_no_probe(store: str) -> None:
    provider = Provider(limited_for_s=0.0, takes_s=10.0)
    async with engine(asking(provider), store) as at:
        await at.scheduler.pause("ask", for_s=60.0)
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(3))
        await at.scheduler.run(until_empty=True)
    assert provider.times == [pytest.approx(60.0, abs=1.0)] * 3


@pytest.mark.parametrize(
    ("scope", "for_s"), [("", None), ("pool:", None), ("bad\nscope", None), ("x" * 600, None), ("ask", -1), ("ask", float("nan"))]
)
@in_virtual_time
async def test_a_pause_of_nothing_or_for_no_time_is_refused(scope: str, for_s: float | None) -> None:
    async with engine(Registry()) as at:
        with pytest.raises(SchedulerError):
            await at.scheduler.pause(scope, for_s)
        assert await at.scheduler.pauses() == []


@in_virtual_time
async def test_until_empty_waits_out_pauses_but_not_one_that_only_a_person_can_end(store: str) -> None:
    provider = Provider(retry_after_s=7_000.0, limited_for_s=1.0)
    async with engine(asking(provider), store, scheduler={"poll_interval_s": 100.0}) as at:
        await at.scheduler.pause("other")
        await at.scheduler.enqueue("other")
        await at.scheduler.enqueue("ask")
        await at.scheduler.run(until_empty=True)
        assert anyio.current_time() >= 7_000.0
        assert (await at.scheduler.stats()).by_status == {"pending": 1, "completed": 1}
