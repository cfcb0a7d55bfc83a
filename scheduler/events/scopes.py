"""What happens to lanes, pools and other scopes that pauses close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar

from scheduler.events.bus import Event
from scheduler.pauses import PauseWindow


@dataclass(frozen=True, slots=True)
class LanePaused(Event):
    """A scope (a task type, or ``pool:NAME``) was closed or its pause extended."""

    name: ClassVar[str] = "lane.paused"
    level: ClassVar[str] = "warning"
    window: PauseWindow

    def fields(self) -> dict[str, Any]:
        window = self.window
        for_s = None if window.until == float("inf") else round(window.until - self.at, 3)
        return {"scope": window.scope, "reason": window.reason, "paused_s": for_s, "job_id": window.set_by, "strikes": window.strikes}


@dataclass(frozen=True, slots=True)
class LaneResumed(Event):
    """``reason``: ``probe_succeeded`` or ``manual``."""

    name: ClassVar[str] = "lane.resumed"
    scope: str
    reason: str

    def fields(self) -> dict[str, Any]:
        return {"scope": self.scope, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class LaneProbing(Event):
    name: ClassVar[str] = "lane.probing"
    scope: str
    job_id: str

    def fields(self) -> dict[str, Any]:
        return {"scope": self.scope, "job_id": self.job_id}


@dataclass(frozen=True, slots=True)
class PoolEvent(Event):
    """What is known or thought of a pool changed."""

    pool: str

    def fields(self) -> dict[str, Any]:
        shown = {each.name: getattr(self, each.name) for each in dataclass_fields(self) if each.name != "at"}
        return {name: value for name, value in shown.items() if value is not None}


@dataclass(frozen=True, slots=True)
class PoolLimitLearned(PoolEvent):
    """An answer stated a limit that was not known, or is another now. ``signal``: where it was said."""

    name: ClassVar[str] = "pool.limit"
    dimension: str
    limit: float | None
    was_limit: float | None
    period_s: float
    signal: str


@dataclass(frozen=True, slots=True)
class PoolPaceChanged(PoolEvent):
    """Nobody states the limit, and a rejection showed more of it."""

    name: ClassVar[str] = "pool.pace"
    calls_per_minute: float


@dataclass(frozen=True, slots=True)
class PoolDistrusted(PoolEvent):
    """We kept to the limit that is stated and were rejected: what 429s show holds instead."""

    name: ClassVar[str] = "pool.distrust"
    level: ClassVar[str] = "warning"
    calls_per_minute: float


@dataclass(frozen=True, slots=True)
class PoolInFlightChanged(PoolEvent):
    """How many calls may be under way at once. ``reason``: ``overloaded``, or ``clean`` when it grew."""

    name: ClassVar[str] = "pool.in_flight"
    limit: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class PoolHeld(PoolEvent):
    """No call starts for ``held_s`` seconds."""

    name: ClassVar[str] = "pool.held"
    level: ClassVar[str] = "warning"
    reason: str
    held_s: float
    strikes: int


@dataclass(frozen=True, slots=True)
class PoolOpened(PoolEvent):
    """A call was let in again, ``held_s`` seconds after the first rejection."""

    name: ClassVar[str] = "pool.opened"
    reason: str
    held_s: float


@dataclass(frozen=True, slots=True)
class PoolOutage(PoolEvent):
    """Job after job failed with no success between: the pool closes, their attempts are given back.

    ``state``: ``began`` or ``ended``. ``given_back``: attempts of earlier failures.
    """

    name: ClassVar[str] = "pool.outage"
    level: ClassVar[str] = "error"
    state: str
    given_back: int = 0


POOL_EVENTS: Mapping[str, type[PoolEvent]] = {
    kind.name.removeprefix("pool."): kind
    for kind in (PoolLimitLearned, PoolPaceChanged, PoolDistrusted, PoolInFlightChanged, PoolHeld, PoolOpened, PoolOutage)
}
