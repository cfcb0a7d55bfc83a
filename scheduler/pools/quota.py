"""A pool as all its workers share it: one document, one pure step. Arithmetic only; takes the time and the dice.

A worker says what happened since it last asked and what waits (``Report``); it is told which of its calls may start
when, how many may be in flight, and until when the pool is held (``Grant``). The step runs inside one transaction of the
store, so workers never see half of it.

Does not belong here: who waits in this process (``keeper.py``), pauses of lanes (``pauses.py``), what an error means for its
job (``decide.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from pydantic import TypeAdapter, ValidationError

from scheduler.pools.blind import Blind
from scheduler.pools.costs import Costs
from scheduler.pools.desks import Desks
from scheduler.pools.hold import REASONS, Door, Hold
from scheduler.pools.inflight import InFlight
from scheduler.pools.ledger import Day, Ledger
from scheduler.pools.messages import Cost, Grant, Limits, News, Rejected, Report, Used
from scheduler.pools.meter import MINUTE_S, Meter
from scheduler.pools.quotas import Dimension, Reading
from scheduler.pools.timeline import LARGE_S

#: Calls are booked at most so many seconds before they start (where the pace is slow, some calls): what is booked far ahead
#: cannot follow a change of mind.
HORIZON_S, HORIZON_CALLS, HORIZON_MOST_S = 0.25, 4.0, 1.0
#: No worker books more calls at once, whatever limits somebody states.
MOST_CALLS = 1_000_000
#: How soon to ask again while somebody else's call tries whether the pool is open.
TRYING_S = 0.1
#: A pace of our own guessing grows while at least this share of it was used over so many seconds.
USED_SHARE, USED_S = 0.7, 4.0
#: Rejections that a known limit does not explain, so close together, show that it is not the real one.
CONTRADICTION_S = 180.0
#: A limit that what 429s show exceeds by this much was the real one after all.
_REHABILITATED = 1.05
#: A clock that went back by more seconds than this was set: everything moves with it.
_BACK_S = 1.0
#: Limits kept apart: a provider that made up header names must not fill the document.
_METERS = 12
#: A hold that grows by less than this many seconds is not worth another line.
_NEWS_S = 1.0
_REQUESTS = str(Dimension.REQUESTS)
PROSE = "429 message"


@dataclass(slots=True)
class _Step:
    """One exchange: what is asked, by whose clock, and the answer as it grows."""

    report: Report
    limits: Limits
    now: float
    rng: Random
    grant: Grant
    paces: dict[str, float]

    def tell(self, name: str, **fields: object) -> None:
        self.grant.news.append(News(name, fields))


@dataclass(slots=True)
class Quota:
    """The document. ``meters``: one for each dimension, for what is configured or said in prose, and one for each header that
    states a limit. ``distrusted``: the limit that is stated is not the real one.
    """

    meters: dict[str, Meter] = field(default_factory=lambda: {str(dimension): Meter(dimension) for dimension in Dimension})
    ledger: Ledger = field(default_factory=Ledger)
    day: Day = field(default_factory=Day)
    costs: Costs = field(default_factory=Costs)
    blind: Blind = field(default_factory=Blind)
    hold: Hold = field(default_factory=Hold)
    in_flight: InFlight = field(default_factory=InFlight)
    desks: Desks = field(default_factory=Desks)
    began_at: float | None = None
    seen_at: float = 0.0
    distrusted: bool = False
    contradicted_at: float | None = None
    rejected: int = 0
    rejected_at: float | None = None
    rejected_as: str = ""

    # -- the one step

    def exchange(self, report: Report, limits: Limits, now: float, rng: Random) -> Grant:
        """Take in ``report``, answer with what its worker may do."""
        if now < self.seen_at - _BACK_S:
            self._shift(now - self.seen_at)
        self.seen_at = now
        if self.began_at is None:
            self.began_at = now
            self.blind.began(now)
        step = _Step(report, limits, now, rng, Grant(), {})
        self.desks.seat(report.worker, report.flying, report.waiting, now)
        self._take_in(step)
        self._book(step)
        step.grant.pace = self._calls_per_s(step.paces)
        step.grant.workers = max(1, self.desks.with_work(now))
        step.grant.estimates = self.costs.by_type
        return step.grant

    def release(self, now: float) -> None:
        """Opened by hand: calls flow again, paced."""
        self.hold.open(now)
        self.blind.resumed(now)
        for meter in self.meters.values():
            meter.line.release(now)

    def _take_in(self, step: _Step) -> None:
        report = step.report
        for asked_at, reading in report.heard:
            self._hear(asked_at, reading, step)
        step.paces = self.paces(step.limits, step.now)
        for task_type, used in report.used.items():
            self._settle(task_type, used, step)
        for cost in report.unused:
            self._correct(Cost(-cost.input_tokens, -cost.output_tokens), step, calls=-1.0)
        # Those that were answered are not in flight any more, but were.
        if report.answered and self.in_flight.answered(report.answered, self.desks.flying + report.answered):
            step.tell("in_flight", limit=self.in_flight.limit, reason="clean")
        for rejected in report.rejections:
            self._reject(rejected, step)
        if report.let_in_at is not None and self.hold.let_in(report.let_in_at):
            self._open(step)

    def _shift(self, by_s: float) -> None:
        """The clock was set: what is planned keeps its distance from now."""
        for meter in self.meters.values():
            meter.shift(by_s)
        for part in (self.ledger, self.blind, self.hold, self.desks):
            part.shift(by_s)
        self.in_flight.cut_at += by_s
        self.contradicted_at = None if self.contradicted_at is None else self.contradicted_at + by_s

    # -- what answers said

    def _hear(self, asked_at: float, reading: Reading, step: _Step) -> None:
        meter = self.meters.get(reading.source)
        if meter is None:
            if len(self.meters) >= _METERS:
                return
            meter = self.meters[reading.source] = Meter(reading.dimension)
        was, asked_at = meter.limit, min(asked_at, step.now)  # the clock may have been set meanwhile
        if meter.hear(reading, asked_at, self.costs.mean.of(reading.dimension), step.now):
            step.tell(
                "limit", dimension=str(meter.dimension), limit=meter.limit, was_limit=was, period_s=meter.period_s, signal=meter.source
            )

    def _settle(self, task_type: str, used: Used, step: _Step) -> None:
        """Charge what calls used instead of what was booked for them."""
        actual, booked = used.actual, used.booked
        self._correct(Cost(actual.input_tokens - booked.input_tokens, actual.output_tokens - booked.output_tokens), step)
        self.costs.learn(task_type, used)

    def _correct(self, by: Cost, step: _Step, calls: float = 0.0) -> None:
        self.ledger.charge(calls, by.input_tokens, by.output_tokens, step.now)
        self.day.charge(calls, by.tokens, step.now)
        for name, pace in step.paces.items():
            dimension = self.meters[name].dimension
            units = calls if dimension is Dimension.REQUESTS else by.of(dimension)
            if units:
                self.meters[name].line.give_back(-units / pace)

    # -- rejections

    def _reject(self, rejected: Rejected, step: _Step) -> None:
        rejection, now = rejected.rejection, step.now
        self.rejected, self.rejected_at, self.rejected_as = self.rejected + 1, now, REASONS[rejection.kind]
        self.blind.let_in -= 1.0
        # No tokens were used; the request itself may well count.
        self._correct(Cost(-rejected.booked.input_tokens, -rejected.booked.output_tokens), step)
        for reading in rejection.readings:
            self._hear(rejected.asked_at, reading, step)
        self._read_prose(rejected, step)
        flying = self.desks.flying + len(step.report.rejections)  # those were, until they were turned away
        if rejection.kind == "overload" and self.in_flight.overloaded(flying, rejected.asked_at, now):
            step.tell("in_flight", limit=self.in_flight.limit, reason="overloaded")
        is_news = self.hold.is_news(rejected.asked_at)
        if is_news and self.hold.strike(rejection, now) and rejection.kind == "rate":
            self._learn_from_rejection(step)
        if is_news or rejection.retry_after_s is not None:
            hold_s = self.hold.length_s(rejection, step.limits.rate_hold_s, step.rng)
            self._hold(now + hold_s, REASONS[rejection.kind], step)

    def _learn_from_rejection(self, step: _Step) -> None:
        """Calls were flowing, and one was too many."""
        step.paces = self.paces(step.limits, step.now)
        if not self.is_blind(step.limits):
            self._contradicted(step)
        if self.is_blind(step.limits):
            self.blind.rejected(step.now)
            step.tell("pace", calls_per_minute=round(60 * self.blind.pace, 2))

    def _contradicted(self, step: _Step) -> None:
        """We kept to what is known of the limit, and were rejected all the same."""
        last, self.contradicted_at = self.contradicted_at, step.now
        if last is None or step.now - last > CONTRADICTION_S:
            return
        self.distrusted = True
        used_per_s = self.ledger.since(Dimension.REQUESTS, step.now - MINUTE_S) / MINUTE_S
        self.blind.pace = max(min(self._calls_per_s(step.paces) or used_per_s, 1.2 * used_per_s), 1e-3)
        self.blind.searching = False
        step.tell("distrust", calls_per_minute=round(60 * self.blind.pace, 2))

    def _read_prose(self, rejected: Rejected, step: _Step) -> None:
        """What only the message says of a limit; headers, where there are any, say it better."""
        said = rejected.rejection.prose
        if said is None or not said.limit or said.dimension is None or said.period_s is None:
            return
        if any(meter.dimension is said.dimension and meter.is_said_by_header for meter in self.meters.values()):
            return
        meter = self.meters[str(said.dimension)]
        was = meter.limit
        if meter.learn(said.limit, said.period_s, PROSE, step.now):
            step.tell("limit", dimension=str(said.dimension), limit=said.limit, was_limit=was, period_s=said.period_s, signal=PROSE)

    def _hold(self, until: float, reason: str, step: _Step) -> None:
        was_until = self.hold.until
        if self.hold.extend(until, reason):
            self._freeze(until)
            if was_until is not None and step.now < was_until and until < was_until + _NEWS_S:
                return  # every call of one moment is turned away with a jitter of its own
            step.tell("held", reason=reason, held_s=round(until - step.now, 3), strikes=self.hold.strikes)

    def _freeze(self, until: float) -> None:
        """Nothing is saved up until then."""
        for meter in self.meters.values():
            meter.line.freeze(until)

    def _open(self, step: _Step) -> None:
        step.tell("opened", reason=self.hold.reason, held_s=round(step.now - self.hold.first_at, 3))
        step.grant.reopened = True
        needed_s = self.hold.needed_s
        self.hold.open(step.now)
        self.blind.resumed(step.now, needed_s)
        # A few places stay empty: the provider's bucket holds nothing yet, and calls do not arrive quite evenly.
        self._freeze(step.now + min(2.0 / self.blind.pace, 1.0))

    # -- the pace

    def is_blind(self, limits: Limits) -> bool:
        """Whether nothing states a limit, or what is stated is not true."""
        return self.distrusted or not any(meter.rate(limits.per_minute.get(name)) for name, meter in self.meters.items())

    def paces(self, limits: Limits, now: float) -> dict[str, float]:
        """Units per second of every meter that has a pace."""
        paces: dict[str, float] = {}
        mean = self.costs.mean
        for name, meter in self.meters.items():
            pace = meter.pace(limits.per_minute.get(name), mean.of(meter.dimension), self.ledger, now)
            if pace is not None:
                paces[name] = pace
        if self.distrusted or not paces:
            paces[_REQUESTS] = min(self.blind.pace, paces.get(_REQUESTS, self.blind.pace))
        return paces

    def _calls_per_s(self, paces: dict[str, float]) -> float | None:
        """The pace in calls of the usual size."""
        mean = self.costs.mean
        costs = {name: mean.of(self.meters[name].dimension) for name in paces}
        return min((pace / costs[name] for name, pace in paces.items() if costs[name] > 0), default=None)

    # -- what may start

    def _book(self, step: _Step) -> None:
        report, grant, now = step.report, step.grant, step.now
        step.paces = self.paces(step.limits, now)
        if self._is_shut(step):
            return
        room = 1 if grant.probing else len(report.wants)
        left_today = self.day.calls_left(step.limits.requests_per_day, now)
        if left_today is not None:
            room = min(room, left_today)
        limit = self._in_flight_limit(step.limits)
        if limit is not None:
            grant.max_flying = self.desks.may_fly(report.worker, limit)
            room = min(room, grant.max_flying - report.flying)
        if room <= 0:
            grant.again_at = now + HORIZON_S if report.wants else None
            return
        self._book_wants(room, step)
        if grant.probing and grant.starts:
            self.hold.try_one(report.worker, now)

    def _is_shut(self, step: _Step) -> bool:
        """Whether nothing may start; sets ``probing`` when just one may."""
        grant, now = step.grant, step.now
        self._look_at_long_quotas(step)
        if self.hold.probe_of == step.report.worker and not step.report.probing:
            self.hold.probe_of = None  # it ended without a word on the quota, or never started
        door = self.hold.door(now)
        if door in (Door.SHUT, Door.TRYING):
            grant.reason, grant.may_start = self.hold.reason, self.hold.imposed
            grant.held_until = max(now, self.hold.until or now)
            grant.again_at = grant.held_until if door is Door.SHUT else now + TRYING_S
            return True
        grant.probing = door is Door.ONE
        return False

    def _look_at_long_quotas(self, step: _Step) -> None:
        """A day's quota that is used up holds the pool until it starts anew."""
        now, limits = step.now, step.limits
        ends = [meter.shut_until(self.ledger, now) for meter in self.meters.values()]
        ends.append(self.day.used_up_until(limits.requests_per_day, limits.tokens_per_day, now))
        until = max((end for end in ends if end is not None), default=None)
        if until is not None and self.hold.impose(until, REASONS["quota"], now):
            self._freeze(until)
            step.tell("held", reason=REASONS["quota"], held_s=round(until - now, 3), strikes=self.hold.strikes)

    def _in_flight_limit(self, limits: Limits) -> int | None:
        return min((limit for limit in (limits.max_in_flight, self.in_flight.limit) if limit is not None), default=None)

    def _book_wants(self, room: int, step: _Step) -> None:
        grant, now = step.grant, step.now
        horizon_s, most = self._horizon(step)
        places, room = room, min(room, most)
        paced = [(self.meters[name].line, self.meters[name].dimension, pace) for name, pace in step.paces.items()]
        soonest: float | None = None
        for index, cost in enumerate(step.report.wants):
            if len(grant.starts) >= room:
                break
            start = now
            for line, dimension, pace in paced:
                free_at = line.free_at(cost.of(dimension) / pace, now)
                if free_at > start:
                    start = free_at
            if start <= now + horizon_s:
                for line, dimension, pace in paced:
                    line.book(cost.of(dimension) / pace, now)
                grant.starts.append((index, start))
                continue
            soonest = start if soonest is None else min(soonest, start)
            if max([cost.of(dimension) / pace for _, dimension, pace in paced]) <= LARGE_S:
                break  # smaller ones need not stand behind a large one
        self._charge_started(step)
        if len(grant.starts) < len(step.report.wants):
            grant.again_at = (now + horizon_s if soonest is None else soonest) - horizon_s / 2
            if soonest is not None or len(grant.starts) < places:
                self._grow(step)  # else it is places in flight that they wait for, whatever the pace
        grant.starts.sort(key=lambda each: each[1])

    def _charge_started(self, step: _Step) -> None:
        costs = [step.report.wants[index] for index, _ in step.grant.starts]
        if costs:
            took, gave = sum([cost.input_tokens for cost in costs]), sum([cost.output_tokens for cost in costs])
            self.ledger.charge(float(len(costs)), took, gave, step.now)
            self.day.charge(float(len(costs)), took + gave, step.now)
            self.blind.let_in += len(costs)

    def _horizon(self, step: _Step) -> tuple[float, int]:
        """How far ahead to book, in seconds and in calls: with several workers waiting, none may take all of it."""
        pace = self._calls_per_s(step.paces)
        if pace is None:
            return HORIZON_S, 1_000
        horizon_s = min(max(HORIZON_S, HORIZON_CALLS / pace), HORIZON_MOST_S)
        share = pace * horizon_s / max(self.desks.in_line(step.now), 1)
        return horizon_s, max(1, round(min(share, MOST_CALLS)))

    def _grow(self, step: _Step) -> None:
        """Calls wait for the pace: where it is our own guess, try a little more."""
        used_per_s = self.ledger.since(Dimension.REQUESTS, step.now - USED_S) / USED_S
        if step.grant.probing or not self.is_blind(step.limits) or used_per_s < USED_SHARE * self.blind.pace:
            return  # a pace that is not used shows nothing
        if not self.blind.grow(step.now):
            return
        if self.distrusted:
            self.distrusted = False
            stated = self._calls_per_s(self.paces(step.limits, step.now))
            self.distrusted = stated is None or self.blind.pace < _REHABILITATED * stated

    # -- to the store

    def to_json(self) -> str:
        return _DOCUMENT.dump_json(self).decode()


_DOCUMENT = TypeAdapter(Quota)


def quota_from(document: str | None) -> Quota:
    """The pool that ``document`` describes. One that cannot be read (another release wrote it) starts anew: it is learned again."""
    if document is None:
        return Quota()
    try:
        quota = _DOCUMENT.validate_json(document)
    except ValidationError:
        return Quota()
    for dimension in Dimension:  # one that another release does not know
        quota.meters.setdefault(str(dimension), Meter(dimension))
    return quota
