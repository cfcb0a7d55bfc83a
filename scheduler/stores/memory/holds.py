"""Which jobs somebody paused, until when, and when they would be due; in the memory store."""

from __future__ import annotations

from scheduler.job import Job


class Holds:
    """By job."""

    def __init__(self) -> None:
        self._holds: dict[int, tuple[float, float]] = {}

    def until(self, job: Job) -> float:
        """Until when it is held."""
        return self._holds[job.seq][0] if job.held else float("-inf")

    def hold(self, job: Job, until: float) -> Job:
        """``job``, held until then."""
        due = self._holds[job.seq][1] if job.held else job.run_after
        self._holds[job.seq] = (until, due)
        return job._replace(held=True, run_after=max(due, until) if job.status.is_waiting else job.run_after)

    def put_off(self, job: Job) -> Job:
        """A job whose attempt has ended: while it is held, it waits."""
        if not job.held or not job.status.is_waiting:
            return job
        until, _ = self._holds[job.seq]
        return self.hold(job._replace(held=False), until)

    def let_go(self, job: Job) -> Job:
        """``job``, due when it was before."""
        _, due = self._holds.pop(job.seq)
        return job._replace(held=False, run_after=due if job.status.is_waiting else job.run_after)

    def forget(self, job: Job) -> None:
        self._holds.pop(job.seq, None)
