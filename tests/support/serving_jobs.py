"""The handlers of ``serving.py``: they wait for files, so that no test depends on how fast anything is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio

from scheduler import Chunk, InvalidRequestError, JobContext, Registry

routes = Registry()


@routes.handler("quick")
async def quick(job: JobContext) -> dict[str, Any]:
    return {"did": job.job.target_id}


@routes.handler("gated", pool="main")
async def gated(job: JobContext, payload: dict[str, Any]) -> dict[str, Any]:
    """A quarter, then the rest once the file is there."""
    job.progress(25, 100, payload.get("say", "a quarter"))
    while not await anyio.Path(payload["until"]).exists():  # noqa: ASYNC110 - the test is another process
        await anyio.sleep(0.05)
    return {"attempt": job.attempt}


@routes.handler("picky", max_attempts=1)
async def picky(job: JobContext, payload: dict[str, Any]) -> None:
    raise InvalidRequestError(payload.get("say", "no good"))


@routes.handler("listing")
async def listing(job: JobContext, payload: dict[str, Any]) -> dict[str, Any]:
    """Two items a chunk, each chunk once a file with its number is there."""

    async def work(chunk: Chunk) -> Sequence[Any]:
        while not await anyio.Path(f"{payload['until']}-{chunk.items[0]}").exists():  # noqa: ASYNC110 - the test is another process
            await anyio.sleep(0.02)
        chunk.count(seen=len(chunk))
        return list(chunk.items)

    return (await job.chunks(payload["items"], work, key=str, size=2)).to_dict()
