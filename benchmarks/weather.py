"""Bad weather at the provider, under load: what becomes of the jobs, of their attempts, and how soon all is well again.

    python -m benchmarks.weather                              # every scenario, in memory and on SQLite
    python -m benchmarks.weather --only outage --seeds 5
    python -m benchmarks.weather --only flapping --store memory --trace | less

Virtual time, the real engine: handlers call the simulated provider through ``job.pool.request`` and raise what a client library
would. There is always a backlog, until ten minutes after the trouble; then what is left is drained.

``failed``: jobs that ended in failure. ``started``, ``given back``, ``counted``: attempts; the first is the sum of the others where
the books are right (the table says by how much they are off). ``burnt``: attempts counted beyond one for each job done.
``calls in trouble``: calls that reached the provider while it lasted; ``done in trouble``: jobs done, in percent of what the quota
allows in that time.
``first``: seconds from the end of the trouble to the first job done; ``90 %``: to that part of the rate of the two minutes before it,
held for half a minute; ``after ten minutes``: the rate of the tenth minute after it, in percent of the one before.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import tempfile
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import anyio

from benchmarks import harness
from benchmarks.provider import Call, Dialect, Latency, Provider, ProviderSpec, Sky, Weather, as_exception, preset
from scheduler import JobContext, NewJob, Registry, Scheduler
from scheduler.clock import LoopClock
from scheduler.events import Event, JobCompleted, JobEnded, JobFailed, JobLost, JobStarted
from scheduler.job import Lease
from scheduler.stores.base import JobQuery
from tests.support.virtual_time import VirtualTimeLoop

RPM = 300
BEFORE_S, AFTER_S = 300.0, 600.0
BACKLOG, FEED_EVERY_S = 600, 30.0
CONCURRENCY = 64
TIME_LIMIT_S = 30.0
#: A run that takes longer than this after the trouble has jobs that never end.
PATIENCE_S = 4 * 3_600.0
SPAN_S = 30.0


@dataclass(frozen=True)
class Scenario:
    """Trouble of ``lasts_s`` seconds, ``BEFORE_S`` after the start. ``asked``: jobs that may fail; None: not said."""

    name: str
    sky: Sky
    lasts_s: float
    probability: float = 1.0
    asked: int | None = None
    dialect: Dialect = Dialect.OPENAI
    status: int = 0

    @property
    def spec(self) -> ProviderSpec:
        weather = Weather(self.sky, BEFORE_S, BEFORE_S + self.lasts_s, self.probability, status=self.status)
        return preset(self.dialect, RPM, 2_000_000, weather=(weather,), latency=Latency(0.4, 0.01, 0.3))


SCENARIOS = (
    Scenario("outage, half an hour", Sky.OUTAGE, 1_800.0, asked=0),
    Scenario("outage of 9 calls in 10, half an hour", Sky.OUTAGE, 1_800.0, 0.9),
    Scenario("storm of 529, 30 %, ten minutes", Sky.STORM, 600.0, 0.3, 0, Dialect.ANTHROPIC),
    Scenario("storm of 529, 90 %, two minutes", Sky.STORM, 120.0, 0.9, 0, Dialect.ANTHROPIC),
    Scenario("flapping, 30 s down, 30 s up, an hour", Sky.FLAPPING, 3_600.0, asked=0),
    Scenario("hangs, all, ten minutes", Sky.HANG, 600.0, asked=0),
    Scenario("hangs, 10 %, ten minutes", Sky.HANG, 600.0, 0.1),
    Scenario("garbage, all, ten minutes", Sky.GARBAGE, 600.0),
    Scenario("garbage, 10 %, ten minutes", Sky.GARBAGE, 600.0, 0.1),
    Scenario("disconnects, all, ten minutes", Sky.DISCONNECT, 600.0, asked=0),
    Scenario("disconnects, 10 %, ten minutes", Sky.DISCONNECT, 600.0, 0.1),
)


@dataclass
class Books:
    """What was seen of a run. ``refunded``: attempts that the store gave back after their end."""

    started: int = 0
    ended: int = 0
    lost: int = 0
    given_back: int = 0
    refunded: int = 0
    done_at: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def see(self, event: Event) -> None:
        if isinstance(event, JobStarted):
            self.started += 1
            return
        if not isinstance(event, JobEnded):
            return
        self.ended += 1
        self.given_back += event.transition.refund
        self.lost += isinstance(event, JobLost)
        if isinstance(event, JobCompleted):
            self.done_at.append(event.at)
        if isinstance(event, JobFailed):
            self.failures[f"{event.transition.status}/{event.transition.reason}"] += 1

    def done(self, t0: float, t1: float) -> int:
        return bisect_left(self.done_at, t1) - bisect_left(self.done_at, t0)


def _routes(provider: Provider, clock: LoopClock, rng: Random) -> Registry:
    routes = Registry()

    @routes.handler("ask", pool="main")
    async def ask(job: JobContext) -> int:
        longest = 300
        wanted = Call(max(20, round(rng.gauss(400, 100))), longest, min(longest, max(1, round(rng.gauss(150, 50)))))
        async with job.pool.request(wanted.input_tokens + longest, output_tokens=longest) as call:
            answer = provider.call(wanted, clock.now())
            await anyio.sleep(answer.latency_s)
            if not answer.is_good:
                raise as_exception(answer)
            call.observe(answer.usage, answer.headers)
        return wanted.output_tokens

    return routes


async def _feed(scheduler: Scheduler, books: Books, until: float) -> None:
    """Keep ``BACKLOG`` jobs waiting."""
    numbers = itertools.count()
    fed = 0
    while scheduler.clock.now() < until:
        missing = BACKLOG - (fed - len(books.done_at) - sum(books.failures.values()))
        if missing > 0:
            await scheduler.enqueue_many(NewJob("ask", "item", str(next(numbers))) for _ in range(missing))
            fed += missing
        await anyio.sleep(FEED_EVERY_S)


def _count_refunds(scheduler: Scheduler, books: Books) -> None:
    refund = scheduler.store.refund

    async def counted(leases: Sequence[Lease], now: float) -> int:
        given_back = await refund(leases, now)
        books.refunded += given_back
        return given_back

    scheduler.store.refund = counted  # type: ignore[method-assign]


async def _jobs(scheduler: Scheduler) -> AsyncIterator[Any]:
    before: int | None = None
    while page := await scheduler.store.find(JobQuery(limit=1_000, before_seq=before)):
        for job in page:
            yield job
        before = page[-1].seq


async def _run(scenario: Scenario, store: str, seed: int, trace: bool) -> dict[str, Any]:
    clock, rng, books = LoopClock(), Random(seed), Books()
    start = clock.now()
    provider = Provider(scenario.spec, Random(seed + 1), start)
    begin, end = start + BEFORE_S, start + BEFORE_S + scenario.lasts_s
    engine = {"store": store, "concurrency": CONCURRENCY, "timeout_s": TIME_LIMIT_S}
    cpu_s = time.process_time()
    async with Scheduler.open({"scheduler": engine}, _routes(provider, clock, rng), clock=clock, rng=rng, logs=False) as scheduler:
        scheduler.events.subscribe(books.see)
        if trace:
            scheduler.events.subscribe(lambda event: print(f"{event.at - start:9.2f} {event.name} {event.fields()}"))
        _count_refunds(scheduler, books)
        with anyio.move_on_after(BEFORE_S + scenario.lasts_s + AFTER_S + PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_feed, scheduler, books, end + AFTER_S)
                await anyio.sleep(1.0)
                await scheduler.run(until_empty=True)
        jobs = [job async for job in _jobs(scheduler)]
    cpu_s = time.process_time() - cpu_s
    counts = provider.counts(begin, end)
    counted = sum(job.attempts for job in jobs)
    given_back = books.given_back + books.refunded
    former = books.done(begin - 120.0, begin) / 120.0
    later = [at - end for at in books.done_at if at >= end]
    return {
        "jobs": len(jobs),
        "failed": sum(books.failures.values()),
        "failures": books.failures,
        "unfinished": len(jobs) - len(books.done_at) - sum(books.failures.values()),
        "started": books.started,
        "given back": given_back,
        "counted": counted,
        "off": books.started - given_back - counted,
        "lost": books.lost,
        "burnt": counted - len(books.done_at),
        "calls in trouble": counts["admitted"] + counts["rejected"] + counts["failed"],
        "done in trouble": 100 * books.done(begin, end) / (RPM / 60 * scenario.lasts_s),
        "after ten minutes": 100 * books.done(end + AFTER_S - 60.0, end + AFTER_S) / (60.0 * former),
        "first": later[0] if later else math.inf,
        "90 %": next((at for at in later if books.done(end + at, end + at + SPAN_S) >= 0.9 * former * SPAN_S), math.inf),
        "cpu_s": cpu_s,
    }


def run_one(scenario: Scenario, kind: str, seed: int, trace: bool = False) -> dict[str, Any]:
    """One run: ``kind`` is ``memory`` or ``sqlite``."""
    with tempfile.TemporaryDirectory(prefix="weather-") as folder, asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        store = "memory:" if kind == "memory" else f"sqlite:///{Path(folder) / 'jobs.db'}"
        return runner.run(_run(scenario, store, seed, trace))


_COLUMNS = {
    **dict.fromkeys(("jobs", "started", "given back", "counted", "burnt", "calls in trouble", "done in trouble"), 0),
    **dict.fromkeys(("first", "90 %"), 1),
    "after ten minutes": 0,
}


def _row(scenario: Scenario, kind: str, results: list[dict[str, Any]]) -> list[str]:
    failed = max(one["failed"] for one in results)
    verdict = harness.spread([one["failed"] for one in results])
    if scenario.asked is not None:
        verdict += " met" if failed <= scenario.asked else " NOT MET"
    cells = {key: harness.spread([one[key] for one in results], digits).replace("inf", "never") for key, digits in _COLUMNS.items()}
    off = max(results, key=lambda one: abs(one["off"]))["off"]
    cells["counted"] += "" if off == 0 else f", OFF BY {off}"
    unfinished = max(one["unfinished"] for one in results)
    cells["jobs"] += "" if unfinished == 0 else f", {unfinished} UNFINISHED"
    asked = "" if scenario.asked is None else str(scenario.asked)
    return [scenario.name, kind, verdict, asked, *cells.values()]


def _work(scenarios: Sequence[Scenario], kinds: Sequence[str], seeds: int, sqlite_seeds: int) -> Iterator[tuple[Scenario, str, list[int]]]:
    for scenario in scenarios:
        for kind in kinds:
            yield scenario, kind, list(range(1, 1 + (seeds if kind == "memory" else sqlite_seeds)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--store", choices=["memory", "sqlite", "both"], default="both")
    parser.add_argument("--seeds", type=int, default=5, help="in memory; default 5")
    parser.add_argument("--sqlite-seeds", type=int, default=2, help="on SQLite, which takes longer; default 2")
    parser.add_argument("--processes", type=int, default=1, help="runs at once; default 1")
    parser.add_argument("--trace", action="store_true", help="print every event of the first seed, and nothing else")
    options = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    kinds = ["memory", "sqlite"] if options.store == "both" else [options.store]
    if options.trace:
        run_one(chosen[0], kinds[0], 1, trace=True)
        return
    head = ["scenario", "store", "failed", "asked", *_COLUMNS]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    notes = []
    with ProcessPoolExecutor(options.processes) as pool:
        work = list(_work(chosen, kinds, options.seeds, options.sqlite_seeds))
        running = [[pool.submit(run_one, scenario, kind, seed) for seed in seeds] for scenario, kind, seeds in work]
        for (scenario, kind, _), futures in zip(work, running, strict=True):
            results = [future.result() for future in futures]
            print("| " + " | ".join(_row(scenario, kind, results)) + " |", flush=True)
            failures: Counter[str] = sum((one["failures"] for one in results), Counter())
            lost = sum(one["lost"] for one in results)
            if failures or lost:
                notes.append(f"{scenario.name}, {kind}: {dict(failures)} in {len(results)} runs, {lost} lost")
    print(*["", *notes], sep="\n")


if __name__ == "__main__":
    main()
