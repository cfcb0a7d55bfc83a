"""Outages: a provider that fails for everybody fails no job; a job that fails by itself has its three attempts and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from scheduler import Job, JobContext, NewJob, Registry, Status
from scheduler.events import JobEnded, JobStarted, PoolOutage
from scheduler.policy import OUTAGE_PAUSE_CAP_S
from tests.support.engine import Engine, engine
from tests.support.virtual_time import in_virtual_time


class Refused(Exception):
    """What a client raises."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"Error code: {status_code}")
        self.status_code, self.headers, self.body = status_code, {}, {"error": {"message": "sorry"}}


def never(at: float) -> bool:
    return False


@dataclass
class Sick:
    """A provider that answers after ``takes_s``, and fails after ``fails_s`` while ``is_down`` or for the jobs in ``poison``."""

    is_down: Callable[[float], bool] = never
    takes_s: float = 5.0
    fails_s: float = 0.5
    error: Callable[[], Exception] = lambda: Refused(500)
    poison: set[str] = field(default_factory=set)
    calls: list[tuple[float, str, bool]] = field(default_factory=list)

    async def ask(self, job: JobContext) -> str:
        at = anyio.current_time()
        fails = self.is_down(at) or job.target_id in self.poison
        self.calls.append((at, job.job_id, fails))
        await anyio.sleep(self.fails_s if fails else self.takes_s)
        if fails:
            raise self.error()
        return "answer"

    def asking(self, **options: Any) -> Registry:
        """``ask`` calls within the pool, ``tell`` draws on it without a word."""
        routes = Registry()

        @routes.handler("ask", pool="main", **options)
        async def ask(job: JobContext) -> str:
            async with job.pool.request(tokens=100):
                return await self.ask(job)

        @routes.handler("tell", pool="main", **options)
        async def tell(job: JobContext) -> str:
            return await self.ask(job)

        return routes

    def answered_at(self, after_s: float) -> float:
        """When the first call sent after a moment was answered well."""
        return min(at for at, _, failed in self.calls if at >= after_s and not failed) + self.takes_s


POOLS = {"main": {"requests_per_minute": 6_000}}


async def feeding(at: Engine, every_s: float, until_s: float, *task_types: str) -> None:
    while anyio.current_time() < until_s:
        for task_type in task_types:
            await at.scheduler.enqueue(task_type)
        await anyio.sleep(every_s)


async def run_all(engines: list[Engine], every_s: float, feed_s: float, *task_types: str) -> None:
    """Run while jobs keep coming for ``feed_s``, then until nothing is left."""
    with anyio.fail_after(feed_s + 7_200.0):
        async with anyio.create_task_group() as tasks:
            for each in engines:
                tasks.start_soon(each.scheduler.run)
            await feeding(engines[0], every_s, feed_s, *task_types)
            while (await engines[0].scheduler.stats()).by_status.keys() - {"completed"}:
                await anyio.sleep(1.0)
                if any(job.status.startswith("failed") for job in await engines[0].scheduler.jobs(limit=10_000)):
                    break
            for each in engines:
                each.scheduler.stop(grace_s=0.0)


async def accounted(engines: list[Engine], most: int = 3) -> list[Job]:
    """Every attempt that was counted was started and not given back; returns the jobs."""
    jobs = await engines[0].scheduler.jobs(limit=10_000)
    started: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    given_back = 0
    for each in engines:
        started.update(event.job.job_id for event in each.history.of(JobStarted))
        kept.update(event.job.job_id for event in each.history.of(JobEnded) if not event.transition.refund)
        given_back += sum(event.given_back for event in each.history.of(PoolOutage))
    for job in jobs:
        assert 0 <= job.attempts <= most, job
        assert job.attempts <= kept[job.job_id] <= started[job.job_id]
    assert sum(job.attempts for job in jobs) == sum(kept.values()) - given_back
    return jobs


async def two_services(stack: AsyncExitStack, provider: Sick, url: str, **scheduler: Any) -> list[Engine]:
    # Their hearts beat in real time: in the loop's they would take each other for dead.
    settings: dict[str, Any] = {"scheduler": {"lease_s": 1e6, **scheduler}, "pools": POOLS}
    engines = [await stack.enter_async_context(engine(provider.asking(), url, seed=number, **settings)) for number in range(2)]
    for each in engines:
        each.alone = False
    return engines


@pytest.mark.parametrize("task_type", ["ask", "tell"])
@in_virtual_time
async def test_half_an_hour_of_outage_under_load_fails_no_job_and_is_over_within_one_probe(store: str, task_type: str) -> None:
    provider = Sick(lambda at: 60.0 <= at < 1_860.0)
    async with engine(provider.asking(), store, pools=POOLS) as at:
        await at.scheduler.enqueue_many(NewJob(task_type) for _ in range(200))
        await run_all([at], 10.0, 2_400.0, task_type)
        jobs = await accounted([at])
        assert {(job.status, job.attempts) for job in jobs} == {(Status.COMPLETED, 1)}
        assert [event.state for event in at.history.of(PoolOutage)] == ["began", "ended"]
        assert at.history.of(PoolOutage)[0].at - at.scheduler.clock.epoch < 60.0 + 15.0  # type: ignore[attr-defined]
    assert provider.answered_at(1_860.0) <= 1_860.0 + OUTAGE_PAUSE_CAP_S + provider.takes_s + 2.0
    assert len([at for at, _, failed in provider.calls if failed]) < 1_800.0 / OUTAGE_PAUSE_CAP_S + 25, "one at a time, ever more rarely"


@in_virtual_time
async def test_a_provider_that_hangs_is_an_outage_as_well(store: str) -> None:
    provider = Sick(lambda at: 60.0 <= at < 660.0, fails_s=1e6)
    async with engine(provider.asking(timeout_s=20.0), store, pools=POOLS) as at:
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(100))
        await run_all([at], 20.0, 900.0, "ask")
        assert {job.status for job in await accounted([at])} == {Status.COMPLETED}
    assert provider.answered_at(660.0) <= 660.0 + OUTAGE_PAUSE_CAP_S + 20.0 + provider.takes_s + 2.0


@pytest.mark.parametrize("seed", [1, 2, 3])
@in_virtual_time
async def test_half_a_minute_up_and_half_a_minute_down_for_an_hour_fails_nothing(seed: int) -> None:
    provider = Sick(lambda at: at < 3_600.0 and at % 60.0 >= 30.0, takes_s=2.0)
    async with engine(provider.asking(), seed=seed, pools=POOLS) as at:
        await run_all([at], 4.0, 3_600.0, "ask", "tell")
        assert {job.status for job in await accounted([at])} == {Status.COMPLETED}


@pytest.mark.parametrize("task_type", ["ask", "tell"])
@in_virtual_time
async def test_storms_of_529_fail_nothing_and_count_no_attempt(store: str, task_type: str) -> None:
    provider = Sick(lambda at: at < 900.0 and at % 100.0 < 40.0, error=lambda: Refused(529), takes_s=2.0)
    async with engine(provider.asking(), store, pools=POOLS) as at:
        await run_all([at], 4.0, 1_200.0, task_type)
        jobs = await accounted([at])
        assert {(job.status, job.attempts) for job in jobs} == {(Status.COMPLETED, 1)}
        assert at.history.of(PoolOutage) == [], "overload has a name of its own"


@pytest.mark.parametrize("task_type", ["ask", "tell"])
@in_virtual_time
async def test_one_poison_job_among_healthy_ones_runs_three_times(store: str, task_type: str) -> None:
    provider = Sick(poison={"poison"})
    async with engine(provider.asking(), store, pools=POOLS) as at:
        await at.scheduler.enqueue_many(NewJob(task_type) for _ in range(30))
        poison = await at.scheduler.enqueue(task_type, target_id="poison")
        await at.scheduler.enqueue_many(NewJob(task_type) for _ in range(30))
        await at.scheduler.run(until_empty=True)
        job = await at.job(poison.job_id)
        assert (job.status, job.reason, job.attempts) == (Status.FAILED_AI, "provider_error", 3)
        assert at.history.of(PoolOutage) == []
        await accounted([at])
    assert len([at for at, job_id, _ in provider.calls if job_id == poison.job_id]) == 3


@pytest.mark.parametrize("task_type", ["ask", "tell"])
@in_virtual_time
async def test_a_job_that_always_fails_runs_three_times_also_when_it_is_alone(store: str, task_type: str) -> None:
    provider = Sick(lambda at: True)
    async with engine(provider.asking(), store, pools=POOLS) as at:
        receipt = await at.scheduler.enqueue(task_type)
        began = anyio.current_time()
        await at.scheduler.run(until_empty=True)
        assert anyio.current_time() - began < 60.0, "nobody else is there to wait for"
        job = await at.job(receipt.job_id)
        assert (job.status, job.attempts) == (Status.FAILED_AI, 3)
    assert len(provider.calls) == 3


@in_virtual_time
async def test_an_attempt_given_back_by_another_worker_meanwhile_is_one_more_to_make(store: str) -> None:
    """Worker A runs the third attempt; worker B finds that the first had failed in an outage."""
    routes, leases, given_back = Registry(), [], []

    @routes.handler("ask", pool="main")
    async def ask(job: JobContext) -> None:
        leases.append(job._lease)
        if len(leases) == 3:
            given_back.append(await at.scheduler.store.refund(leases[:1], at.scheduler.clock.now()))
        raise Refused(500)

    async with engine(routes, store, pools=POOLS) as at:
        receipt = await at.scheduler.enqueue("ask")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
        assert (job.status, job.attempts, len(leases), given_back) == (Status.FAILED_AI, 3, 4, [1])


@in_virtual_time
async def test_a_job_on_its_last_attempt_that_fails_first_in_an_outage_is_not_failed(store: str) -> None:
    provider = Sick(takes_s=4.0, poison={"unlucky"})
    async with engine(provider.asking(), store, scheduler={"concurrency": 5}, pools=POOLS) as at, at.running():
        await at.scheduler.enqueue_many(NewJob("ask") for _ in range(300))
        unlucky = await at.scheduler.enqueue("ask", target_id="unlucky", priority=9)
        await at.until(lambda: len([job_id for _, job_id, _ in provider.calls if job_id == unlucky.job_id]) == 2)
        await at.until_status(unlucky.job_id, Status.RETRY_AI)
        provider.poison.clear()
        down_at = anyio.current_time()
        provider.is_down = lambda at: at < down_at + 300.0
        await at.until_status(unlucky.job_id, Status.COMPLETED, Status.FAILED_AI)
        job = await at.job(unlucky.job_id)
        assert job.status is Status.COMPLETED
        assert job.attempts == 3
        at.scheduler.stop(grace_s=0.0)


@in_virtual_time
async def test_two_services_on_one_file_fail_nothing_in_an_outage_either(sqlite: str) -> None:
    provider = Sick(lambda at: 60.0 <= at < 960.0)
    async with AsyncExitStack() as stack:
        engines = await two_services(stack, provider, sqlite)
        await engines[0].scheduler.enqueue_many(NewJob("ask") for _ in range(300))
        await run_all(engines, 10.0, 1_200.0, "ask")
        jobs = await accounted(engines)
        assert {job.status for job in jobs} == {Status.COMPLETED}
    assert provider.answered_at(960.0) <= 960.0 + OUTAGE_PAUSE_CAP_S + provider.takes_s + 2.0


@in_virtual_time
async def test_two_services_under_a_flapping_provider_fail_nothing(sqlite: str) -> None:
    provider = Sick(lambda at: at < 1_200.0 and at % 60.0 >= 30.0, takes_s=2.0)
    async with AsyncExitStack() as stack:
        engines = await two_services(stack, provider, sqlite)
        await run_all(engines, 2.0, 1_200.0, "ask", "tell", "ask", "tell")
        assert {job.status for job in await accounted(engines)} == {Status.COMPLETED}


def bad_and_good(jobs: list[Job]) -> Counter[tuple[str, Status, int]]:
    return Counter((job.target_id, job.status, job.attempts) for job in jobs)


@pytest.mark.parametrize("task_type", ["ask", "tell"])
@pytest.mark.parametrize("bad", [4, 40])
@in_virtual_time
async def test_bad_jobs_at_the_head_of_the_line_do_not_shut_the_pool_for_the_others(store: str, bad: int, task_type: str) -> None:
    provider = Sick(poison={"poison"}, takes_s=1.0)
    async with engine(provider.asking(), store, scheduler={"concurrency": 3}, pools=POOLS) as at:
        await at.scheduler.enqueue_many(NewJob(task_type, "", "poison", priority=9) for _ in range(bad))
        await at.scheduler.enqueue_many(NewJob(task_type) for _ in range(30))
        with anyio.fail_after(600.0):
            await at.scheduler.run(until_empty=True)
        ends = bad_and_good(await accounted([at]))
    assert ends == {("poison", Status.FAILED_AI, 3): bad, ("", Status.COMPLETED, 1): 30}


@pytest.mark.parametrize("bad", [4, 40])
@in_virtual_time
async def test_nor_do_they_shut_it_for_two_services(sqlite: str, bad: int) -> None:
    provider = Sick(poison={"poison"}, takes_s=1.0)
    async with AsyncExitStack() as stack:
        engines = await two_services(stack, provider, sqlite, concurrency=3)
        scheduler = engines[0].scheduler
        await scheduler.enqueue_many(NewJob("ask", "", "poison", priority=9) for _ in range(bad))
        await scheduler.enqueue_many(NewJob("ask") for _ in range(30))
        with anyio.fail_after(900.0):
            async with anyio.create_task_group() as tasks:
                for each in engines:
                    tasks.start_soon(each.scheduler.run)
                while (await scheduler.stats()).by_status.get("failed_ai", 0) < bad:
                    await anyio.sleep(10.0)
                    await scheduler.enqueue("ask")  # each service finds out for itself, so the last few may need somebody to compare with
                for each in engines:
                    each.scheduler.stop()
        ends = bad_and_good(await accounted(engines))
    assert ends[("poison", Status.FAILED_AI, 3)] == bad
    assert sum(count for (target, status, _), count in ends.items() if target == "" and status is Status.COMPLETED) >= 30
    assert {target for target, status, _ in ends if status is Status.FAILED_AI} == {"poison"}


@in_virtual_time
async def test_bad_jobs_at_both_ends_of_the_line_do_not_hold_up_those_between() -> None:
    provider = Sick(poison={"poison"}, takes_s=1.0)
    async with engine(provider.asking(), scheduler={"concurrency": 3}, pools=POOLS) as at:
        for target, count in (("poison", 5), ("", 30), ("poison", 5)):
            await at.scheduler.enqueue_many(NewJob("ask", "", target) for _ in range(count))
        async with at.running():
            await at.until(lambda: sum(not failed for _, _, failed in provider.calls) == 30, limit_s=900.0)
            at.scheduler.stop(grace_s=0.0)


@in_virtual_time
async def test_a_lane_of_bad_jobs_does_not_take_every_probe_of_its_pool() -> None:
    provider = Sick(poison={"poison"}, takes_s=1.0)
    async with engine(provider.asking(), scheduler={"concurrency": 3}, pools=POOLS) as at:
        await at.scheduler.enqueue_many(NewJob("ask", "", "poison") for _ in range(500))
        await at.scheduler.enqueue_many(NewJob("tell") for _ in range(30))
        async with at.running():
            await at.until(lambda: sum(not failed for _, _, failed in provider.calls) == 30, limit_s=900.0)
            at.scheduler.stop(grace_s=0.0)


@in_virtual_time
async def test_two_services_under_light_load_and_a_flapping_provider_fail_nothing(sqlite: str) -> None:
    provider = Sick(lambda at: at < 1_200.0 and at % 60.0 >= 30.0, takes_s=2.0)
    async with AsyncExitStack() as stack:
        engines = await two_services(stack, provider, sqlite)
        await run_all(engines, 2.0, 1_200.0, "ask")
        assert {job.status for job in await accounted(engines)} == {Status.COMPLETED}


@in_virtual_time
async def test_a_last_attempt_is_not_wasted_in_the_same_half_minute_where_nobody_else_shows_that_the_provider_works() -> None:
    provider = Sick(lambda at: at < 25.0, takes_s=2.0)
    async with engine(provider.asking(), pools=POOLS) as at:
        receipt = await at.scheduler.enqueue("ask")
        await at.scheduler.run(until_empty=True)
        assert (await at.job(receipt.job_id)).status is Status.COMPLETED
    assert len(provider.calls) == 3
