"""Pauses by hand: of a task type, a pool, an owner, or one job.

Does not belong here: what a window lets through (``pauses.py``), how a running job stops (``dispatcher.py``).
"""

from __future__ import annotations

import re

from scheduler.clock import Clock
from scheduler.errors import NotFoundError, SchedulerError
from scheduler.events import Events, JobPaused, JobResumed, LanePaused, LaneResumed
from scheduler.job import Job
from scheduler.keeper import release
from scheduler.pauses import JOB_PREFIX, MANUAL, OWNER_PREFIX, POOL_PREFIX, PauseWindow
from scheduler.stores.base import JobQuery, Store

#: Control characters, and what no store can hold.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PREFIXES = (POOL_PREFIX, OWNER_PREFIX, JOB_PREFIX)


class Pausing:
    """Closes and opens scopes, and tells of it."""

    def __init__(self, store: Store, events: Events, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._clock = clock

    async def pause(self, scope: str, for_s: float | None) -> PauseWindow:
        """See ``Scheduler.pause``."""
        _check(scope)
        if for_s is not None and not for_s >= 0:
            raise SchedulerError(f"for_s must be a number of seconds, 0 or more, not {for_s!r}")
        now = self._clock.now()
        until = float("inf") if for_s is None else now + for_s
        if scope.startswith(JOB_PREFIX):
            return await self._hold(scope, until, now)
        window = await self._store.pause(scope, until, now)
        self._events.emit(LanePaused(now, window))
        return window

    async def resume(self, scope: str) -> PauseWindow | None:
        """See ``Scheduler.resume``."""
        _check(scope)
        now = self._clock.now()
        if scope.startswith(JOB_PREFIX):
            return await self._let_go(scope, now)
        if scope.startswith(POOL_PREFIX):
            await release(self._store, scope.removeprefix(POOL_PREFIX), now)
        window = await self._store.resume(scope, now)
        if window is not None:
            self._events.emit(LaneResumed(now, scope, "manual"))
        return window

    async def _hold(self, scope: str, until: float, now: float) -> PauseWindow:
        job = await self._job(scope)
        if job.status.is_terminal:
            raise NotFoundError(f"job {job.job_id} is {job.status}: there is nothing to pause")
        held = await self._store.hold(JobQuery(job_ids=(job.job_id,)), until, now)
        for job in held:
            self._events.emit(JobPaused(now, job, until))
        return _window(scope, until if held else max(until, job.run_after), now)

    async def _let_go(self, scope: str, now: float) -> PauseWindow | None:
        freed = await self._store.unhold(JobQuery(job_ids=((await self._job(scope)).job_id,)), now)
        for job in freed:
            self._events.emit(JobResumed(now, job))
        return _window(scope, now, now) if freed else None

    async def _job(self, scope: str) -> Job:
        job_id = scope.removeprefix(JOB_PREFIX)
        found = await self._store.find(JobQuery(job_ids=(job_id,), limit=1))
        if not found:
            raise NotFoundError(f"there is no job {job_id}")
        return found[0]


def _window(scope: str, until: float, now: float) -> PauseWindow:
    """The pause of one job, as those of scopes are told."""
    return PauseWindow(scope, until, MANUAL, now, None, 0, None)


def _check(scope: str) -> None:
    if not isinstance(scope, str) or not scope or scope in _PREFIXES or len(scope) > 512 or _CONTROL.search(scope):
        raise SchedulerError(f"scope {scope!r} is not a task type, nor pool:NAME, owner:NAME or job:ID")
