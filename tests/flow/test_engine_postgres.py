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
async def several(url: str, *routes: Registry, **scheduler: float) -> AsyncIterator[list[Engine]]:
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
