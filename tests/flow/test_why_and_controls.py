"""What the web face asks of the scheduler: why a job waits, what ended when, which jobs; and deleting one."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from scheduler import JobContext, NotFoundError, RateLimitError, Registry, SchedulerError, Status
from scheduler.clock import LoopClock
from tests.support.engine import Engine, engine
from tests.support.virtual_time import in_virtual_time


def a_registry() -> Registry:
    routes = Registry()

    @routes.handler("work", "file")
    async def work(job: JobContext, payload: dict[str, Any]) -> Any:
        await anyio.sleep(payload.get("for_s", 0.0))
        if payload.get("fail"):
            raise RuntimeError(f"no {payload['fail']}")

    @routes.handler("limited", pool="main")
    async def limited(job: JobContext) -> None:
        raise RateLimitError("later", retry_after_s=300.0)

    return routes


async def kinds(at: Engine, job_id: str, **who: Any) -> list[str]:
    return [cause.kind for cause in (await at.scheduler.why(job_id, **who)).causes]


@in_virtual_time
async def test_why_follows_a_job_from_nobody_to_its_end(store: str) -> None:
    async with engine(a_registry(), store, scheduler={"concurrency": 1, "unknown_routes": "leave"}, task_types={"work": {}}) as at:
        first = (await at.scheduler.enqueue("work", "file", payload={"for_s": 50})).job_id
        assert await kinds(at, first) == ["no_worker"]
        async with at.running():
            await at.until_status(first, Status.PROCESSING)
            assert await kinds(at, first) == ["running"]
            second = (await at.scheduler.enqueue("work", "file")).job_id
            third = (await at.scheduler.enqueue("work", "file", payload={"fail": "way"}, max_attempts=1)).job_id
            told = await at.scheduler.why(third)
            assert told.sentence == "every slot is taken: 1, then behind 1 other"
            assert await kinds(at, second) == ["slots_full"]
            strange = (await at.scheduler.enqueue("work", "folder")).job_id
            assert (await kinds(at, strange))[0] == "no_handler"
            assert "('work', 'folder')" in (await at.scheduler.why(strange)).sentence
            later = (await at.scheduler.enqueue("work", "file", run_after=LoopClock().now() + 900)).job_id
            assert await kinds(at, later) == ["due_later"]
            await at.until_status(third, Status.FAILED_JOB_LOGIC)
        assert "RuntimeError: no way" in (await at.scheduler.why(third)).sentence
        assert (await at.scheduler.why(second)).sentence.startswith("completed at")


@in_virtual_time
async def test_why_knows_the_pauses_of_pools_that_only_workers_know(store: str) -> None:
    async with engine(a_registry(), store) as at, at.running():
        first = (await at.scheduler.enqueue("limited")).job_id
        await at.until_status(first, Status.RATE_LIMITED)
        second = (await at.scheduler.enqueue("limited")).job_id
        async with engine(Registry(), store) if store != "memory:" else engine_of(at) as other:
            other.alone = False
            told = await other.scheduler.why(second)
        assert [cause.kind for cause in told.causes] == ["pool_paused", "behind"]
        assert told.sentence.startswith("waits for the pause of pool main (rate_limited) until ")
        assert told.sentence.endswith("then behind 1 other")
        await at.scheduler.cancel(task_type="limited")


class engine_of:
    """The same engine: a memory store has no second process."""

    def __init__(self, at: Engine) -> None:
        self.at = at

    async def __aenter__(self) -> Engine:
        return self.at

    async def __aexit__(self, *error: object) -> None: ...


@in_virtual_time
async def test_workers_say_what_they_run(store: str) -> None:
    tables: dict[str, Any] = {"task_types": {"work": {"max_running": 7, "concurrency": 3}}, "pools": {"main": {"concurrency": 2}}}
    async with engine(a_registry(), store, scheduler={"concurrency": 4}, **tables) as at, at.running():
        await at.until(lambda: any(event.name == "service.started" for event in at.history.events))
        (worker,) = await at.scheduler.workers()
        assert worker.to_dict()["offers"] == {
            "concurrency": 4,
            "fails_unknown": True,
            "task_types": {
                "limited": {"target_types": None, "pool": "main", "concurrency": None, "max_running": None},
                "work": {"target_types": ["file"], "pool": None, "concurrency": 3, "max_running": 7},
            },
            "pools": {"main": 2},
        }


@in_virtual_time
async def test_a_foreign_job_is_explained_to_nobody(store: str) -> None:
    async with engine(a_registry(), store) as at:
        mine = (await at.scheduler.enqueue("work", "file", owner="ada")).job_id
        assert await kinds(at, mine, owner="ada") == ["no_worker"]
        for verb in (at.scheduler.why, at.scheduler.delete):
            with pytest.raises(NotFoundError, match=f"there is no job {mine}"):
                await verb(mine, owner="grace")
            with pytest.raises(NotFoundError, match="there is no job nobody"):
                await verb("nobody")
        assert await at.scheduler.get(mine) is not None


@in_virtual_time
async def test_a_deleted_job_is_gone_and_its_handler_is_stopped(store: str) -> None:
    async with engine(a_registry(), store) as at, at.running():
        running = (await at.scheduler.enqueue("work", "file", payload={"for_s": 1_000})).job_id
        await at.until_status(running, Status.PROCESSING)
        gone = await at.scheduler.delete(running)
        assert (gone.job_id, gone.status) == (running, Status.CANCELLED)
        assert await at.scheduler.get(running) is None
        assert at.history.names(running)[-1] == "job.cancelled"
        done = (await at.scheduler.enqueue("work", "file")).job_id
        await at.until_status(done, Status.COMPLETED)
        assert (await at.scheduler.delete(done)).status is Status.COMPLETED
        assert at.history.names(done)[-1] == "job.completed"
        with pytest.raises(NotFoundError):
            await at.scheduler.delete(done)
        started = at.scheduler.clock.now()
    assert at.scheduler.clock.now() - started < 30  # nobody waits for the handler of the job that is gone


@in_virtual_time
async def test_jobs_are_chosen_by_text_and_time(store: str) -> None:
    async with engine(a_registry(), store) as at:
        old = (await at.scheduler.enqueue("work", "file", "Readme.md")).job_id
        await anyio.sleep(100)
        now = at.scheduler.clock.now()
        new = (await at.scheduler.enqueue("work", "file", "readme.txt")).job_id
        other = (await at.scheduler.enqueue("work", "file", "100%")).job_id
        assert [job.job_id for job in await at.scheduler.jobs(text="README")] == [new, old]
        assert [job.job_id for job in await at.scheduler.jobs(text="0%")] == [other]
        assert [job.job_id for job in await at.scheduler.jobs(created_before=now)] == [old]
        assert [job.job_id for job in await at.scheduler.jobs(created_after=now, text="readme")] == [new]
        assert [job.job_id for job in await at.scheduler.cancel(text="readme", created_after=now)] == [new]
        assert [job.job_id for job in await at.scheduler.retry(text="readme")] == [new]
        assert len(await at.scheduler.jobs(text="")) == 3
        with pytest.raises(SchedulerError, match="created_after must be seconds since the epoch"):
            await at.scheduler.jobs(created_after=float("nan"))


@in_virtual_time
async def test_throughput_has_every_bucket(store: str) -> None:
    async with engine(a_registry(), store) as at:
        await anyio.sleep(3_600 - at.scheduler.clock.now() % 3_600 + 1)
        await at.scheduler.enqueue("work", "file")
        await at.scheduler.enqueue("work", "file", payload={"fail": "way"}, max_attempts=1)
        await at.scheduler.run(until_empty=True)
        await anyio.sleep(600)
        last = (await at.scheduler.enqueue("work", "file", owner="ada")).job_id
        await at.scheduler.cancel(last)
        now = at.scheduler.clock.now()
        told = await at.scheduler.throughput(hours=0.25, bucket_s=300)
        assert [(bucket.completed, bucket.failed, bucket.cancelled) for bucket in told] == [(0, 0, 0), (1, 1, 0), (0, 0, 0), (0, 0, 1)]
        assert [bucket.at for bucket in told] == [now // 300 * 300 - 300 * back for back in (3, 2, 1, 0)]
        mine = await at.scheduler.throughput(hours=0.25, bucket_s=300, owner="ada")
        assert [(bucket.completed, bucket.failed, bucket.cancelled) for bucket in mine][-1] == (0, 0, 1)
        assert sum(bucket.completed + bucket.failed for bucket in mine) == 0
        for wrong in ({"hours": 0}, {"hours": float("inf")}, {"bucket_s": 0}, {"hours": 1e6}, {"bucket_s": float("nan")}):
            with pytest.raises(SchedulerError):
                await at.scheduler.throughput(**wrong)
