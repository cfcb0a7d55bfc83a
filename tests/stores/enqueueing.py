"""Contract, jobs in: batches, unique keys, freshness."""

from __future__ import annotations

import pytest

from scheduler.errors import StoreError
from scheduler.job import Draft, Receipt, Status
from scheduler.stores.base import Store
from tests.stores.acts import REFUSED, claim, everything, find, finished, get, ids, only, put, started, want
from tests.stores.model import NOT_KEPT
from tests.support.jobs import T0, a_draft

LARGEST = 2**63 - 1


class UniqueKeys:
    async def test_an_unfinished_job_stands_for_all_that_have_its_key(self, store: Store) -> None:
        first = a_draft(unique_key="key")
        await put(store, first)
        again = await put(store, a_draft(unique_key="key"), a_draft("other lane", unique_key="key"))
        assert again == [Receipt(first.job_id, created=False)] * 2
        assert ids(await everything(store)) == [first.job_id]

    async def test_owners_do_not_meet_in_a_key(self, store: Store) -> None:
        drafts = [a_draft(unique_key="key", owner=owner) for owner in ("ada", "grace", None)]
        assert await put(store, *drafts) == [Receipt(draft.job_id) for draft in drafts]
        assert await put(store, a_draft(unique_key="key", owner="grace")) == [Receipt(drafts[1].job_id, created=False)]

    async def test_owners_do_not_meet_in_a_result(self, store: Store) -> None:
        done = await finished(store, a_draft(fingerprint="v1", owner="ada"))
        assert await put(store, theirs := a_draft(fingerprint="v1", owner="grace")) == [Receipt(theirs.job_id)]
        assert await put(store, a_draft(fingerprint="v1", owner="ada")) == [Receipt(done.job_id, created=False, unchanged=True)]

    async def test_a_key_holds_within_one_batch(self, store: Store) -> None:
        first, second = a_draft(unique_key="key"), a_draft(unique_key="key")
        assert await put(store, first, second) == [Receipt(first.job_id), Receipt(first.job_id, created=False)]

    async def test_a_running_job_has_its_key(self, store: Store) -> None:
        running = await started(store, a_draft(unique_key="key"))
        (receipt,) = await put(store, a_draft(unique_key="key"))
        assert receipt == Receipt(running.job.job_id, created=False)

    async def test_force_does_not_break_a_key(self, store: Store) -> None:
        await put(store, a_draft(unique_key="key"))
        (receipt,) = await put(store, a_draft(unique_key="key", force=True))
        assert not receipt.created

    async def test_a_finished_job_gives_its_key_back(self, store: Store) -> None:
        await finished(store, a_draft(unique_key="key"))
        second, third = a_draft(unique_key="key"), a_draft(unique_key="key")
        assert await put(store, second) == [Receipt(second.job_id)]
        await store.cancel(only(second.job_id), T0)
        assert await put(store, third) == [Receipt(third.job_id)]

    async def test_jobs_without_a_key_are_all_different(self, store: Store) -> None:
        receipts = await put(store, a_draft(), a_draft(), a_draft())
        assert all(receipt.created for receipt in receipts)


class Freshness:
    async def test_an_unchanged_target_is_not_enriched_again(self, store: Store) -> None:
        made = await finished(store, a_draft(fingerprint="v1"))
        (receipt,) = await put(store, a_draft(fingerprint="v1"))
        assert receipt == Receipt(made.job_id, created=False, unchanged=True)
        assert ids(await everything(store)) == [made.job_id]

    async def test_a_changed_target_is_enriched_again_and_then_is_the_one_that_counts(self, store: Store) -> None:
        await finished(store, a_draft(fingerprint="v1"))
        newer = await finished(store, a_draft(fingerprint="v2"))
        assert await put(store, a_draft(fingerprint="v2")) == [Receipt(newer.job_id, created=False, unchanged=True)]
        assert (await put(store, a_draft(fingerprint="v1")))[0].created

    @pytest.mark.parametrize("different", [{"task_type": "other"}, {"target_type": "other"}, {"target_id": "other"}])
    async def test_freshness_is_of_one_target_of_one_task(self, store: Store, different: dict[str, str]) -> None:
        await finished(store, a_draft(fingerprint="v1"))
        assert (await put(store, a_draft(**different, fingerprint="v1")))[0].created

    async def test_force_runs_an_unchanged_target(self, store: Store) -> None:
        await finished(store, a_draft(fingerprint="v1"))
        (receipt,) = await put(store, a_draft(fingerprint="v1", force=True))
        assert receipt.created

    async def test_a_job_under_way_stands_for_the_same_result(self, store: Store) -> None:
        first, second = a_draft(fingerprint="v1"), a_draft(fingerprint="v1")
        assert await put(store, first, second) == [Receipt(first.job_id), Receipt(first.job_id, created=False)]
        await claim(store, want())
        assert await put(store, a_draft(fingerprint="v1")) == [Receipt(first.job_id, created=False)]
        assert (await put(store, a_draft(fingerprint="v2")))[0].created

    async def test_a_failure_does_not_make_a_target_fresh(self, store: Store) -> None:
        await finished(store, a_draft(fingerprint="v1"), REFUSED)
        assert (await put(store, a_draft(fingerprint="v1")))[0].created

    async def test_freshness_survives_pruning(self, store: Store) -> None:
        made = await finished(store, a_draft(fingerprint="v1"))
        assert await store.prune(frozenset({Status.COMPLETED}), T0 + 1, 10) == 1
        assert await put(store, a_draft(fingerprint="v1")) == [Receipt(made.job_id, created=False, unchanged=True)]

    async def test_jobs_without_a_fingerprint_always_run(self, store: Store) -> None:
        await finished(store, a_draft())
        (receipt,) = await put(store, a_draft())
        assert receipt.created


class Enqueueing(UniqueKeys, Freshness):
    async def test_an_enqueued_job_is_pending_and_has_what_its_draft_said(self, store: Store) -> None:
        draft = a_draft(
            payload_json='{"name": "Zoë 🦉", "lines": "a\\nb"}',
            target_id="src/größe.py",
            priority=-3,
            run_after=T0 + 1.5,
            unique_key="key",
            owner="owner",
            max_attempts=7,
            timeout_s=2.5,
            fingerprint="print",
            batch="nightly",
        )
        await put(store, draft, now=T0 + 1)
        job = await get(store, draft.job_id)
        asked = [name for name in Draft._fields if name not in NOT_KEPT]
        assert [getattr(job, name) for name in asked] == [getattr(draft, name) for name in asked]
        assert (job.status, job.reason, job.error, job.attempts, job.crashes, job.token) == (Status.PENDING, None, None, 0, 0, 0)
        assert (job.created_at, job.started_at, job.finished_at, job.waiting_since, job.worker) == (T0 + 1, None, None, None, None)
        assert (job.result_json, job.progress_json, job.state_json) == (None, None, None)

    async def test_a_payload_may_be_absent(self, store: Store) -> None:
        draft = a_draft(payload_json=None)
        claimed = await started(store, draft)
        assert claimed.job.payload_json is None

    @pytest.mark.parametrize("priority", [LARGEST, -LARGEST - 1])
    async def test_integers_of_63_bits_are_kept_exactly(self, store: Store, priority: int) -> None:
        claimed = await started(store, a_draft(priority=priority, max_attempts=LARGEST))
        assert (claimed.job.priority, claimed.job.max_attempts) == (priority, LARGEST)

    async def test_text_is_data_and_never_part_of_a_query(self, store: Store) -> None:
        name = "a'b\"c%_;-- \\ \t\n\x7f"
        draft = a_draft(target_id=name, owner=name, unique_key=name, payload_json='{"a": "\'; DROP TABLE jobs"}')
        await put(store, draft)
        assert ids(await find(store, target_id=name, owner=name)) == [draft.job_id]

    async def test_receipts_come_in_the_order_of_the_drafts(self, store: Store) -> None:
        drafts = [a_draft() for _ in range(300)]
        receipts = await put(store, *drafts)
        assert receipts == [Receipt(draft.job_id) for draft in drafts]
        assert ids(await everything(store)) == [draft.job_id for draft in drafts]

    async def test_an_empty_batch_is_nothing(self, store: Store) -> None:
        assert await put(store) == []
        assert await everything(store) == []

    async def test_a_batch_is_stored_whole_or_not_at_all(self, store: Store) -> None:
        taken = a_draft(unique_key="taken")
        await put(store, taken)
        with pytest.raises(StoreError):
            await put(store, a_draft(), a_draft(unique_key="other"), a_draft(job_id=taken.job_id))
        assert ids(await everything(store)) == [taken.job_id]
        assert (await put(store, a_draft(unique_key="other")))[0].created
