"""A push-back asked for everything at once: wherever the answer hides, and whatever was thrown."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import (
    AIProviderError,
    AuthError,
    ConfigError,
    ContextTooLongError,
    InvalidOutputError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitError,
)
from scheduler.pools.answers import error_from_answer, error_from_exception
from scheduler.pools.prose import Prose
from scheduler.pools.quotas import Dimension, Reading
from scheduler.pools.rejection import Rejection, read_rejection

NOW = 1_700_000_000.0
REQUESTS, TOKENS, INPUT, OUTPUT = Dimension.REQUESTS, Dimension.TOKENS, Dimension.INPUT_TOKENS, Dimension.OUTPUT_TOKENS
TPM = "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 60000, Used 59857, Requested 770. Please try again in 627ms."
HEADERS = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-limit-tokens": "60000",
    "x-ratelimit-remaining-tokens": "143",
}
READINGS = (
    Reading(REQUESTS, 500.0, 499.0, None, None, 0.0, "x-ratelimit-limit-requests"),
    Reading(TOKENS, 60_000.0, 143.0, None, None, 0.0, "x-ratelimit-limit-tokens"),
)


E = TypeVar("E", bound=BaseException)


class ClientError(Exception):
    """An exception with the attributes that clients give theirs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__("from a client")
        self.__dict__.update(attributes)


def thrown(status: int = 429, headers: dict[str, str] | None = None, body: Any = None) -> ClientError:
    return ClientError(status_code=status, response=SimpleNamespace(status_code=status, headers=headers or {}), body=body)


def openai(code: str = "rate_limit_exceeded", kind: str = "tokens", message: str = TPM) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def gemini(*violations: tuple[str, Any], reason: str = "", **metadata: str) -> dict[str, Any]:
    hit = [{"quotaId": name} | ({"quotaValue": value} if value is not None else {}) for name, value in violations]
    details = [{"violations": hit}, {"retryDelay": "53s"}, {"reason": reason, "metadata": metadata}]
    return {"error": {"code": 429, "message": "You exceeded your quota.", "status": "RESOURCE_EXHAUSTED", "details": details}}


def caused(error: E, cause: BaseException) -> E:
    error.__cause__ = cause
    return error


def read(error: BaseException) -> Rejection:
    found = read_rejection(error, NOW)
    assert found is not None
    return found


PROSE = Prose(TOKENS, 60_000, 60, 0.627, 59_857, 770)
CLIENTS = thrown(headers=HEADERS | {"retry-after-ms": "500"}, body=openai())


@pytest.mark.parametrize(
    "error",
    [
        CLIENTS,
        caused(RateLimitError("ours"), CLIENTS),
        caused(RateLimitError("ours", retry_after_s=0.5), caused(ValueError("a wrapper"), CLIENTS)),
        caused(RuntimeError("a library's own"), CLIENTS),
        caused(RuntimeError("a library's own"), caused(RateLimitError("ours"), CLIENTS)),
        ExceptionGroup("a task group's", [ValueError("a sibling"), ExceptionGroup("inner", [CLIENTS])]),
    ],
    ids=["a client's", "ours from it", "ours from a wrapper of it", "a wrapper of it", "a wrapper of ours", "in a group"],
)
def test_the_answer_is_found_wherever_it_is(error: BaseException) -> None:
    assert read(error) == Rejection("rate", 0.5, READINGS, PROSE, TOKENS)


def test_a_translated_error_says_as_much_as_what_it_was_translated_from() -> None:
    ours = error_from_exception(CLIENTS, NOW)
    assert ours is not None
    assert read(caused(ours, CLIENTS)) == read(CLIENTS)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RateLimitError("later", retry_after_s=7), Rejection("rate", 7, (), None, None)),
        (RateLimitError(), Rejection("rate", None, (), None, None)),
        (OverloadedError("busy"), Rejection("overload", None, (), None, None)),
        (QuotaExhaustedError("no money", retry_after_s=1e9), Rejection("quota", 86_400, (), None, None)),
        (RateLimitError(TPM), Rejection("rate", 0.627, (), PROSE, TOKENS)),
        (RateLimitError(TPM, retry_after_s=2), Rejection("rate", 2, (), PROSE, TOKENS)),
        (error_from_answer(429, {}, openai(), NOW), Rejection("rate", 0.627, (), PROSE, TOKENS)),
    ],
)
def test_our_own_errors_raised_plainly_are_read(error: AIProviderError, expected: Rejection) -> None:
    assert read(error) == expected


def in_an_except_block() -> BaseException:
    try:
        try:
            raise CLIENTS
        except ClientError:
            return dict[str, Exception]()["a bug of our own"]
    except KeyError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("rate limit: Limit 5, please try again in 20s"),
        TimeoutError(),
        ConfigError("ours"),
        AIProviderError(TPM),
        AuthError("no"),
        caused(InvalidOutputError("the answer was cut"), CLIENTS),
        thrown(500, HEADERS, openai("server_error")),
        thrown(413, HEADERS, openai()),
        thrown(401),
        thrown(200, HEADERS, "hello"),
        in_an_except_block(),
        ExceptionGroup("several", [ValueError(), ContextTooLongError()]),
        KeyboardInterrupt(),
    ],
)
def test_what_is_no_push_back_is_none(error: BaseException) -> None:
    assert read_rejection(error, NOW) is None


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "wait_s"),
    [
        (429, {"retry-after": "3"}, openai(), "rate", 3),
        (429, {}, openai(), "rate", 0.627),
        (429, {}, openai(message="no"), "rate", None),
        (503, {"retry-after": "4"}, "", "overload", 4),
        (529, {}, "", "overload", None),
        (429, {"x-ratelimit-type": "UserConcurrentRequests", "retry-after": "2"}, "", "overload", 2),
        (402, {}, "", "quota", None),
        (429, {"retry-after": "20"}, openai("insufficient_quota"), "quota", None),
        (429, {"retry-after": "7200"}, openai("insufficient_quota"), "quota", 7_200),
        (429, {}, gemini(("RequestsPerMinute", "15")), "rate", 53),
        (429, {}, gemini(("RequestsPerDay", "20")), "quota", None),
        (200, {}, {"error": {"code": 429, "message": "upstream, please try again in 5s"}}, "rate", 5),
    ],
)
def test_kind_and_wait_are_those_of_the_classification(status: int, headers: dict[str, str], body: Any, kind: str, wait_s: Any) -> None:
    found = read(thrown(status, headers, body))
    assert (found.kind, found.retry_after_s) == (kind, wait_s)


def test_the_wait_of_a_rate_limit_is_none_for_a_budget() -> None:
    assert read(caused(QuotaExhaustedError("ours"), thrown(headers={"retry-after": "3"}))).retry_after_s is None
    assert read(caused(QuotaExhaustedError("ours"), thrown(402, {"retry-after": "7200"}))).retry_after_s == 7_200
    assert read(QuotaExhaustedError(TPM)).retry_after_s is None


EMPTY = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-remaining-tokens": "12"}


@pytest.mark.parametrize(
    ("headers", "body", "dimension"),
    [
        (EMPTY, openai(kind="tokens", message="no"), TOKENS),
        ({}, openai(kind="requests", message=TPM), REQUESTS),
        ({}, openai(kind="input-tokens", message="no"), INPUT),
        ({}, {"message": "no", "type": "too_many_tokens_error", "param": "quota", "code": "token_quota_exceeded"}, TOKENS),
        ({}, {"message": "no", "type": "too_many_requests_error", "param": "quota", "code": "request_quota_exceeded"}, REQUESTS),
        ({}, gemini(("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "15")), REQUESTS),
        ({}, gemini(("GenerateContentInputTokensPerModelPerMinute-FreeTier", "250000")), INPUT),
        ({}, gemini(quota_limit="GenerateTokensPerMinutePerProject", quota_limit_value="10"), TOKENS),
        ({"x-ratelimit-type": "UserByModelByMinute"}, "", REQUESTS),
        ({"x-ratelimit-type": "UserByModelByMinuteUncachedInputTokens"}, "", INPUT),
        (EMPTY, openai(kind="rate_limit_error", message=TPM), REQUESTS),
        ({"anthropic-ratelimit-output-tokens-remaining": "0", "anthropic-ratelimit-requests-remaining": "3"}, "", OUTPUT),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-remaining-tokens": "0"}, "", None),
        ({"x-ratelimit-remaining-requests": "0"}, "", None),
        ({}, openai(kind="rate_limit_error", message=TPM), TOKENS),
        ({}, openai(kind="rate_limit_error", message="no"), None),
        ({"x-ratelimit-type": "UserConcurrentRequests"}, "", None),
    ],
)
def test_the_quota_that_was_hit_is_taken_from_where_it_is_said_best(headers: dict[str, str], body: Any, dimension: Any) -> None:
    assert read(thrown(429, headers, body)).dimension is dimension


def test_quotas_that_the_body_names_are_readings_too() -> None:
    named = ("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "15"), ("GenerateContentInputTokensPerModelPerDay", 250_000)
    nonsense = ("Requests", None), ("Tokens", "-1"), ("Flights", "5"), ("TokensPerMinute", "9" * 17), ("TokensPerMinute", 10**5000)
    found = read(thrown(429, HEADERS, gemini(*named, *nonsense, quota_limit="TokensPerHour", quota_limit_value="9")))
    assert found.readings == (
        *READINGS,
        Reading(REQUESTS, 15.0, None, None, 60.0, 0.0, "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
        Reading(INPUT, 250_000.0, None, None, 86_400.0, 0.0, "GenerateContentInputTokensPerModelPerDay"),
        Reading(TOKENS, 9.0, None, None, 3_600.0, 0.0, "TokensPerHour"),
    )


def test_the_loudest_of_a_group_is_read() -> None:
    errors: list[Exception] = [
        RateLimitError(),
        AuthError(),
        OverloadedError(),
        caused(QuotaExhaustedError(), CLIENTS),
        QuotaExhaustedError(),
    ]
    found = read(ExceptionGroup("several", [errors[0], ExceptionGroup("inner", errors[1:])]))
    assert (found.kind, found.readings) == ("quota", READINGS)
    assert read(ExceptionGroup("two", errors[:3])).kind == "overload"


class Unprintable(RateLimitError):
    def __init__(self) -> None:  # and never asks its parent
        pass

    def __str__(self) -> str:
        raise RuntimeError


def test_broken_errors_are_read_as_far_as_they_can_be() -> None:
    assert read(Unprintable()) == Rejection("rate", None, (), None, None)
    odd = RateLimitError()
    hints: list[Any] = ["7", "soon", float("nan"), [], 10**400]
    for hint in hints:
        odd.retry_after_s = hint
        assert read(odd).retry_after_s in (7, None, 86_400)
    endless = RateLimitError()
    assert read(caused(endless, caused(ValueError(), endless))) == Rejection("rate", None, (), None, None)


def test_a_nest_of_groups_and_a_crowd_in_one_are_read_only_so_far() -> None:
    nest: BaseException = RateLimitError()
    for _ in range(10_000):
        nest = BaseExceptionGroup("deep", [nest])
    assert read_rejection(nest, NOW) is None
    while isinstance(nest, BaseExceptionGroup):  # taken apart by hand: freeing such a nest recurses in C
        nest = nest.exceptions[0]
    assert read_rejection(ExceptionGroup("wide", [ValueError()] * 10_000 + [RateLimitError()]), NOW) is None


KEYS = ["error", "code", "type", "details", "violations", "quotaId", "quotaValue", "retryDelay", "message", "quota_limit"]
TEXTS = st.text(max_size=8) | st.sampled_from(["tokens", "RequestsPerMinute", "rate_limit_exceeded", TPM, "insufficient_quota", "15"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
NAMES = st.sampled_from([*HEADERS, "x-ratelimit-reset-tokens", "retry-after", "x-ratelimit-type", "anthropic-ratelimit-tokens-reset"])
STATUSES = st.sampled_from([200, 400, 402, 413, 429, 503, 529]) | st.integers()


@given(STATUSES, st.dictionaries(NAMES | TEXTS, TEXTS | st.integers().map(str)), JSON | st.binary(), st.booleans())
def test_any_answer_at_all_is_read_or_left(status: int, headers: dict[str, str], body: Any, ours: bool) -> None:
    error: BaseException = thrown(status, headers, body)
    found = read_rejection(caused(RateLimitError("ours"), error) if ours else error, NOW)
    translated = error_from_exception(error, NOW)
    assert (found is not None) == (ours or isinstance(translated, RateLimitError))
    if found is not None:
        assert found.retry_after_s is None or 0 <= found.retry_after_s <= 86_400
        for one in found.readings:
            assert all(value is None or 0 <= value <= 1e15 for value in (one.limit, one.remaining, one.reset_s, one.period_s))


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 1_000))
def test_what_a_provider_sends_is_what_is_read(remaining: int, limit: int, wait_s: int) -> None:
    headers = {"retry-after": str(wait_s), "x-ratelimit-limit-tokens": str(limit), "x-ratelimit-remaining-tokens": str(remaining)}
    found = read(thrown(429, headers, json.dumps(openai()).encode()))
    assert (found.kind, found.retry_after_s, found.prose, found.dimension) == ("rate", wait_s, PROSE, TOKENS)
    assert [(one.limit, one.remaining) for one in found.readings] == [(limit, remaining)]
