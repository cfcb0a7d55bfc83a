"""What a provider says beside the answer: quota headers in its dialect, waits, and the lies it was told to tell. Pure.

Sources: the providers' documentation of their rate-limit headers. A *reset* is when nothing of the limit is
used any more (OpenAI, Groq: Go durations; Anthropic: RFC 3339; Cerebras: seconds), not when the next call fits.
Does not belong here: the bodies of errors (``bodies.py``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from benchmarks.provider.answers import Answer, Refusal, Why
from benchmarks.provider.bodies import Spoken, body_of, status_of
from benchmarks.provider.durations import go_duration, spelled_duration, wait_headers
from benchmarks.provider.meters import Reading
from benchmarks.provider.spec import DAY_S, HOUR_S, MINUTE_S, Dialect, Dimension, Mischief, ProviderSpec, WaitForm

Readings = Sequence[Reading]

#: How each dialect says a wait unless told otherwise.
_WAIT_FORMS = {
    Dialect.OPENAI: WaitForm.MILLISECONDS,
    Dialect.AZURE: WaitForm.MILLISECONDS,
    Dialect.ANTHROPIC: WaitForm.SECONDS,
    Dialect.GROQ: WaitForm.SECONDS,
    Dialect.CEREBRAS: WaitForm.SECONDS,
    Dialect.GEMINI: WaitForm.RETRY_INFO,
}
#: Dialects without quota headers.
_QUIET = frozenset({Dialect.GEMINI, Dialect.SILENT, Dialect.PROSE})


class Voice:
    """Speaks for one provider; remembers what it could have said, to say it late if it is ``stale``."""

    def __init__(self, spec: ProviderSpec) -> None:
        self._spec = spec
        self._form = spec.wait_form or _WAIT_FORMS.get(spec.dialect, WaitForm.ABSENT)
        self._past: deque[tuple[float, Readings]] = deque()

    def headers(self, readings: Readings, now: float) -> dict[str, str]:
        """The quota headers of an answer."""
        if self._spec.dialect in _QUIET:
            return {}
        mischief = self._spec.mischief
        shown = [_bent(one, mischief) for one in self._shown(readings, now)]
        said = _HEADERS[self._spec.dialect](shown, now)
        said = _with_minus_one(said, mischief.minus_one)
        return {name: value for name, value in said.items() if not any(part in name for part in mischief.missing)}

    def refuse(self, refusal: Refusal, readings: Readings, now: float, latency_s: float) -> Answer:
        """A refusal that arrives as an answer."""
        spec = self._spec
        wait_s = None if refusal.wait_s is None else refusal.wait_s * spec.mischief.wait_times
        limit = refusal.reading
        stated = 0.0 if limit is None else limit.allowed * spec.mischief.limit_times
        in_body = wait_s if self._form is WaitForm.RETRY_INFO else None
        spoken = Spoken(refusal, limit, stated, wait_s, in_body, spec.model)
        by_limit = refusal.why in (Why.RATE, Why.TOO_LARGE, Why.SLOPE, Why.CONCURRENCY)
        headers = self.headers(readings, now) if by_limit else {}
        if wait_s is not None:
            headers |= wait_headers(self._form, wait_s, now)
        if spec.dialect is Dialect.CEREBRAS and refusal.why in (Why.CONCURRENCY, Why.OVERLOADED):
            headers["x-should-retry"] = "false"
        status = refusal.status or status_of(spec.dialect, refusal.why)
        return Answer(status, headers, body_of(spec.dialect, spoken, status), latency_s, None, "answer")

    def _shown(self, readings: Readings, now: float) -> Readings:
        """The readings of ``stale_s`` ago, or the oldest there are."""
        stale_s = self._spec.mischief.stale_s
        if stale_s <= 0:
            return readings
        self._past.append((now, readings))
        while len(self._past) > 1 and self._past[1][0] <= now - stale_s:
            self._past.popleft()
        return self._past[0][1]


def _bent(one: Reading, mischief: Mischief) -> Reading:
    """A reading as it is shown: never in debt, rounded down to whole units, bent as asked."""
    remaining = float(max(math.floor(one.remaining + 1e-6), 0))
    if mischief.rounded_to > 1 and one.limit.dimension is not Dimension.REQUESTS:
        remaining = float(round(remaining / mischief.rounded_to) * mischief.rounded_to)
    return replace(one, allowed=one.allowed * mischief.limit_times, remaining=remaining)


def _with_minus_one(said: dict[str, str], dimensions: tuple[Dimension, ...]) -> dict[str, str]:
    """``limit`` and ``remaining`` of these dimensions are -1, and there is no reset."""
    words = tuple(dimension.value.replace("_", "-") for dimension in dimensions)
    if not words:
        return said
    hidden = {name for name in said if name.endswith(words)}
    return {name: "-1" if name in hidden else value for name, value in said.items() if name not in hidden or "reset" not in name}


def _of_minutes(readings: Readings) -> list[Reading]:
    return [one for one in readings if one.limit.per_s == MINUTE_S]


def _word(one: Reading) -> str:
    return one.limit.dimension.value.replace("_", "-")


def _triple(prefix: str, word: str, one: Reading, reset: str) -> dict[str, str]:
    values = {"limit": f"{one.allowed:.0f}", "remaining": f"{one.remaining:.0f}", "reset": reset}
    return {f"{prefix}-{part}-{word}": value for part, value in values.items()}


def _openai(readings: Readings, now: float) -> dict[str, str]:
    said: dict[str, str] = {}
    for one in _of_minutes(readings):
        said |= _triple("x-ratelimit", _word(one), one, spelled_duration(one.reset_s))
    return said


def _groq(readings: Readings, now: float) -> dict[str, str]:
    """Requests are those of the day; requests of the minute are not said."""
    said: dict[str, str] = {}
    for one in readings:
        is_requests = one.limit.dimension is Dimension.REQUESTS
        if one.limit.per_s == (DAY_S if is_requests else MINUTE_S):
            said |= _triple("x-ratelimit", _word(one), one, go_duration(one.reset_s))
    return said


def _anthropic(readings: Readings, now: float) -> dict[str, str]:
    """Tokens that remain are rounded to the nearest thousand."""
    said: dict[str, str] = {}
    for one in _of_minutes(readings):
        is_requests = one.limit.dimension is Dimension.REQUESTS
        remaining = one.remaining if is_requests else float(round(one.remaining / 1_000) * 1_000)
        reset = datetime.fromtimestamp(math.ceil(now + one.reset_s - 1e-6), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = f"anthropic-ratelimit-{_word(one)}"
        said |= {f"{name}-limit": f"{one.allowed:.0f}", f"{name}-remaining": f"{remaining:.0f}", f"{name}-reset": reset}
    return said


def _mistral(readings: Readings, now: float) -> dict[str, str]:
    said: dict[str, str] = {}
    for one in _of_minutes(readings):
        word = "req-minute" if one.limit.dimension is Dimension.REQUESTS else f"{_word(one)}-minute"
        said |= {name: value for name, value in _triple("x-ratelimit", word, one, "").items() if value}
    return said


def _cerebras(readings: Readings, now: float) -> dict[str, str]:
    spans = {MINUTE_S: "minute", HOUR_S: "hour", DAY_S: "day"}
    said: dict[str, str] = {}
    for one in readings:
        if one.limit.per_s in spans:
            said |= _triple("x-ratelimit", f"{_word(one)}-{spans[one.limit.per_s]}", one, f"{one.reset_s:.3f}")
    return said


_HEADERS: dict[Dialect, Callable[[Any, float], dict[str, str]]] = {
    Dialect.OPENAI: _openai,
    Dialect.AZURE: _openai,
    Dialect.ANTHROPIC: _anthropic,
    Dialect.GROQ: _groq,
    Dialect.MISTRAL: _mistral,
    Dialect.CEREBRAS: _cerebras,
}
