"""How limits change at run time: a factor for each moment, and its integral. Pure.

Does not belong here: the limits themselves (``meters.py``).
"""

from __future__ import annotations

from bisect import bisect_right


class Schedule:
    """Steps ``(at_s, factor)`` after ``start``; before the first step the factor is 1."""

    def __init__(self, steps: tuple[tuple[float, float], ...], start: float) -> None:
        ordered = sorted(steps)
        self._times = [start + at_s for at_s, _ in ordered]
        self._factors = [1.0, *(factor for _, factor in ordered)]

    def factor(self, now: float) -> float:
        return self._factors[bisect_right(self._times, now)]

    def next_change(self, now: float) -> float:
        """The first step after ``now``; infinity if none is left."""
        place = bisect_right(self._times, now)
        return self._times[place] if place < len(self._times) else float("inf")

    def integral(self, t0: float, t1: float) -> float:
        """Factor times seconds from ``t0`` to ``t1``."""
        total = 0.0
        while t0 < t1:
            until = min(t1, self.next_change(t0))
            total += self.factor(t0) * (until - t0)
            t0 = until
        return total
