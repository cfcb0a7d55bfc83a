"""Does a flood of progress disturb the other lanes?

    python -m benchmarks.progress [--rounds 5]

Fifty handlers say how far they are, 10,000 times a second together, while a lane of no-op jobs is drained; against the same with
handlers that turn as often and say nothing. In one process, in turns. Prints the ratio of the two drain rates, pair by pair.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from scheduler import JobContext, NewJob, Registry, Scheduler

TALKERS, EACH_S, JOBS = 50, 200, 20_000


async def drained(speaking: bool) -> tuple[float, float]:
    """Jobs a second, and calls of ``progress`` a second meanwhile."""
    routes, said = Registry(), 0

    @routes.handler("talker", timeout_s=3_600)
    async def talker(job: JobContext) -> None:
        nonlocal said
        began, count = time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - began) * EACH_S)
            for _ in range(due - count):
                count += 1
                if speaking:
                    job.progress(count % 1_000_000, 1_000_000, "item")
                    said += 1
            await asyncio.sleep(1 / EACH_S)

    @routes.handler("quick")
    async def quick(job: JobContext) -> None:
        pass

    with tempfile.TemporaryDirectory() as folder:
        settings = {"scheduler": {"store": f"sqlite:///{Path(folder)}/jobs.db", "concurrency": TALKERS + 32}, "log": {"level": "error"}}
        async with Scheduler.open(settings, routes) as scheduler:
            await scheduler.enqueue_many([NewJob("talker") for _ in range(TALKERS)])
            await scheduler.enqueue_many(NewJob("quick") for _ in range(JOBS))
            await scheduler.pause("quick")
            running = asyncio.create_task(scheduler.run())
            await asyncio.sleep(1.0)
            said, began = 0, time.perf_counter()
            await scheduler.resume("quick")
            while await scheduler.jobs(task_type="quick", status=["pending", "processing"], limit=1):  # noqa: ASYNC110 - asked of a store
                await asyncio.sleep(0.02)
            took_s = time.perf_counter() - began
            spoken = said / took_s
            scheduler.stop(grace_s=0.0)
            await running
    return JOBS / took_s, spoken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    ratios, rates = [], []
    for number in range(rounds):
        order = (False, True) if number % 2 else (True, False)
        got = {speaking: asyncio.run(drained(speaking)) for speaking in order}
        ratios.append(got[True][0] / got[False][0])
        rates.append(got[True][1])
        print(f"silent {got[False][0]:,.0f} jobs/s, speaking {got[True][0]:,.0f} jobs/s at {got[True][1]:,.0f} calls/s: {ratios[-1]:.3f}")
    spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
    print(f"ratio {spread}, asked: 0.95, at {statistics.median(rates):,.0f} calls/s")


if __name__ == "__main__":
    main()
