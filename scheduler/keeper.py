"""The keeper of pools in this process: a booth for each, and the way to the documents that all workers share.

Nothing is kept here that another worker would need.

Does not belong here: who waits for what (``booth.py``), the arithmetic (``pools/``), what an attempt's end means for its
job (``decide.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import anyio
from anyio.abc import TaskGroup

from scheduler.booth import Booth
from scheduler.clock import Clock
from scheduler.errors import StoreError
from scheduler.events import POOL_EVENTS, Events
from scheduler.pauses import pool_scope
from scheduler.pools.messages import Grant, Limits, Report
from scheduler.pools.quota import Quota, quota_from
from scheduler.stores.base import Store


class Keeper:
    """All pools of this process."""

    def __init__(
        self,
        store: Store,
        limits_of: Callable[[str], Limits],
        events: Events,
        clock: Clock,
        rng: Random,
        worker: str,
        on_room: Callable[[], None],
        on_reopened: Callable[[], None],
    ) -> None:
        self._store = store
        self._limits_of = limits_of
        self._events = events
        self.clock = clock
        self._rng = rng
        self.worker = worker
        self.on_room = on_room
        self._on_reopened = on_reopened
        self._booths: dict[str, Booth] = {}
        #: Each pool's document as last written here, and what it says: it need not be read again while nobody else wrote.
        self._read: dict[str, tuple[str | None, Quota]] = {}
        self._tasks: TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for booth in self._booths.values():
                tasks.start_soon(booth.run, name=f"pool {booth.name}")
            await anyio.sleep_forever()

    def booth(self, pool: str) -> Booth:
        """The pool's booth, opened when it is first needed."""
        booth = self._booths.get(pool)
        if booth is None:
            booth = self._booths[pool] = Booth(pool, self._limits_of(pool), self)
            if self._tasks is not None:
                self._tasks.start_soon(booth.run, name=f"pool {pool}")
        return booth

    def rooms(self) -> dict[str, int]:
        """For how many more jobs of each pool there is work soon; pools without a bound are left out."""
        rooms = {name: booth.ask_room() for name, booth in self._booths.items()}
        return {name: room for name, room in rooms.items() if room is not None}

    def may_call(self, pool: str, task_type: str) -> bool:
        """Whether jobs of this type wait for the pool's quota, as far as known."""
        return task_type not in self.booth(pool).silent

    async def exchange(self, pool: str, report: Report, limits: Limits, now: float) -> Grant:
        """One step of the pool's document, in one transaction. Raises ``StoreError``."""

        def step(document: str | None) -> tuple[str, Grant]:
            # Taken out while it is changed: should this run again after a failure, it starts from the document.
            kept = self._read.pop(pool, None)
            quota = kept[1] if kept is not None and kept[0] == document else quota_from(document)
            grant = quota.exchange(report, limits, now, self._rng)
            text = quota.to_json()
            self._read[pool] = text, quota
            return text, grant

        return await self._store.share(pool, step, now)

    async def tell(self, pool: str, grant: Grant) -> None:
        """Tell what changed; open the lanes of a pool that lets calls in again."""
        for news in grant.news:
            self._events.emit(POOL_EVENTS[news.name](self.clock.now(), pool, **news.fields))
        if grant.reopened:
            try:
                reopened = await self._store.reopen(pool_scope(pool), self.clock.now())
            except StoreError:
                return  # the probe job's own end opens them
            if reopened:
                self._on_reopened()


async def release(store: Store, pool: str, now: float) -> None:
    """Open a pool by hand: calls flow again, paced."""

    def step(document: str | None) -> tuple[str | None, None]:
        if document is None:
            return None, None
        quota: Quota = quota_from(document)
        quota.release(now)
        return quota.to_json(), None

    await store.share(pool, step, now)
