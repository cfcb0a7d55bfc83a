"""The bodies of errors, as each provider words them. Pure.

Codes are what ``scheduler.pools.answers`` classifies by; messages carry what only prose says (OpenAI: "Limit
60000, Used 59857, Requested 770. Please try again in 627ms."). Does not belong here: headers (``voice.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.provider.answers import Refusal, Why
from benchmarks.provider.durations import go_duration, spelled_duration
from benchmarks.provider.meters import Reading
from benchmarks.provider.spec import DAY_S, Dialect, Dimension

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spoken:
    """A refusal and what may be said of it: ``stated`` is the limit as it is told, ``wait_s`` the wait as it is told;
    ``retry_info_s`` is the wait where it belongs into Gemini's ``RetryInfo``."""

    refusal: Refusal
    reading: Reading | None
    stated: float
    wait_s: float | None
    retry_info_s: float | None
    model: str

    @property
    def why(self) -> Why:
        return self.refusal.why

    @property
    def dimension(self) -> Dimension:
        return Dimension.REQUESTS if self.reading is None else self.reading.limit.dimension

    @property
    def is_daily(self) -> bool:
        return self.reading is not None and self.reading.limit.per_s == DAY_S


def status_of(dialect: Dialect, why: Why) -> int:
    """The status of a refusal, unless something else is asked for."""
    if why is Why.OVERLOADED:
        return 529 if dialect is Dialect.ANTHROPIC else 503
    if why is Why.OUTAGE:
        return 500
    if why is Why.TOO_LARGE and dialect is Dialect.GROQ:
        return 413
    if why is Why.BILLING and dialect in (Dialect.GROQ, Dialect.MISTRAL, Dialect.CEREBRAS, Dialect.SILENT):
        return 402
    return 429


def body_of(dialect: Dialect, spoken: Spoken, status: int) -> Body:
    """The decoded body of a refusal."""
    return _BODIES[dialect](spoken, status)


_PER = {
    Dimension.REQUESTS: ("requests", "R"),
    Dimension.TOKENS: ("tokens", "T"),
    Dimension.INPUT: ("input tokens", "IT"),
    Dimension.OUTPUT: ("output tokens", "OT"),
}


def _openai_sentence(spoken: Spoken) -> str:
    """Used and requested are what they are in the arithmetic: (used + requested - limit) / rate is the wait."""
    word, letters = _PER[spoken.dimension]
    span = "day" if spoken.is_daily else "min"
    on = f"{spoken.model} in organization org-sim on {word} per {span} ({letters}P{span[0].upper()})"
    limit, requested = f"{spoken.stated:.0f}", f"{spoken.refusal.requested:.0f}"
    if spoken.why is Why.TOO_LARGE:
        return f"Request too large for {on}: Limit {limit}, Requested {requested}. The input or output tokens must be reduced."
    remaining = 0.0 if spoken.reading is None else spoken.reading.remaining
    used = math.ceil(spoken.stated - remaining - 1e-6)
    hint = "" if spoken.wait_s is None else f" Please try again in {spelled_duration(spoken.wait_s)}."
    return f"Rate limit reached for {on}: Limit {limit}, Used {used}, Requested {requested}.{hint}"


def _openai_error(message: str, kind: str, code: str | None) -> Body:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _openai(spoken: Spoken, status: int) -> Body:
    if spoken.why in (Why.RATE, Why.TOO_LARGE):
        return _openai_error(_openai_sentence(spoken), spoken.dimension.value.replace("_", "-"), "rate_limit_exceeded")
    message, kind, code = {
        Why.SLOPE: ("Traffic grew too fast. Please slow down.", "slow_down", "slow_down"),
        Why.CONCURRENCY: ("Too many requests in flight.", "concurrency", "concurrency_limit_exceeded"),
        Why.OVERLOADED: ("The server is overloaded.", "server_error", "server_is_overloaded"),
        Why.BILLING: ("You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    }.get(spoken.why, ("The server had an error.", "server_error", None))
    return _openai_error(message, kind, code)


def _azure(spoken: Spoken, status: int) -> Body:
    if spoken.why in (Why.RATE, Why.TOO_LARGE):
        wait = "" if spoken.wait_s is None else f" Please retry after {math.ceil(spoken.wait_s)} seconds."
        return {"error": {"code": "429", "message": f"Requests have exceeded the rate limit of your tier.{wait}"}}
    return _openai(spoken, status)


def _groq(spoken: Spoken, status: int) -> Body:
    if spoken.why is Why.RATE:
        body = _openai(spoken, status)
        wait = "" if spoken.wait_s is None else f" Please try again in {go_duration(spoken.wait_s)}."
        body["error"]["message"] = body["error"]["message"].split(" Please try again")[0] + wait
        return body
    return _openai(spoken, status)


def _anthropic(spoken: Spoken, status: int) -> Body:
    kind, message, detail = {
        Why.RATE: ("rate_limit_error", f"This request would exceed your rate limit of {spoken.stated:.0f} {_per_minute(spoken)}.", None),
        Why.TOO_LARGE: ("rate_limit_error", f"This request exceeds your rate limit of {spoken.stated:.0f} {_per_minute(spoken)}.", None),
        Why.SLOPE: ("rate_limit_error", "Your usage grew too fast.", "ramp_limit_exceeded"),
        Why.CONCURRENCY: ("rate_limit_error", "Too many concurrent connections.", "concurrency_limit_exceeded"),
        Why.OVERLOADED: ("overloaded_error", "Overloaded", None),
        Why.BILLING: ("rate_limit_error", "Your spend limit is reached.", "enforced_spend_limit_reached"),
    }.get(spoken.why, ("api_error", "Internal server error", None))
    details = {"details": {"error_code": detail}} if detail else {}
    return {"type": "error", "error": {"type": kind, "message": message, **details}, "request_id": "req_sim"}


def _per_minute(spoken: Spoken) -> str:
    return f"{_PER[spoken.dimension][0]} per {'day' if spoken.is_daily else 'minute'}"


def _mistral(spoken: Spoken, status: int) -> Body:
    if spoken.why in (Why.RATE, Why.TOO_LARGE, Why.SLOPE):
        kind, code = "rate_limited", "1300"
    elif spoken.why is Why.CONCURRENCY:
        kind, code = "concurrency_limit_exceeded", "1301"
    else:
        kind, code = "service_error", str(status)
    return {"object": "error", "message": kind.replace("_", " "), "type": kind, "param": None, "code": code}


_GOOGLE = "type.googleapis.com/google.rpc."


def _gemini(spoken: Spoken, status: int) -> Body:
    """All is in ``details``; a quota of zero is one that has no ``quotaValue``."""
    details: list[Body] = []
    if spoken.why is Why.CONCURRENCY and status == 429:
        details.append({"@type": f"{_GOOGLE}ErrorInfo", "reason": "MODEL_CAPACITY_EXHAUSTED", "metadata": {}})
    elif status == 429:
        details.append({"@type": f"{_GOOGLE}QuotaFailure", "violations": [_violation(spoken)]})
    if spoken.retry_info_s is not None:
        details.append({"@type": f"{_GOOGLE}RetryInfo", "retryDelay": f"{math.ceil(spoken.retry_info_s * 1e9) / 1e9:.9f}s"})
    names = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
    messages = {429: "You exceeded your current quota.", 503: "The model is overloaded."}
    message = messages.get(status, "An internal error has occurred.")
    return {"error": {"code": status, "message": message, "status": names.get(status, "INTERNAL"), "details": details}}


def _violation(spoken: Spoken) -> Body:
    metric, words = {
        Dimension.REQUESTS: ("requests", "GenerateRequests"),
        Dimension.TOKENS: ("token_count", "GenerateContentTokens"),
        Dimension.INPUT: ("input_token_count", "GenerateContentInputTokens"),
        Dimension.OUTPUT: ("output_token_count", "GenerateContentOutputTokens"),
    }[spoken.dimension]
    quota_id = f"{words}{'PerDay' if spoken.is_daily else 'PerMinute'}PerProjectPerModel"
    value = {} if spoken.why is Why.BILLING else {"quotaValue": f"{spoken.stated:.0f}"}
    return {"quotaMetric": f"generativelanguage.googleapis.com/generate_content_{metric}", "quotaId": quota_id, **value}


def _cerebras(spoken: Spoken, status: int) -> Body:
    if spoken.why in (Why.RATE, Why.TOO_LARGE, Why.SLOPE):
        word = "request" if spoken.dimension is Dimension.REQUESTS else "token"
        message = f"{word.capitalize()}s per {'day' if spoken.is_daily else 'minute'} limit exceeded - too many {word}s processed."
        return {"message": message, "type": f"too_many_{word}s_error", "param": "quota", "code": f"{word}_quota_exceeded"}
    if spoken.why in (Why.CONCURRENCY, Why.OVERLOADED):
        message = "We're experiencing high traffic right now! Please try again soon."
        return {"message": message, "type": "too_many_requests_error", "param": "queue", "code": "queue_exceeded"}
    return {"message": "Something went wrong.", "type": "server_error", "param": None, "code": None}


def _silent(spoken: Spoken, status: int) -> Body:
    return {"error": {"message": "Too many requests" if status == 429 else "Error"}}


_BODIES: dict[Dialect, Callable[[Spoken, int], Body]] = {
    Dialect.OPENAI: _openai,
    Dialect.AZURE: _azure,
    Dialect.ANTHROPIC: _anthropic,
    Dialect.GROQ: _groq,
    Dialect.MISTRAL: _mistral,
    Dialect.GEMINI: _gemini,
    Dialect.CEREBRAS: _cerebras,
    Dialect.SILENT: _silent,
    Dialect.PROSE: _openai,
}
