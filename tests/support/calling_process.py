"""A worker process whose jobs call a provider over HTTP, within their pool's quota.

    python -m tests.support.calling_process STORE.db BASE_URL

Drains the store's ``ask`` jobs through the official client and ends.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from openai import AsyncOpenAI

from scheduler import JobContext, Registry, Scheduler


async def main(store: str, base_url: str) -> None:
    client = AsyncOpenAI(api_key="none-needed", base_url=base_url, max_retries=0, timeout=20.0)
    routes = Registry()
    messages: Any = [{"role": "user", "content": "Answer."}]

    @routes.handler("ask", pool="main")
    async def ask(job: JobContext) -> str:
        async with job.pool.request(tokens=60, output_tokens=40) as call:
            response = await client.chat.completions.with_raw_response.create(model="sim-1", messages=messages, max_tokens=40)
            call.observe(response.parse().usage, response.headers)
        return "answered"

    settings = {"scheduler": {"store": f"sqlite:///{store}", "concurrency": 64}, "log": {"level": "error"}}
    async with Scheduler.open(settings, routes) as scheduler:
        await scheduler.run(until_empty=True)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
