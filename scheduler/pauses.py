"""Pause windows: when no job of a scope may start. Pure arithmetic; stores keep the windows.

A *scope* is a task type (its lane), ``pool:NAME``, or ``owner:NAME`` (an owner's waiting jobs). A window that a provider caused does not
simply end: when its time is up one probe job goes first, and the window is removed when the
probe succeeds. A window that an operator set ends with its time.

Does not belong here: which error asks for which pause (``decide.py``), or storing windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

MAX_PAUSE_S = 86_400.0
#: The least pause in seconds once a limit repeats: "retry after 0", said over and over, must not become a tight loop.
AGAIN_S = 1.0
POOL_PREFIX = "pool:"
OWNER_PREFIX = "owner:"
JOB_PREFIX = "job:"
MANUAL = "manual"
#: A provider fails for everybody, as far as anybody can tell.
OUTAGE = "outage"


class Gate(StrEnum):
    """What a scope lets through."""

    OPEN = "open"
    CLOSED = "closed"
    PROBE = "probe"  # exactly one job may start
    PROBING = "probing"  # that one is running


@dataclass(frozen=True, slots=True)
class PauseRequest:
    """A wish to close ``scope``, made by an attempt that was claimed at ``claimed_at``.

    ``retry_after_s`` is the provider's hint; without one the pause is ``base_s``, doubled for
    each repetition, at most ``cap_s``. All in seconds.
    """

    scope: str
    reason: str
    job_id: str
    retry_after_s: float | None
    base_s: float
    cap_s: float
    claimed_at: float


@dataclass(frozen=True, slots=True)
class PauseWindow:
    """A stored pause. ``until`` is seconds since the epoch, ``math.inf`` until resumed by hand."""

    scope: str
    until: float
    reason: str
    set_at: float
    set_by: str | None = None
    strikes: int = 0
    probe: str | None = None

    def gate(self, now: float) -> Gate:
        if now < self.until:
            return Gate.CLOSED
        if self.reason == MANUAL:
            return Gate.OPEN
        return Gate.PROBING if self.probe else Gate.PROBE

    def ran_out(self, now: float) -> bool:
        """Whether a provider's pause is over but for the proof: its time is up, and no probe has succeeded yet."""
        return self.gate(now) in (Gate.PROBE, Gate.PROBING)

    def is_open(self, now: float) -> bool:
        """Whether jobs may start freely."""
        return self.gate(now) is Gate.OPEN

    def next_open(self, now: float) -> float | None:
        """When something may start again: a time not before ``now``, None if only a person can tell."""
        return None if math.isinf(self.until) else max(now, self.until)


def clamp_retry_after(retry_after_s: float | None) -> float | None:
    """A provider's hint as something to act on: never negative, at most a day, None when not said.

    Handlers pass what they found in a header: text that is a number counts as one, anything else was not said.
    """
    try:
        hint_s = math.nan if retry_after_s is None else float(retry_after_s)
    except OverflowError:
        return MAX_PAUSE_S
    except (TypeError, ValueError):
        return None
    return None if math.isnan(hint_s) else min(max(hint_s, 0.0), MAX_PAUSE_S)


def extended(window: PauseWindow | None, request: PauseRequest, now: float) -> PauseWindow:
    """The window after ``request``: extended, never shortened.

    An attempt claimed before the window was set belongs to the same incident; only one claimed
    afterwards (the probe, as a rule) shows that the limit *repeats* and doubles the next pause.
    """
    repeats = window is None or request.claimed_at >= window.set_at
    strikes = (window.strikes if window else 0) + (1 if repeats else 0)
    strikes = max(strikes, 1)
    hint = clamp_retry_after(request.retry_after_s)
    pause_s = hint if hint is not None else min(request.base_s * 2.0 ** min(strikes - 1, 60), request.cap_s)
    if strikes > 1:
        pause_s = max(pause_s, AGAIN_S)
    until = now + pause_s
    if window is None:
        return PauseWindow(request.scope, until, request.reason, now, request.job_id, strikes)
    probe = None if window.probe == request.job_id else window.probe
    if until <= window.until:
        return replace(window, strikes=strikes, probe=probe)
    set_at = now if repeats else window.set_at
    return PauseWindow(request.scope, until, request.reason, set_at, request.job_id, strikes, probe)


def paused_by_hand(window: PauseWindow | None, scope: str, until: float, now: float) -> PauseWindow:
    """The window after an operator's pause: also extended, never shortened."""
    if window is not None and window.until >= until:
        return window
    strikes = window.strikes if window else 0
    return PauseWindow(scope, until, MANUAL, now, None, strikes, window.probe if window else None)


def pool_scope(pool: str) -> str:
    """The pause scope of a pool."""
    return POOL_PREFIX + pool


def paused_owners(windows: Iterable[PauseWindow], now: float) -> Iterator[str]:
    """The owners whose jobs somebody paused."""
    for window in windows:
        if window.scope.startswith(OWNER_PREFIX) and window.gate(now) is Gate.CLOSED:
            yield window.scope.removeprefix(OWNER_PREFIX)
