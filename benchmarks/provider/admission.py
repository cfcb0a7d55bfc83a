"""All limits of a provider together: what a call is charged, whether it fits everywhere, what it settles to. Pure.

Does not belong here: weather, wording, or what was used over time (``model.py``).
"""

from __future__ import annotations

import math
from collections import defaultdict

from benchmarks.provider.answers import Call, Refusal, Why, amount_of
from benchmarks.provider.meters import Meter, Reading, Ticket, meter
from benchmarks.provider.schedule import Schedule
from benchmarks.provider.spec import MINUTE_S, Accounting, Dimension, ProviderSpec, Slope


class Limits:
    """The meters of a provider that began at ``start``."""

    def __init__(self, spec: ProviderSpec, schedule: Schedule, start: float) -> None:
        self.meters: list[Meter] = [meter(limit, schedule, start) for limit in spec.limits]
        self._spec = spec
        self._steepness = Steepness(spec.slope) if spec.slope else None

    def at_admission(self, dimension: Dimension, call: Call) -> float:
        """What a call is charged before anything is written."""
        if self._spec.accounting is Accounting.ACTUAL:
            return amount_of(dimension, call.input_tokens, 0)
        longest = max(call.max_tokens, self._spec.output_estimate_tokens)
        return amount_of(dimension, call.input_tokens, longest)

    def refusal(self, call: Call, now: float) -> Refusal | None:
        """The limit that is longest in the way, if any is."""
        if self._steepness is not None and not self._steepness.fits(call, now):
            return Refusal(Why.SLOPE, wait_s=MINUTE_S - now % MINUTE_S)
        in_the_way = [one for one in self.meters if not one.fits(self._asked(one, call), now)]
        if not in_the_way:
            return None
        waits = {one: one.wait_s(self._asked(one, call), now) for one in in_the_way}
        longest = max(in_the_way, key=waits.__getitem__)
        why = Why.TOO_LARGE if math.isinf(longest.needed(self._asked(longest, call), now)) else Why.RATE
        wait_s = None if math.isinf(waits[longest]) else waits[longest]
        return Refusal(why, wait_s, longest.read(now), self._asked(longest, call))

    def _asked(self, one: Meter, call: Call) -> float:
        """Nothing is let in where not even one is left (output is charged only as it is written)."""
        return max(self.at_admission(one.limit.dimension, call), 1.0)

    def admit(self, call: Call, now: float) -> tuple[dict[str, float], list[tuple[Meter, Ticket]]]:
        """Charge a call that fits: what each limit took, and the tickets to settle it."""
        charged: dict[str, float] = {}
        tickets: list[tuple[Meter, Ticket]] = []
        for one in self.meters:
            amount = charged[one.limit.name] = self.at_admission(one.limit.dimension, call)
            tickets.append((one, one.charge(amount, now)))
        if self._steepness is not None:
            self._steepness.add(call, now)
        return charged, tickets

    def settle(self, call: Call, tickets: list[tuple[Meter, Ticket]], now: float) -> None:
        """``RESERVE``: turn the longest possible answer into the real one."""
        for one, ticket in tickets:
            real = amount_of(one.limit.dimension, call.input_tokens, call.written_tokens)
            difference = real - self.at_admission(one.limit.dimension, call)
            if difference:
                one.settle(ticket, difference, now)

    def written(self, tokens: int, now: float) -> None:
        """``ACTUAL``: so much more of an answer exists."""
        for one in self.meters:
            amount = amount_of(one.limit.dimension, 0, tokens)
            if amount and one.limit.dimension is not Dimension.REQUESTS:
                one.charge(amount, now)

    def charge_failure(self, now: float) -> None:
        for one in self.meters:
            if one.limit.dimension is Dimension.REQUESTS and one.limit.per_s <= MINUTE_S:
                one.charge_failure(now)

    def read(self, now: float) -> tuple[Reading, ...]:
        return tuple(one.read(now) for one in self.meters)


class Steepness:
    """How fast traffic grows, by minutes of the wall clock (``Slope``)."""

    def __init__(self, slope: Slope) -> None:
        self._slope = slope
        self._minutes: defaultdict[int, float] = defaultdict(float)

    def fits(self, call: Call, now: float) -> bool:
        minute = int(now // MINUTE_S)
        return self._minutes[minute] + self._amount(call) <= self.ceiling(minute)

    def ceiling(self, minute: int) -> float:
        """The most that ``minute`` may carry."""
        span = round(self._slope.every_s / MINUTE_S)
        fullest = max(self._minutes.get(earlier, 0.0) for earlier in range(minute - 2 * span, minute - span + 1))
        return max(self._slope.floor_per_min, self._slope.growth * fullest)

    def add(self, call: Call, now: float) -> None:
        self._minutes[int(now // MINUTE_S)] += self._amount(call)

    def _amount(self, call: Call) -> float:
        return amount_of(self._slope.dimension, call.input_tokens, call.written_tokens)
