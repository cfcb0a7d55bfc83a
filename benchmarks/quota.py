"""How much of a provider's quota is reached, and how many calls are turned away; in virtual time.

    python -m benchmarks.quota                      # every scenario, three seeds
    python -m benchmarks.quota --only blind --minutes 30

The real keepers on a real (memory) store, as many as ``workers``, against the simulated provider of ``benchmarks.provider``. Callers
always have more to do. ``share`` is what was used of what the quota offered once the first minutes are over, ``rejected`` the share of
calls that were turned away in that time.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import anyio

from benchmarks.provider.answers import Call as Ask
from benchmarks.provider.model import Provider
from benchmarks.provider.presets import preset
from benchmarks.provider.spec import Concurrency, Dialect, Mischief, ProviderSpec, Shape, Tenant
from benchmarks.provider.thrown import as_exception
from scheduler.calls import JobPool
from scheduler.clock import LoopClock
from scheduler.errors import AIProviderError, PoolHeldError, RateLimitError
from scheduler.events import Events
from scheduler.keeper import Keeper
from scheduler.pools.messages import Limits
from scheduler.stores.memory import MemoryStore
from tests.support.virtual_time import VirtualTimeLoop

CALLERS = 96


@dataclass(frozen=True)
class Scenario:
    """One line of the table. ``asked``: least share and most rejected, in percent."""

    name: str
    spec: ProviderSpec
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    asked: tuple[float, float] | None = None
    tokens: tuple[int, int, int] = (400, 100, 80)  # input, max, mean output
    warm_up_s: float = 300.0
    measured_s: float = 900.0


@dataclass
class Result:
    share: float
    rejected: float
    calls: int
    cpu_us: float


async def _callers(scenario: Scenario, provider: Provider, keeper: Keeper, rng: Random, clock: LoopClock, until: float) -> None:
    took, most, mean = scenario.tokens

    async def caller() -> None:
        while clock.now() < until:
            ask = Ask(max(20, round(rng.gauss(took, took / 4))), most, max(1, min(most, round(rng.gauss(mean, mean / 3)))))
            pool = JobPool("main", keeper.booth("main"), "task", clock)
            try:
                async with pool.request(ask.input_tokens + most, output_tokens=most) as call:
                    answer = provider.call(ask, clock.now())
                    await anyio.sleep(answer.latency_s)
                    if not answer.is_good:
                        raise as_exception(answer)
                    call.observe(answer.usage, answer.headers)
            except PoolHeldError as held:
                await anyio.sleep(held.retry_after_s or 0.1)
            except RateLimitError as later:
                await anyio.sleep(later.retry_after_s or 0.1)
            except (AIProviderError, ConnectionError, TimeoutError):
                await anyio.sleep(1.0)
            except Exception:
                await anyio.sleep(1.0)

    async with anyio.create_task_group() as tasks:
        for _ in range(CALLERS // scenario.workers):
            tasks.start_soon(caller)


async def _run(scenario: Scenario, seed: int, trace: bool) -> Result:
    clock, rng = LoopClock(), Random(seed)
    start = clock.now()
    provider = Provider(scenario.spec, Random(seed + 1), start)
    store = MemoryStore()
    events = Events()
    if trace:
        events.subscribe(lambda event: print(f"{event.at - start:9.2f} {event.name} {event.fields()}"))
    until = start + scenario.warm_up_s + scenario.measured_s
    cpu = time.process_time()
    async with anyio.create_task_group() as keepers, anyio.create_task_group() as tasks:
        for number in range(scenario.workers):
            keeper = Keeper(store, lambda pool: scenario.limits, events, clock, rng, f"w{number}", lambda: None, lambda: None)
            keepers.start_soon(keeper.run)
            tasks.start_soon(_callers, scenario, provider, keeper, rng, clock, until)

        async def finish() -> None:
            await anyio.sleep(until - start)
            keepers.cancel_scope.cancel()

        tasks.start_soon(finish)
    cpu = time.process_time() - cpu
    begin = start + scenario.warm_up_s
    counts = provider.counts(begin, until)
    calls = counts["admitted"] + counts["rejected"]
    everything = provider.counts()
    cap = scenario.spec.concurrency
    share = provider.share(begin, until) if cap is None else _filled(provider, begin, until) / cap.calls
    return Result(share, counts["rejected"] / max(calls, 1), calls, 1e6 * cpu / max(everything["admitted"], 1))


def _filled(provider: Provider, begin: float, until: float) -> float:
    """How many calls were under way, on average."""
    overlaps = (min(each.ends_at, until) - max(each.at, begin) for each in provider.admissions)
    return sum(overlap for overlap in overlaps if overlap > 0) / (until - begin)


def run_one(scenario: Scenario, seed: int, trace: bool = False) -> Result:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_run(scenario, seed, trace))


_SHAPES = {
    "bucket 60 s": (Shape.BUCKET, 60.0),
    "bucket 10 s": (Shape.BUCKET, 10.0),
    "bucket 1 s": (Shape.BUCKET, 1.0),
    "sliding log": (Shape.SLIDING, None),
    "wall-clock minute": (Shape.WALL_CLOCK, None),
    "anchored minute": (Shape.ANCHORED, None),
}
_CONTINUOUS = ("bucket 60 s", "bucket 10 s", "bucket 1 s", "sliding log")


def scenarios() -> Iterator[Scenario]:
    for name, (shape, burst_s) in _SHAPES.items():
        for workers in (1, 4):
            suffix = f"{name}, {workers} worker{'s' * (workers > 1)}"
            for bound, rpm, tpm in (("rpm", 600, 2_000_000), ("tpm", 6_000, 330_000)):
                for dialect in (Dialect.OPENAI, Dialect.ANTHROPIC):
                    spec = preset(dialect, rpm, tpm, shape=shape, burst_s=burst_s)
                    yield Scenario(f"headers {dialect}, {bound}, {suffix}", spec, workers, asked=(99, 0.5))
            asked = (95.0, 1.0) if name in _CONTINUOUS else (90.0, 2.0)
            spec = preset(Dialect.SILENT, 600, shape=shape, burst_s=burst_s)
            yield Scenario(f"blind, rpm, {suffix}", spec, workers, asked=asked, warm_up_s=900.0)
    for factor in (0.5, 2.0):
        spec = preset(Dialect.OPENAI, 600, 2_000_000, schedule=((600.0, factor),))
        yield Scenario(f"headers openai, limit x{factor:g}, 2 minutes after", spec, asked=(99, 0.5), warm_up_s=720.0, measured_s=480.0)
        blind = preset(Dialect.SILENT, 600, burst_s=10.0, schedule=((1200.0, factor),))
        yield Scenario(f"blind, limit x{factor:g}, 10 minutes after", blind, warm_up_s=1800.0)
    for share in (0.3,):
        spec = preset(Dialect.OPENAI, 600, 2_000_000, tenants=(Tenant(share),))
        yield Scenario("headers openai, second tenant takes 30 %", spec)
        yield Scenario(
            "blind, second tenant takes 30 %", preset(Dialect.SILENT, 600, burst_s=10.0, tenants=(Tenant(share),)), warm_up_s=900.0
        )
    for label, mischief in {
        "stale 10 s": Mischief(stale_s=10.0),
        "rounded": Mischief(rounded_to=1000),
        "no remaining": Mischief(missing=("remaining", "reset")),
        "no limit": Mischief(missing=("limit-",)),
        "lying x3": Mischief(limit_times=3.0),
        "wait x0.3": Mischief(wait_times=0.3),
        "wait x3": Mischief(wait_times=3.0),
    }.items():
        yield Scenario(f"headers openai, {label}", preset(Dialect.OPENAI, 600, 330_000, burst_s=10.0, mischief=mischief))
    for dialect in (Dialect.AZURE, Dialect.GROQ, Dialect.MISTRAL, Dialect.GEMINI, Dialect.CEREBRAS, Dialect.PROSE):
        yield Scenario(f"{dialect}", preset(dialect, 600, 330_000), warm_up_s=900.0)
    yield Scenario(
        "configured, silent, bucket 1 s", preset(Dialect.SILENT, 600, burst_s=1.0), limits=Limits({"requests": 600}), asked=(99, 0.5)
    )
    yield Scenario(
        "configured, silent, bucket 1 s, 4 workers", preset(Dialect.SILENT, 600, burst_s=1.0), 4, Limits({"requests": 600}), (99, 0.5)
    )
    yield Scenario("concurrency cap 20 (429)", preset(Dialect.OPENAI, 6_000, None, concurrency=Concurrency(20)))
    yield Scenario("concurrency cap 20 (503)", preset(Dialect.OPENAI, 6_000, None, concurrency=Concurrency(20, 503)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trace", action="store_true")
    arguments = parser.parse_args()
    print("| scenario | share % | rejected % | asked | µs CPU a call |\n|---|---|---|---|---|")
    for scenario in scenarios():
        if arguments.only not in scenario.name:
            continue
        results = [run_one(scenario, seed, arguments.trace) for seed in range(1, arguments.seeds + 1)]
        shares, rejected = sorted(100 * each.share for each in results), sorted(100 * each.rejected for each in results)
        verdict = ""
        if scenario.asked is not None:
            good = statistics.median(shares) >= scenario.asked[0] and statistics.median(rejected) <= scenario.asked[1]
            verdict = f"≥ {scenario.asked[0]:g} / ≤ {scenario.asked[1]:g} {'met' if good else 'NOT MET'}"
        print(
            f"| {scenario.name} | {statistics.median(shares):.1f} ({shares[0]:.1f}–{shares[-1]:.1f}) | "
            f"{statistics.median(rejected):.2f} ({rejected[0]:.2f}–{rejected[-1]:.2f}) | {verdict} | "
            f"{statistics.median(each.cpu_us for each in results):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
