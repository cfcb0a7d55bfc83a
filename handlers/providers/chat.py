"""What all chat models share: the text they are given, the shape of what they must say, their errors.

Does not belong here: a provider's protocol (``openai.py``, ``anthropic.py``).
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from pydantic import ValidationError

from handlers.providers.port import A, Question, Subject
from scheduler.clock import Clock
from scheduler.errors import ConfigError, InvalidOutputError
from scheduler.pools.answers import error_from_exception
from scheduler.settings import ProviderSettings
from scheduler.values import decode_json

#: The longest subject sent, in characters: about 6,000 tokens, which fits every current chat model
#: and keeps one long file from eating a minute's token quota.
INPUT_BUDGET_CHARS = 24_000


def rendered(subject: Subject, budget_chars: int = INPUT_BUDGET_CHARS) -> str:
    """The subject as a chat model reads it: what it is, then its text between marks, cut to the budget."""
    facts = {"kind": subject.entity or subject.kind, "name": subject.title, "path": subject.path, "language": subject.language}
    head = "\n".join(f"{name}: {' '.join(value[:300].split())}" for name, value in facts.items() if value)
    body = "\n\n".join(f"{role}: {text}" for role, text in subject.messages) if subject.messages else subject.text
    options = "\n".join(f"{number}. {' '.join(option.split())}" for number, option in enumerate(subject.options, 1))
    listed = f"\n\n<options>\n{options}\n</options>" if options else ""
    return f"{head}\n\n<material>\n{cut(body, budget_chars)}\n</material>{listed}"


def cut(text: str, budget_chars: int) -> str:
    """``text`` within the budget: its beginning (two thirds) and its end, cut between lines, with a note of the gap.

    The beginning says what a thing is (signature, docstring, abstract, question), the end how it
    turns out (return, conclusion, last message).
    """
    if len(text) <= budget_chars:
        return text
    head = text[: budget_chars * 2 // 3]
    tail = text[len(text) - (budget_chars - len(head)) :]
    line_end, line_start = head.rfind("\n"), tail.find("\n")
    if line_end > len(head) // 2:
        head = head[:line_end]
    if 0 <= line_start < len(tail) // 2:
        tail = tail[line_start + 1 :]
    return f"{head}\n[... {len(text) - len(head) - len(tail):,} characters left out ...]\n{tail}"


def validated(question: Question[A], answer: Any, *, as_json: bool) -> A:
    """The model's answer in the asked-for shape. Raises ``InvalidOutputError``, which is worth another try."""
    try:
        if as_json:
            return question.answer.model_validate_json(_unfenced(answer))
        return question.answer.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise InvalidOutputError(f"the model's answer does not fit {question.answer.__name__}: {place}: {first['msg']}") from error


@asynccontextmanager
async def one_call(clock: Clock, limit_s: float | None) -> AsyncIterator[None]:
    """One call to a provider, at most ``limit_s`` seconds long; whatever a client raises becomes one of our errors.

    The clients' own time-outs start again with every byte that arrives.
    """
    try:
        with anyio.fail_after(limit_s):
            yield
    except Exception as error:
        ours = error_from_exception(error, clock.now())
        if ours is None:
            raise
        raise ours from error


def estimated_tokens(*texts: str) -> float:
    """About how many tokens ``texts`` are: four characters each, as OpenAI counts before it has counted."""
    return sum(map(len, texts)) / 4


def usage_in(raw: bytes) -> Any:
    """The ``usage`` of an answer as it came; None where there is none to be read."""
    try:
        answer = decode_json(raw.decode())
    except ValueError:
        return None
    return answer.get("usage") if isinstance(answer, dict) else None


def call_limit_s(settings: ProviderSettings) -> float | None:
    """``[provider] timeout_s``; None for inf, which sockets do not take."""
    return settings.timeout_s if math.isfinite(settings.timeout_s) else None


def api_key(configured: str, usual: str, *, needed: bool) -> str:
    """The key from the environment. Raises ``ConfigError`` naming the variable when it is needed and missing."""
    name = configured or usual
    key = os.environ.get(name, "").strip()
    if not key and (needed or configured):
        raise ConfigError(f"no API key: set the environment variable {name}, or name another one with [provider] api_key_env")
    return key


def missing_extra(kind: str) -> ConfigError:
    """The error for a provider whose libraries are not installed."""
    return ConfigError(f"[provider] kind = {kind!r} needs libraries that are not installed: pip install 'ai-job-scheduler[{kind}]'")


def _unfenced(text: str) -> str:
    """JSON out of the ```json fence that models like to put around it."""
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        return stripped[stripped.index("\n") + 1 : -3]
    return stripped
