"""What a pool costs a call, and how precisely it paces: one process, SQLite, real time.

    python -m benchmarks.pool_overhead
    python -m benchmarks.pool_overhead --rounds 7 --calls 100000 --seconds 20 --callers 64
    python -m benchmarks.pool_overhead --profile paced        # cProfile of one role, in this process

*Hot path*: ``callers`` jobs that call in a loop, a turn of the event loop as the provider; CPU of the whole process a call, the store's
thread and every exchange with it included. ``no request``: the loop alone; ``no pool``: ``async with job.pool.request()`` in a
handler without a pool; ``unlimited``: with a pool whose limit is never reached, usage observed; ``headers``: response headers observed too.
*Jobs*: as many jobs as calls, one call each, drained.
*Paced*: 10,000 requests a minute for ``seconds``, calls of 0.2 s; ``timer`` is the same handler without a pool, started by a plain timer
at the same pace. From when calls started: the rate, and how many started in each tenth of a second (an even pace has 16 or 17).
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import itertools
import json
import pstats
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from benchmarks import harness
from scheduler import JobContext, NewJob, Registry, Scheduler

RPM = 10_000
LATENCY_S = 0.2
WARM_UP_S = 2.0
TENTH_S = 0.1
#: More callers than the pace needs, so that calls always wait.
PACED_CALLERS = 96
_HEADERS = {
    "content-type": "application/json",
    "x-request-id": "req_0123456789",
    "x-ratelimit-limit-requests": "60000000",
    "x-ratelimit-remaining-requests": "59999999",
    "x-ratelimit-reset-requests": "1ms",
    "x-ratelimit-limit-tokens": "60000000000",
    "x-ratelimit-remaining-tokens": "59999999500",
    "x-ratelimit-reset-tokens": "1ms",
}
_POOLS = {"unlimited": {"requests_per_minute": 60_000_000}, "paced": {"requests_per_minute": RPM}}


@asynccontextmanager
async def _scheduler(folder: Path, routes: Registry, concurrency: int) -> AsyncIterator[Scheduler]:
    config = {
        "scheduler": {"store": f"sqlite:///{folder / 'jobs.db'}", "concurrency": concurrency},
        "log": {"level": "warning", "format": "json", "path": str(folder / "scheduler.jsonl")},
        "pools": _POOLS,
    }
    async with Scheduler.open(config, routes) as scheduler:
        yield scheduler


async def _drain(folder: Path, routes: Registry, jobs: int, concurrency: int) -> harness.Numbers:
    """CPU and time of a run until empty, the enqueueing left out."""
    async with _scheduler(folder, routes, concurrency) as scheduler:
        await scheduler.enqueue_many(NewJob("call", "item", str(number)) for number in range(jobs))
        cpu_s, started = time.process_time(), time.perf_counter()
        await scheduler.run(until_empty=True)
        return {"cpu_s": time.process_time() - cpu_s, "seconds": time.perf_counter() - started}


def _hot_path(pool: str | None, *, request: bool = True, headers: bool = False) -> Callable[[Path, dict[str, Any]], harness.Numbers]:
    """Jobs that call in a loop."""

    def role(folder: Path, options: dict[str, Any]) -> harness.Numbers:
        routes, callers, calls = Registry(), options["callers"], options["calls"] // options["callers"]
        said = _HEADERS if headers else None

        @routes.handler("call", pool=pool)
        async def call(job: JobContext) -> None:
            for _ in range(calls):
                if not request:
                    await asyncio.sleep(0)
                    continue
                async with job.pool.request(500, output_tokens=150) as call:
                    await asyncio.sleep(0)
                    call.observe((350, 150), said)

        measured = asyncio.run(_drain(folder, routes, callers, callers))
        return {"us": 1e6 * measured["cpu_s"] / (calls * callers), "wall_us": 1e6 * measured["seconds"] / (calls * callers)}

    return role


def _one_each(pool: str | None) -> Callable[[Path, dict[str, Any]], harness.Numbers]:
    """Jobs with one call each."""

    def role(folder: Path, options: dict[str, Any]) -> harness.Numbers:
        routes = Registry()

        @routes.handler("call", pool=pool)
        async def call(job: JobContext) -> None:
            async with job.pool.request(500, output_tokens=150) as call:
                await asyncio.sleep(0)
                call.observe((350, 150))

        jobs = options["calls"] // 4
        measured = asyncio.run(_drain(folder, routes, jobs, options["callers"]))
        return {"us": 1e6 * measured["cpu_s"] / jobs, "per_s": jobs / measured["seconds"]}

    return role


def _at_pace(pool: str | None) -> Callable[[Path, dict[str, Any]], harness.Numbers]:
    """Calls at 10,000 a minute, by the pool or by a plain timer."""

    def role(folder: Path, options: dict[str, Any]) -> harness.Numbers:
        routes, starts, seconds = Registry(), [], options["seconds"] + WARM_UP_S
        cpu: list[float] = []  # at each start, so that neither the engine's start nor its end is counted
        began = time.perf_counter()
        places = (began + number * 60.0 / RPM for number in itertools.count())

        @routes.handler("call", pool=pool)
        async def call(job: JobContext) -> None:
            while time.perf_counter() < began + seconds:
                if pool is None:
                    await anyio.sleep(max(0.0, next(places) - time.perf_counter()))
                async with job.pool.request(500, output_tokens=150) as call:
                    starts.append(time.perf_counter())
                    cpu.append(time.process_time())
                    await anyio.sleep(LATENCY_S)
                    call.observe((350, 150))

        asyncio.run(_drain(folder, routes, PACED_CALLERS, PACED_CALLERS))
        first = next(number for number, at in enumerate(starts) if at - began >= WARM_UP_S)
        us = 1e6 * (cpu[-1] - cpu[first]) / (len(cpu) - 1 - first)
        return {"us": us, **_evenness([at - began for at in starts], seconds)}

    return role


def _evenness(starts: list[float], until: float) -> harness.Numbers:
    """Rate and spread of the starts after the warm-up."""
    tenths = Counter(int(at / TENTH_S) for at in starts)
    counts = [tenths[tenth] for tenth in range(round(WARM_UP_S / TENTH_S), round(until / TENTH_S))]
    gaps = [later - at for at, later in itertools.pairwise(starts) if at >= WARM_UP_S]
    return {
        "rate": sum(counts) / (len(counts) * TENTH_S),
        "least": min(counts),
        "most": max(counts),
        "sd": statistics.pstdev(counts),
        "gap_p99_ms": 1_000 * statistics.quantiles(gaps, n=100)[98],
    }


ROLES: dict[str, Callable[[Path, dict[str, Any]], harness.Numbers]] = {
    "no request": _hot_path(None, request=False),
    "no pool": _hot_path(None),
    "unlimited": _hot_path("unlimited"),
    "headers": _hot_path("unlimited", headers=True),
    "jobs, no pool": _one_each(None),
    "jobs, unlimited": _one_each("unlimited"),
    "timer": _at_pace(None),
    "paced": _at_pace("paced"),
}


def run(arguments: argparse.Namespace) -> None:
    options = {"calls": arguments.calls, "callers": arguments.callers, "seconds": arguments.seconds}
    if arguments.profile:
        _profile(arguments.profile, options)
        return
    results = harness.rounds("benchmarks.pool_overhead", list(ROLES), arguments.rounds, **options)

    def column(role: str, key: str, digits: int = 1) -> str:
        return harness.spread(harness.column(results[role], key), digits)

    def over(role: str, base: str) -> str:
        pairs = zip(results[role], results[base], strict=True)
        return harness.spread([mine["us"] - theirs["us"] for mine, theirs in pairs], 1)

    harness.table(
        [
            ["", "µs CPU a call", "over the same without a pool (asked: 20)"],
            *([f"hot path, {role}", column(role, "us"), ""] for role in ("no request", "no pool")),
            *([f"hot path, {role}", column(role, "us"), over(role, "no request")] for role in ("unlimited", "headers")),
            ["a job each, no pool", column("jobs, no pool", "us"), ""],
            ["a job each, unlimited", column("jobs, unlimited", "us"), over("jobs, unlimited", "jobs, no pool")],
            [f"{RPM:,} a minute, timer", column("timer", "us"), ""],
            [f"{RPM:,} a minute, paced", column("paced", "us"), over("paced", "timer")],
        ]
    )
    print()
    measures = ["calls/s", "share %", "least in 0.1 s", "most", "standard deviation", "p99 of the gaps, ms"]
    rows = [[f"at {RPM:,} a minute ({RPM / 60:.2f}/s)", *measures]]
    for role in ("timer", "paced"):
        share = harness.spread([100 * rate / (RPM / 60) for rate in harness.column(results[role], "rate")], 2)
        spreads = [column(role, "least", 0), column(role, "most", 0), column(role, "sd", 2), column(role, "gap_p99_ms")]
        rows.append([role, column(role, "rate", 2), share, *spreads])
    harness.table(rows)


def _profile(role: str, options: dict[str, Any]) -> None:
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        measured = profile.runcall(ROLES[role], Path(folder), options)
    print(json.dumps(measured))
    pstats.Stats(profile).sort_stats("tottime").print_stats(35)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--calls", type=int, default=50_000, help="on the hot path, a role; a quarter of it for jobs; default 50,000")
    parser.add_argument("--callers", type=int, default=64, help="calls at once on the hot path; default 64")
    parser.add_argument("--seconds", type=float, default=20.0, help="of pacing; default 20")
    parser.add_argument("--profile", choices=list(ROLES), help="profile this role and measure nothing else")
    known, rest = parser.parse_known_args()
    if "--role" in rest:
        harness.main(ROLES, run)
    else:
        run(known)


if __name__ == "__main__":
    main()
