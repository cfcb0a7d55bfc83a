"""Drain: jobs enqueued beforehand, a no-op handler, everything recorded. Ours against huey on SQLite.

    python -m benchmarks.drain --jobs 10000 --rounds 5

From the first handler call to the moment the store says that all are finished.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from benchmarks import contenders, harness


def ours(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    async def run() -> harness.Numbers:
        async with contenders.scheduler(folder) as scheduler:
            await scheduler.enqueue_many(contenders.new_jobs(options["jobs"]))
            await scheduler.run(until_empty=True)
            ended = time.perf_counter()
            assert (await scheduler.stats()).by_status == {"completed": options["jobs"]}
            return {"per_s": options["jobs"] / (ended - contenders.first_call())}

    return asyncio.run(run())


def huey(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    return contenders.huey_drain(folder, options["jobs"])


def run(arguments: argparse.Namespace) -> None:
    results = harness.rounds("benchmarks.drain", ["ours", "huey"], arguments.rounds, jobs=arguments.jobs)
    rate = {role: harness.column(found, "per_s") for role, found in results.items()}
    harness.table(
        [
            ["contender", "jobs/s", "peak MB"],
            *([role, harness.spread(rate[role]), harness.spread(harness.column(found, "peak_mb"))] for role, found in results.items()),
        ]
    )
    print(f"\nours / huey: {harness.spread(harness.ratios(results['ours'], results['huey'], 'per_s'), 2)} (asked: 3.5, aim: 5)")


if __name__ == "__main__":
    harness.main({"ours": ours, "huey": huey}, run, jobs=10_000, rounds=5)
