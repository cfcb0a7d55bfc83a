"""What happened, as frozen records, and the bus that tells subscribers.

Each state change emits exactly one event. Logs, metrics, live streams and target statuses only
subscribe; nothing in the engine knows who listens. A subscriber is a plain callable that must
return at once; one that raises is reported and does not disturb the others.

Does not belong here: how an event is written (``logs.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar, TypeVar

from scheduler.job import Draft, Job, Progress, Status, Transition
from scheduler.pauses import PauseWindow


@dataclass(frozen=True, slots=True)
class Event:
    """The root. ``at`` is seconds since the epoch; ``level`` is how loud a log should be."""

    name: ClassVar[str] = ""
    level: ClassVar[str] = "info"
    at: float

    def fields(self) -> dict[str, Any]:
        """What a log line or a stream shows, JSON types only; None values left out."""
        raise NotImplementedError  # abstract: each event says what it shows


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
class LanePaused(Event):
    """A scope (a task type, or ``pool:NAME``) was closed or its pause extended."""

    name: ClassVar[str] = "lane.paused"
    level: ClassVar[str] = "warning"
    window: PauseWindow

    def fields(self) -> dict[str, Any]:
        window = self.window
        for_s = None if window.until == float("inf") else round(window.until - self.at, 3)
        return {"scope": window.scope, "reason": window.reason, "paused_s": for_s, "job_id": window.set_by, "strikes": window.strikes}


@dataclass(frozen=True, slots=True)
class LaneResumed(Event):
    """``reason``: ``probe_succeeded`` or ``manual``."""

    name: ClassVar[str] = "lane.resumed"
    scope: str
    reason: str

    def fields(self) -> dict[str, Any]:
        return {"scope": self.scope, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class LaneProbing(Event):
    name: ClassVar[str] = "lane.probing"
    scope: str
    job_id: str

    def fields(self) -> dict[str, Any]:
        return {"scope": self.scope, "job_id": self.job_id}


@dataclass(frozen=True, slots=True)
class PoolEvent(Event):
    """What is known or thought of a pool changed."""

    pool: str

    def fields(self) -> dict[str, Any]:
        shown = {each.name: getattr(self, each.name) for each in dataclass_fields(self) if each.name != "at"}
        return {name: value for name, value in shown.items() if value is not None}


@dataclass(frozen=True, slots=True)
class PoolLimitLearned(PoolEvent):
    """An answer stated a limit that was not known, or is another now. ``signal``: where it was said."""

    name: ClassVar[str] = "pool.limit"
    dimension: str
    limit: float | None
    was_limit: float | None
    period_s: float
    signal: str


@dataclass(frozen=True, slots=True)
class PoolPaceChanged(PoolEvent):
    """Nobody states the limit, and a rejection showed more of it."""

    name: ClassVar[str] = "pool.pace"
    calls_per_minute: float


@dataclass(frozen=True, slots=True)
class PoolDistrusted(PoolEvent):
    """We kept to the limit that is stated and were rejected: what 429s show holds instead."""

    name: ClassVar[str] = "pool.distrust"
    level: ClassVar[str] = "warning"
    calls_per_minute: float


@dataclass(frozen=True, slots=True)
class PoolInFlightChanged(PoolEvent):
    """How many calls may be under way at once. ``reason``: ``overloaded``, or ``clean`` when it grew."""

    name: ClassVar[str] = "pool.in_flight"
    limit: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class PoolHeld(PoolEvent):
    """No call starts for ``held_s`` seconds."""

    name: ClassVar[str] = "pool.held"
    level: ClassVar[str] = "warning"
    reason: str
    held_s: float
    strikes: int


@dataclass(frozen=True, slots=True)
class PoolOpened(PoolEvent):
    """A call was let in again, ``held_s`` seconds after the first rejection."""

    name: ClassVar[str] = "pool.opened"
    reason: str
    held_s: float


@dataclass(frozen=True, slots=True)
class PoolOutage(PoolEvent):
    """Job after job failed with no success between: the pool closes, their attempts are given back.

    ``state``: ``began`` or ``ended``. ``given_back``: attempts of earlier failures.
    """

    name: ClassVar[str] = "pool.outage"
    level: ClassVar[str] = "error"
    state: str
    given_back: int = 0


POOL_EVENTS: Mapping[str, type[PoolEvent]] = {
    kind.name.removeprefix("pool."): kind
    for kind in (PoolLimitLearned, PoolPaceChanged, PoolDistrusted, PoolInFlightChanged, PoolHeld, PoolOpened, PoolOutage)
}


@dataclass(frozen=True, slots=True)
class LoopBlocked(Event):
    """The event loop did not turn for ``blocked_s`` seconds; ``handler`` was running, at ``where``."""

    name: ClassVar[str] = "loop.blocked"
    level: ClassVar[str] = "error"
    blocked_s: float
    handler: str
    where: str
    job_id: str | None

    def fields(self) -> dict[str, Any]:
        return {"blocked_s": round(self.blocked_s, 3), "handler": self.handler, "where": self.where, "job_id": self.job_id}


@dataclass(frozen=True, slots=True)
class HandlerUnresponsive(JobEvent):
    """A handler ignored its cancellation: its outcome is recorded, its slot stays taken."""

    name: ClassVar[str] = "handler.unresponsive"
    level: ClassVar[str] = "error"
    handler: str

    def fields(self) -> dict[str, Any]:
        return JobEvent.fields(self) | {"handler": self.handler}


@dataclass(frozen=True, slots=True)
class StoreFailing(Event):
    """The store refuses writes; outcomes are kept in memory and tried again."""

    name: ClassVar[str] = "store.failing"
    level: ClassVar[str] = "error"
    error: str

    def fields(self) -> dict[str, Any]:
        return {"error": self.error}


@dataclass(frozen=True, slots=True)
class StoreRecovered(Event):
    name: ClassVar[str] = "store.recovered"
    level: ClassVar[str] = "warning"
    failing_s: float

    def fields(self) -> dict[str, Any]:
        return {"failing_s": round(self.failing_s, 3)}


@dataclass(frozen=True, slots=True)
class ServiceEvent(Event):
    worker: str
    detail: str = ""

    def fields(self) -> dict[str, Any]:
        return {"worker": self.worker} | ({"detail": self.detail} if self.detail else {})


@dataclass(frozen=True, slots=True)
class ServiceStarted(ServiceEvent):
    name: ClassVar[str] = "service.started"


@dataclass(frozen=True, slots=True)
class ServiceDraining(ServiceEvent):
    name: ClassVar[str] = "service.draining"


@dataclass(frozen=True, slots=True)
class ServiceStopped(ServiceEvent):
    name: ClassVar[str] = "service.stopped"


E_ = TypeVar("E_", bound=Event)
Subscriber = Callable[[Any], None]


def event_types() -> list[type[Event]]:
    """Every concrete event, by name."""
    found: dict[str, type[Event]] = {}
    todo: list[type[Event]] = [Event]
    while todo:
        kind = todo.pop()  # the newest first: ``dataclass(slots=True)`` leaves the class it replaced among the subclasses
        todo.extend(kind.__subclasses__())
        if kind.__dict__.get("name"):
            found.setdefault(kind.name, kind)
    return sorted(found.values(), key=lambda kind: kind.name)


class Events:
    """The bus. Calls subscribers in the order they came, in the emitter's task."""

    def __init__(self) -> None:
        self._subscribers: dict[type[Event], tuple[Subscriber, ...]] = {}
        self._on_error: Callable[[Event, Exception], None] = lambda event, error: None

    def subscribe(self, subscriber: Callable[[E_], None], *kinds: type[E_]) -> Callable[[], None]:
        """Call ``subscriber`` for each event of ``kinds`` (subclasses included); returns the way out."""
        wanted = _concrete(kinds)
        for kind in wanted:
            self._subscribers[kind] = (*self._subscribers.get(kind, ()), subscriber)

        def leave() -> None:
            for kind in wanted:
                self._subscribers[kind] = tuple(one for one in self._subscribers[kind] if one is not subscriber)

        return leave

    def on_error(self, report: Callable[[Event, Exception], None]) -> None:
        """Where subscribers' exceptions go."""
        self._on_error = report

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to ``kind``: lets hot paths skip making the record."""
        return bool(self._subscribers.get(kind))

    def emit(self, event: Event) -> None:
        for subscriber in self._subscribers.get(type(event), ()):
            try:
                subscriber(event)
            except Exception as error:
                self._on_error(event, error)


def _concrete(kinds: Iterable[type[Event]]) -> list[type[Event]]:
    chosen = tuple(kinds) or (Event,)
    return [kind for kind in event_types() if issubclass(kind, chosen)]
