"""What many records add up to, in one pass and bounded memory: the engine of ``scheduler logs --summary``.

Does not belong here: rendering (the shell's).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scheduler.logread.clusters import Clusters, ErrorCluster
from scheduler.logread.histogram import OTHERS, Histograms, Spread
from scheduler.logread.pauses import Pause, Timeline
from scheduler.logread.records import Record

_MAX_NAMES = 1_000
_NUMBERS = frozenset({int, float})
#: Attempts that ran to an end of their own; "later", shutdown and a lost worker say nothing about the work.
_RAN = frozenset({"job.completed", "job.retrying", "job.failed"})
#: Each ended attempt waited once, whatever came of it.
_WAITED = _RAN | {"job.rate_limited", "job.interrupted", "job.lost"}


@dataclass(frozen=True, slots=True)
class SlowAttempt:
    """One of the longest attempts."""

    duration_s: float
    job_id: str
    task_type: str
    target_id: str
    attempt: int | None
    event: str
    timestamp: str

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Summary:
    """What the records add up to.

    ``durations`` are of attempts that completed, failed or will be retried, ``waits`` from due to start,
    both by task type. ``errors_let_go`` counts errors too rare to be kept apart, ``pauses_earlier`` pauses
    before the oldest one listed, ``malformed`` the lines that were no records.
    """

    records: int
    malformed: int
    first_seen: str
    last_seen: str
    events: dict[str, int]
    reasons: dict[str, int]
    levels: dict[str, int]
    durations: dict[str, Spread]
    waits: dict[str, Spread]
    pauses: tuple[Pause, ...]
    pauses_earlier: int
    slowest: tuple[SlowAttempt, ...]
    errors: tuple[ErrorCluster, ...]
    errors_distinct: int
    errors_let_go: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


def summarize(records: Iterable[Record], *, top: int = 10) -> Summary:
    """Read ``records`` to the end. ``top`` bounds ``slowest`` and ``errors``.

    ``malformed`` is taken from ``records`` where that is a ``Reading``.
    """
    adding = _Adding(top)
    for record in records:
        adding.add(record.fields)
    return adding.summary(int(getattr(records, "malformed", 0)))


class _Adding:
    """The running totals."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._records = 0
        self._first = self._last = ""
        self._events: dict[str, int] = {}
        self._reasons: dict[str, int] = {}
        self._levels: dict[str, int] = {}
        self._durations = Histograms()
        self._waits = Histograms()
        self._pauses = Timeline()
        self._slow_from_s = -1.0
        self._slowest: list[tuple[float, int, dict[str, Any]]] = []
        self._errors = Clusters()

    def add(self, fields: dict[str, Any]) -> None:
        self._records += 1
        event = _word(fields.get("event"))
        _count(self._events, event)
        _count(self._levels, _word(fields.get("level")))
        timestamp = _word(fields.get("timestamp"))
        if timestamp > self._last:
            self._last = timestamp
        if timestamp < self._first or not self._first:
            self._first = timestamp
        if event.startswith("job."):
            self._job(event, fields)
        elif event.startswith("lane."):
            self._lane(event, fields)
        error = fields.get("error") or fields.get("exception")
        if type(error) is str:
            self._error(error, fields)

    def summary(self, malformed: int) -> Summary:
        return Summary(
            records=self._records,
            malformed=malformed,
            first_seen=self._first,
            last_seen=self._last,
            events=_most_first(self._events),
            reasons=_most_first(self._reasons),
            levels=_most_first(self._levels),
            durations=self._durations.spreads(),
            waits=self._waits.spreads(),
            pauses=self._pauses.entries(),
            pauses_earlier=self._pauses.earlier,
            slowest=tuple(
                _slow(duration_s, fields) for duration_s, _, fields in sorted(self._slowest, key=lambda slow: (-slow[0], -slow[1]))
            ),
            errors=self._errors.most(self._top),
            errors_distinct=len(self._errors),
            errors_let_go=self._errors.let_go,
        )

    def _job(self, event: str, fields: dict[str, Any]) -> None:
        if reason := _word(fields.get("reason")):
            _count(self._reasons, reason)
        if event not in _WAITED:
            return
        task_type = _word(fields.get("task_type"))
        waited_s: Any = fields.get("waited_s")
        if type(waited_s) in _NUMBERS:
            self._waits[task_type].add(waited_s)
        duration_s: Any = fields.get("duration_s")
        if event in _RAN and type(duration_s) in _NUMBERS:
            self._durations[task_type].add(duration_s)
            if duration_s > self._slow_from_s:
                self._slow(duration_s, fields)

    def _slow(self, duration_s: float, fields: dict[str, Any]) -> None:
        # The counter breaks ties for the earlier one, and keeps the heap from comparing dicts.
        heapq.heappush(self._slowest, (duration_s, -self._records, fields))
        if len(self._slowest) > self._top:
            heapq.heappop(self._slowest)
        if len(self._slowest) == self._top:
            self._slow_from_s = self._slowest[0][0] if self._slowest else float("inf")

    def _lane(self, event: str, fields: dict[str, Any]) -> None:
        at = Record(fields).at
        if at is None:
            return
        if event == "lane.paused":
            self._pauses.paused(at, fields)
        elif event == "lane.resumed":
            self._pauses.resumed(at, fields)

    def _error(self, error: str, fields: dict[str, Any]) -> None:
        if "error" not in fields:  # of a traceback the last line says what it was
            error = error.rstrip().rpartition("\n")[2]
        self._errors.add(
            error, _word(fields.get("reason")), _word(fields.get("task_type")), _word(fields.get("job_id")), _word(fields.get("timestamp"))
        )


def _count(counts: dict[str, int], name: str) -> None:
    """Names beyond a thousand are counted together: a hostile log cannot fill memory."""
    if name in counts:
        counts[name] += 1
    elif len(counts) < _MAX_NAMES:
        counts[name] = 1
    else:
        counts[OTHERS] = counts.get(OTHERS, 0) + 1


def _most_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _slow(duration_s: float, fields: dict[str, Any]) -> SlowAttempt:
    attempt = fields.get("attempt")
    return SlowAttempt(
        duration_s=duration_s,
        job_id=_word(fields.get("job_id")),
        task_type=_word(fields.get("task_type")),
        target_id=_word(fields.get("target_id")),
        attempt=attempt if isinstance(attempt, int) else None,
        event=_word(fields.get("event")),
        timestamp=_word(fields.get("timestamp")),
    )


def _word(value: Any) -> str:
    return value if type(value) is str else ""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.to_dict() if hasattr(value, "to_dict") else value
