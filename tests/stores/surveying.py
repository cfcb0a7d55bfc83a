"""Contract, many jobs at a glance: what ended when, who goes first."""

from __future__ import annotations

from scheduler.job import Status
from scheduler.stores.base import JobQuery, Store
from tests.stores.acts import DONE, REFUSED, claim, finished, get, only, put, started, want
from tests.support.jobs import T0, a_draft, put_off


class Throughput:
    async def test_what_ended_is_counted_by_bucket_and_status(self, store: Store) -> None:
        await finished(store, a_draft(run_after=T0 - 1), DONE, T0 - 1)
        for end, at in ((DONE, T0), (DONE, T0 + 299.9), (REFUSED, T0 + 100), (DONE, T0 + 300), (REFUSED, T0 + 601)):
            await finished(store, a_draft(), end, at)
        await put(store, cancelled := a_draft(), a_draft("waiting"))
        await store.cancel(only(cancelled.job_id), T0 + 5)
        assert T0 % 300 == 200
        assert sorted(await store.throughput(None, T0, 300.0)) == [
            (T0 - 200, Status.CANCELLED, 1),
            (T0 - 200, Status.COMPLETED, 1),
            (T0 + 100, Status.COMPLETED, 2),
            (T0 + 100, Status.FAILED_AI, 1),
            (T0 + 400, Status.FAILED_AI, 1),
        ]

    async def test_an_owner_counts_its_own(self, store: Store) -> None:
        for owner in ("ada", "grace", None):
            await finished(store, a_draft(owner=owner), DONE, T0)
        assert await store.throughput("ada", T0, 60.0) == [(T0 // 60 * 60, Status.COMPLETED, 1)]
        assert await store.throughput("nobody", T0, 60.0) == []

    async def test_a_retried_job_has_not_ended(self, store: Store) -> None:
        await finished(store, a_draft(), REFUSED, T0)
        await store.retry(JobQuery(), T0 + 1)
        assert await store.throughput(None, T0 - 60, 60.0) == []


class Ahead:
    async def test_whoever_is_more_urgent_or_came_first_goes_first(self, store: Store) -> None:
        drafts = [a_draft(priority=priority) for priority in (0, 5, 0, -1, 0)]
        await put(store, *drafts, a_draft("other", priority=9))
        ahead = [await store.ahead(await get(store, draft.job_id), T0, 100) for draft in drafts]
        assert ahead == [1, 0, 2, 4, 3]

    async def test_no_further_than_the_limit(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(10)], last := a_draft())
        job = await get(store, last.job_id)
        assert [await store.ahead(job, T0, limit) for limit in (0, 3, 10, 11)] == [0, 3, 10, 10]

    async def test_only_what_could_start_is_counted(self, store: Store) -> None:
        await finished(store, a_draft())
        await finished(store, a_draft("lane", job_id="off"), put_off("off", T0))
        await started(store, a_draft("another"))
        await put(store, a_draft(run_after=T0 + 60), a_draft(owner="ada"), held := a_draft())
        await put(store, a_draft(after=(held.job_id,)), mine := a_draft())
        await store.hold(only(held.job_id), T0 + 600, T0)
        job = await get(store, mine.job_id)
        assert await store.ahead(job, T0, 100) == 2  # the one put off, which its lane's pause holds, and ada's
        assert await store.ahead(job, T0 + 60, 100) == 3
        assert await store.ahead(job, T0 + 600, 100) == 4
        await store.resume("lane", T0 + 60)
        await claim(store, want(limit=2), now=T0 + 60)
        assert await store.ahead(job, T0 + 60, 100) == 1


class Surveying(Throughput, Ahead):
    pass
