"""What goes into a simulated provider and what comes out: a call, an answer, a refusal. Frozen data only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from benchmarks.provider.meters import Reading
from benchmarks.provider.spec import Dimension

Fate = Literal["answer", "hang", "disconnect", "garbage"]


@dataclass(frozen=True, slots=True)
class Call:
    """``output_tokens``: what the model would write if nothing stopped it; it stops at ``max_tokens`` (0: not said)."""

    input_tokens: int
    max_tokens: int
    output_tokens: int

    @property
    def written_tokens(self) -> int:
        return min(self.output_tokens, self.max_tokens) if self.max_tokens > 0 else self.output_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets after ``latency_s`` seconds.

    ``usage``: (input, output) tokens where an answer arrived that says so. ``fate``: an ``answer`` arrives whole; a
    ``hang`` never does; a ``disconnect`` loses the connection, before anything (``status`` 0) or amid a 200;
    ``garbage`` is a 200 whose body is no answer. The body of a good answer is left empty: who speaks a protocol
    builds its own.
    """

    status: int
    headers: dict[str, str]
    body: dict[str, Any] | bytes
    latency_s: float
    usage: tuple[int, int] | None
    fate: Fate

    @property
    def is_good(self) -> bool:
        return self.fate == "answer" and self.status == 200


class Why(StrEnum):
    """Why a call was not let in."""

    RATE = "rate"
    TOO_LARGE = "too_large"  # greater than the whole limit: it never fits
    SLOPE = "slope"
    CONCURRENCY = "concurrency"
    OVERLOADED = "overloaded"
    OUTAGE = "outage"
    LOST = "lost"
    BILLING = "billing"


#: What a limit refused; the rest is weather.
LIMITS = frozenset({Why.RATE, Why.TOO_LARGE, Why.SLOPE, Why.CONCURRENCY})


@dataclass(frozen=True, slots=True)
class Refusal:
    """``wait_s``: seconds until the call would fit, None where nobody can know. ``reading``, ``requested``: of the
    limit in the way. ``status`` 0: the dialect's own."""

    why: Why
    wait_s: float | None = None
    reading: Reading | None = None
    requested: float = 0.0
    status: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that was let in. ``charged``: what each limit's meter took at admission; ``ends_at``: when it settles."""

    at: float
    ends_at: float
    call: Call
    charged: dict[str, float]
    fate: Fate


def amount_of(dimension: Dimension, input_tokens: int, output_tokens: int) -> float:
    """What a call counts in a dimension."""
    if dimension is Dimension.REQUESTS:
        return 1.0
    of_input = input_tokens if dimension is not Dimension.OUTPUT else 0
    return float(of_input + (output_tokens if dimension is not Dimension.INPUT else 0))
