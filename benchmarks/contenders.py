"""Ours and the peers, each with a no-op handler, reduced to what the benchmarks ask of them."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from scheduler import JobContext, NewJob, Registry, Scheduler

#: Handlers at once, as a service that waits for providers would have it.
CONCURRENCY = 256

routes = Registry()
_first: list[float] = []


@routes.handler("noop")
async def noop(job: JobContext, payload: dict[str, Any]) -> Any:
    """Stamps the first call; returns its input, so that a result is stored."""
    if not _first:
        _first.append(time.perf_counter())
    return payload["i"]


@routes.handler("other.pending")
@routes.handler("other.paused")
async def other(job: JobContext) -> None:
    """The backlog's lanes: known to the service, but without slots, or paused."""


def scheduler(folder: Path, *, concurrency: int = CONCURRENCY, **engine: Any) -> Scheduler:
    """Ours: durable SQLite, results kept, failures and pauses logged as JSON lines."""
    engine = {"store": f"sqlite:///{folder / 'jobs.db'}", "concurrency": concurrency, **engine}
    log = {"level": "warning", "format": "json", "path": str(folder / "scheduler.jsonl")}
    return Scheduler.open({"scheduler": engine, "log": log}, routes)


def new_jobs(count: int, start: int = 0) -> Any:
    return (NewJob("noop", "item", str(number), {"i": number}) for number in range(start, start + count))


def first_call() -> float:
    """When the first handler call was, in ``perf_counter`` seconds."""
    return _first[0]


def huey_drain(folder: Path, jobs: int) -> dict[str, float]:
    """huey on SQLite as its documentation sets it up, polling fast; its queue forgets a job at dequeue."""
    from huey import SqliteHuey

    file = folder / "huey.db"
    huey = SqliteHuey(filename=str(file))
    calls: list[float] = []

    @huey.task()
    def noop(i: int) -> int:
        if not calls:
            calls.append(time.perf_counter())
        return i

    for number in range(jobs):
        noop(number)
    consumer = huey.create_consumer(workers=1, periodic=False, initial_delay=0.005, backoff=1.15, max_delay=0.02)
    consumer.start()
    observer = sqlite3.connect(file)
    while observer.execute("SELECT count(*) FROM kv").fetchone()[0] < jobs:
        time.sleep(0.003)
    ended = time.perf_counter()
    return {"per_s": jobs / (ended - calls[0])}
