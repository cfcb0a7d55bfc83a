"""Whether a last failure is its job's own: what it waits for, and for how long."""

from __future__ import annotations

import asyncio
from functools import partial

import anyio
import pytest

from scheduler.errors import AIProviderError, StoreError
from scheduler.events import Events
from scheduler.health import ALONE_S, WAIT_S, Health
from scheduler.job import Lease, Status, Transition
from scheduler.outcome import Outcome, Raised, Returned
from scheduler.pauses import OUTAGE, PauseWindow
from scheduler.stores.base import Settlement, Want
from scheduler.stores.memory import MemoryStore
from tests.support.jobs import T0, a_draft, a_job, a_request
from tests.support.virtual_time import in_virtual_time

FAILED = Raised(AIProviderError())


class Patient:
    """A pool's health, and how attempts end."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.health = Health(self.store, Events())

    def begin(self, count: int) -> None:
        for _ in range(count):
            self.health.began("main")

    async def end(self, job: int, outcome: Outcome, began_at: float, *, is_last: bool = False) -> bool:
        lease, now = Lease(job, f"job-{job}", 1), anyio.current_time()
        return await self.health.is_outage(
            "main", lease, outcome, now, began_at=began_at, ended_at=began_at + 1.0, is_last=is_last, in_call=False
        )


@in_virtual_time
async def test_it_waits_for_those_about_to_begin_when_all_others_end_at_that_moment() -> None:
    pool = Patient()
    pool.begin(2)
    verdict = asyncio.create_task(pool.end(1, FAILED, 8.0, is_last=True))
    await asyncio.sleep(0)
    await pool.end(2, Returned(None), 4.0)  # sent before the outage began
    await anyio.sleep(0.1)
    pool.begin(3)
    await anyio.sleep(2 * ALONE_S)
    assert not verdict.done()
    assert [await pool.end(number, FAILED, 8.1) for number in (3, 4, 5)] == [False, False, True]
    assert await verdict


@in_virtual_time
async def test_alone_it_is_decided_soon() -> None:
    pool = Patient()
    pool.begin(1)
    assert not await pool.end(1, FAILED, 0.0, is_last=True)
    assert anyio.current_time() <= 1.5 * ALONE_S


@in_virtual_time
async def test_whoever_began_later_and_succeeds_decides_it_at_once() -> None:
    pool = Patient()
    pool.begin(3)
    verdict = asyncio.create_task(pool.end(1, FAILED, 8.0, is_last=True))
    await anyio.sleep(2.0)
    await pool.end(2, Returned(None), 4.0)
    await anyio.sleep(0.1)
    assert not verdict.done(), "that one was sent before"
    await pool.end(3, Returned(None), 8.1)
    assert not await verdict
    assert anyio.current_time() < 2.5


@in_virtual_time
async def test_it_waits_for_others_under_way_no_longer_than_its_limit() -> None:
    pool = Patient()
    pool.begin(2)
    assert not await pool.end(1, FAILED, 0.0, is_last=True)
    assert WAIT_S <= anyio.current_time() <= WAIT_S + 0.5


async def found_elsewhere(store: MemoryStore, reason: str, pool: str = "main") -> None:
    """Another worker closed the pool."""
    draft = a_draft()
    await store.enqueue([draft], T0)
    (claimed,) = (await store.claim([Want("lane", 1, ("lane",))], "another", T0)).claims
    closed = a_request(draft.job_id, f"pool:{pool}", reason=reason)
    end = Transition(Status.RATE_LIMITED, reason, "down", refund=True, waiting_since=T0, pause=closed)
    assert (await store.settle([Settlement(claimed.lease, end)], T0))[0].applied


@in_virtual_time
async def test_what_another_worker_found_to_be_an_outage_is_one_here() -> None:
    pool = Patient()
    pool.begin(2)
    assert not await pool.end(1, FAILED, 0.0)
    await found_elsewhere(pool.store, OUTAGE)
    assert await pool.end(2, FAILED, 0.0)


@in_virtual_time
async def test_a_failure_that_was_given_back_for_an_outage_found_elsewhere_is_not_given_back_again() -> None:
    pool = Patient()
    pool.begin(4)
    await found_elsewhere(pool.store, OUTAGE)
    assert await pool.end(1, FAILED, 0.0)
    await pool.store.resume("pool:main", T0)
    assert [await pool.end(number, FAILED, 0.0) for number in (2, 3)] == [False, False], "the first counts no more"
    assert await pool.end(4, FAILED, 0.0)


@pytest.mark.parametrize(("reason", "closed"), [("rate_limited", "main"), (OUTAGE, "side")])
@in_virtual_time
async def test_no_other_pause_excuses_a_failure(reason: str, closed: str) -> None:
    pool = Patient()
    pool.begin(1)
    await found_elsewhere(pool.store, reason, closed)
    assert not await pool.end(1, FAILED, 0.0)


@in_virtual_time
async def test_a_store_that_cannot_be_asked_excuses_nothing() -> None:
    pool = Patient()
    pool.begin(1)

    async def refuses() -> list[PauseWindow]:
        raise StoreError("busy")

    pool.store.pauses = refuses  # type: ignore[method-assign]
    assert not await pool.end(1, FAILED, 0.0)


@in_virtual_time
async def test_a_provider_is_doubtful_until_somebody_who_began_later_succeeds() -> None:
    pool = Patient()
    pool.begin(2)
    doubts = partial(pool.health.is_doubtful, "main", a_job())
    assert not await pool.end(1, FAILED, 5.0)
    assert doubts(began_at=5.0)
    await pool.end(2, Returned(None), 4.0)
    assert doubts(began_at=5.0)
    await pool.end(3, Returned(None), 6.0)
    assert not doubts(began_at=5.0)
