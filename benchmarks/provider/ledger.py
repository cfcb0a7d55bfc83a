"""What happened when, and how much: sums over spans of time. Pure.

Does not belong here: what counts as used or offered (``model.py``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict


class Series:
    """Amounts in the order of their moments; sums over ``[t0, t1)`` in logarithmic time."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._sums: list[float] = [0.0]

    def add(self, at: float, amount: float = 1.0) -> None:
        self._times.append(at)
        self._sums.append(self._sums[-1] + amount)

    def total(self, t0: float, t1: float) -> float:
        first, last = bisect_left(self._times, t0), bisect_left(self._times, t1)
        return self._sums[max(last, first)] - self._sums[first]


class Ledger:
    """A series for each name."""

    def __init__(self) -> None:
        self._series: defaultdict[str, Series] = defaultdict(Series)

    def add(self, name: str, at: float, amount: float = 1.0) -> None:
        self._series[name].add(at, amount)

    def total(self, name: str, t0: float, t1: float) -> float:
        return self._series[name].total(t0, t1) if name in self._series else 0.0

    def names(self) -> list[str]:
        return sorted(self._series)
