"""Contract, whole or not at all: cancelled callers, concurrent callers, closing and opening again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest
from anyio.lowlevel import checkpoint

from scheduler.job import Receipt, Status
from scheduler.stores.base import JobQuery, Settlement, Store
from tests.stores.acts import DONE, REFUSED, claim, everything, finished, get, ids, put, settle, started, want
from tests.support.jobs import T0, a_draft, put_off

#: Every verb that changes something, on a store with one waiting job ``waiting`` and one failed job.
CHANGES: dict[str, Callable[[Store], Awaitable[object]]] = {
    "enqueue": lambda store: store.enqueue([a_draft("other") for _ in range(20)], T0),
    "claim": lambda store: store.claim([want()], "worker", T0),
    "cancel": lambda store: store.cancel(JobQuery(), T0),
    "retry": lambda store: store.retry(JobQuery(), T0),
    "discard": lambda store: store.discard(JobQuery(), T0),
    "prune": lambda store: store.prune(frozenset({Status.FAILED_AI}), T0 + 1, 10),
    "pause": lambda store: store.pause("lane", T0 + 60, T0),
}


class Keeping:
    #: Whether a store that was closed and opened again still has everything.
    durable: ClassVar[bool] = False

    @pytest.mark.parametrize("verb", sorted(CHANGES))
    @pytest.mark.parametrize("turns", [0, 1, 2, 3])
    async def test_a_cancelled_callers_verb_takes_effect_whole_or_not_at_all(self, store: Store, verb: str, turns: int) -> None:
        await finished(store, a_draft("failed"), REFUSED)
        await put(store, *[a_draft() for _ in range(5)])
        before = (await everything(store), await store.pauses())
        caller = asyncio.ensure_future(CHANGES[verb](store))
        for _ in range(turns):
            await checkpoint()
        caller.cancel()
        await asyncio.wait([caller])
        await store.lanes(T0)  # a store that works in another thread has now seen the end of it
        after = (await everything(store), await store.pauses())
        if after != before:
            assert len(after[0]) == len(before[0]) + {"enqueue": 20, "discard": -1, "prune": -1}.get(verb, 0)
            changed = sum(one not in before[0] for one in after[0])
            assert changed == {"enqueue": 20, "claim": 5, "cancel": 5, "retry": 1}.get(verb, 0)
        (receipt,) = await put(store, a_draft())
        assert receipt.created

    async def test_a_caller_that_is_cancelled_before_it_starts_changes_nothing(self, store: Store) -> None:
        caller = asyncio.ensure_future(store.enqueue([a_draft()], T0))
        caller.cancel()
        await asyncio.wait([caller])
        assert await everything(store) == []

    async def test_many_callers_at_once_each_get_their_own(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(60)])
        batches = await asyncio.gather(*(claim(store, want(limit=5), worker=f"worker-{number}") for number in range(10)))
        claims = [one for batch in batches for one in batch]
        assert len(set(ids(claims))) == len(claims) == 50
        answers = await asyncio.gather(*(store.settle([Settlement(one.lease, DONE)], T0) for one in claims for _ in range(2)))
        assert sum(answer.applied for (answer,) in answers) == 50

    async def test_one_key_asked_for_by_many_makes_one_job(self, store: Store) -> None:
        receipts = await asyncio.gather(*(store.enqueue([a_draft(unique_key="key")], T0) for _ in range(20)))
        assert sum(receipt.created for (receipt,) in receipts) == 1
        assert len({receipt.job_id for (receipt,) in receipts}) == 1

    async def test_a_store_closed_and_opened_again_has_everything(self, make_store: Callable[[], Store]) -> None:
        if not self.durable:
            pytest.skip("this store ends with its process")
        first = make_store()
        await first.open()
        fresh = await finished(first, a_draft("other", fingerprint="v1"))
        running = await started(first, a_draft(unique_key="key", payload_json='{"größe": "🦉"}'))
        await first.note(running.lease, T0, state_json='{"page": 2}')
        await finished(first, a_draft("limited", job_id="off"), put_off("off", T0, "limited"))
        await put(first, a_draft(priority=3, run_after=T0 + 50, owner="ada"), asked := a_draft("asked", request=("key", "body")))
        before = (await everything(first), await first.pauses(), await first.lanes(T0))
        await first.close()

        second = make_store()
        await second.open()
        assert (await everything(second), await second.pauses(), await second.lanes(T0)) == before
        assert (await put(second, a_draft("other", fingerprint="v1")))[0].job_id == fresh.job_id
        assert (await put(second, a_draft(unique_key="key")))[0].job_id == running.job.job_id
        assert (await put(second, a_draft(request=("key", "body")))) == [Receipt(asked.job_id, created=False)]
        assert (await settle(second, running.lease, DONE)).applied
        assert (await get(second, running.job.job_id)).status is Status.COMPLETED
        await second.close()
