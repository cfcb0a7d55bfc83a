"""What providers write into headers, as numbers: waits, durations, moments. Pure.

A value that cannot be parsed is "not said" (None), never an error and never a guess. Does not
belong here: what a wait means for a job (``pauses.py``) or which error an answer is (``answers.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from scheduler.pauses import MAX_PAUSE_S

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
# Go's time.Duration.String(); "ms" is tried before "m", or "12ms" would read as twelve minutes.
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ms|ns|us|µs|μs|h|m|s)", re.ASCII)
_UNIT_S = {"h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_MAX_CHARS = 100  # no honest value is longer; keeps hostile ones cheap


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with lower-case names, whatever kind of mapping they came in."""
    return {name.lower(): value for name, value in headers.items() if isinstance(name, str) and isinstance(value, str)}


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds the provider asks to wait, 0 to 86400; None when it does not say.

    The most precise form wins: ``retry-after-ms`` (OpenAI, Azure), then ``Retry-After`` (seconds,
    also fractional, or an HTTP-date: RFC 9110, 10.2.3), then ``x-amz-retry-after`` (milliseconds).
    ``now`` is seconds since the epoch.
    """
    said = lowered(headers)
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0), ("x-amz-retry-after", 1e-3)):
        text = said.get(name, "").strip()
        wait_s = _number(text, unit_s)
        if wait_s is None and name == "retry-after":
            wait_s = _until_http_date(text, now)
        if wait_s is not None:
            return clamped_s(wait_s)
    return None


def clamped_s(wait_s: float) -> float:
    """``wait_s`` as a wait: never negative, at most a day."""
    return min(max(wait_s, 0.0), MAX_PAUSE_S)


def duration_s(text: str) -> float | None:
    """Seconds in a Go duration: ``6m0s``, ``12ms``, ``2s81ms``, ``1h16m0.667s``, ``57.238747106s``."""
    text = text.strip()
    if not text or len(text) > _MAX_CHARS:
        return None
    total_s, position = 0.0, 0
    while position < len(text):
        part = _DURATION_PART.match(text, position)
        if part is None:
            return None
        total_s += float(part[1]) * _UNIT_S[part[2]]
        position = part.end()
    return total_s if math.isfinite(total_s) else None


def until_reset_s(text: str, now: float) -> float | None:
    """Seconds until the moment in a ``…-reset`` header: a Go duration (OpenAI) or RFC 3339 (Anthropic).

    It is when the bucket will be *full* again, not when the next request fits: do not wait for it.
    """
    after_s = duration_s(text)
    if after_s is None:
        moment = _rfc3339(text)
        after_s = None if moment is None else moment - now
    return None if after_s is None else max(after_s, 0.0)


def _number(text: str, unit_s: float) -> float | None:
    if len(text) > _MAX_CHARS or not _NUMBER.fullmatch(text):
        return None
    return float(text) * unit_s


def _until_http_date(text: str, now: float) -> float | None:
    if not text or len(text) > _MAX_CHARS:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # "-0000" parses as naive: it says UTC without vouching for it
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _rfc3339(text: str) -> float | None:
    """Seconds since the epoch; None without an offset, which RFC 3339 demands."""
    if len(text) > _MAX_CHARS:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
