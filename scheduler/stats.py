"""Counts for people, put together from what a store tells. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scheduler.job import TERMINAL, Status
from scheduler.pauses import PauseWindow
from scheduler.stores.base import Tally, Worker


@dataclass(frozen=True, slots=True)
class Stats:
    """How many jobs stand where. ``reasons`` counts failures, waiting or terminal, by reason."""

    total: int
    by_status: dict[str, int]
    by_task_type: dict[str, dict[str, int]]
    reasons: dict[str, int]
    pauses: list[PauseWindow]
    workers: list[Worker]

    @property
    def unfinished(self) -> int:
        return sum(count for status, count in self.by_status.items() if Status(status) not in TERMINAL)

    def to_dict(self, now: float) -> dict[str, Any]:
        """JSON types only."""
        return {
            "total": self.total,
            "unfinished": self.unfinished,
            "by_status": self.by_status,
            "by_task_type": self.by_task_type,
            "reasons": self.reasons,
            "pauses": [pause_dict(window, now) for window in self.pauses],
            "workers": [{"worker": worker.worker_id, "host": worker.host, "pid": worker.pid} for worker in self.workers],
        }


def stats_of(tallies: Iterable[Tally], pauses: list[PauseWindow], workers: list[Worker]) -> Stats:
    """Add up."""
    by_status: Counter[str] = Counter()
    by_type: dict[str, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    for tally in tallies:
        by_status[str(tally.status)] += tally.count
        by_type.setdefault(tally.task_type, Counter())[str(tally.status)] += tally.count
        if tally.reason is not None:
            reasons[tally.reason] += tally.count
    return Stats(
        total=by_status.total(),
        by_status={str(status): by_status[status] for status in Status if by_status[status]},
        by_task_type={name: dict(sorted(counts.items())) for name, counts in sorted(by_type.items())},
        reasons=dict(reasons.most_common()),
        pauses=pauses,
        workers=workers,
    )


def pause_dict(window: PauseWindow, now: float) -> dict[str, Any]:
    """A pause as JSON types; ``remaining_s`` is None for one without end, 0 for one that waits for its probe."""
    remaining = window.until - now
    endless = window.until == float("inf")
    return {
        "scope": window.scope,
        "gate": str(window.gate(now)),
        "reason": window.reason,
        "until": None if endless else window.until,
        "remaining_s": None if endless else round(max(0.0, remaining), 3),
        "set_at": window.set_at,
        "set_by": window.set_by,
        "strikes": window.strikes,
        "probe": window.probe,
    }
