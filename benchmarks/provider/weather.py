"""What goes wrong without any limit, and how long things take. Pure: a moment and a ``Random`` in, fate out.

Does not belong here: how a failure is worded (``bodies.py``).
"""

from __future__ import annotations

import math
import random

from benchmarks.provider.answers import Fate, Refusal, Why
from benchmarks.provider.spec import Latency, ProviderSpec, Sky, Weather

_REFUSING = {Sky.STORM, Sky.OUTAGE, Sky.FLAPPING, Sky.BILLING}
_FATES: dict[Sky, Fate] = {Sky.HANG: "hang", Sky.GARBAGE: "garbage", Sky.DISCONNECT: "disconnect"}


class Forecast:
    """The weather of a provider that began at ``start``."""

    def __init__(self, spec: ProviderSpec, start: float) -> None:
        self._refusing = [one for one in spec.weather if one.sky in _REFUSING]
        self._spoiling = [one for one in spec.weather if one.sky in _FATES]
        self._start = start

    def refusal(self, now: float, rng: random.Random) -> Refusal | None:
        """What keeps a call from being looked at."""
        for one in self._refusing:
            if self._strikes(one, now, rng):
                return _refusal(one, rng)
        return None

    def fate(self, now: float, rng: random.Random) -> Fate:
        """What becomes of a call that was let in."""
        return next((_FATES[one.sky] for one in self._spoiling if self._strikes(one, now, rng)), "answer")

    def _strikes(self, one: Weather, now: float, rng: random.Random) -> bool:
        since_s = now - self._start
        if not one.start_s <= since_s < one.end_s:
            return False
        if one.sky is Sky.FLAPPING and (since_s - one.start_s) % one.period_s >= one.period_s / 2:
            return False
        return one.probability >= 1.0 or rng.random() < one.probability


def _refusal(one: Weather, rng: random.Random) -> Refusal:
    if one.sky is Sky.STORM:
        return Refusal(Why.OVERLOADED, status=one.status)
    if one.sky is Sky.BILLING:
        return Refusal(Why.BILLING, status=one.status)
    return Refusal(Why.LOST if rng.random() < one.lost else Why.OUTAGE, status=one.status)


def answer_s(latency: Latency, output_tokens: int, rng: random.Random) -> float:
    """Seconds to a whole answer."""
    median_s = latency.base_s + latency.per_output_token_s * output_tokens
    return median_s * math.exp(rng.gauss(0.0, latency.sigma)) if latency.sigma > 0 else median_s


def refusal_s(latency: Latency, rng: random.Random) -> float:
    """Seconds to a refusal."""
    return rng.uniform(*latency.refusal_s)
