"""The workers that share a pool, as last heard of, and who may have how many calls in flight. Pure.

Places in flight are lent: a worker that falls silent gives its places back only after a while, because its
calls may still be under way at the provider.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Who did not report for so many seconds is dead, or idle.
SILENT_S = 45.0
#: A worker with calls that wait or fly reports more often than this; who does not shares the pace no more.
LATE_S = 6.0


@dataclass(slots=True)
class Desk:
    """Calls in flight, calls waiting, and how many it may have in flight."""

    seen_at: float
    flying: int = 0
    waiting: int = 0
    may: int = 0


@dataclass(slots=True)
class Desks:
    by_worker: dict[str, Desk] = field(default_factory=dict)

    def seat(self, worker: str, flying: int, waiting: int, now: float) -> None:
        """A worker reports; those that fell silent go."""
        for name in [name for name, desk in self.by_worker.items() if now - desk.seen_at > SILENT_S]:
            del self.by_worker[name]
        desk = self.by_worker.setdefault(worker, Desk(now))
        desk.seen_at, desk.flying, desk.waiting = now, flying, waiting

    @property
    def flying(self) -> int:
        return sum(desk.flying for desk in self.by_worker.values())

    @property
    def waiting(self) -> int:
        return sum(desk.waiting for desk in self.by_worker.values())

    def with_work(self, now: float) -> int:
        """Workers that call or want to."""
        return sum(1 for desk in self.by_worker.values() if (desk.waiting or desk.flying) and now - desk.seen_at <= LATE_S)

    def in_line(self, now: float) -> int:
        """Workers with calls that wait."""
        return sum(1 for desk in self.by_worker.values() if desk.waiting and now - desk.seen_at <= LATE_S)

    def may_fly(self, worker: str, limit: int) -> int:
        """How many calls ``worker`` may have in flight: what others left, and no more than its share while they wait too."""
        own = self.by_worker[worker]
        others = [desk for name, desk in self.by_worker.items() if desk is not own and name]
        room = limit - sum(max(desk.may, desk.flying) for desk in others)
        share = max(1, limit // (1 + sum(1 for desk in others if desk.waiting or desk.flying)))
        wanted = own.flying + own.waiting
        if any(desk.waiting and desk.may < share for desk in others):
            wanted = min(wanted, share)
        own.may = max(own.flying, min(wanted, room))
        return own.may

    def shift(self, by_s: float) -> None:
        """The clock was set by so many seconds."""
        for desk in self.by_worker.values():
            desk.seen_at += by_s
