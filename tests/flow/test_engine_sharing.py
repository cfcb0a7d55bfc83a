"""One SQLite file, several schedulers and other programs: shared work, hints, a busy file, a full disk, lost workers."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from scheduler import JobContext, NewJob, RateLimitError, Registry, Status, StoreBusyError, StoreFullError
from scheduler.events import JobStarted, StoreFailing, StoreRecovered
from scheduler.stores.sqlite import schema, thread
from tests.support.engine import engine, in_real_time
from tests.support.odd_jobs import locked
from tests.support.virtual_time import in_virtual_time


def noting(runs: list[str], takes_s: float = 0.0) -> Registry:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        runs.append(job.job_id)
        await anyio.sleep(takes_s)
        return "done"

    return routes


@in_virtual_time
async def test_two_schedulers_share_the_work_of_one_file_and_nothing_runs_twice(sqlite: str) -> None:
    left: list[str] = []
    right: list[str] = []
    few = {"concurrency": 2, "batch_size": 2}
    async with engine(noting(left, 0.5), sqlite, scheduler=few) as one, engine(noting(right, 0.5), sqlite, scheduler=few) as two:
        one.alone = two.alone = False
        await one.scheduler.enqueue_many(NewJob("work") for _ in range(60))
        async with anyio.create_task_group() as both:
            both.start_soon(lambda: one.scheduler.run(until_empty=True))
            both.start_soon(lambda: two.scheduler.run(until_empty=True))
        assert (await one.scheduler.stats()).by_status == {"completed": 60}
    assert max(Counter(left + right).values()) == 1
    assert min(len(left), len(right)) > 10


@in_virtual_time
async def test_one_schedulers_rate_limit_binds_the_other_at_once(sqlite: str) -> None:
    routes, calls = Registry(), []

    @routes.handler("ask")
    async def ask(job: JobContext) -> str:
        calls.append(anyio.current_time())
        if anyio.current_time() < 100.0:
            raise RateLimitError(retry_after_s=500.0)
        return "done"

    async with engine(routes, sqlite) as one, engine(routes, sqlite) as two:
        one.alone = two.alone = False
        receipt = await one.scheduler.enqueue("ask")
        async with one.running():
            await one.until_status(receipt.job_id, Status.RATE_LIMITED)
            async with two.running():
                await two.scheduler.enqueue("ask")
                await one.until(lambda: len(calls) == 3)
    assert min(calls[1:]) >= 499.9


@in_real_time
async def test_a_second_schedulers_enqueue_cancel_and_pause_reach_the_first_without_waiting_for_its_poll(sqlite: str) -> None:
    runs: list[str] = []
    async with engine(noting(runs, 30.0), sqlite, scheduler={"poll_interval_s": 600.0}) as one, engine(noting([]), sqlite) as two:
        one.alone = two.alone = False
        async with one.running():
            await anyio.sleep(0.1)
            receipt = await two.scheduler.enqueue("work")
            await one.until(lambda: bool(runs), limit_s=2.0)
            await two.scheduler.cancel(receipt.job_id)
            await one.until(lambda: not one.scheduler._service.dispatcher.running, limit_s=2.0)  # type: ignore[union-attr]
            await two.scheduler.pause("work")
            await two.scheduler.enqueue("work")
            await anyio.sleep(0.1)
            assert len(runs) == 1
            await two.scheduler.resume("work")
            await one.until(lambda: len(runs) == 2, limit_s=2.0)
            one.scheduler.stop(grace_s=0.0)


class LoopWatch:
    """Measures the longest time for which the event loop did not turn."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def __aenter__(self) -> LoopWatch:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            began = time.perf_counter()
            await anyio.sleep(0.005)
            self.longest_s = max(self.longest_s, time.perf_counter() - began)


@in_real_time
async def test_while_another_program_locks_the_file_callers_hear_busy_and_the_loop_turns(
    sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.5)
    runs: list[str] = []
    async with engine(noting(runs, 0.2), sqlite, scheduler={"poll_interval_s": 0.1}) as at, at.running():
        receipts = await at.scheduler.enqueue_many(NewJob("work") for _ in range(5))
        await at.until(lambda: len(at.history.of(JobStarted)) == 5, limit_s=5.0)
        async with LoopWatch() as loop:
            with locked(sqlite):
                with pytest.raises(StoreBusyError, match="try again"):
                    await at.scheduler.enqueue("work", "", "never stored")
                await anyio.sleep(1.0)  # the handlers end meanwhile: their outcomes have to wait
                assert {job.status for job in await at.scheduler.jobs()} == {Status.PROCESSING}
        assert loop.longest_s < 0.4
        for receipt in receipts:
            await at.until_status(receipt.job_id, Status.COMPLETED, limit_s=5.0)
        assert await at.scheduler.jobs(target_id="never stored") == []
        assert len(at.history.of(StoreFailing)) >= 1
        assert len(at.history.of(StoreRecovered)) >= 1
        more = await at.scheduler.enqueue("work")
        await at.until_status(more.job_id, Status.COMPLETED, limit_s=5.0)
    assert len(runs) == 6, "nothing ran twice"


@in_real_time
async def test_a_full_disk_loses_nothing_that_was_acknowledged_and_work_resumes_when_there_is_space(
    sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []

    def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
        opened.append(schema.connect(path, read_only=read_only))
        return opened[-1]

    monkeypatch.setattr(thread, "connect", connect)
    runs: list[str] = []
    async with engine(noting(runs, 0.3), sqlite, scheduler={"poll_interval_s": 0.1, "concurrency": 50}) as at:
        writing = opened[0]  # the store opens its writer first
        first = await at.scheduler.enqueue_many(NewJob("work", payload={"x": "y" * 500}) for _ in range(20))
        async with at.running():
            await at.until(lambda: len(at.history.of(JobStarted)) == 20, limit_s=5.0)
            (pages,) = writing.execute("PRAGMA page_count").fetchone()
            writing.execute(f"PRAGMA max_page_count = {pages}")
            acknowledged = [receipt.job_id for receipt in first]

            async def fill() -> None:
                for _ in range(1_000):
                    receipt = await at.scheduler.enqueue("work", payload={"x": "y" * 20_000})
                    acknowledged.append(receipt.job_id)

            with pytest.raises(StoreFullError, match="free some"):
                await fill()
            await anyio.sleep(0.5)
            writing.execute("PRAGMA max_page_count = 1000000")
            for job_id in acknowledged:
                await at.until_status(job_id, Status.COMPLETED, limit_s=10.0)
            total = (await at.scheduler.stats()).total
    assert total == len(acknowledged)
    assert Counter(runs) == Counter(acknowledged)


@in_real_time
async def test_a_worker_that_was_taken_for_dead_joins_anew(sqlite: str) -> None:
    """Else every job it claims from then on would be taken from it by the next janitor that passes."""
    runs: list[str] = []
    quick = {"lease_s": 0.35, "poll_interval_s": 0.05}
    async with engine(noting(runs, 0.6), sqlite, scheduler=quick) as one, engine(Registry(), sqlite, scheduler={"concurrency": 0}) as two:
        one.alone = two.alone = False
        async with one.running():
            receipt = await one.scheduler.enqueue("work")
            await one.until(lambda: bool(runs), limit_s=5.0)
            (worker,) = await two.scheduler.store.workers()
            await two.scheduler.store.dismiss(worker.worker_id)
            with anyio.fail_after(2.0):
                while not await two.scheduler.store.workers():  # noqa: ASYNC110 - another process would look like this too
                    await anyio.sleep(0.01)
            await two.scheduler.run(until_empty=True)  # takes back what dead workers hold: nothing
            job = await one.until_status(receipt.job_id, Status.COMPLETED, limit_s=5.0)
    assert (job.crashes, len(runs)) == (0, 1)


@in_real_time
async def test_a_job_that_was_taken_over_is_stopped_here_and_its_late_result_is_refused(sqlite: str) -> None:
    routes, log = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        log.append(f"started {job.job.token}")
        try:
            await anyio.sleep(0.3 if job.job.token > 1 else 30.0)
        except asyncio.CancelledError:
            log.append(f"stopped {job.job.token}")
            return "late"
        return f"done {job.job.token}"

    async with engine(routes, sqlite, scheduler={"poll_interval_s": 0.05}) as one, engine(routes, sqlite) as two:
        one.alone = two.alone = False
        async with one.running():
            receipt = await one.scheduler.enqueue("work")
            await one.until(lambda: bool(log), limit_s=5.0)
            (worker,) = await two.scheduler.store.workers()
            await two.scheduler.store.dismiss(worker.worker_id)
            await two.scheduler.run(until_empty=True)  # finds a job of a worker that is no more
        job = await two.job(receipt.job_id)
    assert (job.status, job.result, job.crashes, job.attempts) == (Status.COMPLETED, "done 2", 1, 1)
    assert "stopped 1" in log
