"""What calls of each task type use: learned from what they used. Pure.

Callers estimate (characters over four, the longest answer they allow); providers charge what was really used. The
ratio between the two, and the mean where there is no estimate, make the next booking fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.pools.messages import Cost, Estimate, Used

#: Weight of a call in the moving means.
NEW = 0.05
#: Task types that are remembered, by so much of their names: the document is read and written many times a second.
TYPES, NAME_CHARS = 40, 48
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

    def learn(self, task_type: str, used: Used) -> None:
        """Take in what calls used: each weighs ``NEW``, until so many are known the mean of all."""
        calls = used.calls
        took, gave = used.actual.input_tokens / calls, used.actual.output_tokens / calls
        weight = max(1.0 - (1.0 - NEW) ** calls, calls / (self.calls + calls))
        self.calls += calls
        self.input_tokens += weight * (took - self.input_tokens)
        self.output_tokens += weight * (gave - self.output_tokens)
        self._learn_type(task_type[:NAME_CHARS], took, gave, used)

    def _learn_type(self, name: str, took: float, gave: float, used: Used) -> None:
        known = self.by_type.pop(name, None) or Estimate(1.0, took, gave)
        if len(self.by_type) >= TYPES:  # the one that was heard of least lately stands first
            self.by_type.pop(next(iter(self.by_type)))
        self.by_type[name] = known
        weight = 1.0 - (1.0 - NEW) ** used.calls
        known.input_tokens = round(known.input_tokens + weight * (took - known.input_tokens), 2)
        known.output_tokens = round(known.output_tokens + weight * (gave - known.output_tokens), 2)
        if used.estimated:
            ratio = min(max(used.estimated_used / used.estimated, 0.05), 20.0)
            known.ratio = round(known.ratio + weight * (ratio - known.ratio), 4)


def estimate_of(task_type: str, estimates: dict[str, Estimate]) -> Estimate | None:
    """What is known of calls of ``task_type``."""
    return estimates.get(task_type[:NAME_CHARS])


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
