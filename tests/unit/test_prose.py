"""What a 429's message says of its limit: sentences as providers write them, then anything at all."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.prose import Prose, dimension_named, read_prose
from scheduler.pools.quotas import Dimension

REQUESTS, TOKENS, INPUT, OUTPUT = Dimension.REQUESTS, Dimension.TOKENS, Dimension.INPUT_TOKENS, Dimension.OUTPUT_TOKENS
GEMINI = "You exceeded your current quota, please check your plan. \n* Quota exceeded for metric: generativelanguage.googleapis.com/"

ROWS: list[tuple[str, str, Prose]] = [
    (
        "OpenAI tokens",
        "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 60000, Used 59857, Requested 770. "
        "Please try again in 627ms. Visit https://platform.openai.com/account/rate-limits to learn more.",
        Prose(TOKENS, 60_000, 60, 0.627, 59_857, 770),
    ),
    (
        "OpenAI requests",
        "Rate limit reached for gpt-4 in organization org-x on requests per min: Limit 3, Used 3, Requested 1. Please try again in 20s.",
        Prose(REQUESTS, 3, 60, 20, 3, 1),
    ),
    (
        "OpenAI a day's requests",
        "Rate limit reached for gpt-4o on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.",
        Prose(REQUESTS, 200, 86_400, 432, 200, 1),
    ),
    (
        "OpenAI too large",
        "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 45000. "
        "The input or output tokens must be reduced in order to run successfully.",
        Prose(TOKENS, 30_000, 60, None, None, 45_000),
    ),
    (
        "OpenAI of old",
        "Rate limit reached for default-gpt-3.5-turbo on requests per min. Limit: 3 / min. Please try again in 20s.",
        Prose(REQUESTS, 3, 60, 20),
    ),
    (
        "Groq",
        "Rate limit reached for model `openai/gpt-oss-120b` in organization `org_01` service tier `on_demand` on tokens per day (TPD): "
        "Limit 100000, Used 96604, Requested 9985. Please try again in 1h34m52.896s. Need more tokens? Upgrade to Dev Tier today",
        Prose(TOKENS, 100_000, 86_400, 5_692.896, 96_604, 9_985),
    ),
    ("Groq input", "on input tokens per minute (ITPM): Limit 7000, Used 4472", Prose(INPUT, 7_000, 60, used=4_472)),
    ("Groq 7m12.5s", "Please try again in 7m12.5s.", Prose(retry_after_s=432.5)),
    (
        "Anthropic input",
        "This request would exceed the rate limit for your organization (1815e560-bf0c-433e-b03a-793524e11fda) of 40,000 input tokens per "
        "minute. For details, refer to: https://docs.claude.com/en/api/rate-limits. Please reduce the prompt length, or try again later.",
        Prose(INPUT, 40_000, 60),
    ),
    ("Anthropic output", "exceed the rate limit for your organization of 8,000 output tokens per minute", Prose(OUTPUT, 8_000, 60)),
    ("Anthropic requests", "This request would exceed your organization’s rate limit of 50 requests per minute.", Prose(REQUESTS, 50, 60)),
    (
        "Anthropic growth",
        "would exceed your organization's maximum usage increase rate for input tokens per minute",
        Prose(INPUT, None, 60),
    ),
    ("Cohere", "You are using a Trial key, which is limited to 10 API calls / minute. You can continue to use", Prose(REQUESTS, 10, 60)),
    ("Cohere a month", "You are using a Trial key, which is limited to 1000 API calls / month.", Prose(REQUESTS, 1_000, 2_592_000)),
    (
        "Azure",
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-02-01 have exceeded token rate limit of your "
        "current OpenAI S0 pricing tier. Please retry after 26 seconds. Please go here: https://aka.ms/oai/quotaincrease",
        Prose(TOKENS, retry_after_s=26),
    ),
    ("Azure calls", "have exceeded call rate limit of your current tier. Please retry after 1 second.", Prose(REQUESTS, retry_after_s=1)),
    (
        "Gemini",
        f"{GEMINI}generate_content_free_tier_requests, limit: 15, model: gemini-2.0-flash\nPlease retry in 53.2s.",
        Prose(REQUESTS, 15, None, 53.2),
    ),
    (
        "Gemini input",
        f"{GEMINI}generate_content_free_tier_input_token_count, limit: 250000, model: gemini\nPlease retry in 59.322187034s.",
        Prose(INPUT, 250_000, None, 59.322187034),
    ),
    (
        "GitHub Models",
        "Rate limit of 50 per 86400s exceeded for UserByModelByDay. Please wait 52220 seconds before retrying.",
        Prose(REQUESTS, 50, 86_400, 52_220),
    ),
    (
        "GitHub Models tokens",
        "Rate limit of 300000 per 60s exceeded for UserByModelByMinuteUncachedInputTokens. Please wait 23 seconds before retrying.",
        Prose(INPUT, 300_000, 60, 23),
    ),
    (
        "GitHub Models at once",
        "Rate limit of 2 per 0s exceeded for UserConcurrentRequests. Please wait 0 seconds before retrying.",
        Prose(retry_after_s=0),
    ),
    ("Cerebras", "Tokens per minute limit exceeded - too many tokens processed.", Prose(TOKENS, None, 60)),
    ("Bedrock", "Too many tokens, please wait before trying again.", Prose(TOKENS)),
    ("60k", "limited to 60k tokens/min", Prose(TOKENS, 60_000, 60)),
    ("1.5M", "the limit is 1.5M tokens per day", Prose(TOKENS, 1_500_000, 86_400)),
    ("a wait in words", "Please try again in 2 hours.", Prose(retry_after_s=7_200)),
    ("a wait too long", "Please try again in 999999999 days.", Prose(retry_after_s=86_400)),
]


@pytest.mark.parametrize(("name", "text", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_each_wording_is_read(name: str, text: str, expected: Prose) -> None:
    assert read_prose(text) == expected
    assert read_prose(f"the provider answered 429 (limit: tokens): {text}") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Rate limit exceeded",
        "Requests rate limit exceeded",
        "Too many requests",
        "The server is overloaded; try again later. gpt-4 has a context of 128,000 tokens.",
        "try again in a moment, or in 5x, or wait 5 apples",
        "Limit 11111111111111111111, Used 3m, Limit -5",
        "limit of 60 per 99999999999s",
        "٦٠ requests par minute",
        "<html><title>429</title>Limit your requests</html>",
        "x" * 2_000 + " Limit 5",
    ],
)
def test_where_nothing_is_said_there_is_nothing(text: str) -> None:
    assert read_prose(text) is None


def test_a_model_s_name_is_not_a_limit() -> None:
    assert read_prose("for gpt-4 requests per min") == Prose(REQUESTS, None, 60)
    assert read_prose("for o1.5 requests per min") == Prose(REQUESTS, None, 60)


def test_a_number_beyond_belief_is_not_said() -> None:
    assert read_prose("Limit 999999999999999M, Used 5") == Prose(used=5)


@pytest.mark.parametrize(
    ("name", "dimension"),
    [
        ("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", REQUESTS),
        ("GenerateContentInputTokensPerModelPerMinute-FreeTier", INPUT),
        ("GenerateTokensPerMinute", TOKENS),
        ("output-tokens", OUTPUT),
        ("UserByModelByMinute", REQUESTS),
        ("UserByModelByMinuteTokens", TOKENS),
        ("UserConcurrentRequests", None),
        ("token_quota_exceeded", TOKENS),
        ("rate_limit_exceeded", None),
        ("", None),
    ],
)
def test_a_quota_s_name_tells_its_dimension(name: str, dimension: Dimension | None) -> None:
    assert dimension_named(name) is dimension


AMOUNTS = st.integers(0, 10**9)


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.integers(0, 86_399_999), st.sampled_from(["tokens", "requests"]), st.sampled_from(["min", "day"]))
def test_what_a_provider_writes_is_what_is_read(limit: int, used: int, requested: int, wait_ms: int, what: str, unit: str) -> None:
    wait = f"{wait_ms // 60_000}m{wait_ms % 60_000 / 1000:.3f}s"
    for written in (str(limit), f"{limit:,}"):
        text = f"reached on {what} per {unit}: Limit {written}, Used {used}, Requested {requested}. Please try again in {wait}."
        said = read_prose(text)
        assert said is not None
        assert (said.dimension, said.limit, said.used, said.requested) == (what, limit, used, requested)
        assert said.period_s == {"min": 60, "day": 86_400}[unit]
        assert said.retry_after_s == pytest.approx(wait_ms / 1000)


WORDS = " ".join(text for _, text, _ in ROWS).split()


@given(st.text() | st.lists(st.sampled_from(WORDS) | st.integers().map(str) | st.text(max_size=3), max_size=40).map(" ".join))
def test_no_text_at_all_makes_it_fail_or_say_nonsense(text: str) -> None:
    said = read_prose(text)
    if said is not None:
        assert said != Prose()
        assert said.retry_after_s is None or 0 <= said.retry_after_s <= 86_400
        assert said.period_s is None or 0 < said.period_s <= 1e15
        for amount in (said.limit, said.used, said.requested):
            assert amount is None or 0 <= amount <= 1e15


@pytest.mark.parametrize(
    "unit", ["1", "1,111", "1 ", "1m", "1.1", "limit ", "limit: 1", "limit of 1 per ", "metric: a/", "input token ", "retry in 1m1m", "\t"]
)
def test_no_text_makes_it_slow(unit: str) -> None:
    text = unit * 1_000_000
    started_s = process_time()
    read_prose(text)
    assert process_time() - started_s < 1.0  # a few milliseconds; a pattern that backtracks takes minutes
