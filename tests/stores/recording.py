"""Contract, what long jobs record of their items, and what becomes of it."""

from __future__ import annotations

from scheduler.job import TERMINAL, Item, Ledger, Status, Transition
from scheduler.stores.base import Store
from tests.stores.acts import DONE, REFUSED, claim_one, finished, get, only, put, settle, started
from tests.support.jobs import T0, a_draft

PASS = Ledger("items", 4, 2, 1, 1, '{"words":3}')
GOOD = Item(0, "a", True, None, '"A"')
BAD = Item(1, "b", False, "cannot")


class Recording:
    async def test_outcomes_the_stand_of_the_pass_and_progress_are_one_write(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        assert await store.record(claimed.lease, PASS, [GOOD, BAD], T0, progress_json='{"percent":50.0}')
        job_id = claimed.job.job_id
        assert await store.ledgers(job_id) == [PASS]
        assert (PASS.counters, GOOD.value, BAD.value) == ({"words": 3}, "A", None)
        assert await store.items(job_id, "items") == [GOOD, BAD]
        job = await get(store, job_id)
        assert job.progress is not None
        assert (job.status, job.progress.percent, job.token) == (Status.PROCESSING, 50.0, claimed.lease.token)

    async def test_later_records_add_and_replace(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.record(claimed.lease, PASS, [GOOD, BAD], T0)
        later = PASS._replace(next=4, done=4, failed=0)
        assert await store.record(claimed.lease, later, [Item(3, "d", True), BAD._replace(ok=True, error=None)], T0 + 1)
        assert await store.record(claimed.lease, Ledger("more", None, 0, 0, 0), [], T0 + 2)
        assert await store.ledgers(claimed.job.job_id) == [later, Ledger("more", None, 0, 0, 0)]
        assert [(item.position, item.ok) for item in await store.items(claimed.job.job_id, "items")] == [(0, True), (1, True), (3, True)]
        assert await store.items(claimed.job.job_id, "more") == []

    async def test_many_items_at_once(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        items = [Item(position, f"k{position}", position % 7 != 0, None, str(position)) for position in range(1_000)]
        await store.record(claimed.lease, Ledger("items", None, 1_000, 857, 143), items, T0)
        assert await store.items(claimed.job.job_id, "items") == items

    async def test_whoever_lost_the_lease_records_nothing(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, Transition(Status.PENDING, "interrupted", refund=True))
        assert not await store.record(claimed.lease, PASS, [GOOD], T0, progress_json='{"percent":9.0}')
        assert await store.ledgers(claimed.job.job_id) == []
        assert await store.items(claimed.job.job_id, "items") == []
        assert (await get(store, claimed.job.job_id)).progress is None

    async def test_items_come_in_pages_and_by_outcome(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        again = Item(2, "c", None)
        await store.record(claimed.lease, PASS, [GOOD, BAD, again], T0)
        job_id = claimed.job.job_id
        assert await store.items(job_id, "items", ok=frozenset({False})) == [BAD]
        assert await store.items(job_id, "items", ok=frozenset({None, True})) == [GOOD, again]
        assert await store.items(job_id, "items", ok=frozenset()) == []
        assert await store.items(job_id, "items", after=0, limit=1) == [BAD]
        assert await store.items(job_id, "items", ok=frozenset({None, False}), after=1) == [again]

    async def test_a_job_that_gets_on_is_none_that_only_crashes(self, store: Store) -> None:
        lost = Transition(Status.PENDING, "worker_lost", "lost", refund=True, crashed=True)
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, lost)
        claimed = await claim_one(store)
        await store.record(claimed.lease, PASS, [], T0)
        await store.report([(claimed.lease, '{"percent":1.0}')], T0)
        assert (await get(store, claimed.job.job_id)).crashes == 1
        await store.record(claimed.lease, PASS, [GOOD], T0)
        assert (await get(store, claimed.job.job_id)).crashes == 0
        await settle(store, claimed.lease, lost)
        claimed = await claim_one(store)
        assert claimed.job.crashes == 1
        await store.note(claimed.lease, T0, state_json="1")
        assert (await get(store, claimed.job.job_id)).crashes == 0
        await settle(store, claimed.lease, lost)
        claimed = await claim_one(store)
        await store.note(claimed.lease, T0, state_json="1")
        assert (await get(store, claimed.job.job_id)).crashes == 1, "it stands where it stood"

    async def test_an_unknown_job_has_no_ledger(self, store: Store) -> None:
        assert await store.ledgers("nobody") == []
        assert await store.items("nobody", "items") == []

    async def test_a_retry_keeps_what_is_done_and_tries_again_what_failed(self, store: Store) -> None:
        job_id = await self._failed(store)
        assert len(await store.retry(only(job_id), T0 + 9)) == 1
        assert await store.ledgers(job_id) == [PASS._replace(failed=0)]
        assert await store.items(job_id, "items") == [GOOD, Item(1, "b", None)]
        assert (await get(store, job_id)).state == 7

    async def test_a_restart_forgets_ledgers_and_checkpoint(self, store: Store) -> None:
        job_id = await self._failed(store)
        assert len(await store.retry(only(job_id), T0 + 9, restart=True)) == 1
        assert await store.ledgers(job_id) == []
        assert await store.items(job_id, "items") == []
        assert (await get(store, job_id)).state is None

    async def test_a_job_that_completed_keeps_its_ledger_until_it_is_pruned(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.record(claimed.lease, PASS, [GOOD, BAD], T0)
        await settle(store, claimed.lease, DONE)
        assert await store.items(claimed.job.job_id, "items") == [GOOD, BAD]
        assert await store.prune(TERMINAL, T0 + 1_000, 10) == 1
        assert await store.ledgers(claimed.job.job_id) == []
        await put(store, a_draft(job_id=claimed.job.job_id))  # nothing of the old one sticks to a new one of its name
        assert await store.items(claimed.job.job_id, "items") == []

    async def _failed(self, store: Store) -> str:
        claimed = await started(store, a_draft())
        await store.note(claimed.lease, T0, state_json="7")
        await store.record(claimed.lease, PASS, [GOOD, BAD], T0)
        await settle(store, claimed.lease, REFUSED)
        other = await finished(store, a_draft("other"), REFUSED)
        assert other.job_id != claimed.job.job_id
        return claimed.job.job_id
