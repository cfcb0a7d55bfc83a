"""What a call used, in every client's shape; what cannot be read is not said."""

from __future__ import annotations

import math
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.messages import Cost
from scheduler.pools.quotas import Dimension
from scheduler.pools.usage import read_usage


class Hostile:
    """Every attribute raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("nothing here")


class Flood:
    """Has every attribute, and none is a number."""

    def __getattr__(self, name: str) -> Any:
        return self


class LyingMapping(dict[str, Any]):
    def get(self, key: Any, default: Any = None) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("usage", "used"),
    [
        (1_500, Cost(1_500, 0)),
        (1_500.5, Cost(1_500.5, 0)),
        (0, Cost(0, 0)),
        ((1_000, 500), Cost(1_000, 500)),
        ([1_000, 500], Cost(1_000, 500)),
        ({"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}, Cost(9, 3)),  # OpenAI, chat
        ({"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}, Cost(9, 3)),  # OpenAI, responses
        ({"input_tokens": 9, "output_tokens": 3, "cache_read_input_tokens": 5_000}, Cost(9, 3)),  # Anthropic: cache reads are apart
        ({"promptTokenCount": 9, "candidatesTokenCount": 3}, Cost(9, 3)),  # Gemini
        ({"inputTokens": 9, "outputTokens": 3, "totalTokens": 12}, Cost(9, 3)),  # Bedrock
        ({"prompt_tokens": 9, "completion_tokens": 0}, Cost(9, 0)),
        ({"prompt_tokens": 9}, Cost(9, 0)),  # embeddings
        ({"completion_tokens": 3, "prompt_tokens": None}, Cost(0, 3)),
        ({"total_tokens": 12}, Cost(12, 0)),
        (SimpleNamespace(prompt_tokens=9, completion_tokens=3), Cost(9, 3)),
        (SimpleNamespace(input_tokens=9, output_tokens=3), Cost(9, 3)),
        (SimpleNamespace(prompt_token_count=9, candidates_token_count=3, total_token_count=12), Cost(9, 3)),  # google-genai
        (SimpleNamespace(prompt_token_count=9, candidates_token_count=None), Cost(9, 0)),
        (MappingProxyType({"input_tokens": 9, "output_tokens": 3}), Cost(9, 3)),
    ],
)
def test_every_clients_shape_is_understood(usage: object, used: Cost) -> None:
    assert read_usage(usage) == used


@pytest.mark.parametrize(
    "usage",
    [
        None,
        True,
        -1,
        math.nan,
        math.inf,
        1e300,
        10**400,
        "1500",
        b"12",
        Decimal(12),
        (),
        (1,),
        (1, 2, 3),
        (1, "2"),
        (1, -2),
        (True, False),
        {},
        {"prompt_tokens": "9"},
        {"prompt_tokens": -9, "completion_tokens": math.nan},
        {"input_tokens": {"text": 3}},
        object(),
        SimpleNamespace(),
    ],
    ids=lambda usage: type(usage).__name__,
)
def test_what_cannot_be_read_is_not_said(usage: object) -> None:
    assert read_usage(usage) is None


@pytest.mark.parametrize("kind", [Hostile, Flood, LyingMapping])
def test_an_object_that_raises_or_says_nonsense_says_nothing(kind: type[Any]) -> None:
    assert read_usage(kind()) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["prompt_tokens", "output_tokens", "total_tokens", "x"]), inner, max_size=4)
        ),
        max_leaves=6,
    )
)
def test_whatever_comes_it_raises_nothing_and_tokens_are_finite_and_not_negative(usage: object) -> None:
    used = read_usage(usage)
    assert used is None or all(0 <= used.of(dimension) < math.inf for dimension in Dimension)
