"""What happened in the memory store: entries by their numbers, and each job's."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import islice

from scheduler.job import Job
from scheduler.journal import PROGRESS, Entry, entry_of


class Journal:
    """Numbers only grow; ``_order`` has them as they came."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._order: list[int] = []
        self._of_job: dict[int, list[int]] = {}
        self._last = 0

    def note(self, before: Job | None, job: Job, at: float) -> None:
        entry = entry_of(before, job, at)
        if entry is not None:
            worker = entry.worker if before is None else entry.worker or before.worker
            self.add(replace(entry, worker=worker))

    def add(self, entry: Entry) -> None:
        self._last += 1
        self._entries[self._last] = replace(entry, id=self._last)
        self._order.append(self._last)
        if entry.seq is not None:
            self._of_job.setdefault(entry.seq, []).append(self._last)

    def forget(self, seq: int) -> None:
        """The job is gone."""
        for number in self._of_job.pop(seq, ()):
            self._entries.pop(number, None)

    def read(self, after: int, owners: frozenset[str] | None, seq: int | None, upto: int | None, limit: int) -> list[Entry]:
        numbers = self._order if seq is None else self._of_job.get(seq, [])
        last = self._last if upto is None else upto
        found = (self._entries.get(numbers[place]) for place in range(bisect_right(numbers, after), bisect_right(numbers, last)))
        return list(islice((entry for entry in found if entry is not None and (owners is None or entry.owner in owners)), limit))

    def span(self) -> tuple[int, int]:
        return min(self._entries, default=self._last + 1), self._last

    def prune(self, before: float, superseded_before: float, limit: int) -> int:
        old = list(islice((entry for entry in self._entries.values() if entry.at < before), limit))
        newest = {entry.seq: entry.id for entry in self._entries.values() if entry.name == PROGRESS}
        stale = [one for one in self._entries.values() if one.name == PROGRESS and one.at < superseded_before and one.id != newest[one.seq]]
        gone = {entry.id for entry in [*old, *stale[:limit]]}
        for number in gone:
            del self._entries[number]
        if gone:
            self._order = list(self._entries)
            self._of_job = {}
            for entry in self._entries.values():
                if entry.seq is not None:
                    self._of_job.setdefault(entry.seq, []).append(entry.id)
        return len(gone)
