"""The real client libraries against a real local server: every kind of answer, one request for each call."""

from __future__ import annotations

import builtins
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from handlers.providers import CODE, Provider, Question, Subject, SummaryAndKeywords, Topics, open_provider
from scheduler.errors import (
    AIProviderError,
    AuthError,
    ConfigError,
    ContentFilteredError,
    ContextTooLongError,
    InvalidOutputError,
    InvalidRequestError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitError,
)
from scheduler.settings import ProviderSettings
from tests.support.provider_server import (
    Disconnect,
    Drip,
    Hang,
    ProviderServer,
    Reply,
    Request,
    Step,
    anthropic_answer,
    openai_answer,
)

KINDS = ["openai", "anthropic"]
SUBJECT = Subject(CODE, "parse_header", "def parse_header(line):\n    return line.split(':')", "http/cookies.py", "python", "function")
QUESTION = Question(SUBJECT, SummaryAndKeywords, "Describe it.")


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProviderServer]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    async with ProviderServer() as running:
        yield running


def opened(kind: str, server: ProviderServer, **settings: Any) -> Provider:
    base_url = server.url + ("/v1" if kind == "openai" else "")
    return open_provider(ProviderSettings(kind=kind, model="some-model", base_url=base_url, **{"timeout_s": 5.0, **settings}))


async def proved(provider: Provider, server: ProviderServer) -> Provider:
    """After one good answer an OpenAI-compatible server's dialect is known."""
    await provider.ask(QUESTION)
    server.requests.clear()
    return provider


async def failure(kind: str, server: ProviderServer, step: Step, **settings: Any) -> AIProviderError:
    """What one call raises when the server does ``step``; exactly one request was made."""
    provider = await proved(opened(kind, server, **settings), server)
    server.script(step)
    with pytest.raises(AIProviderError) as caught:
        await provider.ask(QUESTION)
    await provider.aclose()
    assert len(server.requests) == 1
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
async def test_a_good_answer_arrives_in_the_asked_for_shape(kind: str, server: ProviderServer) -> None:
    provider = opened(kind, server)
    answer = await provider.ask(QUESTION)
    assert answer == SummaryAndKeywords(summary="Parses a header line.", keywords=["header", "parsing"])
    topics = await provider.ask(Question(SUBJECT, Topics, "Sort it."))
    assert topics == Topics(topics=["http"])
    assert provider.model == f"{kind}:some-model"
    assert len(server.requests) == 2
    await provider.aclose()


async def test_openai_is_asked_with_a_strict_schema_the_prompt_and_the_subject(server: ProviderServer) -> None:
    provider = opened("openai", server, max_output_tokens=321)
    await provider.ask(QUESTION)
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer sk-test"
    assert request.body["model"] == "some-model"
    assert request.body["max_tokens"] == 321
    form = request.body["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["required"] == ["summary", "keywords"]
    assert form["schema"]["additionalProperties"] is False
    system, user = request.body["messages"]
    assert system == {"role": "system", "content": "Describe it."}
    assert "def parse_header(line):" in user["content"]
    assert "path: http/cookies.py" in user["content"]
    await provider.aclose()


async def test_anthropic_is_asked_with_a_forced_tool(server: ProviderServer) -> None:
    provider = opened("anthropic", server, max_output_tokens=321)
    await provider.ask(QUESTION)
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/messages")
    # which of the two headers carries the key is the client's matter
    assert request.headers.get("x-api-key") == "sk-test" or request.headers.get("authorization") == "Bearer sk-test"
    assert request.body["max_tokens"] == 321
    assert request.body["system"] == "Describe it."
    assert request.body["tool_choice"] == {"type": "tool", "name": request.body["tools"][0]["name"]}
    assert request.body["tools"][0]["input_schema"]["required"] == ["summary", "keywords"]
    await provider.aclose()


def openai(status: int, code: str | None, headers: dict[str, str] | None = None, kind: str = "x") -> Reply:
    return Reply(status, headers or {}, {"error": {"message": "no", "type": kind, "param": None, "code": code}})


def anthropic(status: int, kind: str, headers: dict[str, str] | None = None, **details: str) -> Reply:
    error: dict[str, Any] = {"type": kind, "message": "no"} | ({"details": details} if details else {})
    return Reply(status, headers or {}, {"type": "error", "error": error})


def gemini(*details: dict[str, Any]) -> Reply:
    return Reply(429, {}, [{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": list(details)}}])


def quota(quota_id: str, value: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id, "quotaValue": value}]}


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "57.238747106s"}
CAPACITY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "MODEL_CAPACITY_EXHAUSTED"}
AZURE_FILTER = {"error": {"code": None, "message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}
CEREBRAS_QUEUE = {"message": "no", "type": "too_many_requests_error", "param": "queue", "code": "queue_exceeded"}
LLAMA = {"error": {"code": 400, "message": "no", "type": "exceed_context_size_error", "n_ctx": 4096}}
RATE_HTTP_DATE = {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}

ROWS: list[tuple[str, str, Reply, type[AIProviderError], float | None]] = [
    ("openai", "rate limit in ms", openai(429, "rate_limit_exceeded", {"retry-after-ms": "627"}), RateLimitError, 0.627),
    ("openai", "rate limit until a date gone by", openai(429, "rate_limit_exceeded", RATE_HTTP_DATE), RateLimitError, 0.0),
    ("openai", "out of money", openai(429, "insufficient_quota", {"retry-after": "1"}), QuotaExhaustedError, None),
    ("openai", "spend limit", openai(429, "project_spend_limit_exceeded"), QuotaExhaustedError, None),
    ("openai", "overloaded", openai(503, "server_is_overloaded"), OverloadedError, None),
    ("openai", "context", openai(400, "context_length_exceeded"), ContextTooLongError, None),
    ("openai", "policy", openai(400, "content_policy_violation"), ContentFilteredError, None),
    ("openai", "key", openai(401, "invalid_api_key"), AuthError, None),
    ("openai", "forbidden", openai(403, None), AuthError, None),
    ("openai", "model", openai(404, "model_not_found"), InvalidRequestError, None),
    ("openai", "bad request", openai(400, "unsupported_value"), InvalidRequestError, None),
    ("openai", "unprocessable", Reply(422, {}, {"detail": "no"}), InvalidRequestError, None),
    ("openai", "outage", openai(500, "server_error", {"retry-after": "3"}), AIProviderError, 3.0),
    ("openai", "conflict", openai(409, None), AIProviderError, None),
    ("openai", "time-out", openai(408, None), AIProviderError, None),
    ("openai", "gateway page", Reply(502, {}, "<html>Bad Gateway</html>"), AIProviderError, None),
    ("openai", "insists on a retry", openai(500, None, {"x-should-retry": "true"}), AIProviderError, None),
    ("openai", "Azure rate limit", openai(429, "429", {"retry-after-ms": "1500"}), RateLimitError, 1.5),
    ("openai", "Azure filter", Reply(400, {}, AZURE_FILTER), ContentFilteredError, None),
    ("openai", "Gemini minute", gemini(quota("PerMinute", "15"), RETRY_INFO), RateLimitError, 57.238747106),
    ("openai", "Gemini day", gemini(quota("RequestsPerDay", "20"), RETRY_INFO), QuotaExhaustedError, None),
    ("openai", "Gemini limit 0", gemini(quota("PerMinute", "0"), RETRY_INFO), QuotaExhaustedError, None),
    ("openai", "Gemini capacity", gemini(CAPACITY), OverloadedError, None),
    ("openai", "Groq over TPM", openai(413, "rate_limit_exceeded", {"retry-after": "5"}, "tokens"), ContextTooLongError, 5.0),
    ("openai", "Mistral", Reply(429, {}, {"object": "error", "message": "no", "code": "1300"}), RateLimitError, None),
    ("openai", "Cerebras queue", Reply(429, {"x-should-retry": "false"}, CEREBRAS_QUEUE), OverloadedError, None),
    ("openai", "OpenRouter credits", Reply(402, {}, {"error": {"code": 402, "message": "no"}}), QuotaExhaustedError, None),
    ("openai", "OpenRouter 200", Reply(200, {}, {"error": {"code": 429, "message": "no"}}), RateLimitError, None),
    ("openai", "Ollama busy", Reply(503, {}, {"error": "server busy, please try again"}), OverloadedError, None),
    ("openai", "llama.cpp context", Reply(400, {}, LLAMA), ContextTooLongError, None),
    ("openai", "garbage", Reply(200, {"content-type": "application/json"}, b"\xff\x00 not json {"), AIProviderError, None),
    ("openai", "a page", Reply(200, {"content-type": "text/html"}, "<html>hello</html>"), AIProviderError, None),
    ("openai", "an empty body", Reply(200, {"content-type": "application/json"}, b""), AIProviderError, None),
    ("openai", "another shape", Reply(200, {}, {"choices": [{"message": "no"}]}), InvalidOutputError, None),
    ("openai", "no choices", Reply(200, {}, {"choices": []}), InvalidOutputError, None),
    ("openai", "a redirect nowhere", Reply(304), InvalidRequestError, None),
    ("anthropic", "rate limit", anthropic(429, "rate_limit_error", {"retry-after": "12"}), RateLimitError, 12.0),
    ("anthropic", "spend limit", anthropic(429, "rate_limit_error", error_code="enforced_spend_limit_reached"), QuotaExhaustedError, None),
    (
        "anthropic",
        "400 spend limit",
        anthropic(400, "invalid_request_error", error_code="contract_spend_limit_reached"),
        QuotaExhaustedError,
        None,
    ),
    ("anthropic", "billing", anthropic(402, "billing_error"), QuotaExhaustedError, None),
    ("anthropic", "overloaded", anthropic(529, "overloaded_error"), OverloadedError, None),
    ("anthropic", "too large", anthropic(413, "request_too_large"), ContextTooLongError, None),
    ("anthropic", "key", anthropic(401, "authentication_error"), AuthError, None),
    ("anthropic", "forbidden", anthropic(403, "permission_error"), AuthError, None),
    ("anthropic", "model", anthropic(404, "not_found_error"), InvalidRequestError, None),
    ("anthropic", "bad request", anthropic(400, "invalid_request_error"), InvalidRequestError, None),
    ("anthropic", "outage", anthropic(500, "api_error"), AIProviderError, None),
    ("anthropic", "time-out", anthropic(504, "timeout_error"), AIProviderError, None),
    ("anthropic", "Bedrock throttling", Reply(429, {"x-amz-retry-after": "2500"}, {"message": "no"}), RateLimitError, 2.5),
    ("anthropic", "garbage", Reply(200, {"content-type": "application/json"}, b"{{{{"), AIProviderError, None),
    ("anthropic", "a page", Reply(200, {"content-type": "text/html"}, "<html>hello</html>"), AIProviderError, None),
    ("anthropic", "an error in a 200", Reply(200, {}, {"type": "error", "error": {"type": "overloaded_error"}}), OverloadedError, None),
]


@pytest.mark.parametrize(("kind", "name", "reply", "expected", "wait_s"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS])
async def test_each_answer_becomes_its_error_after_one_request(
    kind: str, name: str, reply: Reply, expected: type[AIProviderError], wait_s: float | None, server: ProviderServer
) -> None:
    error = await failure(kind, server, reply)
    assert type(error) is expected
    assert error.retry_after_s == (pytest.approx(wait_s) if wait_s is not None else None)
    assert error.__cause__ is not None or expected is InvalidOutputError  # the client's own error is kept for the log


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after_bytes", [0, 30, 200], ids=["at once", "in the headers", "in the body"])
async def test_a_connection_that_breaks_is_a_passing_failure(kind: str, after_bytes: int, server: ProviderServer) -> None:
    error = await failure(kind, server, Disconnect(Reply(200, {}, {"padding": "x" * 2_000}), after_bytes))
    assert type(error) is AIProviderError
    assert error.__cause__ is not None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_provider_that_hangs_is_given_up_after_the_time_limit(kind: str, server: ProviderServer) -> None:
    provider = opened(kind, server, timeout_s=0.1)
    server.script(Hang())
    with pytest.raises(AIProviderError) as caught:
        await provider.ask(QUESTION)
    assert type(caught.value) is AIProviderError
    assert len(server.requests) == 1
    await provider.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_provider_that_drips_for_ever_is_given_up_after_the_same_limit(kind: str, server: ProviderServer) -> None:
    """A client's own time-out starts again with every byte; the limit of a call must not."""
    provider = opened(kind, server, timeout_s=0.2)
    server.script(Drip(Reply(200, {"content-length": "1000000000000"}, "{"), endless=True))
    with pytest.raises(AIProviderError) as caught:
        await provider.ask(QUESTION)
    assert type(caught.value) is AIProviderError
    assert len(server.requests) == 1
    await provider.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_listening_is_a_passing_failure(kind: str, server: ProviderServer) -> None:
    provider = opened(kind, server)
    await server.__aexit__(None, None, None)
    with pytest.raises(AIProviderError) as caught:
        await provider.ask(QUESTION)
    assert type(caught.value) is AIProviderError
    await provider.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_drips_in_is_put_together(kind: str, server: ProviderServer) -> None:
    provider = await proved(opened(kind, server), server)
    content = json.dumps({"summary": "S.", "keywords": []})
    asked = Request("POST", "", {}, {"model": "m"})
    used = [{"type": "tool_use", "id": "t", "name": "record_answer", "input": json.loads(content)}]
    server.script(Drip(openai_answer(asked, content) if kind == "openai" else anthropic_answer(asked, content=used)))
    assert await provider.ask(QUESTION) == SummaryAndKeywords(summary="S.", keywords=[])
    assert len(server.requests) == 1
    await provider.aclose()


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (lambda request: openai_answer(request, "", refusal="I cannot help with that."), ContentFilteredError),
        (lambda request: openai_answer(request, "", "content_filter"), ContentFilteredError),
        (lambda request: openai_answer(request, '{"summary": "cut', "length"), InvalidOutputError),
        (lambda request: openai_answer(request, "not JSON"), InvalidOutputError),
        (lambda request: openai_answer(request, '{"summary": 1, "keywords": []}'), InvalidOutputError),
        (lambda request: openai_answer(request, '{"summary": "S."}'), InvalidOutputError),
    ],
    ids=["refusal", "filter", "cut at our limit", "prose", "wrong type", "field missing"],
)
async def test_openai_s_other_endings_have_their_errors(step: Step, expected: type[AIProviderError], server: ProviderServer) -> None:
    assert type(await failure("openai", server, step)) is expected


async def test_an_answer_cut_before_our_limit_means_that_the_context_was_full(server: ProviderServer) -> None:
    error = await failure("openai", server, lambda request: openai_answer(request, "{", "length"), max_output_tokens=801)
    assert type(error) is ContextTooLongError


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (lambda request: anthropic_answer(request, "refusal", []), ContentFilteredError),
        (lambda request: anthropic_answer(request, "max_tokens"), InvalidOutputError),
        (lambda request: anthropic_answer(request, "model_context_window_exceeded"), ContextTooLongError),
        (lambda request: anthropic_answer(request, "end_turn", [{"type": "text", "text": "Hello"}]), InvalidOutputError),
        (
            lambda request: anthropic_answer(request, content=[{"type": "tool_use", "id": "t", "name": "record_answer", "input": {}}]),
            InvalidOutputError,
        ),
    ],
    ids=["refusal", "cut", "context", "prose", "fields missing"],
)
async def test_anthropic_s_other_endings_have_their_errors(step: Step, expected: type[AIProviderError], server: ProviderServer) -> None:
    assert type(await failure("anthropic", server, step)) is expected


async def test_a_server_without_schemas_is_asked_in_plainer_dialects_until_one_works(server: ProviderServer) -> None:
    provider = opened("openai", server)
    no = openai(400, "invalid_request_error")
    fenced = '```json\n{"summary": "S.", "keywords": ["k"]}\n```'
    server.script(no, no, no, lambda request: openai_answer(request, fenced))
    assert (await provider.ask(QUESTION)).keywords == ["k"]
    forms = [request.body.get("response_format", {}).get("type") for request in server.requests]
    assert forms == ["json_schema", "json_schema", "json_object", None]
    assert [("max_tokens" in request.body) for request in server.requests] == [True, False, True, True]
    assert '"summary"' in server.requests[-1].body["messages"][0]["content"].replace("'", '"')
    server.script(lambda request: openai_answer(request, fenced))
    await provider.ask(QUESTION)
    assert len(server.requests) == 5  # the dialect is remembered
    await provider.aclose()


async def test_a_request_that_no_dialect_makes_right_raises_the_first_refusal(server: ProviderServer) -> None:
    provider = opened("openai", server)
    server.script(*[openai(400, code) for code in ("first", "second", "third", "fourth")])
    with pytest.raises(InvalidRequestError) as caught:
        await provider.ask(QUESTION)
    assert getattr(caught.value.__cause__, "code", None) == "first"
    assert len(server.requests) == 4
    await provider.aclose()


async def test_a_rate_limit_is_not_asked_again_in_another_dialect(server: ProviderServer) -> None:
    provider = opened("openai", server)
    server.script(openai(429, "rate_limit_exceeded"))
    with pytest.raises(RateLimitError):
        await provider.ask(QUESTION)
    assert len(server.requests) == 1
    await provider.aclose()


@pytest.mark.parametrize(("kind", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")])
def test_a_missing_key_names_its_variable(kind: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match=variable):
        open_provider(ProviderSettings(kind=kind))
    with pytest.raises(ConfigError, match="MY_OWN_KEY"):
        open_provider(ProviderSettings(kind=kind, base_url="http://127.0.0.1:1", api_key_env="MY_OWN_KEY"))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_of_one_s_own_needs_no_key(kind: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable)
    provider = opened(kind, server)
    assert (await provider.ask(QUESTION)).summary
    await provider.aclose()


@pytest.mark.parametrize(("kind", "module"), [("openai", "openai"), ("anthropic", "anthropic"), ("local", "handlers.providers.local")])
def test_a_missing_library_names_the_extra_to_install(kind: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == module:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=rf"ai-job-scheduler\[{kind}\]"):
        open_provider(ProviderSettings(kind=kind))
