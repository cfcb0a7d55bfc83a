"""Counts for people, put together from what a store tells. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from scheduler.errors import SchedulerError
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


#: Nobody looks at more.
MAX_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many jobs ended in the time that begins ``at`` (seconds since the epoch)."""

    at: float
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def first_bucket(now: float, hours: float, bucket_s: float) -> float:
    """The beginning of the first of the buckets that cover the last ``hours``. Raises ``SchedulerError`` for what is no such time."""
    if not 1 <= bucket_s < math.inf:
        raise SchedulerError(f"bucket_s must be 1 second or more, not {bucket_s!r}")
    if not 0 < hours * 3_600 / bucket_s <= MAX_BUCKETS:
        raise SchedulerError(
            f"{hours!r} hours of {bucket_s!r} s each are not 1 to {MAX_BUCKETS:,} buckets: ask for fewer hours or longer buckets"
        )
    return max(0.0, (now - hours * 3_600) // bucket_s * bucket_s)


def buckets(counts: Iterable[tuple[float, Status, int]], since: float, now: float, bucket_s: float) -> list[Bucket]:
    """Every bucket from ``since`` to ``now``; ``counts`` name those that have something in them."""
    kinds: dict[tuple[int, str], int] = Counter()
    for at, status, count in counts:
        kinds[round((at - since) / bucket_s), "failed" if status.is_failure else str(status)] += count
    number = int((now - since) // bucket_s) + 1
    return [
        Bucket(since + place * bucket_s, **{kind: kinds[place, kind] for kind in ("completed", "failed", "cancelled")})
        for place in range(number)
    ]


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
