"""Contract, the end of attempts: one guarded write; notes and lapsed leases."""

from __future__ import annotations

import pytest

from scheduler.errors import StoreError
from scheduler.job import TERMINAL, Lease, Status, Transition
from scheduler.stores.base import Settled, Settlement, Store
from tests.stores.acts import DONE, REFUSED, claim, claim_one, everything, get, only, put, settle, started, want, window_of
from tests.support.jobs import T0, a_draft, put_off

HANDED_BACK = Transition(Status.PENDING, "interrupted", refund=True)


class WhatAnEndWrites:
    async def test_a_completed_job_has_its_result_and_nothing_of_its_attempts(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.report([(claimed.lease, '{"percent": 50.0}')], T0)
        await store.note(claimed.lease, T0, state_json='{"page": 3}')
        assert await settle(store, claimed.lease, DONE, T0 + 7) == Settled(True)
        job = await get(store, claimed.job.job_id)
        assert (job.status, job.result_json, job.reason, job.error) == (Status.COMPLETED, '"done"', None, None)
        assert (job.finished_at, job.started_at, job.worker, job.attempts) == (T0 + 7, T0, None, 1)
        assert (job.state_json, job.progress_json) == (None, '{"percent": 50.0}')

    async def test_a_success_after_failures_forgets_their_reason(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, Transition(Status.RETRY_AI, "timeout", "slow", run_after=T0))
        await settle(store, (await claim_one(store)).lease, DONE)
        job = await get(store, claimed.job.job_id)
        assert (job.reason, job.error, job.attempts) == (None, None, 2)

    async def test_a_failure_says_why_and_keeps_the_checkpoint(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.note(claimed.lease, T0, state_json='{"page": 3}')
        await settle(store, claimed.lease, REFUSED, T0 + 1)
        job = await get(store, claimed.job.job_id)
        assert (job.status, job.reason, job.error, job.finished_at) == (Status.FAILED_AI, "auth", "AuthError: no", T0 + 1)
        assert (job.state_json, job.worker, job.result_json) == ('{"page": 3}', None, None)

    async def test_a_retry_waits_until_its_time(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, Transition(Status.RETRY_AI, "timeout", "slow", run_after=T0 + 2.5))
        job = await get(store, claimed.job.job_id)
        assert (job.status, job.run_after, job.attempts, job.finished_at, job.worker) == (Status.RETRY_AI, T0 + 2.5, 1, None, None)

    async def test_a_refund_gives_the_attempt_back_but_not_the_token(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, put_off(claimed.job.job_id, T0))
        job = await get(store, claimed.job.job_id)
        assert (job.status, job.attempts, job.token, job.waiting_since, job.run_after) == (Status.RATE_LIMITED, 0, 1, T0, T0)

    async def test_waiting_since_is_what_the_transition_says(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, HANDED_BACK._replace(waiting_since=T0 - 50))
        again = await claim_one(store)
        assert again.job.waiting_since == T0 - 50
        await settle(store, again.lease, Transition(Status.RETRY_AI, "timeout", "slow", run_after=T0))
        assert (await get(store, again.job.job_id)).waiting_since is None

    async def test_a_crash_is_counted(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, Transition(Status.PENDING, "worker_lost", "gone", refund=True, crashed=True))
        job = await get(store, claimed.job.job_id)
        assert (job.status, job.attempts, job.crashes) == (Status.PENDING, 0, 1)

    @pytest.mark.parametrize("status", sorted(TERMINAL))
    async def test_every_terminal_status_has_a_finishing_time(self, store: Store, status: Status) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, Transition(status, "reason"), T0 + 4)
        job = await get(store, claimed.job.job_id)
        assert (job.status, job.finished_at) == (status, T0 + 4)

    async def test_an_attempt_cannot_end_as_processing(self, store: Store) -> None:
        claims = [await started(store, a_draft()), await started(store, a_draft())]
        with pytest.raises(StoreError):
            await store.settle([Settlement(claims[0].lease, DONE), Settlement(claims[1].lease, Transition(Status.PROCESSING))], T0)
        assert {job.status for job in await everything(store)} == {Status.PROCESSING}


class TheGuard:
    async def test_a_late_writer_changes_nothing(self, store: Store) -> None:
        first = await started(store, a_draft(unique_key="key", fingerprint="v1"))
        await settle(store, first.lease, HANDED_BACK)
        second = await claim_one(store)
        late = put_off(first.job.job_id, T0 + 1)
        assert await settle(store, first.lease, late, T0 + 1) == Settled(False)
        assert await settle(store, first.lease, DONE, T0 + 1) == Settled(False)
        assert await get(store, first.job.job_id) == second.job
        assert await store.pauses() == []

    async def test_an_end_is_recorded_once(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        assert (await settle(store, claimed.lease, DONE)).applied
        before = await get(store, claimed.job.job_id)
        assert await settle(store, claimed.lease, REFUSED) == Settled(False)
        assert await get(store, claimed.job.job_id) == before

    async def test_a_cancelled_job_cannot_be_completed(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.cancel(only(claimed.job.job_id), T0)
        assert await settle(store, claimed.lease, DONE) == Settled(False)
        assert (await get(store, claimed.job.job_id)).status is Status.CANCELLED

    async def test_a_lease_for_a_job_that_never_was_does_not_hold(self, store: Store) -> None:
        assert await settle(store, Lease(10_000, "nobody", 1), DONE) == Settled(False)

    async def test_the_lease_of_a_deleted_job_does_not_hold_for_the_job_that_comes_after_it(self, store: Store) -> None:
        deleted = await started(store, a_draft())
        await store.cancel(only(deleted.job.job_id), T0)
        assert await store.prune(frozenset({Status.CANCELLED}), T0 + 1, 10) == 1
        successor = await started(store, a_draft())
        assert await store.lapsed([deleted.lease, successor.lease]) == [deleted.lease]
        assert await store.note(deleted.lease, T0, state_json="{}") is False
        assert await settle(store, deleted.lease, REFUSED) == Settled(False)
        assert await get(store, successor.job.job_id) == successor.job

    async def test_a_batch_answers_in_order_and_applies_what_holds(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(40)])
        claims = await claim(store)
        gone = {claims[index].job.job_id for index in (0, 17, 39)}
        await store.cancel(only(*gone), T0)
        answers = await store.settle([Settlement(one.lease, DONE) for one in claims], T0)
        assert [answer.applied for answer in answers] == [one.job.job_id not in gone for one in claims]
        statuses = {job.job_id: job.status for job in await everything(store)}
        assert all((status is Status.CANCELLED) == (job_id in gone) for job_id, status in statuses.items())

    async def test_the_first_settlement_of_a_lease_in_a_batch_wins(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        batch = [Settlement(claimed.lease, put_off(claimed.job.job_id, T0)), Settlement(claimed.lease, DONE)]
        assert [answer.applied for answer in await store.settle(batch, T0)] == [True, False]
        assert (await get(store, claimed.job.job_id)).status is Status.RATE_LIMITED

    async def test_an_empty_batch_settles_nothing(self, store: Store) -> None:
        assert await store.settle([], T0) == []

    async def test_a_pause_is_stored_in_the_same_step_as_the_end_that_asks_for_it(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        settled = await settle(store, claimed.lease, put_off(claimed.job.job_id, T0, retry_after_s=90), T0)
        assert settled.window is not None
        assert (settled.window.scope, settled.window.until, settled.window.set_by) == ("lane", T0 + 90, claimed.job.job_id)
        assert await window_of(store) == settled.window

    async def test_a_burst_of_rate_limits_leaves_the_longest_pause(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(3)])
        claims = await claim(store)
        ends = [put_off(one.job.job_id, T0, retry_after_s=hint) for one, hint in zip(claims, (30, 120, 60), strict=True)]
        answers = await store.settle([Settlement(one.lease, end) for one, end in zip(claims, ends, strict=True)], T0)
        assert [answer.window.until for answer in answers if answer.window] == [T0 + 30, T0 + 120, T0 + 120]
        window = await window_of(store)
        assert window is not None
        assert (window.until, window.set_by) == (T0 + 120, claims[1].job.job_id)


class Notes:
    async def test_progress_and_checkpoint_are_kept_each_on_its_own(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.report([(claimed.lease, '{"percent": 1.0}')], T0)
        assert await store.note(claimed.lease, T0, state_json='{"page": 1}') is True
        job = await get(store, claimed.job.job_id)
        assert (job.progress_json, job.state_json) == ('{"percent": 1.0}', '{"page": 1}')
        await store.report([(claimed.lease, '{"percent": 2.0}')], T0)
        await store.note(claimed.lease, T0, state_json='{"page": 2}')
        job = await get(store, claimed.job.job_id)
        assert (job.progress_json, job.state_json) == ('{"percent": 2.0}', '{"page": 2}')

    async def test_the_progress_of_many_is_one_report(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(60)])
        claims = await claim(store, want(limit=60))
        await settle(store, claims[7].lease, DONE)
        await store.report([(one.lease, f'{{"percent": {place}.0}}') for place, one in enumerate(claims)], T0)
        await store.report([], T0)
        seen = {job.seq: job.progress for job in await everything(store)}
        for place, one in enumerate(claims):
            progress = seen[one.lease.seq]
            assert (None if progress is None else progress.percent) == (None if place == 7 else float(place))

    async def test_the_next_attempt_gets_the_checkpoint(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.note(claimed.lease, T0, state_json='{"page": 3}')
        await settle(store, claimed.lease, HANDED_BACK)
        assert (await claim_one(store)).job.state == {"page": 3}

    async def test_a_late_note_changes_nothing(self, store: Store) -> None:
        first = await started(store, a_draft())
        await settle(store, first.lease, HANDED_BACK)
        assert await store.note(first.lease, T0, state_json="{}") is False
        second = await claim_one(store)
        await store.report([(first.lease, "{}")], T0)
        assert await get(store, first.job.job_id) == second.job

    async def test_leases_that_no_longer_hold_are_told(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(5)])
        held, ended, cancelled, taken, also_held = await claim(store, want(limit=5))
        await settle(store, ended.lease, DONE)
        await store.cancel(only(cancelled.job.job_id), T0)
        await settle(store, taken.lease, HANDED_BACK)
        await claim_one(store)
        leases = [one.lease for one in (held, ended, cancelled, taken, also_held)]
        assert await store.lapsed(leases) == [ended.lease, cancelled.lease, taken.lease]
        assert await store.lapsed([]) == []


class Settling(WhatAnEndWrites, TheGuard, Notes):
    """An attempt's end."""
