"""What happens to jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scheduler.events.bus import Event
from scheduler.job import Draft, Job, Progress, Status, Transition
from scheduler.pauses import PauseWindow


@dataclass(frozen=True, slots=True)
class JobEvent(Event):
    """Something happened to ``job``, the record as it was when the step began."""

    job: Job | Draft

    def fields(self) -> dict[str, Any]:
        job = self.job
        shown: dict[str, Any] = {
            "job_id": job.job_id,
            "task_type": job.task_type,
            "target_type": job.target_type,
            "target_id": job.target_id,
        }
        if isinstance(job, Job):
            shown["attempt"] = job.attempts
            shown["worker"] = job.worker
        if job.owner is not None:
            shown["owner"] = job.owner
        return shown


@dataclass(frozen=True, slots=True)
class JobEnqueued(JobEvent):
    name: ClassVar[str] = "job.enqueued"
    level: ClassVar[str] = "debug"


@dataclass(frozen=True, slots=True)
class JobRequeued(JobEvent):
    """An operator sent a finished job back to ``pending``."""

    name: ClassVar[str] = "job.requeued"

    def fields(self) -> dict[str, Any]:
        assert isinstance(self.job, Job)
        return JobEvent.fields(self) | {"status": str(Status.PENDING), "was": str(self.job.status), "reason": self.job.reason}


@dataclass(frozen=True, slots=True)
class JobStarted(JobEvent):
    """``waited_s``: seconds from due (``run_after`` or enqueue) to start."""

    name: ClassVar[str] = "job.started"
    level: ClassVar[str] = "debug"
    waited_s: float

    def fields(self) -> dict[str, Any]:
        return JobEvent.fields(self) | {"status": str(Status.PROCESSING), "waited_s": round(self.waited_s, 6)}


@dataclass(frozen=True, slots=True)
class JobEnded(JobEvent):
    """An attempt's end was recorded: ``transition`` says how. ``duration_s`` is the attempt's."""

    transition: Transition
    duration_s: float
    waited_s: float

    def fields(self) -> dict[str, Any]:
        end = self.transition
        shown = JobEvent.fields(self) | {
            "status": str(end.status),
            "duration_s": round(self.duration_s, 6),
            "waited_s": round(self.waited_s, 6),
        }
        if end.reason is not None:
            shown["reason"] = end.reason
        if end.error is not None:
            shown["error"] = end.error
        return shown


@dataclass(frozen=True, slots=True)
class JobCompleted(JobEnded):
    name: ClassVar[str] = "job.completed"


@dataclass(frozen=True, slots=True)
class JobRateLimited(JobEnded):
    """``window`` is the pause that now holds the job."""

    name: ClassVar[str] = "job.rate_limited"
    level: ClassVar[str] = "warning"
    window: PauseWindow | None = None

    def fields(self) -> dict[str, Any]:
        shown = JobEnded.fields(self)
        if self.window is not None:
            shown |= {"scope": self.window.scope, "paused_s": round(self.window.until - self.at, 3)}
        return shown


@dataclass(frozen=True, slots=True)
class JobRetrying(JobEnded):
    name: ClassVar[str] = "job.retrying"
    level: ClassVar[str] = "warning"

    def fields(self) -> dict[str, Any]:
        due = self.transition.run_after
        return JobEnded.fields(self) | {"delay_s": round(max(0.0, (due or self.at) - self.at), 3)}


@dataclass(frozen=True, slots=True)
class JobFailed(JobEnded):
    name: ClassVar[str] = "job.failed"
    level: ClassVar[str] = "error"


@dataclass(frozen=True, slots=True)
class JobInterrupted(JobEnded):
    """Handed back at shutdown, attempt refunded."""

    name: ClassVar[str] = "job.interrupted"


@dataclass(frozen=True, slots=True)
class JobLost(JobEnded):
    """Its worker died; the job is pending again."""

    name: ClassVar[str] = "job.lost"
    level: ClassVar[str] = "warning"


@dataclass(frozen=True, slots=True)
class JobPaused(JobEvent):
    """Somebody paused this very job. ``until``: seconds since the epoch, infinity until resumed."""

    name: ClassVar[str] = "job.paused"
    until: float

    def fields(self) -> dict[str, Any]:
        held = {} if self.until == float("inf") else {"paused_s": round(self.until - self.at, 3)}
        return JobEvent.fields(self) | {"status": str(self.job.status) if isinstance(self.job, Job) else None} | held


@dataclass(frozen=True, slots=True)
class JobResumed(JobEvent):
    """Somebody let a paused job go."""

    name: ClassVar[str] = "job.resumed"


@dataclass(frozen=True, slots=True)
class JobCancelled(JobEvent):
    """``job.status`` is what it was before."""

    name: ClassVar[str] = "job.cancelled"

    def fields(self) -> dict[str, Any]:
        assert isinstance(self.job, Job)
        return JobEvent.fields(self) | {"status": str(Status.CANCELLED), "was": str(self.job.status)}


@dataclass(frozen=True, slots=True)
class JobProgressed(JobEvent):
    name: ClassVar[str] = "job.progress"
    progress: Progress

    def fields(self) -> dict[str, Any]:
        seen = self.progress
        shown = JobEvent.fields(self) | {"percent": round(seen.percent, 2), "message": seen.message}
        if seen.current is not None:
            shown |= {"current": seen.current, "total": seen.total}
        return shown


@dataclass(frozen=True, slots=True)
class HandlerUnresponsive(JobEvent):
    """A handler ignored its cancellation: its outcome is recorded, its slot stays taken."""

    name: ClassVar[str] = "handler.unresponsive"
    level: ClassVar[str] = "error"
    handler: str

    def fields(self) -> dict[str, Any]:
        return JobEvent.fields(self) | {"handler": self.handler}
