"""Cancelling: what waits, what runs, in the loop and in threads; and an operator's retry afterwards."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from scheduler import AIProviderError, JobContext, NewJob, NotFoundError, RateLimitError, Registry, SchedulerError, Status
from scheduler.events import JobCancelled, JobCompleted, JobRequeued, JobStarted
from tests.support.engine import engine, in_real_time
from tests.support.virtual_time import in_virtual_time


def sleeping(log: list[str]) -> Registry:
    """``work`` sleeps for a minute and notes how it ended."""
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        log.append("started")
        try:
            await anyio.sleep(60.0)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        log.append("finished")
        return "done"

    return routes


@in_virtual_time
async def test_a_cancelled_waiting_job_never_runs(store: str) -> None:
    log: list[str] = []
    async with engine(sleeping(log), store) as at:
        receipt = await at.scheduler.enqueue("work")
        (before,) = await at.scheduler.cancel(receipt.job_id)
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert before.status is Status.PENDING
    assert (job.status, job.reason, job.attempts) == (Status.CANCELLED, "cancelled", 0)
    assert log == []


@in_virtual_time
async def test_a_cancelled_running_job_is_stopped_at_once(store: str) -> None:
    log: list[str] = []
    async with engine(sleeping(log), store, scheduler={"poll_interval_s": 1_000.0}) as at, at.running():
        receipt = await at.scheduler.enqueue("work")
        await at.until(lambda: log == ["started"])
        await at.scheduler.cancel(receipt.job_id)
        await at.until(lambda: log == ["started", "cancelled"], limit_s=1.0)
        job = await at.job(receipt.job_id)
        assert (job.status, job.result, job.worker) == (Status.CANCELLED, None, None)
        await anyio.sleep(100.0)
        assert at.history.names(receipt.job_id) == ["job.enqueued", "job.started", "job.cancelled"]


@in_virtual_time
async def test_a_result_that_comes_after_the_cancellation_changes_nothing(store: str) -> None:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        try:
            await anyio.sleep(60.0)
        except asyncio.CancelledError:
            return "too late"
        return "done"

    async with engine(routes, store) as at, at.running():
        receipt = await at.scheduler.enqueue("work")
        await at.until(lambda: bool(at.history.of(JobStarted)))
        await at.scheduler.cancel(receipt.job_id)
        await anyio.sleep(10.0)
        job = await at.job(receipt.job_id)
        assert (job.status, job.result) == (Status.CANCELLED, None)
        assert at.history.of(JobCompleted) == []


@pytest.mark.parametrize(
    "fails_with", [RateLimitError(retry_after_s=1e4), AIProviderError(retry_after_s=1e4)], ids=lambda error: type(error).__name__
)
@in_virtual_time
async def test_a_job_that_waits_for_its_next_attempt_can_be_cancelled(store: str, fails_with: Exception) -> None:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        raise fails_with

    async with engine(routes, store, scheduler={"poll_interval_s": 100.0}) as at, at.running():
        receipt = await at.scheduler.enqueue("work")
        await at.until_status(receipt.job_id, Status.RATE_LIMITED, Status.RETRY_AI)
        await at.scheduler.cancel(receipt.job_id)
        await anyio.sleep(2e4)
        assert (await at.job(receipt.job_id)).status is Status.CANCELLED
        assert len(at.history.of(JobStarted)) == 1


@in_virtual_time
async def test_cancelling_in_the_instant_of_the_claim_leaves_one_story(store: str) -> None:
    """Started, then cancelled, or cancelled alone: never cancelled and then started."""
    log: list[str] = []
    async with engine(sleeping(log), store, scheduler={"concurrency": 3}) as at, at.running():
        for ticks in range(60):
            receipt = await at.scheduler.enqueue("work")
            for _ in range(ticks % 10):
                await anyio.lowlevel.checkpoint()
            if ticks % 20 < 10:
                await at.scheduler.cancel(receipt.job_id)
            else:
                await at.scheduler.cancel(task_type="work")
        await anyio.sleep(5.0)
        assert {job.status for job in await at.scheduler.jobs()} == {Status.CANCELLED}
        assert len(at.history.of(JobCancelled)) == 60
    assert log.count("started") == log.count("cancelled")


@in_virtual_time
async def test_many_are_cancelled_by_what_they_share(store: str) -> None:
    async with engine(sleeping([]), store, scheduler={"concurrency": 4}) as at:
        await at.scheduler.enqueue_many(NewJob("work") for _ in range(2_500))
        await at.scheduler.enqueue_many(NewJob("elsewhere") for _ in range(3))
        async with at.running():
            await at.until(lambda: len(at.history.of(JobStarted)) >= 4)
            cancelled = await at.scheduler.cancel(task_type="work")
            assert len(cancelled) == 2_500
            assert (await at.scheduler.stats()).by_task_type["work"] == {"cancelled": 2_500}
    assert len(at.history.of(JobCancelled)) == 2_500


@in_virtual_time
async def test_what_has_ended_is_left_alone_and_an_unknown_id_is_an_error() -> None:
    routes = Registry()

    @routes.handler("quick")
    async def quick(job: JobContext) -> str:
        return "done"

    async with engine(routes) as at:
        receipt = await at.scheduler.enqueue("quick")
        await at.scheduler.run(until_empty=True)
        assert await at.scheduler.cancel(receipt.job_id) == []
        assert (await at.job(receipt.job_id)).result == "done"
        for verb in (at.scheduler.cancel, at.scheduler.retry):
            with pytest.raises(NotFoundError):
                await verb("no such job")
            with pytest.raises(SchedulerError, match="name a job id"):
                await verb()


@in_virtual_time
async def test_a_failed_job_is_retried_by_hand_with_fresh_attempts(store: str) -> None:
    routes, runs = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        runs.append(job.attempt)
        if len(runs) <= 3:
            raise AIProviderError
        return "done"

    async with engine(routes, store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        (was,) = await at.scheduler.retry(status="failed_ai", reason="provider_error")
        assert (was.job_id, was.status) == (receipt.job_id, Status.FAILED_AI)
        waiting = await at.job(receipt.job_id)
        assert (waiting.status, waiting.reason, waiting.error, waiting.attempts) == (Status.PENDING, None, None, 0)
        await at.scheduler.run(until_empty=True)
        assert (await at.job(receipt.job_id)).result == "done"
        assert len(at.history.of(JobRequeued)) == 1
    assert runs == [1, 2, 3, 1]


@in_virtual_time
async def test_a_cancelled_job_may_be_retried_while_its_old_handler_still_cleans_up(store: str) -> None:
    routes, log = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        number = len([line for line in log if line.startswith("started")]) + 1
        log.append(f"started {number}")
        if number == 1:
            try:
                await anyio.sleep(60.0)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(3.0)
                log.append("cleaned up 1")
        return f"run {number}"

    async with engine(routes, store) as at, at.running():
        receipt = await at.scheduler.enqueue("work")
        await at.until(lambda: bool(log))
        await at.scheduler.cancel(receipt.job_id)
        await at.scheduler.retry(receipt.job_id)
        job = await at.until_status(receipt.job_id, Status.COMPLETED, limit_s=2.0)
        assert job.result == "run 2"
        await at.until(lambda: "cleaned up 1" in log)
        other = await at.scheduler.enqueue("work")
        await at.until_status(other.job_id, Status.COMPLETED, limit_s=2.0)
        assert (await at.job(receipt.job_id)).result == "run 2"


@in_real_time
async def test_a_threaded_handler_learns_of_its_cancellation_when_it_asks(store: str) -> None:
    routes, log, running = Registry(), [], threading.Event()

    @routes.handler("work")
    def work(job: Any) -> str:
        running.set()
        deadline = threading.Event()
        try:
            for _ in range(2_000):
                job.check_cancelled()
                deadline.wait(0.005)
        except BaseException as error:
            log.append(type(error).__name__)
            raise
        return "done"

    async with engine(routes, store, scheduler={"concurrency": 1}) as at, at.running():
        receipt = await at.scheduler.enqueue("work")
        await at.until(running.is_set, limit_s=5.0)
        await at.scheduler.cancel(receipt.job_id)
        assert (await at.job(receipt.job_id)).status is Status.CANCELLED
        await at.until(lambda: log == ["CancelledError"], limit_s=5.0)


@in_real_time
async def test_a_thread_that_never_asks_keeps_its_slot_but_not_its_job(store: str) -> None:
    routes, go_on, running = Registry(), threading.Event(), threading.Event()

    @routes.handler("deaf")
    def deaf(job: JobContext) -> str:
        running.set()
        go_on.wait(20.0)
        return "late"

    @routes.handler("sound")
    def sound(job: JobContext) -> str:
        return "sound"

    async with engine(routes, store, scheduler={"concurrency": 2, "poll_interval_s": 0.05}) as at, at.running():
        receipt = await at.scheduler.enqueue("deaf")
        await at.until(running.is_set, limit_s=5.0)
        await at.scheduler.cancel(receipt.job_id)
        other = await at.scheduler.enqueue("sound")
        await at.until_status(other.job_id, Status.COMPLETED, limit_s=5.0)
        go_on.set()
        await anyio.sleep(0.1)
        assert (await at.job(receipt.job_id)).status is Status.CANCELLED
