"""When a run ends by itself. Pure: whoever runs says what time it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """``until_empty``: when nothing is left. ``max_seconds`` and ``max_jobs`` bound a slice of work."""

    until_empty: bool = False
    max_seconds: float | None = None
    max_jobs: int | None = None


class Bounds:
    """The limits of a run that began ``now`` (monotonic seconds).

    From ``drains_at`` on, the last quarter of a slice and at most ``grace_s`` before ``ends_at``, nothing starts; ``may_start`` jobs more
    may start at all.
    """

    def __init__(self, limits: Limits, now: float, grace_s: float) -> None:
        seconds = float("inf") if limits.max_seconds is None else limits.max_seconds
        self.ends_at = now + seconds
        self.drains_at = self.ends_at - min(grace_s, seconds / 4)
        self.may_start = float("inf") if limits.max_jobs is None else limits.max_jobs
