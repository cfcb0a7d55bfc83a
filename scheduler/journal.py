"""What happened, as stores write it down: one ``Entry`` for each change, in the order of commits.

A store writes the entry in the same transaction as the change, so that streams, web hooks and a job's page tell the same story
whichever process moved the job. Pure; the SQL stores say the same in triggers (``migrations/*_journal.sql``), and the contract suite
holds them to it. Does not belong here: who reads it (``feed.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scheduler.job import Job, Status
from scheduler.pauses import PauseWindow
from scheduler.times import utc_time
from scheduler.values import decode_json

#: Values of ``Entry.detail`` that are times, in seconds since the epoch.
_TIMES = frozenset({"at", "run_after", "until"})
#: How each status is told once a job has come to it.
_NAMES = {
    Status.PROCESSING: "job.started",
    Status.COMPLETED: "job.completed",
    Status.RATE_LIMITED: "job.rate_limited",
    Status.RETRY_AI: "job.retrying",
    Status.CANCELLED: "job.cancelled",
}
PROGRESS = "job.progress"
ENDINGS = frozenset({"job.completed", "job.failed", "job.cancelled"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. ``at`` is seconds since the epoch; ``seq`` and what follows are None where it is about a pause and not about a job.

    ``error`` and ``reason`` are those of the change. ``detail``: ``run_after`` of what waits, ``until`` of what is paused, progress;
    of a pause its ``scope``, ``until`` and ``reason``.
    """

    id: int
    at: float
    name: str
    seq: int | None = None
    job_id: str | None = None
    task_type: str | None = None
    target_type: str | None = None
    target_id: str | None = None
    owner: str | None = None
    batch: str | None = None
    status: str | None = None
    reason: str | None = None
    error: str | None = None
    attempt: int | None = None
    worker: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def is_end(self) -> bool:
        """Whether the job is over with it, unless a person retries it."""
        return self.name in ENDINGS

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; times in ISO UTC."""
        shown = {name: getattr(self, name) for name in self.__slots__ if name not in ("at", "seq", "detail")}
        shown["at"] = utc_time(self.at)
        shown["detail"] = {name: utc_time(value) if name in _TIMES else value for name, value in self.detail.items()}
        return shown


def entry_from(number: int, at: float, told: Sequence[Any]) -> Entry:
    """An entry from what a store wrote: its fields from ``name`` on, the detail as JSON text."""
    name, seq, job_id, task_type, target_type, target_id, owner, batch, status, reason, error, attempt, worker, detail = told
    return Entry(
        number, at, name, seq, job_id, task_type, target_type, target_id, owner, batch, status, reason, error, attempt, worker,
        detail_from(detail),
    )  # fmt: skip


def detail_from(text: str | None) -> dict[str, Any]:
    """The stored detail; empty where there is none, or where somebody wrote something else."""
    try:
        found = {} if text is None else decode_json(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def entry_of(before: Job | None, job: Job, at: float) -> Entry | None:
    """What the change from ``before`` to ``job`` is called, without its number; None for one that nobody is told of."""
    name, detail = _named(before, job)
    return None if name is None else about(job, name, at, **detail)


def about(job: Job, name: str, at: float, /, **detail: Any) -> Entry:
    """An entry about ``job`` as it is now; one that runs keeps the reason of the attempt before until it ends."""
    reason, error = (None, None) if job.status is Status.PROCESSING else (job.reason, job.error)
    return Entry(
        0, at, name, job.seq, job.job_id, job.task_type, job.target_type, job.target_id, job.owner, job.batch,
        str(job.status), reason, error, job.attempts, job.worker, detail,
    )  # fmt: skip


def _named(before: Job | None, job: Job) -> tuple[str | None, dict[str, Any]]:
    if before is None:
        return "job.enqueued", {}
    if job.status is not before.status:
        waits = job.status in (Status.RATE_LIMITED, Status.RETRY_AI)
        return _moved(before.status, job), {"run_after": job.run_after} if waits else {}
    if job.held is not before.held:
        return "job.paused" if job.held else "job.resumed", {}
    if job.status is Status.PROCESSING and job.progress_json not in (None, before.progress_json):
        return PROGRESS, detail_from(job.progress_json)
    return None, {}


def _moved(was: Status, job: Job) -> str:
    if job.status is Status.PENDING:
        if was is not Status.PROCESSING:
            return "job.requeued"
        return "job.lost" if job.reason == "worker_lost" else "job.interrupted"
    return _NAMES.get(job.status, "job.failed")


def entries_of_pause(before: PauseWindow | None, window: PauseWindow | None, at: float) -> list[Entry]:
    """What the change of a scope's window is called, without numbers."""
    if window is None:
        return [] if before is None else [Entry(0, at, "lane.resumed", reason=before.reason, detail=_of(before, reason=before.reason))]
    told: list[Entry] = []
    if before is None or (before.until, before.reason) != (window.until, window.reason):
        until = None if window.until == float("inf") else window.until
        shown = _of(window, until=until, reason=window.reason, set_by=window.set_by)
        told.append(Entry(0, at, "lane.paused", reason=window.reason, detail=shown))
    if before is not None and window.probe not in (None, before.probe):
        shown = _of(window, reason=window.reason, probe=window.probe)
        told.append(Entry(0, at, "lane.probing", reason=window.reason, detail=shown))
    return told


def _of(window: PauseWindow, **more: Any) -> dict[str, Any]:
    return {"scope": window.scope, **more}
