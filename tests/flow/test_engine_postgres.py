"""Schedulers on PostgreSQL, in real time: shared work, hints, a cut server connection, a worker that vanishes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import asyncpg
import pytest

from scheduler import JobContext, NewJob, Registry, Status
from scheduler.clock import SystemClock
from scheduler.identity import this_worker
from scheduler.job import TERMINAL
from scheduler.stores.base import Want
from tests.support.engine import Engine, engine, in_real_time
from tests.support.postgres_server import a_schema, a_server, with_schema


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with a_server() as url:
        yield url


@pytest.fixture
def postgres(server: str) -> str:
    """The URL of an empty store."""
    return with_schema(server, a_schema("flow"))


def noting(runs: list[str], takes_s: float = 0.0) -> Registry:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        runs.append(job.job_id)
        await anyio.sleep(takes_s)
        return "done"

    return routes


@asynccontextmanager
async def several(url: str, *routes: Registry, **scheduler: float | str) -> AsyncIterator[list[Engine]]:
    """Engines on one store, running."""
    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as stack:
            made: list[Engine] = []
            done = anyio.Event()
            ready = [anyio.Event() for _ in routes]

            async def one(number: int) -> None:
                async with engine(routes[number], url, clock=SystemClock(), seed=number, scheduler=scheduler) as each:
                    each.alone = False
                    made.append(each)
                    async with each.running():
                        ready[number].set()
                        await done.wait()

            for number in range(len(routes)):
                stack.start_soon(one, number)
            for each in ready:
                await each.wait()
            yield made
            done.set()
        tasks.cancel_scope.cancel()


@in_real_time
async def test_several_services_share_the_work_and_nothing_runs_twice(postgres: str) -> None:
    runs: list[list[str]] = [[], [], []]
    async with several(postgres, *(noting(each, 0.01) for each in runs), concurrency=5, batch_size=5) as engines:
        await engines[0].scheduler.enqueue_many(NewJob("work") for _ in range(300))
        await engines[0].until(lambda: sum(map(len, runs)) >= 300, 30)
        with anyio.fail_after(10):
            while (await engines[0].scheduler.stats()).unfinished:  # noqa: ASYNC110  # nobody rings for it
                await anyio.sleep(0.02)
        assert (await engines[0].scheduler.stats()).by_status == {"completed": 300}
    assert max(Counter(job_id for each in runs for job_id in each).values()) == 1
    assert min(map(len, runs)) > 10


@in_real_time
async def test_a_job_that_another_process_stores_is_picked_up_by_a_hint(postgres: str) -> None:
    runs: list[str] = []
    async with (
        several(postgres, noting(runs), poll_interval_s=60.0) as (service,),
        engine(noting([]), postgres, clock=SystemClock()) as client,
    ):
        client.alone = False
        await anyio.sleep(0.3)  # the service has looked, and listens
        took: list[float] = []
        for _ in range(20):
            began = time.perf_counter()
            receipt = await client.scheduler.enqueue("work")
            await service.until(lambda receipt=receipt: receipt.job_id in runs, 5)
            took.append(time.perf_counter() - began)
        assert sorted(took)[10] < 0.25


@in_real_time
async def test_a_service_outlives_its_connections(postgres: str, server: str) -> None:
    runs: list[str] = []
    async with several(postgres, noting(runs), poll_interval_s=0.2) as (service,):
        await service.scheduler.enqueue("work")
        await service.until(lambda: len(runs) == 1, 5)
        other = await asyncpg.connect(server)
        await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'scheduler %'")
        await other.close()
        with anyio.fail_after(5):
            while True:
                try:
                    receipt = await service.scheduler.enqueue("work")
                    break
                except Exception:
                    await anyio.sleep(0.05)
            await service.until_status(receipt.job_id, Status.COMPLETED)


@in_real_time
async def test_a_worker_that_vanished_elsewhere_loses_its_jobs_when_its_lease_ends(postgres: str) -> None:
    runs: list[str] = []
    async with engine(noting(runs), postgres, clock=SystemClock()) as client:
        client.alone = False
        receipt = await client.scheduler.enqueue("work")
        store = client.scheduler.store
        away = replace(this_worker(time.time(), 1.0), worker_id="away", host="elsewhere")
        (await store.register(away)).close()
        claims = (await store.claim([Want("work", 1, ("work",))], "away", time.time())).claims
        assert len(claims) == 1
        async with several(postgres, noting(runs), lease_s=1.0, poll_interval_s=0.2):
            began = time.monotonic()
            job = await client.until_status(receipt.job_id, Status.COMPLETED, limit_s=10)
            assert time.monotonic() - began < 4
        assert (job.attempts, job.crashes) == (1, 1)


@in_real_time
async def test_a_checkpoint_whose_connection_is_cut_is_made_all_the_same(postgres: str, server: str) -> None:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> object:
        for step in range(3):
            other = await asyncpg.connect(server)
            await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'scheduler synced%'")
            await other.close()
            await job.checkpoint({"step": step})
        return job.state

    async with several(postgres, routes) as (service,):
        receipt = await service.scheduler.enqueue("work", max_attempts=1)
        job = await service.until_status(receipt.job_id, *TERMINAL, limit_s=20)
    assert (job.status, job.attempts, job.result) == (Status.COMPLETED, 1, {"step": 2})


@in_real_time
async def test_room_under_a_cap_that_another_worker_leaves_is_noticed_by_a_hint(postgres: str) -> None:
    log: list[str] = []
    gate = anyio.Event()

    def only(target_type: str) -> Registry:
        routes = Registry()

        @routes.handler("capped", target_type)
        async def capped(job: JobContext) -> None:
            log.append(target_type)
            if target_type == "first":
                await gate.wait()

        return routes

    tables = {"scheduler": {"poll_interval_s": 60.0, "unknown_routes": "leave"}, "task_types": {"capped": {"max_running": 1}}}
    async with engine(only("first"), postgres, clock=SystemClock(), **tables) as one:
        one.alone = False
        async with engine(only("second"), postgres, clock=SystemClock(), seed=2, **tables) as two:
            two.alone = False
            async with one.running(), two.running():
                await one.scheduler.enqueue("capped", "first")
                await one.until(lambda: log == ["first"], 20)
                receipt = await two.scheduler.enqueue("capped", "second")
                await anyio.sleep(0.5)  # the second worker has looked, and found no room
                assert log == ["first"]
                gate.set()
                await two.until_status(receipt.job_id, Status.COMPLETED, limit_s=20)
    assert log == ["first", "second"]


def doing(log: Counter[str], name: str, *task_types: str) -> Registry:
    """A release: the task types it knows."""
    routes = Registry()

    async def work(job: JobContext) -> str:
        log[f"{name} {job.task_type}"] += 1
        await anyio.sleep(0.005)
        return name

    for task_type in task_types:
        routes.handler(task_type)(work)
    return routes


@in_real_time
async def test_services_with_different_handlers_share_a_database_and_leave_each_others_jobs_alone(postgres: str) -> None:
    log: Counter[str] = Counter()
    releases = doing(log, "mail", "mail", "both"), doing(log, "text", "text", "both")
    async with several(postgres, *releases, unknown_routes="leave", concurrency=4, batch_size=4) as (one, _):
        await one.scheduler.enqueue_many(NewJob(name) for _ in range(40) for name in ("mail", "text", "both"))
        await one.until(lambda: log.total() >= 120, 30)
        with anyio.fail_after(10):
            while (await one.scheduler.stats()).unfinished:  # noqa: ASYNC110  # nobody rings for it
                await anyio.sleep(0.02)
        assert (await one.scheduler.stats()).by_status == {"completed": 120}
    assert (log["mail mail"], log["text text"]) == (40, 40)
    assert min(log["mail both"], log["text both"]) > 0


@in_real_time
async def test_a_rolling_deploy_runs_what_only_the_new_release_knows_on_the_new_release(postgres: str) -> None:
    log: Counter[str] = Counter()
    leave = {"scheduler": {"unknown_routes": "leave", "concurrency": 2}}
    async with (
        engine(doing(log, "old", "kept", "gone"), postgres, clock=SystemClock(), **leave) as old,
        engine(doing(log, "new", "kept", "added"), postgres, clock=SystemClock(), seed=2, **leave) as new,
    ):
        old.alone = new.alone = False
        async with new.running():
            async with old.running():
                await new.scheduler.enqueue_many(NewJob(name) for _ in range(20) for name in ("kept", "gone", "added"))
                await new.until(lambda: log["new added"] == 20 and log["old gone"] > 0, 20)
            # the old release has stopped: what only it knew waits, and is there to be seen
            await new.until(lambda: log["old kept"] + log["new kept"] >= 20, 20)
            with anyio.fail_after(10):
                while set((await new.scheduler.stats()).by_status) - {"completed", "pending"}:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
        left = await new.scheduler.jobs(status="pending")
        assert {job.task_type for job in left} <= {"gone"}
        assert len(left) == 20 - log["old gone"]
    assert (log["new gone"], log["old added"]) == (0, 0)


@in_real_time
async def test_a_service_uses_six_connections_and_a_client_two(postgres: str, server: str) -> None:
    async def open_now() -> int:
        other = await asyncpg.connect(server)
        found = await other.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'scheduler %'")
        await other.close()
        return int(found)

    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        job.progress(1, 2)
        await job.checkpoint(1)

    before = await open_now()
    async with engine(Registry(), postgres, clock=SystemClock()) as client:
        client.alone = False
        await client.scheduler.enqueue_many(NewJob("work") for _ in range(50))
        assert await open_now() - before <= 2
        async with several(postgres, routes, lease_s=0.7) as (service,):
            with anyio.fail_after(20):
                while (await service.scheduler.stats()).unfinished:  # noqa: ASYNC110  # nobody rings for it
                    await anyio.sleep(0.02)
            assert 4 <= await open_now() - before - 2 <= 6
