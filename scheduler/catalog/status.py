"""Each target's ``ai_status`` follows its job: a subscriber that notes, and a task that writes.

Subscribers must return at once, so events only leave a note, the latest for each target; ``run``
writes the notes in batches. What a crash kept from being written, ``reconcile`` reads back from
the job store. Does not belong here: SQL (``catalog.py``), or what a status means (``decide.py``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import anyio

from scheduler.catalog.catalog import Catalog, Entry, Findings, Update
from scheduler.errors import StoreError
from scheduler.events import (
    Events,
    JobCancelled,
    JobEnded,
    JobEnqueued,
    JobEvent,
    JobRequeued,
    JobStarted,
)
from scheduler.job import Draft, Job, Status
from scheduler.stores.base import JobQuery
from scheduler.values import decode_json, printable

FindJobs = Callable[[JobQuery], Awaitable[list[Job]]]

#: So many notes are worth a transaction at once; fewer wait for ``flush_interval_s``.
BATCH_SIZE = 500


class CatalogFollower:
    """Keeps ``catalog`` in step with the jobs of this process.

    ``flush_interval_s``: seconds that a note may wait. ``on_error`` hears of a catalog that cannot
    be written; the notes are kept and tried again.
    """

    def __init__(
        self, catalog: Catalog, *, flush_interval_s: float = 0.25, on_error: Callable[[StoreError], None] = lambda error: None
    ) -> None:
        self._catalog = catalog
        self._interval_s = flush_interval_s
        self._on_error = on_error
        self._notes: dict[tuple[str, str], Update] = {}
        self._noted = anyio.Event()
        self._many = anyio.Event()

    def follow(self, events: Events) -> Callable[[], None]:
        """Subscribe to everything that moves a job; returns the way out."""
        return events.subscribe(self.note, JobEnqueued, JobStarted, JobEnded, JobCancelled, JobRequeued)

    def note(self, event: JobEvent) -> None:
        """Leave a note of ``event``; the newest note of a target stands for all before it."""
        if event.job.target_id:
            self._keep(_update_of(event))

    @property
    def waiting(self) -> int:
        """How many targets have a note that is not written yet."""
        return len(self._notes)

    async def run(self) -> None:
        """Write notes until cancelled; writes what is left on the way out."""
        try:
            while True:
                await self._noted.wait()
                with anyio.move_on_after(self._interval_s):
                    await self._many.wait()
                await self._flush_or_report()
        finally:
            with anyio.CancelScope(shield=True):
                await self._flush_or_report()

    async def flush(self) -> None:
        """Write all notes now. Raises ``StoreError``; the notes are kept then."""
        waiting = list(self._notes)
        for start in range(0, len(waiting), BATCH_SIZE):
            batch = [self._notes.pop(key) for key in waiting[start : start + BATCH_SIZE] if key in self._notes]
            try:
                await self._catalog.apply(batch)
            except BaseException:
                for update in batch:
                    self._put_back(update)
                raise
        if not self._notes:
            self._noted = anyio.Event()
        if len(self._notes) < BATCH_SIZE:
            self._many = anyio.Event()

    async def reconcile(self, find: FindJobs, now: float) -> int:
        """Repair what a crash left unfinished in the catalog, from the job store; returns how many were looked at.

        Call it before jobs run. ``now`` must not be later than the reading: news since then wins.
        """
        after_id = looked_at = 0
        while entries := await self._catalog.unfinished(after_id=after_id, limit=BATCH_SIZE):
            ids = tuple(entry.job_id for entry in entries if entry.job_id is not None)
            jobs = {job.job_id: job for job in await find(JobQuery(job_ids=ids, limit=len(ids)))} if ids else {}
            await self._catalog.apply([_repaired(entry, jobs.get(entry.job_id or ""), now) for entry in entries])
            after_id = entries[-1].id
            looked_at += len(entries)
        return looked_at

    async def _flush_or_report(self) -> None:
        try:
            await self.flush()
        except StoreError as error:
            self._on_error(error)
            await anyio.sleep(self._interval_s)

    def _keep(self, update: Update) -> None:
        key = (update.target_type, update.target_id)
        before = self._notes.get(key)
        self._notes[key] = update if before is None else _merged(before, update)
        self._noted.set()
        if len(self._notes) >= BATCH_SIZE:
            self._many.set()

    def _put_back(self, update: Update) -> None:
        """Keep what could not be written, below what came meanwhile."""
        key = (update.target_type, update.target_id)
        after = self._notes.get(key)
        self._notes[key] = update if after is None else _merged(update, after)


def findings_of(result: Any, at: float) -> Findings | None:
    """What a handler's result teaches about its target; None if it is of another kind.

    Empty fields teach nothing: a handler leaves empty what it was not asked for, and another one may have filled it.
    """
    if not isinstance(result, Mapping):
        return None
    summary, model = result.get("summary"), result.get("model")
    return Findings(
        summary=summary if isinstance(summary, str) and summary else None,
        keywords=_words(result.get("keywords")),
        topics=_words(result.get("topics")),
        model=model if isinstance(model, str) else None,
        enriched_at=at,
    )


def _words(value: Any) -> tuple[str, ...] | None:
    """A list of words, or of objects that have a ``name`` or ``topic``; None if there are none."""
    if not isinstance(value, list):
        return None
    plain = [item.get("name") or item.get("topic") if isinstance(item, Mapping) else item for item in value]
    return tuple(word for word in plain if isinstance(word, str) and word) or None


def _update_of(event: JobEvent) -> Update:
    job = event.job
    status, reason, error, findings = _standing(event)
    created_at = event.at if isinstance(job, Draft) else job.created_at
    return Update(job.target_id, job.target_type, job.job_id, created_at, event.at, str(status), reason, error, findings)


def _standing(event: JobEvent) -> tuple[Status, str | None, str | None, Findings | None]:
    if isinstance(event, JobEnded):
        end = event.transition
        findings = _learned(end.result_json, event.at) if end.status is Status.COMPLETED else None
        return end.status, end.reason, end.error, findings
    if isinstance(event, JobStarted):
        return Status.PROCESSING, None, None, None
    if isinstance(event, JobCancelled):
        return Status.CANCELLED, "cancelled", None, None
    return Status.PENDING, None, None, None


def _learned(result_json: str | None, at: float) -> Findings | None:
    return None if result_json is None else findings_of(decode_json(result_json), at)


def _repaired(entry: Entry, job: Job | None, now: float) -> Update:
    """How the job of ``entry`` stands in the store; a job that is gone leaves the target without one."""
    if job is None:
        text = printable(f"its job {entry.job_id} is no longer in the store")
        return Update(entry.target_id, entry.target_type, entry.job_id or "", now, now, None, "job_missing", text)
    ended_at = job.finished_at if job.finished_at is not None else now
    findings = _learned(job.result_json, ended_at) if job.status is Status.COMPLETED else None
    return Update(entry.target_id, entry.target_type, job.job_id, job.created_at, now, str(job.status), job.reason, job.error, findings)


def _merged(before: Update, after: Update) -> Update:
    """Two notes of one target as one: the younger job's standing, the latest findings of either."""
    older_job_spoke_late = after.job_id != before.job_id and after.job_created_at < before.job_created_at
    standing, other = (before, after) if older_job_spoke_late else (after, before)
    return standing if standing.findings is not None else replace(standing, findings=other.findings)
