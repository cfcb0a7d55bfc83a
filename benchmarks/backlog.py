"""Backlog: the drain rate with a million other rows in the table, against the rate without, in one process.

    python -m benchmarks.backlog --jobs 5000 --others 1000000 --pairs 9

The others are pending in a lane that has no slots, finished, due tomorrow, or of a paused type: each kind on its own,
then all together (a quarter each). Two stores stand side by side, one with and one without them, and are drained in
turns, so that a machine that speeds up or slows down does so for both; what counts is the ratio pair by pair.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import contenders, harness
from scheduler import NewJob, Scheduler, Status
from scheduler.events import JobCompleted
from scheduler.job import Transition
from scheduler.stores.base import Settlement, Want

KINDS = ("pending", "finished", "tomorrow", "paused", "all")
PORTION = 2_000


def _open(folder: Path) -> Scheduler:
    folder.mkdir()
    engine = {"store": f"sqlite:///{folder / 'jobs.db'}", "concurrency": contenders.CONCURRENCY}
    log = {"level": "warning", "format": "json", "path": str(folder / "scheduler.jsonl")}
    return Scheduler.open({"scheduler": engine, "log": log, "task_types": {"other.pending": {"concurrency": 0}}}, contenders.routes)


def contender(kind: str) -> Any:
    def run(folder: Path, options: dict[str, Any]) -> harness.Numbers:
        return asyncio.run(_compare(folder, kind, options["jobs"], options["others"], options["pairs"]))

    return run


async def _compare(folder: Path, kind: str, jobs: int, others: int, pairs: int) -> harness.Numbers:
    async with _open(folder / "without") as without, _open(folder / "with") as crowded:
        kinds = [one for one in KINDS[:-1] if kind in (one, "all")]
        for one in kinds:
            await _fill(crowded, one, others // len(kinds))
        rates: list[tuple[float, float]] = []
        for pair in range(pairs + 1):  # the first one warms up
            order = (without, crowded) if pair % 2 else (crowded, without)
            found = {id(scheduler): await _drain(scheduler, jobs) for scheduler in order}
            rates.append((found[id(without)], found[id(crowded)]))
        ratios = [with_them / alone for alone, with_them in rates[1:]]
        return {
            "without_per_s": harness.median([alone for alone, _ in rates[1:]]),
            "with_per_s": harness.median([with_them for _, with_them in rates[1:]]),
            "ratio": harness.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }


async def _drain(scheduler: Scheduler, jobs: int) -> float:
    """Enqueue and run ``jobs`` no-op jobs; jobs/s from the first recorded outcome to the last."""
    await scheduler.enqueue_many(contenders.new_jobs(jobs))
    ended: list[float] = []

    def count(event: JobCompleted) -> None:
        ended.append(time.perf_counter())
        if len(ended) == jobs:
            scheduler.stop()

    leave = scheduler.events.subscribe(count, JobCompleted)
    await scheduler.run()
    leave()
    return (jobs - 1) / (ended[-1] - ended[0])


async def _fill(scheduler: Scheduler, kind: str, rows: int) -> None:
    """Put ``rows`` rows of one kind into the store through its own verbs."""
    name = f"other.{kind}"
    now = time.time()
    if kind == "paused":
        await scheduler.pause(name)
    run_after = now + 86_400 if kind == "tomorrow" else None
    async for _ in scheduler.enqueue_many(NewJob(name, "item", str(number), {"i": number}, run_after=run_after) for number in range(rows)):
        pass
    while kind == "finished":
        got = await scheduler.store.claim([Want(name, PORTION, (name,))], "bench", time.time())
        if not got.claims:
            break
        done = Transition(Status.COMPLETED, result_json="1")
        await scheduler.store.settle([Settlement(claim.lease, done) for claim in got.claims], time.time())


def run(arguments: argparse.Namespace) -> None:
    rows = [["other rows", "without, jobs/s", "with, jobs/s", "ratio, pair by pair", "peak MB"]]
    for kind in KINDS:
        found = harness.child("benchmarks.backlog", kind, jobs=arguments.jobs, others=arguments.others, pairs=arguments.pairs)
        ratio = f"{found['ratio']:.2f} ({found['ratio_min']:.2f}–{found['ratio_max']:.2f})"
        rows.append([kind, f"{found['without_per_s']:,.0f}", f"{found['with_per_s']:,.0f}", ratio, f"{found['peak_mb']:.0f}"])
        print(f"  {' | '.join(rows[-1])}", file=sys.stderr, flush=True)
    harness.table(rows)
    print("\nasked: a ratio of at least 0.9, memory under 90 MB")


if __name__ == "__main__":
    harness.main({kind: contender(kind) for kind in KINDS}, run, jobs=5_000, others=1_000_000, pairs=9)
