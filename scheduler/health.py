"""Whether a pool's provider works at all, as the ends of this process's attempts show.

Does not belong here: what an end shows (``decide.py``), when failures make an outage (``pools/streak.py``).
"""

from __future__ import annotations

from scheduler.decide import health_of
from scheduler.errors import StoreError
from scheduler.events import Events, PoolOutage
from scheduler.job import Lease
from scheduler.outcome import Outcome
from scheduler.pauses import pool_scope
from scheduler.pools.streak import Streak
from scheduler.stores.base import Store


class Health:
    """Keeps a streak of failures for each pool."""

    def __init__(self, store: Store, events: Events) -> None:
        self._store = store
        self._events = events
        self._streaks: dict[str, Streak] = {}

    async def is_outage(self, pool: str, lease: Lease, outcome: Outcome, now: float) -> bool:
        """Take in how an attempt ended; whether that was the provider's failure and not the job's."""
        works = health_of(outcome, now)
        streak = self._streaks.setdefault(pool, Streak())
        if works is None:
            return False
        if works:
            if streak.succeeded():
                self._events.emit(PoolOutage(now, pool, {"state": "ended"}))
            return False
        if not streak.is_outage and pool_scope(pool) in lease.probing:
            return True  # the pool is closed already, by another worker or for another reason: a probe is nobody's fault
        earlier = streak.failed(lease)
        if earlier:
            await self._give_back(earlier, now)
            self._events.emit(PoolOutage(now, pool, {"state": "began", "given_back": len(earlier)}))
        return streak.is_outage

    async def _give_back(self, leases: list[Lease], now: float) -> None:
        try:
            await self._store.refund(leases, now)
        except StoreError:
            return  # they keep a counted attempt: a nuisance, not a loss
