"""One limit being counted: what is left, what fits, when more will. Pure; every verb takes ``now``.

Four shapes, one contract. ``now`` never decreases. A charge gives a *ticket*, with which it is settled
later: a window forgets a settlement of a charge that it has itself forgotten. Does not belong here:
what a call is charged (``model.py``).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

from benchmarks.provider.schedule import Schedule
from benchmarks.provider.spec import Dimension, Limit, Shape

#: Seconds' worth of the limit by which a call may miss and still fit: a float of epoch seconds is no finer.
SLACK_S = 1e-6

Ticket = Any


@dataclass(frozen=True, slots=True)
class Reading:
    """A meter at a moment. ``allowed``: the whole limit now; ``reset_s``: seconds until nothing of it is used."""

    limit: Limit
    allowed: float
    remaining: float
    reset_s: float


class Meter:
    """The contract, and what shapes share."""

    def __init__(self, limit: Limit, schedule: Schedule, start: float) -> None:
        self.limit = limit
        self.schedule = schedule
        self.slack = limit.amount / limit.per_s * SLACK_S + 1e-9

    def allowed(self, now: float) -> float:
        """The limit of this moment, per ``limit.per_s``."""
        return self.limit.amount * self.schedule.factor(now)

    def remaining(self, now: float) -> float:
        """What is left; below zero in debt."""
        raise NotImplementedError  # abstract: each shape has its own

    def needed(self, amount: float, now: float) -> float:
        """What must remain for ``amount`` to be let in; infinity: never."""
        return amount if amount <= self.allowed(now) + self.slack else math.inf

    def fits(self, amount: float, now: float) -> bool:
        return self.needed(amount, now) <= self.remaining(now) + self.slack

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` fits if nobody else calls and the limit stays; infinity: never."""
        raise NotImplementedError  # abstract: each shape has its own

    def reset_s(self, now: float) -> float:
        raise NotImplementedError  # abstract: each shape has its own

    def charge(self, amount: float, now: float) -> Ticket:
        raise NotImplementedError  # abstract: each shape has its own

    def settle(self, ticket: Ticket, difference: float, now: float) -> None:
        """The charge of ``ticket`` was really ``difference`` more (less, if negative)."""
        raise NotImplementedError  # abstract: each shape has its own

    def charge_failure(self, now: float) -> None:
        """A refused call counts as one request."""
        self.charge(1.0, now)

    def read(self, now: float) -> Reading:
        return Reading(self.limit, self.allowed(now), self.remaining(now), self.reset_s(now))


class Bucket(Meter):
    """Refills by the limit's rate, up to its burst."""

    def __init__(self, limit: Limit, schedule: Schedule, start: float) -> None:
        super().__init__(limit, schedule, start)
        self._at = start
        self._step()
        self._level = self._capacity

    def _step(self) -> None:
        """Take up the limit of this moment: it stays until the next change."""
        self._rate = self.allowed(self._at) / self.limit.per_s  # per second
        burst_s = self.limit.per_s if self.limit.burst_s is None else self.limit.burst_s
        least = 1.0 if self.limit.dimension is Dimension.REQUESTS else 0.0
        self._capacity = max(self._rate * burst_s, least)
        self._until = self.schedule.next_change(self._at)

    def _refill(self, now: float) -> None:
        self._level = min(self._level + self._rate * (now - self._at), self._capacity)
        self._at = now

    def remaining(self, now: float) -> float:
        while self._until <= now:
            self._refill(self._until)
            self._step()  # a limit that fell takes the surplus with it, at the next refill
        self._refill(now)
        return self._level

    def needed(self, amount: float, now: float) -> float:
        self.remaining(now)
        needed = super().needed(amount, now)
        return needed if math.isinf(needed) else min(needed, self._capacity)

    def wait_s(self, amount: float, now: float) -> float:
        missing = self.needed(amount, now) - self.remaining(now)
        return _over(missing, self._rate) if missing > 0 else 0.0

    def reset_s(self, now: float) -> float:
        level = self.remaining(now)
        return _over(self._capacity - level, self._rate)

    def charge(self, amount: float, now: float) -> Ticket:
        self._level = self.remaining(now) - amount
        return None

    def settle(self, ticket: Ticket, difference: float, now: float) -> None:
        self._level = self.remaining(now) - difference  # the next refill caps it

    def charge_failure(self, now: float) -> None:
        """Takes what is there and no more: calling again and again keeps the bucket empty, it makes no debt."""
        self.charge(min(max(self.remaining(now), 0.0), 1.0), now)


class Window(Meter):
    """Counts in windows that follow one another; subclasses say where one begins."""

    def __init__(self, limit: Limit, schedule: Schedule, start: float) -> None:
        super().__init__(limit, schedule, start)
        self._begin = -math.inf
        self._count = 0.0

    def _turn(self, now: float, *, charging: bool = False) -> None:
        """Begin a new window where one is due."""
        raise NotImplementedError  # abstract: each shape has its own

    def _open(self, begin: float) -> None:
        self._begin, self._count = begin, 0.0

    def remaining(self, now: float) -> float:
        self._turn(now)
        return self.allowed(now) - self._count

    def wait_s(self, amount: float, now: float) -> float:
        if math.isinf(self.needed(amount, now)):
            return math.inf
        return 0.0 if self.fits(amount, now) else self.reset_s(now)

    def reset_s(self, now: float) -> float:
        self._turn(now)
        return max(self._begin + self.limit.per_s - now, 0.0)

    def charge(self, amount: float, now: float) -> Ticket:
        self._turn(now, charging=True)
        self._count += amount
        return self._begin

    def settle(self, ticket: Ticket, difference: float, now: float) -> None:
        self._turn(now)
        if ticket == self._begin:
            self._count = max(self._count + difference, 0.0)


class WallClock(Window):
    """Windows begin at the multiples of ``per_s`` since the epoch."""

    def _turn(self, now: float, *, charging: bool = False) -> None:
        begin = math.floor((now + SLACK_S) / self.limit.per_s) * self.limit.per_s
        if begin > self._begin:
            self._open(begin)


class Anchored(Window):
    """A window begins with the first charge after the last one is over."""

    def _turn(self, now: float, *, charging: bool = False) -> None:
        is_over = now >= self._begin + self.limit.per_s - SLACK_S
        if is_over:
            self._open(now if charging else -math.inf)


class Sliding(Meter):
    """Remembers every charge of the last ``per_s`` seconds."""

    def __init__(self, limit: Limit, schedule: Schedule, start: float) -> None:
        super().__init__(limit, schedule, start)
        self._entries: deque[list[float]] = deque()  # [at, amount]
        self._count = 0.0

    def _is_forgotten(self, at: float, now: float) -> bool:
        return at <= now - self.limit.per_s + SLACK_S

    def remaining(self, now: float) -> float:
        while self._entries and self._is_forgotten(self._entries[0][0], now):
            self._count -= self._entries.popleft()[1]
        return self.allowed(now) - self._count

    def wait_s(self, amount: float, now: float) -> float:
        needed = self.needed(amount, now)
        if math.isinf(needed):
            return math.inf
        room, wait_s = self.remaining(now), 0.0
        for at, amount_then in self._entries:
            if needed <= room + self.slack:
                break
            room += amount_then
            wait_s = at + self.limit.per_s - now
        return wait_s

    def reset_s(self, now: float) -> float:
        self.remaining(now)
        return self._entries[-1][0] + self.limit.per_s - now if self._entries else 0.0

    def charge(self, amount: float, now: float) -> Ticket:
        self.remaining(now)
        entry = [now, amount]
        self._entries.append(entry)
        self._count += amount
        return entry

    def settle(self, ticket: Ticket, difference: float, now: float) -> None:
        self.remaining(now)
        if not self._is_forgotten(ticket[0], now):
            ticket[1] += difference
            self._count += difference


def _over(amount: float, rate: float) -> float:
    return amount / rate if rate > 0 else (math.inf if amount > 0 else 0.0)


_SHAPES: dict[Shape, type[Meter]] = {
    Shape.BUCKET: Bucket,
    Shape.WALL_CLOCK: WallClock,
    Shape.ANCHORED: Anchored,
    Shape.SLIDING: Sliding,
}


def meter(limit: Limit, schedule: Schedule, start: float) -> Meter:
    """A meter of the limit's shape, full at ``start``."""
    return _SHAPES[limit.shape](limit, schedule, start)
