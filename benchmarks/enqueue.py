"""Enqueue: in bulk, one awaited at a time, and from 100 callers at once; against bare ``sqlite3``.

    python -m benchmarks.enqueue --jobs 50000 --rounds 5

Bare ``sqlite3`` inserts a payload into a table of four columns with one partial index, one fsynced commit each.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import anyio

from benchmarks import contenders, harness

ONE_BY_ONE = 3_000
CALLERS = 100


def ours(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    async def run() -> harness.Numbers:
        async with contenders.scheduler(folder) as scheduler:
            return {
                "bulk_per_s": await _bulk(scheduler, options["jobs"]),
                "one_per_s": await _one_by_one(scheduler),
                "callers_per_s": await _callers(scheduler),
            }

    return asyncio.run(run())


async def _bulk(scheduler: Any, jobs: int) -> float:
    started = time.perf_counter()
    async for _ in scheduler.enqueue_many(contenders.new_jobs(jobs)):
        pass
    return jobs / (time.perf_counter() - started)


async def _one_by_one(scheduler: Any) -> float:
    started = time.perf_counter()
    for number in range(ONE_BY_ONE):
        await scheduler.enqueue("noop", "item", str(number), {"i": number})
    return ONE_BY_ONE / (time.perf_counter() - started)


async def _callers(scheduler: Any) -> float:
    async def caller() -> None:
        for number in range(100):
            await scheduler.enqueue("noop", "item", str(number), {"i": number})

    started = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(CALLERS):
            tasks.start_soon(caller)
    return CALLERS * 100 / (time.perf_counter() - started)


def bare(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    columns = "id INTEGER PRIMARY KEY, state INTEGER NOT NULL DEFAULT 0, run_at REAL NOT NULL, payload TEXT NOT NULL"
    connection.execute(f"CREATE TABLE job ({columns})")
    connection.execute("CREATE INDEX job_ready ON job (run_at, id) WHERE state = 0")
    started = time.perf_counter()
    for number in range(ONE_BY_ONE):
        connection.execute("INSERT INTO job (run_at, payload) VALUES (?, ?)", (1.0, f'{{"i": {number}}}'))
    return {"one_per_s": ONE_BY_ONE / (time.perf_counter() - started)}


def run(arguments: argparse.Namespace) -> None:
    results = harness.rounds("benchmarks.enqueue", ["ours", "bare"], arguments.rounds, jobs=arguments.jobs)
    mine = results["ours"]
    harness.table(
        [
            ["what", "jobs/s"],
            ["enqueue_many", harness.spread(harness.column(mine, "bulk_per_s"))],
            ["awaited one at a time", harness.spread(harness.column(mine, "one_per_s"))],
            ["100 callers at once", harness.spread(harness.column(mine, "callers_per_s"))],
            ["bare sqlite3, one fsynced commit each", harness.spread(harness.column(results["bare"], "one_per_s"))],
        ]
    )
    print(f"\none at a time / bare sqlite3: {harness.spread(harness.ratios(mine, results['bare'], 'one_per_s'), 2)} (asked: 0.4)")


if __name__ == "__main__":
    harness.main({"ours": ours, "bare": bare}, run, jobs=50_000, rounds=5)
