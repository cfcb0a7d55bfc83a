"""What a bounded run leaves: for hosts that forbid long processes, and come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scheduler.job import UNFINISHED
from scheduler.stores.base import JobQuery, Store


@dataclass(frozen=True, slots=True)
class Left:
    """``jobs`` are unfinished; ``due_at`` (seconds since the epoch) is when the next of them falls due, None if none will by itself."""

    jobs: int
    due_at: float | None

    def to_dict(self) -> dict[str, Any]:
        return {"jobs": self.jobs, "due_at": self.due_at}


async def left(store: Store, now: float) -> Left:
    """What there is to do by now."""
    lanes = await store.lanes(now)
    unfinished = sum(tally.count for tally in await store.count(JobQuery(statuses=UNFINISHED)))
    return Left(unfinished, now if lanes.ready else lanes.next_due)
