"""What is shown of a pool: frozen records, no behaviour.

Times are seconds since the epoch, paces and limits in units of their dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from scheduler.pauses import PauseWindow
from scheduler.pools.hold import Door
from scheduler.pools.quotas import Dimension

#: Signals that are no header: what the settings say, and what no provider said.
CONFIGURED, ALONE = "configured", "429s alone"


class State(StrEnum):
    """In one word, for lists."""

    OPEN = "open"
    TRYING = "trying"  # its time is up, and one call (or job) goes first
    HELD = "held"  # nothing may start: a provider's doing
    PAUSED = "paused"  # nothing may start: an operator's doing


@dataclass(frozen=True, slots=True)
class KnownLimit:
    """One limit and the ``signal`` that it comes from: ``configured``, a header's name, ``429 message``, ``429s alone``.

    ``limit`` None: only what is left is said, or nothing is known yet. ``remaining`` is the provider's count, that many seconds
    old. ``kind``: a window starts anew at once, a bucket fills all the time; None while that cannot be told.
    ``pace_per_minute`` None: a quota so long that it is counted, not spread. ``calls_per_minute``: the same in calls of the
    usual size, None while that is unknown. ``is_slowed``: the provider says that less is left than we think.
    """

    dimension: Dimension
    signal: str
    limit: float | None
    period_s: float | None
    used_last_minute: float
    used_today: float | None = None
    remaining: float | None = None
    remaining_age_s: float | None = None
    kind: Literal["window", "bucket"] | None = None
    pace_per_minute: float | None = None
    calls_per_minute: float | None = None
    is_slowed: bool = False
    binds: bool = False


@dataclass(frozen=True, slots=True)
class Sharer:
    """A worker that was heard of lately."""

    worker: str
    in_flight: int
    waiting: int
    seen_at: float


@dataclass(frozen=True, slots=True)
class MeanCall:
    """The usual size of a call in tokens, from so many ``calls``."""

    input_tokens: float
    output_tokens: float
    calls: int


@dataclass(frozen=True, slots=True)
class LastRejection:
    """``reason`` is one of ``rate_limited``, ``overloaded``, ``quota_exhausted``."""

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Held:
    """Why no call may start, or only one. ``strikes``: rejections in a row. ``probe_of``: the worker whose call tries."""

    until: float
    reason: str
    since: float
    strikes: int
    door: Door
    probe_of: str | None


@dataclass(frozen=True, slots=True)
class Portrait:
    """A pool at a moment; ``summary`` says the most important in one sentence.

    ``calls_per_minute``: the pace of all workers together, None while it cannot be told. ``max_in_flight_from``: ``configured`` or
    ``learned`` (from overload). ``pause``: the stored pause of ``pool:NAME``, which holds jobs; ``held`` holds their calls.
    ``began_at`` None: no call was ever made. ``is_searching``: nothing was ever rejected, and nobody states a limit.
    ``is_distrusted``: the limit that is stated is not the real one.
    """

    name: str
    state: State
    summary: str
    limits: tuple[KnownLimit, ...]
    calls_per_minute: float | None
    in_flight: int
    max_in_flight: int | None
    max_in_flight_from: str | None
    waiting: int
    workers: tuple[Sharer, ...]
    calls_last_minute: float
    mean_call: MeanCall | None
    rejections: int
    last_rejection: LastRejection | None
    held: Held | None
    pause: PauseWindow | None
    began_at: float | None
    is_searching: bool
    is_distrusted: bool

    @property
    def binding(self) -> KnownLimit | None:
        """The limit that sets the pace."""
        return next((one for one in self.limits if one.binds), None)
