"""An odd job and the sound jobs around it: however the one ends, the others must run in the same service."""

from __future__ import annotations

from typing import Any

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
