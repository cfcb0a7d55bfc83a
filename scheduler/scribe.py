"""The scribe: writes down what running attempts report, without letting them wait or flood the store.

Progress is coalesced per attempt, written and told a few times a second, the last one always; checkpoints and the outcomes of
items are written at once, and wait for a store that is away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import anyio

from scheduler.clock import Clock
from scheduler.errors import StoreBusyError, StoreError, StoreFullError
from scheduler.events import Events, JobProgressed, StoreFailing, StoreRecovered
from scheduler.job import Item, Job, Lease, Ledger, Oks, Progress
from scheduler.stores.base import Store
from scheduler.values import encode_json

#: Seconds between two writes of progress.
PACE_S = 0.25
#: Seconds until what the store did not take is tried again, doubling between these.
_AGAIN_FROM_S, _AGAIN_TO_S = 0.05, 2.0


class Scribe:
    """Owns the progress that is not stored yet."""

    def __init__(self, store: Store, events: Events, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._unwritten: dict[Lease, tuple[Job, Callable[[], Progress]]] = {}
        self._news = anyio.Event()
        self._failing_since: float | None = None

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def progress(self, job: Job, lease: Lease, read: Callable[[], Progress]) -> None:
        """Take note that there is something to ``read``; returns at once."""
        if not self._unwritten:
            self._news.set()
        self._unwritten[lease] = (job, read)

    async def checkpoint(self, lease: Lease, state_json: str) -> bool:
        """Store a checkpoint; durable when this returns. A lease that lapsed stores nothing: False."""
        return await self._insist(lambda: self._store.note(lease, self._clock.now(), state_json=state_json))

    async def record(self, job: Job, lease: Lease, ledger: Ledger, items: Sequence[Item], progress: Progress | None) -> bool:
        """Store the outcomes of items, durably, and progress with them. A lease that lapsed stores nothing: False."""
        now = self._clock.now()
        if progress is None:
            return await self._insist(lambda: self._store.record(lease, ledger, items, now))
        self._unwritten.pop(lease, None)  # older than this
        progress = replace(progress, at=now)
        stored = await self._insist(lambda: self._store.record(lease, ledger, items, now, progress_json=_encoded(progress)))
        if stored:
            self._tell(job, progress, now)
        return stored

    async def _insist(self, write: Callable[[], Awaitable[bool]]) -> bool:
        """Ask the store until it answers, or until the attempt is cancelled.

        A store that is away, busy or full for a while is none of the job's fault (decision 0015).
        """
        delay_s = _AGAIN_FROM_S
        while True:
            try:
                stored = await write()
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
        return stored

    async def ledgers(self, job_id: str) -> list[Ledger]:
        return await self._store.ledgers(job_id)

    async def items(self, job_id: str, name: str, ok: Oks | None, after: int, limit: int) -> list[Item]:
        return await self._store.items(job_id, name, ok=ok, after=after, limit=limit)

    def holds(self, lease: Lease) -> bool:
        """Whether the attempt has progress that is not stored yet."""
        return lease in self._unwritten

    async def finish(self, lease: Lease) -> None:
        """Write the attempt's last progress before its end is recorded."""
        last = self._unwritten.pop(lease, None)
        if last is not None:
            await self._write({lease: last})

    async def run(self) -> None:
        """Write what gathers, until cancelled."""
        while True:
            await self._news.wait()
            await self._clock.sleep(PACE_S)
            self._news = anyio.Event()
            await self.run_once()

    async def run_once(self) -> None:
        """Write everything that gathered."""
        gathered, self._unwritten = self._unwritten, {}
        if gathered:
            await self._write(gathered)

    async def _write(self, gathered: Mapping[Lease, tuple[Job, Callable[[], Progress]]]) -> None:
        now = self._clock.now()
        written: list[tuple[Lease, str]] = []
        for lease, (job, read) in gathered.items():
            progress = replace(read(), at=now)
            self._tell(job, progress, now)
            written.append((lease, _encoded(progress)))
        try:
            await self._store.report(written, now)
        except StoreError:
            return  # progress is a courtesy: the next one, or the outcome, says more

    def _tell(self, job: Job, progress: Progress, now: float) -> None:
        if self._events.wants(JobProgressed):
            self._events.emit(JobProgressed(now, job, progress))


def _encoded(progress: Progress) -> str:
    values = {field: getattr(progress, field) for field in progress.__slots__}
    return encode_json({field: value for field, value in values.items() if value is not None}, "progress")
