"""Whether a pool lets calls start: open, held for a while, or trying with one. Pure.

    open ──rejected──▶ held until … ──its time is up──▶ one call goes first ──let in──▶ open
                         ▲                                  │ rejected: held again, longer
                         └──────────────────────────────────┘

Calls that were sent before a hold began bring no news when they are rejected too.

Does not belong here: pauses of lanes, which hold jobs (``pauses.py``); this holds calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from scheduler.pools.blind import Clearing
from scheduler.pools.rejection import Rejection

#: A probe that nobody reports of for so many seconds is lost: the next one goes.
PROBE_LOST_S = 60.0
#: Holds in seconds without a hint and nothing learned: first and longest. Overload starts short; money takes a person.
_HOLDS = {"rate": (60.0, 900.0), "overload": (0.25, 60.0), "quota": (3_600.0, 86_400.0)}
REASONS = {"rate": "rate_limited", "overload": "overloaded", "quota": "quota_exhausted"}
#: A hint that proved too short is stretched by this each time.
_STRETCH = 1.5


class Door(StrEnum):
    """What may start."""

    OPEN = "open"
    SHUT = "shut"
    ONE = "one"  # exactly one call, the probe
    TRYING = "trying"  # it is under way


@dataclass(slots=True)
class Hold:
    """``until`` None: open. ``imposed``: no rejection gave the reason.

    ``began_at``: what was sent before brings no news; ``first_at``: the first rejection in a row.
    """

    until: float | None = None
    reason: str = ""
    began_at: float = 0.0
    first_at: float = 0.0
    strikes: int = 0
    hinted: bool = False
    imposed: bool = False
    probe_of: str | None = None
    probe_at: float = 0.0
    clearing: Clearing = field(default_factory=Clearing)

    def door(self, now: float) -> Door:
        if self.until is None:
            return Door.OPEN
        if now < self.until:
            return Door.SHUT
        return Door.ONE if self.probe_of is None or now - self.probe_at >= PROBE_LOST_S else Door.TRYING

    def is_news(self, asked_at: float) -> bool:
        """Whether a rejection of a call sent at ``asked_at`` says anything new.

        While the pool is held only the probe's does: whatever else was sent, its worker had not heard of the hold yet.
        """
        if self.until is not None:
            return self.probe_of is not None and asked_at >= self.probe_at
        return asked_at > self.began_at

    def strike(self, rejection: Rejection, now: float) -> bool:
        """A rejection that is news; returns whether calls were flowing (and not just one of them trying)."""
        was_flowing = self.probe_of is None
        self.strikes = 1 if was_flowing else self.strikes + 1
        self.hinted, self.imposed = rejection.retry_after_s is not None, False
        self.began_at, self.probe_of = now, None
        if was_flowing:
            self.first_at = now
        return was_flowing

    def length_s(self, rejection: Rejection, first_s: float, rng: Random) -> float:
        """For how long to hold now: what the provider asks (a little later, never sooner), else what was learned, else doubling."""
        asked_s = rejection.retry_after_s
        if asked_s is not None:
            return asked_s * _STRETCH ** min(self.strikes - 1, 10) + rng.uniform(0.0, 0.02 + min(0.02 * asked_s, 2.0))
        base_s, cap_s = _HOLDS[rejection.kind]
        if rejection.kind == "rate":
            return self.clearing.hold_s(self.strikes, first_s, cap_s)
        return min(base_s * 2.0 ** min(self.strikes - 1, 60), cap_s)

    def extend(self, until: float, reason: str) -> bool:
        """Hold until ``until``: extended, never shortened; returns whether it was."""
        if self.until is not None and until <= self.until:
            return False
        self.until, self.reason = until, reason
        return True

    def impose(self, until: float, reason: str, now: float) -> bool:
        """Hold for a reason that no rejection gave."""
        if not self.extend(until, reason):
            return False
        self.began_at = self.first_at = now
        self.hinted, self.imposed, self.probe_of, self.strikes = True, True, None, max(self.strikes, 1)
        return True

    def try_one(self, worker: str, now: float) -> None:
        """A call of ``worker`` goes first."""
        self.probe_of, self.probe_at = worker, now

    def let_in(self, asked_at: float) -> bool:
        """A call sent at ``asked_at`` was let in; returns whether that opens the pool."""
        if self.until is None or self.probe_of is None or asked_at < self.probe_at:
            return False
        if not self.hinted and self.reason == REASONS["rate"]:
            self.clearing.cleared(self.probe_at - self.first_at)
        return True

    @property
    def needed_s(self) -> float:
        """For how long the provider was seen to turn calls away since the first rejection."""
        return max(0.0, self.began_at - self.first_at)

    def open(self, now: float) -> None:
        """Calls flow; rejections of what was sent before bring no news."""
        self.began_at = now
        self.until, self.reason, self.strikes, self.hinted, self.imposed, self.probe_of = None, "", 0, False, False, None

    def shift(self, by_s: float) -> None:
        """The clock was set by so many seconds."""
        self.until = None if self.until is None else self.until + by_s
        self.began_at, self.first_at, self.probe_at = self.began_at + by_s, self.first_at + by_s, self.probe_at + by_s
