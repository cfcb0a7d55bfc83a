"""The settler: records how attempts ended, in batches, and tells the world once that is certain.

It owns the outcomes that the store has not taken yet. A store that is busy or full for a while costs time,
never an outcome: they are kept and tried again. Events are emitted after the guarded write, and only if it
took effect, so each recorded outcome has exactly one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from scheduler.clock import Clock
from scheduler.errors import StoreError
from scheduler.events import (
    Events,
    JobCompleted,
    JobEnded,
    JobEnqueued,
    JobFailed,
    JobInterrupted,
    JobLost,
    JobRateLimited,
    JobRetrying,
    LanePaused,
    LaneResumed,
    StoreFailing,
    StoreRecovered,
)
from scheduler.job import Job, Lease, Status, Transition
from scheduler.stores.base import Settled, Settlement, Store

#: Outcomes that may wait for the store; attempts then wait to hand over theirs, and no slot is freed.
BACKLOG = 1_024
#: Seconds between tries while the store refuses, doubling between these.
_RETRY_FROM_S, _RETRY_TO_S = 0.05, 2.0
#: A pause that grows by less than this many seconds is not worth another line.
_NEWS_S = 1.0


class Ended(NamedTuple):
    """An attempt's end, decided but not recorded."""

    job: Job
    lease: Lease
    transition: Transition
    duration_s: float
    waited_s: float


_EVENTS: dict[Status, type[JobEnded]] = {
    Status.COMPLETED: JobCompleted,
    Status.RATE_LIMITED: JobRateLimited,
    Status.RETRY_AI: JobRetrying,
    Status.PENDING: JobInterrupted,
}


class Settler:
    """Takes ``Ended``s, settles them, emits their events and reports them to ``on_settled``."""

    def __init__(
        self, store: Store, events: Events, clock: Clock, on_settled: Callable[[list[Ended]], None], on_freed: Callable[[set[str]], None]
    ) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._on_settled = on_settled
        self._on_freed = on_freed
        self._announced: dict[str, float] = {}
        self._unsettled = 0
        self._send: MemoryObjectSendStream[Ended]
        self._receive: MemoryObjectReceiveStream[Ended]
        self._send, self._receive = anyio.create_memory_object_stream[Ended](BACKLOG)

    @property
    def unsettled(self) -> int:
        """How many outcomes are not recorded yet."""
        return self._unsettled

    async def put(self, ended: Ended) -> None:
        """Hand over an outcome; waits only while the backlog is full."""
        self._unsettled += 1
        try:
            self._send.send_nowait(ended)
        except anyio.WouldBlock:
            await self._send.send(ended)

    async def run(self) -> None:
        """Settle what comes, until ``finish``."""
        async for first in self._receive:
            batch = [first]
            while len(batch) < BACKLOG:
                try:
                    batch.append(self._receive.receive_nowait())
                except (anyio.WouldBlock, anyio.EndOfStream):
                    break
            await self._record(batch)
            self._unsettled -= len(batch)
            self._on_settled(batch)

    def finish(self) -> None:
        """No more will come: ``run`` ends when everything is recorded."""
        self._send.close()

    def close(self) -> None:
        """Give the queue back, whether or not ``run`` ever ran."""
        self._send.close()
        self._receive.close()

    async def settle(self, batch: list[Ended]) -> None:
        """Record ``batch`` past the queue: for ends that no attempt here brought about."""
        await self._record(batch)
        self._on_settled(batch)

    async def _record(self, batch: list[Ended]) -> None:
        """Settle and tell, however long the store refuses."""
        settlements = [Settlement(ended.lease, ended.transition) for ended in batch]
        failing_since: float | None = None
        delay_s = _RETRY_FROM_S
        while True:
            now = self._clock.now()
            try:
                results = await self._store.settle(settlements, now)
                break
            except StoreError as error:
                if failing_since is None:
                    failing_since = self._clock.monotonic()
                    self._events.emit(StoreFailing(now, str(error)))
                await self._clock.sleep(delay_s)
                delay_s = min(delay_s * 2, _RETRY_TO_S)
        if failing_since is not None:
            self._events.emit(StoreRecovered(now, self._clock.monotonic() - failing_since))
        for ended, result in zip(batch, results, strict=True):
            if result.applied:
                self._tell(ended, result, now)
            if result.freed or result.receipts:
                self._on_freed({*result.freed, *(draft.task_type for draft in ended.transition.follow_ups)})

    def _tell(self, ended: Ended, result: Settled, now: float) -> None:
        kind = _event_for(ended.transition)
        if self._events.wants(kind):
            told = (now, ended.job, ended.transition, ended.duration_s, ended.waited_s)
            self._events.emit(JobRateLimited(*told, result.window) if kind is JobRateLimited else kind(*told))
        for draft, receipt in zip(ended.transition.follow_ups, result.receipts, strict=False):
            if receipt.created:
                self._events.emit(JobEnqueued(now, draft))
        window = result.window
        if window is not None and window.until > self._announced.get(window.scope, 0.0) + _NEWS_S:
            self._announced[window.scope] = window.until
            self._events.emit(LanePaused(now, window))
        for scope in result.resumed:
            self._announced.pop(scope, None)
            self._events.emit(LaneResumed(now, scope, "probe_succeeded"))


def _event_for(transition: Transition) -> type[JobEnded]:
    if transition.status is Status.PENDING and transition.crashed:
        return JobLost
    return _EVENTS.get(transition.status, JobFailed)
