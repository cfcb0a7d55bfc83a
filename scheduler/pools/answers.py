"""From a provider's answer to an error: what was said, then the first rule that matches. Pure.

Decides from the status code, the headers and the *code words* of the body (``insufficient_quota``,
``RESOURCE_EXHAUSTED`` ...), never from prose: wording changes, codes do not. Client libraries are
recognised by the attributes their errors have, so none is imported.

Does not belong here: what an error means for a job (``decide.py``); parsing waits (``headers.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scheduler.errors import (
    AIProviderError,
    AuthError,
    ContentFilteredError,
    ContextTooLongError,
    InvalidOutputError,
    InvalidRequestError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitError,
    SchedulerError,
)
from scheduler.pools.said import Said, read_answer
from scheduler.pools.thrown import is_lost_connection, text_of, thrown_answer
from scheduler.values import printable

# Anthropic's spend codes come with 400 as well as 429
_BILLING = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_usage_limit_exceeded",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "budget_exceeded",
        "insufficient_balance",
        "insufficient_credits",
        "servicequotaexceededexception",
    }
)
_FILTERED = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "invalid_prompt",
        "moderation_blocked",
        "responsibleaipolicyviolation",
        "prohibited_content",
        "data_inspection_failed",
        "flagged_input",
    }
)
_TOO_LONG = frozenset(
    {
        "context_length_exceeded",
        "string_above_max_length",
        "exceed_context_size_error",
        "request_too_large",
        "context_window_exceeded",
        "model_context_window_exceeded",
        "tokens_limit_reached",
    }
)
# Gemini says API_KEY_INVALID with a 400
_AUTH = frozenset(
    {
        "invalid_api_key",
        "api_key_invalid",
        "authentication_error",
        "permission_error",
        "unauthenticated",
        "permission_denied",
    }
)
# several of these come with a 429, although the limit is the provider's and not ours
_OVERLOADED = frozenset(
    {
        "overloaded_error",
        "server_is_overloaded",
        "engine_overloaded",
        "engine_overloaded_error",
        "resource_unavailable",
        "queue_exceeded",
        "model_capacity_exhausted",
        "nocapacity",
        "modelnotreadyexception",
        "serviceunavailableexception",
        "unavailable",
        "concurrency_limit_exceeded",
        "userconcurrentrequests",
    }
)
_RATE_LIMITED = frozenset(
    {
        "rate_limit_exceeded",
        "rate_limit_error",
        "rate_limited",
        "resource_exhausted",
        "throttlingexception",
        "toomanyrequestsexception",
    }
)
#: A wait below this, said together with "your money or your day is used up", is the habit of a
#: limiter that always names one (Gemini says "36s" for a *daily* quota): not worth believing.
_SHORT_FOR_A_QUOTA_S = 600.0

#: First match wins. Anything left is a request that the provider will not take (400 and the like).
_RULES: tuple[tuple[Callable[[Said], bool], type[AIProviderError]], ...] = (
    (lambda said: said.status == 402 or said.has(_BILLING) or said.daily_or_zero_quota, QuotaExhaustedError),
    (lambda said: said.has(_FILTERED), ContentFilteredError),
    (lambda said: said.status == 413 or said.has(_TOO_LONG), ContextTooLongError),
    (lambda said: said.status in (401, 403) or said.has(_AUTH), AuthError),
    (lambda said: said.status in (404, 422), InvalidRequestError),
    (lambda said: said.status in (503, 529) or said.has(_OVERLOADED), OverloadedError),
    (lambda said: said.status == 429 or said.has(_RATE_LIMITED), RateLimitError),
    # a success that is no JSON (a gateway's page, half an answer) is the provider's trouble, not the model's
    (lambda said: 200 <= said.status < 300 and said.is_json, InvalidOutputError),
    (lambda said: not 300 <= said.status < 500 or said.status in (408, 409, 424, 425, 499), AIProviderError),
)


def error_from_answer(status_code: int, headers: Mapping[str, str], body: object, now: float) -> AIProviderError:
    """The error that an answer stands for; ``body`` is decoded JSON, text or bytes, whatever arrived.

    A success that is passed in is an answer of the wrong shape: ``InvalidOutputError``, unless it is no JSON at all or its
    body reports an error's status (OpenRouter does). ``now`` is seconds since the epoch.
    """
    said = read_answer(status_code, headers, body, now)
    kind = next((kind for matches, kind in _RULES if matches(said)), InvalidRequestError)
    wait_s = said.retry_after_s
    if kind is QuotaExhaustedError and wait_s is not None and wait_s < _SHORT_FOR_A_QUOTA_S:
        wait_s = None
    return kind(printable(said.sentence(), 600), retry_after_s=wait_s)


def error_from_exception(error: BaseException, now: float) -> AIProviderError | None:
    """The error that a client library's exception stands for.

    None if it needs no translation (our own errors) or does not come from a provider's client.
    """
    if isinstance(error, SchedulerError):
        return None
    answer = thrown_answer(error)
    if answer is not None:
        return error_from_answer(answer.status_code, answer.headers, answer.body, now)
    if is_lost_connection(error):
        return AIProviderError(printable(f"connection to the provider failed: {type(error).__name__}: {text_of(error)}", 600))
    return None
