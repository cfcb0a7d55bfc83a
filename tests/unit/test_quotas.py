"""What headers tell of quotas: a row for each dialect, then anything at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.pools.quotas import Dimension, Reading, implied_period_s, read_quotas

#: Whichever of the two the installed openai client brings.
httpx: Any = import_module("httpx2" if find_spec("httpx2") else "httpx")

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
REQUESTS, TOKENS, INPUT, OUTPUT = Dimension.REQUESTS, Dimension.TOKENS, Dimension.INPUT_TOKENS, Dimension.OUTPUT_TOKENS

#: What comes with every answer and speaks of no quota.
OTHERS = {
    "date": "Tue, 14 Nov 2023 22:13:20 GMT",
    "content-type": "application/json",
    "openai-processing-ms": "1234",
    "x-ratelimit-limit-tokens_usage_based": "5",
    "x-request-id": "req_1",
}


def reading(
    dimension: Dimension,
    source: str,
    limit: float | None = None,
    remaining: float | None = None,
    reset_s: float | None = None,
    period_s: float | None = None,
    rounding: float = 0.0,
) -> Reading:
    return Reading(dimension, limit, remaining, reset_s, period_s, rounding, source)


def openai(kind: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    return {f"x-ratelimit-limit-{kind}": limit, f"x-ratelimit-remaining-{kind}": remaining, f"x-ratelimit-reset-{kind}": reset}


def anthropic(kind: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    names = ("limit", "remaining", "reset")
    return {f"anthropic-ratelimit-{kind}-{name}": value for name, value in zip(names, (limit, remaining, reset), strict=True)}


ROWS: list[tuple[str, dict[str, str], list[Reading]]] = [
    (
        "OpenAI",
        openai("requests", "10000", "9999", "6ms") | openai("tokens", "2000000", "1999962", "2s81ms"),
        [
            reading(REQUESTS, "x-ratelimit-limit-requests", 10_000, 9_999, 0.006),
            reading(TOKENS, "x-ratelimit-limit-tokens", 2_000_000, 1_999_962, 2.081),
        ],
    ),
    (
        "OpenAI with a project's tokens",
        openai("tokens", "60000", "59000", "1s") | openai("project-tokens", "30000", "0", "6m0s"),
        [
            reading(TOKENS, "x-ratelimit-limit-tokens", 60_000, 59_000, 1),
            reading(TOKENS, "x-ratelimit-limit-project-tokens", 30_000, 0, 360),
        ],
    ),
    (
        "Azure, tokens unknown",
        {"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1", "x-ratelimit-remaining-requests": "9"},
        [reading(REQUESTS, "x-ratelimit-remaining-requests", remaining=9)],
    ),
    ("Azure, limit unknown", openai("tokens", "-1", "500", "0"), [reading(TOKENS, "x-ratelimit-remaining-tokens", None, 500, 0)]),
    (
        "Anthropic",
        {
            **anthropic("requests", "50", "49", "2023-11-14T22:13:21Z"),
            **anthropic("tokens", "48000", "47000", "2023-11-14T22:13:20Z"),
            **anthropic("input-tokens", "40000", "39000", "2023-11-14T22:14:20Z"),
            **anthropic("output-tokens", "8000", "8000", "2023-11-14T22:13:19Z"),
        },
        [
            reading(REQUESTS, "anthropic-ratelimit-requests-limit", 50, 49, 1, 60),
            reading(TOKENS, "anthropic-ratelimit-tokens-limit", 48_000, 47_000, 0, 60, 1_000),
            reading(INPUT, "anthropic-ratelimit-input-tokens-limit", 40_000, 39_000, 60, 60, 1_000),
            reading(OUTPUT, "anthropic-ratelimit-output-tokens-limit", 8_000, 8_000, 0, 60, 1_000),
        ],
    ),
    (
        "Groq",
        openai("requests", "14400", "14370", "2m59.56s") | openai("tokens", "18000", "17997", "7.66ms"),
        [
            reading(REQUESTS, "x-ratelimit-limit-requests", 14_400, 14_370, 179.56),
            reading(TOKENS, "x-ratelimit-limit-tokens", 18_000, 17_997, 0.00766),
        ],
    ),
    (
        "Mistral",
        {
            "x-ratelimit-limit-req-minute": "50",
            "x-ratelimit-remaining-req-minute": "49",
            "x-ratelimit-limit-tokens-minute": "50000",
            "x-ratelimit-remaining-tokens-minute": "47300",
            "x-ratelimit-limit-tokens-month": "1000000000",
            "x-ratelimit-tokens-query-cost": "1300",
        },
        [
            reading(REQUESTS, "x-ratelimit-limit-req-minute", 50, 49, period_s=60),
            reading(TOKENS, "x-ratelimit-limit-tokens-minute", 50_000, 47_300, period_s=60),
            reading(TOKENS, "x-ratelimit-limit-tokens-month", 1e9, period_s=2_592_000),
        ],
    ),
    (
        "Mistral, a model outside the plan",
        {"x-ratelimit-limit-req-minute": "0"},
        [reading(REQUESTS, "x-ratelimit-limit-req-minute", 0, period_s=60)],
    ),
    (
        "Cerebras",
        {
            **openai("requests-minute", "30", "29", "45.5"),
            **openai("requests-hour", "900", "899", "3599"),
            **openai("requests-day", "14400", "14399", "33011.38"),
            **openai("tokens-minute", "60000", "59000", "11.25"),
        },
        [
            reading(REQUESTS, "x-ratelimit-limit-requests-minute", 30, 29, 45.5, 60),
            reading(REQUESTS, "x-ratelimit-limit-requests-hour", 900, 899, 3_599, 3_600),
            reading(REQUESTS, "x-ratelimit-limit-requests-day", 14_400, 14_399, 33_011.38, 86_400),
            reading(TOKENS, "x-ratelimit-limit-tokens-minute", 60_000, 59_000, 11.25, 60),
        ],
    ),
    (
        "GitHub Models",
        {**openai("requests", "20000", "19999", "3"), "x-ratelimit-renewalperiod-requests": "60"},
        [reading(REQUESTS, "x-ratelimit-limit-requests", 20_000, 19_999, 3, 60)],
    ),
    ("Cohere", {"x-trial-endpoint-call-remaining": "39"}, [reading(REQUESTS, "x-trial-endpoint-call-remaining", remaining=39)]),
    (
        "Cohere with the limit",
        {"x-trial-endpoint-call-limit": "40", "x-trial-endpoint-call-remaining": "39"},
        [reading(REQUESTS, "x-trial-endpoint-call-limit", 40, 39)],
    ),
    (
        "IETF draft",
        {"RateLimit-Limit": "100", "RateLimit-Remaining": "50", "RateLimit-Reset": "30", "RateLimit-Policy": "100;w=60, 5000;w=3600"},
        [reading(REQUESTS, "ratelimit-limit", 100, 50, 30, 60)],
    ),
    (
        "IETF draft, windows in the limit",
        {"ratelimit-limit": "100, 10;w=1, 100;window=60", "ratelimit-remaining": "98"},
        [reading(REQUESTS, "ratelimit-limit", 100, 98, None, 60)],
    ),
    (
        "a gateway",
        {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": "599", "X-RateLimit-Reset": "12"},
        [reading(REQUESTS, "x-ratelimit-limit", 600, 599, 12)],
    ),
    (
        "a gateway, a reset in seconds since the epoch",
        {"x-ratelimit-limit": "600", "x-ratelimit-reset": "1700000012"},
        [reading(REQUESTS, "x-ratelimit-limit", 600, None, 12)],
    ),
    (
        "a gateway, a reset in milliseconds since the epoch",
        {"x-ratelimit-limit": "600", "x-ratelimit-reset": "1700000012500"},
        [reading(REQUESTS, "x-ratelimit-limit", 600, None, 12.5)],
    ),
    (
        "a gateway, a reset that has passed",
        {"x-ratelimit-limit": "600", "x-ratelimit-reset": "1600000000"},
        [reading(REQUESTS, "x-ratelimit-limit", 600, None, 0)],
    ),
    (
        "LiteLLM",
        {"llm_provider-x-ratelimit-limit-requests": "30000", "llm_provider-x-ratelimit-remaining-requests": "29999"},
        [reading(REQUESTS, "llm_provider-x-ratelimit-limit-requests", 30_000, 29_999)],
    ),
    (
        "LiteLLM with limits of its own for requests",
        {
            "x-ratelimit-limit-requests": "10",
            "llm_provider-x-ratelimit-limit-requests": "30000",
            "llm_provider-x-ratelimit-limit-tokens": "150000000",
            "llm_provider-anthropic-ratelimit-input-tokens-remaining": "7000",
        },
        [
            reading(REQUESTS, "x-ratelimit-limit-requests", 10),
            reading(TOKENS, "llm_provider-x-ratelimit-limit-tokens", 150_000_000),
            reading(INPUT, "llm_provider-anthropic-ratelimit-input-tokens-remaining", None, 7_000, None, 60, 1_000),
        ],
    ),
    ("a reset alone", {"x-ratelimit-reset-requests": "1s"}, []),
    ("names that only look alike", {"x-ratelimit-limit-images": "5", "ratelimit": '"default";r=50;t=30', "x-trial": "1"}, []),
    ("nothing", {}, []),
]


class Multi(Mapping[str, str]):
    """Like multidict's: the case that came is kept, a name may come more than once."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self._pairs = pairs

    def __getitem__(self, key: str) -> str:
        return next(value for name, value in self._pairs if name.lower() == key.lower())

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def items(self) -> Any:
        return list(self._pairs)


@pytest.mark.parametrize(("name", "headers", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_each_dialect_is_read_whatever_kind_of_mapping_it_comes_in(name: str, headers: dict[str, str], expected: list[Reading]) -> None:
    headers = OTHERS | headers
    shouted = {name.upper(): value for name, value in headers.items()}
    for shape in (headers, shouted, Multi(*headers.items()), httpx.Headers(headers), httpx.Headers(shouted)):
        found = read_quotas(shape, NOW)
        assert [one.source for one in found] == [one.source for one in expected]
        for one, wanted in zip(found, expected, strict=True):
            assert replace(one, reset_s=None) == replace(wanted, reset_s=None)
            assert one.reset_s == (None if wanted.reset_s is None else pytest.approx(wanted.reset_s, abs=1e-6))


@pytest.mark.parametrize("value", ["", "many", "-1", "-0.5", "nan", "inf", "1e3", "1_000", "0x10", "٥", "²", "1e16", "9" * 16, "1" * 200])
def test_a_value_that_is_no_quota_is_not_said(value: str) -> None:
    assert read_quotas({"x-ratelimit-limit-requests": value}, NOW) == ()
    (found,) = read_quotas(openai("requests", value, "7", value), NOW)
    assert (found.limit, found.remaining, found.reset_s) == (None, 7.0, None)
    assert found.source == "x-ratelimit-remaining-requests"


@pytest.mark.parametrize("value", ["0", "a minute", "-60", "100;w=0", "7;w=60", "100;w=9999999999"])
def test_a_period_that_is_none_is_not_said(value: str) -> None:
    headers = {"x-ratelimit-limit-requests": "100", "x-ratelimit-renewalperiod-requests": value, "ratelimit-limit": "100"}
    assert [one.period_s for one in read_quotas({**headers, "ratelimit-policy": value}, NOW)] == [None, None]


def test_of_a_header_that_came_twice_the_first_counts() -> None:
    pairs = (("x-ratelimit-limit", "60"), ("x-ratelimit-limit", "90"))
    joined = {"x-ratelimit-limit": "60, 90"}
    for headers in (Multi(*pairs), httpx.Headers(list(pairs)), joined):
        assert [one.limit for one in read_quotas(headers, NOW)] == [60.0]


def test_a_heap_of_headers_is_not_looked_through() -> None:
    heap = {f"x-ratelimit-limit-{number}": "1" for number in range(100_000)}
    assert read_quotas(heap | {"x-ratelimit-limit": "60"}, NOW) == ()


class RawLookalike(dict[Any, Any]):
    raw: Any = ()


@pytest.mark.parametrize("raw", [None, [], [1], [("a", "b")], [(b"x-ratelimit-limit", None)], [(b"x-ratelimit-limit", b"\xff"), (1, 2)]])
def test_mappings_of_other_makes_and_odd_keys_are_read_as_far_as_they_can_be(raw: Any) -> None:
    odd = RawLookalike({1: "x", b"x-ratelimit-limit": "4", None: None, "x-ratelimit-remaining": 5, "x-ratelimit-limit": "6"})
    odd.raw = raw
    assert {one.limit for one in read_quotas(odd, NOW)} <= {6.0}


NAMES = sorted({name for _, headers, _ in ROWS for name in headers})
VALUES = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["6ms", "1h", "2023-11-14T22:14:20Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "100;w=60"]),
)
HEADERS = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=20), VALUES, max_size=12)


def is_amount(value: float | None) -> bool:
    return value is None or (isinstance(value, float) and 0 <= value <= 1e15)


@given(HEADERS, st.floats(min_value=-1e12, max_value=1e12) | st.just(math.nan))
@example({"x-ratelimit-limit": "1", "x-ratelimit-reset": "1e309"}, NOW)
def test_no_headers_at_all_make_it_fail_or_say_nonsense(headers: dict[str, str], now: float) -> None:
    for one in read_quotas(headers, now):
        assert all(map(is_amount, (one.limit, one.remaining, one.reset_s, one.period_s)))
        assert one.limit is not None or one.remaining is not None
        assert one.period_s != 0
        assert implied_period_s(one.limit, one.remaining, one.reset_s) in (None, 1, 60, 3_600, 86_400)


@given(st.dictionaries(st.text(max_size=12) | st.binary(max_size=12) | st.integers(), st.text(max_size=5) | st.none() | st.integers()))
def test_no_mapping_at_all_makes_it_fail(headers: dict[Any, Any]) -> None:
    assert read_quotas({**headers, "x-ratelimit-limit": "60"}, NOW) == (reading(REQUESTS, "x-ratelimit-limit", 60),)


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**6), st.sampled_from(["requests", "tokens", "project-tokens"]))
def test_what_a_provider_writes_is_what_is_read(limit: int, remaining: int, reset_ms: int, kind: str) -> None:
    (found,) = read_quotas(OTHERS | openai(kind, str(limit), str(remaining), f"{reset_ms // 1000}s{reset_ms % 1000}ms"), NOW)
    assert (found.limit, found.remaining) == (limit, remaining)
    assert found.reset_s == pytest.approx(reset_ms / 1000)


class TestTheImpliedPeriod:
    @pytest.mark.parametrize(
        ("limit", "remaining", "reset_s", "period_s"),
        [
            (14_400, 14_370, 179.56, 86_400),  # Groq's own example: requests per day
            (18_000, 17_000, 3.333, 60),
            (60_000, 143, 59.857, 60),
            (3, 0, 60, 60),
            (3, 1, 40, 60),
            (200, 0, 86_400, 86_400),
            (5_000, 2_500, 1_800, 3_600),
            (10, 5, 0.5, 1),
        ],
    )
    def test_a_bucket_that_refills_continuously_shows_it(self, limit: float, remaining: float, reset_s: float, period_s: float) -> None:
        assert implied_period_s(limit, remaining, reset_s) == period_s

    @pytest.mark.parametrize(
        ("limit", "remaining", "reset_s"),
        [
            (10_000, 9_999, 0.006),  # one unit, rounded, tells nothing
            (50, 49, 72.5),  # 0.04 of a day's unit, rounded: looks like an hour's
            (10_000, 10_000, 0.0),
            (20_000, 19_999, 3.0),
            (2_000_000, 1_999_977, 1.0),  # a whole second that may be two: not a day's quota
            (100, 50, 7.5),  # a period that nobody uses
            (1_000, 984, 57.5),  # a window of a minute, hardly used: not an hour's quota
            (1_000, 999_999, 5.5),
            (0, 0, 60.0),
            (None, 1, 1.5),
            (100, None, 1.5),
            (100, 50, None),
            (100, 50, math.nan),
            (math.nan, 50, 30.5),
            (math.inf, 50, 30.5),
            (100, -5, 30.5),
        ],
    )
    def test_where_the_numbers_do_not_tell_it_is_silent(self, limit: Any, remaining: Any, reset_s: Any) -> None:
        assert implied_period_s(limit, remaining, reset_s) is None

    @given(st.sampled_from([1, 60, 3_600, 86_400]), st.integers(20, 10**7), st.floats(0.05, 1.0))
    def test_a_bucket_well_used_is_always_recognised(self, period_s: int, limit: int, share: float) -> None:
        used = max(limit * share, 8.0)
        reset_s = round(used / limit * period_s, 3)
        found = implied_period_s(limit, math.floor(limit - used), reset_s)
        assert found == period_s or (found is None and reset_s < 7)

    @given(st.integers(1, 10**6), st.integers(0, 10**6), st.floats(0.001, 60.0))
    def test_a_window_of_a_minute_is_never_taken_for_a_longer_one(self, limit: int, remaining: int, reset_s: float) -> None:
        assert implied_period_s(limit, remaining, reset_s) in (None, 1, 60)

    @given(*[st.floats() | st.integers() | st.none()] * 3)
    def test_no_numbers_make_it_fail(self, limit: float | None, remaining: float | None, reset_s: float | None) -> None:
        assert implied_period_s(limit, remaining, reset_s) in (None, 1, 60, 3_600, 86_400)
