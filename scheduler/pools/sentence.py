"""A pool in one plain sentence: what it does now, why, and what to do about it. Pure.

Does not belong here: the facts behind it (``portrait.py``).
"""

from __future__ import annotations

import math
import shlex
from datetime import UTC, datetime, tzinfo

from scheduler.pauses import MANUAL, Gate, pool_scope
from scheduler.pools.hold import REASONS, Door
from scheduler.pools.meter import MINUTE_S
from scheduler.pools.quota import PROSE
from scheduler.pools.records import ALONE, CONFIGURED, KnownLimit, Portrait, State

OUTAGE = "outage"


def sentence(seen: Portrait, now: float, zone: tzinfo | None = None) -> str:
    """``seen`` in words; its times in ``zone`` (None: this machine's)."""
    if seen.state is State.TRYING:
        return _trying(seen, now)
    if seen.state is not State.OPEN:
        return _closed(seen, now, zone)
    if seen.max_in_flight is not None and seen.waiting and seen.in_flight >= seen.max_in_flight:
        return _full(seen)
    return f"{_pace(seen)}; {_traffic(seen)}"


# -- closed


def _closed(seen: Portrait, now: float, zone: tzinfo | None) -> str:
    until, reason = _until(seen, now)
    resume = f"`scheduler resume {shlex.quote(pool_scope(seen.name))}`"
    when = "" if math.isinf(until) else f" until {clock_time(until, now, zone)}"
    if reason == MANUAL:
        return f"paused by hand{when}; {resume} opens it"
    if reason == OUTAGE:
        return f"closed{when}: {reason}, for job after job failed; one job tries again then, {resume} tries now"
    if reason == REASONS["quota"]:
        return f"held{when}: {reason}; {resume} tries again"
    return f"held{when}: {reason}; one call tries again then"


def _until(seen: Portrait, now: float) -> tuple[float, str]:
    """The end that is last. What closed the calls knows more of it than the jobs that were put off for it."""
    held, pause = seen.held, seen.pause
    if held is None or pause is None:
        return max((each.until, each.reason) for each in (held, pause) if each is not None)
    if pause.reason in (MANUAL, OUTAGE) and pause.until >= held.until:
        return pause.until, pause.reason
    return max(held.until, pause.until), held.reason if held.until > now else pause.reason


def _trying(seen: Portrait, now: float) -> str:
    if seen.held is not None:
        reason, one, is_under_way = seen.held.reason, "call", seen.held.door is Door.TRYING
    else:
        assert seen.pause is not None  # else it would be open
        reason, one, is_under_way = seen.pause.reason, "job", seen.pause.gate(now) is Gate.PROBING
    if is_under_way:
        return f"was held: {reason}; one {one} is under way to see whether it is open again"
    return f"was held: {reason}; its time is up, the next {one} goes alone to see whether it is open again"


# -- open


def _full(seen: Portrait) -> str:
    whence = "as configured" if seen.max_in_flight_from == CONFIGURED else "learned from overload"
    pace = "" if seen.calls_per_minute is None else f"; the pace would allow {figure(seen.calls_per_minute)} calls a minute"
    return f"{seen.in_flight:,} in flight, as many as may be ({whence}), {seen.waiting:,} waiting{pace}"


def _pace(seen: Portrait) -> str:
    binding = seen.binding
    if binding is None:
        return "not paced"
    if binding.signal == ALONE and seen.is_searching:
        known = "the pace that it allows" if len(seen.limits) > 1 else "its limits"
        pace = f"{figure((binding.pace_per_minute or 0.0) / MINUTE_S)} calls a second"
        how = f"it begins with {pace}" if seen.began_at is None else f"trying {pace}, more while nothing is rejected"
        return f"nothing is known of {known} yet: {how}"
    if seen.calls_per_minute is None:
        return f"paced at {figure(binding.pace_per_minute or 0.0)} {words(binding)} a minute by {_signal(binding)}"
    pace = f"{figure(seen.calls_per_minute)} calls a minute"
    if binding.is_slowed and binding.remaining is not None and binding.limit is not None:
        return f"slowed to {pace}: {binding.signal} says {count(binding.remaining)} of {count(binding.limit)} {words(binding)} left"
    doubted = next((one for one in seen.limits if one.signal != ALONE and one.pace_per_minute), None) if seen.is_distrusted else None
    return f"paced at {pace} by {_signal(binding)}" + (f", for {_signal(doubted)} proved untrue" if doubted else "")


def _traffic(seen: Portrait) -> str:
    if seen.began_at is None:
        return "no call yet"
    return f"{seen.in_flight:,} in flight, {seen.waiting:,} waiting" if seen.in_flight or seen.waiting else "idle"


def _signal(known: KnownLimit) -> str:
    if known.signal == CONFIGURED:
        return f"the configured {known.dimension}_per_minute"
    return {PROSE: "what a 429's message says", ALONE: "what 429s alone show"}.get(known.signal, known.signal)


# -- words and figures


def words(known: KnownLimit) -> str:
    """What it counts: ``input tokens``."""
    return str(known.dimension).replace("_", " ")


def figure(amount: float) -> str:
    """``1,200``, ``42.5``, ``2.0``, ``0.25``: as exact as anybody reads it."""
    if amount >= 100 or amount == 0:
        return f"{amount:,.0f}"
    return f"{amount:.1f}" if amount >= 1 else f"{amount:.2g}"


def count(amount: float) -> str:
    """The same for what is whole by nature: ``40``, ``60,000``."""
    return f"{amount:,.0f}" if amount == int(amount) else figure(amount)


def clock_time(at: float, now: float, zone: tzinfo | None) -> str:
    """``14:03:20`` when that is today, else with its date."""
    try:
        then, today = (datetime.fromtimestamp(when, UTC).astimezone(zone) for when in (at, now))
    except (ValueError, OverflowError, OSError):  # a time no calendar has
        return "the end of time"
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M:%S}"
