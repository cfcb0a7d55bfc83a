"""The janitor: takes back what dead workers held, gives up on what waited too long, deletes what is old.

Whether another worker lives is judged by what can be seen: its process on this machine, else whether its
beats still grow, by this process's own monotonic clock, so that a clock set forward takes nothing from anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from scheduler.clock import Clock
from scheduler.decide import decide
from scheduler.errors import StoreError
from scheduler.events import Events, JobFailed
from scheduler.identity import is_alive
from scheduler.job import Job, Lease, Status, Transition
from scheduler.outcome import Lost, WaitedTooLong
from scheduler.policy import Policy
from scheduler.retention import prune
from scheduler.settings import Settings
from scheduler.settler import Ended, Settler
from scheduler.stores.base import JobQuery, Store, Worker

#: So many jobs are handled in one write.
PORTION = 500
#: A round deletes at most so many portions, so that writers get their turn between rounds.
PORTIONS = 20
#: Other workers are looked at so many times in a lease.
LOOKS = 35
#: A beat is seen up to one look late, and so is the lack of one: both are taken off, so that jobs move on within the lease.
_LATE_LOOKS = 2
#: Whoever begins to take back has so many seconds before another worker may.
TURN_S = 5.0


class Janitor:
    """Makes its rounds; owns what it has seen of the other workers' beats."""

    def __init__(self, store: Store, settler: Settler, settings: Settings, events: Events, clock: Clock, rng: Random, worker: str) -> None:
        self._store = store
        self._settler = settler
        self._settings = settings
        self._events = events
        self._clock = clock
        self._rng = rng
        self.worker = worker
        self._seen: dict[str, tuple[int, float]] = {}

    async def run(self) -> None:
        """Rounds without end, until cancelled: many looks at the other workers, now and then a sweep."""
        every_s = self._settings.retention.sweep_interval_s
        sweep_at = self._clock.monotonic() + every_s
        while True:
            await self._clock.sleep(min(self._settings.scheduler.lease_s / LOOKS, every_s))
            try:
                await self.watch()
                if self._clock.monotonic() >= sweep_at:
                    sweep_at = self._clock.monotonic() + every_s
                    if await self._store.take_turn("sweep", self.worker, self._clock.now(), every_s):
                        await self.run_once()
            except StoreError:  # the dispatcher reports a store that fails; the next round tries again
                self._seen.clear()  # nobody could write a beat either: a lease begins anew when the store is back

    async def watch(self) -> None:
        """Look at the other workers' beats; take back from those that are lost, one worker at a time."""
        now = self._clock.monotonic()
        workers = await self._store.workers()
        lost = [worker for worker in workers if worker.worker_id != self.worker and self._is_lost(worker, now)]
        if lost and await self._store.take_turn("take back", self.worker, self._clock.now(), TURN_S):
            await self.take_back()

    async def run_once(self) -> None:
        """One sweep."""
        await self.take_back()
        await self.give_up()
        await prune(self._store, self._settings.retention, self._clock.now(), portions=PORTIONS)

    async def take_back(self) -> None:
        """Hand the jobs of dead workers to the same ``decide`` as every other end of an attempt."""
        now = self._clock.monotonic()
        workers = await self._store.workers()
        living = {worker.worker_id for worker in workers if worker.worker_id == self.worker or not self._is_lost(worker, now)}
        self._seen = {worker_id: seen for worker_id, seen in self._seen.items() if worker_id in living}
        held = JobQuery(statuses=frozenset({Status.PROCESSING}), newest_first=False, limit=PORTION, after_seq=0)
        while jobs := await self._store.find(held):
            held = replace(held, after_seq=jobs[-1].seq)
            lost = [job for job in jobs if job.worker not in living]
            if lost:
                await self._settler.settle([self._ended(job) for job in lost])
        for worker in workers:
            if worker.worker_id not in living:
                await self._store.dismiss(worker.worker_id)

    def _is_lost(self, worker: Worker, now: float) -> bool:
        alive = is_alive(worker)
        if alive is False:
            return True
        beats, since = self._seen.get(worker.worker_id, (-1, now))
        if beats != worker.beats:
            since = now
        self._seen[worker.worker_id] = (worker.beats, since)
        late_s = _LATE_LOOKS * min(worker.lease_s, self._settings.scheduler.lease_s) / LOOKS
        return now - since >= worker.lease_s - late_s

    def _ended(self, job: Job) -> Ended:
        transition = decide(job, Lost(job.worker or "unknown"), Policy(), self._clock.now(), self._rng)
        return Ended(job, Lease(job.seq, job.job_id, job.token), transition, 0.0, 0.0)

    async def give_up(self) -> None:
        """Fail what a provider put off for longer than ``give_up_after_s``."""
        limit_s = self._settings.scheduler.give_up_after_s
        if limit_s == float("inf"):
            return
        now = self._clock.now()
        query = JobQuery(waiting_before=now - limit_s, newest_first=False, limit=PORTION)
        while ended := await self._store.give_up(query, self._transition(now), now):
            for job, transition in ended:
                self._events.emit(JobFailed(now, job, transition, 0.0, now - job.created_at))

    def _transition(self, now: float) -> Callable[[Job], Transition]:
        return lambda job: decide(job, WaitedTooLong(), Policy(), now, self._rng)
