"""What a booth has to report and has not said yet: gathered call by call, said together.

Does not belong here: when it is said (``booth.py``), what it means (``pools/quota.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.pools.messages import Cost, Rejected, Used
from scheduler.pools.quotas import Dimension, Reading


@dataclass(slots=True)
class Unsaid:
    """What the next ``Report`` says."""

    answered: int = 0
    let_in_at: float | None = None
    used: dict[str, Used] = field(default_factory=dict)
    unused: list[Cost] = field(default_factory=list)
    heard: dict[tuple[Dimension, str], tuple[float, Reading]] = field(default_factory=dict)
    rejections: list[Rejected] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.answered or self.used or self.unused or self.heard or self.rejections or self.let_in_at)

    def before(self, later: Unsaid) -> Unsaid:
        """This, which could not be said, and what came since."""
        for task_type, used in self.used.items():
            _add(later.used.setdefault(task_type, Used()), used)
        let_in = [at for at in (self.let_in_at, later.let_in_at) if at is not None]
        return Unsaid(
            self.answered + later.answered,
            max(let_in, default=None),
            later.used,
            self.unused + later.unused,
            self.heard | later.heard,
            self.rejections + later.rejections,
        )


def _add(used: Used, more: Used) -> None:
    used.calls += more.calls
    used.booked, used.actual = _sum(used.booked, more.booked), _sum(used.actual, more.actual)
    used.estimated, used.estimated_used = used.estimated + more.estimated, used.estimated_used + more.estimated_used


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(one.input_tokens + other.input_tokens, one.output_tokens + other.output_tokens)
