"""Trouble to order: odd jobs beside sound ones, handlers that will not stop, programs that lock the file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio

from scheduler import JobContext, Registry, Status
from tests.support.engine import Engine


def raising(error: BaseException) -> Registry:
    """A handler ``odd`` that raises ``error``, an async one and a sync one, beside a sound handler ``sound``."""
    routes = Registry()

    @routes.handler("odd", "async")
    async def odd(job: JobContext) -> None:
        raise error

    @routes.handler("odd", "sync")
    def odd_in_a_thread(job: JobContext) -> None:
        raise error

    @routes.handler("sound")
    async def sound(job: JobContext) -> str:
        return "sound"

    return routes


async def outcome(at: Engine, target_type: str = "", payload: Any = None) -> tuple[Status, str | None, str | None]:
    """How a job ``odd`` ends; a sound job enqueued after it must still run, in the same service."""
    odd = await at.scheduler.enqueue("odd", target_type, payload=payload)
    sound = await at.scheduler.enqueue("sound")
    async with at.running():
        await at.until_status(sound.job_id, Status.COMPLETED)
        job = await at.until_status(odd.job_id, *(status for status in Status if status.is_terminal))
        again = await at.scheduler.enqueue("sound")
        await at.until_status(again.job_id, Status.COMPLETED)
    return job.status, job.reason, job.error


class DeafHandler:
    """``deaf`` ignores every cancellation until it is released; ``sound`` is sound."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.routes = Registry()
        self._released = anyio.Event()
        self.routes.handler("deaf")(self._deaf)
        self.routes.handler("sound")(self._sound)

    def release(self) -> None:
        self._released.set()

    async def _deaf(self, job: JobContext) -> str:
        self.log.append("started")
        while not self._released.is_set():
            with suppress(asyncio.CancelledError):
                await self._released.wait()
        self.log.append("returned")
        return "late"

    async def _sound(self, job: JobContext) -> str:
        return "sound"


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Another program is in an exclusive transaction on the SQLite file at ``url``."""
    other = sqlite3.connect(Path(url.removeprefix("sqlite:///")), isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()
