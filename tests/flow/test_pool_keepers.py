"""Keepers on one store, without an engine: what a worker that died took with it, and what of it comes back."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup, TaskStatus

from scheduler.calls import JobPool
from scheduler.clock import LoopClock
from scheduler.events import Events
from scheduler.keeper import Keeper
from scheduler.pools.desks import LATE_S, SILENT_S
from scheduler.pools.hold import PROBE_LOST_S
from scheduler.pools.messages import Limits
from scheduler.pools.rejection import Rejection
from scheduler.stores.base import Store
from scheduler.stores.memory import MemoryStore
from tests.support.virtual_time import in_virtual_time


class Worker:
    """A keeper and its calls. ``die``: no word more to anybody."""

    def __init__(self, store: Store, name: str, limits: Limits) -> None:
        self.clock = LoopClock()
        self.keeper = Keeper(store, lambda pool: limits, Events(), self.clock, Random(1), name, lambda: None, lambda: None)
        self.starts: list[float] = []
        self.at_once = 0
        self.tasks: TaskGroup

    async def live(self, *, task_status: TaskStatus[None]) -> None:
        async with anyio.create_task_group() as self.tasks:
            self.tasks.start_soon(self.keeper.run)
            task_status.started()
            await anyio.sleep_forever()

    async def call(self, takes_s: float) -> None:
        pool = JobPool("main", self.keeper.booth("main"), "task", self.clock)
        async with pool.request(tokens=100):
            self.starts.append(anyio.current_time())
            self.at_once += 1
            try:
                await anyio.sleep(takes_s)
            finally:
                self.at_once -= 1

    async def keep_calling(self, callers: int, takes_s: float) -> None:
        async def caller() -> None:
            while True:
                await self.call(takes_s)

        for _ in range(callers):
            self.tasks.start_soon(caller)

    def die(self) -> None:
        async def silence(*_: object) -> None:
            await anyio.sleep_forever()

        self.keeper.exchange = silence  # type: ignore[method-assign, assignment]
        self.tasks.cancel_scope.cancel()


async def most_at_once(worker: Worker, within_s: float) -> int:
    """Looked at often: a place that was given back is empty for a moment."""
    most, until = 0, anyio.current_time() + within_s
    while anyio.current_time() < until:
        await anyio.sleep(0.05)
        most = max(most, worker.at_once)
    return most


class Shop:
    """Workers on one store."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.store = MemoryStore()
        self.tasks = anyio.create_task_group()

    async def __aenter__(self) -> Shop:
        await self.tasks.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        self.tasks.cancel_scope.cancel()
        await self.tasks.__aexit__(*error)

    async def worker(self, name: str) -> Worker:
        worker = Worker(self.store, name, self.limits)
        await self.tasks.start(worker.live)
        return worker


@in_virtual_time
async def test_places_in_flight_of_a_worker_that_died_come_back_once_it_was_silent_for_long_enough() -> None:
    async with Shop(Limits({"requests": 60_000.0}, max_in_flight=6)) as shop:
        dying, living = await shop.worker("dying"), await shop.worker("living")
        await dying.keep_calling(10, 1_000.0)
        await anyio.sleep(1.0)
        await living.keep_calling(10, 1.0)
        assert dying.at_once == 6, "it took them all before the other came"
        await anyio.sleep(9.0)
        assert living.at_once == 0
        dying.die()
        # Its last word was a few seconds before it died: a worker whose calls just go on reports seldom.
        assert await most_at_once(living, SILENT_S - LATE_S) == 0
        await anyio.sleep(LATE_S + 1.0)
        assert await most_at_once(living, 3.0) == 6


@in_virtual_time
async def test_half_of_the_places_stay_with_the_living_when_the_other_half_died() -> None:
    async with Shop(Limits({"requests": 60_000.0}, max_in_flight=6)) as shop:
        dying, living = await shop.worker("dying"), await shop.worker("living")
        for each in (dying, living):
            await each.keep_calling(10, 1.0)
        await anyio.sleep(20.0)
        assert await most_at_once(living, 2.0) == 3
        dying.die()
        assert await most_at_once(living, SILENT_S - LATE_S) == 3
        await anyio.sleep(LATE_S + 2.0)
        assert await most_at_once(living, 3.0) == 6


@in_virtual_time
async def test_calls_that_never_started_use_up_nothing_of_a_days_quota() -> None:
    async with Shop(Limits({"requests": 60.0}, requests_per_day=5.0)) as shop:
        worker = await shop.worker("ada")
        for _ in range(6):  # the first starts at once, the second is booked when its caller goes away
            with anyio.move_on_after(0.5):
                async with anyio.create_task_group() as calls:
                    for _ in range(2):
                        calls.start_soon(worker.call, 0.0)
            if len(worker.starts) == 4:
                break
            await anyio.sleep(5.0)
        assert len(worker.starts) == 4
        with anyio.fail_after(60.0):
            await worker.call(0.0)


@pytest.mark.parametrize("workers", [2, 4])
@in_virtual_time
async def test_workers_that_book_and_die_never_make_the_others_exceed_the_pace(workers: int) -> None:
    everybody: list[Worker] = []
    async with Shop(Limits({"requests": 600.0})) as shop:
        living = await shop.worker("living")
        await living.keep_calling(30, 0.2)
        everybody.append(living)
        for round_ in range(6):
            dying = [await shop.worker(f"w{round_}-{number}") for number in range(workers - 1)]
            for each in dying:
                await each.keep_calling(30, 0.2)
            await anyio.sleep(3.0)
            for each in dying:
                each.die()
            everybody += dying
        died_at = anyio.current_time()
        await anyio.sleep(LATE_S + 10.0)
    starts = sorted(at for each in everybody for at in each.starts)
    for first, start in enumerate(starts):
        assert len([at for at in starts[first : first + 40] if at < start + 1.0]) <= 11
    after = [at for at in living.starts if at >= died_at + LATE_S]
    assert len(after) == pytest.approx(100, abs=3), "and leave them all of it"


@in_virtual_time
async def test_a_worker_that_dies_while_its_call_tries_whether_the_pool_is_open_keeps_it_shut_for_a_while_only() -> None:
    async with Shop(Limits({"requests": 600.0})) as shop:
        dying, living = await shop.worker("dying"), await shop.worker("living")
        booth = dying.keeper.booth("main")
        place = booth.place("task", 100.0, None)
        await booth.enter(place)
        held_s = await booth.rejected(place, Rejection("rate", 1.5, (), None, None))
        assert held_s is not None
        await anyio.sleep(held_s)
        dying.tasks.start_soon(dying.call, 1_000.0)
        await anyio.sleep(0.05)
        assert len(dying.starts) == 1
        dying.die()
        died_at = anyio.current_time()
        await living.keep_calling(3, 1.0)
        await anyio.sleep(PROBE_LOST_S + 5.0)
    assert living.starts[0] - died_at == pytest.approx(PROBE_LOST_S, abs=2.0)
    assert len(living.starts) > 5
