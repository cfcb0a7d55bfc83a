"""The workers for people: who lives, who is lost, what each runs.

Only what a glance can tell: on this machine by the process, elsewhere by the time since the last beat. Nothing is taken from
anybody on that account; that is the janitor's, who watches for longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scheduler.identity import is_alive
from scheduler.job import Status
from scheduler.offers import Offers, offers_from
from scheduler.stores.base import JobQuery, Store, Worker


@dataclass(frozen=True, slots=True)
class Listed:
    """A worker as it looks now. ``silent_s``: seconds since its last beat. ``by_task_type``: how many jobs of each type it holds.

    ``offers``: what it runs; None for a worker of a release that did not say.
    """

    worker: Worker
    lives: bool
    silent_s: float
    by_task_type: dict[str, int]
    offers: Offers | None

    @property
    def running(self) -> int:
        """How many jobs it holds."""
        return sum(self.by_task_type.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "worker": self.worker.worker_id,
            "state": "living" if self.lives else "lost",
            "host": self.worker.host,
            "pid": self.worker.pid,
            "started_at": self.worker.started_at,
            "silent_s": round(self.silent_s, 3),
            "lease_s": self.worker.lease_s,
            "running": self.running,
            "by_task_type": self.by_task_type,
            "offers": None if self.offers is None else self.offers.to_dict(),
        }


async def roster(store: Store, now: float) -> list[Listed]:
    """Every worker that has a row, the longest running first."""
    return [await _listed(store, worker, now) for worker in sorted(await store.workers(), key=lambda one: one.started_at)]


async def _listed(store: Store, worker: Worker, now: float) -> Listed:
    silent_s = max(0.0, now - worker.beat_at)
    alive = is_alive(worker)
    held = await store.count(JobQuery(statuses=frozenset({Status.PROCESSING}), worker=worker.worker_id))
    lives = silent_s <= worker.lease_s if alive is None else alive
    return Listed(worker, lives, silent_s, {tally.task_type: tally.count for tally in held}, offers_from(worker.offers_json))
