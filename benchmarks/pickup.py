"""Pick-up: from the call of ``enqueue`` on an idle service to the start of the handler; and what idling costs.

    python -m benchmarks.pickup --samples 200 --rounds 3

``same``: enqueued in the service's process. ``other``: by another process on the same file. ``idle``: CPU time of a
service with nothing to do, as a share of one core over ten seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import anyio

from benchmarks import harness
from scheduler import JobContext, Registry, Scheduler

WARM_UP = 20
SPACING_S = 0.03
IDLE_S = 10.0

routes = Registry()
_waits: list[float] = []


@routes.handler("stamp")
async def stamp(job: JobContext, payload: dict[str, Any]) -> None:
    _waits.append(time.monotonic() - payload["at"])  # system-wide on Linux: comparable between processes


def _open(folder: Path) -> Scheduler:
    log = {"level": "warning", "path": str(folder / "scheduler.jsonl")}
    return Scheduler.open({"scheduler": {"store": f"sqlite:///{folder / 'jobs.db'}"}, "log": log}, routes)


async def _feed(scheduler: Scheduler, samples: int) -> None:
    await anyio.sleep(0.5)
    for number in range(samples + WARM_UP):
        await scheduler.enqueue("stamp", "item", str(number), {"at": time.monotonic()})
        await anyio.sleep(SPACING_S * (0.7 + 0.6 * ((number * 7919) % 101) / 100))


def same(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    async def run() -> None:
        async with _open(folder) as scheduler, anyio.create_task_group() as tasks:
            tasks.start_soon(scheduler.run)
            await _feed(scheduler, options["samples"])
            scheduler.stop()

    asyncio.run(run())
    return _percentiles()


def other(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    async def run() -> None:
        async with _open(folder) as scheduler, anyio.create_task_group() as tasks:
            tasks.start_soon(scheduler.run)
            await anyio.sleep(0.2)
            options_text = json.dumps({"folder": str(folder), "samples": options["samples"]})
            command = [sys.executable, "-m", "benchmarks.pickup", "--role", "producer", "--options", options_text]
            await anyio.run_process(command, stderr=sys.stderr)
            with anyio.fail_after(10):
                while len(_waits) < options["samples"] + WARM_UP:  # noqa: ASYNC110 - the handler must stay as it is
                    await anyio.sleep(0.05)
            scheduler.stop()

    asyncio.run(run())
    return _percentiles()


def producer(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    async def run() -> None:
        async with _open(folder) as scheduler:
            await _feed(scheduler, options["samples"])

    asyncio.run(run())
    return {}


def idle(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    async def run() -> float:
        async with _open(folder) as scheduler, anyio.create_task_group() as tasks:
            tasks.start_soon(scheduler.run)
            await anyio.sleep(1.0)
            before = time.process_time()
            await anyio.sleep(IDLE_S)
            used = time.process_time() - before
            scheduler.stop()
            return used

    return {"cpu_percent": 100 * asyncio.run(run()) / IDLE_S}


def _percentiles() -> harness.Numbers:
    waits = sorted(1000 * wait for wait in _waits[WARM_UP:])
    return {"p50_ms": waits[len(waits) // 2], "p99_ms": waits[min(len(waits) - 1, round(len(waits) * 0.99))]}


def run(arguments: argparse.Namespace) -> None:
    results = harness.rounds("benchmarks.pickup", ["same", "other", "idle"], arguments.rounds, samples=arguments.samples)
    limits = {"same": ("1", "3"), "other": ("3", "15")}
    rows = [["enqueued by", "p50 ms", "p99 ms", "asked p50, p99"]]
    for role, asked in limits.items():
        rows.append(
            [
                f"{role} process",
                harness.spread(harness.column(results[role], "p50_ms"), 2),
                harness.spread(harness.column(results[role], "p99_ms"), 2),
                ", ".join(asked),
            ]
        )
    harness.table(rows)
    print(f"\nidle CPU: {harness.spread(harness.column(results['idle'], 'cpu_percent'), 2)} % of a core (asked: under 0.5)")


if __name__ == "__main__":
    harness.main({"same": same, "other": other, "idle": idle, "producer": producer}, run, samples=200, rounds=3)
