"""The scribe: writes down what running attempts report, without letting them wait or flood the store.

Progress is coalesced per attempt and written a few times a second; a checkpoint is written at once, and waits for a store that is away.
"""

from __future__ import annotations

import anyio

from scheduler.clock import Clock
from scheduler.errors import StoreBusyError, StoreError, StoreFullError
from scheduler.events import Events, JobProgressed, StoreFailing, StoreRecovered
from scheduler.job import Job, Lease, Progress
from scheduler.stores.base import Store
from scheduler.values import encode_json

#: Seconds between two writes of progress.
PACE_S = 0.25
#: Seconds until a checkpoint that the store did not take is tried again, doubling between these.
_AGAIN_FROM_S, _AGAIN_TO_S = 0.05, 2.0


class Scribe:
    """Owns the progress that is not stored yet."""

    def __init__(self, store: Store, events: Events, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._unwritten: dict[Lease, Progress] = {}
        self._news = anyio.Event()
        self._failing_since: float | None = None

    def progress(self, job: Job, lease: Lease, progress: Progress) -> None:
        """Take note; returns at once."""
        self._unwritten[lease] = progress
        self._news.set()
        if self._events.wants(JobProgressed):
            self._events.emit(JobProgressed(self._clock.now(), job, progress))

    async def checkpoint(self, job: Job, lease: Lease, state_json: str) -> None:
        """Store a checkpoint; durable when this returns. A lease that lapsed stores nothing.

        A store that is away, busy or full for a while is none of the job's fault: it is asked again until it answers, or
        until the attempt is cancelled (decision 0015).
        """
        delay_s = _AGAIN_FROM_S
        while True:
            try:
                await self._store.note(lease, self._clock.now(), state_json=state_json)
                break
            except (StoreBusyError, StoreFullError) as error:
                if self._failing_since is None:
                    self._failing_since = self._clock.monotonic()
                    self._events.emit(StoreFailing(self._clock.now(), str(error)))
            await self._clock.sleep(delay_s)
            delay_s = min(delay_s * 2, _AGAIN_TO_S)
        if self._failing_since is not None:
            failed_s, self._failing_since = self._clock.monotonic() - self._failing_since, None
            self._events.emit(StoreRecovered(self._clock.now(), failed_s))

    def holds(self, lease: Lease) -> bool:
        """Whether the attempt has progress that is not stored yet."""
        return lease in self._unwritten

    async def finish(self, lease: Lease) -> None:
        """Write the attempt's last progress before its end is recorded."""
        progress = self._unwritten.pop(lease, None)
        if progress is not None:
            await self._write(lease, progress)

    async def run(self) -> None:
        """Write what gathers, until cancelled."""
        while True:
            await self._news.wait()
            await self._clock.sleep(PACE_S)
            self._news = anyio.Event()
            await self.run_once()

    async def run_once(self) -> None:
        """Write everything that gathered."""
        while self._unwritten:
            lease, progress = self._unwritten.popitem()
            await self._write(lease, progress)

    async def _write(self, lease: Lease, progress: Progress) -> None:
        values = {"percent": progress.percent, "message": progress.message, "current": progress.current, "total": progress.total}
        try:
            await self._store.note(lease, self._clock.now(), progress_json=encode_json(values, "progress"))
        except StoreError:
            return  # progress is a courtesy: the next one, or the outcome, says more
