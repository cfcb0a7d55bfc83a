"""Quantiles of a stream in bounded memory, and keyed families of them. Pure.

Buckets grow by a constant factor, so that any quantile is off by at most 1 % of its value: the
DDSketch of Masson, Rim and Lee (https://arxiv.org/abs/1908.10693). Between a microsecond and a year
there are at most about 1,600 buckets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

RELATIVE_ERROR = 0.01
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_LOG = 1 / math.log(_GAMMA)
_SMALLEST_S = 1e-6
_LARGEST_S = 3.2e7
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Spread:
    """How values in seconds are spread. Quantiles are within 1 %; count, mean and max are exact."""

    count: int
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float

    def to_dict(self) -> dict[str, Any]:
        shown = {name: round(getattr(self, name), 6) for name in ("mean_s", "p50_s", "p95_s", "p99_s", "max_s")}
        return {"count": self.count, **shown}


class Histogram:
    """Counts of values in seconds by logarithmic bucket."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count = 0
        self._sum = 0.0
        self._max = 0.0

    def add(self, seconds: float) -> None:
        """Add one value; what is below a microsecond counts as none."""
        if seconds >= _SMALLEST_S:
            value = seconds if seconds < _LARGEST_S else _LARGEST_S
            bucket = math.ceil(math.log(value) * _PER_LOG)
        else:  # not a number included
            value, bucket = 0.0, _ZERO
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._count += 1
        self._sum += value
        if value > self._max:
            self._max = value

    def quantile(self, share: float) -> float:
        """The value that ``share`` of all do not exceed; 0 when there are none."""
        rank = max(1, math.ceil(share * self._count))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                middle = 0.0 if bucket == _ZERO else 2 * _GAMMA**bucket / (_GAMMA + 1)
                return min(middle, self._max)
        return 0.0

    def spread(self) -> Spread:
        mean_s = self._sum / self._count if self._count else 0.0
        return Spread(self._count, mean_s, self.quantile(0.5), self.quantile(0.95), self.quantile(0.99), self._max)


_ZERO = -1_000_000


class Histograms(dict[str, Histogram]):
    """A histogram for each key; keys beyond ``limit`` share one, so that hostile names cannot fill memory."""

    def __init__(self, limit: int = 200) -> None:
        super().__init__()
        self._limit = limit

    def __missing__(self, key: str) -> Histogram:
        return self.setdefault(key if len(self) < self._limit else OTHERS, Histogram())

    def spreads(self) -> dict[str, Spread]:
        return {key: self[key].spread() for key in sorted(self)}
