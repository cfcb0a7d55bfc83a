"""What a pool was charged with, over time. Pure.

Kept as running totals at a few moments of the last minute: enough to say how much was used since any of them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from scheduler.pools.quotas import Dimension

#: Totals are kept for moments this many seconds apart, this many of them.
EVERY_S, KEPT = 2.0, 36
DAY_S = 86_400.0

Total = tuple[float, float, float, float]  # seconds since the epoch, then requests, input and output tokens
_COLUMN = {Dimension.REQUESTS: 1, Dimension.INPUT_TOKENS: 2, Dimension.OUTPUT_TOKENS: 3}


@dataclass(slots=True)
class Ledger:
    """``totals``, oldest first; the last is the present one."""

    totals: list[Total] = field(default_factory=list)

    def charge(self, calls: float, input_tokens: float, output_tokens: float, now: float) -> None:
        """Count what was booked (or, negative, given back)."""
        totals = self.totals
        if not totals:
            totals.append((now, 0.0, 0.0, 0.0))
        at, *sums = totals[-1]
        new = (max(now, at), sums[0] + calls, sums[1] + input_tokens, sums[2] + output_tokens)
        if len(totals) >= 2 and new[0] - totals[-2][0] < EVERY_S:
            totals[-1] = new
        else:
            totals.append(new)
            del totals[:-KEPT]

    def since(self, dimension: Dimension, at: float) -> float:
        """Units charged after ``at`` (as far back as is kept)."""
        if not self.totals:
            return 0.0
        if dimension is Dimension.TOKENS:
            return self._since(2, at) + self._since(3, at)
        return self._since(_COLUMN[dimension], at)

    def _since(self, column: int, at: float) -> float:
        totals = self.totals
        index = bisect_right(totals, (at, float("inf"), 0.0, 0.0))
        if index == len(totals):
            return 0.0
        then = totals[index][column]
        if index > 0:  # between two moments, in proportion
            t0, t1 = totals[index - 1][0], totals[index][0]
            before = totals[index - 1][column]
            then = before + (then - before) * ((at - t0) / (t1 - t0) if t1 > t0 else 1.0)
        return totals[-1][column] - then

    def shift(self, by_s: float) -> None:
        """The clock was set by so many seconds."""
        self.totals = [(at + by_s, *sums) for at, *sums in self.totals]  # type: ignore[misc]


@dataclass(slots=True)
class Day:
    """What was used since midnight UTC."""

    number: int = 0
    calls: float = 0.0
    tokens: float = 0.0

    def charge(self, calls: float, tokens: float, now: float) -> None:
        number = int(now // DAY_S)
        if number != self.number:
            self.number, self.calls, self.tokens = number, 0.0, 0.0
        self.calls += calls
        self.tokens += tokens

    def calls_left(self, most_calls: float | None, now: float) -> int | None:
        """How many more calls the day allows."""
        if most_calls is None:
            return None
        return int(max(0.0, most_calls - (self.calls if self.number == int(now // DAY_S) else 0.0)))

    def used_up_until(self, most_calls: float | None, most_tokens: float | None, now: float) -> float | None:
        """The next midnight, when the day's quota is used up."""
        if self.number != int(now // DAY_S):
            return None
        if (most_calls is not None and self.calls >= most_calls) or (most_tokens is not None and self.tokens >= most_tokens):
            return (self.number + 1) * DAY_S
        return None
