"""What happens, counted for Prometheus: a subscriber, nothing else.

Counters and histograms are of this process; gauges of the store (jobs by status, pauses) are read when somebody asks (``api/probes.py``).
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scheduler.events import (
    Events,
    JobCancelled,
    JobEnded,
    JobEnqueued,
    JobStarted,
    LanePaused,
    LoopBlocked,
    StoreFailing,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0)


class Metrics:
    """``registry`` holds them; ``follow`` begins to count."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        by_type = ["task_type"]
        self._enqueued = Counter("scheduler_jobs_enqueued", "Jobs stored by this process", by_type, registry=own)
        self._started = Counter("scheduler_attempts_started", "Attempts started here", by_type, registry=own)
        self._ended = Counter(
            "scheduler_attempts_ended", "Attempts that ended here, by what became of the job", [*by_type, "status", "reason"], registry=own
        )
        self._cancelled = Counter("scheduler_jobs_cancelled", "Jobs cancelled by this process", by_type, registry=own)
        self._duration = Histogram("scheduler_attempt_duration_seconds", "How long attempts took", by_type, registry=own, buckets=_SECONDS)
        self._waited = Histogram("scheduler_job_waited_seconds", "From due to started", by_type, registry=own, buckets=_SECONDS)
        self._paused = Counter("scheduler_pauses", "Pauses that began or were extended here, by reason", ["reason"], registry=own)
        self._blocked = Counter("scheduler_loop_blocked", "How often a handler kept the event loop from turning", registry=own)
        self._failing = Counter("scheduler_store_failures", "How often the store began to refuse writes", registry=own)
        self.jobs = Gauge("scheduler_jobs", "Jobs in the store", ["status"], registry=own)
        self.closed = Gauge("scheduler_paused_scopes", "Task types, pools and owners that are paused", registry=own)
        self.workers = Gauge("scheduler_workers", "Workers that have a row in the store", registry=own)
        self.streams = Gauge("scheduler_streams", "Open event streams of this process", registry=own)

    def follow(self, events: Events) -> None:
        events.subscribe(lambda event: self._enqueued.labels(event.job.task_type).inc(), JobEnqueued)
        events.subscribe(self._on_started, JobStarted)
        events.subscribe(self._on_ended, JobEnded)
        events.subscribe(lambda event: self._cancelled.labels(event.job.task_type).inc(), JobCancelled)
        events.subscribe(lambda event: self._paused.labels(event.window.reason).inc(), LanePaused)
        events.subscribe(lambda event: self._blocked.inc(), LoopBlocked)
        events.subscribe(lambda event: self._failing.inc(), StoreFailing)

    def _on_started(self, event: JobStarted) -> None:
        self._started.labels(event.job.task_type).inc()
        self._waited.labels(event.job.task_type).observe(max(0.0, event.waited_s))

    def _on_ended(self, event: JobEnded) -> None:
        task_type, end = event.job.task_type, event.transition
        self._ended.labels(task_type, str(end.status), end.reason or "").inc()
        self._duration.labels(task_type).observe(event.duration_s)
