"""Contract, claims: order, due times, counting, and what a claim leaves alone."""

from __future__ import annotations

import pytest

from scheduler.job import Status, Transition
from scheduler.stores.base import Lanes, Store
from tests.stores.acts import DONE, claim, claim_one, find, finished, get, ids, put, settle, started, want
from tests.support.jobs import T0, a_draft, put_off

AGAIN = Transition(Status.RETRY_AI, "provider_error", "AIProviderError: no answer", run_after=T0 + 5)


class LanesToClaim:
    async def test_an_empty_store_has_no_lanes(self, store: Store) -> None:
        assert await store.lanes(T0) == Lanes(frozenset(), None)

    async def test_lanes_are_the_task_types_with_due_jobs(self, store: Store) -> None:
        await put(store, a_draft("due"), a_draft("due"), a_draft("overdue", run_after=T0 - 9), a_draft("later", run_after=T0 + 9))
        assert (await store.lanes(T0)).ready == {"due", "overdue"}
        assert (await store.lanes(T0 + 9)).ready == {"due", "overdue", "later"}

    async def test_next_due_is_the_nearest_time_to_come(self, store: Store) -> None:
        await put(store, a_draft(), a_draft(run_after=T0 + 20), a_draft("other", run_after=T0 + 10))
        assert (await store.lanes(T0)).next_due == T0 + 10
        assert (await store.lanes(T0 + 10)).next_due == T0 + 20
        assert (await store.lanes(T0 + 20)).next_due is None

    async def test_what_runs_or_ended_makes_no_lane(self, store: Store) -> None:
        await finished(store, a_draft())
        await started(store, a_draft())
        assert await store.lanes(T0) == Lanes(frozenset(), None)

    async def test_a_paused_lane_is_a_lane_all_the_same(self, store: Store) -> None:
        await put(store, a_draft())
        await store.pause("lane", T0 + 60, T0)
        assert (await store.lanes(T0)).ready == {"lane"}

    async def test_a_job_put_off_is_due_as_far_as_its_own_time_goes(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, put_off(claimed.job.job_id, T0))
        assert await store.lanes(T0) == Lanes(frozenset({"lane"}), None)

    async def test_a_retry_is_a_lane_when_its_backoff_ends(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, AGAIN)
        assert await store.lanes(T0) == Lanes(frozenset(), T0 + 5)
        assert await store.lanes(T0 + 5) == Lanes(frozenset({"lane"}), None)


class Claiming(LanesToClaim):
    async def test_a_claim_counts_the_attempt_and_raises_the_token(self, store: Store) -> None:
        await put(store, draft := a_draft(), now=T0)
        claimed = await claim_one(store, now=T0 + 3, worker="ada")
        job = claimed.job
        assert (job.status, job.attempts, job.token, job.worker, job.started_at) == (Status.PROCESSING, 1, 1, "ada", T0 + 3)
        assert (claimed.lease.seq, claimed.lease.job_id, claimed.lease.token) == (job.seq, draft.job_id, 1)
        assert claimed.lease.probing == ()
        assert await get(store, draft.job_id) == job

    async def test_a_claimed_job_still_tells_what_went_wrong_last(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, AGAIN)
        again = await claim_one(store, now=T0 + 5)
        assert (again.job.reason, again.job.error) == ("provider_error", "AIProviderError: no answer")
        assert (again.job.attempts, again.job.token, again.lease.token) == (2, 2, 2)

    async def test_nobody_claims_a_job_twice(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(20)])
        first = await claim(store, want(limit=12), worker="ada")
        second = await claim(store, want(limit=12), worker="grace")
        assert len(first) == 12
        assert len(second) == 8
        assert not set(ids(first)) & set(ids(second))
        assert await claim(store) == []

    async def test_higher_priority_goes_first_then_first_come_first_served(self, store: Store) -> None:
        drafts = [a_draft(priority=priority) for priority in (0, 5, -1, 5, 0)]
        await put(store, *drafts)
        in_order = [drafts[index].job_id for index in (1, 3, 0, 4, 2)]
        assert ids(await claim(store, want(limit=3))) == in_order[:3]
        assert ids(await claim(store, want(limit=3))) == in_order[3:]

    async def test_order_within_a_lane_does_not_depend_on_target_types(self, store: Store) -> None:
        drafts = [a_draft(target_type=target, priority=priority) for target, priority in (("b", 1), ("a", 0), ("b", 0), ("a", 1))]
        await put(store, *drafts)
        assert ids(await claim(store)) == [drafts[index].job_id for index in (0, 3, 1, 2)]

    async def test_a_late_comer_that_falls_due_takes_its_place_by_rank(self, store: Store) -> None:
        later = a_draft(priority=9, run_after=T0 + 5)
        now = a_draft()
        await put(store, later, now)
        assert ids(await claim(store, want(limit=1), now=T0)) == [now.job_id]
        await put(store, other := a_draft())
        assert ids(await claim(store, now=T0 + 5)) == [later.job_id, other.job_id]

    async def test_a_job_is_not_claimed_before_it_is_due(self, store: Store) -> None:
        await put(store, a_draft(run_after=T0 + 10))
        assert await claim(store, now=T0 + 9.999) == []
        assert len(await claim(store, now=T0 + 10)) == 1

    async def test_a_retry_is_not_claimed_before_its_backoff_ends(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, AGAIN)
        assert await claim(store, now=T0 + 4) == []
        assert len(await claim(store, now=T0 + 5)) == 1

    async def test_only_the_wanted_lanes_are_claimed_from(self, store: Store) -> None:
        await put(store, a_draft("one"), a_draft("two"), a_draft("three"))
        claims = await claim(store, want("three"), want("one"))
        assert [one.job.task_type for one in claims] == ["three", "one"]
        assert [job.task_type for job in await find(store, statuses=frozenset({Status.PENDING}))] == ["two"]

    async def test_other_target_types_are_left_alone(self, store: Store) -> None:
        await put(store, a_draft(target_type="file"), a_draft(target_type="chat"), a_draft(target_type="file"))
        claims = await claim(store, want(target_types=("chat", "mail")))
        assert [one.job.target_type for one in claims] == ["chat"]
        assert await claim(store, want(target_types=())) == []
        assert len(await claim(store, want(target_types=("file",)))) == 2

    async def test_no_lane_gets_more_than_its_limit(self, store: Store) -> None:
        await put(store, *[a_draft(task_type) for task_type in ("one", "two") for _ in range(5)])
        claims = await claim(store, want("one", 2), want("two", 3))
        assert [one.job.task_type for one in claims] == ["one"] * 2 + ["two"] * 3

    async def test_a_limit_of_zero_claims_nothing(self, store: Store) -> None:
        await put(store, a_draft())
        answer = await store.claim([want(limit=0)], "worker", T0)
        assert (answer.claims, answer.short) == ([], frozenset())

    async def test_lanes_that_had_fewer_jobs_than_wanted_are_named(self, store: Store) -> None:
        await put(store, a_draft("full"), a_draft("full"), a_draft("half"), a_draft("closed"))
        await store.pause("closed", T0 + 60, T0)
        wants = [want("full", 2), want("half", 2), want("closed", 1), want("empty", 1)]
        answer = await store.claim(wants, "worker", T0)
        assert answer.short == {"half", "closed", "empty"}

    @pytest.mark.parametrize("end", [DONE, Transition(Status.CANCELLED, "cancelled"), Transition(Status.FAILED_TIMEOUT, "timeout", "slow")])
    async def test_what_has_ended_is_never_claimed(self, store: Store, end: Transition) -> None:
        await finished(store, a_draft(), end)
        assert await claim(store, now=T0 + 1_000_000) == []

    async def test_a_job_that_was_handed_back_is_claimed_again_at_once(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, Transition(Status.PENDING, "interrupted", refund=True))
        again = await claim_one(store)
        assert (again.job.job_id, again.job.attempts, again.lease.token) == (claimed.job.job_id, 1, 2)
