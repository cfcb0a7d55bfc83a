"""How many calls a pool may have in flight: grows while used up and clean, cut on overload. Pure.

Overload (503, 529, a full queue, "too many at once") is about how many, not how fast. The limit is unknown until the
first such answer; then it is what was in flight, less one, and further down while it goes on. Upwards it goes one by
one: quickly where it has been before, ever more rarely beyond the ceiling that was hit last, so that trying costs a few
calls in a thousand.

Additive increase, multiplicative decrease: Chiu and Jain, "Analysis of the increase and decrease algorithms" (1989).
"""

from __future__ import annotations

from dataclasses import dataclass

#: Overloaded again within so many seconds: the cut was not deep enough.
AGAIN_S = 10.0
CUT = 0.7
#: So many clean answers per place before trying one more above the ceiling; doubles with each ceiling that holds.
PATIENCE, PATIENCE_MAX = 32, 1_024


@dataclass(slots=True)
class InFlight:
    """``limit`` None: unknown, unlimited. ``ceiling``: where it was overloaded last."""

    limit: int | None = None
    ceiling: int | None = None
    cut_at: float = 0.0
    clean: int = 0
    patience: int = PATIENCE

    def overloaded(self, flying: int, asked_at: float, now: float) -> bool:
        """The provider refused one of ``flying`` calls, sent at ``asked_at``; returns whether the limit changed."""
        if asked_at <= self.cut_at:
            return False  # sent before the last cut: the same news again
        before = self.limit
        if self.limit is None or flying < self.limit or now - self.cut_at > AGAIN_S:
            new = max(1, min(flying, self.limit or flying) - 1)
        else:
            new = max(1, int(self.limit * CUT))
        self._note_ceiling(flying)
        self.limit, self.cut_at, self.clean = new, now, 0
        return before != new

    def _note_ceiling(self, flying: int) -> None:
        if flying <= 1 or (self.ceiling is not None and flying < self.ceiling):
            # Refused where it was let in before: the provider is in trouble, and that says nothing of how many it takes.
            self.ceiling, self.patience = None, PATIENCE
            return
        if self.ceiling == flying:
            self.patience = min(self.patience * 2, PATIENCE_MAX)
        self.ceiling = flying

    def answered(self, count: int, flying: int) -> bool:
        """``count`` calls were answered well while ``flying`` were out; returns whether the limit changed."""
        if self.limit is None or flying < self.limit:
            return False
        self.clean += count
        below = self.ceiling is None or self.limit + 1 != self.ceiling
        if self.clean < self.limit * (1 if below else self.patience):
            return False
        self.clean = 0
        if self.ceiling is not None and self.limit >= self.ceiling:
            self.ceiling, self.patience = None, PATIENCE  # it holds no more
        self.limit += 1
        return True
