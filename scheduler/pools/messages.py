"""What a worker and a pool's document say to each other. Frozen or short-lived records, no behaviour.

Times are seconds since the epoch, paces are per second, limits per minute (or per day, where they say so).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scheduler.pools.quotas import Dimension, Reading
from scheduler.pools.rejection import Rejection


class Cost(NamedTuple):
    """What a call uses, or is expected to, in tokens. A named tuple, because each call makes a few."""

    input_tokens: float = 0.0
    output_tokens: float = 0.0

    @property
    def tokens(self) -> float:
        return self.input_tokens + self.output_tokens

    def of(self, dimension: Dimension) -> float:
        """In units of ``dimension``; one request."""
        if dimension is Dimension.REQUESTS:
            return 1.0
        if dimension is Dimension.TOKENS:
            return self.input_tokens + self.output_tokens
        return self.input_tokens if dimension is Dimension.INPUT_TOKENS else self.output_tokens


NOTHING = Cost()


@dataclass(frozen=True, slots=True)
class Limits:
    """What is configured of a pool; None where nothing is.

    ``per_minute`` by the name of the dimension. ``reserves``: the provider charges all that a call asks for, and gives back
    what it did not use when it ends. ``rate_hold_s``: the first hold after a rejection without a hint.
    """

    per_minute: dict[str, float] = field(default_factory=dict)
    requests_per_day: float | None = None
    tokens_per_day: float | None = None
    max_in_flight: int | None = None
    reserves: bool = False
    rate_hold_s: float = 60.0


@dataclass(slots=True)
class Used:
    """What ``calls`` of one task type really used, together, beside what was booked for them.

    ``estimated``: the callers' own estimates of tokens, and ``estimated_used`` what those that had one used.
    """

    calls: int = 0
    booked: Cost = NOTHING
    actual: Cost = NOTHING
    estimated: float = 0.0
    estimated_used: float = 0.0

    def add(self, booked: Cost, actual: Cost, estimate: float | None) -> None:
        """One call more."""
        self.calls += 1
        self.booked = Cost(self.booked.input_tokens + booked.input_tokens, self.booked.output_tokens + booked.output_tokens)
        self.actual = Cost(self.actual.input_tokens + actual.input_tokens, self.actual.output_tokens + actual.output_tokens)
        if estimate:
            self.estimated += estimate
            self.estimated_used += actual.input_tokens + actual.output_tokens


@dataclass(frozen=True, slots=True)
class Rejected:
    """A call sent at ``asked_at`` was turned away."""

    asked_at: float
    rejection: Rejection
    booked: Cost


@dataclass(slots=True)
class Report:
    """What a worker tells since its last report.

    ``wants``: the head of its line, ``waiting`` long. ``flying``: calls that may start already, or are under way.
    ``used``: by task type. ``unused``: what was booked for calls that never started. ``heard``: readings with the time their call was sent.
    ``let_in_at``: when the last call was sent that was let in. ``probing``: the call that tries whether the pool is open is this
    worker's, and has not ended.
    """

    worker: str
    wants: list[Cost] = field(default_factory=list)
    waiting: int = 0
    flying: int = 0
    answered: int = 0
    used: dict[str, Used] = field(default_factory=dict)
    unused: list[Cost] = field(default_factory=list)
    heard: list[tuple[float, Reading]] = field(default_factory=list)
    rejections: list[Rejected] = field(default_factory=list)
    let_in_at: float | None = None
    probing: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """A change of mind, for people: an event's name without ``pool.``, and its fields."""

    name: str
    fields: dict[str, Any]


@dataclass(slots=True)
class Estimate:
    """What calls of one task type use: ``ratio`` of tokens used to tokens estimated, and the means."""

    ratio: float = 1.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0


@dataclass(slots=True)
class Grant:
    """What a worker is told.

    ``starts``: places in its ``wants`` with the time of each, soonest first. ``may_start``: what is booked may start although
    the pool is held. ``probing``: the one call that starts shows whether the pool is open again. ``reopened``: a call was let in after
    a hold. ``again_at``: when asking again may bring more. ``pace``: calls per second of the whole pool, None if unlimited, shared by
    ``workers``.
    """

    starts: list[tuple[int, float]] = field(default_factory=list)
    held_until: float | None = None
    reason: str = ""
    may_start: bool = False
    probing: bool = False
    reopened: bool = False
    again_at: float | None = None
    pace: float | None = None
    workers: int = 1
    max_flying: int | None = None
    estimates: dict[str, Estimate] = field(default_factory=dict)
    news: list[News] = field(default_factory=list)
