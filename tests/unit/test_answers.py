"""From a provider's answer to an error: one row for each habit of each provider, then anything at all."""

from __future__ import annotations

import json
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import (
    AIProviderError,
    AuthError,
    ConfigError,
    ContentFilteredError,
    ContextTooLongError,
    InvalidRequestError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitError,
)
from scheduler.pools.answers import error_from_answer, error_from_exception

NOW = 1_700_000_000.0


def openai(code: str | None = None, kind: str = "invalid_request_error", message: str = "no") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, error_code: str | None = None) -> dict[str, Any]:
    details = {"details": {"error_code": error_code}} if error_code else {}
    return {"type": "error", "error": {"type": kind, "message": "no", **details}, "request_id": "req_1"}


def gemini(status: str, *details: dict[str, Any], code: int = 429) -> dict[str, Any]:
    return {"error": {"code": code, "message": "You exceeded your current quota.", "status": status, "details": list(details)}}


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def violation(quota_id: str, value: str | None) -> dict[str, Any]:
    one = {"quotaMetric": "generativelanguage.googleapis.com/requests", "quotaId": quota_id}
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [one | ({"quotaValue": value} if value else {})]}


def error_info(reason: str, **metadata: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}


Row = tuple[str, int, dict[str, str], Any, type[AIProviderError], float | None]
ROWS: list[Row] = [
    ("OpenAI rate limit", 429, {"retry-after-ms": "627"}, openai("rate_limit_exceeded", "tokens"), RateLimitError, 0.627),
    ("OpenAI slow down", 429, {}, openai("slow_down", "slow_down"), RateLimitError, None),
    ("OpenAI out of money", 429, {"retry-after": "20"}, openai("insufficient_quota", "insufficient_quota"), QuotaExhaustedError, None),
    ("OpenAI credit", 429, {}, openai("credit_balance_exhausted", "insufficient_quota"), QuotaExhaustedError, None),
    ("OpenAI usage limit", 429, {}, openai("organization_usage_limit_exceeded"), QuotaExhaustedError, None),
    ("OpenAI spend limit", 429, {}, openai("organization_spend_limit_exceeded"), QuotaExhaustedError, None),
    ("OpenAI project spend", 429, {}, openai("project_spend_limit_exceeded"), QuotaExhaustedError, None),
    ("OpenAI overloaded", 503, {}, openai("server_is_overloaded"), OverloadedError, None),
    ("OpenAI flex", 429, {}, openai("resource_unavailable"), OverloadedError, None),
    ("OpenAI context", 400, {}, openai("context_length_exceeded"), ContextTooLongError, None),
    ("OpenAI policy", 400, {}, openai("content_policy_violation"), ContentFilteredError, None),
    ("OpenAI key", 401, {}, openai("invalid_api_key"), AuthError, None),
    ("OpenAI model", 404, {}, openai("model_not_found"), InvalidRequestError, None),
    ("OpenAI parameter", 400, {}, openai("unsupported_parameter"), InvalidRequestError, None),
    ("OpenAI outage", 500, {"retry-after": "3"}, openai("server_error"), AIProviderError, 3.0),
    (
        "Azure filter",
        400,
        {},
        {"error": {"code": "content_filter", "message": "no", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        ContentFilteredError,
        None,
    ),
    ("Azure filter, inner only", 400, {}, {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}, ContentFilteredError, None),
    ("Azure rate limit", 429, {"Retry-After-Ms": "1500"}, {"error": {"code": "429", "message": "no"}}, RateLimitError, 1.5),
    ("Anthropic rate limit", 429, {"retry-after": "12"}, anthropic("rate_limit_error"), RateLimitError, 12.0),
    ("Anthropic ramp", 429, {"retry-after": "30"}, anthropic("rate_limit_error", "ramp_limit_exceeded"), RateLimitError, 30.0),
    ("Anthropic spend 429", 429, {}, anthropic("rate_limit_error", "enforced_spend_limit_reached"), QuotaExhaustedError, None),
    ("Anthropic spend 400", 400, {}, anthropic("invalid_request_error", "enforced_spend_limit_reached"), QuotaExhaustedError, None),
    ("Anthropic contract", 400, {}, anthropic("invalid_request_error", "contract_spend_limit_reached"), QuotaExhaustedError, None),
    ("Anthropic billing", 402, {}, anthropic("billing_error"), QuotaExhaustedError, None),
    ("Anthropic overloaded", 529, {}, anthropic("overloaded_error"), OverloadedError, None),
    ("overloaded, status alone", 529, {}, "", OverloadedError, None),
    ("Anthropic too large", 413, {}, anthropic("request_too_large"), ContextTooLongError, None),
    ("Anthropic key", 401, {}, anthropic("authentication_error"), AuthError, None),
    ("Anthropic forbidden", 403, {}, anthropic("permission_error"), AuthError, None),
    ("Anthropic invalid", 400, {}, anthropic("invalid_request_error"), InvalidRequestError, None),
    ("Anthropic time-out", 504, {}, anthropic("timeout_error"), AIProviderError, None),
    ("Anthropic conflict", 409, {}, anthropic("conflict_error"), AIProviderError, None),
    (
        "Gemini minute",
        429,
        {},
        gemini("RESOURCE_EXHAUSTED", violation("RequestsPerMinute-FreeTier", "15"), retry_info("57.5s")),
        RateLimitError,
        57.5,
    ),
    (
        "Gemini day",
        429,
        {},
        gemini("RESOURCE_EXHAUSTED", violation("RequestsPerDay-FreeTier", "20"), retry_info("36s")),
        QuotaExhaustedError,
        None,
    ),
    (
        "Gemini day, hint",
        429,
        {},
        gemini("RESOURCE_EXHAUSTED", violation("RequestsPerDay", "20"), retry_info("1h16m0.667s")),
        QuotaExhaustedError,
        4560.667,
    ),
    (
        "Gemini limit 0",
        429,
        {},
        gemini("RESOURCE_EXHAUSTED", violation("RequestsPerMinute-FreeTier", None), retry_info("20s")),
        QuotaExhaustedError,
        None,
    ),
    (
        "Gemini limit 0, ErrorInfo",
        429,
        {},
        gemini("RESOURCE_EXHAUSTED", error_info("RATE_LIMIT_EXCEEDED", quota_limit="PerMinute", quota_limit_value="0")),
        QuotaExhaustedError,
        None,
    ),
    ("Gemini capacity", 429, {}, gemini("RESOURCE_EXHAUSTED", error_info("MODEL_CAPACITY_EXHAUSTED")), OverloadedError, None),
    ("Gemini bare", 429, {}, [gemini("RESOURCE_EXHAUSTED")], RateLimitError, None),
    ("Gemini key", 400, {}, gemini("INVALID_ARGUMENT", error_info("API_KEY_INVALID"), code=400), AuthError, None),
    ("Gemini credits", 402, {}, gemini("FAILED_PRECONDITION", code=402), QuotaExhaustedError, None),
    ("Groq one request over TPM", 413, {"retry-after": "5"}, openai("rate_limit_exceeded", "tokens"), ContextTooLongError, 5.0),
    ("Mistral", 429, {}, {"object": "error", "message": "no", "type": "rate_limited", "code": "1300"}, RateLimitError, None),
    ("Cohere", 429, {}, {"message": "You are using a Trial key, limited to 20 calls / minute."}, RateLimitError, None),
    (
        "Cerebras quota",
        429,
        {"retry-after": "60"},
        {"message": "no", "type": "too_many_tokens_error", "param": "quota", "code": "token_quota_exceeded"},
        RateLimitError,
        60.0,
    ),
    (
        "Cerebras queue",
        429,
        {"x-should-retry": "false"},
        {"message": "no", "type": "too_many_requests_error", "param": "queue", "code": "queue_exceeded"},
        OverloadedError,
        None,
    ),
    ("GitHub concurrency", 429, {"x-ratelimit-type": "UserConcurrentRequests", "retry-after": "2"}, "", OverloadedError, 2.0),
    ("GitHub minute", 429, {"x-ratelimit-type": "UserByModelByMinute", "retry-after": "2"}, "", RateLimitError, 2.0),
    ("OpenRouter credits", 402, {}, {"error": {"code": 402, "message": "Insufficient credits"}}, QuotaExhaustedError, None),
    ("OpenRouter moderation", 403, {}, {"error": {"code": 403, "metadata": {"flagged_input": "x"}}}, ContentFilteredError, None),
    ("OpenRouter 429 inside a 200", 200, {}, {"error": {"code": 429, "message": "upstream"}}, RateLimitError, None),
    ("Bedrock throttling", 429, {"x-amz-retry-after": "2500"}, {"__type": "com.amazon#ThrottlingException"}, RateLimitError, 2.5),
    ("Bedrock throttling, header", 400, {"x-amzn-ErrorType": "ThrottlingException:http://x"}, {}, RateLimitError, None),
    ("Bedrock not ready", 429, {"x-amzn-ErrorType": "ModelNotReadyException"}, {"message": "no"}, OverloadedError, None),
    ("Bedrock unavailable", 503, {}, {"__type": "ServiceUnavailableException"}, OverloadedError, None),
    ("Bedrock model failed", 424, {}, {"__type": "ModelErrorException"}, AIProviderError, None),
    ("Bedrock time-out", 408, {}, {"__type": "ModelTimeoutException"}, AIProviderError, None),
    ("Bedrock validation", 400, {}, {"__type": "ValidationException"}, InvalidRequestError, None),
    ("Bedrock account quota", 400, {}, {"__type": "ServiceQuotaExceededException"}, QuotaExhaustedError, None),
    ("LiteLLM", 429, {}, openai("429", "throttling_error"), RateLimitError, None),
    ("LiteLLM budget", 400, {}, openai("400", "budget_exceeded"), QuotaExhaustedError, None),
    ("Ollama busy", 503, {}, {"error": "server busy, please try again.  maximum pending requests exceeded"}, OverloadedError, None),
    ("llama.cpp context", 400, {}, {"error": {"code": 400, "type": "exceed_context_size_error", "n_ctx": 4096}}, ContextTooLongError, None),
    ("vLLM overflow of another kind", 400, {}, {"object": "error", "type": "BadRequestError", "code": 400}, InvalidRequestError, None),
    ("FastAPI-like", 422, {}, {"detail": [{"loc": ["body"], "msg": "no"}]}, InvalidRequestError, None),
    ("a gateway's page", 502, {}, "<html>Bad Gateway</html>", AIProviderError, None),
    ("a redirect", 302, {"location": "/login"}, "", InvalidRequestError, None),
    ("nonsense in a 200", 200, {}, "<html>hello</html>", AIProviderError, None),
]


@pytest.mark.parametrize(("name", "status", "headers", "body", "kind", "wait_s"), ROWS, ids=[row[0] for row in ROWS])
def test_each_habit_of_each_provider_has_its_error(
    name: str, status: int, headers: dict[str, str], body: Any, kind: type[AIProviderError], wait_s: float | None
) -> None:
    as_sent = body if isinstance(body, str) else json.dumps(body)
    for shape in (body, as_sent, as_sent.encode()):
        error = error_from_answer(status, headers, shape, NOW)
        assert type(error) is kind
        assert error.retry_after_s == (pytest.approx(wait_s) if wait_s is not None else None)


def test_prose_does_not_decide() -> None:
    """The words of a rate limit inside a message change nothing; only codes and the status do."""
    text = "rate_limit_exceeded: insufficient_quota, overloaded, context_length_exceeded, limit: 0"
    assert type(error_from_answer(400, {}, openai("other", message=text), NOW)) is InvalidRequestError
    assert type(error_from_answer(500, {}, text, NOW)) is AIProviderError
    assert type(error_from_answer(500, {}, {"error": text}, NOW)) is AIProviderError


def test_the_message_tells_the_status_the_limit_and_the_provider_s_words() -> None:
    error = error_from_answer(429, {}, openai("rate_limit_exceeded", "tokens", "Limit 60000,\n Used 59857"), NOW)
    assert str(error) == "the provider answered 429 (limit: tokens): Limit 60000, Used 59857"
    bare = error_from_answer(502, {}, "<html>Bad\x00 Gateway</html>", NOW)
    assert str(bare) == "the provider answered 502: <html>Bad\ufffd Gateway</html>"


class ClientError(Exception):
    """An exception with the attributes that clients give theirs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__("from a client")
        self.__dict__.update(attributes)


def response(status: int = 429, headers: dict[str, str] | None = None, content: bytes = b"") -> SimpleNamespace:
    return SimpleNamespace(status_code=status, headers=headers or {"retry-after": "4"}, content=content)


@pytest.mark.parametrize(
    "error",
    [
        ClientError(status_code=429, response=response(), body={"code": "rate_limit_exceeded"}),
        ClientError(status_code=HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": "4"}, body="no"),
        ClientError(response=response(content=b'{"error": {"code": "rate_limit_exceeded"}}')),
        ClientError(code=429, details={"error": {"status": "RESOURCE_EXHAUSTED"}}, response=response()),
        ClientError(
            response={
                "Error": {"Code": "ThrottlingException", "Message": "no"},
                "ResponseMetadata": {"HTTPStatusCode": 400, "HTTPHeaders": {"x-amz-retry-after": "4000"}},
            }
        ),
    ],
    ids=["openai and anthropic", "headers on the error", "httpx", "google-genai", "botocore"],
)
def test_a_client_s_error_is_read_by_its_attributes(error: Exception) -> None:
    found = error_from_exception(error, NOW)
    assert type(found) is RateLimitError
    assert found.retry_after_s == 4.0


REQUEST = SimpleNamespace(method="POST", url="http://127.0.0.1/")


def wrapped(cause: BaseException) -> BaseException:
    try:
        raise RuntimeError("a client's own") from cause
    except RuntimeError as error:
        return error


class UnsetRequest(Exception):
    """httpx's ``.request`` raises when nobody set it."""

    @property
    def request(self) -> Any:
        raise RuntimeError("not set")


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError(), TimeoutError("slow"), ClientError(request=REQUEST), UnsetRequest(), wrapped(ClientError(request=REQUEST))],
    ids=["connection", "timeout", "a client's", "httpx without a request", "wrapped"],
)
def test_a_lost_connection_is_a_passing_failure(error: BaseException) -> None:
    assert type(error_from_exception(error, NOW)) is AIProviderError


def in_an_except_block() -> BaseException:
    try:
        try:
            raise ClientError(request=REQUEST)
        except ClientError:
            return {}["a bug of our own"]  # type: ignore[no-any-return]
    except KeyError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        RateLimitError("ours"),
        ConfigError("ours"),
        ValueError("no"),
        OSError("disk"),
        KeyboardInterrupt(),
        ClientError(status_code="429"),
        ClientError(status_code=True),
        ClientError(code=3),
        ClientError(request="a form"),
        in_an_except_block(),
    ],
)
def test_what_does_not_come_from_a_provider_s_client_is_left_alone(error: BaseException) -> None:
    assert error_from_exception(error, NOW) is None


KNOWN_KEYS = ["error", "code", "type", "details", "violations", "quotaId", "quotaValue", "retryDelay", "message", "quota_limit"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(KNOWN_KEYS), inner, max_size=5),
    max_leaves=12,
)
HEADERS = st.dictionaries(st.text() | st.sampled_from(["Retry-After", "retry-after-ms", "x-amzn-errortype", "x-ratelimit-type"]), st.text())


@given(st.integers() | st.sampled_from([200, 400, 402, 413, 429, 503, 529]), HEADERS, JSON | st.binary() | st.text())
def test_any_answer_at_all_is_some_error(status: int, headers: dict[str, str], body: Any) -> None:
    for error in (
        error_from_answer(status, headers, body, NOW),
        error_from_exception(ClientError(status_code=status, headers=headers, body=body), NOW),
    ):
        assert isinstance(error, AIProviderError)
        assert error.retry_after_s is None or 0 <= error.retry_after_s <= 86_400
        assert len(str(error)) <= 600
        str(error).encode()


def test_a_body_nested_without_end_is_read_only_so_far() -> None:
    body: Any = "leaf"
    for _ in range(50_000):
        body = {"error": body}
    assert type(error_from_answer(429, {}, body, NOW)) is RateLimitError
    assert type(error_from_answer(429, {}, "[" * 200_000, NOW)) is RateLimitError
    while isinstance(body, dict):  # taken apart by hand: freeing such a nest recurses in C
        body = body["error"]
