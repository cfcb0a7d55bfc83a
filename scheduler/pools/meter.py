"""One dimension of a pool's quota: what is known of its limit, from which signal, and the pace that follows. Pure.

The pace is the limit, less a little headroom, slowed down when the provider's own count says that less is left than
we think (somebody else uses the same key, or charges differ from our estimates). What ``reset`` means is told from how it moves:
the end of a window stands still until it comes, the time at which a bucket is full again moves on as it is used.

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
#: A bucket with fewer calls left than the first slows us down, one with more than the second lets us go faster: by so much a second,
#: for at most so many seconds between two answers.
EASE_BELOW, EASE_ABOVE, EASE_DOWN, EASE_UP, EASE_MOST_S = 2.0, 3.5, 0.01, 0.01, 5.0
#: At the end of a window, this many calls are not worth slowing down for.
SPARE_CALLS = 2.0
SLOWEST = 0.05
#: What headers said is believed for so many seconds.
FRESH_S = 120.0
#: Readings so many seconds apart show how the reset moves; so many that agree settle what kind of quota it is.
TIMED_EVERY_S, VOTES = 3.0, 6


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
    ease: float = 1.0
    votes: int = 0
    timed_at: float = 0.0
    timed_end: float = 0.0
    line: Timeline = field(default_factory=Timeline)

    # -- what is known

    def hear(self, reading: Reading, asked_at: float, call: float, now: float) -> bool:
        """Take in what an answer said of a call sent at ``asked_at``; returns whether the limit changed.

        ``call``: units of the usual call.
        """
        changed = False
        if asked_at < self.asked_at:  # answers overtake each other: the call that was sent last knows most
            return changed
        if reading.limit is not None and reading.limit > 0:
            period_s = reading.period_s or self._period_of(reading)
            changed = reading.limit != self.limit or period_s != self.period_s
            if changed:
                self.limit, self.period_s, self.source, self.top = reading.limit, period_s, reading.source, 0.0
            self.said_at = now
        if reading.remaining is not None:
            self._ease(reading.remaining, asked_at, call)
            self.remaining, self.asked_at, self.rounding = reading.remaining, asked_at, reading.rounding
            self.top = max(self.top, reading.remaining)
            self._time(reading, asked_at, now)
        return changed

    def learn(self, limit: float, period_s: float, source: str, now: float) -> bool:
        """A limit that a 429's own words state."""
        changed = (limit, period_s) != (self.limit, self.period_s)
        self.limit, self.period_s, self.source, self.said_at = limit, period_s, source, now
        return changed

    def _period_of(self, reading: Reading) -> float:
        implied_s = implied_period_s(reading.limit, reading.remaining, reading.reset_s)
        return implied_s if implied_s is not None and (implied_s > PACED_S or self.limit is None) else self.period_s

    def _ease(self, left: float, asked_at: float, call: float) -> None:
        """Go a little slower while hardly anything is left, a little faster again when it is.

        Little at a time: a log of the last minute is always nearly used up at full pace, and shows a change only a minute later.
        """
        passed_s = min(asked_at - self.asked_at, EASE_MOST_S)
        if left < EASE_BELOW * call:
            self.ease = max(SLOWEST, self.ease - EASE_DOWN * passed_s)
        elif left > EASE_ABOVE * call:
            self.ease = min(1.0, self.ease + EASE_UP * passed_s)

    def _time(self, reading: Reading, asked_at: float, now: float) -> None:
        """When it resets; and, from how that moves, what kind of quota it is: a window's end stands still, a bucket's moves on."""
        if reading.reset_s is None:
            self.resets_at = None
            return
        # A duration counts from when the answer was made, which is no sooner than the call was sent.
        self.resets_at = reading.reset_s + (now if reading.reset_is_moment else asked_at)
        passed_s = asked_at - self.timed_at
        if passed_s < TIMED_EVERY_S:
            return
        if self.timed_at and reading.reset_s > 1.0 and passed_s < self.period_s:
            stood_still = abs(self.resets_at - self.timed_end) < 0.3 * passed_s
            self.votes = max(-VOTES, min(VOTES, self.votes + (-1 if stood_still else 1)))
        self.timed_at, self.timed_end = asked_at, self.resets_at

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

    def pace(self, configured: float | None, call: float, ledger: Ledger, now: float) -> float | None:
        """Units per second to book at; None for as many as one likes. ``call``: units of the usual call."""
        rate = self.rate(configured)
        return None if rate is None else rate * HEADROOM * self._slowed(rate * HEADROOM, call, ledger, now)

    def _slowed(self, pace: float, call: float, ledger: Ledger, now: float) -> float:
        left = self.left(ledger, now)
        if left is None or self.top <= self.rounding or call <= 0.0:
            return 1.0
        if not self.is_window or self.resets_at is None:
            return self.ease
        until_s = self.resets_at - now
        if until_s <= 0.0:
            return 1.0
        # What is booked ahead is charged already, and part of what is still to come.
        left += max(0.0, self.line.booked_until - now) * pace + SPARE_CALLS * call
        return min(1.0, max(SLOWEST, left / (pace * until_s)))

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
        missing = 1.0 - self.remaining + ledger.since(self.dimension, self.asked_at)
        if missing <= 0.0 or self.resets_at <= now:
            return None
        # A window starts anew at midnight; a bucket of a day refills one by one, from what was left when it was heard of.
        until = self.resets_at if self.is_window else min(self.resets_at, self.asked_at + missing * self.period_s / self.limit)
        return until if until > now else None

    def shift(self, by_s: float) -> None:
        """The clock was set by so many seconds."""
        self.said_at, self.asked_at, self.timed_at = self.said_at + by_s, self.asked_at + by_s, self.timed_at + by_s
        self.timed_end, self.line.booked_until = self.timed_end + by_s, self.line.booked_until + by_s
        self.resets_at = None if self.resets_at is None else self.resets_at + by_s
