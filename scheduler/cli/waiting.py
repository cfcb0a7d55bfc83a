"""Waiting for the jobs of one command: until they have ended, a signal stops it, or only a person can bring them on.

Does not belong here: what the jobs are (``enrich.py``, ``longrun.py``), or counting them (``tally.py``).
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from scheduler.cli import report
from scheduler.cli.tally import Tally
from scheduler.named import TaskTypeSettings
from scheduler.pauses import pool_scope
from scheduler.runtime import Scheduler
from scheduler.stores.base import JobQuery

_LOOK_EVERY_S = 1.0
_FOUND_AT_ONCE = 500


class Waiting:
    """``held`` says why none of the open jobs will ever start here by itself, ``paused`` what is closed for now."""

    def __init__(self, scheduler: Scheduler, tally: Tally) -> None:
        self.held = ""
        self.paused = ""
        self.stopped_by: int | None = None
        self._scheduler = scheduler
        self._tally = tally

    def stop(self, number: int) -> None:
        """A signal's number: wait no more."""
        self.stopped_by = number

    async def wait_while(self, too_many: Callable[[], bool]) -> None:
        """Until enough jobs of this run have ended, or waiting makes no sense."""
        ended = self._tally.done
        while too_many() and not self.held and self.stopped_by is None:
            with anyio.move_on_after(_LOOK_EVERY_S):
                await self._tally.all_ended.wait()
            windows = await self._scheduler.pauses()
            self.paused = report.pauses_line(windows, self._scheduler.clock.now())
            if self._tally.done == ended and self._tally.open:  # perhaps somebody else runs them
                await self.look_up()
                self.held = self._held({window.scope for window in windows if window.until == float("inf")})
            ended = self._tally.done

    async def look_up(self) -> None:
        """Ask the store about open jobs that do not run here: another process may have ended them."""
        waiting = [job_id for job_id in self._tally.open if not self._tally.is_running(job_id)]
        for start in range(0, len(waiting), _FOUND_AT_ONCE):
            ids = tuple(waiting[start : start + _FOUND_AT_ONCE])
            jobs = await self._scheduler.store.find(JobQuery(job_ids=ids, limit=len(ids)))
            self._tally.found(jobs)
            self._tally.gone(set(ids).difference(job.job_id for job in jobs))

    def _held(self, closed: set[str]) -> str:
        """Why none of the open jobs will ever start here by itself; empty if one may."""
        if self._tally.running:
            return ""
        reasons = [self._held_type(task_type, closed) for task_type in sorted(set(self._tally.open.values()))]
        return "" if "" in reasons else "; ".join(dict.fromkeys(reasons))

    def _held_type(self, task_type: str, closed: set[str]) -> str:
        settings = self._scheduler.settings
        own = settings.task_types.get(task_type, TaskTypeSettings())
        pool = own.pool if own.pool is not None else self._scheduler.routes.pool(task_type)
        scopes = [task_type, *([pool_scope(pool)] if pool else [])]
        if paused := [scope for scope in scopes if scope in closed]:
            return f"{paused[0]} is paused until you run `scheduler resume {paused[0]}`"
        limits = [settings.scheduler.concurrency, own.concurrency, settings.pools[pool].concurrency if pool in settings.pools else None]
        return f"concurrency is 0 for {task_type}" if 0 in limits else ""
