"""``JobContext``: what a handler gets beside its payload."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, Protocol, TypeVar

from anyio import from_thread
from structlog.typing import FilteringBoundLogger

from scheduler.calls import JobPool
from scheduler.errors import SchedulerError
from scheduler.job import Job, Lease, Progress
from scheduler.registry import Resources
from scheduler.values import decode_json, encode_json, printable

T = TypeVar("T")


class Desk(Protocol):
    """Where a running attempt leaves its notes (``scribe.py``)."""

    def progress(self, job: Job, lease: Lease, progress: Progress) -> None: ...

    async def checkpoint(self, job: Job, lease: Lease, state_json: str) -> None: ...


class Limit(Protocol):
    """The attempt's time limit (``attempt.py``)."""

    def held(self) -> AbstractContextManager[None]: ...


class JobContext:
    """One attempt as its handler sees it."""

    def __init__(
        self, job: Job, lease: Lease, pool: JobPool, resources: Resources, desk: Desk, logger: Callable[..., Any], limit: Limit
    ) -> None:
        self.job = job
        self.pool = pool
        self._lease = lease
        self._resources = resources
        self._desk = desk
        self._logger = logger
        self._limit = limit
        self._percent = 0.0
        self._state_json = job.state_json

    @property
    def job_id(self) -> str:
        return self.job.job_id

    @property
    def task_type(self) -> str:
        return self.job.task_type

    @property
    def target_type(self) -> str:
        return self.job.target_type

    @property
    def target_id(self) -> str:
        return self.job.target_id

    @property
    def owner(self) -> str | None:
        return self.job.owner

    @property
    def attempt(self) -> int:
        """The number of this counted attempt, from 1."""
        return self.job.attempts

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this job: pass it to whatever must not happen twice."""
        return self.job.job_id

    @property
    def state(self) -> Any:
        """The last checkpoint, of this attempt or an earlier one; None without one."""
        return None if self._state_json is None else decode_json(self._state_json)

    @cached_property
    def log(self) -> FilteringBoundLogger:
        """A structlog logger with the job's identity in every line."""
        job = self.job
        logger: FilteringBoundLogger = self._logger(
            job_id=job.job_id, task_type=job.task_type, target_type=job.target_type, target_id=job.target_id, attempt=job.attempts
        )
        return logger

    def resource(self, kind: type[T]) -> T:
        """The shared object of ``kind``. Raises ``ConfigError`` if no module provides it."""
        return self._resources.get(kind)

    def progress(
        self, current: float | None = None, total: float | None = None, message: str = "", *, percent: float | None = None
    ) -> None:
        """Say how far the job is: ``current`` of ``total``, or ``percent`` (0 to 100). Never goes back within an attempt.

        Cheap: what is stored is the latest, a few times a second. Raises ``SchedulerError`` for what is no number.
        """
        for what, value in (("current", current), ("total", total), ("percent", percent)):
            if value is not None and not _is_number(value):
                raise SchedulerError(f"progress {what} must be a finite number, not {value!r}")
        if percent is None:
            if current is None or not total:
                raise SchedulerError("progress needs current and a total above 0, or percent")
            percent = 100.0 * current / total
        self._percent = max(self._percent, min(max(float(percent), 0.0), 100.0))
        self._leave(Progress(self._percent, printable(str(message), 500), current, total))

    async def checkpoint(self, state: Any) -> None:
        """Store ``state`` (JSON); durable when this returns. The next attempt starts with it as ``job.state``.

        While the store is away, busy or full this waits, and the job's time limit stands still.
        Raises ``InvalidJobError`` for what JSON cannot hold.
        """
        state_json = encode_json(state, "checkpoint")
        with self._limit.held():
            await self._desk.checkpoint(self.job, self._lease, state_json)
        self._state_json = state_json

    def _leave(self, progress: Progress) -> None:
        self._desk.progress(self.job, self._lease, progress)


def _is_number(value: object) -> bool:
    """Whether every store and every reader of JSON can hold ``value`` as a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63


class ThreadJobContext(JobContext):
    """The context of a sync handler, which runs in a thread: its calls hop to the event loop."""

    def checkpoint(self, state: Any) -> None:  # type: ignore[override]
        """Store ``state``; durable when this returns."""
        from_thread.run(super().checkpoint, state)

    def check_cancelled(self) -> None:
        """Raise if the job was cancelled or ran out of time: call it between steps, a thread cannot be stopped from outside."""
        from_thread.check_cancelled()

    def _leave(self, progress: Progress) -> None:
        from_thread.run_sync(super()._leave, progress)
