"""Somebody else on the same key: calls of their own through the same limits. Pure.

Does not belong here: when they are due (``model.py`` keeps the heap).
"""

from __future__ import annotations

import random

from benchmarks.provider.admission import Limits
from benchmarks.provider.answers import Call, amount_of
from benchmarks.provider.ledger import Ledger
from benchmarks.provider.spec import MINUTE_S, Dimension, ProviderSpec, Tenant

#: How soon a tenant looks again when its share of a limit of zero is nothing.
_IDLE_S = 1.0


class Company:
    """The other tenants. Each asks for its share of whatever binds calls of its size; a refused call is dropped."""

    def __init__(self, spec: ProviderSpec, limits: Limits, rng: random.Random, start: float) -> None:
        self._tenants = spec.tenants
        self._start = start
        self._limits = limits
        self._rng = rng
        self.taken = Ledger()

    def first(self, index: int) -> float:
        """When a tenant calls first."""
        return self._next(index, self._start + self._tenants[index].start_s)

    def ask(self, index: int, now: float) -> float:
        """One call; returns when the next one comes, infinity for never."""
        tenant = self._tenants[index]
        call = Call(tenant.input_tokens, tenant.output_tokens, tenant.output_tokens)
        if self._per_s(tenant, now) > 0 and self._limits.refusal(call, now) is None:
            self._take(call, now)
        return self._next(index, now)

    def _take(self, call: Call, now: float) -> None:
        """Charged at its real size at once: what it reserves in between is not ours to know."""
        for one in self._limits.meters:
            one.charge(amount_of(one.limit.dimension, call.input_tokens, call.output_tokens), now)
        for dimension in Dimension:
            self.taken.add(dimension, now, amount_of(dimension, call.input_tokens, call.output_tokens))

    def _next(self, index: int, now: float) -> float:
        tenant = self._tenants[index]
        per_s = self._per_s(tenant, now)
        between_s = _IDLE_S
        if per_s > 0:
            between_s = self._rng.expovariate(per_s) if tenant.poisson else 1.0 / per_s
        at = now + between_s
        return at if at < self._start + tenant.end_s else float("inf")

    def _per_s(self, tenant: Tenant, now: float) -> float:
        """Calls per second: its share of the limit that a flow of such calls meets first."""
        rates = []
        for one in self._limits.meters:
            size = amount_of(one.limit.dimension, tenant.input_tokens, tenant.output_tokens)
            if size > 0 and one.limit.per_s <= MINUTE_S:
                rates.append(one.allowed(now) / one.limit.per_s / size)
        return tenant.share * min(rates, default=0.0)
