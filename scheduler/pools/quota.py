"""A pool as all its workers share it: one document, one pure step. Arithmetic only; takes the time and the dice.

A worker says what happened since it last asked and what waits (``Report``); it is told which of its calls may start
when, how many may be in flight, and until when the pool is held (``Grant``). The step runs inside one transaction of the
store, so workers never see half of it.

    open ──rejected──▶ held until … ──its time is up──▶ one call goes first ──let in──▶ open
                         ▲                                  │ rejected: held again, longer
                         └──────────────────────────────────┘

Does not belong here: who waits in this process (``keeper.py``), pauses of lanes (``pauses.py``), what an error means for its
job (``decide.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scheduler.pools.blind import Blind, Clearing
from scheduler.pools.inflight import InFlight
from scheduler.pools.meter import Meter
from scheduler.pools.quotas import Dimension, Reading
from scheduler.pools.rejection import Rejection
from scheduler.pools.timeline import LARGE_S

#: Calls are booked at most so many seconds before they start: what is booked far ahead cannot follow a change of mind.
HORIZON_S = 0.25
#: Who did not report for so many seconds is dead, or idle: its places in flight are free again.
SILENT_S = 45.0
#: A probe that nobody reports of for so many seconds: the next one goes.
PROBE_LOST_S = 60.0
#: Holds in seconds: without a hint and nothing learned (design rule 4); overload starts short; money takes a person.
RATE_HOLD_S, RATE_HOLD_CAP_S = 60.0, 900.0
OVERLOAD_HOLD_S, OVERLOAD_HOLD_CAP_S = 0.25, 60.0
QUOTA_HOLD_S, QUOTA_HOLD_CAP_S = 3_600.0, 86_400.0
DAY_S = 86_400.0
#: Rejections that a known limit does not explain, so close together, show that it is not the real one.
CONTRADICTION_S = 180.0
#: A clock that went back by more seconds than this was set: everything moves with it.
_BACK_S = 1.0
#: Weight of a call in the moving means.
_NEW = 0.05
#: Task types whose usual cost is remembered.
_TYPES = 100
#: Limits kept apart: a provider that made up header names must not fill the document.
_METERS = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call is expected to use, in tokens."""

    input_tokens: float = 0.0
    output_tokens: float = 0.0

    def of(self, dimension: Dimension) -> float:
        match dimension:
            case Dimension.REQUESTS:
                return 1.0
            case Dimension.INPUT_TOKENS:
                return self.input_tokens
            case Dimension.OUTPUT_TOKENS:
                return self.output_tokens
            case _:
                return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Limits:
    """What is configured; None where nothing is. Per minute, per day, and at once.

    ``reserves``: the provider charges all that a call asks for, and gives back what it did not use when it ends.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    requests_per_day: float | None = None
    tokens_per_day: float | None = None
    max_in_flight: int | None = None
    reserves: bool = False
    rate_hold_s: float = RATE_HOLD_S

    def per_minute(self, dimension: Dimension) -> float | None:
        return {
            Dimension.REQUESTS: self.requests_per_minute,
            Dimension.TOKENS: self.tokens_per_minute,
            Dimension.INPUT_TOKENS: self.input_tokens_per_minute,
            Dimension.OUTPUT_TOKENS: self.output_tokens_per_minute,
        }[dimension]


@dataclass(frozen=True, slots=True)
class Used:
    """What a call really used, beside what was expected."""

    task_type: str
    expected: Cost
    estimate: float | None
    actual: Cost


@dataclass(frozen=True, slots=True)
class Rejected:
    """A call sent at ``asked_at`` was turned away."""

    asked_at: float
    rejection: Rejection
    cost: Cost


@dataclass(slots=True)
class Report:
    """What a worker tells. ``flying`` counts calls that may start already as well as those under way."""

    worker: str
    wants: list[Cost] = field(default_factory=list)
    waiting: int = 0
    flying: int = 0
    answered: int = 0
    used: list[Used] = field(default_factory=list)
    unused: list[Cost] = field(default_factory=list)
    heard: list[tuple[float, Reading]] = field(default_factory=list)
    rejections: list[Rejected] = field(default_factory=list)
    let_in_at: float | None = None


@dataclass(frozen=True, slots=True)
class News:
    """A change of mind, for people: an event's name without ``pool.``, and its fields."""

    name: str
    fields: dict[str, Any]


@dataclass(slots=True)
class Grant:
    """What a worker is told. ``starts``: places in its ``wants`` with the time of each, in order of time.

    ``again_at``: when asking again may bring more. ``pace``: calls per second of the whole pool, None if unlimited.
    """

    starts: list[tuple[int, float]] = field(default_factory=list)
    held_until: float | None = None
    reason: str = ""
    probing: bool = False
    again_at: float | None = None
    pace: float | None = None
    workers: int = 1
    max_flying: int | None = None
    estimates: dict[str, Estimate] = field(default_factory=dict)
    news: list[News] = field(default_factory=list)
    reopened: bool = False


@dataclass(slots=True)
class Estimate:
    """What calls of one task type use: ``ratio`` of tokens used to tokens estimated, and the means."""

    ratio: float = 1.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0


@dataclass(slots=True)
class Desk:
    """A worker as last heard of: calls in flight, waiting, and how many it may have in flight."""

    seen_at: float
    flying: int = 0
    waiting: int = 0
    may: int = 0


@dataclass(slots=True)
class Quota:
    """The document."""

    #: One for each dimension, for what is configured or said in prose; and one for each header that states a limit.
    meters: dict[str, Meter] = field(default_factory=lambda: {str(dimension): Meter(dimension) for dimension in Dimension})
    blind: Blind = field(default_factory=Blind)
    clearing: Clearing = field(default_factory=Clearing)
    in_flight: InFlight = field(default_factory=InFlight)
    desks: dict[str, Desk] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    began_at: float | None = None
    seen_at: float = 0.0
    # what a call costs, as a moving mean
    mean_input: float = 0.0
    mean_output: float = 0.0
    calls: int = 0
    # the day's use, for quotas per day that are configured
    day: int = 0
    day_calls: float = 0.0
    day_tokens: float = 0.0
    # held
    held_until: float | None = None
    held_at: float = 0.0
    reason: str = ""
    hinted: bool = False
    strikes: int = 0
    first_rejected_at: float = 0.0
    probe_of: str | None = None
    probe_at: float = 0.0
    # a limit that is stated but not the real one
    distrusted: bool = False
    contradicted_at: float | None = None
    # for people
    last_rejection: str = ""
    last_rejected_at: float | None = None
    rejected: int = 0

    # -- the one step

    def exchange(self, report: Report, limits: Limits, now: float, rng: Random) -> Grant:
        """Take in ``report``, answer with what its worker may do."""
        grant = Grant()
        if now < self.seen_at - _BACK_S:
            self._shift(now - self.seen_at)
        self.seen_at = now
        if self.began_at is None:
            self.began_at = now
            self.blind.began(now)
        self._seat(report, now)
        for asked_at, reading in report.heard:
            self._hear(asked_at, reading, limits, grant, now)
        for used in report.used:
            self._settle(used, limits, now)
        for cost in report.unused:
            self._charge(cost, limits, now, -1.0)
        if report.answered and self.in_flight.answered(report.answered, self._flying()):
            grant.news.append(News("in_flight", {"limit": self.in_flight.limit, "reason": "clean"}))
        for rejected in report.rejections:
            self._reject(rejected, limits, grant, now, rng)
        if report.let_in_at is not None:
            self._let_in(report.let_in_at, grant, now)
        self._book(report, limits, grant, now)
        grant.pace = self.calls_per_s(limits, now)
        grant.workers = max(1, sum(1 for desk in self.desks.values() if desk.waiting or desk.flying))
        grant.estimates = self.estimates
        return grant

    def hold(self, until: float, reason: str, now: float) -> None:
        """Held from outside: nothing starts before ``until``."""
        self.held_until = max(self.held_until or 0.0, until)
        self.held_at, self.reason, self.hinted, self.strikes = now, reason, True, max(self.strikes, 1)
        self.probe_of = None

    def release(self, now: float) -> None:
        """Opened by hand: calls flow again, paced."""
        self._open(now)

    def _shift(self, by_s: float) -> None:
        """The clock was set: what is planned keeps its distance from now."""
        for meter in self.meters.values():
            meter.shift(by_s)
        self.blind.shift(by_s)
        self.in_flight.cut_at += by_s
        self.held_at, self.first_rejected_at, self.probe_at = self.held_at + by_s, self.first_rejected_at + by_s, self.probe_at + by_s
        self.held_until = None if self.held_until is None else self.held_until + by_s
        self.contradicted_at = None if self.contradicted_at is None else self.contradicted_at + by_s
        for desk in self.desks.values():
            desk.seen_at += by_s

    # -- who is there

    def _seat(self, report: Report, now: float) -> None:
        for worker in [name for name, desk in self.desks.items() if now - desk.seen_at > SILENT_S]:
            del self.desks[worker]
        desk = self.desks.setdefault(report.worker, Desk(now))
        desk.seen_at, desk.flying, desk.waiting = now, report.flying, report.waiting

    def _flying(self) -> int:
        return sum(desk.flying for desk in self.desks.values())

    def _may_fly(self, report: Report, limit: int) -> int:
        """How many calls this worker may have in flight: what others left, and no more than its share while they wait too."""
        others = [desk for name, desk in self.desks.items() if name != report.worker]
        room = limit - sum(max(desk.may, desk.flying) for desk in others)
        share = max(1, limit // (1 + sum(1 for desk in others if desk.waiting or desk.flying)))
        wanted = report.flying + report.waiting
        if any(desk.waiting and desk.may < share for desk in others):
            wanted = min(wanted, share)
        may = max(report.flying, min(wanted, room))
        self.desks[report.worker].may = may
        return may

    # -- what answers said

    def _hear(self, asked_at: float, reading: Reading, limits: Limits, grant: Grant, now: float) -> None:
        meter = self.meters.get(reading.source)
        if meter is None:
            if len(self.meters) >= _METERS:
                return
            meter = self.meters[reading.source] = Meter(reading.dimension)
        before = meter.limit
        if meter.hear(reading, asked_at, now):
            fields = {"dimension": str(reading.dimension), "limit": meter.limit, "period_s": meter.period_s, "signal": reading.source}
            grant.news.append(News("limit", fields | {"was": before}))

    def _settle(self, used: Used, limits: Limits, now: float) -> None:
        actual = used.actual
        difference = Cost(actual.input_tokens - used.expected.input_tokens, actual.output_tokens - used.expected.output_tokens)
        self._charge(difference, limits, now, 1.0, calls=0.0)
        weight = max(_NEW, 1.0 / (self.calls + 1))
        self.calls += 1
        self.mean_input += weight * (actual.input_tokens - self.mean_input)
        self.mean_output += weight * (actual.output_tokens - self.mean_output)
        known = self.estimates.get(used.task_type)
        if known is None:
            if len(self.estimates) >= _TYPES:
                self.estimates.pop(next(iter(self.estimates)))
            known = self.estimates[used.task_type] = Estimate(1.0, actual.input_tokens, actual.output_tokens)
        known.input_tokens += _NEW * (actual.input_tokens - known.input_tokens)
        known.output_tokens += _NEW * (actual.output_tokens - known.output_tokens)
        if used.estimate:
            ratio = (actual.input_tokens + actual.output_tokens) / used.estimate
            known.ratio += _NEW * (min(max(ratio, 0.05), 20.0) - known.ratio)

    def _charge(self, cost: Cost, limits: Limits, now: float, sign: float, calls: float = 1.0) -> None:
        """Correct what was booked: ``sign`` -1 gives ``cost`` back."""
        for name, meter in self.meters.items():
            units = sign * (calls if meter.dimension is Dimension.REQUESTS else cost.of(meter.dimension))
            if units:
                meter.charge(units, now)
                pace = meter.pace(_configured(limits, name), now)
                if pace:
                    meter.line.give_back(-units / pace)
        self._count_day(sign * calls, sign * cost.of(Dimension.TOKENS), now)

    def _count_day(self, calls: float, tokens: float, now: float) -> None:
        day = int(now // DAY_S)
        if day != self.day:
            self.day, self.day_calls, self.day_tokens = day, 0.0, 0.0
        self.day_calls += calls
        self.day_tokens += tokens

    # -- rejections

    def _reject(self, rejected: Rejected, limits: Limits, grant: Grant, now: float, rng: Random) -> None:
        rejection = rejected.rejection
        self.rejected += 1
        self.last_rejected_at, self.last_rejection = now, rejection.kind
        self.blind.let_in -= 1.0
        self._charge(rejected.cost, limits, now, -1.0, calls=0.0)  # tokens were not used; the request may well count
        for reading in rejection.readings:
            self._hear(rejected.asked_at, reading, limits, grant, now)
        if rejection.prose is not None:
            self._learn(rejection, grant, now)
        if rejection.kind == "overload" and self.in_flight.overloaded(max(1, self._flying()), rejected.asked_at, now):
            grant.news.append(News("in_flight", {"limit": self.in_flight.limit, "reason": "overloaded"}))
        same_news = rejected.asked_at <= self.held_at
        if not same_news:
            self._strike(rejection, limits, grant, now)
        hint_s = rejection.retry_after_s
        if hint_s is None and same_news:
            return
        base_s, cap_s = _HOLDS[rejection.kind]
        if rejection.kind == "rate":
            base_s, cap_s = limits.rate_hold_s, max(cap_s, limits.rate_hold_s)
        if hint_s is not None:
            # Later than asked, never sooner; the second time it proved too short, so longer than said.
            hold_s = hint_s * 1.5 ** (self.strikes - 1) + rng.uniform(0.0, 0.02 + min(0.02 * hint_s, 2.0))
        elif rejection.kind == "rate":
            hold_s = self.clearing.hold_s(self.strikes, base_s, cap_s)
        else:
            hold_s = min(base_s * 2.0 ** min(self.strikes - 1, 60), cap_s)
        self._hold(now + hold_s, _REASONS[rejection.kind], grant, now)

    def _strike(self, rejection: Rejection, limits: Limits, grant: Grant, now: float) -> None:
        """A rejection of a call that was sent after the last hold began: something new."""
        was_probe = self.probe_of is not None
        self.strikes = self.strikes + 1 if was_probe else 1
        self.held_at = now
        self.hinted = rejection.retry_after_s is not None
        self.probe_of = None
        if was_probe:
            return
        self.first_rejected_at = now
        if rejection.kind != "rate":
            return
        if not self._is_blind(limits):
            self._contradicted(limits, grant, now)
        if self._is_blind(limits):
            self.blind.rejected(now)
            grant.news.append(News("pace", {"calls_per_s": round(self.blind.pace, 4), "reason": "rejected"}))

    def _contradicted(self, limits: Limits, grant: Grant, now: float) -> None:
        """We kept to what is known of the limit, and were rejected all the same."""
        last, self.contradicted_at = self.contradicted_at, now
        if last is None or now - last > CONTRADICTION_S:
            return
        self.distrusted = True
        requests = self.meters[_REQUESTS]
        known = self.calls_per_s(limits, now) or requests.used(now) / 60.0
        self.blind.pace = max(min(known, max(requests.used(now), 1.0) / 60.0 * 1.2), 1e-3)
        self.blind.searching = False
        grant.news.append(News("distrust", {"calls_per_s": round(self.blind.pace, 4)}))

    def _learn(self, rejection: Rejection, grant: Grant, now: float) -> None:
        prose = rejection.prose
        if prose is None or prose.limit is None or prose.limit <= 0 or prose.dimension is None or prose.period_s is None:
            return
        if any(each.dimension is prose.dimension and each.limit is not None and name != prose.dimension for name, each in self.meters.items()):
            return  # headers say it, and say it better
        meter = self.meters[prose.dimension]
        if meter.learn(prose.limit, prose.period_s, "429 message", now):
            fields = {"dimension": str(prose.dimension), "limit": prose.limit, "period_s": prose.period_s, "signal": "429 message"}
            grant.news.append(News("limit", fields))

    def _hold(self, until: float, reason: str, grant: Grant, now: float) -> None:
        """Hold until ``until``: extended, never shortened."""
        if self.held_until is None or until > self.held_until:
            self.held_until = until
            self.reason = reason
            for meter in self.meters.values():
                meter.line.freeze(until)
            grant.news.append(News("held", {"reason": reason, "held_s": round(until - now, 3), "strikes": self.strikes}))

    def _let_in(self, asked_at: float, grant: Grant, now: float) -> None:
        """A call sent at ``asked_at`` was let in."""
        if self.held_until is None or self.probe_of is None or asked_at < self.probe_at:
            return
        if not self.hinted and self.reason == _REASONS["rate"]:
            self.clearing.cleared(self.probe_at - self.first_rejected_at)
        grant.news.append(News("opened", {"reason": self.reason, "held_s": round(now - self.first_rejected_at, 3)}))
        self._open(now)
        grant.reopened = True

    def _open(self, now: float) -> None:
        self.held_until, self.reason, self.strikes, self.probe_of, self.hinted = None, "", 0, None, False
        self.blind.resumed(now)
        pace = self.blind.pace
        for meter in self.meters.values():
            # A few places stay empty: the provider's bucket holds nothing yet, and calls do not arrive quite evenly.
            meter.line.freeze(now + min(2.0 / pace, 1.0))

    # -- what may start

    def _is_blind(self, limits: Limits) -> bool:
        """Whether nothing states a limit, or what is stated is not true."""
        return self.distrusted or not any(meter.rate(_configured(limits, name)) for name, meter in self.meters.items())

    def _paces(self, limits: Limits, now: float) -> dict[str, float]:
        """Units per second of every meter that has a pace."""
        paces: dict[str, float] = {}
        for name, meter in self.meters.items():
            pace = meter.pace(_configured(limits, name), now)
            if pace is not None:
                paces[name] = pace
        if self._is_blind(limits):
            paces[_REQUESTS] = min(self.blind.pace, paces.get(_REQUESTS, self.blind.pace))
        return paces

    def calls_per_s(self, limits: Limits, now: float) -> float | None:
        """The pace in calls of the usual size."""
        mean = Cost(self.mean_input, self.mean_output)
        costs = {name: mean.of(meter.dimension) for name, meter in self.meters.items()}
        paces = [pace / costs[name] for name, pace in self._paces(limits, now).items() if costs[name] > 0]
        return min(paces) if paces else None

    def _book(self, report: Report, limits: Limits, grant: Grant, now: float) -> None:
        if self._is_shut(report, limits, grant, now):
            return
        room = len(report.wants)
        limit = self._in_flight_limit(limits)
        if limit is not None:
            grant.max_flying = self._may_fly(report, limit)
            room = min(room, grant.max_flying - report.flying)
        if grant.probing:
            room = 1
        if room <= 0:
            grant.again_at = now + HORIZON_S if report.wants else None
            return
        self._book_wants(report, limits, grant, room, now)
        if grant.probing and grant.starts:
            self.probe_of, self.probe_at = report.worker, now
            for meter in self.meters.values():
                meter.line.freeze(now)

    def _is_shut(self, report: Report, limits: Limits, grant: Grant, now: float) -> bool:
        """Whether nothing may start; sets ``probing`` when one may."""
        shut_until = self._day_is_used_up(limits, now)
        if shut_until is not None:
            self._hold(shut_until, "quota_exhausted", grant, now)
            self.first_rejected_at = self.held_at = now
        if self.held_until is None:
            return False
        grant.held_until, grant.reason = self.held_until, self.reason
        if now < self.held_until:
            grant.again_at = self.held_until
            return True
        if self.probe_of is not None and now - self.probe_at < PROBE_LOST_S and self.probe_of in self.desks:
            grant.held_until, grant.again_at = now, now + 0.1
            return True
        grant.probing, grant.held_until = True, None
        return False

    def _day_is_used_up(self, limits: Limits, now: float) -> float | None:
        until: list[float] = []
        for meter in self.meters.values():
            shut_until = meter.shut_until(now)
            if shut_until is not None:
                until.append(shut_until)
        if self.day == int(now // DAY_S):
            used_up = limits.requests_per_day is not None and self.day_calls >= limits.requests_per_day
            if used_up or (limits.tokens_per_day is not None and self.day_tokens >= limits.tokens_per_day):
                until.append((self.day + 1) * DAY_S)
        return max(until) if until else None

    def _in_flight_limit(self, limits: Limits) -> int | None:
        known = [limit for limit in (limits.max_in_flight, self.in_flight.limit) if limit is not None]
        return min(known) if known else None

    def _book_wants(self, report: Report, limits: Limits, grant: Grant, room: int, now: float) -> None:
        paces = self._paces(limits, now)
        latest = now + HORIZON_S
        most = self._most_at_once(limits, now)
        soonest: float | None = None
        for index, cost in enumerate(report.wants):
            if len(grant.starts) >= min(room, most):
                grant.again_at = latest - HORIZON_S / 2 if soonest is None else soonest
                break
            worths = {name: cost.of(self.meters[name].dimension) / pace for name, pace in paces.items()}
            start = max([now, *(self.meters[name].line.free_at(worth, now) for name, worth in worths.items())])
            if start > latest:
                soonest = start if soonest is None else min(soonest, start)
                grant.again_at = soonest - HORIZON_S / 2
                if max(worths.values()) > LARGE_S:
                    continue  # smaller ones need not stand behind it
                break
            self._take(cost, worths, now)
            grant.starts.append((index, start))
        if soonest is not None or len(grant.starts) < len(report.wants):
            self._grow(limits, grant, now)
        grant.starts.sort(key=lambda each: each[1])

    def _most_at_once(self, limits: Limits, now: float) -> int:
        """Calls for one worker in one go: with several waiting, none may take the whole horizon."""
        pace = self.calls_per_s(limits, now)
        waiting = sum(1 for desk in self.desks.values() if desk.waiting)
        return 1_000 if pace is None else max(1, round(pace * HORIZON_S / max(waiting, 1)))

    def _take(self, cost: Cost, worths: dict[str, float], now: float) -> None:
        for name, meter in self.meters.items():
            meter.charge(cost.of(meter.dimension), now)
            if name in worths:
                meter.line.book(worths[name], now)
        self._count_day(1.0, cost.of(Dimension.TOKENS), now)
        self.blind.let_in += 1.0

    def _grow(self, limits: Limits, grant: Grant, now: float) -> None:
        """Calls wait for the pace: where it is our own guess, try a little more."""
        if not self._is_blind(limits) or self.held_until is not None or not self.blind.grow(now):
            return
        if self.distrusted:
            self.distrusted = False
            stated = self.calls_per_s(limits, now)
            self.distrusted = stated is None or self.blind.pace < 1.05 * stated

    # -- to and from the store

    def to_json(self) -> str:
        return _DOCUMENT.dump_json(self).decode()


def _configured(limits: Limits, meter: str) -> float | None:
    """The limit per minute that is configured for a meter; those of headers have none."""
    return limits.per_minute(Dimension(meter)) if meter in _DIMENSIONS else None


_REQUESTS = str(Dimension.REQUESTS)
_DIMENSIONS = frozenset(map(str, Dimension))
_HOLDS = {
    "rate": (RATE_HOLD_S, RATE_HOLD_CAP_S),
    "overload": (OVERLOAD_HOLD_S, OVERLOAD_HOLD_CAP_S),
    "quota": (QUOTA_HOLD_S, QUOTA_HOLD_CAP_S),
}
_REASONS = {"rate": "rate_limited", "overload": "overloaded", "quota": "quota_exhausted"}
_DOCUMENT = TypeAdapter(Quota)


def quota_from(document: str | None) -> Quota:
    """The pool that ``document`` describes. One that cannot be read (another release wrote it) starts anew: it is learned again."""
    if document is None:
        return Quota()
    try:
        return _DOCUMENT.validate_json(document)
    except ValidationError:
        return Quota()
