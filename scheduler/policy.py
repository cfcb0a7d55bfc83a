"""What a job is allowed: attempts, time, waiting; and how long to back off. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

#: A job that was running when its worker died this often is parked.
MAX_CRASHES = 3
#: The longest pause for a rate limit that names no time (design rule 4).
PAUSE_CAP_S = 900.0
#: An overloaded provider usually clears within seconds: start short, then double.
OVERLOAD_PAUSE_S = 5.0
#: Nobody refills a budget within the minute: look again every hour, then ever more rarely.
QUOTA_PAUSE_S = 3_600.0
QUOTA_PAUSE_CAP_S = 86_400.0
#: Between two probes of a provider that is down: short enough to notice soon that it is back.
OUTAGE_PAUSE_S, OUTAGE_PAUSE_CAP_S = 5.0, 60.0
#: A last attempt waits so many seconds more, at random, where nothing shows that the provider works: most troubles are shorter.
LAST_ATTEMPT_AFTER_S = (25.0, 45.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of one route, configuration and handler already merged. Times in seconds.

    ``timeout_s`` and ``give_up_after_s``: 0 means no time at all, None means no limit.
    """

    max_attempts: int = 3
    timeout_s: float | None = 600.0
    backoff_base_s: float = 2.0
    backoff_max_s: float = 300.0
    rate_limit_pause_s: float = 60.0
    give_up_after_s: float | None = 86_400.0
    max_crashes: int = MAX_CRASHES
    pool: str | None = None


def backoff_s(policy: Policy, attempt: int, rng: Random, floor_s: float | None = None) -> float:
    """Seconds to wait after counted attempt number ``attempt`` (from 1).

    Exponential with full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/):
    uniform in ``[0, min(cap, base * 2**(attempt-1))]``. ``floor_s``, a retry-after, is never
    undercut: the jitter comes on top of it.
    """
    ceiling = min(policy.backoff_max_s, policy.backoff_base_s * 2.0 ** min(attempt - 1, 60))
    return (floor_s or 0.0) + rng.uniform(0.0, max(ceiling, 0.0))
