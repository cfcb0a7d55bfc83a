"""Waits and durations as providers spell them. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

from benchmarks.provider.spec import WaitForm


def wait_headers(form: WaitForm, wait_s: float, now: float) -> dict[str, str]:
    """A wait as headers; whole numbers are rounded up, so that who obeys is not early."""
    if form is WaitForm.SECONDS:
        return {"retry-after": str(math.ceil(wait_s))}
    if form is WaitForm.FRACTIONAL:
        return {"retry-after": f"{math.ceil(wait_s * 1_000) / 1_000:.3f}"}
    if form is WaitForm.MILLISECONDS:
        return {"retry-after-ms": str(math.ceil(wait_s * 1_000))}
    if form is WaitForm.HTTP_DATE:
        return {"retry-after": format_datetime(datetime.fromtimestamp(math.ceil(now + wait_s), UTC), usegmt=True)}
    return {}


def spelled_duration(seconds: float) -> str:
    """OpenAI's spelling, in whole milliseconds rounded up: ``6m0s``, ``1s``, ``12ms``, ``2s81ms``."""
    hours, minutes, rest_ms = _parts(math.ceil(seconds * 1_000 - 1e-6), 1_000)
    whole_s, ms = divmod(rest_ms, 1_000)
    if hours or minutes:
        return f"{_before(hours, minutes)}{whole_s}s" + (f"{ms}ms" if ms else "")
    return (f"{whole_s}s" if whole_s else "") + (f"{ms}ms" if ms or not whole_s else "")


def go_duration(seconds: float) -> str:
    """Go's ``Duration.String``, to the hundredth of a second rounded up (Groq): ``7.66s``, ``2m59.56s``."""
    hours, minutes, rest = _parts(math.ceil(seconds * 100 - 1e-6), 100)
    return f"{_before(hours, minutes)}{f'{rest / 100:.2f}'.rstrip('0').rstrip('.')}s"


def _parts(ticks: int, per_s: int) -> tuple[int, int, int]:
    """Hours, minutes and the ticks that remain, of which there are ``per_s`` in a second."""
    minutes, rest = divmod(max(ticks, 0), 60 * per_s)
    return *divmod(minutes, 60), rest


def _before(hours: int, minutes: int) -> str:
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "")
