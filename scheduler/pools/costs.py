"""What calls of each task type use: learned from what they used. Pure.

Callers estimate (characters over four, the longest answer they allow); providers charge what was really used. The
ratio between the two, and the mean where there is no estimate, make the next booking fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.pools.messages import Cost, Estimate, Used

#: Weight of a call in the moving means.
NEW = 0.05
#: Task types that are remembered.
TYPES = 100
#: A call of which nothing is known, in tokens; and the share of an estimate that is taken to be its answer.
UNKNOWN = Cost(500.0, 200.0)
_ANSWER = 0.3


@dataclass(slots=True)
class Costs:
    """Moving means of a pool's calls, and by task type."""

    calls: int = 0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    by_type: dict[str, Estimate] = field(default_factory=dict)

    @property
    def mean(self) -> Cost:
        return Cost(self.input_tokens, self.output_tokens)

    def learn(self, used: Used) -> None:
        """Take in what a call used."""
        actual = used.actual
        weight = max(NEW, 1.0 / (self.calls + 1))
        self.calls += 1
        self.input_tokens += weight * (actual.input_tokens - self.input_tokens)
        self.output_tokens += weight * (actual.output_tokens - self.output_tokens)
        known = self.by_type.get(used.task_type)
        if known is None:
            if len(self.by_type) >= TYPES:
                self.by_type.pop(next(iter(self.by_type)))
            known = self.by_type[used.task_type] = Estimate(1.0, actual.input_tokens, actual.output_tokens)
        known.input_tokens += NEW * (actual.input_tokens - known.input_tokens)
        known.output_tokens += NEW * (actual.output_tokens - known.output_tokens)
        if used.estimate:
            known.ratio += NEW * (min(max(actual.tokens / used.estimate, 0.05), 20.0) - known.ratio)


def expected(known: Estimate | None, tokens: float | None, output_tokens: float | None) -> Cost:
    """What a call will use: as estimated, corrected by what calls like it used; without an estimate, their mean."""
    if tokens is None:
        return UNKNOWN if known is None else Cost(known.input_tokens, known.output_tokens)
    if known is None:
        answer = min(output_tokens, tokens) if output_tokens is not None else _ANSWER * tokens
        return Cost(tokens - answer, answer)
    total, mean = tokens * known.ratio, known.input_tokens + known.output_tokens
    answer = total * (known.output_tokens / mean if mean > 0 else _ANSWER)
    return Cost(total - answer, answer)
