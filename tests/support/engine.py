"""Opening engines in tests: quick settings, the loop's time, and a history that replays every event.

Leaving ``engine`` replays the history: each event must be a legal move from where the job stood, and the
store must agree about where every job ended. So each test that uses it also shows that each state change
emitted exactly one event.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ParamSpec, TypeVar

import anyio

from scheduler import Job, Registry, Scheduler
from scheduler.clock import Clock, LoopClock
from scheduler.events import Event, JobCancelled, JobEnded, JobEnqueued, JobEvent, JobRequeued, JobStarted
from scheduler.job import LEGAL, Status

E = TypeVar("E", bound=Event)
P = ParamSpec("P")


class History:
    """Every event of one scheduler, in order."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.events: list[Event] = []
        scheduler.events.subscribe(self.events.append, Event)

    def of(self, kind: type[E], job_id: str | None = None) -> list[E]:
        """The events of ``kind``, of one job or of all."""
        return [event for event in self.events if isinstance(event, kind) and (job_id is None or _id(event) == job_id)]

    def names(self, job_id: str) -> list[str]:
        """What happened to a job, by event name."""
        return [event.name for event in self.events if _id(event) == job_id]

    def moves(self) -> dict[str, list[Status]]:
        """Each job's statuses as the events tell them. Fails on a move that ``LEGAL`` does not have."""
        stands: dict[str, list[Status]] = {}
        for event in self.events:
            status = _status_after(event)
            if status is None or not isinstance(event, JobEvent):
                continue
            trail = stands.setdefault(event.job.job_id, [])
            if isinstance(event, JobEnded) and isinstance(event.job, Job) and event.job.status is Status.RATE_LIMITED:
                trail.append(Status.PROCESSING)  # given up on: claimed and ended in one write
            if trail:
                assert status in LEGAL[trail[-1]], f"{event.job.job_id}: {event.name} moves {trail} to {status}"
            trail.append(status)
        return stands


def _id(event: Event) -> str | None:
    return event.job.job_id if isinstance(event, JobEvent) else None


def _status_after(event: Event) -> Status | None:
    match event:
        case JobEnqueued() | JobRequeued():
            return Status.PENDING
        case JobStarted():
            return Status.PROCESSING
        case JobEnded():
            return event.transition.status
        case JobCancelled():
            return Status.CANCELLED
        case _:
            return None


async def _until(is_so: Callable[[], Awaitable[bool]], limit_s: float) -> None:
    """Ask again and again, ever more rarely: nobody rings for a fact of any kind."""
    pause_s = 0.002
    with anyio.fail_after(limit_s):
        while not await is_so():
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 1.1, 0.25)


class Engine:
    """A scheduler under test with its history. ``alone``: nobody else changes its jobs, so the history is whole."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.history = History(scheduler)
        self.alone = True

    async def job(self, job_id: str) -> Job:
        found = await self.scheduler.get(job_id)
        assert found is not None, f"{job_id} is not in the store"
        return found

    async def until(self, is_so: Callable[[], bool], limit_s: float = 600.0) -> None:
        """Wait for a fact, by the loop's time."""

        async def question() -> bool:
            return is_so()

        await _until(question, limit_s)

    async def until_status(self, job_id: str, *statuses: Status, limit_s: float = 600.0) -> Job:
        """Wait until a job stands so; returns it."""

        async def question() -> bool:
            return (await self.job(job_id)).status in statuses

        await _until(question, limit_s)
        return await self.job(job_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """``run`` in the background, stopped at the end."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.scheduler.run)
            try:
                yield
            finally:
                self.scheduler.stop()

    async def replay(self) -> None:
        """The events must be legal and must tell the same story as the store."""
        if not self.alone:
            return
        for job_id, trail in self.history.moves().items():
            job = await self.scheduler.get(job_id)
            if job is not None:
                assert job.status is trail[-1], f"{job_id}: events say {trail}, the store says {job.status}"


@asynccontextmanager
async def engine(
    routes: Registry, store: str = "memory:", *, seed: int = 1, clock: Clock | None = None, **tables: dict[str, Any]
) -> AsyncIterator[Engine]:
    """A scheduler on ``store`` with these settings over the defaults, in the loop's time; replayed at the end."""
    settings = {**tables, "scheduler": {"store": store, **tables.get("scheduler", {})}}
    async with Scheduler.open(settings, routes, clock=clock or LoopClock(), rng=Random(seed), logs=False) as scheduler:
        made = Engine(scheduler)
        yield made
        await made.replay()


def in_real_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Decorate an async test that needs the real clock, for handlers that hang in threads."""

    @functools.wraps(test)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner() as runner:
            runner.run(test(*args, **kwargs))

    return wrapper
