"""What 429s alone show of a limit, and how soon one clears. Pure.

Between two rejections the provider let in just what its limit allows: both times it had nothing left. So calls
let in, divided by the time between, *is* the limit, whatever the provider's windows look like, as long as
the pauses between are short. They are made short by learning how soon a rejection clears. Until a rejection is seen the
pace grows by halves; after that it stays just below what was measured and tries a little more, in small steps, for
as long as calls wait for it.

Does not belong here: limits that a provider states (``meter.py``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Calls per second to begin with when nothing is known, and how that grows while no call was ever rejected.
START_PACE = 2.0
SEARCH_FACTOR, SEARCH_EVERY_S = 1.5, 5.0
#: Afterwards: one small step at a time, a little larger each time nothing happens.
STEP, STEP_GROWTH, STEP_MAX, STEP_EVERY_S = 0.01, 1.15, 0.1, 15.0
#: Stay this far below what was measured.
BELOW = 0.985
#: What is measured over less than this says little.
SPAN_S, SPAN_CALLS = 20.0, 20.0
#: When pauses took more of the time between two rejections than this, they hide what the limit is.
PAUSED_SHARE = 0.2
#: The shortest hold worth trying when the provider gives no hint, in seconds.
LEAST_HOLD_S = 0.05


@dataclass(slots=True)
class Blind:
    """``pace`` in calls per second. Times in seconds since the epoch."""

    pace: float = START_PACE
    searching: bool = True
    step: float = STEP
    stepped_at: float = 0.0
    let_in: float = 0.0
    rejected_at: float | None = None
    resumed_at: float = 0.0

    def began(self, now: float) -> None:
        """The first call ever."""
        self.stepped_at = self.resumed_at = now

    def grow(self, now: float) -> bool:
        """Calls wait for this pace, and nothing was rejected lately; returns whether the pace changed."""
        every_s = SEARCH_EVERY_S if self.searching else STEP_EVERY_S
        if now - self.stepped_at < every_s:
            return False
        self.stepped_at = now
        if self.searching:
            self.pace *= SEARCH_FACTOR
        else:
            self.pace *= 1.0 + self.step
            self.step = min(self.step * STEP_GROWTH, STEP_MAX)
        return True

    def rejected(self, now: float) -> None:
        """A rejection while calls were flowing: the quota was used up just now."""
        span_s = max(now - self.resumed_at, 1e-3)
        if self.searching:
            self.pace *= 0.6
        elif span_s < SPAN_S or self.let_in < SPAN_CALLS:
            self.pace *= 0.8
        else:
            self.pace = min(self._measured(now, span_s) * BELOW, self.pace * 0.995)
        self.pace = max(self.pace, 1e-4)
        self.searching = False
        self.step = STEP
        self.let_in = 0.0
        self.rejected_at = now

    def _measured(self, now: float, span_s: float) -> float:
        flowing = self.let_in / span_s
        whole_s = now - self.rejected_at if self.rejected_at is not None else span_s
        if whole_s - span_s <= PAUSED_SHARE * whole_s:
            return self.let_in / whole_s
        # During a long pause the provider's bucket filled up, nobody knows how far: the truth lies between.
        return math.sqrt(flowing * self.let_in / whole_s)

    def resumed(self, now: float) -> None:
        """Calls flow again."""
        self.resumed_at = self.stepped_at = now
        self.let_in = 0.0

    def shift(self, by_s: float) -> None:
        """The clock was set by so many seconds."""
        self.stepped_at, self.resumed_at = self.stepped_at + by_s, self.resumed_at + by_s
        self.rejected_at = None if self.rejected_at is None else self.rejected_at + by_s


@dataclass(slots=True)
class Clearing:
    """How soon a rejection without a hint clears: halved when a hold proved long enough, doubled while it does not."""

    learned_s: float | None = None

    def hold_s(self, strikes: int, base_s: float, cap_s: float) -> float:
        """The hold after rejection number ``strikes`` in a row."""
        first_s = base_s if self.learned_s is None else self.learned_s
        return min(first_s * 2.0 ** min(strikes - 1, 60), max(cap_s, first_s))

    def cleared(self, after_s: float, floor_s: float = LEAST_HOLD_S) -> None:
        """A call was let in ``after_s`` seconds after the first rejection."""
        self.learned_s = max(after_s / 2.0, floor_s)
