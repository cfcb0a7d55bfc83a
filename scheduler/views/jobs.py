"""Jobs as they are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from scheduler.job import Job, Ledger, Status
from scheduler.times import utc_time
from scheduler.values import decode_json
from scheduler.why import Why

_JOB: dict[str, JsonValue] = {
    "job_id": "01jf3v6q5n-7c1de0a94b21",
    "task_type": "generate_topics",
    "target_type": "conversation",
    "target_id": "42",
    "status": "completed",
}


class ProgressView(BaseModel):
    """How far a job says it is. ``rate`` is percent a second of work, ``left_s`` the seconds of work that are left."""

    percent: float = Field(ge=0, le=100)
    message: str = ""
    current: float | None = None
    total: float | None = None
    rate: float | None = None
    left_s: float | None = None
    at: str | None = Field(None, description="When it was said")


class LedgerView(BaseModel):
    """One pass of a long job over its items."""

    name: str
    total: int | None = Field(description="Null while it is not known")
    next: int = Field(description="Every item before it has an outcome, but for those to be tried again")
    done: int
    failed: int
    counters: dict[str, float] = Field(description="The handler's own")

    @classmethod
    def of(cls, ledger: Ledger) -> LedgerView:
        return cls(name=ledger.name, total=ledger.total, next=ledger.next, done=ledger.done, failed=ledger.failed, counters=ledger.counters)


class JobSummary(BaseModel):
    """A job without its bodies."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB]})

    job_id: str
    seq: int = Field(description="Grows with each job that is stored")
    task_type: str
    target_type: str
    target_id: str
    status: Status
    reason: str | None = Field(description="A stable word: why it failed or waits")
    error: str | None
    priority: int
    attempts: int = Field(description="Counted attempts so far")
    max_attempts: int | None
    timeout_s: float | None
    crashes: int = Field(description="How often its worker died with it since it last got on")
    owner: str | None
    unique_key: str | None
    batch: str | None
    blockers: int = Field(description="So many of those that it waits for have not ended")
    held: bool = Field(description="Somebody paused this very job")
    worker: str | None
    created_at: str | None
    run_after: str | None
    started_at: str | None
    finished_at: str | None
    waiting_since: str | None = Field(description="Since when the provider puts it off")
    progress: ProgressView | None


class JobView(JobSummary):
    """A job with its bodies: what went in, what came out, and the last checkpoint."""

    payload: Any = None
    result: Any = None
    state: Any = Field(None, description="The last checkpoint")

    @classmethod
    def of(cls, job: Job) -> JobView:
        return cls(**summary_fields(job), payload=body(job.payload_json), result=body(job.result_json), state=body(job.state_json))


class JobDetails(JobView):
    """A job with its bodies and what it recorded of its items."""

    ledgers: list[LedgerView]
    ends_at: str | None = Field(description="When it will be done, as far as its progress and the pauses tell")

    @classmethod
    def with_ledgers(cls, job: Job, ledgers: Iterable[Ledger], ends_at: float | None) -> JobDetails:
        return cls(**JobView.of(job).model_dump(), ledgers=[LedgerView.of(ledger) for ledger in ledgers], ends_at=utc_time(ends_at))


class CauseView(BaseModel):
    """One fact of why a job does not run, with its numbers (``ahead``, ``limit``, ``attempt`` …)."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(description="A stable word", examples=["pool_paused"])
    sentence: str
    until: str | None = Field(description="When it passes; null where nobody can tell, or a person must act")


class WhyView(BaseModel):
    """Why a job does not run; of one that runs or has ended, that."""

    sentence: str = Field(examples=["waits for the pause of pool main (rate_limited) until 18:04:10 (in 2m 05s), then behind 312 others"])
    causes: list[CauseView]

    @classmethod
    def of(cls, told: Why) -> WhyView:
        return cls(
            sentence=told.sentence, causes=[CauseView(**(cause.to_dict() | {"until": utc_time(cause.until)})) for cause in told.causes]
        )


def summary(job: Job) -> JobSummary:
    return JobSummary(**summary_fields(job))


def summary_fields(job: Job) -> dict[str, Any]:
    """The fields of a ``JobSummary``."""
    return {
        "job_id": job.job_id,
        "seq": job.seq,
        "task_type": job.task_type,
        "target_type": job.target_type,
        "target_id": job.target_id,
        "status": job.status,
        "reason": job.reason,
        "error": job.error,
        "priority": job.priority,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "timeout_s": job.timeout_s,
        "crashes": job.crashes,
        "owner": job.owner,
        "unique_key": job.unique_key,
        "batch": job.batch,
        "blockers": job.blockers,
        "held": job.held,
        "worker": job.worker,
        "created_at": utc_time(job.created_at),
        "run_after": utc_time(job.run_after),
        "started_at": utc_time(job.started_at),
        "finished_at": utc_time(job.finished_at),
        "waiting_since": utc_time(job.waiting_since),
        "progress": _progress(job.progress_json),
    }


def _progress(text: str | None) -> ProgressView | None:
    told = body(text)
    if not isinstance(told, dict) or "percent" not in told:
        return None
    known = {name: told.get(name) for name in ("percent", "message", "current", "total", "rate", "left_s") if name in told}
    return ProgressView(**known, at=utc_time(told.get("at")))


def body(text: str | None) -> Any:
    """The decoded body; as its text if it is not JSON."""
    try:
        return None if text is None else decode_json(text)
    except ValueError:
        return text
