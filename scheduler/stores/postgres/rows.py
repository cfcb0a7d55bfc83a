"""Rows to records and back: the column lists, and times, which the database keeps by its own clock.

Callers speak their process's time; ``Times`` turns it into the database's and back, so that workers whose clocks differ
agree on what is due, and each sees times of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scheduler.job import Draft, Job, Status
from scheduler.pauses import PauseWindow
from scheduler.stores.base import Worker

JOB_COLUMNS = (
    "seq, job_id, task_type, target_type, target_id, payload_json, status, reason, error, priority, run_after_us, attempts, crashes, "
    "max_attempts, timeout_s, token, worker, unique_key, owner, fingerprint, created_us, started_us, finished_us, waiting_us, "
    "result_json, progress_json, state_json, batch, blockers, doomed, held_us"
)
PAUSE_COLUMNS = "scope, until_us, reason, set_us, set_by, strikes, probe"
WORKER_COLUMNS = "worker_id, host, boot, pid, pid_started, started_us, lease_s, address, beats, beat_us, offers_json"

STATUS = {str(status): status for status in Status}
#: "Never": beyond what an integer column holds, whatever the offset.
FAR_US = 9_000_000_000_000_000_000
_FAR_S = 9e12


class Times:
    """Seconds of this process's clock to whole microseconds of the database's, and back. ``offset_us`` lies between them."""

    __slots__ = ("offset_us",)

    def __init__(self, offset_us: int = 0) -> None:
        self.offset_us = offset_us

    def us(self, seconds: float) -> int:
        """Far times are clamped to what an integer column holds."""
        if seconds > _FAR_S:
            return FAR_US
        return round(seconds * 1_000_000) + self.offset_us

    def us_or_none(self, seconds: float | None) -> int | None:
        return None if seconds is None else self.us(seconds)

    def s(self, microseconds: int) -> float:
        return (microseconds if microseconds == FAR_US else microseconds - self.offset_us) / 1_000_000

    def s_or_none(self, microseconds: int | None) -> float | None:
        return None if microseconds is None else self.s(microseconds)

    def job(self, row: Sequence[Any]) -> Job:
        """A ``Job`` from a row of ``JOB_COLUMNS``."""
        (seq, job_id, task_type, target_type, target_id, payload, status, reason, error, priority, run_after, attempts, crashes,
         max_attempts, timeout_s, token, worker, unique_key, owner, fingerprint, created, started, finished, waiting,
         result, progress, state, batch, blockers, doomed, held) = row  # fmt: skip
        return Job(
            seq, job_id, task_type, target_type, target_id, payload, STATUS[status], reason, error, priority, self.s(run_after),
            attempts, crashes, max_attempts, timeout_s, token, worker, unique_key, owner, fingerprint, self.s(created),
            self.s_or_none(started), self.s_or_none(finished), self.s_or_none(waiting), result, progress, state,
            batch, blockers, doomed, held is not None,
        )  # fmt: skip

    def draft(self, draft: Draft, created_us: int) -> tuple[Any, ...]:
        """The arguments of ``enqueue`` for one draft."""
        return (
            draft.job_id, draft.task_type, draft.target_type, draft.target_id, draft.payload_json, draft.priority,
            self.us(draft.run_after), draft.max_attempts, draft.timeout_s, draft.unique_key, draft.owner, draft.fingerprint,
            draft.force, created_us, draft.batch,
        )  # fmt: skip

    def window(self, row: Sequence[Any]) -> PauseWindow:
        """A window from a row of ``PAUSE_COLUMNS``."""
        scope, until, reason, set_at, set_by, strikes, probe = row
        return PauseWindow(scope, math.inf if until is None else self.s(until), reason, self.s(set_at), set_by, strikes, probe)

    def window_values(self, window: PauseWindow) -> tuple[Any, ...]:
        until = None if math.isinf(window.until) else self.us(window.until)
        return (window.scope, until, window.reason, self.us(window.set_at), window.set_by, window.strikes, window.probe)

    def worker(self, row: Sequence[Any]) -> Worker:
        """A worker from a row of ``WORKER_COLUMNS``."""
        worker_id, host, boot, pid, pid_started, started, lease_s, address, beats, beat, offers = row
        return Worker(worker_id, host, boot, pid, pid_started, self.s(started), lease_s, address, beats, self.s(beat), offers)

    def worker_values(self, worker: Worker) -> tuple[Any, ...]:
        return (
            worker.worker_id, worker.host, worker.boot, worker.pid, worker.pid_started, self.us(worker.started_at), worker.lease_s,
            worker.address, worker.beats, self.us(worker.beat_at), worker.offers_json,
        )  # fmt: skip
