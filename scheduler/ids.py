"""Job ids: UUIDs of version 7, so that they sort by time and cannot be guessed (RFC 9562, section 5.7)."""

from __future__ import annotations

import os

#: Ids that one call to the operating system's random source is enough for.
_BLOCK = 128
#: Random hexadecimal digits, 20 for each id to come. ``pop`` is atomic, so that threads never get the same.
_digits: list[str] = []

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def job_id(now: float) -> str:
    """A new id for a job made at ``now`` (seconds since the epoch)."""
    time = f"{int(now * 1000) if now > 0.0 else 0:012x}"
    try:
        random = _digits.pop()
    except IndexError:
        random = _more()
    return f"{time[:8]}-{time[8:]}-7{random[:3]}-{_VARIANT[random[3]]}{random[4:7]}-{random[7:19]}"


def _more() -> str:
    text = os.urandom(10 * _BLOCK).hex()
    _digits.extend(text[start : start + 20] for start in range(20, len(text), 20))
    return text[:20]


if hasattr(os, "register_at_fork"):  # a forked child must not give out its parent's ids
    os.register_at_fork(after_in_child=_digits.clear)
