"""Job ids: UUIDs of version 7, so that they sort by time and cannot be guessed (RFC 9562, section 5.7)."""

from __future__ import annotations

import os


def job_id(now: float) -> str:
    """A new id for a job made at ``now`` (seconds since the epoch)."""
    value = (int(max(now, 0.0) * 1000) & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
