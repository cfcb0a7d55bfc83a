"""The handlers that the shell tests' jobs call: each does one thing, well or badly."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import Any

import anyio

from scheduler import AIProviderError, JobContext, RateLimitError, Registry

routes = Registry()


@routes.handler("good", pool="main")
async def good(job: JobContext, payload: dict[str, Any]) -> dict[str, Any]:
    return {"got": payload}


@routes.handler("bad", max_attempts=1)
async def bad(job: JobContext, payload: dict[str, Any]) -> None:
    raise RuntimeError(payload.get("say", "no good"))


@routes.handler("fresh", freshness=lambda payload, resources: payload["content"])
async def fresh(job: JobContext, payload: dict[str, Any]) -> dict[str, Any]:
    return {"read": payload["content"]}


@routes.handler("limited", pool="provider")
async def limited(job: JobContext) -> None:
    raise RateLimitError("later", retry_after_s=3_600)


@routes.handler("down", pool="unsteady", max_attempts=9)
async def down(job: JobContext) -> None:
    raise AIProviderError("nobody is there")


@routes.handler("waiting")
async def waiting(job: JobContext, payload: dict[str, Any]) -> None:
    """Says that it runs by making a file, then waits for its end."""
    await anyio.Path(payload["started"]).touch()
    await anyio.sleep_forever()


@routes.handler("stubborn")
async def stubborn(job: JobContext, payload: dict[str, Any]) -> None:
    """The same, and swallows every cancellation."""
    await anyio.Path(payload["started"]).touch()
    while True:
        with contextlib.suppress(BaseException):
            await anyio.sleep_forever()


@routes.handler("blocking")
async def blocking(job: JobContext, payload: dict[str, Any]) -> None:
    """The same, and keeps the event loop from turning."""
    await anyio.Path(payload["started"]).touch()
    time.sleep(600)  # noqa: ASYNC251 - the fault that this handler is for


@routes.handler("deaf")
async def deaf(job: JobContext) -> None:
    """The same, and the signal that is to stop the process comes to another thread than the one that sleeps."""
    threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)).start()
    time.sleep(600)  # noqa: ASYNC251 - the fault that this handler is for
