"""Our worker, as ``scheduler serve`` would run it, and our way to fill a store.

    python -m benchmarks.postgres.ours URL HITS CONCURRENCY [WAIT_S]

Until a signal comes. The handler waits ``WAIT_S`` seconds; 0, the default, is a no-op.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from benchmarks.postgres.hits import Hits
from scheduler import JobContext, NewJob, Registry, Scheduler
from scheduler.cli.signals import StopOnSignals, run_and_exit

#: Lanes of the crowd: known to the service, but without slots, not due, or paused.
OTHERS = ("other.pending", "other.tomorrow", "other.paused")


def routes(hits: Hits | None = None, wait_s: float = 0.0) -> Registry:
    made = Registry()

    @made.handler("noop")
    async def noop(job: JobContext, payload: dict[str, Any]) -> Any:
        """Returns its input, so that a result is stored."""
        if hits is not None:
            hits.hit(payload.get("at", 0.0))
        if wait_s:
            await anyio.sleep(wait_s)
        return payload["i"]

    for name in OTHERS:
        made.handler(name)(_other)
    return made


async def _other(job: JobContext) -> None:
    raise AssertionError("none of these should run")


def scheduler(url: str, hits: Hits | None = None, wait_s: float = 0.0, **engine: Any) -> Scheduler:
    """Durable, results kept, failures logged: nothing is tuned but what ``engine`` says."""
    log = {"level": "warning", "format": "json", "path": str(Path(tempfile.gettempdir()) / "bench-postgres.jsonl")}
    settings = {"scheduler": {"store": url, **engine}, "log": log, "task_types": {"other.pending": {"concurrency": 0}}}
    return Scheduler.open(settings, routes(hits, wait_s))


def new_jobs(count: int) -> Any:
    return (NewJob("noop", "item", str(number), {"i": number}) for number in range(count))


async def serve(url: str, hits: Path, concurrency: int, wait_s: float) -> None:
    async with scheduler(url, Hits(hits), wait_s, concurrency=concurrency) as service:
        with StopOnSignals(service):
            await service.run()


def main(url: str, hits: str, concurrency: str, wait_s: str = "0") -> None:
    run_and_exit(partial(serve, url, Path(hits), int(concurrency), float(wait_s)), lambda: 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
