"""A memory store that keeps the audit trail that ``tests/support/audit.py`` makes SQLite keep.

It listens where the store itself keeps its records, so it sees what was done, not what the engine says of it.
"""

from __future__ import annotations

from scheduler.clock import LoopClock
from scheduler.job import Job, Status
from scheduler.pauses import PauseWindow
from scheduler.stores.memory import MemoryStore
from scheduler.stores.memory.journal import Journal
from scheduler.stores.memory.records import Records
from scheduler.stores.memory.standing import Standing
from scheduler.stores.memory.waits import Waits
from scheduler.stores.memory.windows import Windows
from scheduler.stores.sqlite.rows import us, us_or_none
from tests.support.checker import Row


class AuditedMemoryStore(MemoryStore):
    """``audit`` grows with each move, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.audit: list[Row] = []
        self._jobs = _AuditedRecords(self._journal, self.audit)
        self._windows = _AuditedWindows(self._journal, self.audit)
        self._standing, self._waits = Standing(self._jobs), Waits(self._jobs)

    def final_rows(self) -> list[Row]:
        """The jobs as they stand, in the shape of SQLite's rows."""
        return [job._asdict() | {"status": str(job.status)} for job in self._jobs.by_seq.values()]


class _AuditedRecords(Records):
    def __init__(self, journal: Journal, audit: list[Row]) -> None:
        super().__init__(journal)
        self._audit = audit
        self._stands: dict[str, Job] = {}

    def put(self, job: Job, now: float) -> None:
        super().put(job, now)
        if job.status is Status.PROCESSING and job.worker is None:
            return  # half of a ``give_up``, which claims and ends in one write
        before = self._stands.get(job.job_id)
        self._stands[job.job_id] = job
        if before is None:
            self._audit.append(_row("made", job))
        elif before.status is not job.status:
            self._audit.append(_row("move", job) | {"was": str(before.status), "run_after_us": us(before.run_after)})
        elif before.attempts != job.attempts:
            self._audit.append(_row("refunded", job))
        elif before.progress is not None and job.progress is not None and before.progress != job.progress:
            self._audit.append(_row("progress", job) | {"percent": job.progress.percent})

    def remove(self, job: Job) -> None:
        super().remove(job)
        self._audit.append(_row("deleted", job))


class _AuditedWindows(Windows):
    def __init__(self, journal: Journal, audit: list[Row]) -> None:
        super().__init__(journal)
        self._audit = audit

    def put(self, window: PauseWindow, now: float) -> None:
        super().put(window, now)
        until = None if window.until == float("inf") else us(window.until)
        self._audit.append({"kind": "paused", "scope": window.scope, "until_us": until, "reason": window.reason, "job_id": window.probe})

    def drop(self, scope: str, now: float) -> PauseWindow | None:
        if scope in self:
            self._audit.append({"kind": "resumed", "scope": scope, "at_us": us(LoopClock().now())})
        return super().drop(scope, now)


def _row(kind: str, job: Job) -> Row:
    return {
        "kind": kind, "seq": job.seq, "job_id": job.job_id, "task_type": job.task_type, "now": str(job.status), "token": job.token,
        "attempts": job.attempts, "crashes": job.crashes, "worker": job.worker, "unique_key": job.unique_key,
        "run_after_us": us(job.run_after), "started_us": us_or_none(job.started_at), "max_attempts": job.max_attempts, "reason": job.reason,
    }  # fmt: skip
