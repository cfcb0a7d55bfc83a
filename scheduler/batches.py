"""Jobs that are followed as one: how a batch goes in, how it stands."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from scheduler.errors import InvalidJobError
from scheduler.job import BATCH_PREFIX, TERMINAL, NewJob, Receipt, Status
from scheduler.stores.base import JobQuery, Store


@dataclass(frozen=True, slots=True)
class BatchReceipt:
    """A batch that was stored. ``callback`` is the receipt of the job that runs when all have ended."""

    name: str
    receipts: list[Receipt]
    callback: Receipt | None


@dataclass(frozen=True, slots=True)
class Batch:
    """How a batch stands: ``by_status`` counts its jobs."""

    name: str
    total: int
    by_status: dict[Status, int]

    @property
    def ended(self) -> int:
        return sum(count for status, count in self.by_status.items() if status in TERMINAL)

    @property
    def percent(self) -> float:
        """How much of it has ended, whether it succeeded or not."""
        return 100.0 * self.ended / self.total if self.total else 100.0

    def to_dict(self) -> dict[str, Any]:
        counts = {str(status): count for status, count in sorted(self.by_status.items())}
        return {"batch": self.name, "total": self.total, "ended": self.ended, "percent": round(self.percent, 2), "by_status": counts}


async def members(
    jobs: Iterable[NewJob] | AsyncIterable[NewJob], name: str, owner: str | None, callback: NewJob | None
) -> AsyncIterator[NewJob]:
    """``jobs`` as members of the batch, then its callback, which so goes in with the last of them."""
    if isinstance(jobs, AsyncIterable):
        async for job in jobs:
            yield _member(job, name, owner)
    else:
        for job in jobs:
            yield _member(job, name, owner)
    if callback is not None:
        yield callback._replace(owner=owner, after=(*callback.after, BATCH_PREFIX + name), if_failed="run")


def _member(job: NewJob, name: str, owner: str | None) -> NewJob:
    if not isinstance(job, NewJob):
        raise InvalidJobError(f"enqueue_batch takes NewJob records, not {type(job).__name__}")
    return job._replace(batch=name, owner=owner)


async def batch_of(store: Store, name: str, owner: str | None) -> Batch | None:
    """How the batch stands; None if there is none."""
    counts: dict[Status, int] = {}
    for tally in await store.count(JobQuery(batch=name, owner=owner)):
        counts[tally.status] = counts.get(tally.status, 0) + tally.count
    return Batch(name, sum(counts.values()), counts) if counts else None
