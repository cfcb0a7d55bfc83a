"""A pool's document as people read it: what is known of its limits and from whom, the pace that follows, what holds it. Pure.

Looks, and changes nothing: a document that is shown stays as it is. Workers that fell silent are left out, as the next
exchange would do.

Does not belong here: the sentence (``sentence.py``), how a terminal shows it (``cli/pools.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import tzinfo

from scheduler.pauses import MANUAL, Gate, PauseWindow, pool_scope
from scheduler.pools.desks import SILENT_S
from scheduler.pools.hold import Door
from scheduler.pools.ledger import DAY_S
from scheduler.pools.messages import Cost, Limits
from scheduler.pools.meter import MINUTE_S, Meter
from scheduler.pools.quota import Quota, quota_from
from scheduler.pools.quotas import Dimension
from scheduler.pools.records import ALONE, CONFIGURED, Held, KnownLimit, LastRejection, MeanCall, Portrait, Sharer, State
from scheduler.pools.sentence import sentence


def portraits(
    documents: Mapping[str, str],
    windows: Iterable[PauseWindow],
    named: Iterable[str],
    limits_of: Callable[[str], Limits],
    now: float,
    zone: tzinfo | None = None,
) -> list[Portrait]:
    """Every pool that has a document, a pause that stands, or is ``named`` by handlers or settings; by name.

    A document whose name begins with ``~`` is no pool's.
    """
    by_scope = {window.scope: window for window in windows if not window.is_open(now)}
    paused = {scope.removeprefix(pool_scope("")) for scope in by_scope if scope.startswith(pool_scope(""))}
    return [
        portrait(name, quota_from(documents.get(name)), limits_of(name), by_scope.get(pool_scope(name)), now, zone)
        for name in sorted({*(name for name in documents if not name.startswith("~")), *named, *paused})
    ]


def portrait(
    name: str, quota: Quota, limits: Limits, window: PauseWindow | None, now: float, zone: tzinfo | None = None
) -> Portrait:  # fmt: skip
    """The pool ``name`` at ``now``. ``zone`` is for the times in its sentence; None: this machine's."""
    if window is not None and window.is_open(now):
        window = None
    known = _known(quota, limits, now)
    binding = _binding(known)
    known = [replace(one, binds=one is binding) for one in known]
    at_desks = [desk for desk in quota.desks.by_worker.items() if now - desk[1].seen_at <= SILENT_S]
    most, most_from = _most_in_flight(quota, limits)
    held = _held(quota, now)
    seen = Portrait(
        name=name,
        state=_state(held, window, now),
        summary="",
        limits=tuple(known),
        calls_per_minute=None if binding is None else binding.calls_per_minute,
        in_flight=sum(desk.flying for _, desk in at_desks),
        max_in_flight=most,
        max_in_flight_from=most_from,
        waiting=sum(desk.waiting for _, desk in at_desks),
        workers=tuple(Sharer(who, desk.flying, desk.waiting, desk.seen_at) for who, desk in sorted(at_desks)),
        calls_last_minute=_used(quota, Dimension.REQUESTS, now),
        mean_call=MeanCall(quota.costs.input_tokens, quota.costs.output_tokens, quota.costs.calls) if quota.costs.calls else None,
        rejections=quota.rejected,
        last_rejection=None if quota.rejected_at is None else LastRejection(quota.rejected_as, quota.rejected_at),
        held=held,
        pause=window,
        began_at=quota.began_at,
        is_searching=quota.is_blind(limits) and quota.blind.searching,
        is_distrusted=quota.distrusted,
    )
    return replace(seen, summary=sentence(seen, now, zone))


# -- limits


def _known(quota: Quota, limits: Limits, now: float) -> list[KnownLimit]:
    """What is configured, then what was said, then what was found out."""
    mean, found = quota.costs.mean, []
    for dimension in Dimension:
        per_minute = limits.per_minute.get(dimension)
        if per_minute is not None:
            found.append(_said(Meter(dimension, per_minute, MINUTE_S, CONFIGURED), CONFIGURED, quota, mean, now))
    today = quota.day.number == int(now // DAY_S)
    for dimension, per_day, used in (
        (Dimension.REQUESTS, limits.requests_per_day, quota.day.calls),
        (Dimension.TOKENS, limits.tokens_per_day, quota.day.tokens),
    ):
        if per_day is not None:
            row = _said(Meter(dimension, per_day, DAY_S, CONFIGURED), CONFIGURED, quota, mean, now)
            found.append(replace(row, used_today=max(0.0, used) if today else 0.0))
    for name, meter in quota.meters.items():
        if meter.limit is not None or meter.remaining is not None:
            found.append(_said(meter, name, quota, mean, now))
    if quota.is_blind(limits):
        found.append(_found_out(quota, now))
    return found


def _said(meter: Meter, name: str, quota: Quota, mean: Cost, now: float) -> KnownLimit:
    per_call = mean.of(meter.dimension)
    pace, full = (each.pace(None, per_call, quota.ledger, now) for each in (meter, replace(meter, remaining=None)))
    return KnownLimit(
        dimension=meter.dimension,
        signal=meter.source or name,
        limit=meter.limit,
        period_s=None if meter.limit is None else meter.period_s,
        used_last_minute=_used(quota, meter.dimension, now),
        remaining=meter.remaining,
        remaining_age_s=None if meter.remaining is None else max(0.0, now - meter.asked_at),
        kind="window" if meter.is_window else "bucket" if meter.votes > 0 else None,
        pace_per_minute=None if pace is None else pace * MINUTE_S,
        calls_per_minute=None if pace is None or per_call <= 0 else pace / per_call * MINUTE_S,
        is_slowed=pace is not None and full is not None and pace < 0.95 * full,
    )


def _found_out(quota: Quota, now: float) -> KnownLimit:
    """The limit as our own trying shows it; unknown until the first rejection."""
    pace = quota.blind.pace * MINUTE_S
    return KnownLimit(
        dimension=Dimension.REQUESTS,
        signal=ALONE,
        limit=None if quota.blind.searching else pace,
        period_s=None if quota.blind.searching else MINUTE_S,
        used_last_minute=_used(quota, Dimension.REQUESTS, now),
        pace_per_minute=pace,
        calls_per_minute=pace,
    )


def _binding(known: list[KnownLimit]) -> KnownLimit | None:
    """The limit that sets the pace. While the size of a call is unknown, one in tokens may be all there is."""
    paced = [one for one in known if one.calls_per_minute is not None]
    if paced:
        return min(paced, key=lambda one: one.calls_per_minute or 0.0)
    return next((one for one in known if one.pace_per_minute is not None), None)


def _used(quota: Quota, dimension: Dimension, now: float) -> float:
    return max(0.0, quota.ledger.since(dimension, now - MINUTE_S))


# -- what may start


def _most_in_flight(quota: Quota, limits: Limits) -> tuple[int | None, str | None]:
    known = [(limits.max_in_flight, CONFIGURED), (quota.in_flight.limit, "learned")]
    return min(((most, whence) for most, whence in known if most is not None), default=(None, None))


def _held(quota: Quota, now: float) -> Held | None:
    hold = quota.hold
    if hold.until is None:
        return None
    return Held(hold.until, hold.reason, hold.first_at, hold.strikes, hold.door(now), hold.probe_of)


def _state(held: Held | None, window: PauseWindow | None, now: float) -> State:
    """What closes it longest decides its name."""
    gate, door = window.gate(now) if window else Gate.OPEN, held.door if held else Door.OPEN
    if window is not None and gate is Gate.CLOSED and window.reason == MANUAL and (held is None or window.until >= held.until):
        return State.PAUSED
    if gate is Gate.CLOSED or door is Door.SHUT:
        return State.HELD
    return State.TRYING if gate is not Gate.OPEN or door is not Door.OPEN else State.OPEN
