"""What there is still to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scheduler.job import UNFINISHED
from scheduler.pauses import OWNER_PREFIX
from scheduler.stores.base import JobQuery, Store


@dataclass(frozen=True, slots=True)
class Left:
    """``jobs`` are unfinished; ``due_at`` (seconds since the epoch) is when the next of them falls due, None if none will by itself."""

    jobs: int
    due_at: float | None

    def to_dict(self) -> dict[str, Any]:
        return {"jobs": self.jobs, "due_at": self.due_at}


async def left(store: Store, now: float) -> Left:
    """What a bounded run leaves: for hosts that forbid long processes, and come back."""
    lanes = await store.lanes(now)
    unfinished = sum(tally.count for tally in await store.count(JobQuery(statuses=UNFINISHED)))
    return Left(unfinished, now if lanes.ready else lanes.next_due)


async def movable(store: Store, closed: Iterable[str]) -> list[str]:
    """The task types of unfinished jobs that can run before a person moves them. ``closed`` scopes are so until somebody opens them."""
    everything = JobQuery(statuses=UNFINISHED, can_run=True)
    counts = await _by_type(store, everything)
    for scope in closed:
        if scope.startswith(OWNER_PREFIX):
            counts -= await _by_type(store, JobQuery(statuses=UNFINISHED, can_run=True, owner=scope.removeprefix(OWNER_PREFIX)))
    return [task_type for task_type, count in counts.items() if count > 0]


async def has_of(store: Store, task_type: str, target_types: Iterable[str] | None) -> bool:
    """Whether a task type that has unfinished jobs has any of these target types; None stands for all."""
    if target_types is None:
        return True
    own = [JobQuery(statuses=UNFINISHED, task_types=frozenset({task_type}), target_type=name) for name in target_types]
    return any([await store.count(query) for query in own])


async def _by_type(store: Store, query: JobQuery) -> Counter[str]:
    counts: Counter[str] = Counter()
    for tally in await store.count(query):
        counts[tally.task_type] += tally.count
    return counts
