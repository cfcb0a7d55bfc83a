"""Stopping: grace, hand-back, from inside a handler, from outside, and past handlers that will not stop."""

from __future__ import annotations

import asyncio

import anyio
import pytest

import scheduler.dispatcher
from scheduler import ConfigError, JobContext, NewJob, RateLimitError, Registry, Status, StoreBusyError
from scheduler.events import JobInterrupted, JobStarted, ServiceDraining, ServiceStarted, ServiceStopped
from scheduler.stores.sqlite import schema
from tests.support.engine import engine, in_real_time
from tests.support.odd_jobs import DeafHandler, locked
from tests.support.virtual_time import in_virtual_time


def taking(seconds: float, log: list[str] | None = None) -> Registry:
    """``work`` takes so long, with a checkpoint at its start."""
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        if log is not None:
            log.append(f"{job.job_id} {job.state}")
        await job.checkpoint({"step": 1})
        await anyio.sleep(seconds)
        return "done"

    return routes


@in_virtual_time
async def test_jobs_that_finish_within_the_grace_period_are_completed_and_no_other_starts(store: str) -> None:
    async with engine(taking(10.0), store, scheduler={"concurrency": 2, "drain_grace_s": 30.0}) as at:
        await at.scheduler.enqueue_many(NewJob("work") for _ in range(6))
        async with at.running():
            await at.until(lambda: len(at.history.of(JobStarted)) == 2)
        assert anyio.current_time() == pytest.approx(10.0, abs=0.5)
        assert (await at.scheduler.stats()).by_status == {"pending": 4, "completed": 2}
        assert [event.name for event in at.history.events if event.name.startswith("service.")] == [
            ServiceStarted.name,
            ServiceDraining.name,
            ServiceStopped.name,
        ]
        assert await at.scheduler.store.workers() == []


@in_virtual_time
async def test_after_the_grace_period_jobs_are_handed_back_untouched(store: str) -> None:
    log: list[str] = []
    async with engine(taking(400.0, log), store, scheduler={"drain_grace_s": 30.0}) as at:
        receipt = await at.scheduler.enqueue("work", max_attempts=1)
        async with at.running():
            await at.until(lambda: bool(log))
        assert anyio.current_time() == pytest.approx(30.0, abs=1.0)
        job = await at.job(receipt.job_id)
        assert (job.status, job.reason, job.attempts, job.crashes) == (Status.PENDING, "interrupted", 0, 0)
        assert job.state == {"step": 1}
        assert len(at.history.of(JobInterrupted)) == 1
        await at.scheduler.run(until_empty=True)
        assert (await at.job(receipt.job_id)).status is Status.COMPLETED
    assert log == [f"{receipt.job_id} None", f"{receipt.job_id} {{'step': 1}}"]


@in_virtual_time
async def test_a_second_stop_can_only_shorten_the_grace() -> None:
    log: list[str] = []
    async with engine(taking(1_000.0, log)) as at:
        await at.scheduler.enqueue("work")
        async with at.running():
            await at.until(lambda: bool(log))
            at.scheduler.stop(grace_s=100.0)
            await anyio.sleep(5.0)
            at.scheduler.stop(grace_s=500.0)
            at.scheduler.stop(grace_s=1.0)
        assert anyio.current_time() == pytest.approx(6.0, abs=0.5)
        assert len(at.history.of(ServiceDraining)) == 1


@in_virtual_time
async def test_an_interrupted_handler_that_still_finishes_has_finished(store: str) -> None:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        try:
            await anyio.sleep(1_000.0)
        except asyncio.CancelledError:
            return "what there was"
        return "done"

    async with engine(routes, store, scheduler={"drain_grace_s": 1.0}) as at:
        receipt = await at.scheduler.enqueue("work")
        async with at.running():
            await at.until(lambda: bool(at.history.of(JobStarted)))
            await anyio.sleep(1.0)
        job = await at.job(receipt.job_id)
    assert (job.status, job.result) == (Status.COMPLETED, "what there was")


@in_virtual_time
async def test_a_handler_may_stop_the_service_that_runs_it(store: str) -> None:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        at.scheduler.stop()
        await anyio.sleep(5.0)
        return "done"

    async with engine(routes, store, scheduler={"concurrency": 1}) as at:
        await at.scheduler.enqueue_many(NewJob("work") for _ in range(3))
        with anyio.fail_after(60.0):
            await at.scheduler.run()
        assert (await at.scheduler.stats()).by_status == {"pending": 2, "completed": 1}


@pytest.mark.parametrize("how", ["task", "scope", "timeout"])
@in_virtual_time
async def test_a_run_that_is_cancelled_from_outside_hands_everything_back(store: str, how: str) -> None:
    log: list[str] = []
    async with engine(taking(1_000.0, log), store) as at:
        await at.scheduler.enqueue_many(NewJob("work") for _ in range(5))
        match how:
            case "task":
                task = asyncio.create_task(at.scheduler.run())
                await at.until(lambda: len(log) == 5)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            case "scope":
                with anyio.move_on_after(50.0):
                    await at.scheduler.run()
            case _:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(at.scheduler.run(), 50.0)
        jobs = await at.scheduler.jobs()
        assert {(job.status, job.attempts, job.reason) for job in jobs} == {(Status.PENDING, 0, "interrupted")}
        assert await at.scheduler.store.workers() == []


@in_virtual_time
async def test_a_rate_limited_job_that_was_handed_back_keeps_its_waiting_time(store: str) -> None:
    routes, calls = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        calls.append(anyio.current_time())
        if len(calls) == 1:
            raise RateLimitError(retry_after_s=100.0)
        await anyio.sleep(1_000.0)

    async with engine(routes, store, scheduler={"drain_grace_s": 0.0}) as at:
        receipt = await at.scheduler.enqueue("work")
        async with at.running():
            await at.until(lambda: len(calls) == 2)
        job = await at.job(receipt.job_id)
        assert job.waiting_since == pytest.approx(at.scheduler.clock.now() - 100.0, abs=2.0)


@in_virtual_time
async def test_only_one_run_at_a_time_and_another_after_it(store: str) -> None:
    async with engine(taking(5.0), store) as at:
        await at.scheduler.enqueue("work")
        async with at.running():
            await at.until(lambda: bool(at.history.of(JobStarted)))
            with pytest.raises(ConfigError, match="running already"):
                await at.scheduler.run()
        await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        assert (await at.scheduler.stats()).by_status == {"completed": 2}


@in_real_time
async def test_a_handler_that_ignores_its_interruption_does_not_keep_the_service_from_ending(store: str) -> None:
    handler = DeafHandler()
    async with engine(handler.routes, store, scheduler={"drain_grace_s": 0.0}) as at:
        receipt = await at.scheduler.enqueue("deaf")
        with anyio.fail_after(4.0):
            async with at.running():
                await at.until(lambda: bool(handler.log))
        job = await at.job(receipt.job_id)
        assert (job.status, job.attempts, job.reason) == (Status.PENDING, 0, "interrupted")
        handler.release()


@in_real_time
async def test_a_handler_that_ignores_its_time_limit_does_not_keep_until_empty_from_ending(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler.dispatcher, "UNRESPONSIVE_S", 0.1)
    handler = DeafHandler()
    async with engine(handler.routes, store, scheduler={"poll_interval_s": 0.05}) as at:
        receipt = await at.scheduler.enqueue("deaf", timeout_s=0.05, max_attempts=1)
        with anyio.fail_after(4.0):
            await at.scheduler.run(until_empty=True)
        assert (await at.job(receipt.job_id)).status is Status.FAILED_TIMEOUT
        handler.release()


@in_real_time
async def test_a_run_on_a_store_that_is_locked_says_so_plainly(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.05)
    async with engine(taking(0.0), sqlite) as at:
        with locked(sqlite), pytest.raises(StoreBusyError):
            await at.scheduler.run(until_empty=True)
        await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        assert (await at.scheduler.stats()).by_status == {"completed": 1}
