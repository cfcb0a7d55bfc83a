"""Real concurrency: 200 handlers that each wait a second, at ``concurrency = 200``.

python -m benchmarks.concurrency --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

import anyio

from benchmarks import harness
from scheduler import JobContext, NewJob, Registry, Scheduler

JOBS = 200
routes = Registry()


@routes.handler("wait")
async def wait(job: JobContext) -> None:
    await anyio.sleep(1.0)


def ours(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    async def run() -> float:
        config = {"scheduler": {"store": f"sqlite:///{folder / 'jobs.db'}", "concurrency": JOBS}, "log": {"level": "warning"}}
        async with Scheduler.open(config, routes) as scheduler:
            await scheduler.enqueue_many(NewJob("wait", "item", str(number)) for number in range(JOBS))
            started = time.perf_counter()
            await scheduler.run(until_empty=True)
            return time.perf_counter() - started

    return {"seconds": asyncio.run(run())}


def run(arguments: argparse.Namespace) -> None:
    results = harness.rounds("benchmarks.concurrency", ["ours"], arguments.rounds)
    seconds = harness.column(results["ours"], "seconds")
    harness.table([["200 jobs of 1 s, 200 at once", "seconds"], ["ours", harness.spread(seconds, 3)]])
    print(f"\nof the limit of 1.3 s: {harness.spread([one / 1.3 for one in seconds], 2)}")


if __name__ == "__main__":
    harness.main({"ours": ours}, run, rounds=5)
