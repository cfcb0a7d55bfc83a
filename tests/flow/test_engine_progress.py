"""What a running attempt says about itself, and where the next one starts."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from scheduler import (
    AIProviderError,
    JobContext,
    Registry,
    SchedulerError,
    Status,
)
from tests.support.engine import engine
from tests.support.odd_jobs import outcome, raising
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_progress_and_checkpoint_are_stored_and_a_retry_starts_from_the_checkpoint(store: str) -> None:
    routes, states = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        states.append(job.state)
        job.progress(1, 4, "first")
        await job.checkpoint({"page": job.attempt})
        states.append(job.state)
        await anyio.sleep(1.0)
        if job.attempt == 1:
            raise AIProviderError
        return "done"

    async with engine(routes, store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert states == [None, {"page": 1}, {"page": 1}, {"page": 2}]
    assert job.progress is not None
    assert (job.progress.percent, job.progress.message) == (25.0, "first")
    assert job.state is None, "a success needs no checkpoint"


@in_virtual_time
async def test_a_sync_handlers_progress_and_checkpoint_are_stored_too(store: str) -> None:
    routes = Registry()

    @routes.handler("work")
    def work(job: Any) -> Any:
        job.progress(percent=40, message="from a thread")
        job.checkpoint([1])
        return job.state

    async with engine(routes, store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert (job.status, job.result) == (Status.COMPLETED, [1])
    assert job.progress is not None
    assert job.progress.percent == 40.0


@in_virtual_time
async def test_progress_never_goes_back_within_an_attempt() -> None:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        for percent in (10, 60, 30, 1_000, -5):
            job.progress(percent=percent)
            await anyio.sleep(1.0)  # or only the latest is told

    async with engine(routes) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        seen = [event.fields()["percent"] for event in at.history.events if event.name == "job.progress"]
        job = await at.job(receipt.job_id)
    assert seen == [10, 60, 60, 100, 100]
    assert job.progress is not None
    assert job.progress.percent == 100.0


@pytest.mark.parametrize("current", [float("nan"), float("inf"), 2**70, "3", pytest.param(object(), id="object")], ids=repr)
@in_virtual_time
async def test_progress_that_is_no_number_is_the_handlers_error_not_the_services(current: Any) -> None:
    routes, raised = raising(ValueError()), []

    @routes.handler("odd", "progress")
    async def odd(job: JobContext) -> None:
        try:
            job.progress(current, 2**71)
        except (SchedulerError, TypeError) as error:
            raised.append(error)
        await anyio.sleep(1.0)

    async with engine(routes) as at:
        status, _, _ = await outcome(at, "progress")
    assert status is Status.COMPLETED
    assert len(raised) == 1


@in_virtual_time
async def test_a_handlers_context_variables_do_not_reach_the_next_job() -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    routes, seen = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        seen.append(tenant.get())
        tenant.set(job.job_id)
        await anyio.lowlevel.checkpoint()
        seen.append(tenant.get() == job.job_id)

    async with engine(routes, scheduler={"concurrency": 1}) as at:
        for _ in range(3):
            await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
    assert seen == ["nobody", True] * 3
