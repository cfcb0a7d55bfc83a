"""What a verb makes of a record of the memory store. Pure."""

from __future__ import annotations

from scheduler.job import Draft, Job, Status, Transition


def new_job(seq: int, draft: Draft, now: float) -> Job:
    asked = draft._asdict()
    for once in ("force", "after", "if_failed", "owner_limit", "strict", "request"):  # the job does not keep these
        del asked[once]
    unset = dict.fromkeys(Job._fields)
    return Job(**{**unset, **asked, "seq": seq, "status": Status.PENDING, "created_at": now, **_NOTHING_YET})


_NOTHING_YET = {"attempts": 0, "crashes": 0, "token": 0, "blockers": 0, "held": False}


def as_new(job: Job, now: float, *, restart: bool) -> Job:
    """The record after a retry; its checkpoint stays unless it is to ``restart``."""
    return job._replace(
        status=Status.PENDING,
        reason=None,
        error=None,
        attempts=0,
        crashes=0,
        run_after=now,
        blockers=0,
        doomed=None,
        held=False,
        result_json=None,
        progress_json=None,
        state_json=None if restart else job.state_json,
        waiting_since=None,
        started_at=None,
        finished_at=None,
    )


def ended_as(job: Job, end: Transition, now: float) -> Job:
    """The record after ``end``. A failure keeps its checkpoint for a retry; a success needs none."""
    completed = end.status is Status.COMPLETED
    return job._replace(
        status=end.status,
        reason=end.reason,
        error=None if completed else end.error,
        result_json=end.result_json,
        run_after=job.run_after if end.run_after is None else end.run_after,
        waiting_since=end.waiting_since,
        worker=None,
        finished_at=now if end.status.is_terminal else None,
        state_json=None if completed else job.state_json,
    )
