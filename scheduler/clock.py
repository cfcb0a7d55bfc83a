"""The only place that reads a clock.

Wall time (seconds since the epoch) is for what people and other processes see: ``run_after``,
pause windows, time stamps. Monotonic time is for limits and for judging whether another worker
still lives, so that a clock set forward or back neither kills jobs nor takes them over.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """What the moving parts ask for the time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class LoopClock:
    """Time as the event loop tells it: with a virtual-time loop an hour passes at once."""

    def __init__(self, epoch: float = 1_700_000_000.0) -> None:
        self.epoch = epoch

    def now(self) -> float:
        return self.epoch + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()  # also in a plain callback, where anyio knows no task

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
