"""``JobContext``: what a handler gets beside its payload."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

from anyio import from_thread, to_thread
from structlog.typing import FilteringBoundLogger

from scheduler.calls import JobPool
from scheduler.chunks import Chunk, Items, Pass, Report, Work
from scheduler.errors import InvalidJobError, SchedulerError
from scheduler.eta import Pace
from scheduler.job import Draft, Item, Job, Lease, Ledger, NewJob, Oks, Progress
from scheduler.registry import Resources
from scheduler.values import decode_json, encode_json, printable

T = TypeVar("T")
_PAGE = 1_000


class Desk(Protocol):
    """Where a running attempt leaves its notes (``scribe.py``)."""

    def monotonic(self) -> float: ...

    def progress(self, job: Job, lease: Lease, read: Callable[[], Progress]) -> None: ...

    async def checkpoint(self, lease: Lease, state_json: str) -> bool: ...

    async def record(self, job: Job, lease: Lease, ledger: Ledger, items: Sequence[Item], progress: Progress | None) -> bool: ...

    async def ledgers(self, job_id: str) -> list[Ledger]: ...

    async def items(self, job_id: str, name: str, ok: Oks | None, after: int, limit: int) -> list[Item]: ...


class Run(Protocol):
    """The attempt that runs the handler (``attempt.py``)."""

    started: float

    def held(self) -> AbstractContextManager[None]:
        """The time limit stands still meanwhile."""
        ...

    def is_asked_to_stop(self, *, at_chunk: bool) -> bool:
        """Whether somebody waits for the job to come to a place where it can stop: a recorded chunk, or a checkpoint."""
        ...

    async def hand_back(self) -> None:
        """End the attempt here, through nobody's fault."""
        ...

    async def lose(self) -> None:
        """The lease is gone: end the attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What all attempts share of what a context needs."""

    resources: Resources
    desk: Desk
    logger: Callable[..., Any]
    draft: Callable[[NewJob], Draft]


class JobContext:
    """One attempt as its handler sees it."""

    def __init__(self, job: Job, lease: Lease, pool: JobPool, run: Run, tools: Tools) -> None:
        self.job = job
        self.pool = pool
        self.follow_ups: list[Draft] = []
        self._lease = lease
        self._run = run
        self._tools = tools
        self._desk = tools.desk
        before = job.progress if job.state_json is not None else None
        #: Whoever goes on from a checkpoint goes on from what was reached, too.
        self._percent = 0.0 if before is None else before.percent
        self._said: tuple[str, float | None, float | None] = ("", None, None)
        self._is_noted = False
        self._pace: Pace | None = None
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
        logger: FilteringBoundLogger = self._tools.logger(
            job_id=job.job_id, task_type=job.task_type, target_type=job.target_type, target_id=job.target_id, attempt=job.attempts
        )
        return logger

    def resource(self, kind: type[T]) -> T:
        """The shared object of ``kind``. Raises ``ConfigError`` if no module provides it."""
        return self._tools.resources.get(kind)

    def progress(
        self, current: float | None = None, total: float | None = None, message: str = "", *, percent: float | None = None
    ) -> None:
        """Say how far the job is: ``current`` of ``total``, or ``percent`` (0 to 100). Never goes back within an attempt.

        Cheap: what is stored is the latest, a few times a second. Raises ``SchedulerError`` for what is no number.
        """
        # Called ten thousand times a second, perhaps: what can wait until it is written waits.
        if percent is None:
            if current is None or not total or not _is_number(current) or not _is_number(total):
                self._refuse(current, total, percent)
                raise SchedulerError("progress needs current and a total above 0, or percent")
            percent = 100.0 * current / total
        else:
            self._refuse(current, total, percent)
        self._reached(percent)
        self._said = (message if type(message) is str else str(message), current, total)
        if not self._is_noted:
            self._is_noted = True
            self._desk.progress(self.job, self._lease, self._read)

    def _refuse(self, *values: float | None) -> None:
        for what, value in zip(("current", "total", "percent"), values, strict=True):
            if value is not None and not _is_number(value):
                raise SchedulerError(f"progress {what} must be a finite number, not {value!r}")

    def _reached(self, percent: float) -> None:
        if percent > self._percent:
            self._percent = float(percent) if percent < 100.0 else 100.0

    def _read(self) -> Progress:
        """The latest, about to be written."""
        self._is_noted = False
        message, current, total = self._said
        if self._pace is None:
            before = self.job.progress
            begun = before.percent if before is not None and self.job.state_json is not None else 0.0
            self._pace = Pace(self._run.started, begun, None if before is None else before.rate)
        self._pace.moved(self._desk.monotonic(), self._percent)
        return Progress(self._percent, printable(message, 500), current, total, self._pace.rate(), self._pace.left_s(100.0))

    async def checkpoint(self, state: Any) -> None:
        """Store ``state`` (JSON); durable when this returns. The next attempt starts with it as ``job.state``.

        While the store is away, busy or full this waits, and the job's time limit stands still. Whoever paused the job stops it here.
        Raises ``InvalidJobError`` for what JSON cannot hold.
        """
        state_json = encode_json(state, "checkpoint")
        with self._run.held():
            is_ours = await self._desk.checkpoint(self._lease, state_json)
        if not is_ours:
            await self._run.lose()
        self._state_json = state_json
        if self._run.is_asked_to_stop(at_chunk=False):
            await self._run.hand_back()

    async def chunks(
        self,
        items: Items,
        work: Work,
        *,
        size: int = 10,
        at_once: int = 1,
        name: str = "items",
        total: int | None = None,
        key: Callable[[Any], str] | None = None,
        on_failed: Literal["fail", "tolerate"] = "fail",
        span: tuple[float, float] = (0.0, 100.0),
    ) -> Report:
        """Process many items, ``size`` in a chunk, ``at_once`` chunks at the same time, and none twice, whatever ends an attempt.

        ``items``: a sequence, an iterable, an async iterable, or a function that gives one from a position on; in the same order at each
        attempt. ``work`` gets a ``Chunk`` and returns one result an item (JSON, or ``ItemFailed``), or None. A chunk whose work
        raises is split until the bad item stands alone, but for errors that concern the provider or the run: those end the attempt,
        and the next one goes on with what has no outcome yet. ``name`` tells the passes of one job apart; ``key`` names an item in
        the ledger; ``span`` is the part of the job's progress (percent) that this pass makes up.

        Raises ``ItemsFailedError`` at the end if items failed, unless ``on_failed`` is ``"tolerate"``.
        """
        host = _Host(self, span)
        return await Pass(host, name, size=size, at_once=at_once, total=total, key=key).run(items, work, on_failed)

    async def ledger(self, name: str = "items", *, failed: bool | None = None) -> AsyncIterator[Item]:
        """What is recorded of a pass, by position; ``failed`` selects those that did, or did not."""
        ok = None if failed is None else frozenset({not failed})
        after = -1
        while page := await self._desk.items(self.job.job_id, name, ok, after, _PAGE):
            for item in page:
                yield item
            after = page[-1].position

    def enqueue(self, task_type: str, target_type: str = "", target_id: str = "", payload: Any = None, **more: Any) -> str:
        """A follow-up: a job that exists exactly if and when this one completes. See ``NewJob`` for the arguments.

        It belongs to this job's owner unless ``owner`` says otherwise, and does not count against that owner's limit. What it waits for
        (``after``) and does not exist by then counts as failed. Returns the id it will have, unless a job with its unique key, or an
        unchanged target, stands for it by then. Raises ``InvalidJobError``.
        """
        draft = self._tools.draft(NewJob(task_type, target_type, target_id, payload, **{"owner": self.owner, **more}))
        if draft.request is not None:
            raise InvalidJobError("a follow-up takes no request_key: it is stored once, with the end of this job")
        self.follow_ups.append(draft._replace(owner_limit=None, strict=False))
        return draft.job_id


class _Host:
    """A job as its passes see it (``chunks.Host``)."""

    def __init__(self, job: JobContext, span: tuple[float, float]) -> None:
        first, last = span
        if not (0.0 <= first <= last <= 100.0):
            raise SchedulerError(f"chunks: span must be two percentages in order, not {span!r}")
        self._job = job
        self._span = span

    async def ledger_of(self, name: str) -> Ledger | None:
        found = [ledger for ledger in await self._job._desk.ledgers(self._job.job_id) if ledger.name == name]
        return found[0] if found else None

    async def recorded(self, name: str, ok: Oks, after: int) -> list[Item]:
        return await self._job._desk.items(self._job.job_id, name, ok, after, _PAGE)

    async def record(self, ledger: Ledger, items: Sequence[Item]) -> None:
        job = self._job
        with job._run.held():
            is_ours = await job._desk.record(job.job, job._lease, ledger, items, self._progress(ledger))
        if not is_ours:
            await job._run.lose()

    def _progress(self, ledger: Ledger) -> Progress:
        first, last = self._span
        over = ledger.done + ledger.failed
        share = over / ledger.total if ledger.total else (1.0 if ledger.total == 0 else 0.0)
        told = [f"{value:g} {name}" for name, value in ledger.counters.items()]
        message = ", ".join([*told, f"{ledger.failed} failed"] if ledger.failed else told)
        self._job._reached(first + share * (last - first))
        self._job._said = (message, over, ledger.total)
        return self._job._read()

    def is_asked_to_stop(self) -> bool:
        return self._job._run.is_asked_to_stop(at_chunk=True)

    async def hand_back(self) -> None:
        await self._job._run.hand_back()


def _is_number(value: object) -> bool:
    """Whether every store and every reader of JSON can hold ``value`` as a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63


class ThreadJobContext(JobContext):
    """The context of a sync handler, which runs in a thread: its calls hop to the event loop."""

    def checkpoint(self, state: Any) -> None:  # type: ignore[override]
        """Store ``state``; durable when this returns."""
        from_thread.run(super().checkpoint, state)

    def chunks(self, items: Items, work: Callable[[Chunk], Sequence[Any] | None], **how: Any) -> Report:  # type: ignore[override]
        """See ``JobContext.chunks``; ``work`` is a plain function, each of its calls runs in a thread."""

        async def in_thread(chunk: Chunk) -> Sequence[Any] | None:
            return await to_thread.run_sync(work, chunk)

        async def run() -> Report:
            return await JobContext.chunks(self, items, in_thread, **how)

        return from_thread.run(run)

    def ledger(self, name: str = "items", *, failed: bool | None = None) -> list[Item]:  # type: ignore[override]
        """What is recorded of a pass, all of it."""

        async def read() -> list[Item]:
            return [item async for item in JobContext.ledger(self, name, failed=failed)]

        return from_thread.run(read)

    def check_cancelled(self) -> None:
        """Raise if the job was cancelled or ran out of time: call it between steps, a thread cannot be stopped from outside."""
        from_thread.check_cancelled()

    def progress(
        self, current: float | None = None, total: float | None = None, message: str = "", *, percent: float | None = None
    ) -> None:
        """See ``JobContext.progress``."""
        from_thread.run_sync(lambda: JobContext.progress(self, current, total, message, percent=percent))
