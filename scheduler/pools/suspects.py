"""Which jobs may be all that ails a pool that seems to fail for everybody. Pure.

Jobs that always fail, three or more at the head of a line, look like an outage for as long as nobody else gets to try. So whoever
failed in one is a *suspect* until it succeeds: others probe, while there are others. What another job's success says of it:

    it made the outage, and the first probe ended it      ──▶ known: it makes no outage any more
    it failed in two outages that others' successes ended ──▶ known
    an outage's probe, another job, fails as well         ──▶ nobody is known any more: it is the provider

Does not belong here: how many failures make an outage (``streak.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from scheduler.policy import OUTAGE_PAUSE_S

#: Suspects remembered, the latest.
REMEMBERED = 1_000
#: What an outage that ended says against who failed in it, and against those that made it if the first probe ended it.
WEAK, STRONG = 1, 2
#: Who begins so many seconds after an outage was found begins after its first pause: as a probe, or because the pool is open again.
AFTER_PAUSE_S = 0.9 * OUTAGE_PAUSE_S
#: A first probe begins less than so many seconds after the outage was found; a second one, whoever sends it, later.
FIRST_PROBE_S = 2.5 * OUTAGE_PAUSE_S


@dataclass(slots=True)
class Suspects:
    """Of one pool, by job id. Times are monotonic seconds.

    ``weights``: all, and what is held against each. ``failed_now``: in the present outage; ``accused``: they made it. ``turn``: those
    that probed although they are suspects, as nobody else was there; the others are next.
    """

    weights: dict[str, int] = field(default_factory=dict)
    turn: set[str] = field(default_factory=set)
    failed_now: set[str] = field(default_factory=set)
    accused: set[str] = field(default_factory=set)
    found_at: float = float("-inf")
    _avoid: tuple[str, ...] | None = None

    @property
    def avoid(self) -> tuple[str, ...]:
        """Who should not probe while there are others."""
        if self._avoid is None:
            self._avoid = tuple(self.turn or self.weights)
        return self._avoid

    def is_known(self, job_id: str) -> bool:
        """Whether it fails whoever else succeeds."""
        return self.weights.get(job_id, 0) >= STRONG

    def found(self, job_ids: Iterable[str], now: float) -> None:
        """An outage was found: the failures of these made it one."""
        self.found_at = now
        self.accused = set(job_ids)
        for job_id in self.accused:
            self._add(job_id)

    def failed(self, job_id: str, began_at: float) -> None:
        """One more failed in the outage, in an attempt from ``began_at`` on."""
        if not self.is_after_pause(began_at):
            self.accused.add(job_id)  # was under way with the others, and shows no more than they do
        else:
            if job_id not in self.accused:
                self._acquit()  # it is the provider, or this one ails as well
            if job_id in self.turn:
                self.turn.clear()  # all had theirs
            if self.turn or job_id in self.weights:
                self.turn.add(job_id)
        self._add(job_id)

    def succeeded(self, job_id: str, began_at: float) -> None:
        """The provider answered an attempt from ``began_at`` on."""
        self._forget(job_id)
        if self.is_after_pause(began_at):
            self.over(began_at)

    def is_after_pause(self, began_at: float) -> bool:
        """Whether an attempt that began then was let through although (or because) there was an outage."""
        return began_at - self.found_at >= AFTER_PAUSE_S

    def over(self, began_at: float) -> None:
        """The provider works, as an attempt that began then found."""
        for job_id in self.failed_now & self.weights.keys():
            is_strong = job_id in self.accused and began_at - self.found_at < FIRST_PROBE_S
            self.weights[job_id] += STRONG if is_strong else WEAK
        for some in (self.failed_now, self.accused, self.turn):
            some.clear()
        self._avoid = None

    def _acquit(self) -> None:
        """Nothing is held against anybody; who failed is a suspect still."""
        self.accused.clear()
        self.weights = dict.fromkeys(self.weights, 0)

    def _add(self, job_id: str) -> None:
        self.failed_now.add(job_id)
        self.weights[job_id] = self.weights.pop(job_id, 0)
        self._avoid = None
        if len(self.weights) > REMEMBERED:
            self._forget(next(iter(self.weights)))

    def _forget(self, job_id: str) -> None:
        if self.weights.pop(job_id, None) is not None:
            self._avoid = None
        for some in (self.failed_now, self.accused, self.turn):
            some.discard(job_id)
