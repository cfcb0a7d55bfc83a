"""Pauses as a timeline, from ``lane.paused`` and ``lane.resumed``. Pure.

A pause that is extended, or whose probe was turned down, is one entry. One that ends by itself (an
operator's, with a time) is logged by nobody: it ends at its time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_MAX_ENTRIES = 1_000
_MAX_OPEN = 1_000


@dataclass(frozen=True, slots=True)
class Pause:
    """``scope`` was closed from ``start`` on, planned until ``until`` (None: until resumed by hand).

    ``end`` is when it was resumed, None if no line says so; ``resumed_by`` why. Times are seconds since
    the epoch. ``job_id`` names the job that caused it first, ``times`` counts the lines that set or extended it.
    """

    scope: str
    start: float
    until: float | None
    end: float | None
    reason: str
    resumed_by: str
    job_id: str
    times: int

    def to_dict(self) -> dict[str, Any]:
        shown = {name: getattr(self, name) for name in self.__slots__}
        return shown | {name: _iso(shown[name]) for name in ("start", "until", "end")}


@dataclass(slots=True)
class _Open:
    start: float
    until: float
    reason: str
    job_id: str
    times: int = 1


class Timeline:
    """Collects pauses; keeps the latest 1,000 and counts the ``earlier`` ones."""

    def __init__(self, limit: int = _MAX_ENTRIES) -> None:
        self.earlier = 0
        self._closed: deque[Pause] = deque(maxlen=limit)
        self._open: dict[str, _Open] = {}

    def paused(self, at: float, fields: dict[str, Any]) -> None:
        """A ``lane.paused`` line."""
        scope = str(fields.get("scope"))
        for_s = fields.get("paused_s")
        until = at + for_s if isinstance(for_s, int | float) else float("inf")
        open_ = self._open.get(scope)
        strikes = fields.get("strikes")
        repeats = isinstance(strikes, int) and strikes > 1
        if open_ is not None and (at <= open_.until or repeats):
            open_.until = max(open_.until, until)
            open_.times += 1
            return
        if open_ is not None:
            self._close(scope, None, "")
        elif len(self._open) >= _MAX_OPEN:
            self._close(next(iter(self._open)), None, "")
        self._open[scope] = _Open(at, until, str(fields.get("reason") or ""), str(fields.get("job_id") or ""))

    def resumed(self, at: float, fields: dict[str, Any]) -> None:
        """A ``lane.resumed`` line; without a known pause there is nothing to say."""
        scope = str(fields.get("scope"))
        if scope in self._open:
            self._close(scope, at, str(fields.get("reason") or ""))

    def entries(self) -> tuple[Pause, ...]:
        """All of them by start, those still open included."""
        still_open = [_entry(scope, open_, None, "") for scope, open_ in self._open.items()]
        return tuple(sorted([*self._closed, *still_open], key=lambda pause: (pause.start, pause.scope)))

    def _close(self, scope: str, end: float | None, resumed_by: str) -> None:
        self.earlier += len(self._closed) == self._closed.maxlen
        self._closed.append(_entry(scope, self._open.pop(scope), end, resumed_by))


def _entry(scope: str, open_: _Open, end: float | None, resumed_by: str) -> Pause:
    until = None if open_.until == float("inf") else open_.until
    return Pause(scope, open_.start, until, end, open_.reason, resumed_by, open_.job_id, open_.times)


def _iso(at: float | None) -> str | None:
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # a date no calendar has
        return None
