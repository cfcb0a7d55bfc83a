"""Four workers on one quota: with a store each, as limiters inside a process are, against one store for all; in virtual time.

    python -m benchmarks.quota_shared
    python -m benchmarks.quota_shared --workers 8 --seeds 5 --minutes 20

The same keepers, the same callers, the same provider (600 requests a minute); only who shares a store differs. ``share`` of the
quota and ``rejected`` of all calls, once the first five minutes are over.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from random import Random

import anyio

from benchmarks import harness
from benchmarks.provider import Call, Dialect, Provider, ProviderSpec, as_exception, preset
from scheduler.calls import JobPool
from scheduler.clock import LoopClock
from scheduler.errors import RateLimitError
from scheduler.events import Events
from scheduler.keeper import Keeper
from scheduler.pools.messages import Limits
from scheduler.stores.memory import MemoryStore
from tests.support.virtual_time import VirtualTimeLoop

CALLERS = 96
RPM = 600
WARM_UP_S = 300.0
LONGEST = 300


@dataclass(frozen=True)
class Crew:
    """``workers`` on ``stores`` stores, for ``seconds`` after the warm-up."""

    workers: int
    stores: int
    seconds: float


async def _caller(provider: Provider, keeper: Keeper, rng: Random, clock: LoopClock, until: float) -> None:
    pool = JobPool("main", keeper.booth("main"), "task", clock)
    while clock.now() < until:
        asked = Call(max(20, round(rng.gauss(400, 100))), LONGEST, min(LONGEST, max(1, round(rng.gauss(150, 50)))))
        try:
            async with pool.request(asked.input_tokens + LONGEST, output_tokens=LONGEST) as call:
                answer = provider.call(asked, clock.now())
                await anyio.sleep(answer.latency_s)
                if not answer.is_good:
                    raise as_exception(answer)
                call.observe(answer.usage, answer.headers)
        except RateLimitError as later:  # a pool that is held is one, too
            await anyio.sleep(later.retry_after_s or 0.1)


async def _run(spec: ProviderSpec, crew: Crew, seed: int) -> tuple[float, float]:
    clock, rng, events = LoopClock(), Random(seed), Events()
    provider = Provider(spec, Random(seed + 1), clock.now())
    begin = clock.now() + WARM_UP_S
    until = begin + crew.seconds
    stores = [MemoryStore() for _ in range(crew.stores)]
    async with anyio.create_task_group() as keeping:
        async with anyio.create_task_group() as calling:
            for number in range(crew.workers):
                store = stores[number % crew.stores]
                keeper = Keeper(store, lambda pool: Limits(), events, clock, rng, f"w{number}", lambda: None, lambda: None)
                keeping.start_soon(keeper.run)
                for _ in range(CALLERS // crew.workers):
                    calling.start_soon(_caller, provider, keeper, rng, clock, until)
            await anyio.sleep(until - clock.now())
            calling.cancel_scope.cancel()
        keeping.cancel_scope.cancel()
    counts = provider.counts(begin, until)
    return 100 * provider.share(begin, until), 100 * counts["rejected"] / max(1, counts["admitted"] + counts["rejected"])


def run_one(spec: ProviderSpec, crew: Crew, seed: int) -> tuple[float, float]:
    """Share and rejected calls, both in percent."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_run(spec, crew, seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4, help="default 4")
    parser.add_argument("--seeds", type=int, default=3, help="default 3")
    parser.add_argument("--minutes", type=float, default=10.0, help="measured, after five of warm-up; default 10")
    options = parser.parse_args()
    print("| provider | stores | share % | rejected % |\n|---|---|---|---|")
    for dialect, said in ((Dialect.OPENAI, "headers"), (Dialect.SILENT, "blind")):
        for burst_s in (60.0, 10.0, 1.0):
            spec = preset(dialect, RPM, 2_000_000 if dialect is Dialect.OPENAI else None, burst_s=burst_s)
            for stores in (options.workers, 1):
                crew = Crew(options.workers, stores, 60 * options.minutes)
                results = [run_one(spec, crew, seed) for seed in range(1, options.seeds + 1)]
                shares, rejected = zip(*results, strict=True)
                name = f"{said}, bucket {burst_s:g} s"
                label = "one, shared" if stores == 1 else f"{stores}, unshared"
                print(f"| {name} | {label} | {harness.spread(shares, 1)} | {harness.spread(rejected, 2)} |", flush=True)


if __name__ == "__main__":
    main()
