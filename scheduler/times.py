"""Times for people and machines: seconds since the epoch as calendar times. Pure; reads no clock."""

from __future__ import annotations

import math
from datetime import UTC, datetime


def utc_datetime(at: float | None) -> datetime | None:
    """None for no time, no end of time, and a time that no calendar has."""
    if at is None or not math.isfinite(at):
        return None
    try:
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def utc_time(at: float | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond, for machines; None where there is no such time."""
    when = utc_datetime(at)
    return None if when is None else when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span(seconds: float | None) -> str:
    """``12.3 ms``, ``12.3 s``, ``3m 20s``, ``2h 05m``, ``3d 04h``."""
    if seconds is None or not math.isfinite(seconds):
        return "without end"
    if seconds < 60:
        return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, below, part in (("m", 60, "s", 1), ("h", 3_600, "m", 60), ("d", 86_400, "h", 3_600)):
        if whole < size * (60 if unit == "m" else 24 if unit == "h" else 10**9):
            return f"{whole // size}{unit} {whole % size // part:02}{below}"
    return f"{whole} s"


def epoch(text: str | None) -> float | None:
    """The seconds since the epoch of what ``utc_time`` wrote; None for no time."""
    return None if text is None else datetime.fromisoformat(text).timestamp()
