"""Stopping a service process: the grace period, the hand-back, the second signal, and what a restart finds."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler import Job, NewJob, Registry, Scheduler, Status
from tests.support.fleet import Fleet, Process, fleet, until
from tests.support.service_process import settings_in

pytestmark = pytest.mark.slow


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        yield made


def enqueued(folder: Path, *jobs: NewJob) -> list[str]:
    """Enqueue from this process; the ids."""

    async def enqueue() -> list[str]:
        async with Scheduler.open(settings_in(folder), Registry(), logs=False) as scheduler:
            return [receipt.job_id for receipt in await scheduler.enqueue_many(jobs)]

    return asyncio.run(enqueue())


def stored(folder: Path) -> list[Job]:
    async def find() -> list[Job]:
        async with Scheduler.open(settings_in(folder), Registry(), logs=False) as scheduler:
            return await scheduler.jobs(limit=1_000)

    return asyncio.run(find())


def started(process: Process, count: int) -> None:
    until(lambda: len([line for line in process.lines("runs") if line["what"] == "start"]) >= count, 20.0, f"{count} jobs start")


def ended_after(process: Process, *numbers: int, apart_s: float = 0.2) -> tuple[int, float]:
    """Its exit code, and the seconds that it took after the last of the signals ``numbers``."""
    for number in numbers:
        process.signal(number)
        began = time.monotonic()
        if number is not numbers[-1] or len(numbers) > 1:
            time.sleep(apart_s)
    code = process.wait(30.0)
    return code, time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_hands_back_what_the_grace_period_does_not_suffice_for(processes: Fleet, number: int) -> None:
    enqueued(processes.folder, *[NewJob("endless", max_attempts=1)] * 3, *[NewJob("slow")] * 3)
    process = processes.service(drain_grace_s=0.6)
    started(process, 6)
    code, took_s = ended_after(process, number)
    assert code == 0, process.said()
    assert 0.4 <= took_s <= 0.6 + 2.0
    endless = [job for job in stored(processes.folder) if job.task_type == "endless"]
    assert [(job.status, job.reason, job.attempts, job.crashes) for job in endless] == [(Status.PENDING, "interrupted", 0, 0)] * 3
    assert [job.state for job in endless] == [{"attempt": 1}] * 3, "checkpoints are kept"
    slow = [job for job in stored(processes.folder) if job.task_type == "slow"]
    assert {job.status for job in slow} == {Status.COMPLETED}, "the grace period is theirs"


def test_a_second_signal_ends_it_at_once(processes: Fleet) -> None:
    enqueued(processes.folder, *[NewJob("endless", max_attempts=1)] * 3)
    process = processes.service(drain_grace_s=60.0)
    started(process, 3)
    code, took_s = ended_after(process, signal.SIGTERM, signal.SIGTERM)
    assert (code, took_s < 2.0) == (0, True)
    assert [(job.status, job.attempts) for job in stored(processes.folder)] == [(Status.PENDING, 0)] * 3


def test_rounds_of_signals_and_restarts_lose_nothing_and_count_nothing(processes: Fleet) -> None:
    """Interruption is not failure, however often: the job's one attempt is still its to use."""
    enqueued(processes.folder, *[NewJob("endless", max_attempts=1)] * 2)
    for _ in range(4):
        process = processes.service(drain_grace_s=0.0)
        started(process, 2)
        assert ended_after(process, signal.SIGTERM)[0] == 0
    assert [(job.status, job.attempts, job.crashes) for job in stored(processes.folder)] == [(Status.PENDING, 0, 0)] * 2


def test_what_a_killed_service_held_runs_again_within_two_seconds_of_the_restart(processes: Fleet) -> None:
    ids = enqueued(processes.folder, *[NewJob("endless")] * 3)
    process = processes.service()
    started(process, 3)
    successor = processes.service(at_once=False)
    until(successor.is_ready, 20.0, "the successor is ready")
    process.signal(signal.SIGKILL)
    process.wait(10.0)
    successor.go()
    took_s = until(lambda: len(successor.lines("runs")) >= 3, 10.0, "its jobs run again")
    assert took_s < 2.0
    starts: list[dict[str, Any]] = [line for line in successor.lines("runs") if line["what"] == "start"]
    assert {line["job"] for line in starts} == set(ids)
    assert [(line["token"], line["attempt"]) for line in starts] == [(2, 1)] * 3, "the lost attempt was given back"


def test_a_job_that_takes_its_service_down_three_times_is_parked(processes: Fleet) -> None:
    enqueued(processes.folder, NewJob("endless"), NewJob("endless"))
    for _ in range(3):
        process = processes.service()
        started(process, 2)
        process.signal(signal.SIGKILL)
        process.wait(10.0)
    processes.service(until_empty=True).wait(20.0)
    assert {(job.status, job.reason, job.crashes) for job in stored(processes.folder)} == {(Status.FAILED_JOB_LOGIC, "worker_lost", 3)}
