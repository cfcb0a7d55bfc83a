"""Moving jobs by hand: cancel, retry, delete, one by id or all that match.

Does not belong here: pauses (``pausing.py``), what people may select by (``selection.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from scheduler.clock import Clock
from scheduler.dispatcher import Dispatcher
from scheduler.errors import InvalidJobError, NotFoundError, SchedulerError
from scheduler.events import Events, JobCancelled, JobRequeued
from scheduler.job import RETRYABLE, UNFINISHED, Job, Status
from scheduler.selection import limited, query_for
from scheduler.stores.base import JobQuery, Store
from scheduler.values import check_text

#: Jobs that a bulk verb changes in one transaction.
PORTION = 1_000

Verb = Literal["cancel", "retry"]


async def job_of(store: Store, job_id: str, owner: str | None) -> Job | None:
    """The job, or None if there is none (for ``owner``)."""
    try:
        checked = check_text(job_id, "job id")
    except InvalidJobError:
        return None  # no store can hold it, so there is none
    found = await store.find(JobQuery(job_ids=(checked,), owner=owner, limit=1))
    return found[0] if found else None


async def known(store: Store, job_id: str, owner: str | None) -> Job:
    """The job. Raises ``NotFoundError``."""
    job = await job_of(store, job_id, owner)
    if job is None:
        raise NotFoundError(f"there is no job {job_id}")
    return job


class Controls:
    """Changes the store, then tells the dispatcher, if one runs here, and whoever listens."""

    def __init__(self, store: Store, events: Events, clock: Clock, dispatcher: Callable[[], Dispatcher | None]) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._dispatcher = dispatcher

    async def matching(self, verb: Verb, owner: str | None, which: Mapping[str, Any]) -> int:
        """See ``Scheduler.matching``."""
        statuses = UNFINISHED if verb == "cancel" else RETRYABLE
        query = await self._selection(None, owner, statuses, which)
        narrowed = replace(query, statuses=statuses if query.statuses is None else query.statuses)
        return sum(tally.count for tally in await self._store.count(narrowed))

    async def cancel(self, job_id: str | None, owner: str | None, which: Mapping[str, Any]) -> list[Job]:
        """See ``Scheduler.cancel``."""
        query = await self._selection(job_id, owner, UNFINISHED, which)
        cancelled: list[Job] = []
        while portion := await self._store.cancel(limited(query, PORTION, newest_first=False), self._clock.now()):
            cancelled.extend(portion)
            self._tell_cancelled(portion)
        return cancelled

    def _tell_cancelled(self, jobs: list[Job]) -> None:
        dispatcher = self._dispatcher()
        if dispatcher is not None:
            dispatcher.cancel(job.job_id for job in jobs if job.status is Status.PROCESSING)
        now = self._clock.now()
        for job in jobs:
            self._events.emit(JobCancelled(now, job))

    async def retry(
        self, job_id: str | None, owner: str | None, which: Mapping[str, Any], *, failed_items: bool, restart: bool
    ) -> list[Job]:  # fmt: skip
        """See ``Scheduler.retry``."""
        if failed_items:
            await self._check_failed_items(job_id, owner, restart)
        query = await self._selection(job_id, owner, RETRYABLE, which)
        sent: list[Job] = []
        while portion := await self._store.retry(limited(query, PORTION, newest_first=False), self._clock.now(), restart=restart):
            sent.extend(portion)
            now = self._clock.now()
            for job in portion:
                self._events.emit(JobRequeued(now, job))
            dispatcher = self._dispatcher()
            if dispatcher is not None:
                dispatcher.wake({job.task_type for job in portion})
        return sent

    async def _check_failed_items(self, job_id: str | None, owner: str | None, restart: bool) -> None:
        if job_id is None or restart:
            raise SchedulerError("failed_items goes with a job id, and not with restart")
        job = await known(self._store, job_id, owner)
        if not any(ledger.failed for ledger in await self._store.ledgers(job.job_id)):
            raise SchedulerError(f"job {job_id} has no failed items: retry it without failed_items")

    async def delete(self, job_id: str, owner: str | None) -> Job:
        """See ``Scheduler.delete``."""
        job = await known(self._store, job_id, owner)
        query = JobQuery(job_ids=(job.job_id,), owner=owner)
        while not (gone := await self._store.discard(query, self._clock.now())):  # again if somebody retries it meanwhile
            await self.cancel(job_id, owner, {})
        return gone[0]

    async def _selection(self, job_id: str | None, owner: str | None, statuses: frozenset[Status], which: Mapping[str, Any]) -> JobQuery:
        if job_id is not None:
            await known(self._store, job_id, owner)
            return JobQuery(job_ids=(job_id,), owner=owner, newest_first=False)
        if owner is None and not any(value is not None for value in which.values()):
            raise SchedulerError(
                "name a job id, or what to select by: status, reason, task_type, target_type, target_id, batch, text, created_after, "
                "created_before or owner"
            )
        query = query_for(owner=owner, **which)
        if query.statuses is not None and not query.statuses <= statuses:
            wrong = ", ".join(sorted(query.statuses - statuses))
            raise SchedulerError(f"status {wrong} does not go with this; choose among {', '.join(sorted(statuses))}")
        return query
