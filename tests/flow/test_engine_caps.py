"""``max_running``: how many jobs of a type run at once, all workers together."""

from __future__ import annotations

from collections import Counter

import anyio

from scheduler import JobContext, NewJob, Registry
from tests.support.engine import engine
from tests.support.virtual_time import in_virtual_time


class Peak:
    """Handlers that note how many of each type run at once."""

    def __init__(self, *task_types: str) -> None:
        self.running: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.routes = Registry()
        for task_type in task_types:
            self.routes.handler(task_type)(self._handler)

    async def _handler(self, job: JobContext) -> str:
        self.running[job.task_type] += 1
        self.peak[job.task_type] = max(self.peak[job.task_type], self.running[job.task_type])
        await anyio.sleep(0.2)
        self.running[job.task_type] -= 1
        return "done"


@in_virtual_time
async def test_a_capped_type_runs_at_its_cap_and_others_are_not_held(store: str) -> None:
    seen = Peak("capped", "free")
    async with engine(seen.routes, store, task_types={"capped": {"max_running": 2}}) as made:
        await made.scheduler.enqueue_many(NewJob(name) for name in ("capped", "free") for _ in range(10))
        await made.scheduler.run(until_empty=True)
        assert (await made.scheduler.stats()).by_status == {"completed": 20}
    assert seen.peak == {"capped": 2, "free": 8}


@in_virtual_time
async def test_two_schedulers_keep_one_cap(sqlite: str) -> None:
    seen = Peak("capped")
    tables = {"task_types": {"capped": {"max_running": 3}}, "scheduler": {"concurrency": 4, "batch_size": 2}}
    async with engine(seen.routes, sqlite, **tables) as one, engine(seen.routes, sqlite, seed=2, **tables) as two:
        one.alone = two.alone = False
        await one.scheduler.enqueue_many(NewJob("capped") for _ in range(24))
        async with anyio.create_task_group() as both:
            both.start_soon(lambda: one.scheduler.run(until_empty=True))
            both.start_soon(lambda: two.scheduler.run(until_empty=True))
        assert (await one.scheduler.stats()).by_status == {"completed": 24}
    assert seen.peak["capped"] == 3


@in_virtual_time
async def test_a_cap_of_zero_runs_none(store: str) -> None:
    seen = Peak("capped", "free")
    async with engine(seen.routes, store, task_types={"capped": {"max_running": 0}}) as made:
        await made.scheduler.enqueue_many([NewJob("capped"), NewJob("free")])
        await made.scheduler.run(until_empty=True)
        assert (await made.scheduler.stats()).by_status == {"pending": 1, "completed": 1}
