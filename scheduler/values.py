"""The door for data: what may be stored as JSON, and how it is written and read.

Pure. Refuses what breaks databases or readers later: lone surrogates, NUL, NaN and infinities,
integers over 63 bits, bodies over 1 MB, nesting over 32. Does not belong here: what the data means.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import pydantic_core
from pydantic import BaseModel

from scheduler.errors import InvalidJobError

MAX_BODY_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NAME_CHARS = 512
_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_BAD_TEXT = re.compile("[\x00\ud800-\udfff]")
#: A NUL in JSON; or a backslash before "u0000", which the closer look lets pass.
_NUL = b"\\u0000"
#: Nothing but their text can be wrong with these.
_SOUND = frozenset({str, bool, type(None)})


def decode_json(text: str) -> Any:
    """Decode JSON text; raises ``ValueError`` when it is not JSON (NaN and infinities are not)."""
    return pydantic_core.from_json(text.encode(), allow_inf_nan=False)  # a lone surrogate does not encode: a ValueError too


def encode_json(value: Any, what: str = "payload") -> str:
    """Encode ``value`` as JSON text after checking it; models and dataclasses become objects.

    Raises ``InvalidJobError`` naming ``what`` and the place inside it.
    """
    encoded = _encoded(value) or pydantic_core.to_json(_plain(value, what, 0))
    if len(encoded) > MAX_BODY_BYTES:
        raise InvalidJobError(
            f"{what} is {len(encoded):,} bytes of JSON; the limit is {MAX_BODY_BYTES:,}. Store the body elsewhere and pass a reference."
        )
    return encoded.decode()


def check_text(value: str, what: str, *, limit: int = MAX_NAME_CHARS) -> str:
    """``value`` if it is text that every store can hold, else ``InvalidJobError``."""
    if not isinstance(value, str):
        raise InvalidJobError(f"{what} must be text, not {type(value).__name__}")
    if len(value) > limit:
        raise InvalidJobError(f"{what} is {len(value):,} characters long; the limit is {limit:,}")
    if not value.isascii() or "\x00" in value:
        _check_characters(value, what)
    return value


def check_int(value: int, what: str) -> int:
    """``value`` if it is an integer of at most 63 bits, else ``InvalidJobError``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidJobError(f"{what} must be a whole number, not {value!r}")
    if not _MIN_INT <= value <= _MAX_INT:
        raise InvalidJobError(f"{what} does not fit in 63 bits: pass it as text")
    return value


def printable(text: str, limit: int = 2_000) -> str:
    """``text`` cut to ``limit`` characters with what no store can hold replaced."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return _BAD_TEXT.sub("\ufffd", cut)


def _check_characters(value: str, what: str) -> None:
    bad = _BAD_TEXT.search(value)
    if bad:
        kind = "a NUL character" if bad.group() == "\x00" else "a lone surrogate"
        raise InvalidJobError(f"{what} has {kind} at position {bad.start()}, which no store can hold; remove it")


def _encoded(value: Any) -> bytes | None:
    """``value`` as JSON if it is sound and plain as it stands, which most are; None: look closer, to convert it or to say what is wrong."""
    if not _is_plain(value, 0):
        return None
    try:
        encoded = pydantic_core.to_json(value)
    except ValueError:  # a lone surrogate
        return None
    return None if _NUL in encoded else encoded


def _is_plain(value: Any, depth: int) -> bool:
    """Whether ``value`` has only plain JSON types, text keys and numbers that can be stored. Text is for ``_encoded`` to check."""
    kind = type(value)
    if kind is dict:
        if depth >= MAX_DEPTH:
            return False
        for key, item in value.items():
            if type(key) is not str:
                return False
            if type(item) not in _SOUND and not _is_plain(item, depth + 1):
                return False
        return True
    if kind is int:
        return bool(_MIN_INT <= value <= _MAX_INT)
    if kind is float:
        return math.isfinite(value)
    if kind is list or kind is tuple:
        return depth < MAX_DEPTH and all(type(item) in _SOUND or _is_plain(item, depth + 1) for item in value)
    return kind in _SOUND


def _plain(value: Any, what: str, depth: int) -> Any:
    """``value`` as plain JSON types, checked on the way down."""
    kind = type(value)
    if kind is str:
        if not value.isascii() or "\x00" in value:
            _check_characters(value, what)
        return value
    if value is None or kind is bool:
        return value
    if kind is int:
        return check_int(value, what)
    if kind is float:
        if not math.isfinite(value):
            raise InvalidJobError(f"{what} is {value}, which JSON cannot hold; use null or text")
        return value
    if depth >= MAX_DEPTH:
        raise InvalidJobError(f"{what} is nested more than {MAX_DEPTH} deep; flatten it")
    return _plain_container(value, what, depth + 1)


def _plain_container(value: Any, what: str, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _plain_object(value, what, depth)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{what}[{index}]", depth) for index, item in enumerate(value)]
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json"), what, depth - 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _plain(fields, what, depth - 1)
    if isinstance(value, str):  # a StrEnum, say
        return _plain(str(value), what, depth)
    if isinstance(value, int):  # an IntEnum, say
        return check_int(int(value), what)
    if isinstance(value, float):  # numpy.float64 is a float
        return _plain(float(value), what, depth)
    raise InvalidJobError(f"{what} is a {type(value).__name__}, which JSON cannot hold; convert it to text, numbers, lists or objects")


def _plain_object(value: Mapping[Any, Any], what: str, depth: int) -> dict[str, Any]:
    plain = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidJobError(f"{what} has the key {key!r}; JSON keys are text")
        if not key.isascii() or "\x00" in key:
            _check_characters(key, f"{what} key")
        plain[str(key)] = _plain(item, f"{what}.{key[:40]}", depth)
    return plain
