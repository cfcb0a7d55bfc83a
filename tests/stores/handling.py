"""Contract, what people and the janitor do: cancel, retry, give up, discard, prune."""

from __future__ import annotations

import pytest

from scheduler.job import TERMINAL, UNFINISHED, Item, Job, Ledger, Status, Transition
from scheduler.stores.base import JobQuery, Lanes, Store
from tests.stores.acts import DONE, REFUSED, claim, claim_one, everything, find, finished, get, ids, only, put, settle, started, want
from tests.support.jobs import T0, a_draft, put_off

GIVEN_UP = Transition(Status.FAILED_AI, "gave_up_waiting", "too long", refund=True)


class Cancelling:
    async def test_a_waiting_job_can_be_cancelled(self, store: Store) -> None:
        await put(store, draft := a_draft())
        (before,) = await store.cancel(only(draft.job_id), T0 + 5)
        assert (before.job_id, before.status) == (draft.job_id, Status.PENDING)
        job = await get(store, draft.job_id)
        assert (job.status, job.reason, job.finished_at, job.attempts) == (Status.CANCELLED, "cancelled", T0 + 5, 0)
        assert await store.lanes(T0) == Lanes(frozenset(), None)
        assert await claim(store) == []

    async def test_a_running_job_can_be_cancelled_and_its_lease_lapses(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        assert await store.cancel(only(claimed.job.job_id), T0 + 5) == [claimed.job]
        job = await get(store, claimed.job.job_id)
        assert (job.status, job.token, job.attempts) == (Status.CANCELLED, claimed.lease.token, 1)
        assert await store.lapsed([claimed.lease]) == [claimed.lease]

    async def test_a_job_put_off_or_to_be_retried_can_be_cancelled(self, store: Store) -> None:
        await finished(store, a_draft("one", job_id="off"), put_off("off", T0, "one"))
        await finished(store, a_draft("two"), Transition(Status.RETRY_AI, "timeout", "slow", run_after=T0 + 9))
        cancelled = await store.cancel(JobQuery(), T0)
        assert {job.status for job in cancelled} == {Status.RATE_LIMITED, Status.RETRY_AI}
        assert {job.status for job in await everything(store)} == {Status.CANCELLED}

    @pytest.mark.parametrize("end", [DONE, REFUSED, Transition(Status.CANCELLED, "cancelled")])
    async def test_what_has_ended_stays_as_it_is(self, store: Store, end: Transition) -> None:
        job = await finished(store, a_draft(), end)
        assert await store.cancel(JobQuery(), T0 + 5) == []
        assert await get(store, job.job_id) == job

    async def test_all_that_match_are_cancelled_a_portion_at_a_time(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(150)], a_draft("other"))
        query = JobQuery(task_types=frozenset({"lane"}), limit=100)
        assert [len(await store.cancel(query, T0)) for _ in range(3)] == [100, 50, 0]
        assert [job.task_type for job in await find(store, statuses=UNFINISHED)] == ["other"]

    async def test_nobody_cancels_a_foreign_job(self, store: Store) -> None:
        await put(store, mine := a_draft(owner="ada"), theirs := a_draft(owner="grace"))
        query = JobQuery(job_ids=(mine.job_id, theirs.job_id), owner="ada")
        assert ids(await store.cancel(query, T0)) == [mine.job_id]
        assert (await get(store, theirs.job_id)).status is Status.PENDING


class Retrying:
    async def test_a_failed_job_starts_anew(self, store: Store) -> None:
        claimed = await started(store, a_draft(run_after=T0 - 100))
        await store.report([(claimed.lease, '{"percent": 9.0}')], T0)
        await store.note(claimed.lease, T0, state_json='{"page": 9}')
        crash = Transition(Status.FAILED_JOB_LOGIC, "worker_lost", "gone", crashed=True, waiting_since=T0)
        await settle(store, claimed.lease, crash, T0 + 1)
        failed = await get(store, claimed.job.job_id)
        assert await store.retry(only(failed.job_id), T0 + 50) == [failed]
        job = await get(store, failed.job_id)
        assert (job.status, job.attempts, job.crashes, job.run_after, job.token) == (Status.PENDING, 0, 0, T0 + 50, 1)
        assert (job.reason, job.error, job.result_json, job.progress_json) == (None, None, None, None)
        assert (job.waiting_since, job.finished_at, job.worker, job.state_json) == (None, None, None, '{"page": 9}')
        again = await claim_one(store, now=T0 + 50)
        assert (again.job.attempts, again.lease.token) == (1, 2)

    async def test_a_cancelled_job_may_be_retried_and_its_old_lease_stays_void(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.cancel(only(claimed.job.job_id), T0)
        assert len(await store.retry(only(claimed.job.job_id), T0)) == 1
        again = await claim_one(store)
        assert not (await settle(store, claimed.lease, DONE)).applied
        assert (await settle(store, again.lease, DONE)).applied

    async def test_only_failures_and_cancelled_jobs_are_sent_back(self, store: Store) -> None:
        done = await finished(store, a_draft("one"))
        running = (await started(store, a_draft("two"))).job
        await put(store, waiting := a_draft("three"))
        assert await store.retry(JobQuery(), T0) == []
        assert [await get(store, job.job_id) for job in (done, running)] == [done, running]
        assert (await get(store, waiting.job_id)).status is Status.PENDING

    async def test_failures_are_sent_back_by_reason_a_portion_at_a_time(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(130)])
        claims = await claim(store, want(limit=130))
        for number, one in enumerate(claims):
            reason = "quota_exhausted" if number % 13 else "auth"
            await settle(store, one.lease, Transition(Status.FAILED_AI, reason, "no"))
        query = JobQuery(statuses=frozenset({Status.FAILED_AI}), reasons=frozenset({"quota_exhausted"}))
        assert [len(await store.retry(query, T0)) for _ in range(3)] == [100, 20, 0]
        assert {job.reason for job in await find(store, statuses=TERMINAL)} == {"auth"}

    async def test_a_job_whose_key_is_taken_is_left_alone(self, store: Store) -> None:
        failed = await finished(store, a_draft(unique_key="key"), REFUSED)
        await put(store, holder := a_draft(unique_key="key"))
        assert await store.retry(only(failed.job_id), T0) == []
        assert await get(store, failed.job_id) == failed
        await store.cancel(only(holder.job_id), T0)
        assert ids(await store.retry(only(failed.job_id), T0)) == [failed.job_id]

    async def test_of_two_failures_with_one_key_one_is_sent_back(self, store: Store) -> None:
        await finished(store, a_draft(unique_key="key"), REFUSED)
        await finished(store, a_draft(unique_key="key"), REFUSED)
        assert len(await store.retry(JobQuery(), T0)) == 1
        assert sorted(job.status for job in await everything(store)) == [Status.FAILED_AI, Status.PENDING]

    async def test_a_retried_job_has_its_key_again(self, store: Store) -> None:
        failed = await finished(store, a_draft(unique_key="key"), REFUSED)
        await store.retry(only(failed.job_id), T0)
        (receipt,) = await put(store, a_draft(unique_key="key"))
        assert (receipt.created, receipt.job_id) == (False, failed.job_id)

    async def test_nobody_retries_a_foreign_job(self, store: Store) -> None:
        theirs = await finished(store, a_draft(owner="grace"), REFUSED)
        assert await store.retry(JobQuery(job_ids=(theirs.job_id,), owner="ada"), T0) == []
        assert await get(store, theirs.job_id) == theirs


class GivingUp:
    async def test_a_job_that_waited_too_long_ends_without_another_attempt(self, store: Store) -> None:
        limited = await finished(store, a_draft(job_id="off"), put_off("off", T0))
        asked: list[Job] = []

        def end_of(job: Job) -> Transition:
            asked.append(job)
            return GIVEN_UP

        assert await store.give_up(JobQuery(waiting_before=T0), end_of, T0 + 9) == [(limited, GIVEN_UP)]
        assert asked == [limited]
        job = await get(store, "off")
        assert (job.status, job.reason, job.error, job.finished_at) == (Status.FAILED_AI, "gave_up_waiting", "too long", T0 + 9)
        assert (job.attempts, job.token, job.worker) == (0, limited.token + 1, None)
        assert await claim(store, now=T0 + 1_000) == []

    async def test_only_jobs_put_off_since_long_are_given_up(self, store: Store) -> None:
        await finished(store, a_draft("one", job_id="young"), put_off("young", T0 + 10, "one"), T0 + 10)
        running = await started(store, a_draft("two"))
        await put(store, a_draft("three"))
        before = await everything(store)
        assert await store.give_up(JobQuery(waiting_before=T0 + 9), lambda job: GIVEN_UP, T0 + 20) == []
        assert await everything(store) == before
        assert (await settle(store, running.lease, DONE)).applied

    async def test_a_job_being_tried_again_is_not_given_up(self, store: Store) -> None:
        await finished(store, a_draft(job_id="off"), put_off("off", T0))
        await claim_one(store, now=T0 + 60)
        assert await store.give_up(JobQuery(waiting_before=T0 + 60), lambda job: GIVEN_UP, T0 + 61) == []


class Pruning:
    async def test_only_old_jobs_of_the_given_statuses_are_deleted(self, store: Store) -> None:
        old = await finished(store, a_draft(), DONE, T0)
        new = await finished(store, a_draft(), DONE, T0 + 10)
        failed = await finished(store, a_draft(), REFUSED, T0)
        await put(store, waiting := a_draft(run_after=T0 - 1_000), now=T0)
        assert await store.prune(frozenset({Status.COMPLETED}), T0 + 10, 100) == 1
        assert ids(await everything(store)) == [new.job_id, failed.job_id, waiting.job_id]
        assert await find(store, job_ids=(old.job_id,)) == []

    async def test_what_has_not_ended_is_never_deleted(self, store: Store) -> None:
        await started(store, a_draft())
        await finished(store, a_draft("two", job_id="off"), put_off("off", T0, "two"))
        await put(store, a_draft("three"))
        assert await store.prune(frozenset(Status), T0 + 1_000_000, 100) == 0
        assert len(await everything(store)) == 3

    async def test_a_retried_job_is_not_deleted_for_its_former_end(self, store: Store) -> None:
        failed = await finished(store, a_draft(), REFUSED, T0)
        await store.retry(only(failed.job_id), T0 + 1)
        assert await store.prune(frozenset(Status), T0 + 100, 100) == 0

    async def test_at_most_the_limit_is_deleted_the_longest_ended_first(self, store: Store) -> None:
        ended = [await finished(store, a_draft(), DONE, T0 + second) for second in (3, 1, 2)]
        assert await store.prune(TERMINAL, T0 + 100, 2) == 2
        assert ids(await everything(store)) == [ended[0].job_id]
        assert await store.prune(TERMINAL, T0 + 100, 0) == 0
        assert await store.prune(TERMINAL, T0 + 100, 2) == 1
        assert await store.prune(frozenset(), T0 + 100, 2) == 0


class Discarding:
    async def test_only_what_has_ended_is_deleted_and_only_so_much(self, store: Store) -> None:
        done = [await finished(store, a_draft(owner="ada")) for _ in range(3)]
        await put(store, waiting := a_draft(owner="ada"))
        assert await store.discard(JobQuery(owner="grace"), T0) == []
        assert await store.discard(JobQuery(statuses=frozenset({Status.PENDING})), T0) == []
        assert await store.discard(only(waiting.job_id), T0) == []
        assert await store.discard(only(done[1].job_id), T0) == [done[1]]
        assert await store.discard(JobQuery(owner="ada", limit=1, newest_first=False), T0) == [done[0]]
        assert await store.discard(JobQuery(owner="ada"), T0) == [done[2]]
        assert await store.discard(JobQuery(owner="ada"), T0) == []
        assert ids(await everything(store)) == [waiting.job_id]

    async def test_what_was_recorded_of_its_items_goes_with_it(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.record(claimed.lease, Ledger("items", 1, 1, 1, 0), [Item(0, "a", True)], T0)
        await settle(store, claimed.lease, REFUSED)
        assert len(await store.discard(only(claimed.job.job_id), T0)) == 1
        assert await store.ledgers(claimed.job.job_id) == []
        assert not await store.note(claimed.lease, T0, state_json="1")

    async def test_a_running_job_stays(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        assert await store.discard(JobQuery(), T0) == []
        assert (await settle(store, claimed.lease, DONE)).applied


class Handling(Cancelling, Retrying, GivingUp, Pruning, Discarding):
    """What is done to jobs by hand or by the janitor."""
