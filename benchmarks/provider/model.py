"""The provider itself, in virtual time: calls come in, answers go out, nobody looks at a clock. Pure.

One heap holds what will happen by itself (answers ending, other tenants calling); every verb first lets
happen what is due. Does not belong here: how limits count (``meters.py``), how answers are worded
(``voice.py``).
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from functools import partial

from benchmarks.provider.admission import Limits
from benchmarks.provider.answers import LIMITS, Admission, Answer, Call, Refusal, Why, amount_of
from benchmarks.provider.ledger import Ledger
from benchmarks.provider.meters import Meter, Ticket
from benchmarks.provider.schedule import Schedule
from benchmarks.provider.spec import MINUTE_S, Accounting, Dimension, ProviderSpec
from benchmarks.provider.tenants import Company
from benchmarks.provider.voice import Voice
from benchmarks.provider.weather import Forecast, answer_s, refusal_s


class Provider:
    """One account at one provider. ``start`` and every ``now`` are seconds since the epoch; ``now`` never decreases."""

    def __init__(self, spec: ProviderSpec, rng: random.Random | None = None, start: float = 0.0) -> None:
        self.spec = spec
        self.admissions: list[Admission] = []
        self.refusals: list[tuple[float, Why]] = []
        self.in_flight = 0  # calls let in and not yet ended
        self.rejected = 0  # calls refused so far by a limit, whatever the status
        self._rng = rng or random.Random(0)
        self._now = start
        self._schedule = Schedule(spec.schedule, start)
        self._limits = Limits(spec, self._schedule, start)
        self._forecast = Forecast(spec, start)
        self._voice = Voice(spec)
        self._used, self._counts = Ledger(), Ledger()
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._company = Company(spec, self._limits, random.Random(self._rng.random()), start)
        for index in range(len(spec.tenants)):
            self._later(self._company.first(index), partial(self._tenant, index))

    @property
    def admitted(self) -> int:
        """Calls let in so far."""
        return len(self.admissions)

    @property
    def failed(self) -> int:
        """Calls refused so far by the weather."""
        return len(self.refusals) - self.rejected

    def call(self, call: Call, now: float) -> Answer:
        """Let a call in, or do not. What comes of it is settled at ``now + latency_s`` without another call."""
        self._advance(now)
        refusal = self._refusal(call, now)
        return self._admit(call, now) if refusal is None else self._refuse(refusal, now)

    def used(self, t0: float, t1: float) -> dict[str, float]:
        """What was let in, by limit, at its real size, in ``[t0, t1)``. Output of ``ACTUAL`` accounting counts when written.

        Asking about the future brings it about: ``now`` is then at least ``t1``.
        """
        self._advance(max(t1, self._now))
        return {limit.name: self._used.total(limit.dimension, t0, t1) for limit in self.spec.limits}

    def offered(self, t0: float, t1: float) -> dict[str, float]:
        """What the quota had for us in ``[t0, t1)``, by limit: the rate over time, less what other tenants took.

        What a full bucket held at the beginning is not in it, so that a burst shows as a share above 1 in a short span.
        """
        self._advance(max(t1, self._now))
        scale = self._schedule.integral(t0, t1)
        taken = self._company.taken
        return {limit.name: limit.amount / limit.per_s * scale - taken.total(limit.dimension, t0, t1) for limit in self.spec.limits}

    def share(self, t0: float, t1: float) -> float:
        """Used over offered of the binding dimension; limits of longer than a minute count only where there are no others."""
        used, offered = self.used(t0, t1), self.offered(t0, t1)
        short = [limit.name for limit in self.spec.limits if limit.per_s <= MINUTE_S]
        shares = [used[name] / offered[name] for name in short or used if offered[name] > 0]
        return max(shares, default=0.0)

    def counts(self, t0: float = float("-inf"), t1: float = float("inf")) -> dict[str, int]:
        """Calls ``admitted``, ``rejected``, ``failed`` and by each ``Why`` in ``[t0, t1)``."""
        names = ["admitted", "rejected", "failed", *Why]
        return {str(name): int(self._counts.total(name, t0, t1)) for name in names}

    def taken(self, t0: float, t1: float) -> dict[str, float]:
        """What other tenants took in ``[t0, t1)``, by limit."""
        self._advance(max(t1, self._now))
        return {limit.name: self._company.taken.total(limit.dimension, t0, t1) for limit in self.spec.limits}

    def _advance(self, now: float) -> None:
        if now < self._now:
            raise ValueError(f"time went back from {self._now} to {now}: call with a 'now' that never decreases")
        while self._due and self._due[0][0] <= now:
            at, _, happen = heapq.heappop(self._due)
            self._now = max(self._now, at)
            happen(at)
        self._now = now

    def _later(self, at: float, happen: Callable[[float], None]) -> None:
        if at < float("inf"):
            heapq.heappush(self._due, (at, next(self._order), happen))

    def _tenant(self, index: int, now: float) -> None:
        self._later(self._company.ask(index, now), partial(self._tenant, index))

    def _refusal(self, call: Call, now: float) -> Refusal | None:
        struck = self._forecast.refusal(now, self._rng)
        if struck is not None:
            return struck
        cap = self.spec.concurrency
        if cap is not None and self.in_flight >= cap.calls:
            return Refusal(Why.CONCURRENCY, status=cap.status)
        return self._limited(call, now)

    def _limited(self, call: Call, now: float) -> Refusal | None:
        """A failure is charged before it is worded: the wait that is said must be one that helps."""
        refusal = self._limits.refusal(call, now)
        if refusal is not None and self.spec.failures_count:
            self._limits.charge_failure(now)
            refusal = self._limits.refusal(call, now)
        return refusal

    def _refuse(self, refusal: Refusal, now: float) -> Answer:
        self.refusals.append((now, refusal.why))
        self.rejected += refusal.why in LIMITS
        for name in (refusal.why, "rejected" if refusal.why in LIMITS else "failed"):
            self._counts.add(name, now)
        latency_s = refusal_s(self.spec.latency, self._rng)
        if refusal.why is Why.LOST:
            return Answer(0, {}, b"", latency_s, None, "disconnect")
        return self._voice.refuse(refusal, self._limits.read(now), now, latency_s)

    def _admit(self, call: Call, now: float) -> Answer:
        fate = self._forecast.fate(now, self._rng)
        latency_s = self.spec.hang_s if fate == "hang" else answer_s(self.spec.latency, call.written_tokens, self._rng)
        charged, tickets = self._limits.admit(call, now)
        self.admissions.append(Admission(now, now + latency_s, call, charged, fate))
        self._counts.add("admitted", now)
        self.in_flight += 1
        self._enter(call, tickets, now, latency_s)
        self._later(now + latency_s, self._finish)
        usage = (call.input_tokens, call.written_tokens) if fate == "answer" else None
        headers = self._voice.headers(self._limits.read(now), now)
        return Answer(200, headers, b"<html>?" if fate == "garbage" else {}, latency_s, usage, fate)

    def _enter(self, call: Call, tickets: list[tuple[Meter, Ticket]], now: float, latency_s: float) -> None:
        """Write down what is used and plan what is still to be charged."""
        is_reserved = self.spec.accounting is Accounting.RESERVE
        for dimension in Dimension:
            self._used.add(dimension, now, amount_of(dimension, call.input_tokens, call.written_tokens if is_reserved else 0))
        if is_reserved:
            self._later(now + latency_s, partial(self._limits.settle, call, tickets))
            return
        pieces = self.spec.output_pieces
        for number in range(1, pieces + 1):
            tokens = call.written_tokens * number // pieces - call.written_tokens * (number - 1) // pieces
            self._later(now + latency_s * number / pieces, partial(self._written, tokens))

    def _written(self, tokens: int, now: float) -> None:
        self._limits.written(tokens, now)
        for dimension in (Dimension.TOKENS, Dimension.OUTPUT):
            self._used.add(dimension, now, tokens)

    def _finish(self, now: float) -> None:
        self.in_flight -= 1
