"""A push-back, asked for everything at once: its kind, its wait, the quotas it tells of, the one that was hit. Pure.

Adds nothing to the classification: what ``answers.py`` calls an error is what it is here. Finds the provider's
answer in the error itself or in what it was raised ``from``, so a handler's own ``RateLimitError`` still tells
the headers of the client's error behind it.

Does not belong here: what a rejection means for a job (``decide.py``) or for a pool's pace (``meter.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from scheduler.errors import OverloadedError, QuotaExhaustedError, RateLimitError, SchedulerError
from scheduler.pauses import clamp_retry_after
from scheduler.pools.answers import error_from_answer, error_from_exception
from scheduler.pools.prose import Prose, dimension_named, read_prose
from scheduler.pools.quotas import MAX_AMOUNT, Dimension, Reading, read_quotas
from scheduler.pools.said import Said, read_answer
from scheduler.pools.thrown import ThrownAnswer, explicit_chain, text_of, thrown_answer

Kind = Literal["rate", "overload", "quota"]

#: The order in which ``decide.py`` lets errors of a group speak; the first two are rate limits to Python as well.
_KINDS: tuple[tuple[type[RateLimitError], Kind], ...] = (
    (QuotaExhaustedError, "quota"),
    (OverloadedError, "overload"),
    (RateLimitError, "rate"),
)
_LOUDEST_FIRST = tuple(kind for _, kind in _KINDS)
_MAX_LEAVES = 50
_PERIOD = re.compile(r"Per(Second|Minute|Hour|Day)(?![a-z])", re.ASCII)
_PERIODS_S = {"Second": 1.0, "Minute": 60.0, "Hour": 3_600.0, "Day": 86_400.0}


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a provider's push-back says.

    ``kind``: our rate, its overload, or a budget that is used up. ``retry_after_s``: the wait it asks for, 0 to 86400
    seconds, from the error, else its answer, else its prose. ``readings``: its headers' quotas, then those
    that its body names. ``dimension``: which quota was hit, None where nobody says.
    """

    kind: Kind
    retry_after_s: float | None
    readings: tuple[Reading, ...]
    prose: Prose | None
    dimension: Dimension | None


def read_rejection(error: BaseException, now: float) -> Rejection | None:
    """What ``error`` says as a push-back, the loudest one of a group; None if it is none. ``now``: seconds since the epoch."""
    found = [one for one in (_read(leaf, now) for leaf in _leaves(error)) if one is not None]
    return min(found, key=lambda one: _LOUDEST_FIRST.index(one.kind), default=None)


def _read(error: BaseException, now: float) -> Rejection | None:
    links = list(explicit_chain(error))
    speaking = next((link for link in links if isinstance(link, SchedulerError) or thrown_answer(link)), error)
    ours = speaking if isinstance(speaking, SchedulerError) else error_from_exception(speaking, now)
    kind = next((kind for family, kind in _KINDS if isinstance(ours, family)), None)
    if ours is None or kind is None:
        return None
    answer = next((found for found in map(thrown_answer, links) if found is not None), None)
    said = read_answer(answer.status_code, answer.headers, answer.body, now) if answer else None
    readings = (*read_quotas(answer.headers, now), *_body_readings(said)) if answer and said else ()
    prose = read_prose(said.message if said and said.message else text_of(speaking))
    return Rejection(
        kind=kind,
        retry_after_s=_wait_s(ours, kind, answer, prose, now),
        readings=readings,
        prose=prose,
        dimension=_dimension(said, readings, prose),
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """``error``, or the errors of its groups, however nested."""
    waiting = [error]
    for _ in range(_MAX_LEAVES):
        if not waiting:
            return
        one = waiting.pop()
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(reversed(one.exceptions[:_MAX_LEAVES]))
        else:
            yield one


def _wait_s(ours: SchedulerError, kind: Kind, answer: ThrownAnswer | None, prose: Prose | None, now: float) -> float | None:
    wait_s = clamp_retry_after(getattr(ours, "retry_after_s", None))
    if wait_s is None and answer is not None:
        theirs = error_from_answer(answer.status_code, answer.headers, answer.body, now)
        # the wait of a mere rate limit is no wait for a budget
        wait_s = theirs.retry_after_s if kind != "quota" or isinstance(theirs, QuotaExhaustedError) else None
    if wait_s is None and prose is not None and kind != "quota":
        wait_s = prose.retry_after_s
    return wait_s


def _body_readings(said: Said) -> Iterator[Reading]:
    """Quotas as Gemini and Vertex name them: ``GenerateRequestsPerMinutePerProjectPerModel-FreeTier``, 15."""
    for name, value in said.quotas:
        dimension, period = dimension_named(name), _PERIOD.search(name)
        limit = float(value) if value.isascii() and value.isdigit() else None
        if dimension is not None and limit is not None and limit <= MAX_AMOUNT:
            yield Reading(dimension, limit, None, None, _PERIODS_S[period[1]] if period else None, 0.0, name)


def _dimension(said: Said | None, readings: tuple[Reading, ...], prose: Prose | None) -> Dimension | None:
    """Where a field names it; else the one that is used up while another is not; else as prose has it."""
    named = dimension_named(said.dimension) if said and said.dimension else None
    if named is not None:
        return named
    used_up = {one.dimension for one in readings if one.remaining == 0}
    if len(used_up) == 1 and any(one.remaining for one in readings):
        return used_up.pop()
    return prose.dimension if prose else None
