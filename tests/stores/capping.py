"""Contract, caps: how many jobs of a task type run at once, all workers together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

import pytest

from scheduler.job import Status, Transition
from scheduler.stores.base import Store
from tests.stores.acts import DONE, claim, find, ids, only, put, settle, want
from tests.stores.pausing import paused_by_provider
from tests.support.jobs import T0, a_draft

HANDED_BACK = Transition(Status.PENDING, "interrupted", refund=True)
LATER = Transition(Status.RETRY_AI, "timeout", "slow", run_after=T0 + 60)


class Capping:
    #: Whether a store that was closed and opened again still has everything.
    durable: ClassVar[bool] = False

    async def test_no_more_run_than_the_cap_whichever_workers_ask(self, store: Store) -> None:
        await put(store, *(drafts := [a_draft() for _ in range(6)]))
        assert ids(await claim(store, want(limit=2, cap=3), worker="ada")) == [draft.job_id for draft in drafts[:2]]
        assert ids(await claim(store, want(limit=2, cap=3), worker="grace")) == [drafts[2].job_id]
        assert await claim(store, want(cap=3), worker="ada") == []

    @pytest.mark.parametrize("end", [DONE, HANDED_BACK, LATER, Transition(Status.FAILED_AI, "auth", "no")], ids=lambda end: end.status)
    async def test_a_job_that_ends_makes_room_however_it_ends(self, store: Store, end: Transition) -> None:
        await put(store, *[a_draft() for _ in range(5)])
        first, _ = await claim(store, want(cap=2))
        await settle(store, first.lease, end)
        assert len(await claim(store, want(cap=2))) == 1

    async def test_a_job_that_is_cancelled_makes_room(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(3)])
        (first,) = await claim(store, want(cap=1))
        await store.cancel(only(first.job.job_id), T0)
        assert len(await claim(store, want(cap=1))) == 1

    async def test_a_lane_at_its_cap_is_short(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(3)], a_draft("other"))
        answer = await store.claim([want(limit=2, cap=1), want("other", 1, cap=1)], "worker", T0)
        assert (len(answer.claims), answer.short) == (2, {"lane"})

    async def test_other_lanes_are_not_held_by_it(self, store: Store) -> None:
        await put(store, *[a_draft(name) for name in ("lane", "lane", "other", "other")])
        claims = await claim(store, want(cap=1), want("other", cap=2), want("lane", cap=1))
        assert [one.job.task_type for one in claims] == ["lane", "other", "other"]

    async def test_a_cap_of_zero_runs_none_and_a_lowered_one_waits(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(5)])
        assert await claim(store, want(cap=0)) == []
        assert len(await claim(store, want(cap=3))) == 3
        assert await claim(store, want(cap=2)) == []

    async def test_a_cap_counts_jobs_that_were_claimed_without_one(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(5)])
        await claim(store, want(limit=2))
        assert len(await claim(store, want(cap=3))) == 1

    async def test_a_probe_needs_room_under_the_cap_too(self, store: Store) -> None:
        await put(store, a_draft())
        await claim(store, want(limit=1, cap=1))
        await paused_by_provider(store)
        assert await claim(store, want(cap=1), now=T0 + 60) == []
        (probe,) = await claim(store, want(cap=2), now=T0 + 60)
        assert probe.lease.probing == ("lane",)

    async def test_a_race_of_workers_never_overshoots(self, make_store: Callable[[], Store]) -> None:
        stores = [make_store() for _ in range(4 if self.durable else 1)]
        for one in stores:
            await one.open()
        try:
            await put(stores[0], *[a_draft(name) for name in ("a", "b") for _ in range(60)])
            for _ in range(8):
                wants = [want("b", 3, cap=4), want("a", 3, cap=7)]
                batches = await asyncio.gather(
                    *(claim(stores[number % len(stores)], *wants[:: 1 if number % 2 else -1], worker=f"w{number}") for number in range(8))
                )
                running = await find(stores[0], statuses=frozenset({Status.PROCESSING}), limit=1_000)
                count = {name: sum(job.task_type == name for job in running) for name in ("a", "b")}
                assert count == {"a": 7, "b": 4}
                for one in [one for batch in batches for one in batch][::2]:
                    assert (await settle(stores[-1], one.lease, DONE)).applied
        finally:
            for one in stores:
                await one.close()
