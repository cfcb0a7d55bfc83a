"""What a simulated provider is: limits, accounting, company, weather and manner of speaking. Frozen data only.

Everything here is a choice that some real provider made; ``presets.py`` combines them as known
providers do. All ``..._s`` are seconds; those of schedules, tenants and weather count from the
provider's start. Does not belong here: what any of it does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0


class Dimension(StrEnum):
    """What a limit counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    INPUT = "input_tokens"
    OUTPUT = "output_tokens"


class Shape(StrEnum):
    """How a limit forgets."""

    BUCKET = "bucket"  # refills all the time, holds ``burst_s`` worth
    WALL_CLOCK = "wall-clock"  # counts anew at each multiple of ``per_s``
    ANCHORED = "anchored"  # counts anew when the window, begun by its first request, is over
    SLIDING = "sliding"  # counts the last ``per_s`` seconds exactly


@dataclass(frozen=True, slots=True)
class Limit:
    """``amount`` of ``dimension`` in ``per_s`` seconds.

    ``burst_s``: how much a bucket holds, in seconds' worth of the limit (None: ``per_s``). A bucket holds at least
    one request. A call greater than a bucket, but not than ``amount``, is let in when the bucket is full and leaves
    it in debt.
    """

    dimension: Dimension
    amount: float
    shape: Shape = Shape.BUCKET
    per_s: float = MINUTE_S
    burst_s: float | None = None

    @property
    def name(self) -> str:
        """``requests`` for a limit by the minute, ``requests_per_day`` and the like for others."""
        if self.per_s == MINUTE_S:
            return self.dimension.value
        spans = {1.0: "second", HOUR_S: "hour", DAY_S: "day"}
        return f"{self.dimension.value}_per_{spans.get(self.per_s, f'{self.per_s:g}_s')}"


class Accounting(StrEnum):
    """What is charged when: ``RESERVE`` charges the longest possible answer at admission and settles to the real
    one at the end (OpenAI); ``ACTUAL`` charges the input at admission and the output as it is written (Anthropic)."""

    RESERVE = "reserve"
    ACTUAL = "actual"


@dataclass(frozen=True, slots=True)
class Slope:
    """OpenAI's ``slow_down``: no wall-clock minute may carry more than ``growth`` times the fullest minute of
    between ``every_s`` and twice ``every_s`` before, or ``floor_per_min`` where that is more."""

    floor_per_min: float = 1_000_000.0
    growth: float = 1.5
    every_s: float = 900.0
    dimension: Dimension = Dimension.INPUT


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most ``calls`` in flight. ``status``: a 429 with concurrency markers, or a 503 of a full queue."""

    calls: int
    status: Literal[429, 503] = 429


@dataclass(frozen=True, slots=True)
class Tenant:
    """Somebody else on the key, who asks for ``share`` of the quota, evenly or (``poisson``) at random."""

    share: float
    start_s: float = 0.0
    end_s: float = float("inf")
    poisson: bool = False
    input_tokens: int = 500
    output_tokens: int = 100


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds to a whole answer: log-normal with median ``base_s + per_output_token_s * output``. A refusal takes
    ``refusal_s`` (least, most)."""

    base_s: float = 0.4
    per_output_token_s: float = 0.01
    sigma: float = 0.3
    refusal_s: tuple[float, float] = (0.04, 0.08)


class Sky(StrEnum):
    """What goes wrong without any limit."""

    STORM = "storm"  # overloaded: 503 or 529
    OUTAGE = "outage"  # 500, or the connection is lost
    FLAPPING = "flapping"  # an outage in the first half of every ``period_s``
    BILLING = "billing"  # the account is out of money
    HANG = "hang"  # let in, never answered
    GARBAGE = "garbage"  # let in, answered with something that is no answer
    DISCONNECT = "disconnect"  # let in, cut off in the middle of the answer


@dataclass(frozen=True, slots=True)
class Weather:
    """``sky`` from ``start_s`` to ``end_s``, for each call with ``probability``.

    ``lost``: the share of an outage's failures that are lost connections. ``status`` 0: the dialect's own.
    """

    sky: Sky
    start_s: float = 0.0
    end_s: float = float("inf")
    probability: float = 1.0
    period_s: float = 60.0
    lost: float = 0.5
    status: int = 0


class Dialect(StrEnum):
    """Whose manner of speaking."""

    OPENAI = "openai"
    AZURE = "azure"
    ANTHROPIC = "anthropic"
    GROQ = "groq"
    MISTRAL = "mistral"
    GEMINI = "gemini"
    CEREBRAS = "cerebras"
    SILENT = "silent"  # a bare 429
    PROSE = "prose"  # only the 429's message says anything, in OpenAI's words


class WaitForm(StrEnum):
    """How a refusal says when to come again."""

    SECONDS = "seconds"
    FRACTIONAL = "fractional"
    MILLISECONDS = "milliseconds"
    HTTP_DATE = "http-date"
    RETRY_INFO = "retry-info"  # Gemini's, in the body
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Mischief:
    """Ways in which what is said is not what is. Off by default.

    ``stale_s``: headers show the state of so long ago. ``rounded_to``: tokens that remain, to the nearest such
    number. ``missing``: headers whose names contain one of these are left out. ``minus_one``: dimensions whose
    limit is said to be -1. ``limit_times``: the limit that is stated, over the real one. ``wait_times``: the
    same for waits (0.3: too short, 3: too long).
    """

    stale_s: float = 0.0
    rounded_to: int = 1
    missing: tuple[str, ...] = ()
    minus_one: tuple[Dimension, ...] = ()
    limit_times: float = 1.0
    wait_times: float = 1.0


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A whole provider.

    ``schedule``: (at_s, factor) pairs; from then on every limit is ``factor`` times its amount. ``failures_count``:
    a call that a limit refused still uses up a request of the minute. ``output_pieces``: in how many charges
    ``ACTUAL`` accounting sees an answer being written. ``wait_form`` None: the dialect's own. ``hang_s``: how
    long a call that hangs stays in flight.
    """

    limits: tuple[Limit, ...] = ()
    dialect: Dialect = Dialect.OPENAI
    accounting: Accounting = Accounting.RESERVE
    output_estimate_tokens: int = 16
    output_pieces: int = 1
    failures_count: bool = False
    schedule: tuple[tuple[float, float], ...] = ()
    concurrency: Concurrency | None = None
    slope: Slope | None = None
    tenants: tuple[Tenant, ...] = ()
    latency: Latency = field(default_factory=Latency)
    weather: tuple[Weather, ...] = ()
    mischief: Mischief = field(default_factory=Mischief)
    wait_form: WaitForm | None = None
    model: str = "sim-1"
    hang_s: float = 600.0
