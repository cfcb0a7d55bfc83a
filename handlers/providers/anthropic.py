"""Anthropic's Messages API through the official client, its own retries off.

Structured output is a tool that the model must use: the answer's JSON schema is the tool's input.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, ValidationError

from handlers.providers.chat import api_key, call_limit_s, estimated_tokens, missing_extra, one_call, rendered, usage_in, validated
from handlers.providers.port import A, Question
from scheduler.calls import UNPACED, JobPool
from scheduler.clock import Clock, SystemClock
from scheduler.errors import ContentFilteredError, ContextTooLongError, InvalidOutputError
from scheduler.pools.answers import error_from_answer
from scheduler.settings import ProviderSettings

DEFAULT_MODEL = "claude-haiku-4-5"
_TOOL = "record_answer"


class _Block(BaseModel):
    type: str
    name: str | None = None
    input: Any = None


class _Reply(BaseModel):
    """The part of a message that is read."""

    content: list[_Block] = Field(default_factory=list)
    stop_reason: str


class AnthropicProvider:
    """One client for all handlers. Raises ``ConfigError`` when made without the extra or a key."""

    def __init__(self, settings: ProviderSettings, clock: Clock | None = None) -> None:
        try:
            from anthropic import AsyncAnthropic  # an optional extra: only who chooses this provider needs it
        except ImportError as error:
            raise missing_extra("anthropic") from error
        key = api_key(settings.api_key_env, "ANTHROPIC_API_KEY", needed=not settings.base_url)
        self._limit_s = call_limit_s(settings)
        self._client = AsyncAnthropic(
            api_key=key or "none-needed", base_url=settings.base_url or None, timeout=self._limit_s, max_retries=0
        )
        self._clock = clock or SystemClock()
        self._model = settings.model or DEFAULT_MODEL
        self._max_output_tokens = settings.max_output_tokens

    @property
    def model(self) -> str:
        return f"anthropic:{self._model}"

    async def ask(self, question: Question[A], pool: JobPool = UNPACED) -> A:
        """One request. Raises ``AIProviderError`` and its kinds."""
        tool: Any = {"name": _TOOL, "description": "Record the answer.", "input_schema": question.answer.model_json_schema()}
        text = rendered(question.subject)
        messages: Any = [{"role": "user", "content": text}]
        tokens = estimated_tokens(question.instructions, text) + self._max_output_tokens
        async with pool.request(tokens, output_tokens=self._max_output_tokens) as call, one_call(self._clock, self._limit_s):
            response = await self._client.messages.with_raw_response.create(
                model=self._model,
                max_tokens=self._max_output_tokens,
                system=question.instructions,
                messages=messages,
                tools=[tool],
                tool_choice={"type": "tool", "name": _TOOL},
            )
            raw: bytes = response.http_response.content
            call.observe(usage_in(raw), response.headers)
        return self._read(question, raw)

    async def aclose(self) -> None:
        await self._client.close()

    def _read(self, question: Question[A], raw: bytes) -> A:
        try:
            reply = _Reply.model_validate_json(raw)
        except ValidationError as error:
            raise error_from_answer(200, {}, raw, self._clock.now()) from error
        if reply.stop_reason == "refusal":
            raise ContentFilteredError("the model refused to answer")
        if reply.stop_reason == "model_context_window_exceeded":
            raise ContextTooLongError("the context was full before the answer was whole: use a model with a longer one")
        if reply.stop_reason == "max_tokens":
            raise InvalidOutputError(f"the answer was cut at {self._max_output_tokens} tokens: raise [provider] max_output_tokens")
        used = next((block for block in reply.content if block.type == "tool_use" and block.name == _TOOL), None)
        if used is None:
            raise InvalidOutputError("the model answered without recording an answer")
        return validated(question, used.input, as_json=False)
