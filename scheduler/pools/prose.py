"""What only the message of a 429 says of a limit. Pure.

Wording changes, so prose is never used to classify an error (only codes, statuses and types do that), and it is
weaker than any header or field: it is read to learn a limit or a wait where nothing else says one. It may
be misread; whoever learns from it must let later signals correct it.

Each pattern is anchored on words, its repeats are bounded, and only the first 2,000 characters are looked at.
What is marked "(recalled)" is not among the facts that were checked. Does not belong here: which error an answer
is (``answers.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scheduler.pools.headers import clamped_s, duration_s
from scheduler.pools.quotas import MAX_AMOUNT, Dimension

_MAX_CHARS = 2_000
_PERIODS_S = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0, "month": 2_592_000.0}
_WAITS_S = _PERIODS_S | {"ms": 1e-3, "millisecond": 1e-3}
_FLAGS = re.ASCII | re.IGNORECASE

# 60000, 60,000, 10.5, 60k: no part of a word or of another number ("gpt-4")
_NUMBER = r"(?<![\w.,-])((?:\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.\d{1,9})?(?-i:[kKM])?)(?!\w)"

# "on tokens per min (TPM)", "40,000 input tokens per minute", "10 API calls / minute", "250 requests/day"
_RATE = re.compile(
    rf"(?:{_NUMBER}\s{{1,3}})?\b(?:(input|output)[\s-]|api\s)?(token|request|call)s?\s?(?:per|/)\s?(second|sec|minute|min|hour|day|month)\b",
    _FLAGS,
)
# GitHub Models (recalled): "Rate limit of 10 per 60s exceeded for UserByModelByMinute"; "2 per 0s" is how many at once
_PER_SECONDS = re.compile(rf"\blimit\sof\s{_NUMBER}\sper\s(\d{{1,9}})s\b(?:\sexceeded\sfor\s(\w{{1,100}}))?", _FLAGS)
# Gemini: "metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 15"; its names (recalled)
_METRIC = re.compile(rf"\bmetric:\s?([\w./-]{{1,200}}),\s?limit:\s?{_NUMBER}", _FLAGS)
_LIMIT = re.compile(rf"\blimit:?\s{{1,3}}{_NUMBER}(?:\s?/\s?(second|sec|minute|min|hour|day|month)\b)?", _FLAGS)
_USED = re.compile(rf"\bused:?\s{{1,3}}{_NUMBER}", _FLAGS)
_REQUESTED = re.compile(rf"\brequested:?\s{{1,3}}{_NUMBER}", _FLAGS)
# Azure (recalled): "have exceeded token rate limit of", "exceeded call rate limit of"; Bedrock (recalled): "Too many tokens"
_SUBJECT = re.compile(r"\b(?:exceeded\s(?:the\s)?(token|call|request)\srate\slimit|too\smany\s(token)s)\b", _FLAGS)
_WAIT = re.compile(
    r"\b(?:try\sagain\sin|retry\sin|retry\safter|wait)\s(?:"
    r"((?:\d{1,9}(?:\.\d{1,12})?(?:ms|h|m|s)){1,4})(?!\w)"
    r"|(\d{1,9}(?:\.\d{1,12})?)\s(millisecond|second|sec|minute|min|hour|day)s?\b)",
    _FLAGS,
)


@dataclass(frozen=True, slots=True)
class Prose:
    """What a message says; None for what it does not say.

    ``limit`` is per period, ``used`` and ``requested`` count the same thing; ``period_s`` and
    ``retry_after_s`` (0 to 86400) are seconds.
    """

    dimension: Dimension | None = None
    limit: float | None = None
    period_s: float | None = None
    retry_after_s: float | None = None
    used: float | None = None
    requested: float | None = None


def read_prose(text: str) -> Prose | None:
    """What ``text`` says of a limit; None if nothing."""
    text = text[:_MAX_CHARS]
    dimension, limit, period_s = _limit(text)
    said = Prose(dimension, limit, period_s, _wait_s(text), _first(_USED, text), _first(_REQUESTED, text))
    return None if said == Prose() else said


def dimension_named(name: str) -> Dimension | None:
    """The dimension that a quota's name is about: ``InputTokensPerMinute``, ``UserByModelByDay``, ``token_quota_exceeded``.

    None if it says neither, or is about how many may run at once.
    """
    name = name[:_MAX_CHARS].lower()
    if "concurrent" in name:
        return None
    if "token" in name:
        return Dimension.INPUT_TOKENS if "input" in name else Dimension.OUTPUT_TOKENS if "output" in name else Dimension.TOKENS
    # GitHub Models names only tokens: what is left are requests (recalled)
    return Dimension.REQUESTS if "request" in name or name.startswith("userby") else None


def _limit(text: str) -> tuple[Dimension | None, float | None, float | None]:
    """The dimension, limit and period, from the most telling wording."""
    timed = _PER_SECONDS.search(text)
    if timed:
        period_s = float(timed[2]) or None
        return dimension_named(timed[3] or ""), _number(timed[1]) if period_s else None, period_s
    metric = _METRIC.search(text)
    if metric:
        return dimension_named(metric[1]), _number(metric[2]), None
    rate, bare = _RATE.search(text), _LIMIT.search(text)
    limit = _number(rate[1]) if rate and rate[1] else _number(bare[1]) if bare else None
    unit = rate[4] if rate else bare[2] if bare else None
    subject = _SUBJECT.search(text)
    side, thing = (rate[2], rate[3]) if rate else (None, subject[1] or subject[2]) if subject else (None, None)
    return _dimension(side, thing), limit, _PERIODS_S[unit.lower()] if unit else None


def _dimension(side: str | None, thing: str | None) -> Dimension | None:
    if thing is None:
        return None
    return dimension_named(f"{side or ''}{thing}") if thing.lower() != "call" else Dimension.REQUESTS


def _wait_s(text: str) -> float | None:
    wait = _WAIT.search(text)
    if wait is None:
        return None
    wait_s = duration_s(wait[1].lower()) if wait[1] else float(wait[2]) * _WAITS_S[wait[3].lower()]
    return None if wait_s is None else clamped_s(wait_s)


def _first(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    return _number(found[1]) if found else None


def _number(digits: str) -> float | None:
    times = {"k": 1e3, "K": 1e3, "M": 1e6}.get(digits[-1], 1.0)
    amount = float(digits.rstrip("kKM").replace(",", "")) * times
    return amount if amount <= MAX_AMOUNT else None
