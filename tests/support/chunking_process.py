"""A worker process with one long job: thousands of items, in chunks.

    python -m tests.support.chunking_process STORE_URL EFFECTS_FILE

Each item leaves a line in the file when it is processed, then its chunk is recorded. Ends when the job has.
"""

from __future__ import annotations

import asyncio
import os
import sys

from scheduler import Chunk, JobContext, Registry, Scheduler

ITEMS, SIZE, AT_ONCE = 5_000, 20, 4
#: What a chunk takes, in seconds: real work waits.
CHUNK_S = 0.04


async def main(store: str, effects: str) -> None:
    routes = Registry()
    file = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @routes.handler("long", timeout_s=3_600)
    async def long(job: JobContext) -> int:
        async def work(chunk: Chunk) -> list[int]:
            await asyncio.sleep(CHUNK_S)
            os.write(file, "".join(f"{item}\n" for item in chunk.items).encode())
            chunk.count(sum=sum(chunk.items))
            return [item * 2 for item in chunk.items]

        return (await job.chunks(range(ITEMS), work, size=SIZE, at_once=AT_ONCE)).done

    settings = {"scheduler": {"store": store, "poll_interval_s": 0.2}, "log": {"level": "error"}}
    async with Scheduler.open(settings, routes) as scheduler:
        await scheduler.run(until_empty=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
