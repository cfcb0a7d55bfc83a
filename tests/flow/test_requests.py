"""Requests that are sent again: what counts as the same, who refuses what, when it is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from scheduler import IdempotencyConflictError, InvalidJobError, JobContext, NewJob, Registry
from scheduler.retention import REQUESTS_AFTER_S
from tests.support.engine import engine
from tests.support.virtual_time import in_virtual_time

PLAIN: dict[str, Any] = {"target_type": "file", "target_id": "7", "payload": {"a": 1, "b": [1.5, None]}, "priority": 2, "owner": "ada"}


def a_registry() -> Registry:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext, payload: dict[str, Any]) -> None: ...

    return routes


@in_virtual_time
async def test_the_same_request_gets_the_same_job_for_a_day(store: str) -> None:
    async with engine(a_registry(), store) as at:
        first = await at.scheduler.enqueue("work", request_key="key", **PLAIN)
        again = await at.scheduler.enqueue("work", request_key="key", **PLAIN | {"payload": {"b": [1.5, None], "a": 1}, "target_id": 7})
        assert (first.created, again) == (True, first._replace(created=False))
        await at.scheduler.run(until_empty=True)
        assert (await at.scheduler.enqueue("work", request_key="key", **PLAIN)).job_id == first.job_id
        await anyio.sleep(REQUESTS_AFTER_S - 1)
        await at.scheduler.prune()
        assert (await at.scheduler.enqueue("work", request_key="key", **PLAIN)).job_id == first.job_id
        await anyio.sleep(2)
        await at.scheduler.prune()
        assert (await at.scheduler.enqueue("work", request_key="key", **PLAIN)).created


@in_virtual_time
async def test_a_running_service_forgets_old_requests(store: str) -> None:
    async with engine(a_registry(), store, retention={"sweep_interval_s": 1.0}) as at:
        first = await at.scheduler.enqueue("work", request_key="key", **PLAIN)
        await anyio.sleep(REQUESTS_AFTER_S + 1)
        async with at.running():
            await anyio.sleep(5)
        second = await at.scheduler.enqueue("work", request_key="key", **PLAIN | {"priority": 9})
        assert (second.created, second.job_id != first.job_id) == (True, True)


@pytest.mark.parametrize(
    "other",
    [
        {"target_type": "folder"}, {"target_id": "8"}, {"payload": {"a": 1}}, {"payload": None}, {"priority": 3}, {"unique_key": "k"},
        {"max_attempts": 4}, {"timeout_s": 5.0}, {"force": True}, {"batch": "b"}, {"if_failed": "run"}, {"run_after": timedelta(seconds=1)},
        {"run_after": datetime(2030, 1, 1, tzinfo=UTC)},
    ],
    ids=repr,
)  # fmt: skip
@in_virtual_time
async def test_another_body_is_a_conflict_and_changes_nothing(store: str, other: dict[str, Any]) -> None:
    async with engine(a_registry(), store) as at:
        await at.scheduler.enqueue("work", request_key="key", **PLAIN)
        with pytest.raises(IdempotencyConflictError, match="request_key 'key' was used for another job"):
            await at.scheduler.enqueue("work", request_key="key", **PLAIN | other)
        assert len(await at.scheduler.jobs()) == 1
        assert len(at.history.events) == 1


@pytest.mark.parametrize("run_after", [timedelta(seconds=90), datetime(2030, 1, 1, tzinfo=UTC), 1_900_000_000])
@in_virtual_time
async def test_a_request_that_comes_again_later_is_the_same(store: str, run_after: Any) -> None:
    async with engine(a_registry(), store) as at:
        first = await at.scheduler.enqueue("work", run_after=run_after, request_key="key")
        await anyio.sleep(20)
        assert await at.scheduler.enqueue("work", run_after=run_after, request_key="key") == first._replace(created=False)


@pytest.mark.parametrize("key", ["", "k" * 513, "\x00", 7, "\ud800"])
@in_virtual_time
async def test_a_key_that_no_store_can_hold_is_refused(store: str, key: Any) -> None:
    async with engine(a_registry(), store) as at:
        with pytest.raises(InvalidJobError, match="request_key"):
            await at.scheduler.enqueue("work", request_key=key)
        assert await at.scheduler.jobs() == []


@in_virtual_time
async def test_requests_hold_in_bulk_too(store: str) -> None:
    async with engine(a_registry(), store) as at:
        keys = ["a", "b", "a", None, "b"]
        receipts = await at.scheduler.enqueue_many(NewJob("work", request_key=key) for key in keys)
        assert [receipt.created for receipt in receipts] == [True, True, False, True, False]
        assert receipts[2].job_id == receipts[0].job_id


@in_virtual_time
async def test_a_follow_up_takes_no_request_key(store: str) -> None:
    routes = a_registry()

    @routes.handler("first", max_attempts=1)
    async def first(job: JobContext) -> None:
        job.enqueue("work", request_key="key")

    async with engine(routes, store) as at:
        receipt = await at.scheduler.enqueue("first")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
        assert job.status.is_failure
        assert "a follow-up takes no request_key" in (job.error or "")
