"""What a running attempt says about itself, and where the next one starts."""

from __future__ import annotations

from contextvars import ContextVar
from itertools import pairwise
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
    StoreBusyError,
    StoreError,
    StoreFullError,
)
from scheduler.clock import SystemClock
from scheduler.events import Event, StoreFailing, StoreRecovered
from tests.support.engine import Engine, engine, in_real_time
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


class Away:
    """The store's notes fail with ``error`` until ``ends``, by the loop's time."""

    def __init__(self, at: Engine, error: StoreError, ends: float) -> None:
        self._note = at.scheduler.store.note
        self._error = error
        self._ends = ends
        self.refused = 0
        at.scheduler.store.note = self.note  # type: ignore[method-assign]

    async def note(self, *args: Any, **more: Any) -> bool:
        if anyio.current_time() < self._ends:
            self.refused += 1
            raise self._error
        return await self._note(*args, **more)


def checkpointing(runs: list[Any]) -> Registry:
    """``work`` in the loop, ``threaded`` in a thread: each makes one checkpoint."""
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> Any:
        runs.append(job.attempt)
        await job.checkpoint({"page": 1})
        return job.state

    @routes.handler("threaded")
    def threaded(job: Any) -> Any:
        runs.append(job.attempt)
        job.checkpoint({"page": 1})
        return job.state

    return routes


@pytest.mark.parametrize("error", [StoreBusyError("away"), StoreFullError("full")], ids=repr)
@in_virtual_time
async def test_a_checkpoint_waits_for_a_store_that_is_away_and_the_time_limit_stands_still(store: str, error: StoreError) -> None:
    runs: list[Any] = []
    told: list[Event] = []
    async with engine(checkpointing(runs), store) as at:
        at.scheduler.events.subscribe(told.append, StoreFailing, StoreRecovered)
        away = Away(at, error, ends=anyio.current_time() + 100.0)
        receipt = await at.scheduler.enqueue("work", timeout_s=5.0, max_attempts=1)
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert (job.status, job.attempts, job.result) == (Status.COMPLETED, 1, {"page": 1})
    assert runs == [1]
    assert 40 < away.refused < 70, "it asks again at growing intervals"
    assert [type(event) for event in told] == [StoreFailing, StoreRecovered], "one line when it goes away, one when it is back"


@in_virtual_time
async def test_what_is_left_of_the_time_limit_runs_on_after_the_checkpoint(store: str) -> None:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        await anyio.sleep(3.0)
        await job.checkpoint(1)
        await anyio.sleep(3.0)

    async with engine(routes, store) as at:
        Away(at, StoreBusyError("away"), ends=anyio.current_time() + 100.0)
        receipt = await at.scheduler.enqueue("work", timeout_s=5.0, max_attempts=1)
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert job.status is Status.FAILED_TIMEOUT


@in_virtual_time
async def test_shutdown_hands_a_job_back_that_waits_for_its_checkpoint(store: str) -> None:
    runs: list[Any] = []
    async with engine(checkpointing(runs), store) as at:
        Away(at, StoreBusyError("away"), ends=float("inf"))
        receipt = await at.scheduler.enqueue("work")
        async with at.running():
            await at.until(lambda: bool(runs))
            at.scheduler.stop(grace_s=1.0)
        job = await at.job(receipt.job_id)
    assert (job.status, job.reason, job.attempts) == (Status.PENDING, "interrupted", 0)


@in_real_time
async def test_a_sync_handlers_checkpoint_waits_too(store: str) -> None:
    runs: list[Any] = []
    async with engine(checkpointing(runs), store, clock=SystemClock()) as at:
        away = Away(at, StoreBusyError("away"), ends=anyio.current_time() + 0.2)
        receipt = await at.scheduler.enqueue("threaded", max_attempts=1, timeout_s=0.1)
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert (job.status, job.attempts, job.result) == (Status.COMPLETED, 1, {"page": 1})
    assert away.refused > 0


@in_virtual_time
async def test_a_store_error_that_comes_out_of_a_handler_gives_the_attempt_back(store: str) -> None:
    routes, runs = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        runs.append((anyio.current_time(), job.attempt))
        if len(runs) <= 10:
            raise StoreBusyError("the other database is away")
        return "done"

    async with engine(routes, store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert (job.status, job.attempts) == (Status.COMPLETED, 1)
    assert [attempt for _, attempt in runs] == [1] * 11
    assert min(later - earlier for (earlier, _), (later, _) in pairwise(runs)) >= 2.0, "it does not spin"


@in_virtual_time
async def test_a_store_that_stays_away_for_too_long_is_the_handlers_failure_after_all(store: str) -> None:
    async with engine(raising(StoreBusyError("gone")), store, scheduler={"give_up_after_s": 60.0}) as at:
        receipt = await at.scheduler.enqueue("odd", "async")
        began = anyio.current_time()
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert (job.status, job.reason, job.attempts) == (Status.FAILED_JOB_LOGIC, "handler_error", 3)
    assert anyio.current_time() - began >= 60.0


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
