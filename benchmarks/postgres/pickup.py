"""Pick-up: from the call of ``enqueue`` in one process to the start of the handler in another, an idle service; its commit included."""

from __future__ import annotations

import asyncio
import time

from benchmarks.postgres import drain, ours
from benchmarks.postgres.hits import Hits
from benchmarks.postgres.server import Server

WARM_UP = 20
SPACING_S = 0.03


async def waits_ms(server: Server, samples: int) -> list[float]:
    url = server.store()
    async with ours.scheduler(url) as scheduler:
        (path,) = drain.hit_files(server, 1)
        hits = Hits(path)
        with drain.workers([drain.our_command(url, path, 256)]):
            for number in range(samples + WARM_UP):
                await scheduler.enqueue("noop", "item", str(number), {"i": number, "at": time.monotonic()})
                await asyncio.sleep(SPACING_S * (0.7 + 0.6 * ((number * 7919) % 101) / 100))
                while number == 0 and not hits.read()[0]:
                    await asyncio.sleep(0.05)
            ends = time.monotonic() + 20.0
            while hits.read()[0] < samples + WARM_UP and time.monotonic() < ends:
                await asyncio.sleep(0.05)
            return sorted(1000 * wait for wait in hits.waits()[WARM_UP:])
