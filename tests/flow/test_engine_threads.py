"""Sync handlers: in threads, which nobody can stop from outside."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
from anyio import to_thread

from scheduler import (
    JobContext,
    Registry,
    Status,
)
from tests.support.engine import engine, in_real_time
from tests.support.virtual_time import in_virtual_time


@in_real_time
async def test_a_thread_that_outlives_its_time_limit_is_tried_again_and_keeps_its_slot_meanwhile(store: str) -> None:
    routes, go_on, runs = Registry(), threading.Event(), []

    @routes.handler("work", timeout_s=0.2, max_attempts=9)
    def work(job: JobContext) -> str:
        runs.append(job.attempt)
        if job.attempt == 1:
            go_on.wait(10.0)
        return f"attempt {job.attempt}"

    async with engine(routes, store, scheduler={"backoff_base_s": 0.0, "concurrency": 1, "poll_interval_s": 0.02}) as at:
        receipt = await at.scheduler.enqueue("work")
        async with at.running():
            await at.until_status(receipt.job_id, Status.RETRY_AI, limit_s=5.0)
            await anyio.sleep(0.1)
            assert runs == [1], "its only slot is taken"
            go_on.set()
            job = await at.until_status(receipt.job_id, Status.COMPLETED, limit_s=5.0)
    assert job.result == f"attempt {job.attempts}"
    assert job.attempts > 1


@in_real_time
async def test_the_second_attempt_may_run_beside_the_first_ones_abandoned_thread(store: str) -> None:
    routes, go_on = Registry(), threading.Event()

    @routes.handler("work", timeout_s=0.2, max_attempts=9)
    def work(job: JobContext) -> str:
        if job.attempt == 1:
            go_on.wait(10.0)
        return f"attempt {job.attempt}"

    async with engine(routes, store, scheduler={"backoff_base_s": 0.0, "poll_interval_s": 0.02}) as at:
        receipt = await at.scheduler.enqueue("work")
        async with at.running():
            job = await at.until_status(receipt.job_id, Status.COMPLETED, limit_s=5.0)
            go_on.set()
            await anyio.sleep(0.05)
            assert (await at.job(receipt.job_id)).result == job.result == f"attempt {job.attempts}"
            assert job.attempts > 1


@in_real_time
async def test_a_time_limit_that_ends_before_the_thread_begins_gives_the_slot_back() -> None:
    routes = Registry()

    @routes.handler("work", timeout_s=1e-9, max_attempts=1)
    def work(job: JobContext) -> None:
        return None

    async with engine(routes, scheduler={"concurrency": 1}) as at:
        for _ in range(3):
            await at.scheduler.enqueue("work")
        with anyio.fail_after(5.0):
            await at.scheduler.run(until_empty=True)
        jobs = await at.scheduler.jobs()
    assert {job.status for job in jobs} == {Status.FAILED_TIMEOUT}


@in_virtual_time
async def test_threads_of_sync_handlers_run_beside_the_loop() -> None:
    routes, threads = Registry(), set()

    @routes.handler("work")
    def work(job: JobContext) -> None:
        threads.add(threading.get_ident())

    async with engine(routes) as at:
        await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        assert threads
        assert threading.get_ident() not in threads
        assert await to_thread.run_sync(lambda: True)
