"""Why a job does not run, in a sentence that an operator can act on. Pure: whoever asks brings the facts (``explain.py``).

Of a job that runs or has ended it says that. The causes are what the sentence is made of, one fact each: what needs a person first,
then what must pass, then who is in the way.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from scheduler.job import Job, Status
from scheduler.offers import Offer, Offers
from scheduler.pauses import JOB_PREFIX, MANUAL, OWNER_PREFIX, POOL_PREFIX, Gate, PauseWindow, pool_scope
from scheduler.policy import Policy
from scheduler.pools.records import Portrait, State
from scheduler.pools.sentence import clock_time
from scheduler.times import span

#: A time so far off (seconds since the epoch) is none: somebody has to act.
FAR_S = 9e12
#: So much of an error is told.
_ERROR_CHARS = 300
#: While one of these holds a job it stands in no line.
_NOT_IN_LINE = frozenset({"held", "waits_for_others", "due_later", "backoff", "put_off"})


@dataclass(frozen=True, slots=True)
class Hand:
    """A worker: how many jobs of each task type it holds, and what it runs (None: it does not say)."""

    name: str
    lives: bool
    running: Mapping[str, int]
    offers: Offers | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the rest. ``running`` counts jobs of the type in all workers; ``ahead`` those that go before this one, at most
    ``most_ahead``.

    ``policy`` is that of whoever asks, which is as a rule that of the workers.
    """

    now: float
    policy: Policy = field(default_factory=Policy)
    pauses: Sequence[PauseWindow] = ()
    pools: Sequence[Portrait] = ()
    hands: Sequence[Hand] = ()
    running: int = 0
    ahead: int = 0
    most_ahead: int = 10_000
    zone: tzinfo | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """One fact. ``kind`` is a stable word; ``until`` seconds since the epoch, None where nobody can tell or a person must act."""

    kind: str
    sentence: str
    until: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {"kind": self.kind, "sentence": self.sentence, "until": self.until, **self.numbers}


@dataclass(frozen=True, slots=True)
class Why:
    """The whole in one sentence, and what it is made of."""

    sentence: str
    causes: tuple[Cause, ...]


def why(job: Job, facts: Facts) -> Why:
    """Why ``job`` stands where it does."""
    if job.status.is_terminal:
        return _put_together([_ended(job, facts)])
    if job.status is Status.PROCESSING:
        return _put_together(list(_running(job, facts)))
    capable = [hand for hand in facts.hands if hand.lives and _handles(hand, job)]
    causes = [*_problems(job, facts, capable), *_gates(job, facts, capable)]
    if not causes:
        causes = list(_crowds(job, facts, capable))
    if job.doomed is not None:
        causes.append(_doomed(job))
    if facts.ahead and not any(cause.kind in _NOT_IN_LINE for cause in causes):
        causes.append(_behind(facts))
    return _put_together(causes or [Cause("next", "nothing holds it: a worker takes it at any moment")])


def _put_together(causes: Sequence[Cause]) -> Why:
    *before, last = causes
    told = "; ".join(cause.sentence for cause in before)
    if not before or last.kind != "behind":
        told = "; ".join(cause.sentence for cause in causes)
    else:
        told += f", then {last.sentence}"
    return Why(told, tuple(causes))


# -- over, or under way


def _ended(job: Job, facts: Facts) -> Cause:
    when = "" if job.finished_at is None else f" at {clock_time(job.finished_at, facts.now, facts.zone)}"
    numbers: dict[str, float] = {"attempts": job.attempts}
    if job.status is Status.COMPLETED:
        took_s = None if job.finished_at is None or job.started_at is None else max(0.0, job.finished_at - job.started_at)
        return Cause("ended", f"completed{when}" + ("" if took_s is None else f" after {span(took_s)}"), numbers=numbers)
    if job.status is Status.CANCELLED:
        return Cause("ended", f"cancelled{when}; `scheduler retry {job.job_id}` sends it back", numbers=numbers)
    after = f" after {_several(job.attempts, 'attempt')}" if job.attempts else ""
    error = "" if job.error is None else f": {_shortened(job.error)}"
    said = f"{job.status} ({job.reason}){when}{after}{error}; `scheduler retry {job.job_id}` sends it back"
    return Cause("ended", said, numbers=numbers)


def _running(job: Job, facts: Facts) -> Iterator[Cause]:
    started = job.started_at if job.started_at is not None else facts.now
    limit_s = job.timeout_s if job.timeout_s is not None else facts.policy.timeout_s
    most = job.max_attempts or facts.policy.max_attempts
    numbers: dict[str, float] = {"attempt": job.attempts, "max_attempts": most}
    done = ""
    if job.progress is not None:
        numbers["percent"] = job.progress.percent
        done = f", {job.progress.percent:g} % done"
    since = f"since {clock_time(started, facts.now, facts.zone)} ({span(max(0.0, facts.now - started))})"
    said = f"runs {since} on {job.worker}, attempt {job.attempts} of {most}{done}"
    yield Cause("running", said, None if limit_s is None else started + limit_s, numbers)
    worker = next((hand for hand in facts.hands if hand.name == job.worker), None)
    if worker is None or not worker.lives:
        yield Cause("worker_lost", "its worker is lost: it moves on when another worker notices")
    if job.held:
        yield Cause("held", f"paused by hand: it stops where it can; `scheduler resume {JOB_PREFIX}{job.job_id}` lets it go on")
    for window in facts.pauses:
        if window.probe == job.job_id:
            yield Cause("probing", f"it is the probe of {_scope(window.scope)}: the others wait for its end")


# -- what needs a person


def _problems(job: Job, facts: Facts, capable: Sequence[Hand]) -> Iterator[Cause]:
    living = [hand for hand in facts.hands if hand.lives]
    route = f"({job.task_type!r}, {job.target_type!r})"
    if not living:
        lost = len(facts.hands)
        some = f"no worker lives ({_several(lost, 'lost one')})" if lost else "no worker runs"
        yield Cause("no_worker", f"{some}: start one with `scheduler serve`", numbers={"lost": lost})
    elif not capable:
        fails = any(hand.offers is not None and hand.offers.fails_unknown for hand in living)
        what = "the next free one fails it unless a service that loads one starts first" if fails else "start a service that loads it"
        yield Cause("no_handler", f"no living worker has a handler for {route}: {what}", numbers={"workers": len(living)})
    else:
        zeros = [_zero(hand, job) for hand in capable]
        if all(zeros):
            yield Cause("concurrency_zero", f"{zeros[0]} is 0 wherever there is a handler for {route}: raise it")


def _handles(hand: Hand, job: Job) -> bool:
    return hand.offers is None or hand.offers.handles(job.task_type, job.target_type)


def _zero(hand: Hand, job: Job) -> str | None:
    """The setting that lets the worker run none of these."""
    if hand.offers is None:
        return None
    offer = hand.offers.task_types[job.task_type]
    settings = {
        "[scheduler] concurrency": hand.offers.concurrency,
        f"[task_types.{job.task_type}] concurrency": offer.concurrency,
        f"[task_types.{job.task_type}] max_running": offer.max_running,
        f"[pools.{offer.pool}] concurrency": hand.offers.pools.get(offer.pool or ""),
    }
    return next((name for name, value in settings.items() if value == 0), None)


# -- what must pass


def _gates(job: Job, facts: Facts, capable: Sequence[Hand]) -> list[Cause]:
    """The one that lasts longest first."""
    causes = [*_of_its_own(job, facts), *_pauses(job, facts, capable)]
    return sorted(causes, key=lambda cause: -(FAR_S if cause.until is None else cause.until))


def _of_its_own(job: Job, facts: Facts) -> Iterator[Cause]:
    if job.blockers:
        said = f"waits for {_several(job.blockers, 'other')} to end"
        yield Cause("waits_for_others", said, numbers={"blockers": job.blockers})
    if job.run_after <= facts.now:
        return
    when, until = _when(job.run_after, facts), None if job.run_after >= FAR_S else job.run_after
    if job.held:
        end = "" if until is None else f" until {when}"
        yield Cause("held", f"paused by hand{end}; `scheduler resume {JOB_PREFIX}{job.job_id}` lets it go", until)
    elif job.status is Status.RETRY_AI:
        most = job.max_attempts or facts.policy.max_attempts
        said = f"tries again at {when}, for attempt {job.attempts} of {most} failed ({job.reason})"
        yield Cause("backoff", said, until, {"attempt": job.attempts, "max_attempts": most})
    elif job.status is Status.RATE_LIMITED:
        yield Cause("put_off", f"put off by the provider ({job.reason}) until {when}", until)
    else:
        yield Cause("due_later", f"due at {when}", until)


def _pauses(job: Job, facts: Facts, capable: Sequence[Hand]) -> Iterator[Cause]:
    pool = _pool(job, facts, capable)
    kinds = {job.task_type: "lane_paused", pool_scope(pool or ""): "pool_paused", OWNER_PREFIX + (job.owner or ""): "owner_paused"}
    for window in facts.pauses:
        kind, gate = kinds.get(window.scope), window.gate(facts.now)
        if kind is None or gate is Gate.OPEN:
            continue
        scope, resume = _scope(window.scope), f"`scheduler resume {shlex.quote(window.scope)}`"
        if gate is Gate.CLOSED:
            endless = window.until >= FAR_S
            end = "" if endless else f" until {_when(window.until, facts)}"
            opens = f"; {resume} opens it" if endless or window.reason == MANUAL else ""
            reason = "by hand" if window.reason == MANUAL else window.reason
            said = f"waits for the pause of {scope} ({reason}){end}{opens}"
            yield Cause(kind, said, None if endless else window.until)
        elif gate is Gate.PROBE:
            yield Cause("probing", f"the pause of {scope} ({window.reason}) is over: one job goes first to see whether it is open again")
        else:
            yield Cause("probing", f"waits for the probe of {scope} ({window.reason}): one job runs to see whether it is open again")


def _pool(job: Job, facts: Facts, capable: Sequence[Hand]) -> str | None:
    """The pool that its type draws on, as the workers have it."""
    offers = [hand.offers.task_types[job.task_type] for hand in capable if hand.offers is not None]
    return next((offer.pool for offer in offers if offer.pool is not None), facts.policy.pool)


def _doomed(job: Job) -> Cause:
    what, _, name = (job.doomed or "").partition(" ")
    end = "is cancelled" if what == "cancel" else "fails"
    return Cause("doomed", f"{end} without running as soon as a worker takes it, for {name}, which it waited for, failed")


# -- who is in the way


def _crowds(job: Job, facts: Facts, capable: Sequence[Hand]) -> Iterator[Cause]:
    known = [(hand, hand.offers, hand.offers.task_types[job.task_type]) for hand in capable if hand.offers is not None]
    caps = [offer.max_running for _, _, offer in known if offer.max_running is not None]
    if caps and facts.running >= min(caps):
        said = f"as many of its type run as may: {facts.running:,} of {min(caps):,}, all workers together"
        yield Cause("type_limit", said, numbers={"running": facts.running, "limit": min(caps), "workers": len(facts.hands)})
    full = [_full(hand, offers, offer, job) for hand, offers, offer in known]
    if len(known) == len(capable) and all(full):
        kinds = dict.fromkeys(one for one in full if one is not None)
        for kind, said, limit in kinds:
            workers = full.count((kind, said, limit))
            where = f" in {_several(workers, 'worker')}" if workers > 1 else ""
            yield Cause(kind, said + where, numbers={"running": limit * workers, "limit": limit * workers, "workers": workers})
    pool = _pool(job, facts, capable)
    seen = next((one for one in facts.pools if one.name == pool), None)
    if seen is not None and (seen.state is not State.OPEN or seen.waiting):
        until = None if seen.held is None else seen.held.until
        numbers: dict[str, float] = {"in_flight": seen.in_flight, "waiting": seen.waiting}
        yield Cause("pool_budget", f"pool {pool} has no room for more calls: {seen.summary}", until, numbers)


def _full(hand: Hand, offers: Offers, offer: Offer, job: Job) -> tuple[str, str, int] | None:
    """Why the worker can take none more, and the limit; None if it can."""
    own = hand.running.get(job.task_type, 0)
    if offer.concurrency is not None and own >= offer.concurrency:
        return "type_limit", f"as many of its type run at once as may: {offer.concurrency:,}", offer.concurrency
    limit = offers.pools.get(offer.pool or "")
    if limit is not None and sum(hand.running.get(name, 0) for name, one in offers.task_types.items() if one.pool == offer.pool) >= limit:
        return "pool_limit", f"as many jobs of pool {offer.pool} run at once as may: {limit:,}", limit
    if sum(hand.running.values()) >= offers.concurrency:
        return "slots_full", f"every slot is taken: {offers.concurrency:,}", offers.concurrency
    return None


def _behind(facts: Facts) -> Cause:
    more = " or more" if facts.ahead >= facts.most_ahead else ""
    others = "1 other" if facts.ahead == 1 else f"{facts.ahead:,}{more} others"
    return Cause("behind", f"behind {others}", numbers={"ahead": facts.ahead})


# -- words


def _scope(scope: str) -> str:
    for prefix, kind in ((POOL_PREFIX, "pool"), (OWNER_PREFIX, "owner")):
        if scope.startswith(prefix):
            return f"{kind} {scope.removeprefix(prefix)}"
    return scope


def _when(at: float, facts: Facts) -> str:
    return f"{clock_time(at, facts.now, facts.zone)} (in {span(at - facts.now)})"


def _several(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _shortened(error: str) -> str:
    line = " ".join(error.split())
    return line if len(line) <= _ERROR_CHARS else line[: _ERROR_CHARS - 1] + "…"
