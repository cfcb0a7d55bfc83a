"""What becomes of the jobs of one run, counted as it happens: an event subscriber.

Nothing here asks the store: what other processes did to our jobs is told to ``found``. Memory is bounded
by the jobs that are not finished. Does not belong here: how counts look (``progress.py``, ``report.py``).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import anyio

from scheduler.events import Events, JobCancelled, JobEnded, JobEnqueued, JobEvent, JobFailed, JobStarted
from scheduler.job import FAILED, TERMINAL, Job, Status
from scheduler.webhooks.filters import DELIVER

SLOWEST = 5
SAMPLES_OF_A_KIND = 2


@dataclass(frozen=True, slots=True)
class Slow:
    """One of the longest attempts that ended a job."""

    duration_s: float
    job_id: str
    task_type: str
    target_id: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A completed job and its result, as an example."""

    job: Job
    result_json: str


class Tally:
    """Counts the jobs that this process enqueues or ``expect``s; without ``expecting`` every job that ends here."""

    def __init__(self, *, expecting: bool) -> None:
        self.ends: Counter[tuple[Status, str | None]] = Counter()
        self.open: dict[str, str] = {}
        self.put_off: dict[str, tuple[Status, str | None]] = {}
        self.samples: dict[str, list[Sample]] = {}
        self.all_ended: anyio.Event
        self._expecting = expecting
        self._running: set[str] = set()
        self._slowest: list[tuple[float, int, Slow]] = []

    def follow(self, events: Events) -> Callable[[], None]:
        """Count what happens on ``events``, from inside the event loop; returns the way out."""
        self.all_ended = anyio.Event()
        return events.subscribe(self.note, JobEnqueued, JobStarted, JobEnded, JobCancelled)

    def expect(self, job_id: str, task_type: str) -> None:
        """This job belongs to the run and is not finished as far as we know."""
        self.open[job_id] = task_type
        if self.all_ended.is_set():
            self.all_ended = anyio.Event()

    def note(self, event: JobEvent) -> None:
        """Count one event."""
        job = event.job
        if job.task_type == DELIVER:  # nobody waits for whoever else is told
            return
        if isinstance(event, JobEnqueued) and self._expecting:
            self.expect(job.job_id, job.task_type)
        if not isinstance(job, Job) or (self._expecting and job.job_id not in self.open):
            return
        if isinstance(event, JobStarted):
            self._running.add(job.job_id)
            self.put_off.pop(job.job_id, None)
        elif isinstance(event, JobCancelled):
            self._end(job.job_id, Status.CANCELLED, None)
        elif isinstance(event, JobEnded):
            self._ended(event, job)

    def found(self, jobs: Iterable[Job]) -> None:
        """What the store says of open jobs: somebody else may have finished them."""
        for job in jobs:
            if job.job_id not in self.open:
                continue
            if job.status in TERMINAL:
                self._end(job.job_id, job.status, job.reason if job.status is not Status.COMPLETED else None)
            elif job.reason is not None:
                self.put_off[job.job_id] = (job.status, job.reason)

    def gone(self, job_ids: Iterable[str]) -> None:
        """These open jobs were deleted from the store; there is nothing to count."""
        for job_id in job_ids:
            self._forget(job_id)

    @property
    def done(self) -> int:
        return self.ends.total()

    @property
    def failed(self) -> int:
        return sum(count for (status, _), count in self.ends.items() if status in FAILED)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Open jobs that do not run here."""
        return max(0, len(self.open) - len(self._running))

    def is_running(self, job_id: str) -> bool:
        return job_id in self._running

    @property
    def slowest(self) -> list[Slow]:
        """The longest first."""
        return [slow for _, _, slow in sorted(self._slowest, key=lambda one: (-one[0], -one[1]))]

    def by_status(self) -> dict[str, int]:
        """Every job of the run once, by where it stands; unfinished ones as last heard."""
        counts: Counter[Status] = Counter()
        for (status, _), count in (self.ends + self._unfinished()).items():
            counts[status] += count
        return {str(status): counts[status] for status in Status if counts[status]}

    def by_reason(self) -> dict[str, int]:
        """Failures, final or waiting, by reason; the most frequent first."""
        counts: Counter[str] = Counter()
        for (_, reason), count in (self.ends + self._unfinished()).items():
            if reason is not None:
                counts[reason] += count
        return dict(counts.most_common())

    def by_status_and_reason(self) -> list[tuple[str, str | None, int]]:
        order = list(Status)
        counts = self.ends + self._unfinished()
        return [
            (str(status), reason, counts[status, reason])
            for status, reason in sorted(counts, key=lambda one: (order.index(one[0]), -counts[one]))
        ]

    def _unfinished(self) -> Counter[tuple[Status, str | None]]:
        counts = Counter(self.put_off.values())
        counts[Status.PROCESSING, None] += len(self._running)
        counts[Status.PENDING, None] += max(0, len(self.open) - len(self.put_off) - len(self._running))
        return +counts

    def _ended(self, event: JobEnded, job: Job) -> None:
        end = event.transition
        self._running.discard(job.job_id)
        if end.status not in TERMINAL:
            if end.reason is not None and end.status is not Status.PENDING:
                self.put_off[job.job_id] = (end.status, end.reason)
            return
        self._end(job.job_id, end.status, end.reason)
        if end.status is Status.COMPLETED and end.result_json is not None:
            of_a_kind = self.samples.setdefault(f"{job.task_type}/{job.target_type}", [])
            if len(of_a_kind) < SAMPLES_OF_A_KIND:
                of_a_kind.append(Sample(job, end.result_json))
        if end.status is Status.COMPLETED or isinstance(event, JobFailed):
            self._slow(Slow(event.duration_s, job.job_id, job.task_type, job.target_id))

    def _slow(self, slow: Slow) -> None:
        entry = (slow.duration_s, -self.done, slow)
        if len(self._slowest) < SLOWEST:
            heapq.heappush(self._slowest, entry)
        elif entry[:2] > self._slowest[0][:2]:
            heapq.heapreplace(self._slowest, entry)

    def _end(self, job_id: str, status: Status, reason: str | None) -> None:
        self.ends[status, reason] += 1
        self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        self._running.discard(job_id)
        self.put_off.pop(job_id, None)
        self.open.pop(job_id, None)
        if not self.open:
            self.all_ended.set()


def counts_of(tally: Tally) -> dict[str, Any]:
    """The part of a machine's summary that every run has."""
    return {"jobs": tally.by_status(), "reasons": tally.by_reason()}
