"""A large store: what its rows weigh, and what the questions and the sweeps of a service cost beside them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from benchmarks import harness
from benchmarks.postgres import crowd, drain, ours
from benchmarks.postgres.server import Server
from scheduler import Scheduler
from scheduler.janitor import PORTION
from scheduler.job import TERMINAL, UNFINISHED
from scheduler.stores.base import JobQuery, Want

#: How often each question is asked.
_TIMES = 50


async def told(server: Server, rows: int, jobs: int, concurrency: int) -> list[tuple[str, str]]:
    """A figure and its value, for a store with ``rows`` finished jobs."""
    began = time.monotonic()
    url = await crowd.filled(server, "finished", rows)
    figures = [("rows", f"{rows:,}, filled in {time.monotonic() - began:,.0f} s")]
    connection = await asyncpg.connect(server.url)
    table = server.table(url)
    size, indexes = await connection.fetchrow("SELECT pg_table_size($1::regclass), pg_indexes_size($1::regclass)", table)
    figures.append(("bytes a finished job: table, indexes", f"{size / rows:,.0f}, {indexes / rows:,.0f}"))
    drained = await drain.drain_ours(server, jobs, concurrency, url=url)
    figures.append(("drain of no-op jobs beside them", f"{drained.per_s:,.0f}/s"))
    async with ours.scheduler(url) as scheduler:
        for name, ask in _questions(scheduler).items():
            figures.append((name, harness.spread(await _timed_ms(ask), 2) + " ms"))
        began = time.monotonic()
        await scheduler.stats()
        figures.append(("`scheduler stats`, which counts all rows", f"{time.monotonic() - began:,.1f} s"))
        began, deleted = time.monotonic(), 0
        while deleted < 100_000 and (gone := await scheduler.store.prune(TERMINAL, time.time() + 1e6, PORTION)):
            deleted += gone
        figures.append((f"prune, {PORTION} a transaction", f"{deleted / (time.monotonic() - began):,.0f} jobs/s"))
    began = time.monotonic()
    await connection.execute(f"VACUUM {table}")
    figures.append(("VACUUM after that", f"{time.monotonic() - began:,.1f} s"))
    await connection.close()
    return figures


def _questions(scheduler: Scheduler) -> dict[str, Callable[[], Awaitable[Any]]]:
    store = scheduler.store
    return {
        "a claim that finds nothing": lambda: store.claim([Want("noop", 100, ("noop",))], "bench", time.time()),
        "which lanes are ready": lambda: store.lanes(time.time()),
        "unfinished jobs, counted": lambda: store.count(JobQuery(statuses=UNFINISHED)),
        "the newest 100 jobs": lambda: scheduler.jobs(limit=100),
        "one job by its id": lambda: scheduler.get("finished-1000"),
        "an enqueue": lambda: scheduler.enqueue("other.tomorrow", run_after=86_400.0),
    }


async def _timed_ms(ask: Callable[[], Awaitable[Any]]) -> list[float]:
    await ask()
    took: list[float] = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        await ask()
        took.append(1000 * (time.perf_counter() - began))
    return took
