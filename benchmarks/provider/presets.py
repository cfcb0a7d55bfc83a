"""Whole providers, as their documentation describes them: shape, accounting and dialect that go together.

Where a provider says nothing of its limiter's shape (Gemini, Cerebras) the choice here is only that, a choice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.provider.spec import DAY_S, Accounting, Dialect, Dimension, Limit, Mischief, ProviderSpec, Shape

_WINDOWS = frozenset({Dialect.MISTRAL, Dialect.GEMINI})
_RESERVING = frozenset({Dialect.OPENAI, Dialect.AZURE, Dialect.PROSE})


def preset(
    dialect: Dialect,
    rpm: float | None = None,
    tpm: float | None = None,
    *,
    itpm: float | None = None,
    otpm: float | None = None,
    rpd: float | None = None,
    shape: Shape | None = None,
    burst_s: float | None = None,
    **changes: Any,
) -> ProviderSpec:
    """A provider of ``dialect`` with limits per minute (``rpd``: requests per day); ``changes`` are fields of the spec.

    ``burst_s`` is the buckets' burst in seconds' worth; None means the dialect's own (Azure judges requests over 10 s).
    """
    kind = shape or (Shape.WALL_CLOCK if dialect in _WINDOWS else Shape.BUCKET)
    amounts = {Dimension.REQUESTS: rpm, Dimension.TOKENS: tpm, Dimension.INPUT: itpm, Dimension.OUTPUT: otpm}
    limits = [Limit(dimension, amount, kind, burst_s=burst_s) for dimension, amount in amounts.items() if amount is not None]
    if dialect is Dialect.AZURE and burst_s is None:
        limits = [replace(one, burst_s=10.0) if one.dimension is Dimension.REQUESTS else one for one in limits]
    if rpd is not None:
        limits.append(Limit(Dimension.REQUESTS, rpd, Shape.WALL_CLOCK, DAY_S))
    spec = ProviderSpec(
        limits=tuple(limits),
        dialect=dialect,
        accounting=Accounting.RESERVE if dialect in _RESERVING else Accounting.ACTUAL,
        failures_count=dialect in _RESERVING,
        mischief=Mischief(minus_one=(Dimension.TOKENS,)) if dialect is Dialect.AZURE else Mischief(),
    )
    return replace(spec, **changes)
