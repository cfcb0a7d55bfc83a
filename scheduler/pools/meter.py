"""One dimension of a pool's quota: what is known of its limit, from which signal, and the pace that follows. Pure.

The pace is the limit, less a little headroom, slowed down when the provider's own count says that less is left than
we think (somebody else uses the same key, or charges differ from our estimates). What ``reset`` means is told from the numbers:
in a bucket that fills all the time it is the time until it is *full*, so it follows from how much is used; in a window
it runs down whatever is used.

Does not belong here: parsing headers (``quotas.py``), limits that nobody states (``blind.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.pools.ledger import Ledger
from scheduler.pools.quotas import Dimension, Reading, implied_period_s
from scheduler.pools.timeline import Timeline

#: Stay this far below a limit that is known: clocks differ, and a call may arrive sooner than sent.
HEADROOM = 0.997
MINUTE_S = 60.0
#: Quotas of longer periods are not spread out, only counted: nobody wants a day's budget to trickle.
PACED_S = 600.0
#: A bucket that is emptier than this share of the most it ever held slows us down in proportion.
LOW = 0.25
SLOWEST = 0.05
#: What headers said is believed for so many seconds.
FRESH_S = 120.0
#: So many agreeing readings settle what kind of quota it is.
VOTES = 8


@dataclass(slots=True)
class Meter:
    """What is known of one limit, and how far its quota is booked."""

    dimension: Dimension
    limit: float | None = None
    period_s: float = MINUTE_S
    source: str = ""
    said_at: float = 0.0
    remaining: float | None = None
    rounding: float = 0.0
    asked_at: float = 0.0
    resets_at: float | None = None
    top: float = 0.0
    votes: int = 0
    line: Timeline = field(default_factory=Timeline)

    # -- what is known

    def hear(self, reading: Reading, asked_at: float, now: float) -> bool:
        """Take in what an answer said of a call sent at ``asked_at``; returns whether the limit changed."""
        changed = False
        if reading.limit is not None and reading.limit > 0:
            period_s = reading.period_s or self._period_of(reading)
            changed = reading.limit != self.limit or period_s != self.period_s
            if changed:
                self.limit, self.period_s, self.source, self.top, self.votes = reading.limit, period_s, reading.source, 0.0, 0
            self.said_at = now
        if asked_at < self.asked_at:  # answers overtake each other: the call that was sent last knows most
            return changed
        if reading.remaining is not None:
            self.remaining, self.asked_at, self.rounding = reading.remaining, asked_at, reading.rounding
            self.top = max(self.top, reading.remaining)
            self.resets_at = None if reading.reset_s is None else now + reading.reset_s
            self._vote(reading)
        return changed

    def learn(self, limit: float, period_s: float, source: str, now: float) -> bool:
        """A limit that a 429's own words state."""
        changed = (limit, period_s) != (self.limit, self.period_s)
        self.limit, self.period_s, self.source, self.said_at = limit, period_s, source, now
        return changed

    def _period_of(self, reading: Reading) -> float:
        implied_s = implied_period_s(reading.limit, reading.remaining, reading.reset_s)
        return implied_s if implied_s is not None and (implied_s > PACED_S or self.limit is None) else self.period_s

    def _vote(self, reading: Reading) -> None:
        if reading.limit is None or reading.reset_s is None or reading.remaining is None:
            return
        # A bucket may hold less than a whole period's worth: then it is full again sooner.
        fulls_s = [(full - reading.remaining) / reading.limit * self.period_s for full in (reading.limit, self.top)]
        if max(*fulls_s, reading.reset_s) < 0.02 * self.period_s:
            return  # hardly used: says nothing
        agrees = any(abs(reading.reset_s - full_s) <= 0.15 * max(full_s, reading.reset_s) + 0.5 for full_s in fulls_s)
        self.votes = max(-VOTES, min(VOTES, self.votes + (1 if agrees else -1)))

    @property
    def is_window(self) -> bool:
        """Whether the quota starts anew at once, rather than filling up all the time."""
        return self.votes <= -VOTES // 2

    @property
    def is_said_by_header(self) -> bool:
        return self.limit is not None and self.asked_at > 0.0

    # -- the pace that follows

    def rate(self, configured: float | None) -> float | None:
        """The limit in units per second, None if unknown; ``configured`` is per minute, the lower one holds."""
        known = [limit for limit in (self._said_rate(), None if configured is None else configured / MINUTE_S) if limit is not None]
        return min(known) if known else None

    def _said_rate(self) -> float | None:
        return None if self.limit is None or self.period_s > PACED_S else self.limit / self.period_s

    def pace(self, configured: float | None, ledger: Ledger, now: float) -> float | None:
        """Units per second to book at; None for as many as one likes."""
        rate = self.rate(configured)
        return None if rate is None else rate * HEADROOM * self._slowed(rate, ledger, now)

    def _slowed(self, rate: float, ledger: Ledger, now: float) -> float:
        left = self.left(ledger, now)
        if left is None or self.top <= self.rounding:
            return 1.0
        if self.is_window and self.resets_at is not None:
            until_s = self.resets_at - now
            if until_s <= 0.0:
                return 1.0
            return min(1.0, max(SLOWEST, left / (rate * until_s)))
        return min(1.0, max(SLOWEST, left / (LOW * self.top)))

    def left(self, ledger: Ledger, now: float) -> float | None:
        """How much the provider would say is left by now; None when it has not said so lately."""
        if self.remaining is None or now - self.asked_at > FRESH_S:
            return None
        if self.is_window:
            if self.resets_at is not None and now >= self.resets_at:
                return None
            return max(0.0, self.remaining - self.rounding / 2 - ledger.since(self.dimension, self.asked_at))
        return self.remaining

    def shut_until(self, ledger: Ledger, now: float) -> float | None:
        """When a long quota (a day's) that is used up starts anew; None while something is left."""
        if self.limit is None or self.period_s <= PACED_S or self.remaining is None or self.resets_at is None:
            return None
        if self.remaining - ledger.since(self.dimension, self.asked_at) >= 1.0 or self.resets_at <= now:
            return None
        # A bucket of a day refills one by one; a window does so at midnight.
        return self.resets_at if self.is_window else now + self.period_s / self.limit

    def shift(self, by_s: float) -> None:
        """The clock was set by so many seconds."""
        self.said_at, self.asked_at, self.line.booked_until = self.said_at + by_s, self.asked_at + by_s, self.line.booked_until + by_s
        self.resets_at = None if self.resets_at is None else self.resets_at + by_s
