"""Whether a pool's provider works at all, as the ends of this process's attempts show.

A failure that would be its job's last word waits a moment for how others fare on the same pool, if there are others:
whoever fails first in an outage cannot know yet that it is one, and whoever succeeds may have been sent before it began.

Does not belong here: what an end shows (``decide.py``), when failures make an outage (``pools/streak.py``), or which jobs
only look like one (``pools/suspects.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from scheduler.decide import health_of
from scheduler.errors import StoreError
from scheduler.events import Events, PoolOutage
from scheduler.job import Job, Lease
from scheduler.outcome import Outcome
from scheduler.pauses import OUTAGE, pool_scope
from scheduler.pools.streak import Streak
from scheduler.pools.suspects import Suspects
from scheduler.stores.base import Store
from scheduler.stores.query import JobQuery

#: A last failure waits at most so many seconds to see how others fare.
WAIT_S = 10.0
#: Where nobody else starts for so many seconds, nobody is there to wait for.
ALONE_S = 1.0


@dataclass(slots=True)
class _Pool:
    """``running``: attempts under way; ``undecided``: failures that nobody decided yet.

    ``worked_at``: when the latest attempt began that succeeded.
    """

    streak: Streak = field(default_factory=Streak)
    suspects: Suspects = field(default_factory=Suspects)
    running: int = 0
    undecided: set[Lease] = field(default_factory=set)
    worked_at: float = float("-inf")
    ended: anyio.Event = field(default_factory=anyio.Event)


class Health:
    """Keeps a streak of failures for each pool."""

    def __init__(self, store: Store, events: Events) -> None:
        self._store = store
        self._events = events
        self._pools: dict[str, _Pool] = {}

    def began(self, pool: str) -> None:
        """An attempt on ``pool`` starts."""
        self._pools.setdefault(pool, _Pool()).running += 1

    def suspects(self, pool: str) -> tuple[str, ...]:
        """The jobs that should not probe ``pool`` while there are others."""
        seen = self._pools.get(pool)
        return () if seen is None else seen.suspects.avoid

    async def attempts(self, job: Job) -> int:
        """The counted attempts of a claimed job by now: since it was claimed any worker may have found an outage and given some back."""
        try:
            found = await self._store.find(JobQuery(job_ids=(job.job_id,), limit=1))
        except StoreError:
            return job.attempts
        return found[0].attempts if found else job.attempts

    def is_doubtful(self, pool: str, job: Job, *, began_at: float) -> bool:
        """Of a provider's failure: whether nobody who began later has succeeded yet, and nothing is held against ``job``."""
        seen = self._pools[pool]
        return seen.worked_at < began_at and job.job_id not in seen.suspects.weights

    async def is_outage(
        self,
        pool: str,
        lease: Lease,
        outcome: Outcome,
        now: float,
        *,
        began_at: float,
        ended_at: float,
        is_last: bool,
        in_call: bool,
    ) -> bool:
        """Take in how an attempt ended; whether that was the provider's failure and not the job's.

        ``began_at``, ``ended_at``: by a clock that nobody sets. ``is_last``: its job has no attempt left, should it be the job's.
        ``in_call``: it was stopped in the middle of a call.
        """
        seen = self._pools.setdefault(pool, _Pool())
        seen.running = max(0, seen.running - 1)
        try:
            works = health_of(outcome, now, in_call=in_call)
            if works:
                self._worked(pool, seen, lease, began_at, now)
            if works is not False or (seen.suspects.is_known(lease.job_id) and pool_scope(pool) in lease.probing):
                return False  # a known job only probes if nobody else is there: it fails whoever succeeds, and comes to its end
            if await self._failed(pool, seen, lease, began_at, ended_at, now):
                return True
            seen.undecided.add(lease)
            try:
                return await self._turns_out(pool, seen, lease, began_at, is_last)
            finally:
                seen.undecided.discard(lease)
        finally:
            seen.ended.set()
            seen.ended = anyio.Event()

    async def _turns_out(self, pool: str, seen: _Pool, lease: Lease, began_at: float, is_last: bool) -> bool:
        """Whether a failure that looks like its job's own is an outage's after all."""
        if is_last:
            await self._wait(seen, began_at)
        if not seen.streak.is_outage and await self._is_known_elsewhere(pool):
            seen.streak.forget(lease)  # given back now, not once more should it be found out here as well
            seen.suspects.failed(lease.job_id, began_at)
            return True
        return seen.streak.is_outage

    def _worked(self, pool: str, seen: _Pool, lease: Lease, began_at: float, now: float) -> None:
        seen.worked_at = max(seen.worked_at, began_at)
        seen.suspects.succeeded(lease.job_id, began_at)
        if seen.streak.succeeded():
            self._events.emit(PoolOutage(now, pool, "ended"))

    async def _failed(self, pool: str, seen: _Pool, lease: Lease, began_at: float, ended_at: float, now: float) -> bool:
        """Whether that is an outage, as far as is known here and now."""
        streak, suspects, is_probe = seen.streak, seen.suspects, pool_scope(pool) in lease.probing
        if streak.is_outage and not is_probe and suspects.is_after_pause(began_at):
            suspects.over(began_at)  # it could start freely: another worker's probe, or a person, opened the pool
            streak.succeeded()
            self._events.emit(PoolOutage(now, pool, "ended"))
        if streak.is_outage or is_probe:  # a probe's failure is nobody's fault, whoever closed the pool and why
            suspects.failed(lease.job_id, began_at)
            return True
        earlier = [] if suspects.is_known(lease.job_id) else streak.failed(lease)
        if earlier:
            suspects.found([each.job_id for each in (*earlier, lease)], ended_at)
            given_back = await self._give_back([each for each in earlier if each not in seen.undecided], now)
            self._events.emit(PoolOutage(now, pool, "began", given_back))
        return streak.is_outage

    async def _wait(self, seen: _Pool, began_at: float) -> None:
        """Until it is an outage, until somebody who began later succeeds, or until nobody is there to wait for."""
        seen.ended.set()
        seen.ended = anyio.Event()
        with anyio.move_on_after(WAIT_S):
            while not seen.streak.is_outage and seen.worked_at < began_at:
                if seen.running > 0 or seen.streak.jobs > 1:
                    await seen.ended.wait()
                    continue
                with anyio.move_on_after(ALONE_S) as alone:  # all may have ended at once, and the next are being claimed
                    await seen.ended.wait()
                if alone.cancelled_caught and seen.running == 0:
                    return

    async def _is_known_elsewhere(self, pool: str) -> bool:
        """Whether another worker found it out: each sees the ends of its own attempts only."""
        try:
            return any(window.scope == pool_scope(pool) and window.reason == OUTAGE for window in await self._store.pauses())
        except StoreError:
            return False

    async def _give_back(self, leases: list[Lease], now: float) -> int:
        if not leases:
            return 0
        try:
            return await self._store.refund(leases, now)
        except StoreError:
            return 0  # they keep a counted attempt: a nuisance, not a loss
