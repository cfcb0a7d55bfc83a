"""What runs when: order within a lane, fairness between lanes, limits, delays, due times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import anyio
import pytest

from scheduler import JobContext, NewJob, Registry, Status
from tests.support.engine import engine
from tests.support.virtual_time import in_virtual_time


class Watch:
    """Notes each start and how many ran at once, of all jobs and of each task type."""

    def __init__(self, takes_s: float = 1.0) -> None:
        self.takes_s = takes_s
        self.starts: list[tuple[float, str, str]] = []
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}

    async def __call__(self, job: JobContext) -> None:
        self.starts.append((round(anyio.current_time(), 3), job.task_type, job.target_id))
        for name in (job.task_type, "all", f"pool:{job.pool.name}"):
            self.now[name] = self.now.get(name, 0) + 1
            self.most[name] = max(self.most.get(name, 0), self.now[name])
        await anyio.sleep(self.takes_s)
        for name in (job.task_type, "all", f"pool:{job.pool.name}"):
            self.now[name] -= 1

    @property
    def targets(self) -> list[str]:
        return [target for _, _, target in self.starts]


def watching(watch: Watch, *task_types: str, pool: str | None = None) -> Registry:
    routes = Registry()
    for task_type in task_types:

        @routes.handler(task_type, pool=pool)
        async def work(job: JobContext) -> None:
            await watch(job)

    return routes


@in_virtual_time
async def test_higher_priority_goes_first_then_first_come_first_served(store: str) -> None:
    watch = Watch()
    async with engine(watching(watch, "work"), store, scheduler={"concurrency": 1}) as at:
        for target, priority in [("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1), ("f", 9)]:
            await at.scheduler.enqueue("work", "", target, priority=priority)
        await at.scheduler.run(until_empty=True)
    assert watch.targets == ["f", "b", "d", "a", "c", "e"]


@in_virtual_time
async def test_no_lane_waits_behind_anothers_backlog(store: str) -> None:
    watch = Watch()
    async with engine(watching(watch, "long", "short", "third"), store, scheduler={"concurrency": 3}) as at:
        await at.scheduler.enqueue_many(NewJob("long", priority=1_000) for _ in range(300))
        await at.scheduler.enqueue_many(NewJob("short") for _ in range(20))
        await at.scheduler.enqueue_many(NewJob("third", priority=-5) for _ in range(20))
        await at.scheduler.run(until_empty=True)
    for name in ("long", "short", "third"):
        began = [at_s for at_s, task_type, _ in watch.starts if task_type == name]
        assert began[9] < 12.0, f"{name} got its third of the slots"


@in_virtual_time
async def test_with_one_slot_lanes_take_turns(store: str) -> None:
    watch = Watch()
    async with engine(watching(watch, "a", "b", "c"), store, scheduler={"concurrency": 1}) as at:
        await anyio.sleep(1.0)
        await at.scheduler.enqueue_many(NewJob(name, target_id=name) for name in "aaaabbbbcccc")
        await at.scheduler.run(until_empty=True)
    for turn in range(4):
        assert sorted(watch.targets[3 * turn : 3 * turn + 3]) == ["a", "b", "c"]


@in_virtual_time
async def test_no_more_jobs_run_at_once_than_configured_and_all_slots_are_used(store: str) -> None:
    watch = Watch()
    async with engine(
        watching(watch, "a", "b", "c", pool="p"),
        store,
        scheduler={"concurrency": 12},
        task_types={"a": {"concurrency": 2}},
        pools={"p": {"concurrency": 7}},
    ) as at:
        await at.scheduler.enqueue_many(NewJob(name) for name in "abc" * 30)
        await at.scheduler.run(until_empty=True)
        began = anyio.current_time()
    assert watch.most["a"] == 2
    assert watch.most["pool:p"] == watch.most["all"] == 7
    assert began < 18.0


@in_virtual_time
async def test_concurrency_zero_runs_nothing_and_is_not_taken_for_unset(store: str) -> None:
    watch = Watch()
    async with engine(
        watching(watch, "a", "b", "c", pool=None),
        store,
        task_types={"a": {"concurrency": 0}, "b": {"pool": "closed"}},
        pools={"closed": {"concurrency": 0}},
    ) as at:
        await at.scheduler.enqueue_many(NewJob(name, target_id=name) for name in "abc")
        with anyio.fail_after(60.0):
            await at.scheduler.run(until_empty=True)
        assert watch.targets == ["c"]
    async with engine(watching(Watch(), "a"), store, scheduler={"concurrency": 0}) as at:
        at.alone = False
        await at.scheduler.enqueue("a")
        with anyio.fail_after(60.0):
            await at.scheduler.run(until_empty=True)
        assert (await at.scheduler.stats()).by_status.get("completed", 0) in (0, 1)


@in_virtual_time
async def test_starts_of_a_type_are_spaced_by_its_delay_and_other_types_are_not(store: str) -> None:
    watch = Watch()
    async with engine(watching(watch, "slow", "quick"), store, task_types={"slow": {"dispatch_delay_s": 3.0}}) as at:
        await at.scheduler.enqueue_many(NewJob(name) for name in ["slow"] * 5 + ["quick"] * 5)
        await at.scheduler.run(until_empty=True)
    slow = [at_s for at_s, task_type, _ in watch.starts if task_type == "slow"]
    assert all(later - earlier >= 3.0 for earlier, later in pairwise(slow))
    assert slow[-1] < 13.0
    assert all(at_s < 1.0 for at_s, task_type, _ in watch.starts if task_type == "quick")


@in_virtual_time
async def test_all_starts_are_spaced_by_the_services_delay(store: str) -> None:
    watch = Watch(takes_s=20.0)
    async with engine(watching(watch, "a", "b"), store, scheduler={"dispatch_delay_s": 0.5}) as at:
        await at.scheduler.enqueue_many(NewJob(name) for name in "ababab")
        await at.scheduler.run(until_empty=True)
    starts = [at_s for at_s, _, _ in watch.starts]
    assert all(later - earlier >= 0.5 - 1e-3 for earlier, later in pairwise(starts))
    assert starts[-1] < 3.0


@pytest.mark.parametrize("kind", ["seconds", "timedelta", "datetime"])
@in_virtual_time
async def test_no_job_starts_before_it_is_due(store: str, kind: str) -> None:
    watch = Watch()
    async with engine(watching(watch, "work"), store) as at:
        now = at.scheduler.clock.now()
        run_after: Any = {"seconds": now + 90.0, "timedelta": timedelta(seconds=90), "datetime": datetime.fromtimestamp(now + 90.0, UTC)}[
            kind
        ]
        await at.scheduler.enqueue("work", run_after=run_after)
        await at.scheduler.run(until_empty=True)
    assert watch.starts[0][0] == pytest.approx(90.0, abs=0.1)


@in_virtual_time
async def test_a_job_enqueued_for_later_while_the_service_idles_starts_on_time(store: str) -> None:
    watch = Watch()
    async with engine(watching(watch, "work"), store, scheduler={"poll_interval_s": 1_000.0}) as at, at.running():
        await anyio.sleep(10.0)
        await at.scheduler.enqueue("work", "", "later", run_after=timedelta(seconds=20))
        await at.scheduler.enqueue("work", "", "sooner", run_after=timedelta(seconds=10))
        await at.until(lambda: len(watch.starts) == 2)
    assert [(target, round(at_s)) for at_s, _, target in watch.starts] == [("sooner", 20), ("later", 30)]


@in_virtual_time
async def test_a_job_is_picked_up_at_once_when_the_service_idles() -> None:
    watch = Watch()
    async with engine(watching(watch, "work"), scheduler={"poll_interval_s": 1_000.0}) as at, at.running():
        await anyio.sleep(10.0)
        await at.scheduler.enqueue("work")
        await at.until(lambda: bool(watch.starts), limit_s=1.0)
    assert watch.starts[0][0] == pytest.approx(10.0, abs=0.01)


@in_virtual_time
async def test_a_handler_may_enqueue_and_until_empty_waits_for_what_it_enqueued(store: str) -> None:
    routes, found = Registry(), []

    @routes.handler("walk")
    async def walk(job: JobContext, payload: dict[str, int]) -> None:
        found.append(payload["depth"])
        if payload["depth"] < 4:
            for _ in range(2):
                await at.scheduler.enqueue("walk", payload={"depth": payload["depth"] + 1})

    async with engine(routes, store, scheduler={"concurrency": 3}) as at:
        await at.scheduler.enqueue("walk", payload={"depth": 0})
        await at.scheduler.run(until_empty=True)
        assert (await at.scheduler.stats()).by_status == {"completed": 31}
    assert sorted(found) == [0] + [1] * 2 + [2] * 4 + [3] * 8 + [4] * 16


@in_virtual_time
async def test_two_hundred_waiting_handlers_take_no_longer_than_one(store: str) -> None:
    watch = Watch()
    async with engine(watching(watch, "work"), store, scheduler={"concurrency": 200}) as at:
        await at.scheduler.enqueue_many(NewJob("work") for _ in range(200))
        await at.scheduler.run(until_empty=True)
        assert anyio.current_time() < 1.3
        assert {job.status for job in await at.scheduler.jobs(limit=200)} == {Status.COMPLETED}
    assert watch.most["all"] == 200
