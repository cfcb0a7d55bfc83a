"""One dimension's quota as a line of time on which calls are booked. Pure arithmetic.

At 600 requests a minute each request is worth 0.1 s. Whoever books, books behind everybody else: so any number
of workers together keep the pace, and what a dead worker booked is paid for. Time that nobody booked is gone,
except for a little slack: a pause or an idle hour saves up nothing to be spent in one burst.

A *large* call (worth more than ``LARGE_S``) is let in when its turn comes and pays afterwards, as *debt*: while
that lasts, half of the time that others book goes into it, so small calls flow at half the pace instead of
standing behind it, and the next large one waits until it is paid.

Does not belong here: how fast the pace is (``meter.py``), or who waits for what (``keeper.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds of unused time that can still be booked: makes up for timers that ring late, too little for a burst.
SLACK_S = 0.05
#: A call worth more seconds of its quota than this pays with debt.
LARGE_S = 2.0


@dataclass(slots=True)
class Timeline:
    """``booked_until`` in seconds since the epoch; ``debt_s`` in seconds of quota."""

    booked_until: float = 0.0
    debt_s: float = 0.0

    def free_at(self, worth_s: float, now: float) -> float:
        """When a call worth ``worth_s`` seconds could start."""
        start = max(self.booked_until, now - SLACK_S)
        if worth_s > LARGE_S and self.debt_s > 0:
            start += max(0.0, self.debt_s - self._idle_s(now))
        return start

    def book(self, worth_s: float, now: float) -> None:
        """Take ``worth_s`` seconds from where it is free."""
        self.debt_s = max(0.0, self.debt_s - self._idle_s(now))
        start = max(self.booked_until, now - SLACK_S)
        if worth_s > LARGE_S:
            self.debt_s += worth_s - LARGE_S
            worth_s = LARGE_S
        elif self.debt_s > 0:
            paid_s = min(self.debt_s, worth_s)
            self.debt_s -= paid_s
            worth_s += paid_s
        self.booked_until = start + worth_s

    def give_back(self, worth_s: float) -> None:
        """What was booked was not used, or (negative) more was used than booked."""
        from_debt_s = min(self.debt_s, max(worth_s, 0.0))
        self.debt_s -= from_debt_s
        self.booked_until -= worth_s - from_debt_s

    def freeze(self, until: float) -> None:
        """Nothing can be booked before ``until``; nothing is saved up until then."""
        self.booked_until = max(self.booked_until, until)

    def release(self, now: float) -> None:
        """What was frozen is free from now on; debts are forgotten."""
        self.booked_until, self.debt_s = min(self.booked_until, now), 0.0

    def _idle_s(self, now: float) -> float:
        """Time that nobody booked pays debts."""
        return max(0.0, now - SLACK_S - self.booked_until)
