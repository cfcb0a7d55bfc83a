"""One provider answer, read: status, code words, waits and quotas, wherever the provider puts them. Pure.

Bodies come in a dozen shapes and any of them may be garbage, so reading looks only into known
places, is bounded, and never fails. Does not belong here: which error it is (``answers.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.pools.headers import clamped_s, duration_s, lowered, retry_after_s
from scheduler.values import decode_json

_CODE_KEYS = ("code", "type", "__type", "status", "reason", "error_code", "error")
_CODE_WORD = re.compile(r"[\w.#:/-]{1,200}", re.ASCII)
_TEXT_KEYS = ("message", "error_description", "detail", "error", "Message")
_MAX_BODY_CHARS = 1_000_000
_MAX_ITEMS = 50

#: Where errors nest: OpenAI ``error``; Azure ``error.innererror``; Anthropic ``error.details``;
#: Gemini ``error.details[]``; Google's older ``error.errors[]``; botocore ``Error``; OpenRouter ``error.metadata``.
_NESTS = ("error", "innererror", "details", "errors", "Error", "metadata")
_DEPTH = 4

#: What a 429 of OpenAI and Groq, or of Cerebras (recalled), calls the exhausted dimension.
_DIMENSIONS = frozenset({"tokens", "requests", "input-tokens", "output-tokens", "token_quota_exceeded", "request_quota_exceeded"})


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says. ``codes`` are its code words, lower case; ``message`` is for people only.

    ``status`` is the HTTP status, or the one that the body of a 200 reports. ``dimension`` names
    the limit that was hit, where it is said. ``daily_or_zero_quota``: no wait of minutes will help.
    ``quotas`` are the names and values of the quotas that the body says were hit (Gemini, Vertex). ``is_json``: there was
    an object to read.
    """

    status: int
    codes: frozenset[str]
    message: str
    retry_after_s: float | None
    dimension: str | None
    daily_or_zero_quota: bool
    quotas: tuple[tuple[str, str], ...]
    is_json: bool = True

    def has(self, codes: frozenset[str]) -> bool:
        return not self.codes.isdisjoint(codes)

    def sentence(self) -> str:
        """One line for people: status, limit, the provider's own words."""
        limit = f" (limit: {self.dimension})" if self.dimension else ""
        return f"the provider answered {self.status}{limit}" + (f": {self.message}" if self.message else "")


def read_answer(status_code: int, headers: Mapping[str, str], body: object, now: float) -> Said:
    """Read an answer; ``body`` is decoded JSON, text or bytes."""
    heads = lowered(headers)
    decoded = _decoded(body)
    tables = list(_tables(decoded, _DEPTH))[:_MAX_ITEMS]
    codes = {_word(table.get(key)) for table in tables for key in _CODE_KEYS}
    codes.add(_word(heads.get("x-amzn-errortype", "").split(":")[0]))  # Bedrock: "ThrottlingException:http://..."
    codes.add(_word(heads.get("x-ratelimit-type")))  # GitHub Models names the limit here
    if any(table.get("flagged_input") for table in tables):  # OpenRouter's moderation answers 403
        codes.add("flagged_input")
    status = status_code if isinstance(status_code, int) else 0
    violations = [each for table in tables for each in _items(table.get("violations"))]
    quotas = _quotas(tables, violations)
    wait_s = retry_after_s(heads, now)
    return Said(
        status=_reported_status(tables, status) if 200 <= status < 300 else status,
        codes=frozenset(code for code in codes if code),
        message=_message(tables, decoded),
        retry_after_s=_retry_delay_s(tables) if wait_s is None else wait_s,
        dimension=_dimension(heads, quotas, codes),
        daily_or_zero_quota=_is_daily_or_zero(tables, violations),
        is_json=bool(tables),
        quotas=quotas,
    )


def _decoded(body: object) -> object:
    if isinstance(body, bytes | bytearray):
        body = bytes(body[:_MAX_BODY_CHARS]).decode("utf-8", "replace")
    if not isinstance(body, str) or len(body) > _MAX_BODY_CHARS:
        return body
    try:
        return decode_json(body)
    except ValueError:
        return body


def _tables(value: object, depth: int) -> Iterator[Mapping[str, Any]]:
    """The objects of a body in which codes may stand, outermost first."""
    if depth < 0:
        return
    if isinstance(value, Mapping):
        yield value
        for nest in _NESTS:
            yield from _tables(value.get(nest), depth - 1)
    elif isinstance(value, list | tuple):  # Gemini wraps errors of streams in a list
        for item in value[:_MAX_ITEMS]:
            yield from _tables(item, depth - 1)


def _items(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value[:_MAX_ITEMS] if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _word(value: object) -> str:
    """A code word in lower case, without Amazon's namespace; "" for prose and everything else."""
    if not isinstance(value, str) or not _CODE_WORD.fullmatch(value):
        return ""
    return value.rsplit("#", 1)[-1].lower()


def _reported_status(tables: list[Mapping[str, Any]], status: int) -> int:
    """The status that an error inside a 200 names (OpenRouter: ``{"error": {"code": 429}}``)."""
    for table in tables:
        inner = table.get("error")
        code = inner.get("code") if isinstance(inner, Mapping) else None
        if isinstance(code, int) and 400 <= code < 600:
            return code
    return status


def _retry_delay_s(tables: list[Mapping[str, Any]]) -> float | None:
    """Gemini's ``google.rpc.RetryInfo.retryDelay``; it sends no Retry-After header."""
    for table in tables:
        delay = table.get("retryDelay")
        wait_s = duration_s(delay) if isinstance(delay, str) else None
        if wait_s is not None:
            return clamped_s(wait_s)
    return None


def _is_daily_or_zero(tables: list[Mapping[str, Any]], violations: list[Mapping[str, Any]]) -> bool:
    """Whether Gemini's ``QuotaFailure`` (or ``ErrorInfo``) names a day's quota, or one of zero.

    ``quotaValue`` is a protobuf int64: JSON leaves it out when it is 0, which is how the free tier
    says "limit: 0" for a model that it does not offer.
    """
    for violation in violations:
        quota_id = violation.get("quotaId")
        if isinstance(quota_id, str) and ("PerDay" in quota_id or violation.get("quotaValue", 0) in (0, "0")):
            return True
    limits = [table for table in tables if isinstance(table.get("quota_limit"), str)]
    return any("PerDay" in table["quota_limit"] or table.get("quota_limit_value") in (0, "0") for table in limits)


def _quotas(tables: list[Mapping[str, Any]], violations: list[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Gemini's violations, then Vertex's ``ErrorInfo`` metadata; "" for a value that is not said."""
    named = [(each.get("quotaId"), each.get("quotaValue")) for each in violations]
    named += [(each.get("quota_limit"), each.get("quota_limit_value")) for each in tables]
    return tuple((name[:100], _digits(value)) for name, value in named[:_MAX_ITEMS] if isinstance(name, str) and name)


def _digits(value: object) -> str:
    """A protobuf int64, which JSON writes as text; some gateways turn it into a number."""
    return value[:100] if isinstance(value, str) else str(value) if isinstance(value, int) and 0 <= value < 2**63 else ""


def _dimension(heads: Mapping[str, str], quotas: tuple[tuple[str, str], ...], codes: set[str]) -> str | None:
    if quotas:
        return quotas[0][0]
    named = heads.get("x-ratelimit-type") or next(iter(sorted(codes & _DIMENSIONS)), None)
    return named[:100] if named else None


def _message(tables: list[Mapping[str, Any]], decoded: object) -> str:
    """The provider's own words, innermost error first; the bare text of a body that is no JSON."""
    for table in tables[1:] + tables[:1]:
        for key in _TEXT_KEYS:
            if isinstance(table.get(key), str) and table[key].strip():
                return " ".join(table[key][:1_000].split())
    return " ".join(decoded[:300].split()) if isinstance(decoded, str) else ""
