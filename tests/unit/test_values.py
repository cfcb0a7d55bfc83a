"""The door: what is refused, with which words, and that everything else comes back as it went in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from scheduler.errors import InvalidJobError
from scheduler.values import MAX_BODY_BYTES, MAX_NAME_CHARS, _encoded, _plain, check_int, check_text, decode_json, encode_json, printable

LARGEST = 2**63 - 1

storable_text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
storable = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST - 1, LARGEST) | st.floats(allow_nan=False, allow_infinity=False) | storable_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(storable_text, inner, max_size=4),
    max_leaves=20,
)


def nested_lists(depth: int) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = [value]
    return value


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Entity(BaseModel):
    name: str
    tags: list[str] = []


@dataclass
class Place:
    path: str
    entity: Entity | None = None


class Score(float):
    """A float of another class, as numpy's are."""


@given(storable)
def test_what_is_stored_comes_back_as_it_was(value: Any) -> None:
    text = encode_json(value)
    assert decode_json(text) == value
    assert json.loads(text) == value


odd = st.recursive(
    storable
    | st.text(st.sampled_from(list("ab\\u0\x00\ud800")), max_size=8)
    | st.sampled_from([math.nan, LARGEST + 1, -LARGEST - 2, b"", {1}, {2: 3}, {None: 4}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "\x00", "\udfff", "\\u0000"]), inner, max_size=3),
    max_leaves=6,
)


@given(odd)
def test_the_quick_look_lets_pass_what_the_close_one_does_and_as_the_same_text(value: Any) -> None:
    quick = _encoded(value)
    if quick is not None:
        assert quick == pydantic_core.to_json(_plain(value, "payload", 0))


def test_most_payloads_need_no_close_look() -> None:
    assert _encoded({"name": "größe", "n": [1, 2.5, None, True], "deep": {"er": "\n"}}) is not None


def test_what_only_looks_like_a_nul_is_kept() -> None:
    assert decode_json(encode_json({"text": "\\u0000"})) == {"text": "\\u0000"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": (1, 2)}, '{"a":[1,2]}'),
        (Entity(name="x", tags=["y"]), '{"name":"x","tags":["y"]}'),
        (Place("p", Entity(name="x")), '{"path":"p","entity":{"name":"x","tags":[]}}'),
        ([Colour.RED, Level.HIGH], '["red",3]'),
        (MappingProxyType({Colour.RED: None}), '{"red":null}'),
        (Score(0.5), "0.5"),
        ("größe 🦉", '"größe 🦉"'),
        (-0.0, "-0.0"),
    ],
    ids=repr,
)
def test_models_and_their_like_become_plain_json(value: Any, text: str) -> None:
    assert encode_json(value) == text


class Cyclic(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return self

    def __iter__(self) -> Any:
        return iter(("me",))

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("a\ud800b", "payload has a lone surrogate at position 1, which no store can hold; remove it"),
        ({"a": ["ok", "\udfff"]}, "payload.a[1] has a lone surrogate at position 0"),
        ({"\ud800": 1}, "payload key has a lone surrogate at position 0"),
        ({"name": "ab\x00"}, "payload.name has a NUL character at position 2, which no store can hold; remove it"),
        ({"a\x00": 1}, "payload key has a NUL character at position 1"),
        ({"a": math.nan}, "payload.a is nan, which JSON cannot hold; use null or text"),
        ([math.inf], "payload[0] is inf"),
        (-math.inf, "payload is -inf"),
        (Score("nan"), "payload is nan"),
        ({"n": LARGEST + 1}, "payload.n does not fit in 63 bits: pass it as text"),
        ([-LARGEST - 2], "payload[0] does not fit in 63 bits"),
        ({1: "one"}, "payload has the key 1; JSON keys are text"),
        ({"a": {1, 2}}, "payload.a is a set, which JSON cannot hold; convert it to text, numbers, lists or objects"),
        (b"bytes", "payload is a bytes"),
        (object(), "payload is a object"),
        (Entity, "payload is a ModelMetaclass"),
        (Place, "payload is a type"),
        (Cyclic(), "nested more than 32 deep; flatten it"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("payload") else "",
)
def test_what_no_store_can_hold_is_refused_and_the_message_says_where(value: Any, complaint: str) -> None:
    with pytest.raises(InvalidJobError) as refused:
        encode_json(value)
    assert complaint in str(refused.value)


def test_the_message_names_what_it_is_about() -> None:
    with pytest.raises(InvalidJobError, match=r"^result\.a is nan"):
        encode_json({"a": math.nan}, "result")


@pytest.mark.parametrize("number", [LARGEST, -LARGEST - 1])
def test_integers_of_63_bits_are_kept(number: int) -> None:
    assert decode_json(encode_json(number)) == number
    assert check_int(number, "priority") == number


class TestDepth:
    def test_32_levels_are_allowed_and_33_are_not(self) -> None:
        assert decode_json(encode_json(nested_lists(32))) == nested_lists(32)
        with pytest.raises(InvalidJobError, match="nested more than 32 deep; flatten it"):
            encode_json(nested_lists(33))

    def test_objects_count_like_lists(self) -> None:
        value: Any = 1
        for _ in range(32):
            value = {"in": value}
        encode_json(value)
        with pytest.raises(InvalidJobError, match="nested more than 32 deep"):
            encode_json({"in": value})

    def test_a_model_counts_as_the_object_that_it_becomes(self) -> None:
        encode_json(Place("p", None))
        value: Any = Place("p")
        for _ in range(31):
            value = [value]
        encode_json(value)
        with pytest.raises(InvalidJobError, match="nested more than 32 deep"):
            encode_json([value])

    def test_endless_nesting_ends_in_the_same_clear_error(self) -> None:
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(InvalidJobError, match="nested more than 32 deep"):
            encode_json(loop)


class TestSize:
    def test_a_megabyte_is_allowed_and_a_byte_more_is_not(self) -> None:
        assert len(encode_json("x" * (MAX_BODY_BYTES - 2))) == MAX_BODY_BYTES
        with pytest.raises(InvalidJobError, match=r"payload is 1,000,001 bytes of JSON; the limit is 1,000,000\. Store the body elsewhere"):
            encode_json("x" * (MAX_BODY_BYTES - 1))

    def test_the_limit_is_in_bytes_and_not_in_characters(self) -> None:
        with pytest.raises(InvalidJobError, match="bytes of JSON"):
            encode_json("ß" * 600_000)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "{", "", "{'a': 1}", "[1,]", "\ud800"])
def test_what_is_not_json_is_not_decoded(text: str) -> None:
    with pytest.raises(ValueError):
        decode_json(text)


class TestNames:
    def test_text_is_kept_as_it_is(self) -> None:
        assert check_text("größe 🦉", "owner") == "größe 🦉"
        assert check_text("x" * MAX_NAME_CHARS, "owner") == "x" * MAX_NAME_CHARS

    @pytest.mark.parametrize(
        ("value", "complaint"),
        [
            (7, "owner must be text, not int"),
            (None, "owner must be text, not NoneType"),
            ("x" * 513, "owner is 513 characters long; the limit is 512"),
            ("a\x00", "owner has a NUL character at position 1"),
            ("\ud83d", "owner has a lone surrogate at position 0"),
        ],
    )
    def test_what_cannot_be_a_name_is_refused(self, value: Any, complaint: str) -> None:
        with pytest.raises(InvalidJobError) as refused:
            check_text(value, "owner")
        assert complaint in str(refused.value)

    @pytest.mark.parametrize("value", [True, 1.0, "1", None])
    def test_a_whole_number_is_nothing_else(self, value: Any) -> None:
        with pytest.raises(InvalidJobError, match=r"^priority must be a whole number, not "):
            check_int(value, "priority")

    @pytest.mark.parametrize("value", [LARGEST + 1, -LARGEST - 2, 10**400])
    def test_a_number_too_large_is_refused(self, value: int) -> None:
        with pytest.raises(InvalidJobError, match="priority does not fit in 63 bits: pass it as text"):
            check_int(value, "priority")


class TestPrintable:
    @given(st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=80), st.integers(1, 60))
    def test_anything_becomes_text_that_can_be_stored(self, text: str, limit: int) -> None:
        shown = printable(text, limit)
        assert len(shown) <= limit
        assert check_text(shown, "error") == shown

    def test_good_text_stays_and_long_text_shows_that_it_was_cut(self) -> None:
        assert printable("fine\nlines") == "fine\nlines"
        assert printable("abcdef", 4) == "abc…"
        assert printable("a\x00\ud800b") == "a\ufffd\ufffdb"
