"""Lanes as the dispatcher sees them, and how free slots are shared out among them. Pure bookkeeping.

Between lanes the share is max-min fair: a free slot goes to the lane that runs least, so that no lane waits
behind another's backlog, however long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from scheduler.named import TaskTypeSettings
from scheduler.pauses import pool_scope
from scheduler.registry import Routes
from scheduler.stores.base import Want


@dataclass(slots=True)
class Lane:
    """One task type. ``ready``: it may have due jobs, as far as known; ``calls``: its handlers may wait for their pool's quota;
    ``avoid``: jobs that should not be its next probe.

    ``limit`` is this process's, ``cap`` that of all workers together, which only the store can keep. ``aside``: its jobs take none of the
    process's slots, ``limit`` alone bounds them. Times are monotonic seconds.
    """

    task_type: str
    limit: int | None = None
    delay_s: float = 0.0
    pool: str | None = None
    target_types: tuple[str, ...] | None = None
    cap: int | None = None
    running: int = 0
    calls: bool = True
    aside: bool = False
    avoid: tuple[str, ...] = ()
    ready: bool = False
    next_start: float = 0.0

    @property
    def scopes(self) -> tuple[str, ...]:
        """The pause scopes that gate this lane."""
        return (self.task_type,) if self.pool is None else (self.task_type, pool_scope(self.pool))

    @property
    def limits(self) -> tuple[str, ...]:
        """What bounds this lane in ``share_out``'s ``pool_room``."""
        if self.pool is None:
            return ()
        return (self.pool, calls_of(self.pool)) if self.calls else (self.pool,)

    def room(self) -> float:
        """How many more jobs of this lane may run."""
        return min((limit for limit in (self.limit, self.cap) if limit is not None), default=float("inf")) - self.running


def lane_of(task_type: str, own: TaskTypeSettings, routes: Routes, *, leave: bool, ready: bool = False) -> Lane:
    """The lane of a task type as its settings (``own``) and its handlers have it; ``leave``: what has no handler here is another's."""
    aside = routes.aside(task_type)
    return Lane(
        task_type=task_type,
        limit=aside if own.concurrency is None else own.concurrency,
        aside=aside is not None,
        delay_s=own.dispatch_delay_s or 0.0,
        pool=own.pool if own.pool is not None else routes.pool(task_type),
        target_types=routes.target_types(task_type) if leave else None,
        cap=own.max_running,
        ready=ready,
    )


def calls_of(pool: str) -> str:
    """The key of a pool's room for calls, beside that for jobs. No pool's name has a newline."""
    return f"{pool}\ncalls"


def share_out(lanes: Iterable[Lane], free: int, pool_room: dict[str, int], now: float, most: float = float("inf")) -> list[Want]:
    """Wants for at most ``free`` jobs: only of lanes that are ready, have room and are not held by a delay.

    Lanes aside have no part in ``free``; with theirs it is at most ``most`` jobs.
    ``pool_room`` is how many more jobs may run on each limited pool; it is used up.
    """
    candidates = [lane for lane in lanes if lane.ready and lane.next_start <= now and lane.room() >= 1]
    inside = [lane for lane in candidates if not lane.aside]
    shares = {inside[0].task_type: _alone(inside[0], free, pool_room)} if len(inside) == 1 else _in_turns(inside, free, pool_room)
    if len(inside) < len(candidates):
        for lane in candidates:
            if lane.aside:
                shares[lane.task_type] = _alone(lane, most - sum(shares.values()), pool_room)
    # The first of a pool's lanes may get its only probe: the one whose last start is longest ago.
    return [
        Want(lane.task_type, shares[lane.task_type], lane.scopes, lane.target_types, lane.cap, lane.avoid)
        for lane in sorted(candidates, key=lambda lane: lane.next_start)
        if shares.get(lane.task_type, 0) > 0
    ]


def _alone(lane: Lane, free: float, pool_room: dict[str, int]) -> int:
    room = min(free, lane.room(), 1 if lane.delay_s else free)
    room = min(room, *(pool_room[name] for name in lane.limits if name in pool_room), room)
    return max(int(room), 0)


def _in_turns(candidates: list[Lane], free: int, pool_room: dict[str, int]) -> dict[str, int]:
    """A slot to the lane that runs least, again and again; among equals, to the one whose last start is longest ago.

    Those that run least go up together, as many slots each as nothing stands in the way of: hundreds of free slots, one at a time,
    cost the first job of an idle service more than half a millisecond.
    """
    rooms = [min(lane.room(), 1) if lane.delay_s else lane.room() for lane in candidates]
    limits = [[name for name in lane.limits if name in pool_room] for lane in candidates]
    shares = [0] * len(candidates)
    above = sorted(((lane.running, lane.next_start, place) for place, lane in enumerate(candidates)), reverse=True)
    lowest: list[tuple[float, int]] = []
    level = 0
    while free > 0 and (lowest or above):
        if not lowest:
            level = above[-1][0]
        while above and above[-1][0] == level:
            lowest.append(above.pop()[1:])
        lowest.sort()
        each = min(free // len(lowest), above[-1][0] - level) if above else free // len(lowest)
        if each > 1:
            sharing = Counter(name for _, place in lowest for name in limits[place])
            each = int(min([each, *(rooms[place] for _, place in lowest), *(pool_room[name] // count for name, count in sharing.items())]))
        each = max(each, 1)
        fed = []
        for one in lowest:
            place = one[1]
            if not free:
                break
            if rooms[place] < each or any(pool_room[name] < each for name in limits[place]):
                continue
            fed.append(one)
            shares[place] += each
            rooms[place] -= each
            free -= each
            for name in limits[place]:
                pool_room[name] -= each
        lowest = fed
        level += each
    return {lane.task_type: share for lane, share in zip(candidates, shares, strict=True)}
