"""What a call used, as its provider says it: a number, a pair, a mapping or a client's object. Pure.

A usage that cannot be read is "not said": the estimate then stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler.pools.messages import Cost

#: OpenAI (chat, then responses and Anthropic), Gemini, Cohere, Bedrock. Anthropic's cache reads are apart, and free on most models.
_INPUT = ("prompt_tokens", "input_tokens", "prompt_token_count", "promptTokenCount", "inputTokens")
_OUTPUT = ("completion_tokens", "output_tokens", "candidates_token_count", "candidatesTokenCount", "outputTokens")
_TOO_MANY = 10**12
_TOTAL = ("total_tokens", "total_token_count", "totalTokenCount", "totalTokens")


def read_usage(usage: object) -> Cost | None:
    """Tokens used: ``usage`` is a total, an ``(input, output)`` pair, or whatever a provider's client calls usage."""
    try:
        return _read(usage)
    except Exception:  # an object of a foreign library may do anything when it is looked at
        return None


def _read(usage: object) -> Cost | None:
    if usage is None:
        return None
    if type(usage) is tuple and len(usage) == 2:  # what those pass who read their client's answer themselves, at every call
        took, gave = usage
        if type(took) is int and type(gave) is int and 0 <= took < _TOO_MANY and 0 <= gave < _TOO_MANY:
            return Cost(float(took), float(gave))
    total = _number(usage)
    if total is not None:
        return Cost(total, 0.0)
    if isinstance(usage, tuple | list):
        pair = [_number(each) for each in usage]
        return Cost(pair[0], pair[1]) if len(pair) == 2 and pair[0] is not None and pair[1] is not None else None
    took, gave = _first(usage, _INPUT), _first(usage, _OUTPUT)
    if took is None and gave is None:
        total = _first(usage, _TOTAL)
        return None if total is None else Cost(total, 0.0)
    return Cost(took or 0.0, gave or 0.0)


def _first(usage: object, names: tuple[str, ...]) -> float | None:
    for name in names:
        found = _number(_get(usage, name))
        if found is not None:
            return found
    return None


def _get(usage: object, name: str) -> Any:
    if isinstance(usage, Mapping):
        return usage.get(name)
    try:
        return getattr(usage, name, None)
    except Exception:  # a property that raises says nothing
        return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _TOO_MANY else None
