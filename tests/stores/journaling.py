"""Contract, the journal: exactly one entry for each change, in the order of commits, read by owner, by job, in pages."""

from __future__ import annotations

from typing import Any

from scheduler.job import TERMINAL, Draft, Item, Ledger, Status, Transition
from scheduler.stores.base import JobQuery, Store
from tests.stores.acts import DONE, REFUSED, claim_one, finished, get, only, put, settle, started, want
from tests.support.jobs import T0, a_draft, put_off

FAR = float("inf")


async def told(store: Store, **which: Any) -> list[str]:
    return [entry.name for entry in await store.journal(0, **which)]


class Journaling:
    async def test_a_life_is_told_change_by_change(self, store: Store) -> None:
        claimed = await started(store, a_draft(owner="ada", batch="b"))
        await settle(store, claimed.lease, Transition(Status.RETRY_AI, "provider_error", "no luck", run_after=T0 + 9))
        claimed = await claim_one(store, now=T0 + 10)
        await settle(store, claimed.lease, Transition(Status.PENDING, "interrupted", refund=True))
        claimed = await claim_one(store, now=T0 + 11)
        await settle(store, claimed.lease, Transition(Status.PENDING, "worker_lost", refund=True, crashed=True))
        claimed = await claim_one(store, now=T0 + 12)
        await settle(store, claimed.lease, REFUSED, T0 + 13)
        await store.retry(only(claimed.job.job_id), T0 + 14)
        claimed = await claim_one(store, now=T0 + 15)
        await settle(store, claimed.lease, DONE, T0 + 16)
        entries = await store.journal(0)
        assert [entry.name.removeprefix("job.") for entry in entries] == [
            "enqueued", "started", "retrying", "started", "interrupted", "started", "lost", "started", "failed",
            "requeued", "started", "completed",
        ]  # fmt: skip
        numbers = [entry.id for entry in entries]
        assert numbers == sorted(set(numbers))
        job = claimed.job
        whose = {
            (entry.seq, entry.job_id, entry.task_type, entry.target_type, entry.target_id, entry.owner, entry.batch) for entry in entries
        }
        assert whose == {(job.seq, job.job_id, "lane", "code_entity", "1", "ada", "b")}
        retrying, failed = entries[2], entries[8]
        assert (retrying.status, retrying.reason, retrying.error, retrying.attempt) == ("retry_ai", "provider_error", "no luck", 1)
        assert retrying.detail == {"run_after": T0 + 9}
        assert retrying.worker == "worker"
        assert (entries[3].name, entries[3].reason, entries[3].error) == ("job.started", None, None)
        assert (failed.status, failed.reason, failed.at, failed.is_end) == ("failed_ai", "auth", T0 + 13, True)
        assert (entries[0].at, entries[1].at, entries[-1].at) == (T0, T0, T0 + 16)

    async def test_cancelling_and_giving_up_are_told(self, store: Store) -> None:
        await put(store, a_draft(job_id="one"))
        await finished(store, a_draft("other", job_id="two"), put_off("two", T0 + 30, "other"))
        await store.cancel(only("one"), T0 + 1)
        gone = Transition(Status.FAILED_AI, "gave_up_waiting", refund=True)
        await store.give_up(JobQuery(statuses=frozenset({Status.RATE_LIMITED}), newest_first=False), lambda job: gone, T0 + 2)
        ends = [(entry.job_id, entry.name, entry.reason) for entry in await store.journal(0) if entry.is_end]
        assert ends == [("one", "job.cancelled", "cancelled"), ("two", "job.failed", "gave_up_waiting")]

    async def test_progress_is_told_and_checkpoints_are_not(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.note(claimed.lease, T0, state_json="1")
        await store.report([(claimed.lease, '{"percent":10.0}')], T0)
        await store.report([(claimed.lease, '{"percent":10.0}')], T0)
        await store.record(
            claimed.lease, Ledger("items", 2, 1, 1, 0), [Item(0, "a", True)], T0, progress_json='{"percent":50.0,"at":1.5,"name":"x"}'
        )
        await store.record(claimed.lease, Ledger("items", 2, 1, 1, 0), [], T0)
        entries = await store.journal(0)
        assert [entry.detail["percent"] for entry in entries if entry.name == "job.progress"] == [10.0, 50.0]
        assert len(entries) == 4

    async def test_a_job_paused_by_hand_is_told(self, store: Store) -> None:
        await put(store, a_draft(job_id="one"))
        await store.hold(only("one"), FAR, T0)
        await store.unhold(only("one"), T0)
        assert await told(store) == ["job.enqueued", "job.paused", "job.resumed"]

    async def test_pauses_and_probes_are_told_once(self, store: Store) -> None:
        claimed = await started(store, a_draft(job_id="one"))
        await settle(store, claimed.lease, put_off("one", T0, retry_after_s=30))
        await store.pause("other", FAR, T0)
        await store.pause("other", FAR, T0)
        probe = await claim_one(store, want(limit=1), now=T0 + 31)
        await settle(store, probe.lease, DONE, T0 + 32)
        await store.resume("other", T0 + 33)
        await store.resume("other", T0 + 33)
        lanes = [(entry.name, entry.detail["scope"]) for entry in await store.journal(0) if entry.seq is None]
        assert lanes == [
            ("lane.paused", "lane"),
            ("lane.paused", "other"),
            ("lane.probing", "lane"),
            ("lane.resumed", "lane"),
            ("lane.resumed", "other"),
        ]
        paused = next(entry for entry in await store.journal(0) if entry.name == "lane.paused")
        assert (paused.detail["until"], paused.reason, paused.detail["set_by"], paused.job_id) == (T0 + 30, "rate_limited", "one", None)

    async def test_it_is_read_in_pages_by_owner_and_by_job(self, store: Store) -> None:
        await put(store, a_draft(job_id="ada1", owner="ada"), a_draft(job_id="eve1", owner="eve"), a_draft(job_id="none"))
        await store.pause("lane", FAR, T0)
        await put(store, a_draft(job_id="ada2", owner="ada"))
        entries = await store.journal(0)
        assert [entry.job_id for entry in entries] == ["ada1", "eve1", "none", None, "ada2"]
        assert await store.journal(entries[1].id, limit=2) == entries[2:4]
        assert await store.journal(0, upto=entries[1].id) == entries[:2]
        assert await store.journal(0, owners=frozenset({"ada"})) == [entries[0], entries[4]]
        assert await store.journal(0, owners=frozenset({"ada", "eve"}), limit=2) == entries[:2]
        assert await store.journal(0, owners=frozenset()) == []
        seq = entries[1].seq
        assert await store.journal(0, seq=seq) == [entries[1]]
        assert await store.journal(entries[1].id, seq=seq) == []
        assert await store.journal(0, seq=seq, owners=frozenset({"ada"})) == []

    async def test_numbers_are_never_used_again(self, store: Store) -> None:
        assert await store.journal_span() == (1, 0)
        await put(store, a_draft(), a_draft())
        first, last = await store.journal_span()
        assert (first, last - first) == (1, 1)
        assert await store.prune_journal(T0 + 1_000, T0, 10) == 2
        assert await store.journal_span() == (last + 1, last)
        await put(store, a_draft())
        assert [entry.id > last for entry in await store.journal(0)] == [True]

    async def test_what_is_old_is_forgotten_in_portions(self, store: Store) -> None:
        for second in range(5):
            await put(store, a_draft(), now=T0 + second)
        assert await store.prune_journal(T0 + 3, T0, 2) == 2
        assert await store.prune_journal(T0 + 3, T0, 2) == 1
        assert await store.prune_journal(T0 + 3, T0, 2) == 0
        assert [entry.at for entry in await store.journal(0)] == [T0 + 3, T0 + 4]

    async def test_of_progress_the_newest_stays(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        other = await started(store, a_draft("other"))
        for percent in range(1, 6):
            await store.report([(claimed.lease, f'{{"percent":{percent}}}')], T0)
        await store.report([(other.lease, '{"percent":1}')], T0)
        assert await store.prune_journal(T0 - 1, 9e9, 100) == 4
        kept = [(entry.seq, entry.detail["percent"]) for entry in await store.journal(0) if entry.name == "job.progress"]
        assert kept == [(claimed.job.seq, 5), (other.job.seq, 1)]

    async def test_entries_leave_with_their_job(self, store: Store) -> None:
        await finished(store, a_draft())
        stays: Draft = a_draft(job_id="stays")
        await put(store, stays)
        assert await store.prune(TERMINAL, T0 + 1_000, 10) == 1
        assert [entry.job_id for entry in await store.journal(0)] == ["stays"]
        assert (await get(store, "stays")).status is Status.PENDING

    async def test_what_was_refused_leaves_nothing(self, store: Store) -> None:
        await put(store, a_draft(unique_key="k"))
        await put(store, a_draft(unique_key="k"))
        claimed = await claim_one(store)
        await settle(store, claimed.lease, DONE)
        assert not (await settle(store, claimed.lease, REFUSED)).applied
        assert await told(store) == ["job.enqueued", "job.started", "job.completed"]
