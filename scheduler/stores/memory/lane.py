"""The waiting jobs of one route of the memory store, in the order in which they may start."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from scheduler.job import Job

#: Abandoned heap entries that a lane may keep beyond two per waiting job, before it is rebuilt.
_SLACK = 64


class Lane:
    """The waiting jobs of one route. Two heaps: later ones by time, due ones by rank.

    Entries of jobs that left stay in the heaps until they come up, or until they outnumber the rest.
    """

    def __init__(self) -> None:
        self.waiting: dict[int, Job] = {}
        self._later: list[tuple[float, int]] = []
        self._due: list[tuple[int, int]] = []

    def add(self, job: Job) -> None:
        self.waiting[job.seq] = job
        heappush(self._later, (job.run_after, job.seq))

    def discard(self, job: Job) -> None:
        del self.waiting[job.seq]
        if len(self._later) + len(self._due) > 2 * len(self.waiting) + _SLACK:
            self._due = []
            self._later = [(job.run_after, seq) for seq, job in self.waiting.items()]
            heapify(self._later)

    def first(self, now: float) -> tuple[int, int] | None:
        """The rank of the due job that goes first: priority, then first come first served."""
        while self._later and self._later[0][0] <= now:
            _, seq = heappop(self._later)
            if self._is_due(seq, now):
                heappush(self._due, (-self.waiting[seq].priority, seq))
        while self._due:
            rank = self._due[0]
            if self._is_due(rank[1], now):
                return rank
            heappop(self._due)
            if rank[1] in self.waiting:  # due no more: its time was changed, or the clock was set back
                heappush(self._later, (self.waiting[rank[1]].run_after, rank[1]))
        return None

    def next_due(self) -> float | None:
        """When the next job falls due. Ask after ``first``, which takes out what is due already."""
        while self._later:
            run_after, seq = self._later[0]
            if seq in self.waiting and self.waiting[seq].run_after == run_after:
                return run_after
            heappop(self._later)
        return None

    def _is_due(self, seq: int, now: float) -> bool:
        return seq in self.waiting and self.waiting[seq].run_after <= now
