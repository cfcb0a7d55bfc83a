"""Jobs over many items: nothing is done twice, whatever ends an attempt; a bad item stands alone in the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest

from scheduler import (
    AIProviderError,
    Chunk,
    InvalidRequestError,
    ItemFailed,
    JobContext,
    RateLimitError,
    Registry,
    Status,
)
from scheduler.events import JobProgressed
from scheduler.stores.base import JobQuery
from tests.support.engine import Engine, engine
from tests.support.virtual_time import in_virtual_time

NUMBERS = list(range(25))


class Works:
    """A handler over ``items``; ``done`` counts how often each was processed to the end of its chunk."""

    def __init__(self, items: Any = NUMBERS, *, takes_s: float = 0.0, **how: Any) -> None:
        self.routes = Registry()
        self.done: Counter[Any] = Counter()
        self.sizes: list[int] = []
        self.at_once = self.most_at_once = 0
        self.before: Callable[[JobContext, Chunk], None] = lambda job, chunk: None
        self.reports: list[Any] = []

        @self.routes.handler("work", timeout_s=1e6)
        async def work(job: JobContext) -> Any:
            async def process(chunk: Chunk) -> list[Any]:
                self.sizes.append(len(chunk))
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    self.before(job, chunk)
                    await anyio.sleep(takes_s)
                finally:
                    self.at_once -= 1
                self.done.update(chunk.items)
                chunk.count(sum=sum(chunk.items))
                return [item * item for item in chunk.items]

            report = await job.chunks(items, process, **how)
            self.reports.append(report)
            return report.to_dict()


async def enqueued(at: Engine) -> str:
    return (await at.scheduler.enqueue("work")).job_id


async def ledger(at: Engine, job_id: str, **which: Any) -> list[Any]:
    return await at.scheduler.store.items(job_id, "items", **which)


def numbers_from(start: int) -> Iterator[int]:
    return iter(NUMBERS[start:])


async def trickling() -> AsyncIterator[int]:
    for number in NUMBERS:
        await anyio.sleep(0.1)
        yield number


@pytest.mark.parametrize(
    "items", [NUMBERS, tuple(NUMBERS), range(25), iter(NUMBERS), numbers_from, trickling()], ids=lambda each: type(each).__name__
)
@in_virtual_time
async def test_every_item_is_processed_once_and_recorded(items: Any) -> None:
    works = Works(items, size=10)
    async with engine(works.routes) as at:
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        job, recorded = await at.job(job_id), await ledger(at, job_id)
    assert works.done == Counter(NUMBERS)
    assert works.sizes == [10, 10, 5]
    assert job.result == {"name": "items", "total": 25, "done": 25, "failed": 0, "counters": {"sum": 300}}
    assert [(item.position, item.key, item.ok, item.value) for item in recorded] == [(n, str(n), True, n * n) for n in NUMBERS]


@in_virtual_time
async def test_so_many_chunks_are_processed_at_once(store: str) -> None:
    works = Works(size=2, at_once=4, takes_s=1.0, key=lambda item: f"number {item}")
    async with engine(works.routes, store) as at:
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        recorded = await ledger(at, job_id)
    assert works.most_at_once == 4
    assert works.done == Counter(NUMBERS)
    assert [item.key for item in recorded[:2]] == ["number 0", "number 1"]


@in_virtual_time
async def test_no_items_are_no_work() -> None:
    works = Works([])
    async with engine(works.routes) as at:
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        assert (await at.job(job_id)).result["total"] == 0


@pytest.mark.parametrize("bad", [{13}, {0}, {24}, {3, 4, 17}, set(NUMBERS)], ids=str)
@in_virtual_time
async def test_a_chunk_that_fails_is_split_until_the_bad_item_stands_alone(bad: set[int]) -> None:
    works = Works(size=10)

    def before(job: JobContext, chunk: Chunk) -> None:
        if bad.intersection(chunk.items):
            raise ValueError(f"one of {len(chunk)} is bad")

    works.before = before
    async with engine(works.routes) as at:
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        job, failed = await at.job(job_id), await ledger(at, job_id, ok=frozenset({False}))
    good = [n for n in NUMBERS if n not in bad]
    assert works.done == Counter(good)
    assert [(item.position, item.error) for item in failed] == [(n, "ValueError: one of 1 is bad") for n in sorted(bad)]
    assert (job.status, job.reason, job.attempts) == (Status.FAILED_JOB_LOGIC, "items_failed", 1)
    assert job.result == {
        "name": "items",
        "total": 25,
        "done": len(good),
        "failed": len(bad),
        "counters": {"sum": sum(good)} if good else {},
    }
    assert job.error is not None
    assert f"{len(bad)} of 25 items failed; first: {min(bad)}: ValueError" in job.error


@in_virtual_time
async def test_failed_items_may_be_tolerated() -> None:
    works = Works(size=10, on_failed="tolerate")

    def before(job: JobContext, chunk: Chunk) -> None:
        if 13 in chunk.items:
            raise ValueError("no")

    works.before = before
    async with engine(works.routes) as at:
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        job = await at.job(job_id)
    assert (job.status, job.result["failed"], job.result["done"]) == (Status.COMPLETED, 1, 24)


@in_virtual_time
async def test_a_retry_runs_the_failed_items_alone(store: str) -> None:
    works = Works(size=10)
    broken = {3, 13, 14}

    def before(job: JobContext, chunk: Chunk) -> None:
        if broken.intersection(chunk.items):
            raise ValueError("not yet")

    works.before = before
    async with engine(works.routes, store) as at:
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        broken.clear()
        works.sizes.clear()
        await at.scheduler.retry(job_id)
        await at.scheduler.run(until_empty=True)
        job = await at.job(job_id)
    assert works.sizes == [3]
    assert works.done == Counter(NUMBERS)
    assert (job.status, job.result["counters"]) == (Status.COMPLETED, {"sum": 300})


@pytest.mark.parametrize("at_once", [1, 3])
@in_virtual_time
async def test_a_rate_limit_in_the_middle_gives_the_slot_back_and_goes_on_later_from_where_it_stood(store: str, at_once: int) -> None:
    works = Works(size=2, at_once=at_once, takes_s=1.0)
    hits: list[int] = []

    def before(job: JobContext, chunk: Chunk) -> None:
        if 12 in chunk.items and len(hits) < 2:
            hits.append(job.attempt)
            raise RateLimitError(retry_after_s=30.0)

    works.before = before
    async with engine(works.routes, store) as at:
        job_id = await enqueued(at)
        async with at.running():
            job = await at.until_status(job_id, Status.RATE_LIMITED)
            assert job.attempts == 0
            assert not at.scheduler._service.dispatcher.running  # type: ignore[union-attr]
            await at.until_status(job_id, Status.COMPLETED)
        job = await at.job(job_id)
    assert hits == [1, 1], "each attempt was given back"
    assert works.done == Counter(NUMBERS), "what was under way beside it was recorded, too"
    assert job.result["done"] == 25


@in_virtual_time
async def test_a_provider_error_is_the_attempts_and_the_next_one_goes_on(store: str) -> None:
    works = Works(size=2, takes_s=1.0)

    def before(job: JobContext, chunk: Chunk) -> None:
        if 12 in chunk.items and job.attempt == 1:
            raise AIProviderError("down")

    works.before = before
    async with engine(works.routes, store) as at:
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        job = await at.job(job_id)
    assert (job.status, job.attempts) == (Status.COMPLETED, 2)
    assert works.done == Counter(NUMBERS)


@in_virtual_time
async def test_a_request_that_is_wrong_for_every_item_ends_the_job_before_it_costs_more() -> None:
    works, calls = Works(size=10), []

    def before(job: JobContext, chunk: Chunk) -> None:
        calls.append(len(chunk))
        raise InvalidRequestError("no such model")

    works.before = before
    async with engine(works.routes) as at:
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        job = await at.job(job_id)
    assert (job.status, job.reason) == (Status.FAILED_AI, "invalid_request")
    assert len(calls) < 10


@in_virtual_time
async def test_a_shutdown_in_the_middle_repeats_nothing(store: str) -> None:
    works = Works(size=2, at_once=2, takes_s=1.0)
    async with engine(works.routes, store) as at:
        job_id = await enqueued(at)
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(at.scheduler.run)
                await anyio.sleep(2.5)
                at.scheduler.stop(grace_s=5.0)
            job = await at.job(job_id)
            assert (job.status, job.attempts) == (Status.PENDING, 0)
        await at.scheduler.run(until_empty=True)
        job = await at.job(job_id)
    assert (job.status, job.attempts, works.done) == (Status.COMPLETED, 1, Counter(NUMBERS))


@in_virtual_time
async def test_a_lost_lease_in_the_middle_ends_the_attempt_and_records_nothing_more(sqlite: str) -> None:
    """Two workers on one store: the job is taken from the first and runs on the second."""
    first, second = Works(size=1, takes_s=1.0), Works(size=1, takes_s=1.0)
    async with engine(first.routes, sqlite) as one, engine(second.routes, sqlite) as two:
        one.alone = two.alone = False
        job_id = await enqueued(one)
        async with one.running():
            await one.until(lambda: len(first.done) == 10)
            await one.scheduler.store.cancel(_only(job_id), one.scheduler.clock.now())  # as another process would
            await one.scheduler.store.retry(_only(job_id), one.scheduler.clock.now())
            async with two.running():
                await two.until_status(job_id, Status.COMPLETED)
        recorded = await ledger(two, job_id)
    assert len(recorded) == 25
    together = first.done + second.done
    assert set(together) == set(NUMBERS)
    assert sum(together.values()) <= 25 + 2, "at most what was under way was done twice"


def _only(job_id: str) -> Any:
    return JobQuery(job_ids=(job_id,))


@in_virtual_time
async def test_a_sync_handler_works_in_chunks_too(store: str) -> None:
    routes, seen = Registry(), []

    @routes.handler("work")
    def work(job: Any) -> Any:
        def process(chunk: Chunk) -> list[Any]:
            seen.extend(chunk.items)
            return [ItemFailed("odd") if item % 2 else item for item in chunk.items]

        report = job.chunks(NUMBERS, process, size=4, on_failed="tolerate")
        return [report.done, report.failed, len(job.ledger()), [item.position for item in job.ledger(failed=True)][:2]]

    async with engine(routes, store) as at:
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        assert (await at.job(job_id)).result == [13, 12, 25, [1, 3]]
    assert seen == NUMBERS


@pytest.mark.parametrize("answer", [[1], "ab", {"a": 1}, 7], ids=str)
@in_virtual_time
async def test_an_answer_that_does_not_fit_the_chunk_is_the_handlers_error(answer: Any) -> None:
    routes = Registry()

    @routes.handler("work", max_attempts=1)
    async def work(job: JobContext) -> None:
        async def process(chunk: Chunk) -> Any:
            return answer

        await job.chunks(NUMBERS, process, size=2)

    async with engine(routes) as at:
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        job = await at.job(job_id)
    assert (job.status, job.reason) == (Status.FAILED_JOB_LOGIC, "handler_error")
    assert job.error is not None
    assert "for 2 items: return a list with one result an item" in job.error


@in_virtual_time
async def test_two_passes_share_the_progress_of_their_job(store: str) -> None:
    routes = Registry()

    @routes.handler("work", timeout_s=1e6)
    async def work(job: JobContext) -> Any:
        async def process(chunk: Chunk) -> None:
            await anyio.sleep(1.0)

        await job.chunks(NUMBERS, process, size=5, name="first", span=(0, 40))
        await job.chunks(NUMBERS, process, size=5, name="second", span=(40, 90))
        return [ledger.name for ledger in await at.scheduler.store.ledgers(job.job_id)]

    seen: list[tuple[float, float]] = []
    async with engine(routes, store) as at:
        at.scheduler.events.subscribe(lambda event: seen.append((event.progress.percent, event.progress.current)), JobProgressed)
        job_id = await enqueued(at)
        await at.scheduler.run(until_empty=True)
        job = await at.job(job_id)
    assert job.result == ["first", "second"]
    assert seen == [(8, 5), (16, 10), (24, 15), (32, 20), (40, 25), (50, 5), (60, 10), (70, 15), (80, 20), (90, 25)]
    assert job.progress is not None
    assert job.progress.rate == pytest.approx(9.0, rel=0.2), "ten seconds for 90 percent"
    assert job.progress.left_s == pytest.approx(10 / 9.0, rel=0.2)
