"""The peers, each with the same handler, as their documentation sets them up for speed; uvloop, as they recommend.

    PYTHON -m benchmarks.postgres.peers NAME install|fill|work URL HITS NUMBER

``NUMBER``: jobs to fill in, or handlers at once. Runs in an environment where the peer is installed; imports nothing of ours
but ``hits``. What they keep differs: pgqueuer deletes a job that is done, oban keeps its row but not its result.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.postgres.hits import Hits

PORTION = 1_000


class PgQueuerPeer:
    """Its pool of up to 10 connections, batches of as many as handlers may run."""

    async def _driver(self, url: str) -> Any:
        import asyncpg
        from pgqueuer.db import AsyncpgPoolDriver

        return AsyncpgPoolDriver(await asyncpg.create_pool(url, min_size=4, max_size=10))

    async def install(self, url: str) -> None:
        from pgqueuer.queries import Queries

        await Queries(await self._driver(url)).install()

    async def fill(self, url: str, jobs: int) -> None:
        from pgqueuer.queries import Queries

        queries = Queries(await self._driver(url))
        for start in range(0, jobs, PORTION):
            numbers = range(start, min(start + PORTION, jobs))
            payloads = [json.dumps({"i": number}).encode() for number in numbers]
            await queries.enqueue(["noop"] * len(numbers), payloads, [0] * len(numbers))

    async def work(self, url: str, hits: Hits, concurrency: int) -> None:
        from pgqueuer import PgQueuer

        queue = PgQueuer(await self._driver(url))

        @queue.entrypoint("noop")
        async def noop(job: Any) -> None:
            json.loads(job.payload)
            hits.hit()

        await queue.run(batch_size=concurrency, dequeue_timeout=timedelta(seconds=30))


class ObanPeer:
    """Open-source Oban with its own pool."""

    async def _oban(self, url: str, **more: Any) -> Any:
        from oban import Oban

        self.pool = await Oban.create_pool(url)
        return Oban(pool=self.pool, **more)

    def _worker(self, hits: Hits | None) -> Any:
        from oban import worker

        @worker(queue="q")
        class Noop:
            async def process(self, job: Any) -> None:
                if hits is not None:
                    hits.hit()

        return Noop

    async def install(self, url: str) -> None:
        from oban.schema import install

        await self._oban(url)
        await install(self.pool)

    async def fill(self, url: str, jobs: int) -> None:
        noop = self._worker(None)
        oban = await (await self._oban(url)).start()
        for start in range(0, jobs, PORTION):
            await oban.enqueue_many([noop.new({"i": number}) for number in range(start, min(start + PORTION, jobs))])

    async def work(self, url: str, hits: Hits, concurrency: int) -> None:
        self._worker(hits)
        async with await self._oban(url, queues={"q": concurrency}):
            await asyncio.Event().wait()


PEERS: dict[str, Any] = {"pgqueuer": PgQueuerPeer, "oban": ObanPeer}
#: How many jobs the peer's store says are not finished.
LEFT = {
    "pgqueuer": "SELECT count(*) FROM pgqueuer",
    "oban": "SELECT count(*) FROM oban_jobs WHERE state <> 'completed'",
}


def main(name: str, role: str, url: str, hits: str, number: str) -> None:
    import os

    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    peer = PEERS[name]()
    if role == "install":
        asyncio.run(peer.install(url))
    elif role == "fill":
        asyncio.run(peer.fill(url, int(number)))
    else:
        asyncio.run(peer.work(url, Hits(Path(hits)), int(number)))
    os._exit(0)  # pools and threads of theirs would linger


if __name__ == "__main__":
    main(*sys.argv[1:])
