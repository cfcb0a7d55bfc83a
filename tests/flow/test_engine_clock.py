"""Clocks that jump: limits and leases follow time that never goes back; only what people see follows the wall clock."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from scheduler import JobContext, Registry, Status, StoreBusyError
from scheduler.clock import LoopClock
from scheduler.identity import this_worker
from scheduler.stores.base import Want, Worker
from tests.support.engine import engine
from tests.support.virtual_time import in_virtual_time

HOUR_S = 3_600.0
YEAR_S = 365 * 24 * HOUR_S


class WallClock(LoopClock):
    """The loop's time, and a wall clock that somebody sets."""

    def __init__(self) -> None:
        super().__init__()
        self.set_by_s = 0.0

    def now(self) -> float:
        return super().now() + self.set_by_s


@pytest.mark.parametrize("jump_s", [HOUR_S, YEAR_S, -HOUR_S, -YEAR_S])
@in_virtual_time
async def test_a_time_limit_runs_by_monotonic_time_whatever_the_wall_clock_does(store: str, jump_s: float) -> None:
    routes, ran_s = Registry(), []

    @routes.handler("work", timeout_s=30.0, max_attempts=1)
    async def work(job: JobContext) -> None:
        began = anyio.current_time()
        try:
            await anyio.sleep(10.0)
            clock.set_by_s += jump_s
            await anyio.sleep(10.0 if job.target_id == "in time" else 100.0)
        finally:
            ran_s.append(round(anyio.current_time() - began, 3))

    clock = WallClock()
    async with engine(routes, store, clock=clock) as at:
        good = await at.scheduler.enqueue("work", "", "in time")
        await at.scheduler.run(until_empty=True)
        clock.set_by_s = 0.0
        late = await at.scheduler.enqueue("work", "", "too late")
        await at.scheduler.run(until_empty=True)
        assert (await at.job(good.job_id)).status is Status.COMPLETED
        assert (await at.job(late.job_id)).status is Status.FAILED_TIMEOUT
    assert ran_s == [20.0, 30.0]


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S])
@in_virtual_time
async def test_a_clock_that_jumps_takes_no_job_from_a_worker_that_still_beats(store: str, jump_s: float) -> None:
    """On another machine only its beats show that it lives; they are judged by monotonic time."""
    clock = WallClock()
    async with engine(Registry(), store, clock=clock, scheduler={"lease_s": 30.0}, retention={"sweep_interval_s": 5.0}) as at:
        at.alone = False
        receipt = await at.scheduler.enqueue("work")
        worker = replace(this_worker(clock.now(), 30.0), worker_id="elsewhere-1", host="elsewhere")
        pulse = await at.scheduler.store.register(worker)
        await at.scheduler.store.claim([Want("work", 1, ("work",))], worker.worker_id, clock.now())
        async with at.running():
            for second in range(100):
                if second % 10 == 0:
                    assert pulse.beat(clock.now())
                if second == 50:
                    clock.set_by_s += jump_s
                await anyio.sleep(1.0)
            assert (await at.job(receipt.job_id)).status is Status.PROCESSING
            last_beat = anyio.current_time()
            job = await at.until_status(receipt.job_id, Status.PENDING, Status.FAILED_JOB_LOGIC, limit_s=60.0)
            assert anyio.current_time() - last_beat > 15.0, "not before its lease was over"
        pulse.close()
    assert job.crashes == 1


@in_virtual_time
async def test_a_lost_workers_jobs_move_on_within_its_lease_of_the_last_beat(store: str) -> None:
    async with engine(Registry(), store, scheduler={"unknown_routes": "leave"}) as at:
        at.alone = False
        async with at.running():
            for number in range(20):
                now, name = at.scheduler.clock.now(), f"work-{number}"
                receipt = await at.scheduler.enqueue(name)
                worker = replace(this_worker(now, 35.0), worker_id=f"elsewhere-{number}", host="elsewhere")
                (await at.scheduler.store.register(worker)).close()
                assert (await at.scheduler.store.claim([Want(name, 1, (name,))], worker.worker_id, now)).claims
                last_beat = anyio.current_time()
                await at.until_status(receipt.job_id, Status.PENDING, limit_s=60.0)
                assert 30.0 < anyio.current_time() - last_beat <= 35.0
                await anyio.sleep(number * 0.05)  # at another moment between two looks


@in_virtual_time
async def test_a_store_that_was_away_for_longer_than_a_lease_costs_no_living_worker_its_jobs(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine(Registry(), store, scheduler={"lease_s": 30.0}) as at:
        at.alone = False
        receipt = await at.scheduler.enqueue("work")
        worker = replace(this_worker(at.scheduler.clock.now(), 30.0), worker_id="elsewhere-1", host="elsewhere")
        pulse = await at.scheduler.store.register(worker)
        await at.scheduler.store.claim([Want("work", 1, ("work",))], worker.worker_id, at.scheduler.clock.now())

        async def away() -> list[Worker]:
            raise StoreBusyError("away")

        async with at.running():
            await anyio.sleep(10.0)
            with monkeypatch.context() as patch:
                patch.setattr(at.scheduler.store, "workers", away)
                await anyio.sleep(100.0)
            await anyio.sleep(5.0)
            assert pulse.beat(at.scheduler.clock.now()), "its row is still there"
            await anyio.sleep(20.0)
            assert (await at.job(receipt.job_id)).status is Status.PROCESSING
        pulse.close()


@in_virtual_time
async def test_a_wall_clock_set_back_costs_a_running_service_no_work(store: str) -> None:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        return "done"

    clock = WallClock()
    async with engine(routes, store, clock=clock, scheduler={"poll_interval_s": 1.0}) as at, at.running():
        await at.scheduler.enqueue("work")
        await anyio.sleep(5.0)
        clock.set_by_s -= HOUR_S
        receipt = await at.scheduler.enqueue("work")
        job = await at.until_status(receipt.job_id, Status.COMPLETED, limit_s=2.0)
        assert job.finished_at is not None
