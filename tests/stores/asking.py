"""Contract, questions: every field of ``JobQuery``, paging, counts, owners."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scheduler.job import TERMINAL, Status, Transition
from scheduler.stores.base import JobQuery, Store, Tally
from tests.stores.acts import DONE, REFUSED, claim, claim_one, everything, find, finished, ids, put, settle, started, want
from tests.support.jobs import T0, a_draft, put_off


async def a_mixed_store(store: Store) -> dict[str, str]:
    """One job of each kind that a query can tell apart; their ids by what they are."""
    done = await finished(store, a_draft("one", owner="ada"), DONE, T0)
    refused = await finished(store, a_draft("two", owner="grace"), REFUSED, T0 + 10)
    running = (await started(store, a_draft("three", target_type="file", target_id="a.py"), T0 + 20)).job
    limited = await finished(store, a_draft("four", job_id="limited"), put_off("limited", T0 + 30, "four"), T0 + 30)
    await put(store, waiting := a_draft("one", target_id="2", run_after=T0 + 10_000), now=T0 + 40)
    named = {"done": done, "refused": refused, "running": running, "limited": limited, "waiting": waiting}
    return {name: job.job_id for name, job in named.items()}


CASES: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"done", "refused", "running", "limited", "waiting"}),
    ({"statuses": frozenset({Status.COMPLETED})}, {"done"}),
    ({"statuses": frozenset({Status.COMPLETED, Status.PENDING})}, {"done", "waiting"}),
    ({"statuses": TERMINAL}, {"done", "refused"}),
    ({"statuses": frozenset()}, set()),
    ({"reasons": frozenset({"auth"})}, {"refused"}),
    ({"reasons": frozenset({"auth", "rate_limited", "timeout"})}, {"refused", "limited"}),
    ({"reasons": frozenset()}, set()),
    ({"task_types": frozenset({"one", "four"})}, {"done", "waiting", "limited"}),
    ({"task_types": frozenset()}, set()),
    ({"target_type": "file"}, {"running"}),
    ({"target_type": "fil"}, set()),
    ({"target_id": "2"}, {"waiting"}),
    ({"owner": "ada"}, {"done"}),
    ({"owner": ""}, set()),
    ({"worker": "worker"}, {"running"}),
    ({"created_after": T0 + 20}, {"running", "limited", "waiting"}),
    ({"created_before": T0 + 20}, {"done", "refused"}),
    ({"created_after": T0 + 5, "created_before": T0 + 35}, {"refused", "running", "limited"}),
    ({"finished_after": T0 + 10}, {"refused"}),
    ({"finished_after": T0 + 10.5}, set()),
    ({"text": "AUTHERR"}, {"refused"}),
    ({"text": "a.py"}, {"running"}),
    ({"text": "LIMIT"}, {"limited"}),
    ({"text": "hre"}, {"running"}),
    ({"text": "a%y"}, set()),
    ({"text": "a_py"}, set()),
    ({"text": "code_entity"}, set()),
    ({"text": "E", "owner": "ada"}, {"done"}),
    ({"waiting_before": T0 + 30}, {"limited"}),
    ({"waiting_before": T0 + 29}, set()),
    ({"statuses": frozenset({Status.COMPLETED}), "owner": "grace"}, set()),
    ({"task_types": frozenset({"one"}), "statuses": frozenset({Status.PENDING}), "target_type": "code_entity"}, {"waiting"}),
    ({"job_ids": ("nobody",)}, set()),
    ({"job_ids": ()}, set()),
]


class Asking:
    @pytest.mark.parametrize(("fields", "expected"), CASES, ids=lambda value: ", ".join(sorted(value)) or "all")
    async def test_every_given_field_must_match(self, store: Store, fields: dict[str, Any], expected: set[str]) -> None:
        job_ids = await a_mixed_store(store)
        found = await find(store, **fields)
        assert set(ids(found)) == {job_ids[name] for name in expected}
        assert sum(tally.count for tally in await store.count(JobQuery(**fields))) == len(expected)

    async def test_text_is_looked_for_wherever_a_job_has_words(self, store: Store) -> None:
        await finished(store, error := a_draft(), Transition(Status.FAILED_AI, "auth", "Größe 50%_off\\now"))
        await put(store, target := a_draft(target_id="50%_off\\NOW"), key := a_draft(unique_key="x50%_off\\nowx"))
        await put(store, kind := a_draft("50%_off\\now"), a_draft(target_id="50 off now", owner="50%_off\\now"))
        assert ids(await find(store, text="50%_OFF\\now", newest_first=False)) == [each.job_id for each in (error, target, key, kind)]
        assert ids(await find(store, text="größe")) == ids(await find(store, text="GRöSSE".replace("SS", "ß"))) == [error.job_id]
        assert await find(store, text="GRÖßE") == []  # beyond A to Z, a letter is itself

    async def test_jobs_are_found_by_name_in_the_order_they_came(self, store: Store) -> None:
        await put(store, *(drafts := [a_draft() for _ in range(5)]))
        wanted = (drafts[3].job_id, "nobody", drafts[1].job_id, drafts[3].job_id)
        assert ids(await find(store, job_ids=wanted, newest_first=False)) == [drafts[1].job_id, drafts[3].job_id]
        assert ids(await find(store, job_ids=wanted)) == [drafts[3].job_id, drafts[1].job_id]

    async def test_the_newest_come_first_unless_asked_otherwise(self, store: Store) -> None:
        await put(store, *(drafts := [a_draft() for _ in range(4)]))
        assert ids(await find(store, limit=2)) == [drafts[3].job_id, drafts[2].job_id]
        assert ids(await find(store, limit=2, newest_first=False)) == [drafts[0].job_id, drafts[1].job_id]
        assert await find(store, limit=0) == []

    @pytest.mark.parametrize("statuses", [None, frozenset({Status.PENDING}), frozenset({Status.CANCELLED})])
    @pytest.mark.parametrize("newest_first", [True, False])
    async def test_pages_neither_skip_nor_repeat(self, store: Store, statuses: frozenset[Status] | None, newest_first: bool) -> None:
        drafts = [a_draft() for _ in range(23)]
        await put(store, *drafts)
        await store.cancel(JobQuery(job_ids=tuple(draft.job_id for draft in drafts[::5])), T0)
        query = JobQuery(statuses=statuses, newest_first=newest_first)
        whole = ids(await store.find(query))
        pages: list[str] = []
        page = replace(query, limit=4)
        while jobs := await store.find(page):
            assert len(jobs) <= 4
            pages += ids(jobs)
            page = replace(page, before_seq=jobs[-1].seq) if newest_first else replace(page, after_seq=jobs[-1].seq)
        assert pages == whole
        assert len(whole) == {None: 23, frozenset({Status.PENDING}): 18, frozenset({Status.CANCELLED}): 5}[statuses]

    async def test_sequence_numbers_grow_in_the_order_of_enqueueing(self, store: Store) -> None:
        await put(store, a_draft(priority=1), a_draft(priority=2))
        await put(store, a_draft(priority=3))
        seqs = [job.seq for job in await everything(store)]
        assert seqs == sorted(set(seqs))

    async def test_counts_are_by_task_type_status_and_reason(self, store: Store) -> None:
        await put(store, a_draft("one"), a_draft("one"), a_draft("two"))
        await finished(store, a_draft("three"), REFUSED)
        await finished(store, a_draft("three"), REFUSED)
        await finished(store, a_draft("three"), Transition(Status.FAILED_AI, "content_filtered", "no"))
        assert set(await store.count(JobQuery())) == {
            Tally("one", Status.PENDING, None, 2),
            Tally("two", Status.PENDING, None, 1),
            Tally("three", Status.FAILED_AI, "auth", 2),
            Tally("three", Status.FAILED_AI, "content_filtered", 1),
        }

    async def test_counts_follow_each_move(self, store: Store) -> None:
        await put(store, a_draft())
        seen = [await store.count(JobQuery())]
        claimed = await claim_one(store)
        seen.append(await store.count(JobQuery()))
        await settle(store, claimed.lease, DONE)
        seen.append(await store.count(JobQuery()))
        await store.prune(TERMINAL, T0 + 1, 10)
        seen.append(await store.count(JobQuery()))
        assert seen == [[Tally("lane", status, None, 1)] for status in (Status.PENDING, Status.PROCESSING, Status.COMPLETED)] + [[]]

    async def test_counts_ignore_limit_and_page(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(5)])
        first, *_, last = await everything(store)
        assert await store.count(JobQuery(limit=1, before_seq=first.seq)) == [Tally("lane", Status.PENDING, None, 5)]
        assert await store.count(JobQuery(target_id="1", limit=1, after_seq=last.seq)) == [Tally("lane", Status.PENDING, None, 5)]

    async def test_an_empty_store_counts_nothing(self, store: Store) -> None:
        assert await store.count(JobQuery()) == []
        assert await everything(store) == []

    async def test_a_foreign_job_looks_exactly_like_a_missing_one(self, store: Store) -> None:
        await put(store, mine := a_draft(owner="ada"), a_draft(owner="grace"), a_draft())
        await claim(store, want(limit=1))
        (job,) = await find(store, owner="ada")
        assert job.job_id == mine.job_id
        assert await find(store, job_ids=(mine.job_id,), owner="grace") == await find(store, job_ids=("nobody",), owner="grace")
        assert sum(tally.count for tally in await store.count(JobQuery(owner="grace"))) == 1

    async def test_asking_changes_nothing(self, store: Store) -> None:
        await a_mixed_store(store)
        before, windows = await everything(store), await store.pauses()
        await store.lanes(T0 + 50)
        await store.count(JobQuery())
        assert (await everything(store), await store.pauses()) == (before, windows)
