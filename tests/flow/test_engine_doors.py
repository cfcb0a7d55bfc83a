"""What gets in and what stands for what: refusals, unique keys, freshness, routes nobody knows, owners."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import anyio
import pytest

from scheduler import DuplicateRouteError, InvalidJobError, JobContext, NewJob, NotFoundError, Registry, Scheduler, Status
from tests.support.engine import engine
from tests.support.virtual_time import in_virtual_time


def counting(runs: list[Any], **options: Any) -> Registry:
    """``work`` notes its payload."""
    routes = Registry()

    @routes.handler("work", **options)
    async def work(job: JobContext, payload: dict[str, Any]) -> Any:
        runs.append(payload)
        return payload

    return routes


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return {"deep": value}


@pytest.mark.parametrize(
    "wrong",
    [
        {"task_type": ""},
        {"task_type": "pool:main"},
        {"task_type": "x" * 600},
        {"task_type": 7},
        {"target_id": "lone \ud800"},
        {"target_type": "nul \x00"},
        {"payload": {"n": float("nan")}},
        {"payload": {"n": 2**63}},
        {"payload": {"s": "\udfff"}},
        {"payload": {"s": "\x00"}},
        {"payload": {1: 2}},
        {"payload": {"o": object()}},
        {"payload": {"big": "x" * 1_000_001}},
        {"payload": nested(40)},
        {"priority": 2**40},
        {"priority": 1.5},
        {"run_after": datetime(2030, 1, 1)},  # noqa: DTZ001 - that is the point
        {"run_after": float("inf")},
        {"unique_key": ""},
        {"unique_key": "x" * 600},
        {"owner": ""},
        {"max_attempts": 0},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
    ],
    ids=lambda wrong: repr(wrong)[:40],
)
@in_virtual_time
async def test_bad_input_is_refused_with_a_reason_and_changes_nothing(store: str, wrong: dict[str, Any]) -> None:
    async with engine(counting([]), store) as at:
        with pytest.raises(InvalidJobError) as refused:
            await at.scheduler.enqueue(**{"task_type": "work", **wrong})
        assert len(str(refused.value)) > 20
        assert await at.scheduler.jobs() == []


@in_virtual_time
async def test_what_was_acknowledged_before_a_bad_job_in_bulk_stays(store: str) -> None:
    async with engine(counting([]), store) as at:
        acknowledged: list[str] = []

        async def stream() -> None:
            async for receipt in at.scheduler.enqueue_many(NewJob("work", target_id="" if n < 1_500 else "\ud800") for n in range(2_000)):
                acknowledged.append(receipt.job_id)

        with pytest.raises(InvalidJobError):
            await stream()
        assert len(acknowledged) == 1_500
        assert (await at.scheduler.stats()).total == 1_500


@in_virtual_time
async def test_while_an_unfinished_job_has_the_key_enqueueing_again_returns_that_job(store: str) -> None:
    runs: list[Any] = []
    async with engine(counting(runs), store) as at:
        first = await at.scheduler.enqueue("work", payload={"n": 1}, unique_key="k")
        again = await at.scheduler.enqueue("work", payload={"n": 2}, unique_key="k")
        other = await at.scheduler.enqueue("work", payload={"n": 3}, unique_key="other")
        assert (again.job_id, again.created) == (first.job_id, False)
        assert other.created
        await at.scheduler.run(until_empty=True)
        fresh = await at.scheduler.enqueue("work", payload={"n": 4}, unique_key="k")
        assert fresh.created
        await at.scheduler.run(until_empty=True)
    assert sorted(payload["n"] for payload in runs) == [1, 3, 4]


@in_virtual_time
async def test_many_callers_at_once_with_one_key_make_one_job(store: str) -> None:
    async with engine(counting([]), store) as at:
        receipts = []

        async def call() -> None:
            receipts.append(await at.scheduler.enqueue("work", unique_key="one"))

        async with anyio.create_task_group() as callers:
            for _ in range(50):
                callers.start_soon(call)
        assert len({receipt.job_id for receipt in receipts}) == 1
        assert [receipt.created for receipt in receipts].count(True) == 1


@in_virtual_time
async def test_an_unchanged_target_is_not_enriched_again_unless_forced_or_its_input_changed(store: str) -> None:
    runs: list[Any] = []
    routes = counting(runs, freshness=lambda payload, resources: payload["hash"])
    async with engine(routes, store) as at:

        async def ask(digest: str, **options: Any) -> tuple[bool, bool]:
            receipt = await at.scheduler.enqueue("work", "code", "1", {"hash": digest}, **options)
            await at.scheduler.run(until_empty=True)
            return receipt.created, receipt.unchanged

        seen = [await ask("a"), await ask("a"), await ask("b"), await ask("a"), await ask("a", force=True), await ask("a")]
    assert seen == [(True, False), (False, True), (True, False), (True, False), (True, False), (False, True)]
    assert [payload["hash"] for payload in runs] == ["a", "b", "a", "a"]


@in_virtual_time
async def test_a_failed_job_leaves_its_target_stale(store: str) -> None:
    routes, runs = Registry(), []

    @routes.handler("work", freshness=lambda payload, resources: 1, max_attempts=1)
    async def work(job: JobContext) -> None:
        runs.append(job.job_id)
        raise ValueError

    async with engine(routes, store) as at:
        for _ in range(2):
            assert (await at.scheduler.enqueue("work", payload={})).created
            await at.scheduler.run(until_empty=True)
    assert len(runs) == 2


@in_virtual_time
async def test_a_job_without_a_handler_fails_and_says_what_to_do(store: str) -> None:
    routes = Registry()

    @routes.handler("known", "code")
    async def known(job: JobContext) -> None:
        return None

    async with engine(routes, store) as at:
        receipts = [
            await at.scheduler.enqueue("nobody", "code"),
            await at.scheduler.enqueue("known", "document"),
            await at.scheduler.enqueue("known", "code"),
        ]
        await at.scheduler.run(until_empty=True)
        jobs = [await at.job(receipt.job_id) for receipt in receipts]
    assert [(job.status, job.reason) for job in jobs] == [(Status.FAILED_JOB_LOGIC, "no_handler")] * 2 + [(Status.COMPLETED, None)]
    assert "[handlers] modules" in (jobs[0].error or "")


@in_virtual_time
async def test_by_setting_jobs_without_a_handler_are_left_to_another_service(store: str) -> None:
    routes = Registry()

    @routes.handler("known", "code")
    async def known(job: JobContext) -> None:
        return None

    async with engine(routes, store, scheduler={"unknown_routes": "leave"}) as at:
        left = [await at.scheduler.enqueue("nobody", "code"), await at.scheduler.enqueue("known", "document")]
        mine = await at.scheduler.enqueue("known", "code")
        with anyio.fail_after(60.0):
            await at.scheduler.run(until_empty=True)
        assert [(await at.job(receipt.job_id)).status for receipt in left] == [Status.PENDING] * 2
        assert (await at.job(mine.job_id)).status is Status.COMPLETED


@in_virtual_time
async def test_an_exact_route_wins_over_one_for_any_target() -> None:
    routes, seen = Registry(), []

    @routes.handler("work")
    async def anything(job: JobContext) -> None:
        seen.append(("any", job.target_type))

    @routes.handler("work", "code")
    async def code(job: JobContext) -> None:
        seen.append(("exact", job.target_type))

    async with engine(routes) as at:
        for target_type in ("code", "document", ""):
            await at.scheduler.enqueue("work", target_type)
        await at.scheduler.run(until_empty=True)
    assert sorted(seen) == [("any", ""), ("any", "document"), ("exact", "code")]


def test_two_handlers_for_one_route_are_an_error_at_the_start() -> None:
    routes = Registry()
    for _ in range(2):
        routes.handler("work", "code")(lambda job: None)
    with pytest.raises(DuplicateRouteError, match="two handlers"):
        Scheduler.open({"scheduler": {"store": "memory:"}}, routes, logs=False)


@in_virtual_time
async def test_a_foreign_job_looks_exactly_like_a_missing_one(store: str) -> None:
    async with engine(counting([]), store) as at:
        receipt = await at.scheduler.enqueue("work", owner="ann")
        assert await at.scheduler.get(receipt.job_id, owner="ben") is None
        assert await at.scheduler.jobs(owner="ben") == []
        assert (await at.scheduler.stats(owner="ben")).total == 0
        messages = []
        for job_id in (receipt.job_id, "0" * 36):
            for verb in (at.scheduler.cancel, at.scheduler.retry):
                with pytest.raises(NotFoundError) as missing:
                    await verb(job_id, owner="ben")
                messages.append(str(missing.value).replace(job_id, "ID"))
        assert len(set(messages)) == 1
        assert await at.scheduler.cancel(owner="ben", task_type="work") == []
        assert (await at.job(receipt.job_id)).status is Status.PENDING
        assert len(await at.scheduler.cancel(receipt.job_id, owner="ann")) == 1
