"""One log line as a record, and the filter that selects records. Pure.

Does not belong here: files (``streams.py``), or what many records add up to (``summary.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pydantic_core

LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 4}
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_RELATIVE = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
#: Text that every JSON writer leaves as it is, so that it can be looked for before decoding.
_VERBATIM = re.compile(r"[A-Za-z0-9_.:-]+")


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded line. Lines of other programs may lack any of the fields."""

    fields: dict[str, Any]

    @property
    def event(self) -> str:
        return _text(self.fields.get("event"))

    @property
    def level(self) -> str:
        return _text(self.fields.get("level"))

    @property
    def timestamp(self) -> str:
        return _text(self.fields.get("timestamp"))

    @property
    def at(self) -> float | None:
        """Seconds since the epoch; None without a readable time stamp."""
        try:
            return _seconds(datetime.fromisoformat(self.fields["timestamp"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    def to_dict(self) -> dict[str, Any]:
        return self.fields


def parse(line: bytes) -> Record | None:
    """The record of a line; None when it is not a JSON object."""
    try:
        fields = pydantic_core.from_json(line, cache_strings="keys")  # ids and times do not come again
    except ValueError:
        return None
    return Record(fields) if type(fields) is dict else None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records: every given field must match; an empty filter matches all.

    ``event`` is a name or its beginning (``job.``), ``level`` the quietest to show, ``since`` and ``until``
    seconds since the epoch (see ``parse_when``), ``text`` something that any value contains, in any case.
    Raises ``ValueError`` for an unknown level.
    """

    job_id: str | None = None
    task_type: str | None = None
    event: str | None = None
    level: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.level is not None and self.level not in LEVELS:
            raise ValueError(f"unknown level {self.level!r}; use one of {', '.join(LEVELS)}")

    def needles(self) -> tuple[bytes, ...]:
        """What a line must contain to have a chance: lets a reader skip most lines undecoded."""
        wanted = (self.job_id, self.task_type, self.event, self.reason)
        return tuple(sorted((want.encode() for want in wanted if want and _VERBATIM.fullmatch(want)), key=len, reverse=True))

    def matches(self, record: Record) -> bool:
        fields = record.fields
        return (
            (self.job_id is None or fields.get("job_id") == self.job_id)
            and (self.task_type is None or fields.get("task_type") == self.task_type)
            and (self.reason is None or fields.get("reason") == self.reason)
            and (self.event is None or record.event.startswith(self.event))
            and (self.level is None or LEVELS.get(record.level, 1) >= LEVELS[self.level])
            and (self.text is None or _mentions(fields, self.text.casefold()))
            and ((self.since is None and self.until is None) or self._in_time(record.at))
        )

    def _in_time(self, at: float | None) -> bool:
        if at is None:
            return False
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)


def parse_when(text: str, now: float) -> float:
    """A moment in seconds since the epoch: ``15m``, ``2h``, ``1d12h`` before ``now``, or ISO 8601 (UTC unless it says).

    Raises ``ValueError`` that says what is understood.
    """
    text = text.strip()
    if _RELATIVE.fullmatch(text):
        return now - sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
    try:
        return _seconds(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time: write 15m, 2h or 1d for that long ago, or 2030-01-31 or 2030-01-31T18:00 (UTC)") from None


def _seconds(when: datetime) -> float:
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mentions(value: Any, text: str) -> bool:
    if isinstance(value, str):
        return text in value.casefold()
    if isinstance(value, dict):
        return any(_mentions(item, text) for item in value.values())
    if isinstance(value, list):
        return any(_mentions(item, text) for item in value)
    return value is not None and text in str(value).casefold()
