"""Two processes on one file: shared work, word across at once, a blocked loop, a frozen process, a full disk."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from scheduler import Job, NewJob, Registry, Scheduler, Status, StoreFullError
from tests.support.checker import check, evidence_in
from tests.support.fleet import Fleet, Process, fleet, until
from tests.support.service_process import TASK_TYPES, settings_in

pytestmark = pytest.mark.slow


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        yield made


def here(folder: Path, **over: Any) -> Scheduler:
    """A scheduler in this process that runs nothing."""
    return Scheduler.open(settings_in(folder, **over), Registry(), logs=False)


def starts(process: Process) -> list[dict[str, Any]]:
    return [line for line in process.lines("runs") if line["what"] == "start"]


async def until_ended(scheduler: Scheduler, job_id: str, limit_s: float = 20.0) -> Job:
    with anyio.fail_after(limit_s):
        while True:
            job = await scheduler.get(job_id)
            assert job is not None
            if job.status.is_terminal:
                return job
            await anyio.sleep(0.01)


def test_two_processes_share_the_work_and_break_no_rule(processes: Fleet) -> None:
    async def enqueue() -> None:
        async with here(processes.folder) as scheduler:
            await scheduler.enqueue_many(NewJob(TASK_TYPES[n % len(TASK_TYPES)], target_id=str(n)) for n in range(600))

    asyncio.run(enqueue())
    both = [processes.service(at_once=False, until_empty=True, concurrency=8, batch_size=8) for _ in range(2)]
    until(lambda: all(process.is_ready() for process in both), 20.0, "both are ready")
    for process in both:
        process.go()
    assert [process.wait(40.0) for process in both] == [0, 0], both[0].said()
    assert check(evidence_in(processes.folder, limits={"": 8, "slow": 6})) == []
    assert min(len(starts(process)) for process in both) > 60, "neither did it alone"


def test_word_from_another_process_does_not_wait_for_the_poll(processes: Fleet) -> None:
    """An enqueue starts, a cancel stops, a pause binds: each within three seconds, while the service polls once in ten minutes."""
    process = processes.service(poll_interval_s=600.0)
    until(lambda: len(process.lines("events")) == 2, 20.0, "the service has started")
    time.sleep(0.2)

    async def talk() -> None:
        async with here(processes.folder) as scheduler:
            receipt = await scheduler.enqueue("endless")
            until(lambda: len(starts(process)) == 1, 3.0, "the job starts")
            await scheduler.cancel(receipt.job_id)
            until(lambda: process.lines("runs")[-1]["what"] == "end", 3.0, "its handler stops")
            assert process.lines("runs")[-1]["how"] == "CancelledError"
            await scheduler.pause("quick")
            held = await scheduler.enqueue("quick")
            other = await scheduler.enqueue("threaded")
            assert (await until_ended(scheduler, other.job_id, 3.0)).status is Status.COMPLETED
            job = await scheduler.get(held.job_id)
            assert job is not None
            assert job.status is Status.PENDING
            await scheduler.resume("quick")
            assert (await until_ended(scheduler, held.job_id, 3.0)).status is Status.COMPLETED

    asyncio.run(talk())


def test_a_handler_that_blocks_the_loop_is_named_and_keeps_its_lease(processes: Fleet) -> None:
    """It blocks for several leases, beside a second service that would take the job if it could."""
    blocked = processes.service(lease_s=0.7, blocked_loop_s=0.3, concurrency=1)
    until(lambda: len(blocked.lines("events")) == 2, 20.0, "the service has started")

    async def enqueue() -> str:
        async with here(processes.folder) as scheduler:
            return (await scheduler.enqueue("blocking", target_id="4")).job_id

    job_id = asyncio.run(enqueue())
    until(lambda: bool(starts(blocked)), 10.0, "it blocks")
    processes.service(lease_s=0.7)

    async def watch() -> Job:
        async with here(processes.folder) as scheduler:
            return await until_ended(scheduler, job_id)

    job = asyncio.run(watch())
    assert (job.status, job.attempts, job.crashes, job.token) == (Status.COMPLETED, 1, 0, 1)
    told = [line for line in blocked.lines("events") if line["what"] == "loop.blocked"]
    assert told, "the blocking handler is reported"
    assert all("noted" in line["handler"] and line["job_id"] == job_id for line in told)
    assert all("service_process.py" in line["where"] for line in told)
    assert len(told) <= 5, "once, and again each time the blockage has doubled"


def test_a_frozen_processs_jobs_move_on_and_its_late_results_are_refused(processes: Fleet) -> None:
    """SIGSTOP looks like a network partition to the others: alive, but its beats do not grow."""
    frozen = processes.service(lease_s=0.7, concurrency=2, poll_interval_s=0.1)
    until(lambda: len(frozen.lines("events")) == 2, 20.0, "the service has started")

    async def story() -> None:
        async with here(processes.folder) as scheduler:
            receipts = await scheduler.enqueue_many([NewJob("endless"), NewJob("endless")])
            until(lambda: len(starts(frozen)) == 2, 10.0, "both run")
            frozen.signal(signal.SIGSTOP)
            other = processes.service(lease_s=0.7, poll_interval_s=0.1)
            until(lambda: len(starts(other)) == 2, 20.0, "the other worker takes over")
            frozen.signal(signal.SIGCONT)
            until(lambda: len([line for line in frozen.lines("runs") if line["what"] == "end"]) == 2, 10.0, "the zombie's handlers stop")
            assert {line["how"] for line in frozen.lines("runs") if line["what"] == "end"} == {"CancelledError"}
            for receipt in receipts:
                job = await scheduler.get(receipt.job_id)
                assert job is not None
                assert (job.status, job.token, job.crashes, job.attempts) == (Status.PROCESSING, 2, 1, 1)
            until(lambda: _workers(processes.folder) == 2, 10.0, "the zombie joins anew")
            await scheduler.cancel(task_type="endless")
            quick = await scheduler.enqueue_many(NewJob("slow") for _ in range(30))
            for receipt in quick:
                assert (await until_ended(scheduler, receipt.job_id)).crashes == 0

    asyncio.run(story())


def _workers(folder: Path) -> int:
    connection = sqlite3.connect(f"file:{folder}/jobs.db?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM workers").fetchone()[0])
    finally:
        connection.close()


def test_a_full_disk_is_an_error_to_callers_and_no_loss(tmp_path: Path) -> None:
    """The system itself refuses to let the file grow, as a full disk would; then there is space again."""
    routes, runs = Registry(), Counter[str]()

    @routes.handler("work")
    async def work(job: Any) -> str:
        runs[job.job_id] += 1
        await anyio.sleep(0.1)
        return "done"

    async def story() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        async with Scheduler.open(settings_in(tmp_path), routes, logs=False) as scheduler, anyio.create_task_group() as tasks:
            acknowledged = [(await scheduler.enqueue("work")).job_id for _ in range(5)]
            tasks.start_soon(scheduler.run)
            size = (tmp_path / "jobs.db-wal").stat().st_size
            before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200_000, hard))
            try:
                refused = await _fill(scheduler, acknowledged)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                signal.signal(signal.SIGXFSZ, before)
            assert "free some disk space" in str(refused)
            with anyio.fail_after(10.0):
                for job_id in acknowledged:
                    assert (await until_ended(scheduler, job_id)).status is Status.COMPLETED
            assert (await scheduler.stats()).total == len(acknowledged)
            assert len(acknowledged) > 5
            scheduler.stop()

    asyncio.run(story())
    assert set(runs.values()) == {1}


async def _fill(scheduler: Scheduler, acknowledged: list[str]) -> StoreFullError:
    """Enqueue until it is refused; the refusal."""
    for _ in range(200):
        try:
            acknowledged.append((await scheduler.enqueue("work", payload={"x": "y" * 50_000})).job_id)
        except StoreFullError as refused:
            return refused
    raise AssertionError("the disk never filled up")
