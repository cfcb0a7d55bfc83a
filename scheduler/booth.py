"""One pool in this process: its line of calls, and what came of them.

Whoever wants to call stands in line; the booth asks the pool's shared document for places, many at a time, starts
each call when its place has come, and reports what providers answered.

    in line ──granted──▶ booked ──its time has come──▶ under way ──▶ answered, failed or rejected
       ▲                    │ the pool is held
       └────────────────────┘

Does not belong here: the arithmetic (``pools/``), how the document is reached (``keeper.py``).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import anyio

from scheduler.clock import Clock
from scheduler.errors import PoolHeldError, StoreError
from scheduler.pools.costs import estimate_of, expected
from scheduler.pools.messages import Cost, Grant, Limits, Rejected, Report, Used
from scheduler.pools.meter import MINUTE_S
from scheduler.pools.quotas import Dimension, Reading
from scheduler.pools.rejection import Rejection
from scheduler.unsaid import Unsaid

#: A call that waits for a held pool keeps its slot for so many seconds; for longer its job is put off.
PATIENT_S = 2.0
#: Jobs are claimed for so many seconds of calls ahead: enough to keep the pace, too few to sit in slots.
AHEAD_S = 1.0
#: What happened is reported this often without a reason to hurry, while calls wait, and while they are only in flight.
_REPORT_S, _REPORT_WAITING_S, _REPORT_IDLE_S = 1.0, 0.25, 5.0
#: While calls wait for places in flight, each that lands makes room.
_REPORT_LANDED_S = 0.02
#: Calls told about in one question.
_WANTS = 256
#: A call that was not turned away within a few times as long as that takes was let in.
_LET_IN_FACTOR, _LET_IN_LEAST_S, _LET_IN_FIRST_S = 4.0, 0.25, 0.5
_RETRY_S = 0.5
#: Headers of answers are read this often, in seconds.
_READ_EVERY_S = 0.05
_BACK_S = 1.0
#: A rest is no shorter, in seconds: what falls due in less than a clock can tell would be looked for without end.
_LEAST_REST_S = 0.0005


class Office(Protocol):
    """What a booth asks of the keeper."""

    clock: Clock
    worker: str
    on_room: Callable[[], None]

    async def exchange(self, pool: str, report: Report, limits: Limits, now: float) -> Grant: ...

    async def tell(self, pool: str, grant: Grant) -> None: ...


@dataclass(slots=True, eq=False)
class Place:
    """One call, from standing in line to its end. Times in seconds since the epoch."""

    task_type: str
    estimate: float | None
    cost: Cost
    called: asyncio.Future[None]
    starts_at: float = 0.0
    asked_at: float | None = None
    is_probe: bool = False


class Booth:
    """One pool in this process. ``enter``, ``leave`` and ``withdraw`` are for calls; ``run`` is its task."""

    def __init__(self, name: str, limits: Limits, office: Office) -> None:
        self.name = name
        self.limits = limits
        self._office = office
        self._line: deque[Place] = deque()
        self._booked: deque[Place] = deque()
        self._under_way: set[Place] = set()
        self._unsaid = Unsaid()
        self._news = asyncio.Event()
        self._grant = Grant()
        self._asked_at = 0.0
        self._again_at: float | None = None
        self._asking = False
        self._read_at = 0.0
        #: The dispatcher last found no room here.
        self._is_short = True
        self._refused_s = _LET_IN_FIRST_S / _LET_IN_FACTOR
        self._turned_away: list[asyncio.Future[None]] = []
        #: The call that tried whether the pool is open ended without showing it, and that was not reported yet.
        self._probe_over = False
        #: Task types that are known to ask before they call, and those that ended without it.
        self.callers: set[str] = set()
        self.silent: set[str] = set()
        #: Attempts by type that have not asked yet.
        self.expected: Counter[str] = Counter()

    # -- for calls

    def place(self, task_type: str, tokens: float | None, output_tokens: float | None) -> Place:
        """A call that is expected to use ``tokens``, ``output_tokens`` of them in its answer."""
        known = None if self.limits.reserves and tokens is not None else estimate_of(task_type, self._grant.estimates)
        cost = expected(known, tokens, output_tokens)
        return Place(task_type, tokens, cost, asyncio.get_running_loop().create_future())

    async def enter(self, place: Place) -> None:
        """Stand in line until the call may start. Raises ``PoolHeldError`` when that takes longer than a slot is worth."""
        self._line.append(place)
        if self._again_at is None and not self._asking:
            self._again_at = 0.0
        self._news.set()
        try:
            await place.called
        except BaseException:
            self._withdraw(place)
            raise

    def _withdraw(self, place: Place) -> None:
        """The caller went away before (or just when) its call could start."""
        if place in self._under_way:
            self._under_way.discard(place)
            self._unsaid.unused.append(place.cost)
        elif place in self._booked:
            self._booked.remove(place)
            self._unsaid.unused.append(place.cost)
        elif place in self._line:
            self._line.remove(place)
        self._probe_over |= place.is_probe
        self._news.set()

    def answered(self, place: Place, actual: Cost | None, readings: tuple[Reading, ...]) -> None:
        """The provider answered well."""
        self._under_way.discard(place)
        unsaid, asked_at = self._unsaid, place.asked_at or 0.0
        unsaid.answered += 1
        unsaid.let_in_at = max(unsaid.let_in_at or 0.0, asked_at)
        if actual is not None:
            used = unsaid.used.get(place.task_type)
            if used is None:
                used = unsaid.used[place.task_type] = Used()
            used.add(place.cost, actual, place.estimate)
        self._hear(readings, asked_at)
        if place.is_probe or self._grant.held_until is not None or self._line:
            self._news.set()

    def wants_reading(self) -> bool:
        """Whether headers are worth reading now: a few times a second tell as much as every answer."""
        now = self._office.clock.now()
        if abs(now - self._read_at) < _READ_EVERY_S and self._grant.held_until is None:
            return False
        self._read_at = now
        return True

    def failed(self, place: Place, readings: tuple[Reading, ...] = ()) -> None:
        """The call failed, but not because of a quota."""
        self._under_way.discard(place)
        self._probe_over |= place.is_probe
        self._hear(readings, place.asked_at or 0.0)
        self._news.set()

    async def rejected(self, place: Place, rejection: Rejection) -> float | None:
        """The provider turned the call away; returns for how many seconds the pool is held."""
        self._under_way.discard(place)
        now = self._office.clock.now()
        asked_at = place.asked_at or now
        self._refused_s += 0.5 * (now - asked_at - self._refused_s)
        self._unsaid.rejections.append(Rejected(asked_at, rejection, place.cost))
        self._unbook()
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turned_away.append(told)
        self._news.set()
        with anyio.move_on_after(5.0):  # a store that is busy must not keep an attempt from ending
            await told
        held_until = self._grant.held_until
        return None if held_until is None else max(0.0, held_until - self._office.clock.now())

    def _hear(self, readings: tuple[Reading, ...], asked_at: float) -> None:
        for reading in readings:
            key = (reading.dimension, reading.source)
            known = self._unsaid.heard.get(key)
            if known is None or known[0] <= asked_at:
                self._unsaid.heard[key] = (asked_at, reading)

    def long_wait_s(self) -> float:
        """How long a call may have to wait for its place, roughly and at the most, while the pool is not held."""
        pace = self._grant.pace
        return 1.0 if not pace else (len(self._line) + 2) * self._grant.workers / pace

    # -- for the dispatcher

    def room(self) -> int | None:
        """For how many more jobs there is work soon; None for any number."""
        now, grant = self._office.clock.now(), self._grant
        if grant.held_until is not None and grant.held_until - now > PATIENT_S:
            return 0
        waiting = len(self._line) + len(self._booked) + sum(self.expected[name] for name in self.expected if name not in self.silent)
        rooms: list[int] = []
        # Who set a limit means handlers that ask; without one that is known only once somebody did.
        configured = self.limits.per_minute.get(Dimension.REQUESTS)
        pace = grant.pace if grant.pace is not None or configured is None else configured / MINUTE_S
        if pace is not None and (self.callers or configured is not None):
            rooms.append(ceil(pace * AHEAD_S / grant.workers) + 1 - waiting)
        if grant.max_flying is not None:
            rooms.append(max(grant.max_flying, 1) - len(self._under_way) - waiting)
        return max(0, min(rooms)) if rooms else None

    def ask_room(self) -> int | None:
        """``room``, for a dispatcher that waits to be rung up if there is none."""
        room = self.room()
        self._is_short = room is not None and room <= 0
        return room

    def _ring(self) -> None:
        """Tell the dispatcher, if it waits for room and there is enough to be worth a turn."""
        if not self._is_short:
            return
        room, pace = self.room(), self._grant.pace
        enough = 1 if pace is None or self._grant.max_flying is not None else max(1, int(pace * AHEAD_S / self._grant.workers / 4))
        if room is None or room >= enough:
            self._is_short = False
            self._office.on_room()

    # -- the task

    async def run(self) -> None:
        """Start calls when their places come, ask for more, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            now = self._office.clock.now()
            if now < self._asked_at - _BACK_S:  # the clock was set: what was booked by the old time is booked anew
                self._unbook()
                self._asked_at, self._again_at = now, now
            self._start_due(now)
            wait_s = self._next_question(now) - now
            if wait_s <= 0:
                await self._ask()
                continue
            if self._booked:
                wait_s = min(wait_s, self._booked[0].starts_at - now)
            probe_s = self._probe_shows_at() - now
            # A timer that rings, because a cancel scope for each rest costs a paced call a good part of its overhead.
            rest_s = min(wait_s, probe_s)
            timer = None if rest_s == float("inf") else loop.call_later(max(rest_s, _LEAST_REST_S), self._news.set)
            try:
                await self._news.wait()
            finally:
                if timer is not None:
                    timer.cancel()
            self._news.clear()
            self._see_probe()

    def _start_due(self, now: float) -> None:
        started = False
        while self._booked and self._booked[0].starts_at <= now + 0.0005:
            place = self._booked.popleft()
            place.asked_at = now
            self._under_way.add(place)
            if not place.called.done():
                place.called.set_result(None)
            started = True
        if started:
            self._ring()

    def _next_question(self, now: float) -> float:
        """When to ask next."""
        if self._turned_away or self._probe_over or (self._unsaid.let_in_at is not None and self._grant.held_until is not None):
            return now
        times = [float("inf")]
        if self._line and self._again_at is not None:
            times.append(self._again_at)
        if self._unsaid:
            waiting_s = _REPORT_WAITING_S if self._grant.max_flying is None else _REPORT_LANDED_S
            times.append(self._asked_at + (waiting_s if self._line else _REPORT_S))
        if self._has_places_to_spare():
            times.append(self._asked_at + _REPORT_WAITING_S)
        if self._under_way or self._line or self._grant.held_until is not None:  # a hold may be lifted by hand
            times.append(self._asked_at + _REPORT_IDLE_S)
        return min(times)

    def _has_places_to_spare(self) -> bool:
        """Whether it holds places in flight that it does not use: another worker may want them."""
        lent = self._grant.max_flying
        return lent is not None and len(self._under_way) + len(self._booked) + len(self._line) < lent

    async def _ask(self) -> None:
        """One exchange with the pool's document."""
        office = self._office
        unsaid, self._unsaid = self._unsaid, Unsaid()
        told, self._turned_away, self._probe_over = self._turned_away, [], False
        wants = [place for place, _ in zip(self._line, range(_WANTS), strict=False)]
        report = Report(
            office.worker,
            [place.cost for place in wants],
            len(self._line),
            len(self._under_way) + len(self._booked),
            unsaid.answered,
            unsaid.used,
            unsaid.unused,
            list(unsaid.heard.values()),
            unsaid.rejections,
            unsaid.let_in_at,
            any(place.is_probe for places in (self._booked, self._under_way) for place in places),
        )
        self._again_at, self._asking = None, True
        self._asked_at = now = office.clock.now()
        try:
            grant = await office.exchange(self.name, report, self.limits, now)
        except StoreError:
            self._unsaid = unsaid.before(self._unsaid)
            self._turned_away = told + self._turned_away
            self._again_at = now + _RETRY_S
            await office.clock.sleep(_RETRY_S)
            return
        finally:
            self._asking = False
        self._grant = grant
        self._take(grant, wants)
        for each in told:
            if not each.done():
                each.set_result(None)
        await office.tell(self.name, grant)

    def _take(self, grant: Grant, wants: list[Place]) -> None:
        now = self._office.clock.now()
        if self._again_at is None:
            self._again_at = grant.again_at
        for index, starts_at in grant.starts:
            place = wants[index]
            if place.called.done():
                self._unsaid.unused.append(place.cost)
                continue
            place.starts_at, place.is_probe = starts_at, grant.probing
            self._line.remove(place)
            self._booked.append(place)
        if grant.held_until is not None:
            if not grant.may_start:
                self._unbook()
            if grant.held_until - now > PATIENT_S:
                self._put_off(grant.held_until - now, grant.reason)
        if self._line and self._again_at is None:
            self._again_at = now  # they came while we asked
        self._ring()

    def _put_off(self, held_s: float, reason: str) -> None:
        """Nobody waits in a slot for a pool that is held for long."""
        while self._line:
            place = self._line.popleft()
            if not place.called.done():
                place.called.set_exception(PoolHeldError(f"pool {self.name} is held: {reason}", retry_after_s=held_s, reason=reason))

    def _unbook(self) -> None:
        """A rejection: what was booked but has not started goes back to the front of the line."""
        while self._booked:
            place = self._booked.pop()
            self._unsaid.unused.append(place.cost)
            self._line.appendleft(place)

    # -- the probe

    def _probe_shows_at(self) -> float:
        """When a probe that is still under way was let in, by all appearances."""
        patience_s = max(_LET_IN_FACTOR * self._refused_s, _LET_IN_LEAST_S)
        return min(((place.asked_at or 0.0) + patience_s for place in self._under_way if place.is_probe), default=float("inf"))

    def _see_probe(self) -> None:
        now = self._office.clock.now()
        if self._probe_shows_at() > now:
            return
        for place in self._under_way:
            if place.is_probe:
                place.is_probe = False
                self._unsaid.let_in_at = max(self._unsaid.let_in_at or 0.0, place.asked_at or 0.0)
                self._again_at = now
