"""A failed answer as the exception a client library would have raised, for callers without a network. Pure.

Shaped like the errors of openai and anthropic (``status_code``, ``response``, ``body``), so that
``scheduler.pools.thrown`` reads it as it reads theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.provider.answers import Answer


@dataclass(frozen=True, slots=True)
class SimulatedResponse:
    """The raw response; header names are in lower case."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class SimulatedError(Exception):
    """An answer that is an error. ``body`` is decoded, without the envelope that openai's client takes off."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"Error code: {answer.status}")
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.status_code = answer.status
        self.response = SimulatedResponse(answer.status, answer.headers, content)
        self.body: Any = _unwrapped(answer.body)


def as_exception(answer: Answer) -> Exception:
    """What the caller of a client would catch. Raises ``ValueError`` for a good answer, which nobody would."""
    if answer.is_good:
        raise ValueError("a good answer is no exception: look at 'answer.is_good' first")
    if answer.fate == "hang":
        return TimeoutError("the provider did not answer in time")
    if answer.fate == "disconnect":
        return ConnectionResetError("the provider closed the connection")
    return SimulatedError(answer)


def _unwrapped(body: dict[str, Any] | bytes) -> Any:
    """OpenAI's client hands out what is inside ``error``; Anthropic's hands out everything."""
    if isinstance(body, dict) and isinstance(body.get("error"), dict) and "type" not in body:
        return body["error"]
    return body
