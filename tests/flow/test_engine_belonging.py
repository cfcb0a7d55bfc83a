"""Jobs that belong together, and stopping and going on: through the whole engine."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from scheduler import (
    AIProviderError,
    Chunk,
    InvalidJobError,
    JobContext,
    Left,
    NewJob,
    NotFoundError,
    OwnerLimitError,
    ProviderRefusedError,
    Registry,
    SchedulerError,
    Status,
)
from scheduler.events import JobProgressed
from tests.support.engine import Engine, engine
from tests.support.virtual_time import in_virtual_time


class Ran:
    """``good`` and ``bad`` handlers; ``order`` is what ran, by target."""

    def __init__(self, *, takes_s: float = 1.0) -> None:
        self.routes = Registry()
        self.order: list[str] = []

        @self.routes.handler("good")
        async def good(job: JobContext) -> str:
            self.order.append(job.target_id)
            await anyio.sleep(takes_s)
            return "done"

        @self.routes.handler("bad")
        async def bad(job: JobContext) -> None:
            self.order.append(job.target_id)
            await anyio.sleep(takes_s)
            raise ProviderRefusedError("no")

        @self.routes.handler("parent")
        async def parent(job: JobContext, payload: dict[str, Any]) -> str:
            self.order.append(job.target_id)
            child = job.enqueue("good", "", "child", payload={"from": job.job_id}, priority=3)
            if payload.get("fail_first") and job.attempt == 1:
                raise AIProviderError("down")
            return child


async def put(at: Engine, task_type: str, name: str, **more: Any) -> str:
    return (await at.scheduler.enqueue(task_type, "", name, **more)).job_id


@in_virtual_time
async def test_a_follow_up_runs_after_its_parent_and_once_although_the_parent_ran_twice(store: str) -> None:
    ran = Ran()
    async with engine(ran.routes, store) as at:
        parent = await put(at, "parent", "parent", payload={"fail_first": True})
        await at.scheduler.run(until_empty=True)
        job = await at.job(parent)
        child = await at.job(job.result)
    assert ran.order == ["parent", "parent", "child"]
    assert (child.status, child.priority, child.payload) == (Status.COMPLETED, 3, {"from": parent})


@in_virtual_time
async def test_nothing_about_follow_ups_takes_the_service_down(store: str) -> None:
    """They are stored with their parent's end, where nothing can be refused any more."""
    ran = Ran()

    @ran.routes.handler("odd")
    async def odd(job: JobContext) -> list[str]:
        return [job.enqueue("good", "", "orphan", after=["nobody"]), *(job.enqueue("good", "", "many") for _ in range(5))]

    async with engine(ran.routes, store, owners={"ada": {"max_unfinished": 2}}) as at:
        odd_id = await put(at, "odd", "odd", owner="ada")
        await at.scheduler.run(until_empty=True)
        parent = await at.job(odd_id)
        orphan, *many = [await at.job(job_id) for job_id in parent.result]
    assert parent.status is Status.COMPLETED
    assert (orphan.status, orphan.reason) == (Status.FAILED_JOB_LOGIC, "dependency_failed")
    assert {(job.status, job.owner) for job in many} == {(Status.COMPLETED, "ada")}


@in_virtual_time
async def test_a_bad_follow_up_is_the_handlers_error() -> None:
    routes = Registry()

    @routes.handler("work", max_attempts=1)
    async def work(job: JobContext) -> None:
        job.enqueue("", payload={})

    async with engine(routes) as at:
        job_id = await put(at, "work", "")
        await at.scheduler.run(until_empty=True)
        job = await at.job(job_id)
    assert (job.status, job.reason) == (Status.FAILED_JOB_LOGIC, "handler_error")


@in_virtual_time
async def test_a_pipeline_runs_in_its_order(store: str) -> None:
    ran = Ran()
    async with engine(ran.routes, store, scheduler={"concurrency": 8}) as at:
        a = await put(at, "good", "a")
        b1, b2 = await put(at, "good", "b1", after=[a]), await put(at, "good", "b2", after=[a])
        await put(at, "good", "c", after=[b1, b2], priority=9)
        await at.scheduler.run(until_empty=True)
    assert (ran.order[0], set(ran.order[1:3]), ran.order[3]) == ("a", {"b1", "b2"}, "c")


@pytest.mark.parametrize(
    ("if_failed", "status", "reason"),
    [
        ("fail", Status.FAILED_JOB_LOGIC, "dependency_failed"),
        ("cancel", Status.CANCELLED, "dependency_failed"),
        ("run", Status.COMPLETED, None),
    ],
)
@in_virtual_time
async def test_what_becomes_of_those_that_wait_for_a_failure(store: str, if_failed: str, status: Status, reason: str | None) -> None:
    ran = Ran()
    async with engine(ran.routes, store) as at:
        bad = await put(at, "bad", "bad")
        middle = await put(at, "good", "middle", after=[bad], if_failed=if_failed)
        last = await put(at, "good", "last", after=[middle], if_failed=if_failed)
        await at.scheduler.run(until_empty=True)
        ends = [await at.job(job_id) for job_id in (middle, last)]
    assert [(job.status, job.reason) for job in ends] == [(status, reason)] * 2
    assert [job.attempts for job in ends] == [1 if if_failed == "run" else 0] * 2
    if if_failed == "fail":
        assert ends[0].error == f"{bad}, which this job waited for, did not succeed"


@in_virtual_time
async def test_a_batch_calls_back_once_when_all_have_ended(store: str) -> None:
    ran = Ran()
    async with engine(ran.routes, store, scheduler={"concurrency": 3}) as at:
        jobs = [NewJob("bad" if number == 4 else "good", "", str(number)) for number in range(9)]
        stored = await at.scheduler.enqueue_batch(jobs, name="nightly", owner="ada", callback=NewJob("good", "", "callback"))
        before = await at.scheduler.batch("nightly", owner="ada")
        await at.scheduler.run(until_empty=True)
        after = await at.scheduler.batch("nightly", owner="ada")
        assert await at.scheduler.batch("nightly", owner="grace") is None
    assert len(stored.receipts) == 9
    assert before is not None
    assert (before.total, before.ended, before.percent) == (9, 0, 0.0)
    assert after is not None
    assert (after.by_status, after.percent) == ({Status.COMPLETED: 8, Status.FAILED_AI: 1}, 100.0)
    assert ran.order.count("callback") == 1
    assert ran.order[-1] == "callback"


@in_virtual_time
async def test_a_callback_of_an_empty_batch_runs_at_once() -> None:
    ran = Ran()
    async with engine(ran.routes) as at:
        await at.scheduler.enqueue_batch([], callback=NewJob("good", "", "callback"))
        await at.scheduler.run(until_empty=True)
    assert ran.order == ["callback"]


@pytest.mark.parametrize(
    "more",
    [
        {"after": "abc"},
        {"after": [""]},
        {"after": ["nobody"]},
        {"after": ["x"] * 1_001},
        {"if_failed": "explode", "after": ["x"]},
        {"batch": "a\nb"},
    ],
    ids=str,
)
@in_virtual_time
async def test_what_makes_no_sense_is_refused_and_nothing_is_stored(store: str, more: dict[str, Any]) -> None:
    async with engine(Ran().routes, store) as at:
        with pytest.raises(InvalidJobError):
            await put(at, "good", "x", **more)
        assert await at.scheduler.jobs() == []


@in_virtual_time
async def test_an_owner_has_so_many_unfinished_jobs_and_others_their_own(store: str) -> None:
    owners = {"*": {"max_unfinished": 2}, "big": {"max_unfinished": 5}}
    async with engine(Ran().routes, store, owners=owners) as at:
        for owner, allowed in (("ada", 2), ("big", 5)):
            for _ in range(allowed):
                await put(at, "good", "x", owner=owner)
            with pytest.raises(OwnerLimitError, match=f"owner {owner} has {allowed} unfinished"):
                await put(at, "good", "x", owner=owner)
        await put(at, "good", "x")
        await at.scheduler.run(until_empty=True)
        await put(at, "good", "x", owner="ada")


@in_virtual_time
async def test_a_small_owner_does_not_wait_for_a_large_one(store: str) -> None:
    ran = Ran()
    async with engine(ran.routes, store, scheduler={"concurrency": 1}) as at:
        await at.scheduler.enqueue_many(NewJob("good", "", "big", owner="big") for _ in range(500))
        async with at.running():
            await at.until(lambda: len(ran.order) == 3)
            await at.scheduler.enqueue_many(NewJob("good", "", "small", owner="small") for _ in range(3))
            await at.until(lambda: ran.order.count("small") == 3)
            at.scheduler.stop(grace_s=0.0)
    assert "".join(name[0] for name in ran.order[3:]).startswith(("sbsbs", "bsbsbs")), ran.order


class Long:
    """``chunky`` works in chunks, ``stepwise`` with checkpoints, ``deaf`` does neither."""

    def __init__(self) -> None:
        self.routes = Registry()
        self.done: list[int] = []

        @self.routes.handler("chunky", timeout_s=1e6)
        async def chunky(job: JobContext) -> int:
            async def work(chunk: Chunk) -> None:
                await anyio.sleep(1.0)
                self.done.extend(chunk.items)

            return (await job.chunks(range(30), work, size=1)).done

        @self.routes.handler("stepwise", timeout_s=1e6)
        async def stepwise(job: JobContext) -> None:
            for step in range(job.state or 0, 30):
                await anyio.sleep(1.0)
                self.done.append(step)
                await job.checkpoint(step + 1)

        @self.routes.handler("deaf", timeout_s=1e6)
        async def deaf(job: JobContext) -> None:
            self.done.append(-1)
            await anyio.sleep(100.0)


@pytest.mark.parametrize("task_type", ["chunky", "stepwise"])
@in_virtual_time
async def test_a_running_job_that_is_paused_stops_where_it_can_and_goes_on_from_there(store: str, task_type: str) -> None:
    long = Long()
    async with engine(long.routes, store) as at:
        job_id = await put(at, task_type, "")
        async with at.running():
            await at.until(lambda: len(long.done) == 5)
            window = await at.scheduler.pause(f"job:{job_id}")
            assert window.until == float("inf")
            job = await at.until_status(job_id, Status.PENDING, limit_s=10.0)
            assert (job.held, job.attempts) == (True, 0)
            stood = len(long.done)
            await anyio.sleep(600.0)
            assert len(long.done) == stood <= 8
            assert (await at.scheduler.resume(f"job:{job_id}")) is not None
            await at.until_status(job_id, Status.COMPLETED)
        names = at.history.names(job_id)
    assert long.done == list(range(30)), "nothing is done twice"
    assert [name for name in names if name in ("job.paused", "job.resumed")] == ["job.paused", "job.resumed"]


@in_virtual_time
async def test_one_that_does_not_listen_is_cancelled_in_its_await_after_the_grace_period(store: str) -> None:
    long = Long()
    async with engine(long.routes, store, scheduler={"drain_grace_s": 5.0}) as at:
        job_id = await put(at, "deaf", "")
        async with at.running():
            await at.until(lambda: bool(long.done))
            began = anyio.current_time()
            await at.scheduler.pause(f"job:{job_id}")
            job = await at.until_status(job_id, Status.PENDING)
            assert 4.0 <= anyio.current_time() - began <= 9.0
            assert (job.held, job.attempts) == (True, 0)


@in_virtual_time
async def test_a_job_paused_by_another_process_stops_too(sqlite: str) -> None:
    long = Long()
    async with engine(long.routes, sqlite) as at, engine(Registry(), sqlite) as other:
        at.alone = other.alone = False
        job_id = await put(at, "stepwise", "")
        async with at.running():
            await at.until(lambda: len(long.done) == 3)
            await other.scheduler.pause(f"job:{job_id}", for_s=60.0)
            await at.until_status(job_id, Status.PENDING, limit_s=10.0)
            await at.until_status(job_id, Status.COMPLETED)
    assert long.done == list(range(30))


@in_virtual_time
async def test_pausing_what_is_not_there_or_over_says_so(store: str) -> None:
    ran = Ran()
    async with engine(ran.routes, store) as at:
        job_id = await put(at, "good", "x")
        await at.scheduler.run(until_empty=True)
        for scope in ("job:nobody", f"job:{job_id}"):
            with pytest.raises(NotFoundError):
                await at.scheduler.pause(scope)
        assert await at.scheduler.resume(f"job:{job_id}") is None
        for scope in ("job:", "owner:"):
            with pytest.raises(SchedulerError, match="job:ID"):
                await at.scheduler.pause(scope)


@in_virtual_time
async def test_everything_of_an_owner_is_paused_and_cancelled(store: str) -> None:
    ran = Ran()
    async with engine(ran.routes, store) as at:
        for owner in ("ada", "grace"):
            for _ in range(3):
                await put(at, "good", owner, owner=owner)
        await at.scheduler.pause("owner:ada")
        left = await at.scheduler.run(max_seconds=60.0)
        assert ran.order == ["grace"] * 3
        assert left.jobs == 3
        assert len(await at.scheduler.cancel(owner="ada")) == 3


@in_virtual_time
async def test_a_run_until_empty_does_not_wait_for_a_hand(store: str) -> None:
    """Neither for what is held, nor for a paused owner's, nor for what waits for those."""
    ran = Ran()
    async with engine(ran.routes, store) as at:
        held = await put(at, "good", "held")
        await put(at, "good", "behind", after=[held])
        await put(at, "good", "theirs", owner="ada")
        await put(at, "good", "free")
        for_a_while = await put(at, "good", "later")
        await at.scheduler.pause(f"job:{held}")
        await at.scheduler.pause(f"job:{for_a_while}", for_s=60.0)
        await at.scheduler.pause("owner:ada")
        left = await at.scheduler.run(until_empty=True)
    assert ran.order == ["free", "later"]
    assert left.jobs == 3


@in_virtual_time
async def test_slices_end_in_time_and_a_long_job_advances_a_slice_at_a_time(store: str) -> None:
    long = Long()
    async with engine(long.routes, store) as at:
        job_id = await put(at, "chunky", "")
        slices = 0
        while (await at.job(job_id)).status is not Status.COMPLETED:
            began = anyio.current_time()
            left = await at.scheduler.run(max_seconds=8.0)
            assert anyio.current_time() - began <= 8.2
            slices += 1
        assert left == Left(0, None)
        job = await at.job(job_id)
    assert long.done == list(range(30))
    assert 4 <= slices <= 6
    assert job.attempts == 1


@in_virtual_time
async def test_a_slice_of_so_many_jobs_starts_no_more_and_finishes_them(store: str) -> None:
    ran = Ran(takes_s=20.0)
    async with engine(ran.routes, store, scheduler={"concurrency": 4}) as at:
        for number in range(10):
            await put(at, "good", str(number))
        left = await at.scheduler.run(max_jobs=6)
        assert (len(ran.order), left.jobs, left.due_at) == (6, 4, at.scheduler.clock.now())
        assert (await at.scheduler.run(max_jobs=6)).jobs == 0
        for bad in ({"max_jobs": 0}, {"max_seconds": 0.0}):
            with pytest.raises(SchedulerError, match="above 0"):
                await at.scheduler.run(**bad)


@in_virtual_time
async def test_the_end_is_told_with_what_is_left_of_a_pause(store: str) -> None:
    long = Long()
    async with engine(long.routes, store) as at:
        job_id = await put(at, "chunky", "")
        async with at.running():
            await at.until(lambda: len(long.done) == 10)
            await anyio.sleep(0.5)
            job, now = await at.job(job_id), at.scheduler.clock.now()
            ends = await at.scheduler.ends_at(job)
            assert ends is not None
            assert ends - now == pytest.approx(20.0, abs=2.0)
            await at.scheduler.pause(f"job:{job_id}", for_s=100.0)
            job, now = await at.until_status(job_id, Status.PENDING), at.scheduler.clock.now()
            ends = await at.scheduler.ends_at(job)
            assert ends is not None
            assert ends - now == pytest.approx(100.0 + 18.0, abs=5.0)
            at.scheduler.stop(grace_s=0.0)


@in_virtual_time
async def test_a_flood_of_progress_is_a_few_writes_and_the_last_is_always_written(store: str) -> None:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        for number in range(1, 10_001):
            job.progress(number, 20_000)
            if number % 1_000 == 0:
                await anyio.sleep(0.1)

    async with engine(routes, store) as at:
        told: list[JobProgressed] = []
        at.scheduler.events.subscribe(told.append, JobProgressed)
        job_id = await put(at, "work", "")
        await at.scheduler.run(until_empty=True)
        job = await at.job(job_id)
    assert job.progress is not None
    assert (job.progress.current, job.progress.percent) == (10_000, 50.0)
    assert 2 <= len(told) <= 8
