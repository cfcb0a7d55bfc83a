"""What every contender's handler does: count the call and stamp it, in a small mapped file that the runner reads.

A microsecond a call and no I/O. Only the standard library: peers run this in environments of their own.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

#: Calls whose wait is kept, for pick-up.
SAMPLES = 4_000
_HEAD = struct.Struct("<qdd")
_WAIT = struct.Struct("<d")
_HEAD_BYTES = 64


class Hits:
    """One worker's calls: how many, the first and the last by the system's monotonic clock; how long each had waited."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(b"\0" * (_HEAD_BYTES + _WAIT.size * SAMPLES))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.count, self.first, self.last = _HEAD.unpack_from(self._map, 0)

    def hit(self, since: float = 0.0) -> None:
        """``since``: when the job was enqueued, if that is to be kept."""
        now = time.monotonic()
        if not self.count:
            self.first = now
        if since and self.count < SAMPLES:
            _WAIT.pack_into(self._map, _HEAD_BYTES + _WAIT.size * self.count, now - since)
        self.count += 1
        _HEAD.pack_into(self._map, 0, self.count, self.first, now)

    def read(self) -> tuple[int, float, float]:
        count, first, last = _HEAD.unpack_from(self._map, 0)
        return int(count), float(first), float(last)

    def waits(self) -> list[float]:
        """Seconds, in the order of the calls."""
        return [_WAIT.unpack_from(self._map, _HEAD_BYTES + _WAIT.size * place)[0] for place in range(min(self.read()[0], SAMPLES))]
