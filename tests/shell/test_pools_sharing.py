"""Four worker processes on one file and one provider: together they keep to its limit, and none takes it all."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from benchmarks.provider import Dialect, preset
from benchmarks.provider.server import ProviderService
from scheduler import NewJob, Registry, Scheduler, Status
from tests.support.engine import in_real_time

pytestmark = pytest.mark.slow
RPM, JOBS, WORKERS = 1_200.0, 240, 4


@in_real_time
async def test_four_processes_share_one_quota(tmp_path: Path) -> None:
    store = tmp_path / "jobs.db"
    async with ProviderService(preset(Dialect.OPENAI, RPM, 1_000_000, burst_s=1.0)) as service:
        async with Scheduler.open({"scheduler": {"store": f"sqlite:///{store}"}}, Registry(), logs=False) as scheduler:
            await scheduler.enqueue_many(NewJob("ask", "item", str(number)) for number in range(JOBS))
            command = [sys.executable, "-m", "tests.support.calling_process", str(store), f"{service.url}/v1"]
            processes = [await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2]) for _ in range(WORKERS)]
            assert [await asyncio.wait_for(process.wait(), 90.0) for process in processes] == [0] * WORKERS
            jobs = await scheduler.jobs(limit=JOBS)
        provider = service.provider
    assert {job.status for job in jobs} == {Status.COMPLETED}
    assert {job.attempts for job in jobs} == {1}  # whatever was rejected was given back
    # Its bucket holds one second's worth: four that each took the quota would be rejected more often than not.
    assert provider.rejected <= 0.02 * JOBS
