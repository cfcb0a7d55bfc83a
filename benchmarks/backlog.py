"""Backlog: the drain rate with a million other rows in the table, against the rate without, in one run.

    python -m benchmarks.backlog --jobs 20000 --others 1000000 --rounds 3

The others are pending behind a lane that runs nothing, finished, due tomorrow, or of a paused type: each kind on its
own, then all together (a quarter each).
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

import anyio

from benchmarks import contenders, harness
from scheduler import NewJob, Scheduler, Status
from scheduler.job import UNFINISHED, Transition
from scheduler.stores.base import JobQuery, Settlement, Want

KINDS = ("none", "pending", "finished", "tomorrow", "paused", "all")
PORTION = 2_000


def _open(folder: Path) -> Scheduler:
    engine = {"store": f"sqlite:///{folder / 'jobs.db'}", "concurrency": 256, "unknown_routes": "leave"}
    log = {"level": "warning", "format": "json", "path": str(folder / "scheduler.jsonl")}
    return Scheduler.open({"scheduler": engine, "log": log, "task_types": {"other.pending": {"concurrency": 0}}}, contenders.routes)


def contender(kind: str) -> Any:
    def run(folder: Path, options: dict[str, Any]) -> harness.Numbers:
        return asyncio.run(_drain(folder, kind, options["jobs"], options["others"]))

    return run


async def _drain(folder: Path, kind: str, jobs: int, others: int) -> harness.Numbers:
    async with _open(folder) as scheduler:
        kinds = [one for one in KINDS[1:-1] if kind in (one, "all")]
        for one in kinds:
            await _fill(scheduler, one, others // len(kinds))
        await scheduler.enqueue_many(contenders.new_jobs(jobs))
        ended: list[float] = []

        async def watch() -> None:
            while sum(tally.count for tally in await scheduler.store.count(_unfinished("noop"))):  # noqa: ASYNC110 - asks as a person would
                await anyio.sleep(0.01)
            ended.append(time.perf_counter())
            scheduler.stop()

        watcher = asyncio.create_task(watch())
        await scheduler.run()
        await watcher
        return {"per_s": jobs / (ended[0] - contenders.first_call())}


def _unfinished(task_type: str) -> JobQuery:
    return JobQuery(statuses=UNFINISHED, task_types=frozenset({task_type}))


async def _fill(scheduler: Scheduler, kind: str, rows: int) -> None:
    """Put ``rows`` rows of one kind into the store through its own verbs."""
    name = f"other.{kind}"
    now = time.time()
    if kind == "paused":
        name = "noop.paused"
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
    results = harness.rounds("benchmarks.backlog", KINDS, arguments.rounds, jobs=arguments.jobs, others=arguments.others)
    rows = [["other rows", "jobs/s", "rate / rate without", "peak MB"]]
    for kind in KINDS:
        rows.append(
            [
                kind,
                harness.spread(harness.column(results[kind], "per_s")),
                harness.spread(harness.ratios(results[kind], results["none"], "per_s"), 2),
                harness.spread(harness.column(results[kind], "peak_mb")),
            ]
        )
    harness.table(rows)
    print("\nasked: at least 0.9 of the rate without, memory under 90 MB")


if __name__ == "__main__":
    harness.main({kind: contender(kind) for kind in KINDS}, run, jobs=20_000, others=1_000_000, rounds=3)
