"""Whether a last failure is its job's own: what it waits for, and for how long."""

from __future__ import annotations

import asyncio

import anyio

from scheduler.errors import AIProviderError
from scheduler.events import Events
from scheduler.health import ALONE_S, WAIT_S, Health
from scheduler.job import Lease
from scheduler.outcome import Outcome, Raised, Returned
from scheduler.stores.memory import MemoryStore
from tests.support.virtual_time import in_virtual_time

FAILED = Raised(AIProviderError())


class Patient:
    """A pool's health, and how attempts end."""

    def __init__(self) -> None:
        self.health = Health(MemoryStore(), Events())

    def begin(self, count: int) -> None:
        for _ in range(count):
            self.health.began("main")

    async def end(self, job: int, outcome: Outcome, began_at: float, *, is_last: bool = False) -> bool:
        lease, now = Lease(job, f"job-{job}", 1), anyio.current_time()
        return await self.health.is_outage(
            "main", lease, outcome, now, began_at=began_at, ended_at=began_at + 1.0, is_last=is_last, in_call=False
        )


@in_virtual_time
async def test_it_waits_for_those_about_to_begin_when_all_others_end_at_that_moment() -> None:
    pool = Patient()
    pool.begin(2)
    verdict = asyncio.create_task(pool.end(1, FAILED, 8.0, is_last=True))
    await asyncio.sleep(0)
    await pool.end(2, Returned(None), 4.0)  # sent before the outage began
    await anyio.sleep(0.1)
    pool.begin(3)
    await anyio.sleep(2 * ALONE_S)
    assert not verdict.done()
    assert [await pool.end(number, FAILED, 8.1) for number in (3, 4, 5)] == [False, False, True]
    assert await verdict


@in_virtual_time
async def test_alone_it_is_decided_soon() -> None:
    pool = Patient()
    pool.begin(1)
    assert not await pool.end(1, FAILED, 0.0, is_last=True)
    assert anyio.current_time() <= 1.5 * ALONE_S


@in_virtual_time
async def test_whoever_began_later_and_succeeds_decides_it_at_once() -> None:
    pool = Patient()
    pool.begin(3)
    verdict = asyncio.create_task(pool.end(1, FAILED, 8.0, is_last=True))
    await anyio.sleep(2.0)
    await pool.end(2, Returned(None), 4.0)
    await anyio.sleep(0.1)
    assert not verdict.done(), "that one was sent before"
    await pool.end(3, Returned(None), 8.1)
    assert not await verdict
    assert anyio.current_time() < 2.5


@in_virtual_time
async def test_it_waits_for_others_under_way_no_longer_than_its_limit() -> None:
    pool = Patient()
    pool.begin(2)
    assert not await pool.end(1, FAILED, 0.0, is_last=True)
    assert WAIT_S <= anyio.current_time() <= WAIT_S + 0.5
