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
