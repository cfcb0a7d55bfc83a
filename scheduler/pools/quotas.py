"""The quotas that an answer's headers tell of, in every provider's dialect. Pure.

Read on every successful answer, so a look at the names comes first, and most answers cost no more than
that. A value that cannot be parsed, is negative or absurd is "not said" (None); a header that came several
times is its first value. What is marked "(recalled)" was not checked against a provider's page.

Does not belong here: how fast to go with what is known (``meter.py``); waits (``headers.py``); what only a
429's message says (``prose.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from scheduler.pools.headers import until_reset_s

#: Above it a number is no quota.
MAX_AMOUNT = 1e15

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3_600.0, 86_400.0
_MAX_CHARS = 100  # no honest value is longer
_MAX_HEADERS = 1_000
_EPOCH_S, _EPOCH_MS = 1e9, 1e11  # above it a reset is a moment, not a duration
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
_WINDOW = re.compile(r"(\d{1,15})\s?;\s?w(?:indow)?=(\d{1,9})(?!\d)", re.ASCII)


class Dimension(StrEnum):
    """What a quota counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"


@dataclass(frozen=True, slots=True)
class Reading:
    """One quota as an answer tells it; at least one of ``limit`` and ``remaining`` is said.

    ``limit`` is per period; 0 is a limit too (Mistral's, for a model outside the plan). ``remaining`` is
    never negative and may be off by ``rounding``. ``reset_s``: seconds from now until it is full again
    (a bucket that refills continuously) or until its window ends: not a wait. ``period_s``: seconds, where the
    dialect or the header's name tells it (else see ``implied_period_s``). ``source`` is the header that said
    it, for people.
    """

    dimension: Dimension
    limit: float | None
    remaining: float | None
    reset_s: float | None
    period_s: float | None
    rounding: float
    source: str


@dataclass(frozen=True, slots=True)
class _Quota:
    """The headers that speak of one quota. ``length`` is the one that tells its period."""

    dimension: Dimension
    limit: str
    remaining: str
    reset: str = ""
    length: str = ""
    period_s: float | None = None
    rounding: float = 0.0


def _openai(kind: str, dimension: Dimension) -> _Quota:
    """OpenAI, Azure, Groq; and GitHub Models, which tells its ``renewalperiod``."""
    length = f"x-ratelimit-renewalperiod-{kind}"
    return _Quota(dimension, f"x-ratelimit-limit-{kind}", f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}", length)


def _anthropic(kind: str, dimension: Dimension, rounding: float) -> _Quota:
    """Limits are per minute (recalled); ``remaining`` of tokens is told in thousands."""
    name = f"anthropic-ratelimit-{kind}"
    return _Quota(dimension, f"{name}-limit", f"{name}-remaining", f"{name}-reset", "", _MINUTE_S, rounding)


def _named_period(kind: str, dimension: Dimension, word: str, period_s: float) -> _Quota:
    """Cerebras (``requests``) and Mistral (``req``, without a reset)."""
    end = f"{kind}-{word}"
    return _Quota(dimension, f"x-ratelimit-limit-{end}", f"x-ratelimit-remaining-{end}", f"x-ratelimit-reset-{end}", "", period_s)


# a month is Mistral's (recalled): thirty days are near enough for a pace
_PERIODS = {"second": 1.0, "minute": _MINUTE_S, "hour": _HOUR_S, "day": _DAY_S, "month": 30 * _DAY_S}
_KINDS = {"requests": Dimension.REQUESTS, "req": Dimension.REQUESTS, "tokens": Dimension.TOKENS}

_QUOTAS: tuple[_Quota, ...] = (
    _openai("requests", Dimension.REQUESTS),
    _openai("tokens", Dimension.TOKENS),
    _openai("project-tokens", Dimension.TOKENS),
    _anthropic("requests", Dimension.REQUESTS, 0.0),
    _anthropic("tokens", Dimension.TOKENS, 1_000.0),
    _anthropic("input-tokens", Dimension.INPUT_TOKENS, 1_000.0),
    _anthropic("output-tokens", Dimension.OUTPUT_TOKENS, 1_000.0),
    *(_named_period(kind, dimension, *period) for kind, dimension in _KINDS.items() for period in _PERIODS.items()),
    # Cohere; its -limit is (recalled)
    _Quota(Dimension.REQUESTS, "x-trial-endpoint-call-limit", "x-trial-endpoint-call-remaining"),
    # draft-ietf-httpapi-ratelimit-headers (recalled), and what many gateways made of it
    _Quota(Dimension.REQUESTS, "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy"),
    _Quota(Dimension.REQUESTS, "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
)

#: A LiteLLM proxy passes its provider's headers on under this prefix.
_PROXIED = "llm_provider-"


def _places() -> dict[str | bytes, tuple[int, int]]:
    """Where a header belongs: which quota (proxied ones come after all plain ones), and which part of it."""
    places: dict[str | bytes, tuple[int, int]] = {}
    for number, quota in enumerate(_QUOTAS):
        for part, name in enumerate((quota.limit, quota.remaining, quota.reset, quota.length)):
            if name:
                places[name] = places[name.encode()] = (number, part)
                proxied = _PROXIED + name
                places[proxied] = places[proxied.encode()] = (number + len(_QUOTAS), part)
    return places


_PLACES = _places()


def read_quotas(headers: Mapping[str, str], now: float) -> tuple[Reading, ...]:
    """The quotas that ``headers`` tell of, plainest dialect first; () when they tell of none.

    ``now`` is seconds since the epoch. Headers that a proxy passed on count where its own are absent.
    """
    said: dict[int, list[str | None]] = {}
    for name, value in _of_interest(headers):
        place = _PLACES.get(name.lower())
        if place is not None:
            number, part = place
            texts = said.get(number)
            if texts is None:
                texts = said[number] = [None, None, None, None]
            if texts[part] is None:
                texts[part] = _text(value)
    found = [_reading(number, said[number], now) for number in sorted(said) if number - len(_QUOTAS) not in said]
    return tuple([reading for reading in found if reading is not None])


def implied_period_s(limit: float | None, remaining: float | None, reset_s: float | None) -> float | None:
    """The period that a continuously refilled quota shows: 1, 60, 3600 or 86400; None where the numbers do not tell.

    Such a bucket is full again after ``used / limit`` of its period. Groq's ``limit-requests`` is per *day* and no
    name says so. The estimate must come within 15 % of a usual period, from at least two units used
    (``remaining`` is rounded down), and a longer period than a minute's needs a reset that no shorter
    window could have. At the very end of a *fixed* window the numbers can look like a shorter period:
    believe what several readings agree on.
    """
    if limit is None or remaining is None or reset_s is None:
        return None
    used = limit - remaining
    # a reset told in whole seconds is off by up to one
    if not (used >= 2 and remaining >= 0 and 0 < reset_s <= MAX_AMOUNT) or (reset_s < 7 and reset_s == int(reset_s)):
        return None
    estimate_s = reset_s * (limit / used)
    for period_s, shorter_s in ((1.0, 0.0), (_MINUTE_S, 1.0), (_HOUR_S, _MINUTE_S), (_DAY_S, _MINUTE_S)):
        if reset_s > shorter_s and abs(estimate_s / period_s - 1) <= 0.15:
            return period_s
    return None


def _of_interest(headers: Mapping[str, str]) -> Iterable[tuple[str | bytes, str | bytes]]:
    """All headers if any name is of interest, else none: one search through all names is cheaper than many."""
    if len(headers) > _MAX_HEADERS:
        return ()
    raw = getattr(headers, "raw", None)
    try:
        if isinstance(raw, list):  # httpx decodes every header for whoever asks by name
            raw_names = b"\n".join([name for name, _ in raw]).lower()
            return raw if b"ratelimit" in raw_names or b"x-trial" in raw_names else ()
        names = "\n".join(headers).lower()
        return headers.items() if "ratelimit" in names or "x-trial" in names else ()
    except (TypeError, ValueError):  # a name that is no text
        return [(name, value) for name, value in headers.items() if isinstance(name, str)]


def _text(value: object) -> str | None:
    """A header's value, the first if several were joined; None if it is no text or too long to be honest."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value if isinstance(value, str) and len(value) <= _MAX_CHARS else None


def _reading(number: int, texts: list[str | None], now: float) -> Reading | None:
    limit_text, remaining_text, reset_text, length_text = texts
    limit, remaining = _amount(limit_text), _amount(remaining_text)
    if limit is None and remaining is None:
        return None
    quota, prefix = (_QUOTAS[number], "") if number < len(_QUOTAS) else (_QUOTAS[number - len(_QUOTAS)], _PROXIED)
    period_s = quota.period_s or _period_s(length_text, limit) or _window_s(limit_text, limit)
    source = prefix + (quota.remaining if limit is None else quota.limit)
    return Reading(quota.dimension, limit, remaining, _reset_s(reset_text, now), period_s, quota.rounding, source)


def _amount(text: str | None) -> float | None:
    """A number from 0 to 1e15, the first of a list."""
    if text is None:
        return None
    if not (text.isdigit() and text.isascii()):
        text = text.partition(",")[0].partition(";")[0].strip()
        if not _NUMBER.fullmatch(text):
            return None
    amount = float(text)
    return amount if amount <= MAX_AMOUNT else None


def _period_s(text: str | None, limit: float | None) -> float | None:
    """A period told in seconds, or as the window of ``limit`` in a list of quota policies."""
    return _window_s(text, limit) if text is not None and ";" in text else _amount(text) or None


def _window_s(text: str | None, limit: float | None) -> float | None:
    """The window of ``limit`` in a list: ``100, 100;w=60, 5000;w=3600``."""
    if text is None or ";" not in text:
        return None
    return next((float(found[2]) or None for found in _WINDOW.finditer(text) if float(found[1]) == limit), None)


def _reset_s(text: str | None, now: float) -> float | None:
    """Seconds (Cerebras, IETF), a Go duration (OpenAI, Groq), RFC 3339 (Anthropic), or seconds or ms since the epoch."""
    if text is None:
        return None
    # what ends in a letter is no number: most resets are durations
    after_s = None if text[-1:].isalpha() else _amount(text)
    if after_s is None:
        after_s = until_reset_s(text, now)
    elif after_s >= _EPOCH_S:
        after_s = max((after_s / 1e3 if after_s >= _EPOCH_MS else after_s) - now, 0.0)
    return after_s if after_s is not None and 0.0 <= after_s <= MAX_AMOUNT else None
