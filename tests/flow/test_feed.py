"""The feed: every follower gets each entry once and in order, from wherever it begins, however slow it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest

from scheduler.clock import LoopClock
from scheduler.errors import StoreBusyError
from scheduler.events import Events, ServiceStarted
from scheduler.feed import AGAIN_S, BUFFER, PAGE, POLL_S, Feed, Follower
from scheduler.journal import Entry
from scheduler.stores.memory import MemoryStore
from tests.stores.acts import DONE, put, settle, started
from tests.support.jobs import T0, a_draft
from tests.support.virtual_time import in_virtual_time


@asynccontextmanager
async def running(store: MemoryStore) -> AsyncIterator[Feed]:
    feed = Feed(store, Events(), LoopClock())
    async with anyio.create_task_group() as group:
        group.start_soon(feed.run)
        yield feed
        group.cancel_scope.cancel()


async def taken(follower: Follower, count: int) -> list[int]:
    """The numbers of the next ``count`` entries; fails if they do not come."""
    found: list[Entry] = []
    with anyio.fail_after(60):
        while len(found) < count:
            found += await follower.next()
    return [entry.id for entry in found]


async def nothing_comes(follower: Follower) -> bool:
    with anyio.move_on_after(5):
        return not await follower.next()
    return True


@in_virtual_time
async def test_without_a_beginning_it_begins_now() -> None:
    store = MemoryStore()
    await put(store, a_draft(), a_draft())
    async with running(store) as feed, feed.follow() as follower:
        await put(store, a_draft())
        assert await taken(follower, 1) == [3]
        assert await nothing_comes(follower)


@in_virtual_time
async def test_it_goes_on_behind_what_was_seen_last() -> None:
    store = MemoryStore()
    await put(store, *[a_draft() for _ in range(PAGE + 7)])
    async with running(store) as feed, feed.follow(after=3) as follower:
        assert not follower.missed
        assert await taken(follower, PAGE + 4) == list(range(4, PAGE + 8))
        await put(store, a_draft())
        assert await taken(follower, 1) == [PAGE + 8]


@in_virtual_time
async def test_a_job_is_followed_from_its_first_entry_on() -> None:
    store = MemoryStore()
    await put(store, a_draft("other"))
    claimed = await started(store, a_draft())
    async with running(store) as feed, feed.follow(seq=claimed.job.seq) as follower:
        await put(store, a_draft("other"))
        await settle(store, claimed.lease, DONE)
        assert await taken(follower, 3) == [2, 3, 5]
        assert await nothing_comes(follower)


@in_virtual_time
async def test_an_owner_gets_its_own_and_the_store_is_asked_for_no_more() -> None:
    store = MemoryStore()
    asked: list[frozenset[str] | None] = []
    read = store.journal

    async def journal(after: int, *, owners: frozenset[str] | None = None, **more: int | None) -> list[Entry]:
        asked.append(owners)
        return await read(after, owners=owners, **more)  # type: ignore[arg-type]

    store.journal = journal  # type: ignore[method-assign]
    async with running(store) as feed, feed.follow(owner="ada") as ada, feed.follow(owner="eve", task_types=["lane"]) as eve:
        await put(store, a_draft(owner="ada"), a_draft(owner="eve"), a_draft(), a_draft("other", owner="eve"))
        assert await taken(ada, 1) == [1]
        assert await taken(eve, 1) == [2]
        assert await nothing_comes(ada)
        assert await nothing_comes(eve)
    assert None not in asked


@in_virtual_time
async def test_who_is_too_slow_reads_what_it_missed_and_holds_little_memory() -> None:
    store = MemoryStore()
    async with running(store) as feed, feed.follow() as slow, feed.follow() as quick:
        assert await nothing_comes(slow)
        for _ in range(10):
            await put(store, *[a_draft() for _ in range(BUFFER // 2)])
            await taken(quick, BUFFER // 2)
            assert len(slow._buffer) <= BUFFER
        assert await taken(slow, 5 * BUFFER) == list(range(1, 5 * BUFFER + 1))
        await put(store, a_draft())
        assert await taken(slow, 1) == await taken(quick, 1)


@in_virtual_time
async def test_what_is_kept_no_more_is_announced() -> None:
    store = MemoryStore()
    await put(store, *[a_draft() for _ in range(10)])
    await store.prune_journal(T0 + 1, T0, 5)
    async with running(store) as feed:
        for after, missed in ((1, True), (4, True), (5, False), (10, False), (11, True)):
            async with feed.follow(after=after) as follower:
                assert follower.missed is missed, after
                if after < 10:
                    assert await taken(follower, 1) >= [6]
        async with feed.follow(after=11) as follower:  # another store's number
            await put(store, a_draft())
            assert await taken(follower, 1) == [11]


@in_virtual_time
async def test_another_process_is_noticed_within_the_poll() -> None:
    store = MemoryStore()
    async with running(store) as feed, feed.follow() as follower:
        assert await nothing_comes(follower)
        await put(store, a_draft())  # no event of this process tells of it
        with anyio.fail_after(2 * POLL_S):
            assert await follower.next()


@in_virtual_time
async def test_nobody_asks_the_store_while_nobody_follows() -> None:
    store = MemoryStore()
    asked = 0

    async def span() -> tuple[int, int]:
        nonlocal asked
        asked += 1
        return 1, 0

    store.journal_span = span  # type: ignore[method-assign]
    async with running(store) as feed:
        feed._events.emit(ServiceStarted(T0, "worker"))
        await anyio.sleep(60)
        assert asked == 0


@in_virtual_time
async def test_a_store_that_is_away_is_asked_again() -> None:
    store = MemoryStore()
    span = store.journal_span
    async with running(store) as feed, feed.follow() as follower:
        assert await nothing_comes(follower)

        async def away() -> tuple[int, int]:
            raise StoreBusyError("away")

        store.journal_span = away  # type: ignore[method-assign]
        await put(store, a_draft())
        await anyio.sleep(3)
        store.journal_span = span  # type: ignore[method-assign]
        with anyio.fail_after(2 * AGAIN_S):
            assert await taken(follower, 1) == [1]


@pytest.mark.parametrize("seed", range(8))
def test_whoever_comes_and_goes_has_seen_everything_once(seed: int) -> None:
    """Readers of different owners and speeds join, leave and come back while jobs are stored: nothing is missed or seen twice."""

    @in_virtual_time
    async def walk() -> None:
        rng = Random(seed)
        store = MemoryStore()
        done = anyio.Event()

        async def write() -> None:
            for _ in range(40):
                await put(store, *[a_draft(owner=rng.choice([None, "ada", "eve"])) for _ in range(rng.choice([1, 3, 3, PAGE, BUFFER]))])
                await anyio.sleep(rng.choice([0.0, 0.01, 0.3]))
            done.set()

        async def read(feed: Feed, owner: str | None, pace_s: float) -> None:
            seen: list[int] = []
            last = 0
            while not (done.is_set() and last == expected(owner)[-1]):
                async with feed.follow(owner=owner, after=last) as follower:
                    for _ in range(rng.randint(1, 6)):
                        with anyio.move_on_after(1):
                            page = await follower.next()
                            seen += [entry.id for entry in page]
                            last = seen[-1]
                        await anyio.sleep(pace_s)
            assert seen == expected(owner)

        def expected(owner: str | None) -> list[int]:
            return [entry.id for entry in store._journal._entries.values() if owner is None or entry.owner == owner] or [0]

        async with running(store) as feed, anyio.create_task_group() as group:
            group.start_soon(write)
            for owner in (None, "ada", "eve"):
                for pace_s in (0.0, 0.05, 1.0):
                    group.start_soon(read, feed, owner, pace_s)

    walk()


@in_virtual_time
async def test_who_joins_while_the_store_is_asked_for_others_misses_nothing() -> None:
    store = MemoryStore()
    read, held = store.journal, anyio.Event()

    async def journal(after: int, *, owners: frozenset[str] | None = None, **more: int | None) -> list[Entry]:
        found = await read(after, owners=owners, **more)  # type: ignore[arg-type]
        if owners == {"ada"} and found:
            await held.wait()
        return found

    async with running(store) as feed, feed.follow(owner="ada") as ada:
        assert await nothing_comes(ada)
        store.journal = journal  # type: ignore[method-assign]
        await put(store, a_draft(owner="ada"), a_draft(owner="eve"))
        await anyio.sleep(1)
        async with feed.follow(owner="eve", after=1) as eve:
            eve.position = 0
            assert await nothing_comes(eve)
            held.set()
            assert await taken(eve, 1) == [2]
            assert await taken(ada, 1) == [1]
