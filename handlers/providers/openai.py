"""OpenAI, and every server that speaks its chat protocol (Azure, Ollama, vLLM, LiteLLM, llama.cpp ...).

The official client carries the request; its own retries are off, because the scheduler's pauses
and backoff are the only ones that know of the other jobs. The answer is read from the raw response
and validated here: compatible servers are not equally faithful to the types of the client.

Servers differ in how they can be asked for JSON. The *dialects* are tried from the strictest down
while a server answers "invalid request"; the first that works is kept, and from then on an invalid
request is an invalid request.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from handlers.providers.chat import api_key, call_limit_s, estimated_tokens, missing_extra, one_call, rendered, usage_in, validated
from handlers.providers.port import A, Question
from scheduler.calls import UNPACED, JobPool
from scheduler.clock import Clock, SystemClock
from scheduler.errors import AIProviderError, ContentFilteredError, ContextTooLongError, InvalidOutputError, InvalidRequestError
from scheduler.pools.answers import error_from_answer
from scheduler.settings import ProviderSettings

DEFAULT_MODEL = "gpt-4.1-mini"

_SCHEMA, _OBJECT, _PROSE = "json_schema", "json_object", "prose"
#: (how JSON is asked for, how the longest answer is named), strictest first.
_OWN_DIALECTS = ((_SCHEMA, "max_completion_tokens"), (_OBJECT, "max_completion_tokens"))
#: Older servers ignore ``max_completion_tokens`` silently and would write without end: ask the old way first.
_COMPATIBLE_DIALECTS = ((_SCHEMA, "max_tokens"), (_SCHEMA, "max_completion_tokens"), (_OBJECT, "max_tokens"), (_PROSE, "max_tokens"))


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    completion_tokens: int | None = None


class _Completion(BaseModel):
    """The part of a chat completion that is read; anything else may be as the server likes it."""

    choices: list[_Choice]
    usage: _Usage | None = None


class OpenAIProvider:
    """One client for all handlers. Raises ``ConfigError`` when made without the extra or a key."""

    def __init__(self, settings: ProviderSettings, clock: Clock | None = None) -> None:
        try:
            from openai import AsyncOpenAI  # an optional extra: only who chooses this provider needs it
        except ImportError as error:
            raise missing_extra("openai") from error
        key = api_key(settings.api_key_env, "OPENAI_API_KEY", needed=not settings.base_url)
        self._limit_s = call_limit_s(settings)
        self._client = AsyncOpenAI(api_key=key or "none-needed", base_url=settings.base_url or None, timeout=self._limit_s, max_retries=0)
        self._clock = clock or SystemClock()
        self._model = settings.model or DEFAULT_MODEL
        self._max_output_tokens = settings.max_output_tokens
        self._dialects: tuple[tuple[str, str], ...] = _COMPATIBLE_DIALECTS if settings.base_url else _OWN_DIALECTS
        self._settled = False

    @property
    def model(self) -> str:
        return f"openai:{self._model}"

    async def ask(self, question: Question[A], pool: JobPool = UNPACED) -> A:
        """One request (more only until the server's dialect is known). Raises ``AIProviderError`` and its kinds."""
        refused: InvalidRequestError | None = None
        for dialect in self._dialects:
            try:
                raw = await self._send(question, dialect, pool)
            except InvalidRequestError as error:
                refused = refused or error
                if self._settled or _status(error) not in (400, 422):
                    raise
                continue
            self._dialects, self._settled = (dialect,), True
            return self._read(question, raw)
        raise refused or InvalidRequestError("the server accepts no dialect of the chat protocol")

    async def aclose(self) -> None:
        await self._client.close()

    async def _send(self, question: Question[A], dialect: tuple[str, str], pool: JobPool) -> bytes:
        form, limit_name = dialect
        request: dict[str, Any] = {limit_name: self._max_output_tokens}
        if form != _PROSE:
            request["response_format"] = _response_format(form, question.answer)
        system = question.instructions
        if form != _SCHEMA:  # the schema cannot be enforced: tell it
            system += f"\n\nAnswer with one JSON object of this schema and nothing else:\n{question.answer.model_json_schema()}"
        text = rendered(question.subject)
        messages: Any = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        tokens = estimated_tokens(system, text) + self._max_output_tokens
        async with pool.request(tokens, output_tokens=self._max_output_tokens) as call, one_call(self._clock, self._limit_s):
            response = await self._client.chat.completions.with_raw_response.create(model=self._model, messages=messages, **request)
            content: bytes = response.http_response.content
            call.observe(usage_in(content), response.headers)
        return content

    def _read(self, question: Question[A], raw: bytes) -> A:
        try:
            completion = _Completion.model_validate_json(raw)
        except ValidationError as error:
            raise error_from_answer(200, {}, raw, self._clock.now()) from error  # OpenRouter reports errors inside a 200
        if not completion.choices:
            raise InvalidOutputError("the model's answer has no choices")
        choice = completion.choices[0]
        self._refuse(choice, completion.usage)
        return validated(question, choice.message.content or "", as_json=True)

    def _refuse(self, choice: _Choice, usage: _Usage | None) -> None:
        """Raise what the end of the answer stands for, unless it is a good one."""
        if choice.message.refusal:
            raise ContentFilteredError(f"the model refused: {choice.message.refusal[:300]}")
        if choice.finish_reason == "content_filter":
            raise ContentFilteredError("the provider's content filter stopped the answer")
        if choice.finish_reason == "length":
            raise self._cut_short(usage)

    def _cut_short(self, usage: _Usage | None) -> AIProviderError:
        """Cut at our limit: another try may be briefer. Cut before it: the context itself was full."""
        written = usage.completion_tokens if usage else None
        if written is not None and written < self._max_output_tokens:
            return ContextTooLongError(f"the context was full after {written} tokens of answer: use a model with a longer one")
        return InvalidOutputError(f"the answer was cut at {self._max_output_tokens} tokens: raise [provider] max_output_tokens")


def _response_format(form: str, answer: type[BaseModel]) -> dict[str, Any]:
    if form == _OBJECT:
        return {"type": "json_object"}
    schema = {"name": answer.__name__, "strict": True, "schema": answer.model_json_schema()}
    return {"type": "json_schema", "json_schema": schema}


def _status(error: AIProviderError) -> int | None:
    """The status code of the client's error behind ours."""
    return getattr(error.__cause__, "status_code", None)
