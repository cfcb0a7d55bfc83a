"""PostgreSQL, in one run.

    python -m benchmarks.postgres [drain] [two] [pickup] [crowd] [bloat] [scale] --rounds 5 --jobs 10000

``drain``: ours against pgqueuer and oban. ``two``: two workers against one. ``pickup``: from the call of ``enqueue`` to the
handler. ``crowd``: with a million other rows against without. ``bloat``: what a million jobs leave behind. ``scale``: what
a store of ten million finished jobs weighs and costs. Contenders take turns, so
that a machine that changes its speed does so for all. A peer that is not installed is named as missing: ``BENCH_PEERS`` is a folder
that holds ``pgqueuer/bin/python`` and ``oban/bin/python``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from benchmarks import harness
from benchmarks.postgres import bloat, crowd, drain, pickup, scale
from benchmarks.postgres.server import Server, a_server

Runs = dict[str, list[drain.Drained]]


async def _in_turns(rounds: int, contenders: dict[str, Callable[[], Awaitable[drain.Drained | None]]]) -> Runs:
    runs: Runs = {name: [] for name in contenders}
    for number in range(rounds):
        for name, measure in contenders.items():
            one = await measure()
            if one is not None:
                runs[name].append(one)
                told = f"{one.per_s:,.0f}/s, CPU µs a job: workers {one.workers_us:.0f}, server {one.server_us:.0f}"
                print(f"  round {number + 1}/{rounds} {name}: {told}", file=sys.stderr, flush=True)
    return runs


def _table(runs: Runs) -> None:
    rows = [["drain", "jobs/s", "CPU µs a job, workers", "server"]]
    for name, found in runs.items():
        columns = [[one.per_s for one in found], [one.workers_us for one in found], [one.server_us for one in found]]
        rows.append([name, *(harness.spread(column) for column in columns)] if found else [name, "not installed: not measured", "", ""])
    harness.table(rows)


def _ratio(runs: Runs, ours: str, other: str, asked: str) -> None:
    pairs = [mine.per_s / theirs.per_s for mine, theirs in zip(runs[ours], runs[other], strict=False)]
    print(f"{ours} / {other}: {harness.spread(pairs, 2) if pairs else f'{other} is not installed'} (asked: {asked})", flush=True)


async def drains(server: Server, options: argparse.Namespace) -> None:
    jobs, at_once = options.jobs, options.concurrency
    runs = await _in_turns(
        options.rounds,
        {
            "ours": lambda: drain.drain_ours(server, jobs, at_once),
            "pgqueuer": lambda: drain.drain_peer("pgqueuer", server, jobs, at_once),
            "oban": lambda: drain.drain_peer("oban", server, jobs, at_once),
        },
    )
    _table(runs)
    _ratio(runs, "ours", "pgqueuer", "1")
    _ratio(runs, "ours", "oban", "2.5")


async def two(server: Server, options: argparse.Namespace) -> None:
    """No-op jobs, where all that counts is how many cores there are; and jobs that wait, as a provider makes them."""
    jobs = options.jobs * 2
    runs = await _in_turns(
        options.rounds,
        {
            "two workers, no-op": lambda: drain.drain_ours(server, jobs, options.concurrency, 2),
            "one worker, no-op": lambda: drain.drain_ours(server, jobs, options.concurrency),
            "two workers, 50 ms": lambda: drain.drain_ours(server, jobs // 2, 64, 2, wait_s=0.05),
            "one worker, 50 ms": lambda: drain.drain_ours(server, jobs // 2, 64, wait_s=0.05),
        },
    )
    _table(runs)
    for kind in ("no-op", "50 ms"):
        _ratio(runs, f"two workers, {kind}", f"one worker, {kind}", "1.6")
    cost_us = sorted(one.workers_us + one.server_us for one in runs["one worker, no-op"])[options.rounds // 2]
    cores = len(os.sched_getaffinity(0))
    print(f"a job costs {cost_us:.0f} µs of CPU, workers and server: {cores} cores bear {cores * 1e6 / cost_us:,.0f} jobs/s at most")


async def pickups(server: Server, options: argparse.Namespace) -> None:
    rounds = [await pickup.waits_ms(server, options.samples) for _ in range(options.rounds)]
    middle = [waits[len(waits) // 2] for waits in rounds]
    late = [waits[round(len(waits) * 0.99) - 1] for waits in rounds]
    harness.table(
        [
            ["pick-up", "p50 ms", "p99 ms", "asked"],
            ["enqueued by another process", harness.spread(middle, 2), harness.spread(late, 2), "p50 of 3 ms"],
        ]
    )


async def crowds(server: Server, options: argparse.Namespace) -> None:
    rows = [["other rows", "without, jobs/s", "with, jobs/s", "ratio, pair by pair (asked: 0.9)"]]
    for kind in options.kinds:
        empty, full = await crowd.filled(server, "none", 0), await crowd.filled(server, kind, options.others)
        found: dict[str, list[float]] = {empty: [], full: []}
        for pair in range(options.rounds + 1):  # the first one warms up
            for url in (empty, full) if pair % 2 else (full, empty):
                found[url].append((await drain.drain_ours(server, options.jobs, options.concurrency, url=url)).per_s)
        alone, crowded = found[empty][1:], found[full][1:]
        ratios = [mine / other for mine, other in zip(crowded, alone, strict=True)]
        rows.append([kind, harness.spread(alone), harness.spread(crowded), harness.spread(ratios, 2)])
        print(f"  {' | '.join(rows[-1])}", file=sys.stderr, flush=True)
    harness.table(rows)


async def bloats(server: Server, options: argparse.Namespace) -> None:
    left = await bloat.waves(server, options.million, 10, options.concurrency)
    rows = [["after", "rows", "dead rows", "table, MB", "indexes, MB", "autovacuums so far", "journal: dead rows", "MB"]]
    for one in left:
        sizes = [f"{one.table_mb:,.0f}", f"{one.indexes_mb:,.0f}", str(one.vacuums), f"{one.journal_dead:,}", f"{one.journal_mb:,.0f}"]
        rows.append([one.when, f"{one.rows:,}", f"{one.dead:,}", *sizes])
    harness.table(rows)


async def scales(server: Server, options: argparse.Namespace) -> None:
    figures = await scale.told(server, options.rows, options.jobs, options.concurrency)
    harness.table([["a store of finished jobs", "measured: median (least–most)"], *map(list, figures)])


PARTS: dict[str, Callable[[Server, argparse.Namespace], Awaitable[None]]] = {
    "drain": drains,
    "two": two,
    "pickup": pickups,
    "crowd": crowds,
    "bloat": bloats,
    "scale": scales,
}


async def _run(options: argparse.Namespace) -> None:
    with a_server() as server:
        for part in options.parts or PARTS:
            print(f"\n## {part}", flush=True)
            await PARTS[part](server, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=200, help="pick-up")
    parser.add_argument("--others", type=int, default=1_000_000, help="other rows of a crowd")
    parser.add_argument("--kinds", nargs="+", choices=crowd.KINDS, default=crowd.KINDS, help="of other rows")
    parser.add_argument("--million", type=int, default=1_000_000, help="jobs of the bloat's waves together")
    parser.add_argument("--rows", type=int, default=10_000_000, help="finished jobs of a large store")
    parser.add_argument("--concurrency", type=int, default=256, help="handlers at once, the same for every contender")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"{', '.join(unknown)}: choose among {', '.join(PARTS)}")
    asyncio.run(_run(options))


if __name__ == "__main__":
    main()
