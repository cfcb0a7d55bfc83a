"""The memory store keeps the contract; and its claims do not pay for rows that they do not touch."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from scheduler.job import Status, Transition
from scheduler.stores.base import JobQuery, Settlement, Store
from scheduler.stores.memory import MemoryStore
from tests.stores.acts import DONE, claim, claim_one, finished, put, settle, started, want
from tests.stores.contract import StoreContract
from tests.support.jobs import T0, a_draft


class TestMemoryStore(StoreContract):
    def store_at(self, folder: Path) -> Store:
        return MemoryStore()


async def test_its_url_is_the_word_that_chooses_it() -> None:
    assert MemoryStore().url == "memory:"


async def test_no_other_process_can_change_it_so_there_is_nobody_to_listen_to(store: Store) -> None:
    assert await store.listen(lambda: None) is None


@pytest.fixture
def make_store() -> Callable[[], Store]:
    return MemoryStore


async def steps_of_a_claim(store: Store) -> int:
    """How many lines of the store run for one claim of five jobs: a cost that no busy machine blurs."""
    lines = 0

    def count(frame: object, event: str, argument: object) -> object:
        nonlocal lines
        lines += event == "line"
        return count

    await put(store, *[a_draft(priority=1) for _ in range(5)])
    await store.lanes(T0)  # looks at what is due, as the dispatcher does before each claim
    before = sys.gettrace()
    sys.settrace(count)  # type: ignore[arg-type]
    try:
        claims = await claim(store, want(limit=5))
    finally:
        sys.settrace(before)
    assert len(claims) == 5
    return lines


@pytest.mark.parametrize("crowd", ["finished", "future", "paused", "other targets", "behind"])
async def test_the_cost_of_a_claim_does_not_grow_with(store: Store, crowd: str) -> None:
    alone = MemoryStore()
    await alone.open()
    if crowd == "finished":
        await put(store, *[a_draft() for _ in range(2_000)])
        await store.settle([Settlement(one.lease, DONE) for one in await claim(store, want(limit=2_000))], T0)
    if crowd == "future":
        await put(store, *[a_draft(run_after=T0 + second) for second in range(1, 2_000)])
    if crowd == "paused":
        await put(store, *[a_draft("paused", priority=9) for _ in range(2_000)])
        await store.pause("paused", T0 + 60, T0)
    if crowd == "behind":
        await put(store, *[a_draft() for _ in range(2_000)])
    if crowd == "other targets":
        await put(store, *[a_draft("other", target_type=str(number)) for number in range(2_000)])
    assert await steps_of_a_claim(store) <= await steps_of_a_claim(alone) + 10


async def test_a_clock_set_back_holds_a_job_until_its_time_comes_again(store: Store) -> None:
    await put(store, a_draft(run_after=T0 + 10))
    assert (await store.lanes(T0 + 10)).ready == {"lane"}
    assert (await store.lanes(T0 + 5)).next_due == T0 + 10
    assert await claim(store, now=T0 + 5) == []
    assert len(await claim(store, now=T0 + 10)) == 1


async def test_jobs_cancelled_and_retried_over_and_over_leave_nothing_behind(store: Store) -> None:
    await put(store, draft := a_draft(run_after=T0 + 1_000), a_draft())
    for _ in range(500):
        await store.cancel(JobQuery(job_ids=(draft.job_id,)), T0)
        await store.retry(JobQuery(job_ids=(draft.job_id,)), T0)
    lane = store._jobs._lanes["lane"]["code_entity", ""]  # type: ignore[attr-defined]
    assert len(lane._later) + len(lane._due) < 100
    assert len(await claim(store)) == 2
    assert await claim(store) == []


async def test_every_verb_lets_other_tasks_run(store: Store) -> None:
    running = await started(store, a_draft("running"))
    await finished(store, a_draft("ended"))
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: store.enqueue([a_draft()], T0),
        lambda: store.lanes(T0),
        lambda: store.claim([want()], "worker", T0),
        lambda: store.note(running.lease, T0, state_json="{}"),
        lambda: store.lapsed([running.lease]),
        lambda: store.settle([Settlement(running.lease, DONE)], T0),
        lambda: store.find(JobQuery()),
        lambda: store.count(JobQuery()),
        lambda: store.cancel(JobQuery(), T0),
        lambda: store.retry(JobQuery(), T0),
        lambda: store.give_up(JobQuery(), lambda job: Transition(Status.FAILED_AI), T0),
        lambda: store.prune(frozenset(Status), T0, 1),
        lambda: store.pause("lane", T0, T0),
        lambda: store.resume("lane", T0),
        lambda: store.pauses(),
        lambda: store.reopen("lane", T0),
        lambda: store.refund([running.lease], T0),
        lambda: store.share("main", lambda document: (None, None), T0),
        lambda: store.shared(),
        lambda: store.workers(),
        lambda: store.dismiss("nobody"),
        lambda: store.take_turn("sweep", "ada", T0, 1.0),
    ]
    for verb in verbs:
        turned: list[bool] = []
        asyncio.get_running_loop().call_soon(turned.append, True)
        await verb()
        assert turned


async def test_a_settled_job_can_be_claimed_again_although_it_was_due_before(store: Store) -> None:
    claimed = await started(store, a_draft())
    for attempt in range(2, 6):
        await settle(store, claimed.lease, Transition(Status.RETRY_AI, "timeout", "slow", run_after=T0))
        claimed = await claim_one(store)
        assert claimed.job.attempts == attempt
