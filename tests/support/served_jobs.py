"""The handlers behind the dashboard's tests: what they do waits for a file, so that no test depends on how fast anything is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio

from scheduler import Chunk, InvalidRequestError, ItemFailed, JobContext, ProviderRefusedError, Registry

routes = Registry()
_LOOK_EVERY_S = 0.05


class GoneError(ProviderRefusedError):
    """A refusal with a reason of its own."""

    reason = "model_gone"


@routes.handler("gated", pool="main")
async def gated(job: JobContext, payload: dict[str, Any]) -> dict[str, Any]:
    """A quarter, then the rest once the file is there."""
    job.progress(25, 100, payload.get("say", "a quarter"))
    while not await anyio.Path(payload["until"]).exists():  # noqa: ASYNC110 - the test is another process
        await anyio.sleep(_LOOK_EVERY_S)
    job.progress(100, 100, "all")
    return {"said": payload.get("say"), "did": "it"}


@routes.handler("picky", max_attempts=1)
async def picky(job: JobContext, payload: dict[str, Any]) -> dict[str, Any]:
    """Refused for good, unless the file is there."""
    if await anyio.Path(payload["unless"]).exists():
        return {"said": payload.get("say")}
    raise (GoneError if payload.get("gone") else InvalidRequestError)(payload.get("say", "no good"))


@routes.handler("listing", max_attempts=1)
async def listing(job: JobContext, payload: dict[str, Any]) -> dict[str, Any]:
    """Goes through its items; those that are bad fail."""

    async def work(chunk: Chunk) -> Sequence[Any]:
        chunk.count(seen=len(chunk))
        return [ItemFailed(item) if item in payload["bad"] else {"was": item} for item in chunk.items]

    report = await job.chunks(payload["items"], work, key=str, size=2)
    return report.to_dict()
