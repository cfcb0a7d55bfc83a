"""How fast a job works and how long it will take. Pure.

Only the time of its attempts counts: a job that a pause held for an hour is no slower for it, and what is left of the
pause is added where the end is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from scheduler.job import Job, Status
from scheduler.pauses import PauseWindow

#: What was long ago counts for less: its weight falls by e in so many seconds of work.
MEMORY_S = 120.0
#: What an earlier attempt found counts like so many seconds of this one.
PRIOR_S = 15.0
#: An end that far off, in seconds, is none.
FAR_S = 3e9


class Pace:
    """The speed of one attempt, newer seconds weighing more. ``at`` are seconds of any clock that nobody sets."""

    __slots__ = ("_at", "_done", "_time", "_work")

    def __init__(self, at: float, done: float, earlier: float | None = None) -> None:
        self._at = at
        self._done = done
        self._time = PRIOR_S if earlier else 0.0
        self._work = earlier * PRIOR_S if earlier else 0.0

    def moved(self, at: float, done: float) -> None:
        """``done`` of whatever is counted is done by now."""
        passed = max(0.0, at - self._at)
        fade = math.exp(-passed / MEMORY_S)
        self._time = self._time * fade + passed
        self._work = self._work * fade + max(0.0, done - self._done)
        self._at = at
        self._done = max(self._done, done)

    def rate(self) -> float | None:
        """So much a second; None while nothing was seen to move."""
        rate = self._work / self._time if self._time > 0 else 0.0
        return rate if rate > 0 else None

    def left_s(self, all_of_it: float) -> float | None:
        """Seconds until ``all_of_it`` is done at that rate; None where nobody can tell, or it is not in anybody's lifetime."""
        rate = self.rate()
        if rate is None or all_of_it - self._done >= rate * FAR_S:
            return None
        return max(0.0, all_of_it - self._done) / rate


def ends_at(job: Job, windows: Iterable[PauseWindow], scopes: Iterable[str], now: float) -> float | None:
    """When ``job`` will be done (seconds since the epoch), as far as its progress tells; None if unknown or never.

    ``scopes`` are the pause scopes that gate it. A waiting job starts when it is due and no pause holds it; whom it waits
    behind is not counted.
    """
    progress = job.progress
    if job.status.is_terminal or progress is None or progress.left_s is None:
        return None
    if job.status is Status.PROCESSING:
        return max(now, (progress.at or now) + progress.left_s)
    held = set(scopes)
    opens = [window.until for window in windows if window.scope in held]
    end = max([now, job.run_after, *opens]) + progress.left_s
    return end if math.isfinite(end) and end < 9e12 else None
